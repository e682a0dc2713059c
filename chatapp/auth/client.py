"""The client's network address, for rate limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Scope


def client_address(scope: Scope) -> str:
    """Return the client's IP address, as `chatapp.http.middleware.forwarded` set it; "" if unknown. Never log it."""
    client = scope.get("client")
    return client[0] if client else ""
