"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, and always in the same order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import time
from typing import TYPE_CHECKING, Any
from unittest import mock

from chatapp.domain import conversation

if TYPE_CHECKING:
    import random
    from collections.abc import Coroutine, Iterator

STARTED_AT_S = 1_800_000_000.0  # of the virtual wall clock, since the epoch


class _Jumps(selectors.SelectSelector):
    """Waits for nothing: moves the loop's clock forward instead."""

    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("deadlock: nothing is due, and nothing is ready")
        self._loop.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time.

    Attributes:
        now: seconds since the beginning.
    """

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumps(self))

    def run_in_executor(self, executor: Any, function: Any, *arguments: Any) -> asyncio.Future[Any]:
        """Call a function at once, as `asyncio.to_thread` does here."""
        del executor
        future = self.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:  # noqa: BLE001  # the future's
            future.set_exception(error)
        return future

    def time(self) -> float:
        """Return the virtual time, also as `time.monotonic`."""
        return self.now


def run(main: Coroutine[Any, Any, Any], loop: VirtualLoop, chance: random.Random) -> Any:
    """Run a coroutine in virtual time; clocks and random bytes depend on nothing else."""
    with _replaced(loop, chance), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(main)


@contextlib.contextmanager
def _replaced(loop: VirtualLoop, chance: random.Random) -> Iterator[None]:
    async def inline(function: Any, *arguments: Any, **options: Any) -> Any:
        return function(*arguments, **options)

    def time_ns() -> int:
        return round((STARTED_AT_S + loop.now) * 1e9)

    with (
        mock.patch.object(time, "monotonic", loop.time),
        mock.patch.object(time, "time_ns", time_ns),
        # Its own ticks: ids never go back in time, so those made after a run would begin with the virtual clock's time.
        mock.patch.object(conversation, "_TICKS", conversation._rising_ticks()),
        mock.patch.object(os, "urandom", chance.randbytes),
        mock.patch.object(asyncio, "to_thread", inline),
        mock.patch("chatapp.store.journal.delivery._CHANCE", chance),
    ):
        yield
