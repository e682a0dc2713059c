"""Not being fooled by whoever pretends to be a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class ForgetForwardingMiddleware:
    """Believes no forwarding header.

    Gradio makes its own address from ``X-Forwarded-Host``, which anyone can send: a forged one changed ``root``. The
    address behind a proxy is a setting instead.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without forwarding headers."""
        if scope["type"] == "http":
            scope["headers"] = [header for header in scope["headers"] if not header[0].startswith(b"x-forwarded-")]
        await self._app(scope, receive, send)
