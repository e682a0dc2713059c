"""Reads from the cloud: with a short timeout where cached data can be returned instead."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from chatapp.domain.errors import StoreUnavailable
from chatapp.store.values import UNREACHABLE

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

# A read that could return cached data waits this long for the cloud; after a timeout, not again for a while.
PATIENCE_S, ASK_AGAIN_S = 1.0, 5.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Reading:
    """A read in progress; ``is_current`` until this process writes something newer."""

    user: str
    is_current: bool = True


class Asking:
    """The reads in progress, and whether the cloud just failed to answer one.

    A read whose caller has timed out goes on, so that even a conversation that takes long to read is cached.
    """

    def __init__(self) -> None:
        self._again_at = 0.0  # by the monotonic clock
        self._readings: WeakSet[Reading] = WeakSet()
        self.tasks: set[asyncio.Task[Any]] = set()

    @property
    def in_vain(self) -> bool:
        """Whether the cloud failed to answer a moment ago."""
        return time.monotonic() < self._again_at

    def begin(self, user: str) -> Reading:
        """Begin a read, before reading the journal."""
        reading = Reading(user)
        self._readings.add(reading)
        return reading

    def wrote(self, user: str) -> None:
        """Record a write of the user: reads in progress may lack it and must not be cached."""
        for reading in self._readings:
            reading.is_current = reading.is_current and reading.user != user

    async def ask(self, reading: Coroutine[None, None, T], *, hurry: bool) -> T:
        """Read from the cloud; in a ``hurry`` only for `PATIENCE_S`, and not if it just failed to answer.

        Raises:
            StoreUnavailable: it did not answer (in time).
        """
        if hurry and self.in_vain:
            reading.close()
            raise StoreUnavailable(UNREACHABLE)
        task = asyncio.create_task(reading)
        self.tasks.add(task)
        task.add_done_callback(self._note)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE_S if hurry else None)
        if not done or task.cancelled():  # in time, or before the chat ended
            self._again_at = time.monotonic() + ASK_AGAIN_S
            raise StoreUnavailable(UNREACHABLE)
        return task.result()

    async def aclose(self) -> None:
        """Cancel the reads in progress."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            failed = isinstance(task.exception(), StoreUnavailable)
            self._again_at = time.monotonic() + ASK_AGAIN_S if failed else 0.0
