"""Serialized updates of conversations: each one starts from the result of the one before."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from chatapp.domain.conversation import CHANGEABLE, now_ms
from chatapp.domain.errors import ConversationNotFound
from chatapp.store import Consistency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chatapp.domain.conversation import Conversation
    from chatapp.store import ConversationStore


class ConversationUpdates:
    """Updates conversations one at a time; each changed field gets its time, so that replicas undo no other change."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def change(
        self,
        user: str,
        conversation_id: str,
        change: Callable[[Conversation], Conversation],
        *,
        chosen: Iterable[str] = (),
        consistency: Consistency = Consistency.CACHED,
        deleted_too: bool = False,
        at_ms: int | None = None,
    ) -> Conversation:
        """Apply ``change`` to a conversation, store the result if it differs, and return it.

        The fields that a person has ``chosen`` count as changed where other replicas write too: one of these may have
        to deliver an earlier change, which would else replace a value that does not differ here. A change counts as
        made ``at_ms``; None: now.

        Raises:
            ConversationNotFound: the user has no such conversation, or it is deleted and ``deleted_too`` is False.
            StoreUnavailable: nothing was changed.
        """
        async with self._lock(user, conversation_id):
            before = await self.get(user, conversation_id, consistency=consistency, deleted_too=deleted_too)
            names = set(chosen) if self._store.is_shared(conversation_id) else set()
            after = _stamped(before, change(before), names, now_ms() if at_ms is None else at_ms)
            if after != before or after.changed_ms != before.changed_ms:
                await self._store.update(user, after)
        return after

    async def get(
        self,
        user: str,
        conversation_id: str,
        *,
        consistency: Consistency = Consistency.CACHED,
        deleted_too: bool = False,
    ) -> Conversation:
        """Return a conversation.

        Raises:
            ConversationNotFound: there is none, or it is deleted and ``deleted_too`` is False.
        """
        conversation = await self._store.conversation(user, conversation_id, consistency=consistency)
        if conversation.deleted_ms and not deleted_too:
            raise ConversationNotFound(detail="deleted")
        return conversation

    async def purge(self, user: str, conversation_id: str) -> None:
        """Delete a conversation for good if it is still marked as deleted."""
        async with self._lock(user, conversation_id):
            if await self.is_deleted(user, conversation_id):
                await self._store.delete(user, conversation_id)

    async def is_deleted(self, user: str, conversation_id: str) -> bool:
        """Return whether a conversation is marked as deleted.

        Raises:
            StoreUnavailable: the cloud is; another replica may have undone the deletion.
        """
        try:
            conversation = await self._store.conversation(user, conversation_id, consistency=Consistency.STRICT)
        except ConversationNotFound:
            return False
        return bool(conversation.deleted_ms)

    def _lock(self, user: str, conversation_id: str) -> asyncio.Lock:
        return self._locks.setdefault((user, conversation_id), asyncio.Lock())


def _stamped(before: Conversation, after: Conversation, chosen: set[str], at_ms: int) -> Conversation:
    """Return ``after`` with the time of each change, later than that of the former change of the same field."""
    names = [name for name in CHANGEABLE if name in chosen or getattr(after, name) != getattr(before, name)]
    stamps = {name: max(at_ms, before.changed_ms.get(name, 0) + 1) for name in names}
    return replace(after, changed_ms={**before.changed_ms, **stamps}) if stamps else after
