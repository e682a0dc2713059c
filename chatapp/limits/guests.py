"""How many new guests may come from one address: each is a person of their own to all other limits."""

from __future__ import annotations

import math
from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from limits import RateLimitItemPerHour
from limits.strategies import MovingWindowRateLimiter

from chatapp.limits.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable

# What one customer of a provider has at least, and often gets a new part of; who has more of it than this is still held
# up by what everybody together may ask for.
IPV6_PREFIX = 56
MOST_ADDRESSES = 50_000  # that are told apart, in 20 MB; beyond them, new ones count as one


class NewGuests:
    """Counts new guests by their address, for an hour, in memory only.

    Args:
        most: in an hour; 0: any number.
        on_refused: is told the name of the limit at each refusal.
    """

    def __init__(
        self, most: int, on_refused: Callable[[str], None] = lambda _limit: None, windows: Windows | None = None
    ) -> None:
        self._item = RateLimitItemPerHour(most, namespace="new_guests") if most else None
        self._on_refused = on_refused
        self._windows = windows or Windows()
        self._limiter = MovingWindowRateLimiter(self._windows)

    def admit(self, address: str) -> int:
        """Count a new guest from this address, "" being one too; if there are too many, return the seconds to wait."""
        if self._item is None:
            return 0
        network = _network(address)
        if self._windows.known >= MOST_ADDRESSES and not self._windows.is_known(self._item.key_for(network)):
            network = "others"
        if self._limiter.hit(self._item, network):
            return 0
        self._on_refused(self._item.namespace)
        reset_at = self._limiter.get_window_stats(self._item, network).reset_time
        return max(1, math.ceil(reset_at - self._windows.clock()))


def _network(address: str) -> str:
    """Return what one client has: an address, or of IPv6 a network."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a Unix socket has none
        return ""
    return str(ip_network((parsed, IPV6_PREFIX), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed)
