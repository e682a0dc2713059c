"""A moving window counts events, and forgets them when they are old."""

import pytest

from chatapp.limits.daily_totals import DailyTotals
from chatapp.limits.moving_window import SWEEP_SECONDS, MovingWindow


@pytest.fixture
def window(clock):
    return MovingWindow(60, clock)


def hit(window, key, amount=1, *, limit=3):
    """Count events if they fit; return whether they did."""
    if window.wait(key, limit, amount):
        return False
    window.add(key, amount)
    return True


def test_a_place_becomes_free_when_the_first_event_is_old(window, clock):
    for _ in range(3):
        assert hit(window, "ann")
        clock.now += 10
    assert not hit(window, "ann")
    assert hit(window, "bob")
    assert window.wait("ann", 3) == 30
    clock.now += 29.5
    assert not hit(window, "ann")
    clock.now += 0.5
    assert hit(window, "ann")
    assert not hit(window, "ann")


def test_the_wait_for_two_places_is_the_time_until_both_are_free(window, clock):
    for _ in range(3):
        window.add("ann")
        clock.now += 10
    assert window.wait("ann", 3, 2) == 40


def test_refused_events_take_no_place(window, clock):
    assert not hit(window, "ann", 4)
    assert hit(window, "ann", 3)
    for _ in range(20):
        assert not hit(window, "ann")
    clock.now += 60
    assert hit(window, "ann", 3)


def test_a_clock_that_is_set_back_blocks_no_key(window, clock):
    assert hit(window, "ann", 3)
    clock.now -= 3600
    assert hit(window, "ann")


def test_old_events_take_no_memory(window, clock):
    for number in range(100):
        hit(window, f"user {number}")
    assert len(window) == 100
    clock.now += max(SWEEP_SECONDS, 60)
    hit(window, "ann")
    assert len(window) == 1
    assert "ann" in window


async def test_a_day_ends_at_midnight_utc(clock):
    totals = DailyTotals(clock=clock)
    totals.add("ann", 9)
    clock.now += 1000
    assert totals.seconds_left() == 43_200 - 1000
    totals.add("ann", 1)
    clock.now += 42_199.5
    assert (totals.get("ann"), totals.get("bob"), totals.seconds_left()) == (10, 0, 1)
    clock.now += 0.5
    assert totals.get("ann") == 0


def test_yesterdays_totals_take_no_memory(clock):
    totals = DailyTotals(clock=clock)
    for number in range(100):
        totals.add(f"user {number}", 1)
    clock.now += 86_400
    totals.add("ann", 1)
    assert len(totals._totals) == 1


def test_totals_stay_when_the_clock_is_set_back(clock):
    totals = DailyTotals(clock=clock)
    totals.add("ann", 9)
    clock.now -= 86_400
    assert totals.get("ann") == 9
    clock.now += 86_400
    assert totals.get("ann") == 0
