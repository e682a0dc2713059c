"""Which sessions are ended is known without asking the store at every request, and while it is away."""

import asyncio
import time

import pytest

from chatapp.auth import ended as ended_sessions
from chatapp.domain.errors import StoreUnavailable
from chatapp.store import Revocations


class Away:
    """Ended sessions in a store that may be away."""

    def __init__(self):
        self.down = self.slow = False
        self.ended = {}
        self.asked = 0

    async def revocations(self, user):
        self.asked += 1
        await self._gate()
        return self.ended.get(user, Revocations())

    async def revoke(self, user, *, session="", before_ms=0, until_ms):
        await self._gate()
        one = Revocations(before_ms=before_ms, sessions=frozenset({session} - {""}))
        self.ended[user] = self.ended.get(user, Revocations()).joined(one)

    async def _gate(self):
        if self.slow:
            await asyncio.sleep(60)
        if self.down:
            raise StoreUnavailable("away")


@pytest.fixture
async def ended(monkeypatch):
    monkeypatch.setattr(ended_sessions, "PATIENCE_S", 0.05)
    sessions = ended_sessions.EndedSessions(Away(), seconds=1000)
    yield sessions
    await sessions.aclose()


async def test_while_the_store_is_away_only_what_is_known_here_to_be_ended_is(ended):
    ended._store.down = True
    assert not await ended.has("ana", "one", 5)
    with pytest.raises(StoreUnavailable):
        await ended.end("ana", session="one")
    assert await ended.has("ana", "one", 5)
    assert not await ended.has("ana", "two", 5)
    with pytest.raises(StoreUnavailable):
        await ended.end("ana", before_ms=7)
    assert await ended.has("ana", "two", 7)
    assert ended._store.asked == 1, "asked in vain, it is not asked again at once"


async def test_what_was_ended_meanwhile_is_kept_once_the_store_is_back(ended, monkeypatch):
    ended._store.down = True
    for end in ({"session": "one"}, {"before_ms": 7}):
        with pytest.raises(StoreUnavailable):
            await ended.end("ana", **end)
    ended._store.down = False
    assert await ended.has("ana", "one", 100)
    assert ended._store.ended["ana"] == Revocations(before_ms=7, sessions=frozenset({"one"}))


async def test_a_slow_store_keeps_nobody_waiting_and_is_asked_once(ended):
    ended._store.slow = True
    started = time.monotonic()
    assert await asyncio.gather(*(ended.has("ana", "one", 5) for _ in range(10))) == [False] * 10
    assert time.monotonic() - started < 1
    assert ended._store.asked == 1


async def test_nobody_waits_for_a_store_that_just_did_not_answer_and_it_counts_again_once_it_does(ended, monkeypatch):
    ended._store.ended["ben"] = Revocations(before_ms=7)
    ended._store.slow = True
    assert not await ended.has("ana", "one", 5)
    monkeypatch.setattr(ended_sessions, "PATIENCE_S", 100)
    async with asyncio.timeout(5):
        assert not await ended.has("ben", "one", 5)
    ended._store.slow = False
    assert not await ended.has("cleo", "one", 5)
    await asyncio.sleep(0)
    monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + ended_sessions.ASK_AGAIN_S)
    for task in list(ended._asking.values()):
        task.cancel()  # what was asked of it while it was slow
    await asyncio.sleep(0.01)
    assert await ended.has("ben", "one", 5)


async def test_the_store_is_asked_again_after_a_while(ended, monkeypatch):
    assert not await ended.has("ana", "one", 5)
    await ended._store.revoke("ana", session="one", until_ms=0)  # by another copy of the chat
    assert not await ended.has("ana", "one", 5)
    monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + ended_sessions.FRESH_S)
    assert await ended.has("ana", "one", 5)
    assert ended._store.asked == 2


async def test_not_everybody_is_remembered(ended, monkeypatch):
    monkeypatch.setattr(ended_sessions, "USERS_REMEMBERED", 3)
    for number in range(5):
        await ended.has(f"user-{number}", "one", 5)
    assert len(ended._known) == 3
