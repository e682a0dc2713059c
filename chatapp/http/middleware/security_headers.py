"""Headers of every response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

YEAR_SECONDS = 31_536_000
# Of what the chat's page does not use: whatever gets into it cannot either.
_UNUSED = (
    "accelerometer",
    "camera",
    "display-capture",
    "geolocation",
    "gyroscope",
    "hid",
    "identity-credentials-get",
    "magnetometer",
    "microphone",
    "midi",
    "payment",
    "publickey-credentials-get",
    "screen-wake-lock",
    "serial",
    "usb",
    "xr-spatial-tracking",
)

# What is only ever a part of a page, of which a page has 70: a kilobyte each of what counts for pages alone.
_PARTS = ("text/javascript", "application/javascript", "text/css", "font/")
_OF_PARTS = ("cross-origin-resource-policy", "x-content-type-options", "strict-transport-security")


def policy(*, scripts: tuple[str, ...] = (), styles: tuple[str, ...] = ()) -> str:
    """Return a Content-Security-Policy: all that a page loads is the chat's own, and no text becomes code.

    An image in an answer must not tell another site that, and what, somebody asked; nor can a script that got into the
    page send anything anywhere else.

    Args:
        scripts: sources of inline scripts that may run, such as ``'sha256-...'``.
        styles: likewise, of inline styles.
    """
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *scripts)),
            " ".join(("style-src 'self'", *styles)),
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'self'",
            "frame-ancestors 'none'",
        )
    )


class SecurityHeadersMiddleware:
    """Adds the security headers, and keeps proxies from holding back streams.

    Args:
        https: people reach the chat over HTTPS; browsers then ask for it in no other way for a year.
    """

    def __init__(self, app: ASGIApp, *, https: bool = False) -> None:
        self._app = app
        self._headers = {
            "content-security-policy": policy(),
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": ", ".join(f"{name}=()" for name in _UNUSED),
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
        if https:
            self._headers["strict-transport-security"] = f"max-age={YEAR_SECONDS}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and complete the headers of its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kind = headers.get("content-type", "")
                for name, value in self._headers.items():
                    if name in _OF_PARTS or not kind.startswith(_PARTS):
                        headers.setdefault(name, value)  # what a page needs of its own stays
                if kind.startswith("text/event-stream"):
                    headers["cache-control"] = "no-cache, no-transform"
                    headers["x-accel-buffering"] = "no"
                elif kind.startswith("application/json"):  # somebody's own
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
