"""A clock that a test sets, and limits that go by it."""

import pytest

from chatapp.limits import Quota
from chatapp.limits.usage import UsageLimits
from chatapp.limits.windows import Windows

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
    """Return a function that makes limits; what they refused is in their list ``refused``."""

    def make(everybody=None, *, windows=None, **person):
        refused = []
        limits = UsageLimits(Quota(**person), everybody or Quota(), windows or Windows(clock), refused.append)
        limits.refused = refused
        return limits

    return make
