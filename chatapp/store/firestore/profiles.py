"""Writes a profile so that no change of another writer is lost, without a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound

from chatapp.domain.conversation import Profile, saved
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store.firestore.client import committed, fetched_one
from chatapp.store.firestore.documents import profile_document, profile_of
from chatapp.store.library import with_library

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.store.firestore.firestore_compat import Client

ROUNDS = 5  # attempts when other writers interfere


async def put_profile(client: Client, reference: AsyncDocumentReference, profile: Profile) -> None:
    """Write a profile; of each of its two parts, one of the same or a higher revision stays.

    Raises:
        StoreUnavailable: other writers interfered in each of `ROUNDS`; nothing was changed.
    """
    await _rewrite(client, reference, lambda before: saved(before, profile) if before else profile)


async def change_library(
    client: Client, reference: AsyncDocumentReference, change: Callable[[Profile], Profile]
) -> Profile:
    """Change the collections and folders of a profile; return it.

    A reply that was lost makes it apply ``change`` to its own result, so the change must allow that.

    Raises:
        StoreUnavailable: other writers interfered in each of `ROUNDS`; nothing was changed.
    """
    return await _rewrite(client, reference, lambda before: with_library(before or Profile(), change))


async def _rewrite(
    client: Client, reference: AsyncDocumentReference, change: Callable[[Profile | None], Profile]
) -> Profile:
    for _ in range(ROUNDS):
        stored = await fetched_one(reference)
        before = profile_of(stored.fields) if stored else None
        after = change(before)
        if after == before:
            return after
        batch = client.batch()
        if stored:
            unchanged = client.write_option(last_update_time=stored.update_time)
            batch.update(reference, profile_document(after), option=unchanged)
        else:
            batch.create(reference, profile_document(after))
        try:
            await committed(batch)
        except (AlreadyExists, FailedPrecondition, NotFound):
            continue  # another writer was faster, or the write succeeded and its reply was lost
        return after
    raise StoreUnavailable(
        Sentence("Your settings are being changed in several places at once. Try again in a moment.")
    )
