"""Headers of every response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    # An image in an answer must not tell another site that, and what, somebody asked.
    "content-security-policy": "img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'self'; frame-ancestors 'self'",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class HeadersMiddleware:
    """Adds the security headers, and keeps proxies from holding back streams: Gradio marks none as such."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the headers of its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)  # what is stricter stays
                if headers.get("content-type", "").startswith("text/event-stream"):
                    headers["cache-control"] = "no-cache, no-transform"
                    headers["x-accel-buffering"] = "no"
            await send(message)

        await self._app(scope, receive, send_with_headers)
