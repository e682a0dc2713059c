"""Lists of a user's conversations: the cloud's list merged with the waiting writes, or the cached list."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from chatapp.domain.errors import ConversationNotFound
from chatapp.store import Consistency, Page
from chatapp.store.journal.overlay import merged_conversation, recorded_conversation
from chatapp.store.journal.recent import Listed
from chatapp.store.journal.sources import Sources
from chatapp.store.library import of_folder
from chatapp.store.values import BEGINNING, MAX_PAGE, MAX_PINNED, cursor_after, position, sort_key

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.domain.conversation import Conversation
    from chatapp.store.journal.overlay import Waiting


class Lists(Sources):
    """The part of a `chatapp.store.journal.store.JournaledStore`, which documents it, that lists conversations."""

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, consistency: Consistency = Consistency.LATEST
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        limit = min(max(limit, 1), MAX_PAGE)
        first = position(cursor) == BEGINNING
        with self._calls.track():
            if consistency is Consistency.CACHED and first and (cached := self._cached_page(user, limit)):
                return cached
            reading = self._cloud_reads.begin(user)
            waiting = await self._journal.waiting_of(user)
            listed = self._recent.listed(user) if first else None

            async def read() -> Page[Conversation]:
                if waiting:
                    page = await self._merged_page(user, limit, cursor, waiting)
                else:
                    page = await self._cloud.conversations(user, limit=limit, cursor=cursor)
                if first and reading.is_current:
                    self._recent.keep_list(user, page, limit)
                return page

            def local() -> Page[Conversation] | None:
                known = listed or Listed({}, None, limit)
                bases = {id_: known.conversations.get(id_) or recorded_conversation(waiting[id_]) for id_ in waiting}
                merged = {one.id: one for one in _visible(bases, waiting) if known.reaches(one)}
                unaffected = {id_: one for id_, one in known.conversations.items() if id_ not in waiting}
                page = Listed(unaffected | merged, known.cursor, limit).page(limit)
                return page if page.items else None

            fallback = local if first and (listed or waiting) else None
            return await self._cloud_reads.run(read(), fallback=fallback, is_patient=listed is None)

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned conversations, the last updated first."""
        with self._calls.track():
            cached = self._recent.pinned(user)
            if consistency is Consistency.CACHED and cached is not None:
                return cached[:MAX_PINNED]
            reading = self._cloud_reads.begin(user)
            waiting = await self._journal.waiting_of(user)

            async def read() -> list[Conversation]:
                pinned = {one.id: one for one in await self._cloud.pinned(user)}
                bases = {id_: pinned.get(id_) for id_ in waiting}
                bases |= await self._fetched(user, [id_ for id_ in waiting if id_ not in pinned])
                merged = _pinned(pinned.values(), bases, waiting)
                if reading.is_current:
                    self._recent.keep_pinned(user, merged)
                return merged

            def local() -> list[Conversation]:
                bases = {
                    id_: self._recent.conversation((user, id_)) or recorded_conversation(writes)
                    for id_, writes in waiting.items()
                }
                return _pinned(cached or (), bases, waiting)

            fallback = local if waiting or cached is not None else None
            return await self._cloud_reads.run(read(), fallback=fallback, is_patient=cached is None)

    async def in_folder(
        self, user: str, folder: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Conversation]:
        """Return the conversations of a folder, the last updated first; it has no cache but that of the list."""
        del consistency
        with self._calls.track():
            waiting = await self._journal.waiting_of(user)
            listed = self._recent.listed(user)

            async def read() -> list[Conversation]:
                stored = {one.id: one for one in await self._cloud.in_folder(user, folder)}
                bases = {id_: stored.get(id_) for id_ in waiting}
                bases |= await self._fetched(user, [id_ for id_ in waiting if id_ not in stored])
                unaffected = [one for one in stored.values() if one.id not in waiting]
                return of_folder([*unaffected, *_visible(bases, waiting)], folder)

            def local() -> list[Conversation]:
                bases = {
                    id_: self._recent.conversation((user, id_)) or recorded_conversation(writes)
                    for id_, writes in waiting.items()
                }
                unaffected = [one for one in (listed.conversations if listed else {}).values() if one.id not in waiting]
                return of_folder([*unaffected, *_visible(bases, waiting)], folder)

            fallback = local if waiting or listed is not None else None
            return await self._cloud_reads.run(read(), fallback=fallback, is_patient=listed is None)

    def _cached_page(self, user: str, limit: int) -> Page[Conversation] | None:
        """Return the first page from the cache, if it was read with at least this limit and is not empty."""
        listed = self._recent.listed(user)
        if listed is None or (listed.cursor and listed.limit < limit):
            return None
        page = listed.page(limit)
        return page if page.items or not page.cursor else None

    async def _merged_page(
        self, user: str, limit: int, cursor: str | None, waiting: dict[str, list[Waiting]]
    ) -> Page[Conversation]:
        """Return a page of the cloud's conversations, merged with the waiting writes.

        A write only ever moves a conversation forward in the list. So conversations with waiting writes are removed
        from the cloud's pages and inserted at their new position.
        """
        bases: dict[str, Conversation | None] = {}
        unaffected: list[Conversation] = []
        after: str | None = cursor
        at_once = min(limit + len(waiting) + 1, MAX_PAGE)
        while True:
            page = await self._cloud.conversations(user, limit=at_once, cursor=after)
            bases |= {one.id: one for one in page.items if one.id in waiting}
            unaffected += [one for one in page.items if one.id not in waiting]
            after = page.cursor
            if after is None or len(unaffected) > limit:
                break
        unseen = [id_ for id_ in waiting if id_ not in bases]
        if after is None and position(cursor) == BEGINNING:
            bases |= dict.fromkeys(unseen)  # the whole list was read: the cloud has none of these
        else:
            bases |= await self._fetched(user, unseen)
        merged = [one for one in _visible(bases, waiting) if sort_key(one) < position(cursor)]
        ordered = sorted([*unaffected, *merged], key=sort_key, reverse=True)
        return Page(ordered[:limit], cursor_after(ordered[limit - 1]) if len(ordered) > limit else None)

    async def _fetched(self, user: str, ids: list[str]) -> dict[str, Conversation | None]:
        async def fetched(conversation_id: str) -> Conversation | None:
            with suppress(ConversationNotFound):
                return await self._cloud.conversation(user, conversation_id)
            return None

        return dict(zip(ids, await asyncio.gather(*map(fetched, ids)), strict=True))


def _pinned(
    listed: Iterable[Conversation], bases: dict[str, Conversation | None], waiting: dict[str, list[Waiting]]
) -> list[Conversation]:
    unaffected = [one for one in listed if one.id not in waiting]
    pinned = (one for one in [*unaffected, *_visible(bases, waiting)] if one.pinned and not one.deleted_ms)
    return sorted(pinned, key=sort_key, reverse=True)[:MAX_PINNED]


def _visible(bases: dict[str, Conversation | None], waiting: dict[str, list[Waiting]]) -> list[Conversation]:
    merged = (merged_conversation(bases[id_], writes) for id_, writes in waiting.items())
    return [conversation for conversation in merged if conversation]
