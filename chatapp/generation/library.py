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
    from chatapp.domain.conversation import Conversation, Document
    from chatapp.store import UserStore

MOST_REMEMBERED = 1_000  # conversations; the list of 100 documents takes 50 kB

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
    """Reads the parts of libraries, and remembers them for the time when the store is unavailable."""

    def __init__(self, store: UserStore) -> None:
        self._store = store
        self._remembered: OrderedDict[tuple[str, str, str], LibraryPart] = OrderedDict()

    async def of(self, user: str, conversation: Conversation) -> LibraryPart:
        """Return what applies to a conversation.

        Raises:
            StoreUnavailable: it cannot be read now, and was not read before.
        """
        if not uses_library(conversation):
            return NOTHING
        key = user, conversation.collection, conversation.folder
        try:
            part = await self._read(user, conversation)
        except StoreUnavailable as error:
            if key not in self._remembered:
                raise
            log.warning("library_as_it_was", conversation=conversation.id, detail=error.detail)
            return self._remembered[key]
        self._remembered[key] = part
        self._remembered.move_to_end(key)
        while len(self._remembered) > MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return part

    async def has_collection(self, user: str, conversation: Conversation) -> bool:
        """Return whether a conversation asks a collection; so too where that cannot be found out now."""
        if not uses_library(conversation):
            return False
        try:
            return (await self._store.profile(user)).collection_of(conversation) is not None
        except StoreUnavailable:
            return True

    def forget(self, user: str) -> None:
        """Remember nothing of a user."""
        for key in [one for one in self._remembered if one[0] == user]:
            del self._remembered[key]

    async def _read(self, user: str, conversation: Conversation) -> LibraryPart:
        profile = await self._store.profile(user)
        folder, collection = profile.folder_of(conversation), profile.collection_of(conversation)
        documents = await self._store.library(user, collection.id) if collection else []
        return LibraryPart(
            collection.id if collection else "",
            tuple(one.document for one in documents),
            folder.instructions if folder else "",
        )


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
