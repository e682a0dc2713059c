"""What stores share of the library: the next state of its part of the profile."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.store.codec import clean_profile
from chatapp.store.values import refuse_too_much_profile

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatapp.domain.conversation import Profile


def with_library(profile: Profile, change: Callable[[Profile], Profile]) -> Profile:
    """Return a profile with the collections and folders of ``change``, as the next revision of that part.

    Raises:
        StoreUnavailable: it is larger than `values.PROFILE_BYTES`.
    """
    after = change(profile)
    after = clean_profile(replace(profile, collections=after.collections, folders=after.folders))
    refuse_too_much_profile(after)
    return replace(after, library_revision=profile.library_revision + 1)
