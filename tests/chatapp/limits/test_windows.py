"""Windows of time: what is counted in them, and when it is forgotten."""

import pytest
from limits import RateLimitItemPerDay, RateLimitItemPerMinute
from limits.strategies import FixedWindowRateLimiter, MovingWindowRateLimiter

from chatapp.limits.windows import SWEEP_SECONDS, Windows

TEN_A_DAY = RateLimitItemPerDay(10)
THREE_A_MINUTE = RateLimitItemPerMinute(3)


@pytest.fixture
def windows(clock):
    return Windows(clock)


@pytest.fixture
def fixed(windows):
    return FixedWindowRateLimiter(windows)


@pytest.fixture
def moving(windows):
    return MovingWindowRateLimiter(windows)


def test_a_day_ends_at_midnight_of_utc_whenever_it_began_to_count(fixed, clock):
    assert fixed.hit(TEN_A_DAY, "ann", cost=9)
    assert not fixed.hit(TEN_A_DAY, "ann", cost=2)
    assert fixed.test(TEN_A_DAY, "bob")
    reset, left = fixed.get_window_stats(TEN_A_DAY, "ann")
    assert (reset - clock.now, left) == (43_200, 0)
    clock.now = reset - 0.5
    assert not fixed.test(TEN_A_DAY, "ann")
    clock.now = reset
    assert fixed.hit(TEN_A_DAY, "ann", cost=10)


def test_a_moving_window_lets_one_go_when_the_first_is_past(moving, clock):
    for _ in range(3):
        assert moving.hit(THREE_A_MINUTE, "ann")
        clock.now += 10
    assert not moving.hit(THREE_A_MINUTE, "ann")
    assert moving.hit(THREE_A_MINUTE, "bob")
    reset, left = moving.get_window_stats(THREE_A_MINUTE, "ann")
    assert (reset - clock.now, left) == (30, 0)
    clock.now = reset
    assert moving.hit(THREE_A_MINUTE, "ann")
    assert not moving.hit(THREE_A_MINUTE, "ann")


def test_what_is_refused_takes_no_place(moving, clock):
    assert not moving.hit(THREE_A_MINUTE, "ann", cost=4)
    assert moving.hit(THREE_A_MINUTE, "ann", cost=3)
    for _ in range(20):
        assert not moving.hit(THREE_A_MINUTE, "ann")
    clock.now += 60
    assert moving.hit(THREE_A_MINUTE, "ann", cost=3)


def test_nobody_waits_for_a_clock_that_was_set_back(moving, clock):
    assert moving.hit(THREE_A_MINUTE, "ann", cost=3)
    clock.now -= 3600
    assert moving.hit(THREE_A_MINUTE, "ann")


def test_what_has_passed_takes_no_memory(windows, fixed, moving, clock):
    for number in range(100):
        moving.hit(THREE_A_MINUTE, f"user {number}")
        fixed.hit(TEN_A_DAY, f"user {number}")
    clock.now += max(SWEEP_SECONDS, 60)
    moving.hit(THREE_A_MINUTE, "ann")
    assert windows.reset() == 1 + 100
    for number in range(100):
        fixed.hit(TEN_A_DAY, f"user {number}")
    clock.now += 86_400
    fixed.hit(TEN_A_DAY, "ann")
    assert windows.reset() == 1


def test_one_window_can_be_forgotten(windows, fixed, moving):
    fixed.hit(TEN_A_DAY, "ann", cost=10)
    moving.hit(THREE_A_MINUTE, "ann", cost=3)
    fixed.clear(TEN_A_DAY, "ann")
    moving.clear(THREE_A_MINUTE, "ann")
    assert fixed.test(TEN_A_DAY, "ann", cost=10)
    assert moving.test(THREE_A_MINUTE, "ann", cost=3)
    assert windows.check()
