"""Inserting imported conversations into a store: idempotent, and resumable after a failure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from chatapp.domain.conversation import MessageStatus, Profile
from chatapp.domain.errors import ChatError, ConversationNotFound

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chatapp.domain.conversation import Conversation, Message
    from chatapp.store import Store

# In one write: well below what Firestore takes, and quick enough for the time that one request has.
BATCH_MESSAGES, BATCH_BYTES = 100, 1_000_000


class IdTaken(ChatError):
    """Another user of the same history has a conversation with this id."""


@dataclass(slots=True)
class Added:
    """Counts of what was inserted.

    Attributes:
        conversations: that are new.
        messages: that are new, or newer than what was there.
        known: messages that were already stored.
        personas: that are new.
        expired: messages that are older than the retention period, which were left out.
    """

    conversations: int = 0
    messages: int = 0
    known: int = 0
    personas: int = 0
    expired: int = 0

    def __str__(self) -> str:
        words = f"{self.conversations:,} new conversations, {self.messages:,} new messages"
        words += f", {self.personas:,} new personas" if self.personas else ""
        words += f"; {self.known:,} messages were there already" if self.known else ""
        return words + (
            f"; {self.expired:,} messages are older than CHAT_RETENTION_DAYS and were left out" if self.expired else ""
        )


async def add(
    store: Store,
    user: str,
    conversation: Conversation,
    messages: Sequence[Message],
    added: Added,
    *,
    oldest_ms: int = 0,
) -> None:
    """Add a conversation, or those of its messages that are not there or have a higher revision; count it in ``added``.

    A conversation that is there stays as it is, but for its messages. An answer that was still being written is
    interrupted from here on. Messages from before ``oldest_ms`` are left out.

    Raises:
        IdTaken: another user has a conversation with this id; nothing was changed.
        StoreUnavailable: the store is unavailable; what was added stays.
    """
    kept = [message for message in messages if message.created_ms >= oldest_ms]
    added.expired += len(messages) - len(kept)
    if not kept and messages:
        return
    there = await _revisions(store, user, conversation.id)
    new = [_ended(message) for message in kept if there is None or message.revision > there.get(message.id, -1)]
    added.known += len(kept) - len(new)
    batches = list(_batches(new))
    if there is None:
        first = batches.pop(0) if batches else []
        try:
            await store.create(user, replace(conversation, deleted_ms=0), *first)
        except ConversationNotFound as error:
            raise IdTaken("Another user of this chat has a conversation with this id; it was left out.") from error
        added.conversations += 1
        added.messages += len(first)
    for batch in batches:
        await store.append(user, conversation.id, *batch)
        added.messages += len(batch)


async def add_profile(store: Store, user: str, profile: Profile) -> int:
    """Add the personas that are not there, and all else if nothing is remembered yet; return how many personas are new.

    Raises:
        StoreUnavailable: the store is unavailable; nothing was changed.
    """
    there = await store.profile(user)
    known = {persona.id for persona in there.personas}
    new = [persona for persona in profile.personas if persona.id not in known]
    kept = profile if there == Profile() else there
    after = replace(kept, personas=(*there.personas, *new), revision=there.revision)
    if after != there:
        await store.save_profile(user, replace(after, revision=there.revision + 1))
    return len(new)


async def _revisions(store: Store, user: str, conversation_id: str) -> dict[str, int] | None:
    """Return the revision of each message that is there, by id; None if there is no such conversation."""
    try:
        return {message.id: message.revision for message in await store.messages(user, conversation_id)}
    except ConversationNotFound:
        return None


def _ended(message: Message) -> Message:
    if message.status is MessageStatus.STREAMING:
        return replace(message, status=MessageStatus.INTERRUPTED)
    return message


def _batches(messages: Sequence[Message]) -> Iterator[list[Message]]:
    batch: list[Message] = []
    size = 0
    for message in messages:
        length = len(message.content.encode(errors="replace")) + sum(len(image.data) for image in message.images)
        if batch and (len(batch) == BATCH_MESSAGES or size + length > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(message)
        size += length
    if batch:
        yield batch
