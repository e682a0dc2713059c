"""The rate limit of new guests per client address. Without it, new guests would evade all limits per user."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from chatapp.limits.moving_window import MovingWindow

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR_SECONDS = 3600
# Providers give each customer at least this much, and often a new part of it. A customer with more of it is still bound
# by the shared quota.
IPV6_PREFIX = 56
MAX_ADDRESSES = 50_000  # told apart, in 20 MB; beyond them, all new addresses count as one


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
        self._limit = limit
        self._on_refused = on_refused
        self._window = MovingWindow(HOUR_SECONDS) if window is None else window

    def admit(self, address: str) -> int:
        """Count a new guest from a client address ("" if unknown) and return 0, or return the seconds to wait."""
        if not self._limit:
            return 0
        network = _network(address)
        if len(self._window) >= MAX_ADDRESSES and network not in self._window:
            network = "others"
        if wait := self._window.wait(network, self._limit):
            self._on_refused("new_guests")
            return wait
        self._window.add(network)
        return 0


def _network(address: str) -> str:
    """Return the key of a client: its IPv4 address, or its IPv6 network."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a Unix socket has no address
        return ""
    return str(ip_network((parsed, IPV6_PREFIX), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed)
