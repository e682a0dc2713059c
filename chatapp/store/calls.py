"""Counting a store's calls in progress, so that closing can wait for them."""

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
    """Counts calls in progress; a store that closes waits for them.

    Attributes:
        closing: once it is set, no call is accepted.
    """

    def __init__(self) -> None:
        self.closing = False
        self._in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @contextmanager
    def track(self) -> Iterator[None]:
        """Count one call.

        Raises:
            StoreUnavailable: the store is closing.
        """
        if self.closing:
            raise StoreUnavailable(CLOSED)
        self._in_progress += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._idle.set()

    async def finish(self) -> None:
        """Wait until no call is in progress."""
        await self._idle.wait()
