"""A clock that tests set, and limits that use it."""

import pytest

from chatapp.limits import Quota
from chatapp.limits.daily_totals import DailyTotals
from chatapp.limits.usage import UsageLimits

NOON = 20_000 * 86_400 + 43_200  # of some day in UTC, in seconds since the epoch


class Clock:
    def __init__(self):
        self.now = float(NOON)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def limited(clock):
    """Return a function that makes limits; the names of limits that refused are in their list ``refused``."""

    def make(shared=None, *, guests=None, totals=None, **user):
        refused = []
        limits = UsageLimits(
            Quota(**user), shared or Quota(), totals or DailyTotals(clock=clock), refused.append, guests=guests
        )
        limits.refused = refused
        return limits

    return make
