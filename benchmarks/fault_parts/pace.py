"""When turns begin: so many in so many seconds, in one phase after the other."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

BEHIND_SECONDS = 1.0  # what was missed while nobody could begin is made up for, up to this


class Pace:
    """Lets people begin turns, evenly; whoever comes when a phase has had its share waits for the next."""

    def __init__(self) -> None:
        self.begun = 0  # in all phases
        self._phase: str | None = None
        self._left = 0
        self._interval = 0.0
        self._next = 0.0
        self._over = False
        self._used_up = asyncio.Event()
        self._changed = asyncio.Event()
        self._in_line = asyncio.Lock()

    async def run(self, phase: str, turns: int, seconds: float, *, at_most: float) -> None:
        """Let this many turns begin within ``seconds``; if people are held up, wait for them until ``at_most``."""
        self._phase, self._left, self._interval, self._next = phase, turns, seconds / max(turns, 1), time.monotonic()
        self._used_up.clear()
        if turns <= 0:
            self._used_up.set()
        self._change()
        await asyncio.sleep(seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most - seconds):
                await self._used_up.wait()

    def end(self) -> None:
        """Let nobody begin any more."""
        self._over = True
        self._change()

    async def begin(self) -> str | None:
        """Wait for one's turn and return the name of the phase, None when all is over."""
        async with self._in_line:
            while not self._over:
                wait = self._next - time.monotonic() if self._left > 0 else None
                if wait is not None and wait <= 0:
                    self._next = max(self._next, time.monotonic() - BEHIND_SECONDS) + self._interval
                    self._left -= 1
                    if self._left == 0:
                        self._used_up.set()
                    self.begun += 1
                    return self._phase
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
            return None

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
