"""Inserting imported conversations into a store: idempotent, and resumable after a failure."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from chatapp.domain.conversation import MessageStatus, Profile
from chatapp.domain.errors import ChatError
from chatapp.domain.library import Collection, Folder
from chatapp.store.values import attached_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

    from chatapp.domain.conversation import Conversation, Message
    from chatapp.store import ConversationStore, LibraryStore, ProfileStore

# In one write: well below Firestore's limit, and fast enough for the timeout of one request.
BATCH_CONVERSATIONS, BATCH_MESSAGES, BATCH_BYTES = 100, 100, 1_000_000
EntryT = TypeVar("EntryT", Collection, Folder)


class IdTaken(ChatError):
    """Another user has a conversation with this id."""


@dataclass(slots=True)
class Added:
    """Counts of inserted data.

    Attributes:
        conversations: that are new.
        messages: that are new, or newer than the stored revision.
        existing: messages that were already stored.
        personas: that are new.
        expired: messages that are older than the retention period, which were skipped.
    """

    conversations: int = 0
    messages: int = 0
    existing: int = 0
    personas: int = 0
    expired: int = 0

    def __str__(self) -> str:
        words = f"{self.conversations:,} new conversations, {self.messages:,} new messages"
        words += f", {self.personas:,} new personas" if self.personas else ""
        words += f"; {self.existing:,} messages were already stored" if self.existing else ""
        return words + (
            f"; {self.expired:,} messages are older than CHAT_RETENTION_DAYS and were skipped" if self.expired else ""
        )


@dataclass(slots=True, eq=False)
class Entry:
    """A conversation to insert.

    Attributes:
        messages: all of its messages; those that are stored already are left out.
        added: where its data are counted; several entries may share it.
        complete: called with each new message before it is stored, for example to add its images.
        is_taken: set if another user has a conversation with this id: nothing of it was stored.
    """

    conversation: Conversation
    messages: Sequence[Message]
    added: Added = field(default_factory=Added)
    complete: Callable[[Message], Awaitable[Message]] | None = None
    is_taken: bool = False


async def add(
    store: ConversationStore,
    user: str,
    conversation: Conversation,
    messages: Sequence[Message],
    added: Added,
    *,
    oldest_ms: int = 0,
) -> None:
    """Add one conversation as `add_all` does.

    Raises:
        IdTaken: another user has a conversation with this id; nothing was changed.
        StoreUnavailable: the store is unavailable; earlier batches stay.
    """
    entry = Entry(conversation, messages, added)
    await add_all(store, user, [entry], oldest_ms=oldest_ms)
    refuse_if_taken([entry])


def refuse_if_taken(entries: Iterable[Entry]) -> None:
    """Refuse conversations that were not stored.

    Raises:
        IdTaken: another user has a conversation with the id of one of them.
    """
    if any(entry.is_taken for entry in entries):
        raise IdTaken("Another user of this chat has a conversation with this id; it was skipped.")


async def add_all(store: ConversationStore, user: str, entries: Sequence[Entry], *, oldest_ms: int = 0) -> None:
    """Add conversations, or those of their messages that are new or have a higher revision, in few writes.

    The first messages of a conversation, up to `BATCH_MESSAGES`, are stored together with it. The fields of an existing
    conversation are not changed. A running answer becomes an interrupted one. Messages from before ``oldest_ms`` are
    skipped.

    Raises:
        StoreUnavailable: the store is unavailable; earlier batches stay, and are counted.
    """
    group: dict[str, Entry] = {}
    for entry in entries:
        if entry.conversation.id in group:  # of the second one, only what the first one lacks is new
            await _add_group(store, user, list(group.values()), oldest_ms)
            group = {}
        group[entry.conversation.id] = entry
    if group:
        await _add_group(store, user, list(group.values()), oldest_ms)


async def _add_group(store: ConversationStore, user: str, entries: Sequence[Entry], oldest_ms: int) -> None:
    """Add conversations with different ids."""
    stored = await store.revisions(user, [entry.conversation.id for entry in entries])
    creations = _Creations(store, user)
    for entry in entries:
        revisions = stored.get(entry.conversation.id)
        retained = [message for message in entry.messages if message.created_ms >= oldest_ms]
        entry.added.expired += len(entry.messages) - len(retained)
        if not retained and entry.messages:
            continue
        new = [_ended(one) for one in retained if revisions is None or one.revision > revisions.get(one.id, -1)]
        entry.added.existing += len(retained) - len(new)
        exists = revisions is not None
        async with aclosing(_batches(new, entry.complete)) as batches:
            async for batch in batches:
                if not exists:
                    await creations.add(entry, batch)
                    exists = True
                elif batch:
                    await creations.flush()
                    if entry.is_taken:
                        break
                    await store.append(user, entry.conversation.id, *batch)
                    entry.added.messages += len(batch)
    await creations.flush()


class _Creations:
    """New conversations that are stored in one write when they are many enough."""

    def __init__(self, store: ConversationStore, user: str) -> None:
        self._store = store
        self._user = user
        self._waiting: list[tuple[Entry, list[Message]]] = []
        self._messages = self._bytes = 0

    async def add(self, entry: Entry, messages: list[Message]) -> None:
        """Take a conversation with its first messages."""
        size = sum(map(_bytes, messages))
        is_full = self._messages + len(messages) > BATCH_MESSAGES or self._bytes + size > BATCH_BYTES
        if is_full or len(self._waiting) == BATCH_CONVERSATIONS:
            await self.flush()
        self._waiting.append((entry, messages))
        self._messages += len(messages)
        self._bytes += size

    async def flush(self) -> None:
        """Store those that wait, and count them."""
        if not self._waiting:
            return
        new = [(replace(entry.conversation, deleted_ms=0), messages) for entry, messages in self._waiting]
        taken = await self._store.create_all(self._user, new)
        for entry, messages in self._waiting:
            entry.is_taken = entry.conversation.id in taken
            if not entry.is_taken:
                entry.added.conversations += 1
                entry.added.messages += len(messages)
        self._waiting.clear()
        self._messages = self._bytes = 0


async def add_profile(store: ProfileStore, user: str, profile: Profile) -> int:
    """Add the new personas, and all settings if none are stored; return the number of new personas.

    Collections and folders are not added: see `add_library`.

    Raises:
        StoreUnavailable: the store is unavailable; nothing was changed.
    """
    stored, profile = await store.profile(user), profile.without_library
    existing = {persona.id for persona in stored.personas}
    new = [persona for persona in profile.personas if persona.id not in existing]
    base = profile if stored.without_library == Profile() else stored
    after = replace(base, personas=(*stored.personas, *new), revision=stored.revision)
    if after != stored:
        await store.save_profile(user, replace(after, revision=stored.revision + 1))
    return len(new)


async def add_library(store: LibraryStore, user: str, profile: Profile) -> tuple[int, int]:
    """Add the collections and folders of a profile that are new; return how many of each.

    Raises:
        StoreUnavailable: the store is unavailable, or all together are too large; nothing was changed.
    """
    counts = 0, 0

    def change(stored: Profile) -> Profile:
        nonlocal counts
        collections = _new(profile.collections, stored.collections)
        folders = _new(profile.folders, stored.folders)
        counts = len(collections), len(folders)
        return replace(stored, collections=(*stored.collections, *collections), folders=(*stored.folders, *folders))

    if profile.collections or profile.folders:
        await store.change_library(user, change)
    return counts


def _new(entries: Sequence[EntryT], stored: Sequence[EntryT]) -> list[EntryT]:
    ids = {one.id for one in stored}
    return [one for one in entries if one.id not in ids]


def _ended(message: Message) -> Message:
    if message.status is MessageStatus.STREAMING:
        return replace(message, status=MessageStatus.INTERRUPTED)
    return message


async def _batches(
    messages: Sequence[Message], complete: Callable[[Message], Awaitable[Message]] | None
) -> AsyncGenerator[list[Message]]:
    """Yield the messages in batches for one write each; one empty batch if there are none."""
    batch: list[Message] = []
    size = 0
    for message in messages:
        one = await complete(message) if complete else message
        length = _bytes(one)
        if batch and (len(batch) == BATCH_MESSAGES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length
    yield batch


def _bytes(message: Message) -> int:
    return len((message.content + message.thinking).encode(errors="replace")) + attached_bytes([message])
