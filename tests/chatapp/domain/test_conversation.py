"""The ids of conversations and messages."""

from __future__ import annotations

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from chatapp.domain.conversation import new_id


def test_an_id_is_a_uuid_of_version_7_that_begins_with_the_time():
    before_ms = time.time_ns() // 1_000_000
    ids = [uuid.UUID(new_id()) for _ in range(1_000)]
    after_ms = time.time_ns() // 1_000_000
    assert {(made.version, made.variant) for made in ids} == {(7, uuid.RFC_4122)}
    # The ids may run ahead of the clock where many are made at once, or it was set back: here by next to nothing.
    assert all(before_ms <= made.int >> 80 <= after_ms + 10 for made in ids)


def test_later_ids_sort_after_earlier_ones_within_a_millisecond_and_when_the_clock_is_set_back(monkeypatch):
    now = time.time_ns()
    monkeypatch.setattr(time, "time_ns", lambda: now)
    ids = [new_id() for _ in range(10_000)]  # more than the 4096 that one millisecond has room for
    now -= 3_600_000_000_000
    ids += [new_id() for _ in range(100)]
    assert ids == sorted(set(ids))


def test_ids_made_by_threads_at_once_are_unique_and_in_order_in_each():
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: [new_id() for _ in range(2_000)], range(8)))
    assert all(ids == sorted(ids) for ids in made)
    ticks = {one[:16] for ids in made for one in ids}  # without the random half, which would hide a tick given twice
    assert len(ticks) == 8 * 2_000
