"""Merging a guest's data into the account of the user who signed in.

A conversation is copied, the copy is compared with the original, and only then the original is deleted. If the merge
fails at any point, each conversation exists once or twice, and the same call again finishes it. The copy has another
id, because a store may require ids that are unique across users; it is derived from the original id, so that a second
attempt finds the copy of the first. Collections, folders and their documents keep their ids, which are unique to a
user only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import structlog

from chatapp.domain.conversation import MessageStatus, Profile
from chatapp.domain.errors import (
    ChatError,
    ConversationBusy,
    ConversationNotFound,
    DocumentNotFound,
    StoreUnavailable,
)
from chatapp.domain.sentences import Sentence
from chatapp.store import Consistency
from chatapp.userdata import queries
from chatapp.userdata.insert import Added, add, add_library, add_profile

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from chatapp.conversations.turns import Turns
    from chatapp.domain.conversation import Conversation, Document, GenerationParameters, Message, Persona
    from chatapp.domain.library import Collection, Folder, LibraryDocument
    from chatapp.store import UserStore

SETTLED_S = 30.0  # how long to wait until a copy is in the cloud
POLL_S = 0.05
ROUNDS = 3  # copies of a conversation that changes during the merge

log = structlog.get_logger(__name__)


class StillWriting(ConversationBusy):
    """An answer is being generated in a conversation that is to be moved."""

    def __init__(self) -> None:
        ChatError.__init__(
            self,
            Sentence(
                "An answer is still being written in one of these conversations. Nothing was lost; "
                "move them when it is finished."
            ),
        )


class GuestChanged(ChatError):
    """The guest has other data than the user was shown, so nothing was moved."""

    def __init__(self) -> None:
        super().__init__(
            Sentence(
                "These conversations have changed since the page showed them. Nothing was moved. Look at them again."
            )
        )


@dataclass(frozen=True, slots=True)
class GuestData:
    """What guests have, as the user is shown it before a merge: another person may have put it there.

    Attributes:
        conversations: without those that are marked as deleted, the last updated first.
        personas: of all guests.
        collections: of all guests, as ``folders`` and the documents of the collections.
        parameters: the default parameters of the first guest that has some.
        answer_with_other: a guest allows that another model answers.
    """

    conversations: tuple[Conversation, ...] = ()
    personas: tuple[Persona, ...] = ()
    parameters: GenerationParameters | None = None
    answer_with_other: bool = False
    collections: tuple[Collection, ...] = ()
    folders: tuple[Folder, ...] = ()
    documents: tuple[LibraryDocument, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.conversations or self.personas or self.has_settings or self.has_library)

    @property
    def has_library(self) -> bool:
        """Whether there are collections, folders or documents."""
        return bool(self.collections or self.folders or self.documents)

    @property
    def has_settings(self) -> bool:
        """Whether there are settings besides the personas."""
        return self.parameters is not None or self.answer_with_other

    @property
    def digest(self) -> str:
        """Changes with everything that is shown; a merge with another digest is refused."""
        shown = [
            sorted((one.id, one.title) for one in self.conversations),
            sorted(astuple(one) for one in self.personas),
            self.parameters and astuple(self.parameters),
            self.answer_with_other,
            *([self._library] if self.has_library else ()),
        ]
        return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:32]

    @property
    def _library(self) -> list[object]:
        documents = sorted((one.document.id, one.document.name) for one in self.documents)
        return [sorted(map(astuple, self.collections)), sorted(map(astuple, self.folders)), documents]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What of the guests' data is merged.

    Attributes:
        conversations: all conversations.
        personas: the ids of personas; None: all.
        settings: the default parameters, and the permission that another model answers.
        library: the collections with their documents, and the folders.
    """

    conversations: bool = True
    personas: Container[str] | None = None
    settings: bool = True
    library: bool = True

    def of(self, profile: Profile) -> Profile:
        """Return the selected part of a profile, without collections and folders."""
        profile = profile.without_library
        selected = profile if self.settings else replace(profile, parameters=None, answer_with_other=False)
        return replace(selected, personas=tuple(one for one in profile.personas if self._has(one)))

    def rest_of(self, profile: Profile) -> Profile:
        """Return the part of a profile that is not selected, as its next revision, without collections and folders."""
        profile = profile.without_library
        rest = replace(profile, parameters=None, answer_with_other=False) if self.settings else profile
        personas = tuple(one for one in profile.personas if not self._has(one))
        return replace(rest, personas=personas, revision=profile.revision + 1)

    def _has(self, persona: Persona) -> bool:
        return self.personas is None or persona.id in self.personas


EVERYTHING = Selection()


class GuestMerge:
    """Moves conversations, their images and documents, and personas from one user to another."""

    def __init__(self, store: UserStore, turns: Turns) -> None:
        self._store = store
        self._turns = turns
        self._moving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def data(self, guests: Sequence[str]) -> GuestData:
        """Return what the guests have.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        conversations: list[Conversation] = []
        personas: dict[str, Persona] = {}
        collections: dict[str, Collection] = {}
        folders: dict[str, Folder] = {}
        documents: list[LibraryDocument] = []
        parameters, answer_with_other = None, False
        for guest in guests:
            conversations += [one for one in await queries.conversations(self._store, guest) if not one.deleted_ms]
            profile = await self._store.profile(guest)
            personas = {one.id: one for one in profile.personas} | personas
            collections |= {one.id: one for one in profile.collections}
            folders |= {one.id: one for one in profile.folders}
            documents += await self._store.library(guest)
            parameters = parameters or profile.parameters
            answer_with_other |= profile.answer_with_other
        conversations.sort(key=lambda one: -one.updated_ms)
        return GuestData(
            tuple(conversations),
            tuple(personas.values()),
            parameters,
            answer_with_other,
            tuple(collections.values()),
            tuple(folders.values()),
            tuple(documents),
        )

    async def merge(self, guest: str, user: str, selection: Selection = EVERYTHING) -> dict[str, str]:
        """Move what is selected, and return the new id of each conversation by its old one.

        Raises:
            StillWriting: an answer is being generated; the conversations moved before stay moved.
            StoreUnavailable: some conversations are not moved; the same call again moves them.
        """
        lock = self._moving.setdefault(guest, asyncio.Lock())
        async with lock:
            conversations = await queries.conversations(self._store, guest) if selection.conversations else []
            if any(self._turns.is_busy(guest, one.id) for one in conversations):
                raise StillWriting
            if selection.library:
                await self._merge_library(guest, user)
            await self._merge_profile(guest, user, selection)
            moved = {}
            for conversation in conversations:
                if conversation.deleted_ms:  # the guest's list, which would purge it, is not read any more
                    await self._store.delete(guest, conversation.id)
                elif new_id := await self._merge(guest, user, conversation):
                    moved[conversation.id] = new_id
        log.info("guest_merged", conversations=len(moved))
        return moved

    async def _merge_profile(self, guest: str, user: str, selection: Selection) -> None:
        profile = await self._store.profile(guest, consistency=Consistency.STRICT)
        selected, rest = selection.of(profile), selection.rest_of(profile)
        if profile == Profile():
            return
        has_library = bool(profile.collections or profile.folders)
        if not _is_empty(selected):
            await add_profile(self._store, user, selected)
            await self._settled(user)
        if _is_empty(rest) and not has_library:
            await self._store.delete_profile(guest)
        elif not _is_empty(selected):
            await self._store.save_profile(guest, rest)

    async def _merge_library(self, guest: str, user: str) -> None:
        """Move collections and folders, then each document: it is where its collection is, or in both places."""
        profile = await self._store.profile(guest, consistency=Consistency.STRICT)
        await add_library(self._store, user, profile)
        while documents := await self._store.library(guest):
            for one in documents:
                with suppress(DocumentNotFound):  # removed, or moved by a concurrent merge
                    document = await self._store.library_document(guest, one.document.id)
                    await self._store.hand_over_files(guest, user, _files_of([document.document]))
                    await self._store.add_library_document(user, document)
                    await self._copy_vectors((guest, ""), (user, ""), [document.document])
                    await self._store.remove_library_documents(guest, [one.document.id])
        moved = {one.id for one in profile.collections} | {one.id for one in profile.folders}

        def rest(stored: Profile) -> Profile:
            collections = tuple(one for one in stored.collections if one.id not in moved)
            folders = tuple(one for one in stored.folders if one.id not in moved)
            return replace(stored, collections=collections, folders=folders)

        if moved:
            await self._store.change_library(guest, rest)

    async def _merge(self, guest: str, user: str, conversation: Conversation) -> str | None:
        """Move one conversation and return its new id; None if it no longer exists."""
        new_id = _id_for(user, guest, conversation.id)
        try:
            messages = await self._whole(guest, conversation.id)
            for _ in range(ROUNDS):
                documents = [document for message in messages for document in message.documents]
                await self._store.hand_over_files(guest, user, _files_of(documents))
                await add(self._store, user, replace(conversation, id=new_id), messages, Added())
                await self._settled(user, new_id)
                copied = messages
                messages = await self._whole(guest, conversation.id)
                if messages == copied and await self._has(user, new_id, messages):
                    break
            else:
                raise StoreUnavailable(
                    Sentence(
                        "Some conversations could not be moved because they changed meanwhile. "
                        "Nothing was lost; move the rest again."
                    )
                )
        except ConversationNotFound:
            return None  # a concurrent merge was faster, or it has just expired
        if self._turns.is_busy(guest, conversation.id):
            raise StillWriting
        await self._copy_vectors((guest, conversation.id), (user, new_id), documents)
        await self._store.delete(guest, conversation.id)
        return new_id

    async def _copy_vectors(self, of: tuple[str, str], to: tuple[str, str], documents: Sequence[Document]) -> None:
        """Copy the vectors of documents from one conversation, or collection (""), of a user to another's.

        Where that fails, the next question embeds the documents again.
        """
        for document in documents:  # one after the other: each may have 3.6 MB
            try:
                stored = await self._store.vectors(*of, [document.id])
                if stored:
                    await self._store.save_vectors(*to, document.id, stored[document.id])
            except (StoreUnavailable, ConversationNotFound, DocumentNotFound) as error:
                log.warning("vectors_not_moved", error=type(error).__name__, detail=error.detail)

    async def _whole(self, guest: str, conversation_id: str) -> list[Message]:
        _, messages = await queries.whole_conversation(self._store, guest, conversation_id)
        if any(message.status is MessageStatus.STREAMING for message in messages):  # by another replica
            raise StillWriting
        return messages

    async def _has(self, user: str, conversation_id: str, messages: list[Message]) -> bool:
        """Return whether the copy, which may have newer messages already, contains all of these."""
        copied = {
            message.id: message for message in (await queries.whole_conversation(self._store, user, conversation_id))[1]
        }
        return all(
            (copy := copied.get(message.id)) is not None
            and (copy.revision > message.revision or copy == message)
            and copy.attachments == message.attachments
            for message in messages
        )

    async def _settled(self, user: str, conversation_id: str = "") -> None:
        """Wait until the copy is in the cloud: the cloud must not delete the original while the copy is on a disk only.

        Raises:
            StoreUnavailable: it takes longer than `SETTLED_S`.
        """
        try:
            async with asyncio.timeout(SETTLED_S):
                while self._store.pending(user, conversation_id):  # noqa: ASYNC110  # it takes a moment
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise StoreUnavailable(
                Sentence(
                    "Some conversations could not be moved because the cloud is unavailable. Nothing "
                    "was lost; move the rest again in a moment."
                )
            ) from error


def _files_of(documents: Sequence[Document]) -> list[str]:
    return [one.file for one in documents if one.file]


def _is_empty(profile: Profile) -> bool:
    return replace(profile, revision=0) == Profile()


def _id_for(user: str, guest: str, conversation_id: str) -> str:
    return hashlib.sha256(f"taken along\0{user}\0{guest}\0{conversation_id}".encode()).hexdigest()[:32]
