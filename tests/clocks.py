"""Clocks of event loops, for tests with real connections that compare pauses with a limit."""

import asyncio

MOST_AT_ONCE = 0.05


class LoopClock:
    """The clock of the running event loop from now on, until the loop is closed after the test.

    Time that passes between two looks at it counts for 50 ms at most: a busy machine that stands still makes no limit
    pass. (A longer pause of the loop takes several looks.) Make it before what reads the loop's clock.
    """

    def __init__(self):
        loop = asyncio.get_running_loop()
        self._time, self._seen, self._now = loop.time, loop.time(), loop.time()
        loop.time = self

    def __call__(self):
        now = self._time()
        self._now += min(now - self._seen, MOST_AT_ONCE)
        self._seen = now
        return self._now

    async def pass_by(self, seconds):
        """Let seconds pass at once, and let run what is due."""
        self._now += seconds
        await asyncio.sleep(0)
