"""How much is stored in the cloud, without waiting for the cloud at each question."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.errors import StoreUnavailable

if TYPE_CHECKING:
    from chatapp.store import Store

FRESH_SECONDS = 300.0  # how long a number of the cloud's is used; a read costs one document per 1,000 conversations
DELETION_SECONDS = 5.0  # until a deletion is in the cloud, most often
USERS_REMEMBERED = 10_000

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Known:
    """The cloud's number and what was accepted here since, in bytes.

    Attributes:
        is_read: whether it was read at all.
        fresh_until: when it is read again, by the monotonic clock.
    """

    stored: int = 0
    accepted: int = 0
    is_read: bool = False
    fresh_until: float = 0.0


class CloudUsage:
    """The bytes that the data of users take: the cloud's numbers, and what was accepted here since they were read.

    What other replicas accepted is missing until the next read.

    Args:
        cloud: whose numbers are read, in the background.
    """

    def __init__(self, cloud: Store) -> None:
        self._cloud = cloud
        self._known: OrderedDict[str | None, _Known] = OrderedDict()  # None: of all users
        self._reads: dict[str | None, asyncio.Task[None]] = {}

    def add(self, user: str, size: int) -> None:
        """Count bytes that were accepted for a user."""
        for key in (user, None):
            self._of(key).accepted += size

    def deleted(self, user: str) -> None:
        """Have the numbers read again soon: something of a user was deleted."""
        soon = time.monotonic() + DELETION_SECONDS
        for key in (user, None):
            self._of(key).fresh_until = min(self._of(key).fresh_until, soon)

    async def stored_bytes(self, user: str | None, *, wait: bool) -> int:
        """Return about how many bytes the data of one user take, or of all users.

        With ``wait``, the first number comes from the cloud, if that answers; else it may miss what was there before.
        """
        known = self._of(user)
        if time.monotonic() >= known.fresh_until and user not in self._reads:
            task = self._reads[user] = asyncio.create_task(self._read(user, known))
            task.add_done_callback(lambda _task: self._reads.pop(user, None))
        if wait and not known.is_read and (reading := self._reads.get(user)):
            await asyncio.wait({reading})
        return known.stored + known.accepted

    async def aclose(self) -> None:
        """Cancel reads of the cloud."""
        reads = list(self._reads.values())
        for task in reads:
            task.cancel()
        await asyncio.gather(*reads, return_exceptions=True)

    async def _read(self, user: str | None, known: _Known) -> None:
        accepted = known.accepted
        try:
            known.stored = await self._cloud.stored_bytes(user)
            known.accepted -= accepted  # which the cloud's number has, but for what still waits in the journal
        except StoreUnavailable as error:
            log.info("usage_not_read", detail=error.detail)
        known.is_read = True
        known.fresh_until = time.monotonic() + FRESH_SECONDS

    def _of(self, user: str | None) -> _Known:
        known = self._known.setdefault(user, _Known())
        self._known.move_to_end(user)
        while len(self._known) > USERS_REMEMBERED:
            self._known.popitem(last=False)
        return known
