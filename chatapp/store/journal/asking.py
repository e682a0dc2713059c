"""Asking the cloud: with patience where only it knows, briefly where something else can be shown."""

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

# Where a read could show what was last seen, it waits this long for the cloud; once in vain, not again for a while.
PATIENCE_S, ASK_AGAIN_S = 1.0, 5.0


@dataclass(slots=True, eq=False, weakref_slot=True)
class Reading:
    """A read under way; ``is_current`` while what it finds is all that is known."""

    user: str
    is_current: bool = True


class Asking:
    """The reads that are under way, and whether the cloud just failed to answer one.

    A read that nobody waits for any more goes on, so that even a conversation that takes long to read is remembered as
    it is now.
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
        """Begin a read, before anything is looked at."""
        reading = Reading(user)
        self._readings.add(reading)
        return reading

    def wrote(self, user: str) -> None:
        """Note that the user wrote something: what is being read may be without it, and is not to be remembered."""
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
        """Break off what is being read."""
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _note(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            failed = isinstance(task.exception(), StoreUnavailable)
            self._again_at = time.monotonic() + ASK_AGAIN_S if failed else 0.0
