"""The calls of a store that are under way, and the end of taking more."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

CLOSED = Sentence("The chat is shutting down. Nothing was changed. Start it and try again.")


class Calls:
    """Counts calls, so that a store that closes can wait for those that it accepted.

    Attributes:
        closing: set once; no call is accepted from then on.
    """

    def __init__(self) -> None:
        self.closing = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold the place of one call.

        Raises:
            StoreUnavailable: the store is closing.
        """
        if self.closing:
            raise StoreUnavailable(CLOSED)
        self._under_way += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def finish(self) -> None:
        """Wait until no call is under way."""
        await self._idle.wait()
