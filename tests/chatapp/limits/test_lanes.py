"""Lanes: bounded concurrency, users in turn, and rate limits."""

import asyncio

import pytest

from chatapp.domain.errors import LimitReached
from chatapp.limits import LIMIT_NAMES
from chatapp.limits.lanes import Lane, LaneLimits, LaneName, lane_limits
from chatapp.limits.moving_window import MovingWindow


class Road:
    """A lane with requests that run until they are told to end."""

    def __init__(self, **limits):
        self.refused, self.running, self.now = [], [], 1_000.0
        defaults = {"at_once": 2, "per_user": 1, "waiting_per_user": 3, "waiting": 10}
        window = MovingWindow(60, lambda: self.now)
        self.lane = Lane(LaneName.SEARCH, LaneLimits(**defaults | limits), self.refused.append, window)
        self._ends = {}

    async def start(self, user, name):
        self.lane.admit(user)
        self._ends[name] = asyncio.Event()
        task = asyncio.create_task(self._run(user, name))
        await settle()
        return task

    async def _run(self, user, name):
        await self.lane.enter(user)
        self.running.append(name)
        try:
            await self._ends[name].wait()
        finally:
            self.running.remove(name)
            self.lane.leave(user)

    async def end(self, name):
        self._ends[name].set()
        await settle()


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


async def test_requests_run_as_far_as_there_is_room_and_users_take_turns():
    road = Road()
    for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
        await road.start(name[0], name)
    order = []
    while road.running:
        assert len(road.running) <= 2
        assert len({name[0] for name in road.running}) == len(road.running)
        order.append(road.running[0])
        await road.end(road.running[0])
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert road.lane.is_idle


async def test_one_user_does_not_hold_up_others():
    road = Road(at_once=3, waiting_per_user=5)
    for number in range(6):
        await road.start("a", f"a{number}")
    await road.start("b", "b0")
    assert road.running == ["a0", "b0"]


async def test_user_with_too_many_waiting_requests_is_refused():
    road = Road(waiting_per_user=2)
    for number in range(3):
        await road.start("a", f"a{number}")
    with pytest.raises(LimitReached, match="still being answered"):
        await road.start("a", "a3")
    await road.start("b", "b0")
    assert road.refused == ["searches"]


async def test_waiting_requests_of_all_users_are_bounded():
    road = Road(at_once=1, waiting=2)
    for user in "abc":
        await road.start(user, user)
    with pytest.raises(LimitReached):
        await road.start("d", "d")


async def test_requests_per_minute_are_limited_per_user():
    road = Road(per_minute=3)
    for number in range(3):
        await road.start("a", f"a{number}")
        await road.end(f"a{number}")
    with pytest.raises(LimitReached, match="searched too often") as refusal:
        await road.start("a", "a3")
    assert refusal.value.retry_after == 60
    await road.start("b", "b0")
    road.now += 61
    await road.start("a", "a4")
    assert road.running == ["b0", "a4"]


async def test_request_that_is_cancelled_while_it_waits_leaves_no_trace():
    road = Road(at_once=1)
    await road.start("a", "a0")
    waiting = [await road.start(user, user) for user in "bc"]
    waiting[0].cancel()
    await settle()
    await road.end("a0")
    assert road.running == ["c"]
    await road.end("c")
    assert road.lane.is_idle


@pytest.mark.parametrize("steps", range(5))
async def test_request_that_is_cancelled_as_it_is_admitted_gives_its_place_back(steps):
    road = Road(at_once=1)
    first = await road.start("a", "a0")
    waiting = await road.start("b", "b0")
    last = await road.start("c", "c0")
    road._ends["a0"].set()
    for _ in range(steps):  # at one of them b0 is admitted, and has not run yet
        await asyncio.sleep(0)
    waiting.cancel()
    await settle()
    assert road.running == ["c0"]
    await road.end("c0")
    assert road.lane.is_idle
    assert [await first, await last] == [None, None]


def test_every_lane_has_limits_and_a_name_in_the_metrics():
    limits = lane_limits(searches=1, exports=2, reads=3)
    assert limits.keys() == set(LaneName) <= set(LIMIT_NAMES)
    assert (limits[LaneName.SEARCH].per_minute, limits[LaneName.EXPORT].per_minute) == (1, 2)
    assert {limits[name].per_minute for name in (LaneName.LIST, LaneName.STREAM, LaneName.IMAGE)} == {3}
