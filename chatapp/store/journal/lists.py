"""Lists of a user's conversations: the cloud's list merged with the waiting writes, or the cached list."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chatapp.domain.errors import StoreUnavailable
from chatapp.store import Consistency, Page
from chatapp.store.journal.overlay import base_of, conversation_over, known_of
from chatapp.store.journal.recent import Listed
from chatapp.store.values import BEGINNING, MAX_PAGE, MAX_PINNED, cursor_after, position, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.domain.conversation import Conversation
    from chatapp.store import ConversationStore
    from chatapp.store.journal.asking import Asking
    from chatapp.store.journal.journal import Journal
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.recent import Recent


class Lists:
    """The lists of a `chatapp.store.journal.store.JournaledStore`, which says what they show."""

    def __init__(self, journal: Journal, cloud: ConversationStore, recent: Recent, asking: Asking) -> None:
        self._journal = journal
        self._cloud = cloud
        self._recent = recent
        self._asking = asking

    async def conversations(
        self, user: str, limit: int, cursor: str | None, *, consistency: Consistency
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        limit = min(max(limit, 1), MAX_PAGE)
        first = position(cursor) == BEGINNING
        if consistency is Consistency.CACHED and first and (known := self._known(user, limit)):
            return known
        reading = self._asking.begin(user)
        waiting = await self._journal.waiting_of(user)
        listed = self._recent.listed(user) if first else None

        async def page() -> Page[Conversation]:
            if waiting:
                found = await self._merged(user, limit, cursor, waiting)
            else:
                found = await self._cloud.conversations(user, limit=limit, cursor=cursor)
            if first and reading.is_current:
                self._recent.keep_list(user, found, limit)
            return found

        try:
            return await self._asking.ask(page(), hurry=listed is not None or (bool(waiting) and self._asking.in_vain))
        except StoreUnavailable:
            listed = listed or Listed({}, None, limit)
            bases = {name: listed.conversations.get(name) or known_of(waiting[name]) for name in waiting}
            shown = {one.id: one for one in _visible(bases, waiting) if listed.reaches(one)}
            others = {name: one for name, one in listed.conversations.items() if name not in waiting}
            found = Listed(others | shown, listed.cursor, limit).page(limit)
            if not first or not found.items:
                raise
            return found

    async def pinned(self, user: str, *, consistency: Consistency) -> list[Conversation]:
        """Return the user's pinned conversations, the last updated first."""
        known = self._recent.pinned(user)
        if consistency is Consistency.CACHED and known is not None:
            return known[:MAX_PINNED]
        reading = self._asking.begin(user)
        waiting = await self._journal.waiting_of(user)

        async def ask() -> list[Conversation]:
            pinned = {one.id: one for one in await self._cloud.pinned(user)}
            unseen = [name for name in waiting if name not in pinned]
            found = await asyncio.gather(*(base_of(self._cloud, (user, one)) for one in unseen))
            bases = {name: pinned.get(name) for name in waiting} | dict(zip(unseen, found, strict=True))
            others = [one for name, one in pinned.items() if name not in waiting]
            shown = _pinned([*others, *_visible(bases, waiting)])
            if reading.is_current:
                self._recent.keep_pinned(user, shown)
            return shown

        try:
            return await self._asking.ask(ask(), hurry=known is not None or (bool(waiting) and self._asking.in_vain))
        except StoreUnavailable:
            if known is None and not waiting:
                raise
            bases = {name: self._recent.conversation((user, name)) or known_of(waiting[name]) for name in waiting}
            others = [one for one in known or () if one.id not in waiting]
            return _pinned([*others, *_visible(bases, waiting)])

    def _known(self, user: str, limit: int) -> Page[Conversation] | None:
        """Return the first page from what was last seen, if that was as much and something of it is left."""
        listed = self._recent.listed(user)
        if listed is None or (listed.cursor and listed.limit < limit):
            return None
        page = listed.page(limit)
        return page if page.items or not page.cursor else None

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
            found = await asyncio.gather(*(base_of(self._cloud, (user, one)) for one in unseen))
            bases |= dict(zip(unseen, found, strict=True))
        shown = [one for one in _visible(bases, waiting) if sort_key(one) < position(cursor)]
        ordered = sorted([*others, *shown], key=sort_key, reverse=True)
        return Page(ordered[:limit], cursor_after(ordered[limit - 1]) if len(ordered) > limit else None)


def _pinned(conversations: Iterable[Conversation]) -> list[Conversation]:
    pinned = (one for one in conversations if one.pinned and not one.deleted_ms)
    return sorted(pinned, key=sort_key, reverse=True)[:MAX_PINNED]


def _visible(bases: dict[str, Conversation | None], waiting: dict[str, list[Waiting]]) -> list[Conversation]:
    found = (conversation_over(bases[name], writes) for name, writes in waiting.items())
    return [conversation for conversation in found if conversation]
