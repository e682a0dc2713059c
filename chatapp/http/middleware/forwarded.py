"""Who is at the other end, without being fooled by whoever pretends to be a proxy."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address, IPv4Network, IPv6Network

    from starlette.types import ASGIApp, Receive, Scope, Send

    Address = IPv4Address | IPv6Address
    Network = IPv4Network | IPv6Network

MOST_PROXIES = 16  # more than any way to a chat has; the header is written by anybody


class ClientAddressMiddleware:
    """Puts the client's address into the scope and forgets every forwarding header.

    Only ``X-Forwarded-For`` is believed, and only as far as proxies that are known have written it. Gradio would make
    its own address from ``X-Forwarded-Host``, which anyone can send: a forged one changed ``root``. The address behind
    a proxy is a setting instead (``CHAT_ROOT_URL``).

    Args:
        trusted: the networks of these proxies; an address of their own is a network of one.
    """

    def __init__(self, app: ASGIApp, *, trusted: Sequence[Network] = ()) -> None:
        self._app = app
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without forwarding headers."""
        if scope["type"] == "http":
            peer = _parsed(scope["client"][0]) if scope.get("client") else None
            if peer is not None:
                forwarded = HTTPConnection(scope).headers.getlist("x-forwarded-for") if self._trusted else ()
                scope["client"] = str(self._client(peer, ",".join(forwarded))), scope["client"][1]
            scope["headers"] = [header for header in scope["headers"] if not _is_forwarding(header[0])]
        await self._app(scope, receive, send)

    def _client(self, peer: Address, forwarded: str) -> Address:
        """Return the last address that nobody who is trusted has: what stands before it may be invented."""
        for said in _from_the_right(forwarded):
            if not any(peer in network for network in self._trusted):
                break
            before = _parsed(said)
            if before is None:  # the proxy's own address is at least true
                break
            peer = before
        return peer


def _is_forwarding(name: bytes) -> bool:
    return name == b"forwarded" or name.startswith(b"x-forwarded-")


def _from_the_right(forwarded: str) -> Iterable[str]:
    return reversed(forwarded.rsplit(",", MOST_PROXIES)[-MOST_PROXIES:])


def _parsed(said: str) -> Address | None:
    """Return an address, with or without a port, as some proxies write it; None if it is none."""
    text = said.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address
