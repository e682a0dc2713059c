"""How many answers are written at once, and who is next."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.errors import TooManyTurns
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOOK_SECONDS = 1.0  # how often whoever waits looks at its place


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """How many turns there may be.

    Attributes:
        per_user: that run at once, of one user; what a user sends beyond that waits, and holds up nobody else.
        at_once: that run at once, of everybody.
        waiting: that wait to begin; beyond that, a message is refused.
    """

    per_user: int = 4
    at_once: int = 256
    waiting: int = 512


class TurnQueue:
    """Lets turns begin in the order in which they came, as far as the limits allow."""

    def __init__(self, limits: TurnLimits) -> None:
        self._limits = limits
        self._running: Counter[str] = Counter()
        self._waiting: OrderedDict[asyncio.Event, str] = OrderedDict()  # whom each is for

    @property
    def running(self) -> int:
        """How many run."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """How many wait to begin."""
        return len(self._waiting)

    def refuse_if_full(self, user: str, answers: int = 1) -> None:
        """Refuse so many answers at once if there would be no room for all of them.

        Raises:
            TooManyTurns: with the reason in words.
        """
        free = min(self._limits.at_once - self.running, self._limits.per_user - self._running[user])
        to_wait = answers - max(free, 0)
        if to_wait <= 0:
            return
        if len(self._waiting) + to_wait > self._limits.waiting:
            raise TooManyTurns(
                Sentence(
                    "Too many people are waiting for an answer right now, so nothing was sent. Try again in a minute."
                )
            )
        own = sum(other == user for other in self._waiting.values())
        if own + to_wait > self._limits.per_user:
            raise TooManyTurns(
                Sentence(
                    "{running} of your answers are being written and {waiting} are waiting, so nothing was sent. Wait "
                    "for one of them, or stop one, then send again.",
                    running=self._running[user],
                    waiting=own,
                )
            )

    @asynccontextmanager
    async def turn(self, user: str, moved: Callable[[int], None]) -> AsyncIterator[None]:
        """Hold a place among the running; until there is one, ``moved`` is told how many begin before, from 1."""
        if self._waiting or not self._has_room(user):
            await self._wait(user, moved)
        else:
            self._running[user] += 1
        try:
            yield
        finally:
            self._running[user] -= 1
            if not self._running[user]:
                del self._running[user]
            self._begin_next()

    def _has_room(self, user: str) -> bool:
        return self.running < self._limits.at_once and self._running[user] < self._limits.per_user

    async def _wait(self, user: str, moved: Callable[[int], None]) -> None:
        begin = asyncio.Event()
        self._waiting[begin] = user
        self._begin_next()  # those before it may all be waiting for their own turns
        try:
            while not begin.is_set():
                moved(1 + list(self._waiting).index(begin))
                try:
                    async with asyncio.timeout(LOOK_SECONDS):
                        await begin.wait()
                except TimeoutError:
                    continue
        except BaseException:
            if self._waiting.pop(begin, None) is None:  # it was let in at this very moment
                self._running[user] -= 1
                self._begin_next()
            raise
        moved(0)

    def _begin_next(self) -> None:
        """Let in whoever can begin; each counts as running from here on."""
        for begin, user in list(self._waiting.items()):
            if self.running >= self._limits.at_once:
                return
            if self._running[user] < self._limits.per_user:
                del self._waiting[begin]
                self._running[user] += 1
                begin.set()
