"""Revoked sessions are cached, and checked even while the store is unavailable."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from chatapp.auth import revoked_sessions
from chatapp.domain.errors import StoreUnavailable
from chatapp.store import Revocations


class UnreliableStore:
    """Keeps revocations; can be down or slow."""

    def __init__(self):
        self.down = self.slow = False
        self.saved = {}
        self.reads = 0

    async def revocations(self, user):
        self.reads += 1
        await self._gate()
        return self.saved.get(user, Revocations())

    async def revoke(self, user, *, session="", before_ms=0, until_ms):
        await self._gate()
        one = Revocations(before_ms=before_ms, sessions=frozenset({session} - {""}))
        self.saved[user] = self.saved.get(user, Revocations()).joined(one)

    async def _gate(self):
        if self.slow:
            await asyncio.sleep(60)
        if self.down:
            raise StoreUnavailable("away")


@pytest.fixture
async def sessions(monkeypatch):
    monkeypatch.setattr(revoked_sessions, "STORE_TIMEOUT_SECONDS", 0.05)
    sessions = revoked_sessions.RevokedSessions(UnreliableStore(), seconds=1000)
    yield sessions
    await sessions.aclose()


async def test_without_the_store_only_sessions_revoked_on_this_replica_are_revoked(sessions):
    sessions._store.down = True
    assert not await sessions.is_revoked("ana", "one", 5)
    with pytest.raises(StoreUnavailable):
        await sessions.revoke("ana", session="one")
    assert await sessions.is_revoked("ana", "one", 5)
    assert not await sessions.is_revoked("ana", "two", 5)
    with pytest.raises(StoreUnavailable):
        await sessions.revoke("ana", before_ms=7)
    assert await sessions.is_revoked("ana", "two", 7)
    assert sessions._store.reads == 1, "a failed read is not retried at once"


async def test_revocations_made_without_the_store_are_saved_when_it_is_back(sessions, monkeypatch):
    sessions._store.down = True
    for end in ({"session": "one"}, {"before_ms": 7}):
        with pytest.raises(StoreUnavailable):
            await sessions.revoke("ana", **end)
    sessions._store.down = False
    assert await sessions.is_revoked("ana", "one", 100)
    assert sessions._store.saved["ana"] == Revocations(before_ms=7, sessions=frozenset({"one"}))


async def test_slow_store_does_not_delay_requests_and_is_read_once(sessions):
    sessions._store.slow = True
    started = time.monotonic()
    assert await asyncio.gather(*(sessions.is_revoked("ana", "one", 5) for _ in range(10))) == [False] * 10
    assert time.monotonic() - started < 30  # of the 60 s
    assert sessions._store.reads == 1


def pass_by(monkeypatch, seconds):
    """Let seconds pass for the cache alone: event loops in other threads would sleep for the difference afterwards."""
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + seconds)
    monkeypatch.setattr(revoked_sessions, "time", clock)


async def test_requests_do_not_wait_for_a_store_that_just_timed_out_until_it_answers_again(sessions, monkeypatch):
    sessions._store.saved["ben"] = Revocations(before_ms=7)
    sessions._store.slow = True
    assert not await sessions.is_revoked("ana", "one", 5)
    monkeypatch.setattr(revoked_sessions, "STORE_TIMEOUT_SECONDS", 100)
    async with asyncio.timeout(30):
        assert not await sessions.is_revoked("ben", "one", 5)
    sessions._store.slow = False
    assert not await sessions.is_revoked("cleo", "one", 5)
    await asyncio.sleep(0)
    pass_by(monkeypatch, revoked_sessions.RETRY_SECONDS)
    for task in list(sessions._reads.values()):
        task.cancel()  # the reads that began while it was slow
    await asyncio.sleep(0.01)
    assert await sessions.is_revoked("ben", "one", 5)


async def test_revocation_by_another_replica_is_found_when_the_cache_expires(sessions, monkeypatch):
    assert not await sessions.is_revoked("ana", "one", 5)
    await sessions._store.revoke("ana", session="one", until_ms=0)  # by another replica
    assert not await sessions.is_revoked("ana", "one", 5)
    pass_by(monkeypatch, revoked_sessions.CACHE_SECONDS)
    assert await sessions.is_revoked("ana", "one", 5)
    assert sessions._store.reads == 2


async def test_cache_holds_a_bounded_number_of_users(sessions, monkeypatch):
    monkeypatch.setattr(revoked_sessions, "CACHED_USERS", 3)
    for number in range(5):
        await sessions.is_revoked(f"user-{number}", "one", 5)
    assert len(sessions._cache) == 3
