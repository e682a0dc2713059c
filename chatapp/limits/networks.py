"""Limits per client network, for requests of clients that have not signed in."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatapp.limits.moving_window import MovingWindow

# Providers give each customer at least this much, and often a new part of it. A customer with more of it is still bound
# by the limit of all networks together.
IPV6_PREFIX = 56
MAX_NETWORKS = 50_000  # told apart, in 20 MB; beyond them, all new networks count as one
_ALL = "all"


class NetworkLimit:
    """Counts events per client network and in total within a moving window, in memory only.

    Args:
        per_network: the most events of one network in the window; 0: no limit.
        in_total: the most events of all networks; 0: no limit.
        window: where they are counted.
    """

    def __init__(self, per_network: int, in_total: int, window: MovingWindow) -> None:
        self._per_network = per_network
        self._in_total = in_total
        self._window = window

    def admit(self, address: str) -> int:
        """Count an event of a client address ("" if unknown) and return 0, or return the seconds to wait."""
        network = self._key(address)
        wait = 0
        if self._per_network:
            wait = self._window.wait(network, self._per_network)
        if self._in_total:
            wait = max(wait, self._window.wait(_ALL, self._in_total))
        if not wait:
            for key, limit in ((network, self._per_network), (_ALL, self._in_total)):
                if limit:
                    self._window.add(key)
        return wait

    def take_back(self, address: str) -> None:
        """Stop counting the last event of a client address."""
        for key in (self._key(address), _ALL):
            self._window.take_back(key)

    def _key(self, address: str) -> str:
        network = client_network(address)
        if len(self._window) >= MAX_NETWORKS and network not in self._window:
            return "others"
        return network


def client_network(address: str) -> str:
    """Return the key of a client: its IPv4 address, or its IPv6 network; "" without an address."""
    try:
        parsed = ip_address(address)
    except ValueError:  # a Unix socket has no address
        return ""
    return str(ip_network((parsed, IPV6_PREFIX), strict=False)) if isinstance(parsed, IPv6Address) else str(parsed)
