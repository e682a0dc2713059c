"""Where the library ``limits`` counts: windows of time in this process's memory."""

from __future__ import annotations

import time
from bisect import bisect_right
from typing import TYPE_CHECKING

from limits.storage import MovingWindowSupport, Storage

if TYPE_CHECKING:
    from collections.abc import Callable

SWEEP_SECONDS = 60.0  # how often what has passed is forgotten


class Windows(Storage, MovingWindowSupport):
    """Fixed windows that begin with the day, hour or minute of UTC, and moving ones.

    The library's own storage in memory begins a fixed window with its first hit, and sweeps all keys in a thread after
    each hit. Nothing waits here: on an event loop, a test and the hit after it are one step.

    Args:
        clock: seconds since the epoch.
    """

    STORAGE_SCHEME = None

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self.clock = clock
        self._counts: dict[str, tuple[int, int]] = {}  # by the key: the end of its window, and how much
        self._entries: dict[str, tuple[int, list[float]]] = {}  # likewise: how long one lasts, and when each came
        self._sweep_at = float("-inf")

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """None is expected."""
        return ()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to what is counted in this window of ``expiry`` seconds, and return the sum."""
        self._sweep()
        now = int(self.clock())
        total = self.get(key) + amount
        self._counts[key] = (now // expiry + 1) * expiry, total
        return total

    def get(self, key: str) -> int:
        """Return what is counted in the window of now."""
        ends, amount = self._counts.get(key, (0, 0))
        return amount if self.clock() < ends else 0

    def get_expiry(self, key: str) -> float:
        """Return when the window ends, in seconds since the epoch; now where nothing is counted."""
        return max(self._counts.get(key, (0, 0))[0], self.clock())

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Take so many entries of the last ``expiry`` seconds, if no more than ``limit`` are taken then."""
        self._sweep()
        recent = self._recent(key, expiry)
        if len(recent) + amount > limit:
            return False
        recent.extend([self.clock()] * amount)
        self._entries[key] = expiry, recent
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002  # the library's
        """Return when the first of the entries that count came, and how many there are."""
        recent = self._recent(key, expiry)
        return recent[0] if recent else self.clock(), len(recent)

    def is_known(self, key: str) -> bool:
        """Return whether there are entries of this key, passed ones among them."""
        return key in self._entries

    @property
    def known(self) -> int:
        """How many keys have entries, passed ones among them."""
        return len(self._entries)

    def check(self) -> bool:
        """Return that it works."""
        return True

    def reset(self) -> int:
        """Forget everything; return how many windows there were."""
        windows = len(self._counts) + len(self._entries)
        self._counts.clear()
        self._entries.clear()
        return windows

    def clear(self, key: str) -> None:
        """Forget one window."""
        self._counts.pop(key, None)
        self._entries.pop(key, None)

    def _recent(self, key: str, expiry: int) -> list[float]:
        _, entries = self._entries.get(key, (expiry, list[float]()))
        now = self.clock()
        if entries and entries[-1] > now:
            entries.clear()  # the clock was set back: nobody is to wait until it is there again
        del entries[: bisect_right(entries, now - expiry)]
        return entries

    def _sweep(self) -> None:
        now = self.clock()
        if abs(now - self._sweep_at) < SWEEP_SECONDS:
            return
        self._sweep_at = now
        self._counts = {key: count for key, count in self._counts.items() if count[0] > now}
        for key, (expiry, _) in list(self._entries.items()):
            if not self._recent(key, expiry):
                del self._entries[key]
