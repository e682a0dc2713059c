"""What a conversation takes from the library of its user: a collection's documents, and a folder's instructions."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import GenerationParameters
from chatapp.domain.errors import StoreUnavailable
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from chatapp.domain.conversation import Conversation, Document, Profile
    from chatapp.store import UserStore

MOST_REMEMBERED = 10_000  # documents, of 500 bytes each without their texts

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LibraryPart:
    """The part of a library that applies to a conversation.

    Attributes:
        collection: id of the collection that it asks, "" for none.
        documents: of that, without data.
        instructions: of the folder that it is in.
    """

    collection: str = ""
    documents: tuple[Document, ...] = ()
    instructions: str = ""


NOTHING = LibraryPart()


class JoinedParameters(GenerationParameters):
    """Parameters with the instructions of a folder and of a conversation, each of which has its own limit."""

    __slots__ = ()
    LONGEST_SYSTEM_PROMPT = 2 * GenerationParameters.LONGEST_SYSTEM_PROMPT + 2


class LibraryParts:
    """Reads the parts of libraries, and remembers documents for the time when the store is unavailable.

    Args:
        store: where they are.
        on_removed: called with a user, the id of a collection and the ids of its documents that are not there any more,
            or None for all: another replica removed them.
    """

    def __init__(self, store: UserStore, on_removed: Callable[[str, str, Collection[str] | None], None]) -> None:
        self._store = store
        self._on_removed = on_removed
        self._remembered: OrderedDict[tuple[str, str], tuple[Document, ...]] = OrderedDict()  # by user and collection

    async def of(self, user: str, conversation: Conversation) -> LibraryPart:
        """Return what applies to a conversation.

        Raises:
            StoreUnavailable: it cannot be read now, and was not read before.
        """
        if not uses_library(conversation):
            return NOTHING
        profile = await self._store.profile(user)
        self._forget_missing(user, profile)
        folder, collection = profile.folder_of(conversation), profile.collection_of(conversation)
        return LibraryPart(
            collection.id if collection else "",
            await self._documents(user, collection.id) if collection else (),
            folder.instructions if folder else "",
        )

    async def has_collection(self, user: str, conversation: Conversation) -> bool:
        """Return whether a conversation asks a collection; so too where that cannot be found out now."""
        if not uses_library(conversation):
            return False
        try:
            return (await self._store.profile(user)).collection_of(conversation) is not None
        except StoreUnavailable:
            return True

    def forget(self, user: str, collection_id: str) -> None:
        """Do not remember which documents a collection has."""
        self._remembered.pop((user, collection_id), None)

    async def _documents(self, user: str, collection_id: str) -> tuple[Document, ...]:
        key = user, collection_id
        try:
            listed = await self._store.library(user, collection_id)
        except StoreUnavailable as error:
            if key not in self._remembered:
                raise
            log.warning("library_as_it_was", collection=collection_id, detail=error.detail)
            return self._remembered[key]
        documents = tuple(one.document for one in listed)
        there = {one.id for one in documents}
        if removed := [one.id for one in self._remembered.get(key, ()) if one.id not in there]:
            self._on_removed(user, collection_id, removed)
        self._remembered[key] = documents
        self._remembered.move_to_end(key)
        while sum(map(len, self._remembered.values())) > MOST_REMEMBERED and len(self._remembered) > 1:
            self._remembered.popitem(last=False)
        return documents

    def _forget_missing(self, user: str, profile: Profile) -> None:
        """Forget the collections that were deleted, here or at another replica."""
        there = {one.id for one in profile.collections}
        for key in [one for one in self._remembered if one[0] == user and one[1] not in there]:
            del self._remembered[key]
            self._on_removed(user, key[1], None)


def uses_library(conversation: Conversation) -> bool:
    """Return whether a conversation names a collection or a folder."""
    return bool(conversation.collection or conversation.folder)


def with_instructions(parameters: GenerationParameters, instructions: str) -> GenerationParameters:
    """Return parameters with the instructions of a folder before their own."""
    if not instructions.strip():
        return parameters
    texts = (clean_text(instructions), parameters.system_prompt)
    values = {one.name: getattr(parameters, one.name) for one in dataclasses.fields(parameters)}
    return JoinedParameters(**values | {"system_prompt": "\n\n".join(text for text in texts if text.strip())})
