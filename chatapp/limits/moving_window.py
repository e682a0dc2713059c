"""A moving window: counts events per key within the last seconds, in this process's memory."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SWEEP_SECONDS = 60.0  # how often keys without recent events are removed


class MovingWindow:
    """Counts events per key. Nothing awaits, so on an event loop `wait` and the `add` after it are one step.

    Args:
        seconds: the length of the window.
        clock: seconds since the epoch.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._seconds = seconds
        self._clock = clock
        self._events: dict[str, list[float]] = {}  # the times of the events, in order
        self._swept_at = float("-inf")

    def __contains__(self, key: str) -> bool:
        return key in self._events

    def __len__(self) -> int:
        return len(self._events)

    def wait(self, key: str, limit: int, amount: int = 1) -> int:
        """Return for how many seconds ``amount`` more events would exceed ``limit``; 0 if they fit now."""
        events = self._recent(key)
        surplus = len(events) + amount - limit
        if surplus <= 0:
            return 0
        if surplus > len(events):  # more than the limit at once never fit
            return math.ceil(self._seconds)
        return max(1, math.ceil(events[surplus - 1] + self._seconds - self._clock()))

    def add(self, key: str, amount: int = 1) -> None:
        """Count events that happen now."""
        self._sweep()
        self._events.setdefault(key, []).extend([self._clock()] * amount)

    def take_back(self, key: str) -> None:
        """Stop counting the last event, if there is one."""
        if events := self._events.get(key):
            events.pop()

    def _recent(self, key: str) -> list[float]:
        events, now = self._events.get(key, []), self._clock()
        if events and events[-1] > now:
            events.clear()  # the clock was set back: otherwise the key would be blocked until it catches up
        del events[: bisect_right(events, now - self._seconds)]
        return events

    def _sweep(self) -> None:
        now = self._clock()
        if abs(now - self._swept_at) >= SWEEP_SECONDS:
            self._swept_at = now
            self._events = {key: events for key in self._events if (events := self._recent(key))}
