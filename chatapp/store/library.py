"""What stores share of the library: order, sizes, and the next state of its part of the profile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.store.codec import clean_profile
from chatapp.store.values import MAX_IN_FOLDER, file_bytes, refuse_too_much_profile, sort_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chatapp.domain.conversation import Conversation, Profile
    from chatapp.domain.library import LibraryDocument

OVERHEAD_BYTES = 500  # of the other fields of a document, about


def library_bytes(document: LibraryDocument) -> int:
    """Return about how many bytes a document of a collection takes, with its file."""
    return OVERHEAD_BYTES + len(document.document.data) + file_bytes(document.document)


def in_library_order(documents: Iterable[LibraryDocument]) -> list[LibraryDocument]:
    """Return documents by collection and name."""
    return sorted(documents, key=lambda one: (one.collection, one.document.name, one.document.id))


def of_folder(conversations: Iterable[Conversation], folder: str) -> list[Conversation]:
    """Return the conversations of a folder that are not marked as deleted, the last updated first."""
    shown = (one for one in conversations if folder and one.folder == folder and not one.deleted_ms)
    return sorted(shown, key=sort_key, reverse=True)[:MAX_IN_FOLDER]


def with_library(profile: Profile, change: Callable[[Profile], Profile]) -> Profile:
    """Return a profile with the collections and folders of ``change``, as the next revision of that part.

    Raises:
        StoreUnavailable: it is larger than `values.PROFILE_BYTES`.
    """
    after = change(profile)
    if (after.collections, after.folders) == (profile.collections, profile.folders):
        return profile
    after = clean_profile(replace(profile, collections=after.collections, folders=after.folders))
    refuse_too_much_profile(after)
    return replace(after, library_revision=profile.library_revision + 1)
