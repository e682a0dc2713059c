"""Inserting imported conversations into a store: idempotent, and resumable after a failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from chatapp.domain.conversation import MessageStatus, Profile
from chatapp.domain.errors import ChatError, ConversationNotFound
from chatapp.domain.library import Collection, Folder
from chatapp.store.values import attached_bytes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from chatapp.domain.conversation import Conversation, Message
    from chatapp.store import ConversationStore, LibraryStore, ProfileStore

# In one write: well below Firestore's limit, and fast enough for the timeout of one request.
BATCH_MESSAGES, BATCH_BYTES = 100, 1_000_000
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


async def add(
    store: ConversationStore,
    user: str,
    conversation: Conversation,
    messages: Sequence[Message],
    added: Added,
    *,
    oldest_ms: int = 0,
    complete: Callable[[Message], Awaitable[Message]] | None = None,
) -> None:
    """Add a conversation, or those of its messages that are new or have a higher revision; count them in ``added``.

    The fields of an existing conversation are not changed. A running answer becomes an interrupted one. Messages from
    before ``oldest_ms`` are skipped. ``complete`` is called with each message before it is stored, for example to add
    its images; only with those that are new.

    Raises:
        IdTaken: another user has a conversation with this id; nothing was changed.
        StoreUnavailable: the store is unavailable; earlier batches stay.
    """
    retained = [message for message in messages if message.created_ms >= oldest_ms]
    added.expired += len(messages) - len(retained)
    if not retained and messages:
        return
    stored = await _revisions(store, user, conversation.id)
    new = [_ended(message) for message in retained if stored is None or message.revision > stored.get(message.id, -1)]
    added.existing += len(retained) - len(new)
    is_new = stored is None
    async for batch in _batches(new, complete):
        if is_new:
            await _create(store, user, conversation, batch)
            added.conversations += 1
            is_new = False
        elif batch:
            await store.append(user, conversation.id, *batch)
        added.messages += len(batch)


async def _create(store: ConversationStore, user: str, conversation: Conversation, messages: Sequence[Message]) -> None:
    try:
        await store.create(user, replace(conversation, deleted_ms=0), *messages)
    except ConversationNotFound as error:
        raise IdTaken("Another user of this chat has a conversation with this id; it was skipped.") from error


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


async def _revisions(store: ConversationStore, user: str, conversation_id: str) -> dict[str, int] | None:
    """Return the revision of each stored message by id; None if there is no such conversation."""
    try:
        return {message.id: message.revision for message in await store.messages(user, conversation_id)}
    except ConversationNotFound:
        return None


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
        text = one.content + one.thinking
        length = len(text.encode(errors="replace")) + attached_bytes([one])
        if batch and (len(batch) == BATCH_MESSAGES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += length
    yield batch
