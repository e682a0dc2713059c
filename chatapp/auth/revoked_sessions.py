"""Session revocation: which sessions were signed out before they expired, cached between reads of the store."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import StoreUnavailable
from chatapp.store import Revocations

if TYPE_CHECKING:
    from chatapp.store import SessionStore

CACHE_SECONDS = 30.0  # after which a revocation by another replica is known here
STORE_TIMEOUT_SECONDS = 2.0  # a request waits no longer, and not at all after the store failed to answer
RETRY_SECONDS = 5.0  # after a failed read of the store
CACHED_USERS = 10_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _CacheEntry:
    revocations: Revocations
    expires_at: float  # by the monotonic clock


class RevokedSessions:
    """Revokes sessions, and checks whether a session is revoked.

    While the store is unavailable, a session is valid unless this replica knows that it was revoked (fail open).
    A revocation takes effect on this replica at once. If the store is unavailable, the revocation is written before the
    next read for that user.

    Args:
        store: stores the revocations.
        seconds: the longest that a cookie can name a revoked session, and so how long a revocation is kept.
    """

    def __init__(self, store: SessionStore, *, seconds: float) -> None:
        self._store = store
        self._keep_ms = int(seconds * 1000)
        self._cache: OrderedDict[str, _CacheEntry] = OrderedDict()
        self._unsaved: dict[str, Revocations] = {}
        self._reads: dict[str, asyncio.Task[_CacheEntry]] = {}
        self._store_failed = False

    async def is_revoked(self, user: str, session: str, began_ms: int) -> bool:
        """Return whether a session is revoked."""
        entry = self._cache.get(user)
        if entry is None or time.monotonic() >= entry.expires_at:
            entry = await self._refresh(user)
        return entry.revocations.end(session, began_ms)

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0) -> None:
        """Revoke one session, or all that began up to a moment.

        Raises:
            StoreUnavailable: the revocation is in effect on this replica only.
        """
        revoked = Revocations(before_ms=before_ms, sessions=frozenset({session} - {""}))
        self._unsaved[user] = self._unsaved.get(user, Revocations()).joined(revoked)
        if entry := self._cache.get(user):
            self._cache[user] = _CacheEntry(entry.revocations.joined(revoked), entry.expires_at)
        await self._save(user)

    async def aclose(self) -> None:
        """Cancel the reads in progress."""
        tasks = list(self._reads.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _refresh(self, user: str) -> _CacheEntry:
        task = self._reads.get(user)
        if task is None:
            task = self._reads[user] = asyncio.create_task(self._read(user))
        await asyncio.wait({task}, timeout=0 if self._store_failed else STORE_TIMEOUT_SECONDS)
        if task.done() and not task.cancelled():
            return task.result()
        self._store_failed = True
        return self._remember(user, Revocations(), RETRY_SECONDS)

    async def _read(self, user: str) -> _CacheEntry:
        try:
            if user in self._unsaved:
                await self._save(user)
            revocations = await self._store.revocations(user)
            self._store_failed = False
            return self._remember(user, revocations, CACHE_SECONDS)
        except StoreUnavailable as error:
            self._store_failed = True
            log.warning("revoked_sessions_unknown", detail=error.detail)
            return self._remember(user, Revocations(), RETRY_SECONDS)
        finally:
            del self._reads[user]

    async def _save(self, user: str) -> None:
        unsaved, until_ms = self._unsaved[user], now_ms() + self._keep_ms
        if unsaved.before_ms:
            await self._store.revoke(user, before_ms=unsaved.before_ms, until_ms=until_ms)
        for session in unsaved.sessions:
            await self._store.revoke(user, session=session, until_ms=until_ms)
        if self._unsaved.get(user) == unsaved:  # no other revocation came meanwhile
            del self._unsaved[user]

    def _remember(self, user: str, revocations: Revocations, seconds: float) -> _CacheEntry:
        """Merge revocations into the cache: a revoked session stays revoked."""
        cached = self._cache.get(user)
        for other in (cached.revocations if cached else Revocations(), self._unsaved.get(user, Revocations())):
            revocations = revocations.joined(other)
        entry = self._cache[user] = _CacheEntry(revocations, time.monotonic() + seconds)
        self._cache.move_to_end(user)
        if len(self._cache) > CACHED_USERS:
            self._cache.popitem(last=False)
        return entry
