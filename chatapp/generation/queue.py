"""The queue in front of the models: how many answers are generated at once, and which is next."""

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

POSITION_SECONDS = 1.0  # how often the position in the queue is looked up


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnLimits:
    """How many answers may run and wait.

    Attributes:
        per_user: that run at once for one user; a user's further answers wait, and do not hold up other users.
        at_once: that run at once for all users.
        waiting: that wait in the queue; further messages are refused.
    """

    per_user: int = 4
    at_once: int = 256
    waiting: int = 512


class TurnQueue:
    """Admits answers first in, first out, as far as the limits allow."""

    def __init__(self, limits: TurnLimits) -> None:
        self._limits = limits
        self._running: Counter[str] = Counter()  # by user
        self._waiting: OrderedDict[asyncio.Event, str] = OrderedDict()  # each with its user

    @property
    def running(self) -> int:
        """How many answers run."""
        return self._running.total()

    @property
    def waiting(self) -> int:
        """How many answers wait."""
        return len(self._waiting)

    def refuse_if_full(self, user: str, answers: int = 1) -> None:
        """Refuse this number of answers if they cannot all run or wait.

        Raises:
            TooManyTurns: the queue is full, for this user or for all.
        """
        free = min(self._limits.at_once - self.running, self._limits.per_user - self._running[user])
        to_wait = answers - max(free, 0)
        if to_wait <= 0:
            return
        if len(self._waiting) + to_wait > self._limits.waiting:
            raise TooManyTurns(
                Sentence("The queue is full. Nothing was sent; your text is still in the box. Try again in a minute.")
            )
        own = sum(other == user for other in self._waiting.values())
        if own + to_wait > self._limits.per_user:
            raise TooManyTurns(
                Sentence(
                    "Your answers being written: {running}; waiting: {waiting}. Nothing was sent. "
                    "Wait for one of them or stop one, then send again.",
                    running=self._running[user],
                    waiting=own,
                )
            )

    @asynccontextmanager
    async def turn(self, user: str, moved: Callable[[int], None]) -> AsyncIterator[None]:
        """Wait to be admitted, then count as running; while waiting, call ``moved`` with the position, from 1."""
        if self._waiting or not self._has_room(user):
            await self._wait(user, moved)
        else:
            self._running[user] += 1
        try:
            yield
        finally:
            self._leave(user)

    def _has_room(self, user: str) -> bool:
        return self.running < self._limits.at_once and self._running[user] < self._limits.per_user

    async def _wait(self, user: str, moved: Callable[[int], None]) -> None:
        admitted = asyncio.Event()
        self._waiting[admitted] = user
        self._admit_next()  # those ahead may all wait for other answers of their own users
        try:
            while not admitted.is_set():
                moved(1 + list(self._waiting).index(admitted))
                try:
                    async with asyncio.timeout(POSITION_SECONDS):
                        await admitted.wait()
                except TimeoutError:
                    continue
        except BaseException:
            if self._waiting.pop(admitted, None) is None:  # it was admitted at this very moment
                self._leave(user)
            raise
        moved(0)

    def _leave(self, user: str) -> None:
        self._running[user] -= 1
        if not self._running[user]:
            del self._running[user]
        self._admit_next()

    def _admit_next(self) -> None:
        """Admit all that have room now; each counts as running from here on."""
        for admitted, user in list(self._waiting.items()):
            if self.running >= self._limits.at_once:
                return
            if self._running[user] < self._limits.per_user:
                del self._waiting[admitted]
                self._running[user] += 1
                admitted.set()
