"""Reading: what the cloud shows with what waits here laid over it, or, if it does not answer, what was last seen."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from chatapp.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Page
from chatapp.store.journal_overlay import Kind, conversation_over, known_of, messages_over
from chatapp.store.values import BEGINNING, MAX_PAGE, UNREACHABLE, cursor_after, position

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from chatapp.conversation import Conversation, Message
    from chatapp.store import ConversationStore
    from chatapp.store.journal import Journal
    from chatapp.store.journal_overlay import Waiting
    from chatapp.store.journal_recent import Recent
    from chatapp.store.journal_rows import Key

T = TypeVar("T")

# Where a read could show what was last seen, it waits this long for the cloud; once in vain, not again for a while.
PATIENCE_S, ASK_AGAIN_S = 1.0, 5.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class _Reading:
    """A read under way; ``is_current`` while what it finds is all that is known."""

    user: str
    is_current: bool = True


class Reads:
    """The reads of a `chatapp.store.journaled.JournaledStore`, which says what they show.

    The journal is always read before the cloud: what is delivered in between is then in both, which changes nothing;
    the other way round it would be in neither. A read that nobody waits for any more goes on, so that even a
    conversation that takes long to read is remembered as it is now.
    """

    def __init__(self, journal: Journal, cloud: ConversationStore, recent: Recent) -> None:
        self._journal = journal
        self._cloud = cloud
        self.recent = recent
        self._ask_again_at = 0.0  # by the monotonic clock
        self._readings: WeakSet[_Reading] = WeakSet()
        self._tasks: set[asyncio.Task[Any]] = set()

    def wrote(self, user: str) -> None:
        """Note that the user wrote something: what is being read may be without it, and is not to be remembered."""
        for reading in self._readings:
            reading.is_current = reading.is_current and reading.user != user

    def forget(self, key: Key) -> None:
        """Forget a conversation that is deleted, whatever is still being read."""
        self.wrote(key[0])
        self.recent.forget(key)

    async def aclose(self) -> None:
        """Break off what is being read."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def conversations(self, user: str, limit: int, cursor: str | None) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        limit = min(max(limit, 1), MAX_PAGE)
        first = position(cursor) == BEGINNING
        reading = self._begin(user)
        waiting = await self._journal.waiting_of(user)
        listed = self.recent.listed(user) if first else None
        is_here = listed is not None or (bool(waiting) and time.monotonic() < self._ask_again_at)

        async def page() -> Page[Conversation]:
            if waiting:
                found = await self._merged(user, limit, cursor, waiting)
            else:
                found = await self._cloud.conversations(user, limit=limit, cursor=cursor)
            if first and reading.is_current:
                self.recent.keep_list(user, found.items, more=found.cursor is not None)
            return found

        try:
            return await self._from_cloud(page(), hurry=is_here)
        except StoreUnavailable:
            known, more = listed or ({}, False)
            bases = {name: known.get(name) or known_of(waiting[name]) for name in waiting}
            shown = [*(one for one in known.values() if one.id not in waiting), *_visible(bases, waiting)]
            if not first or not (listed or shown):
                raise
            local = _page(shown, limit)
            return Page(local.items, local.cursor or (cursor_after(local.items[-1]) if more and local.items else None))

    async def conversation(self, key: Key) -> Conversation:
        """Return one conversation."""
        reading = self._begin(key[0])
        waiting = await self._journal.waiting(key)
        recent = self.recent.conversation(key) or known_of(waiting)

        async def conversation() -> Conversation:
            found = conversation_over(await self._base(*key), waiting)
            if found is None:
                self.recent.forget(key)
                raise ConversationNotFound
            if reading.is_current:
                self.recent.keep_conversation(key, found)
            return found

        try:
            return await self._from_cloud(conversation(), hurry=recent is not None or _has_creation(waiting))
        except StoreUnavailable:
            if recent is None and not waiting:
                raise
            found = conversation_over(recent, waiting)
            if found is None:
                raise ConversationNotFound from None
            return found

    async def messages(self, key: Key) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``."""
        reading = self._begin(key[0])
        waiting = await self._journal.waiting(key)
        recent = self.recent.messages(key)

        async def messages() -> list[Message]:
            base: Sequence[Message] | None
            try:
                base = await self._cloud.messages(*key)
            except ConversationNotFound:
                base = None
            found = messages_over(base, waiting)
            if found is None:
                self.recent.forget(key)
                raise ConversationNotFound
            if reading.is_current:
                self.recent.keep_messages(key, found)
            return found

        try:
            return await self._from_cloud(messages(), hurry=recent is not None or _has_creation(waiting))
        except StoreUnavailable:
            if recent is None and not any(write.kind is not Kind.UPDATE for write in waiting):
                raise
            if recent is None and waiting[0].kind in (Kind.APPEND, Kind.UPDATE):
                recent = []  # the rest is out of reach
            found = messages_over(recent, waiting)
            if found is None:
                raise ConversationNotFound from None
            return found

    def _begin(self, user: str) -> _Reading:
        reading = _Reading(user)
        self._readings.add(reading)
        return reading

    async def _merged(
        self, user: str, limit: int, cursor: str | None, waiting: dict[str, list[Waiting]]
    ) -> Page[Conversation]:
        """Return a page of the cloud's conversations with what waits laid over them.

        A write only ever moves a conversation forward in the list. So those of which something waits are left out of
        what the cloud lists, and come in where they belong.
        """
        bases: dict[str, Conversation | None] = {}
        others: list[Conversation] = []
        after: str | None = cursor
        at_once = min(limit + len(waiting) + 1, MAX_PAGE)
        while True:
            page = await self._cloud.conversations(user, limit=at_once, cursor=after)
            bases |= {one.id: one for one in page.items if one.id in waiting}
            others += [one for one in page.items if one.id not in waiting]
            after = page.cursor
            if after is None or len(others) > limit:
                break
        unseen = [conversation_id for conversation_id in waiting if conversation_id not in bases]
        if after is None and position(cursor) == BEGINNING:
            bases |= dict.fromkeys(unseen)  # all was seen
        else:
            bases |= dict(zip(unseen, await asyncio.gather(*(self._base(user, one) for one in unseen)), strict=True))
        shown = [one for one in _visible(bases, waiting) if (one.updated_ms, one.id) < position(cursor)]
        return _page([*others, *shown], limit)

    async def _base(self, user: str, conversation_id: str) -> Conversation | None:
        try:
            return await self._cloud.conversation(user, conversation_id)
        except ConversationNotFound:
            return None

    async def _from_cloud(self, reading: Coroutine[None, None, T], *, hurry: bool) -> T:
        """Read from the cloud; in a ``hurry`` only for `PATIENCE_S`, and not if it just failed to answer."""
        if hurry and time.monotonic() < self._ask_again_at:
            reading.close()
            raise StoreUnavailable(UNREACHABLE)
        task = asyncio.create_task(reading)
        self._tasks.add(task)
        task.add_done_callback(self._note)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S if hurry else None)
        if not done or task.cancelled():  # in time, or before the chat ended
            self._ask_again_at = time.monotonic() + ASK_AGAIN_S
            raise StoreUnavailable(UNREACHABLE)
        return task.result()

    def _note(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            failed = isinstance(task.exception(), StoreUnavailable)
            self._ask_again_at = time.monotonic() + ASK_AGAIN_S if failed else 0.0


def _has_creation(waiting: list[Waiting]) -> bool:
    return any(write.kind is Kind.CREATE for write in waiting)


def _visible(bases: dict[str, Conversation | None], waiting: dict[str, list[Waiting]]) -> list[Conversation]:
    found = (conversation_over(bases[name], writes) for name, writes in waiting.items())
    return [conversation for conversation in found if conversation]


def _page(conversations: list[Conversation], limit: int) -> Page[Conversation]:
    """Return the first of them, the last updated first."""
    ordered = sorted(conversations, key=lambda one: (one.updated_ms, one.id), reverse=True)
    return Page(ordered[:limit], cursor_after(ordered[limit - 1]) if len(ordered) > limit else None)
