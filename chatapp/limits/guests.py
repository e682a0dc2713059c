"""The rate limit of new guests per client address. Without it, new guests would evade all limits per user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.limits.moving_window import MovingWindow
from chatapp.limits.networks import NetworkLimit

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_SECONDS = 3600
GUEST_ID_PREFIX = "anonymous-"


def is_guest(user: str) -> bool:
    """Return whether a user id is a guest's."""
    return user.startswith(GUEST_ID_PREFIX)


class NewGuests:
    """Counts new guests per client address within an hour, in memory only.

    Args:
        limit: the most new guests in an hour; 0: no limit.
        on_refused: called with the name of the limit at each refusal.
        window: where they are counted.
    """

    def __init__(
        self,
        limit: int,
        on_refused: Callable[[str], None] = lambda _limit: None,
        window: MovingWindow | None = None,
    ) -> None:
        self._on_refused = on_refused
        self._limit = NetworkLimit(limit, 0, MovingWindow(HOUR_SECONDS) if window is None else window)

    def admit(self, address: str) -> int:
        """Count a new guest from a client address ("" if unknown) and return 0, or return the seconds to wait."""
        wait = self._limit.admit(address)
        if wait:
            self._on_refused("new_guests")
        return wait
