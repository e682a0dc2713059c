"""Lanes for reading: how many requests of a kind run at once, fair by user, and how many a user may send per minute.

A search, an export or a list reads much more than its request says. Without lanes, one user's requests would take all
readers of the store, and everyone else would wait for them.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from chatapp.domain.errors import LimitReached
from chatapp.domain.sentences import Sentence, Wait
from chatapp.limits.moving_window import MovingWindow

if TYPE_CHECKING:
    from collections.abc import Callable

FULL_RETRY_SECONDS = 2


class LaneName(StrEnum):
    """The lanes, which are also the names of their rate limits in the metrics."""

    SEARCH = "searches"
    EXPORT = "exports"
    LIST = "lists"
    STREAM = "streams"
    IMAGE = "images"
    DOCUMENT = "documents"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLimits:
    """The limits of one lane.

    Attributes:
        at_once: requests that run at once.
        per_user: of them, for one user.
        waiting_per_user: further requests of one user that wait.
        waiting: further requests of all users that wait.
        per_minute: requests of one user per minute; 0: no limit.
    """

    at_once: int
    per_user: int
    waiting_per_user: int
    waiting: int = 512
    per_minute: int = 0


# Of files of documents that are read, each in a process that may take much memory for a moment.
DOCUMENT_LIMITS = LaneLimits(at_once=1, per_user=1, waiting_per_user=16, waiting=128)


def lane_limits(*, searches: int, exports: int, reads: int) -> dict[LaneName, LaneLimits]:
    """Return the limits of all lanes.

    SQLite has four readers (`chatapp.store.sqlite.store.READERS`): searches and exports, which take longest, leave two
    of them free. A page loads a list, a stream and up to a hundred images when it opens a conversation.

    Args:
        searches: of one user per minute; 0: no limit. So for the others.
        exports: of one user per minute.
        reads: lists, streams, images and documents, of one user per minute each.
    """
    return {
        LaneName.SEARCH: LaneLimits(at_once=2, per_user=1, waiting_per_user=4, per_minute=searches),
        LaneName.EXPORT: LaneLimits(at_once=2, per_user=1, waiting_per_user=2, per_minute=exports),
        LaneName.LIST: LaneLimits(at_once=16, per_user=4, waiting_per_user=32, per_minute=reads),
        LaneName.STREAM: LaneLimits(at_once=16, per_user=4, waiting_per_user=32, per_minute=reads),
        LaneName.IMAGE: LaneLimits(at_once=8, per_user=4, waiting_per_user=200, per_minute=reads),
        LaneName.DOCUMENT: LaneLimits(at_once=2, per_user=1, waiting_per_user=16, per_minute=reads),
    }


class Lane:
    """Admits requests as far as its limits allow, and users in turn.

    Args:
        name: of the lane.
        limits: its limits.
        on_refused: called with the name of the limit at each refusal.
        window: counts the requests of the last minute.
    """

    def __init__(
        self,
        name: LaneName,
        limits: LaneLimits,
        on_refused: Callable[[str], None] = lambda _limit: None,
        window: MovingWindow | None = None,
    ) -> None:
        self._name = name
        self._limits = limits
        self._on_refused = on_refused
        self._window = MovingWindow(60) if window is None else window
        self._running: Counter[str] = Counter()  # by user
        self._running_count = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = (
            OrderedDict()
        )  # by user, whose turn is next first
        self._waiting_count = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request runs or waits."""
        return not (self._running or self._waiting)

    def admit(self, user: str) -> None:
        """Count a request.

        Raises:
            LimitReached: it is one too many in a minute, or too many wait.
        """
        if self._limits.per_minute and (wait := self._window.wait(user, self._limits.per_minute)):
            self._on_refused(self._name)
            raise LimitReached(_TOO_OFTEN[self._name].filled(when=Wait(wait)), retry_after=wait, detail=self._name)
        own = len(self._waiting.get(user, ()))
        if not self._has_room(user) and (
            own >= self._limits.waiting_per_user or self._waiting_count >= self._limits.waiting
        ):
            self._on_refused(self._name)
            raise LimitReached(_TOO_MANY, retry_after=FULL_RETRY_SECONDS, detail=f"{self._name} waiting")
        if self._limits.per_minute:
            self._window.add(user)

    async def enter(self, user: str) -> None:
        """Wait for a place, which `leave` gives back."""
        if self._has_room(user) and user not in self._waiting:
            self._take(user)
            return
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(admitted)
        self._waiting_count += 1
        try:
            await admitted
        except asyncio.CancelledError:
            if admitted.done() and not admitted.cancelled():  # it was admitted at this very moment
                self.leave(user)
            else:
                self._forget(user, admitted)
            raise

    def leave(self, user: str) -> None:
        """Give a place back."""
        self._running_count -= 1
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
        if user in self._waiting:
            self._waiting.move_to_end(user)  # the others first
        self._admit_next()

    def _has_room(self, user: str) -> bool:
        return self._running_count < self._limits.at_once and self._running[user] < self._limits.per_user

    def _take(self, user: str) -> None:
        self._running_count += 1
        self._running[user] += 1

    def _admit_next(self) -> None:
        while self._running_count < self._limits.at_once:
            user = next((one for one in self._waiting if self._running[one] < self._limits.per_user), None)
            if user is None:
                return
            admitted = self._waiting[user].popleft()
            self._waiting_count -= 1
            if self._waiting[user]:
                self._waiting.move_to_end(user)
            else:
                del self._waiting[user]
            if not admitted.done():  # else its request was cancelled just now, and has not run since
                self._take(user)
                admitted.set_result(None)

    def _forget(self, user: str, admitted: asyncio.Future[None]) -> None:
        with suppress(KeyError, ValueError):
            self._waiting[user].remove(admitted)
            self._waiting_count -= 1
            if not self._waiting[user]:
                del self._waiting[user]


_TOO_OFTEN = {
    LaneName.SEARCH: Sentence("You searched too often. Search again {when}."),
    LaneName.EXPORT: Sentence("You downloaded your data too often. Download it again {when}."),
    **dict.fromkeys(
        (LaneName.LIST, LaneName.STREAM, LaneName.IMAGE, LaneName.DOCUMENT),
        Sentence("Your browser sent too many requests. Try again {when}."),
    ),
}
_TOO_MANY = Sentence("Too many of your requests are still being answered. Try again in a moment.")
