"""Which messages of a conversation are only on this replica's disk, as the page shows it.

With Firestore healthy a message is there within milliseconds, and no page sees a mark appear and go again: a message is
marked only after it has waited for `PATIENCE_S`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chatapp.domain.conversation import MessageStatus, now_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.domain.conversation import Message
    from chatapp.http.api.schemas.messages import MessageBody
    from chatapp.store import ConversationStore

PATIENCE_S = 1.0


class UnsavedMessages:
    """The marks that one stream of a conversation has sent to its page."""

    def __init__(self, store: ConversationStore, user: str, conversation_id: str) -> None:
        self._store = store
        self._key = user, conversation_id
        self._marked: set[str] = set()
        self._look_at = time.monotonic() + PATIENCE_S

    def is_marked(self, message_id: str) -> bool:
        """Return whether the page shows a message as not saved."""
        return message_id in self._marked

    async def mark(self, bodies: Iterable[MessageBody]) -> None:
        """Mark the messages that have waited for a while already."""
        if waiting := await self._store.undelivered(*self._key):
            latest_ms = now_ms() - PATIENCE_S * 1000
            for body in bodies:
                if body.id in waiting and body.status is not MessageStatus.STREAMING and body.created_ms < latest_ms:
                    body.saved = False
                    self._marked.add(body.id)

    async def changes(self, message: Message) -> list[Message]:
        """Return a message if its mark has to change; it looks at most once per `PATIENCE_S`."""
        if time.monotonic() < self._look_at:
            return []
        is_waiting = message.id in await self._store.undelivered(*self._key)
        # It never changes again: one that is saved needs no further look.
        self._look_at = time.monotonic() + PATIENCE_S if is_waiting else float("inf")
        return self._changed([message], {message.id} if is_waiting else set())

    async def last_changes(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages whose mark has to change; those that wait may be saved within `PATIENCE_S`."""
        deadline = time.monotonic() + PATIENCE_S
        for message_id in sorted(await self._store.undelivered(*self._key)):  # sorted: the same order in each process
            seconds = max(0.0, deadline - time.monotonic())
            await self._store.delivered(*self._key, message_id, seconds=seconds)
        ended = [message for message in messages if message.status is not MessageStatus.STREAMING]
        return self._changed(ended, await self._store.undelivered(*self._key))

    def _changed(self, messages: Sequence[Message], waiting: set[str]) -> list[Message]:
        changed = [message for message in messages if (message.id in waiting) != (message.id in self._marked)]
        self._marked ^= {message.id for message in changed}
        return changed
