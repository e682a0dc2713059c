"""Getting along with proxies, and not being fooled by whoever pretends to be one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class ProxyMiddleware:
    """Believes no forwarding header, and keeps proxies from holding back streams.

    Gradio makes its own address from ``X-Forwarded-Host``, which anyone can send (a forged one changed ``root``); the
    address behind a proxy is a setting instead. And it marks no stream as one that must not be buffered or cached.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on without forwarding headers, and complete the headers of its response."""
        if scope["type"] == "http":
            scope["headers"] = [header for header in scope["headers"] if not header[0].startswith(b"x-forwarded-")]

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                if headers.get("content-type", "").startswith("text/event-stream"):
                    headers["cache-control"] = "no-cache, no-transform"
                    headers["x-accel-buffering"] = "no"
            await send(message)

        await self._app(scope, receive, send_with_headers)
