"""Security headers of every response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

YEAR_SECONDS = 31_536_000
# Browser features that the page does not use, so injected code cannot use them either.
_DISABLED_FEATURES = (
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

# Files that are only parts of a page. A page has 70 of them, and headers that apply to pages only are 1 kB each.
_SUBRESOURCES = ("text/javascript", "application/javascript", "text/css", "font/")
_SUBRESOURCE_HEADERS = ("cross-origin-resource-policy", "x-content-type-options", "strict-transport-security")


def policy(
    *, scripts: tuple[str, ...] = (), styles: tuple[str, ...] = (), images: tuple[str, ...] = ("'self'",)
) -> str:
    """Return a Content-Security-Policy: pages load files of the chat only, and text never becomes code.

    So an image in an answer cannot report the question to another site, and an injected script cannot send data
    anywhere else.

    Args:
        scripts: sources of inline scripts that may run, such as ``'sha256-...'``.
        styles: sources of inline styles, likewise.
        images: sources of images, besides those that are part of the page (``data:``) or attached to a message.
    """
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src 'self'", *scripts)),
            " ".join(("style-src 'self'", *styles)),
            " ".join(("img-src data: blob:", *images)),
            "worker-src 'self'",
            "manifest-src 'self'",
            "frame-src 'self'",  # the frame that draws diagrams; no other page of the chat lets itself be framed
            "font-src 'self' data:",
            "connect-src 'self'",
            "form-action 'self'",
            "base-uri 'self'",
            "frame-ancestors 'none'",
        )
    )


def frame_policy(*, scripts: tuple[str, ...]) -> str:
    """Return the policy of a document that the page shows in a frame: its scripts run, and reach no address at all.

    Args:
        scripts: sources of its inline scripts, such as ``'sha256-...'``.
    """
    return "; ".join(
        (
            "default-src 'none'",
            " ".join(("script-src blob:", *scripts)),
            "style-src 'unsafe-inline'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'self'",
            "sandbox allow-scripts",
        )
    )


class SecurityHeadersMiddleware:
    """Adds the security headers, and keeps proxies from buffering streams.

    Args:
        app: the app behind it.
        https: the chat is reached over HTTPS: browsers then use nothing else for a year (HSTS).
        subdomains: that applies to subdomains, too.
    """

    def __init__(self, app: ASGIApp, *, https: bool = False, subdomains: bool = False) -> None:
        self._app = app
        self._headers = {
            "content-security-policy": policy(),
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": ", ".join(f"{name}=()" for name in _DISABLED_FEATURES),
            "referrer-policy": "same-origin",
            "x-content-type-options": "nosniff",
        }
        if https:
            hosts = "; includeSubDomains" if subdomains else ""
            self._headers["strict-transport-security"] = f"max-age={YEAR_SECONDS}{hosts}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the headers to its response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                kind = headers.get("content-type", "")
                for name, value in self._headers.items():
                    if name in _SUBRESOURCE_HEADERS or not kind.startswith(_SUBRESOURCES):
                        headers.setdefault(name, value)  # a page's own value has priority
                if kind.startswith("text/event-stream"):
                    headers["cache-control"] = "no-cache, no-transform"
                    headers["x-accel-buffering"] = "no"
                elif kind.startswith("application/json"):  # a user's data
                    headers.setdefault("cache-control", "no-store")
            await send(message)

        await self._app(scope, receive, send_with_headers)
