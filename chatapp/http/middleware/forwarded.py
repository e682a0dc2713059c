"""The client's address behind trusted proxies (``X-Forwarded-For``); removes all forwarding headers."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import TYPE_CHECKING

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

if TYPE_CHECKING:
    from collections.abc import Sequence
    from ipaddress import IPv4Network, IPv6Network

    from starlette.types import ASGIApp, Receive, Scope, Send

MAX_PROXIES = 16  # more than any chain has; any client can send a longer header
FORWARDED_FOR = b"x-forwarded-for"


class ClientAddressMiddleware:
    """Sets ``scope["client"]`` to the last address that no trusted proxy has, and removes forwarding headers.

    uvicorn's middleware walks through ``X-Forwarded-For``. This one prepares the header for it, because uvicorn

    - takes text that is no address as the client: entries left of one are dropped here;
    - does not find ``::ffff:10.0.0.1`` in ``10.0.0.0/8``: IPv4-mapped addresses become IPv4 here;
    - keeps different spellings and zones of an IPv6 address, which would be different clients to rate limits;
    - reads a header of any length;
    - believes ``X-Forwarded-Proto``: scheme and root come from ``CHAT_ROOT_URL`` alone, so it never gets to see it;
    - leaves the headers in place: Gradio would build its own address from ``X-Forwarded-Host``, which any client can
      send (a forged one changed its ``root``).

    Args:
        app: the app behind it.
        trusted: the networks of the proxies; a single address is a network of one.
    """

    def __init__(self, app: ASGIApp, *, trusted: Sequence[IPv4Network | IPv6Network] = ()) -> None:
        self._app = app
        # uvicorn has ASGI types of its own, which mypy does not match with Starlette's.
        self._find_client = ProxyHeadersMiddleware(self._pass_on, list(map(str, trusted)))  # type: ignore[arg-type]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without forwarding headers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope.get("client") and (peer := _address(scope["client"][0])):
            scope["client"] = peer, scope["client"][1]
        forwarded = b",".join(value for name, value in scope["headers"] if name == FORWARDED_FOR).decode("latin-1")
        scope["headers"] = [header for header in scope["headers"] if not _is_forwarding(header[0])]
        if addresses := _valid_addresses(forwarded):
            scope["headers"].append((FORWARDED_FOR, ",".join(addresses).encode()))
        await self._find_client(scope, receive, send)  # type: ignore[arg-type]  # as above

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["headers"] = [header for header in scope["headers"] if header[0] != FORWARDED_FOR]
        await self._app(scope, receive, send)


def _is_forwarding(name: bytes) -> bool:
    return name == b"forwarded" or name.startswith(b"x-forwarded-")


def _valid_addresses(forwarded: str) -> list[str]:
    """Return the addresses at the end of the header, up to the first entry from the right that is none."""
    addresses: list[str] = []
    for entry in reversed(forwarded.rsplit(",", MAX_PROXIES)[-MAX_PROXIES:]):
        if not (address := _address(entry)):
            break
        addresses.insert(0, address)
    return addresses


def _address(text: str) -> str:
    """Return an address in its usual spelling, without a port and zone; "" if it is none."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    return str((address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address)
