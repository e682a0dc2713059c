"""Reads from the cloud with a circuit breaker, and a short timeout where local data can be returned instead."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from chatapp.domain.errors import StoreUnavailable
from chatapp.store.values import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")

# A read with a fallback waits this long for the cloud; after a timeout, the circuit breaker stays open for a while.
READ_TIMEOUT_S, OPEN_S = 1.0, 5.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Reading:
    """A read in progress; ``is_current`` until this process writes something newer."""

    user: str
    is_current: bool = True


class CloudReads:
    """The reads in progress, and a circuit breaker that opens when the cloud fails to answer one.

    A read whose caller has timed out continues, so that even a conversation that takes long to read is cached.
    """

    def __init__(self) -> None:
        self._open_until = 0.0  # by the monotonic clock
        self._readings: WeakSet[Reading] = WeakSet()
        self.tasks: set[asyncio.Task[Any]] = set()

    @property
    def is_open(self) -> bool:
        """Whether the circuit breaker is open: the cloud failed to answer in the last `OPEN_S` seconds."""
        return time.monotonic() < self._open_until

    def close(self) -> None:
        """Close the circuit breaker: the cloud has answered."""
        self._open_until = 0.0

    def begin(self, user: str) -> Reading:
        """Begin a read, before reading the journal."""
        reading = Reading(user)
        self._readings.add(reading)
        return reading

    def wrote(self, user: str) -> None:
        """Record a write of the user: reads in progress may lack it and must not be cached."""
        for reading in self._readings:
            reading.is_current = reading.is_current and reading.user != user

    async def run(
        self,
        read: Coroutine[None, None, T],
        *,
        fallback: Callable[[], T | None] | None = None,
        is_patient: bool = False,
    ) -> T:
        """Read from the cloud; where there is a fallback, for at most `READ_TIMEOUT_S`, unless it ``is_patient``.

        The fallback is returned at once while the breaker is open.

        Raises:
            StoreUnavailable: it did not answer (in time), and there is no fallback, or this returns None.
        """
        if fallback and self.is_open and (local := fallback()) is not None:
            read.close()
            return local
        try:
            return await self._answer(read, READ_TIMEOUT_S if fallback and not is_patient else None)
        except StoreUnavailable:
            if fallback is None or (local := fallback()) is None:
                raise
            return local

    async def aclose(self) -> None:
        """Cancel the reads in progress."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _answer(self, read: Coroutine[None, None, T], timeout: float | None) -> T:  # noqa: ASYNC109  # the read goes on
        task = asyncio.create_task(read)
        self.tasks.add(task)
        task.add_done_callback(self._record)
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if not done or task.cancelled():  # cancelled: the chat is shutting down
            self._open_until = time.monotonic() + OPEN_S
            raise StoreUnavailable(UNREACHABLE)
        return task.result()

    def _record(self, task: asyncio.Task[Any]) -> None:
        """Open or close the circuit breaker after a read."""
        self.tasks.discard(task)
        if not task.cancelled():
            failed = isinstance(task.exception(), StoreUnavailable)
            self._open_until = time.monotonic() + OPEN_S if failed else 0.0
