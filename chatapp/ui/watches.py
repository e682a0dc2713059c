"""One watch at a time per open page, so that nothing of one conversation shows in the next."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

T = TypeVar("T")
SUPERSEDE_SECONDS = 1.0  # a page that went away takes nothing any more; the next one does not wait for it


class Watches:
    """The running watches, by page: a user and the session that Gradio's client names."""

    def __init__(self) -> None:
        self._watches: dict[tuple[str, str], _Watch] = {}

    @asynccontextmanager
    async def only(self, page: tuple[str, str]) -> AsyncIterator[asyncio.Event]:
        """End the page's earlier watch and wait until all that it sent is on its way; yield what will end this one.

        Gradio's own ``cancels`` does this from the browser, where it can come too late.
        """
        mine = _Watch()
        before, self._watches[page] = self._watches.get(page), mine
        if before is not None:
            before.superseded.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(SUPERSEDE_SECONDS):
                    await before.ended.wait()
        try:
            yield mine.superseded
        finally:
            mine.ended.set()
            if self._watches.get(page) is mine:
                del self._watches[page]


async def until(end: asyncio.Event, values: AsyncGenerator[T]) -> AsyncGenerator[T]:
    """Yield values until they, or the wait for the next one, are ended by ``end``."""
    ending = asyncio.ensure_future(end.wait())
    try:
        while True:
            upcoming = asyncio.ensure_future(anext(values))
            await asyncio.wait({upcoming, ending}, return_when=asyncio.FIRST_COMPLETED)
            if ending.done():
                upcoming.cancel()
                await asyncio.gather(upcoming, return_exceptions=True)
                return
            try:
                value = upcoming.result()
            except StopAsyncIteration:
                return
            yield value
    finally:
        ending.cancel()


class _Watch:
    """A running watch."""

    def __init__(self) -> None:
        self.superseded = asyncio.Event()
        self.ended = asyncio.Event()
