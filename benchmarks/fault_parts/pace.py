"""The start rate of turns in each phase."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

BEHIND_SECONDS = 1.0  # turns that were due while the users were blocked start late, up to this delay


class Pace:
    """Starts turns at a constant rate; when a phase has started all its turns, users wait for the next phase."""

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
        """Start this many turns within ``seconds``; if users are blocked, within ``at_most``."""
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
        """Start no more turns."""
        self._over = True
        self._change()

    async def begin(self) -> str | None:
        """Wait for the next start and return the name of the phase, None after the last phase."""
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
