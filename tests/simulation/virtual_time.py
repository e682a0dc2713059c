"""An event loop whose clock jumps to the next timer: hours pass in milliseconds, and always in the same order."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import heapq
import logging
import os
import sys
import time
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import mock

from chatapp.domain import conversation

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator

STARTED_AT_S = 1_800_000_000.0  # of the virtual wall clock, since the epoch


class _Call:
    """A callback that is due at a time: what asyncio uses of a `TimerHandle`."""

    __slots__ = ("arguments", "context", "function", "is_cancelled", "time_s")

    def __init__(self, time_s: float, function: Callable[..., object], arguments: Any, context: Any) -> None:
        self.time_s = time_s
        self.function = function
        self.arguments = arguments
        self.context = context or contextvars.copy_context()
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.time_s


class VirtualLoop(asyncio.AbstractEventLoop):
    """An event loop in virtual time, without files, threads and signals.

    An error of a callback ends the run. With asyncio's own loop, whose timers are compared and whose selector is asked
    in Python, a simulation took a third more CPU.

    Attributes:
        now: seconds since the beginning.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._ready: deque[_Call] = deque()
        self._timers: list[tuple[float, int, _Call]] = []
        self._numbers = count()  # of timers: those for the same time are due in the order in which they were set
        self._make_task: Callable[..., asyncio.Task[Any]] = lambda loop, coroutine, **options: asyncio.Task(
            coroutine, loop=loop, **options
        )
        self._generators: set[AsyncGenerator[Any, Any]] = set()
        self._is_closed = False

    def time(self) -> float:
        """Return the virtual time, also as `time.monotonic`."""
        return self.now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        """Call a function after those that are due already."""
        call = _Call(self.now, callback, args, context)
        self._ready.append(call)
        return call

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        """Call a function after some seconds."""
        return self.call_at(self.now + delay, callback, *args, context=context)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        """Call a function at a time."""
        call = _Call(when, callback, args, context)
        heapq.heappush(self._timers, (when, next(self._numbers), call))
        return call

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task[Any]:
        """Make a task."""
        return self._make_task(self, coro, **options)

    def set_task_factory(self, factory: Any) -> None:
        """Make tasks with a function of this loop, a coroutine, and the options of a task."""
        self._make_task = factory

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:
        """Call a function at once, as `asyncio.to_thread` does here."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  # the future's
            future.set_exception(error)
        return future

    def run_until_complete(self, future: Any) -> Any:
        """Run until a future is done, or a coroutine has ended.

        Raises:
            RuntimeError: it waits for something that never happens.
        """
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._generators.add, finalizer=self._finish)
        asyncio._set_running_loop(self)
        try:
            task = asyncio.ensure_future(future, loop=self)
            while not task.done():
                self._run_once()
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
        return task.result()

    def _run_once(self) -> None:
        ready, timers = self._ready, self._timers
        if not ready:
            while timers and timers[0][2].is_cancelled:
                heapq.heappop(timers)
            if not timers:
                raise RuntimeError("deadlock: nothing is due, and nothing is ready")
            self.now = max(self.now, timers[0][0])
        while timers and timers[0][0] <= self.now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            call = ready.popleft()
            if not call.is_cancelled:
                call.context.run(call.function, *call.arguments)

    def _finish(self, generator: AsyncGenerator[Any, Any]) -> None:
        """Close a generator that is no longer used."""
        self._generators.discard(generator)
        if not self._is_closed:
            self.call_soon(self.create_task, generator.aclose())

    async def shutdown_asyncgens(self) -> None:
        """Close all generators that have begun."""
        generators, self._generators = self._generators, set()
        for generator in generators:
            await generator.aclose()

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # as asyncio has it
        """Do nothing: there are no threads."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Log what asyncio reports, such as an exception of a task that was never retrieved."""
        logging.getLogger("asyncio").error(context["message"], exc_info=context.get("exception"))

    def get_debug(self) -> bool:
        """Return False."""
        return False

    def is_running(self) -> bool:
        """Return whether this loop is running."""
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        """Return whether nothing runs here any more."""
        return self._is_closed

    def close(self) -> None:
        """Discard what is still due."""
        self._is_closed = True
        self._ready.clear()
        self._timers.clear()


def run(main: Coroutine[Any, Any, Any], loop: VirtualLoop, chance: random.Random) -> Any:
    """Run a coroutine in virtual time; clocks and random bytes depend on nothing else."""
    with _replaced(loop, chance), asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(_with_all_tasks_ended(main))


async def _with_all_tasks_ended(main: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine, with no task left, whether or not it fails.

    `asyncio.Runner` cancels only the tasks that it finds. One that then stores the end of its answer begins another,
    which would be pending at the end of the loop.
    """
    try:
        return await main
    finally:
        while left := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


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
