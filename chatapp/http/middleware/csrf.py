"""Protection against cross-site request forgery (CSRF), by the headers that browsers send."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # they change nothing (RFC 9110, section 9.2.1)


class CsrfMiddleware:
    """Allows only the chat's own page to change anything, and no page of another site to embed or fetch anything.

    A browser sends the user's cookies with requests from other sites' pages, too. It truthfully sends where a request
    comes from: ``Sec-Fetch-Site`` over HTTPS and on this computer, else ``Origin``. Other programs can forge both, but
    they do not have another user's cookies. See https://owasp.org/www-community/attacks/csrf.

    Args:
        app: the app behind it.
        root_url: the public address of the chat; "" if the ``Host`` header is to be used.
    """

    def __init__(self, app: ASGIApp, *, root_url: str) -> None:
        self._app = app
        self._root_url = root_url
        self._own = _origin(root_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its origin is allowed."""
        if scope["type"] != "http" or self._is_allowed(scope["method"], HTTPConnection(scope).headers):
            await self._app(scope, receive, send)
            return
        sentence = Sentence("Only the chat's own page may send this request. Nothing was changed.")
        await error_response(scope, 403, sentence, root_url=self._root_url)(scope, receive, send)

    def _is_allowed(self, method: str, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if method in SAFE_METHODS:  # any site may link to the chat
            return site in {None, "same-origin", "none"} or headers.get("sec-fetch-mode") == "navigate"
        if site is not None:
            return site == "same-origin"
        origin = _origin(headers.get("origin", ""))
        return origin != ("", "") and (origin == self._own or origin[1] == headers.get("host", "").lower())


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket without its pair
        return "", ""
    return parts.scheme.lower(), parts.netloc.lower()
