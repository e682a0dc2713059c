"""What a replica does next, and what it remembers, without any request."""

import pytest

from chatapp.models.kubernetes.sleep_record import SETTLE_MS, USUAL_SECONDS, SleepRecord, SleepState, Step

IDLE = 1_800_000
NOW = 1_780_000_000_000


def record(state, *, since=0, used=0, took=()):
    """Return a record; times are milliseconds ago."""
    return SleepRecord("7", state, NOW - since, NOW - used, took, was_asleep=state is SleepState.ASLEEP)


@pytest.mark.parametrize(
    ("before", "replicas", "is_ready", "step"),
    [
        (record(SleepState.AWAKE, since=IDLE, used=IDLE - 1), 1, True, Step.NOTHING),
        (record(SleepState.AWAKE, since=IDLE - 1, used=IDLE), 1, True, Step.NOTHING),
        (record(SleepState.AWAKE, since=IDLE, used=IDLE), 1, True, Step.END),
        (record(SleepState.AWAKE), 0, False, Step.NOTE_ASLEEP),
        (record(SleepState.ENDING), 1, True, Step.SCALE_DOWN),
        (record(SleepState.ENDING), 0, False, Step.NOTE_ASLEEP),
        (record(SleepState.ASLEEP, since=2 * IDLE, used=3 * IDLE), 0, False, Step.NOTHING),
        (record(SleepState.ASLEEP), 1, False, Step.NOTE_AWAKE),
        (record(SleepState.WAKING), 0, False, Step.SCALE_UP),
        (record(SleepState.WAKING), 1, False, Step.NOTHING),
        (record(SleepState.WAKING, since=SETTLE_MS - 1), 1, True, Step.NOTHING),
        (record(SleepState.WAKING, since=SETTLE_MS), 1, True, Step.NOTE_AWAKE),
        (record(SleepState.WAKING, since=SETTLE_MS), 0, True, Step.SCALE_UP),
        (record(SleepState.WAKING, since=IDLE, used=IDLE), 1, False, Step.END),
        (record(SleepState.WAKING, since=IDLE, used=60_000), 1, False, Step.NOTHING),
    ],
)
def test_next_step(before, replicas, is_ready, step):
    assert before.next_step(replicas, NOW, IDLE, is_ready=is_ready) is step


OPENED = 3_600_000  # the hours began an hour ago


@pytest.mark.parametrize(
    ("before", "replicas", "is_ready", "step"),
    [
        (record(SleepState.AWAKE, since=IDLE, used=IDLE), 1, True, Step.NOTHING),
        (record(SleepState.AWAKE, since=2 * OPENED, used=2 * OPENED), 1, True, Step.NOTHING),
        (record(SleepState.WAKING, since=2 * IDLE, used=2 * IDLE), 1, False, Step.NOTHING),
        (record(SleepState.WAKING, since=2 * IDLE, used=2 * IDLE), 0, False, Step.SCALE_UP),
        (record(SleepState.ASLEEP, since=OPENED + 1), 0, False, Step.WAKE),
        (record(SleepState.ASLEEP, since=OPENED + 1), 1, False, Step.NOTE_AWAKE),
        (record(SleepState.ENDING, since=OPENED + 1), 1, True, Step.WAKE),
        (record(SleepState.ENDING, since=OPENED + 1), 0, False, Step.WAKE),
        # Within the hours only a person scales it down, and that is respected.
        (record(SleepState.ASLEEP, since=OPENED - 1), 0, False, Step.NOTHING),
        (record(SleepState.AWAKE, since=2 * OPENED), 0, False, Step.NOTE_ASLEEP),
        # At their end, at a replica whose clock is behind.
        (record(SleepState.ENDING, since=0), 1, True, Step.SCALE_DOWN),
    ],
)
def test_next_step_within_office_hours(before, replicas, is_ready, step):
    assert before.next_step(replicas, NOW, IDLE, is_ready=is_ready, opened_ms=NOW - OPENED) is step


@pytest.mark.parametrize("state", SleepState)
def test_use_wakes_a_model_that_sleeps_and_leaves_one_that_wakes_alone(state):
    after = record(state, since=5000, used=9000).used(NOW)
    assert after.used_ms == NOW
    if state in {SleepState.AWAKE, SleepState.WAKING}:
        assert (after.state, after.since_ms) == (state, NOW - 5000)
    else:
        assert (after.state, after.since_ms) == (SleepState.WAKING, NOW)


def test_usual_time_is_documented_at_first_and_then_the_median_of_the_last_wakes():
    measured = SleepRecord()
    assert measured.usual_seconds == USUAL_SECONDS
    for seconds in (9999, 200, 210, 220, 230, 1000):
        asleep = measured.entered(SleepState.ASLEEP, NOW - 1)
        measured = asleep.used(NOW).entered(SleepState.AWAKE, NOW + 1000 * seconds)
    assert measured.took == (200, 210, 220, 230, 1000)
    assert measured.usual_seconds == 240


def test_wake_of_a_day_is_not_taken_for_usual():
    waking = record(SleepState.ASLEEP).used(NOW)
    assert waking.entered(SleepState.AWAKE, NOW + 3_600_000).took == (3600,)
    assert waking.entered(SleepState.AWAKE, NOW + 24 * 3_600_000).took == ()


def test_model_that_a_question_kept_from_falling_asleep_did_not_take_time_to_wake():
    kept = record(SleepState.ENDING).used(NOW)
    awake = kept.entered(SleepState.AWAKE, NOW + SETTLE_MS)
    assert (kept.state, awake.took) == (SleepState.WAKING, ())
    later = awake.entered(SleepState.ENDING, NOW).entered(SleepState.ASLEEP, NOW).used(NOW)
    assert later.entered(SleepState.AWAKE, NOW + 240_000).took == (240,)


def test_wake_that_was_given_up_and_begun_again_is_not_measured():
    given_up = record(SleepState.ASLEEP).used(NOW).entered(SleepState.ENDING, NOW + IDLE)
    assert given_up.used(NOW + IDLE).entered(SleepState.AWAKE, NOW + IDLE + 90_000).took == ()


def test_record_is_read_as_it_was_stored():
    before = record(SleepState.WAKING, since=5, used=7, took=(1, 22))
    change = before.change()
    assert SleepRecord.of({"metadata": {"resourceVersion": "7"}, "data": change["data"]}) == before
    assert change["metadata"] == {"resourceVersion": "7"}


@pytest.mark.parametrize(
    "configmap",
    [None, {}, {"data": None}, {"data": {"state": "?", "since": "-1", "used": [], "took": "a,,9999999,-3"}}, []],
)
def test_record_that_cannot_be_read_is_a_new_one(configmap):
    assert SleepRecord.of(configmap) == SleepRecord()
