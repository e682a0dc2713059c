"""Whose page a request comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Scope, Send

READING = frozenset({"GET", "HEAD", "OPTIONS"})  # these change nothing (RFC 9110, 9.2.1)


class CsrfMiddleware:
    """Lets nothing but the chat's own page change anything, and no other site's page embed or fetch anything.

    A browser sends its cookies along with what another site has it ask. It says truthfully from where it asks
    (``Sec-Fetch-Site``, over HTTPS and on this computer; ``Origin`` otherwise); other programs may say what they like:
    they have no cookie of somebody else's.

    Args:
        root_url: the address that people use; "" where the ``Host`` header says it.
    """

    def __init__(self, app: ASGIApp, *, root_url: str) -> None:
        self._app = app
        self._root_url = root_url
        self._own = _origin(root_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it may come from where it does."""
        if scope["type"] != "http" or self._may(scope["method"], HTTPConnection(scope).headers):
            await self._app(scope, receive, send)
            return
        sentence = Sentence("Only the chat's own page may send this request. Nothing was changed.")
        await error_response(scope, 403, sentence, root_url=self._root_url)(scope, receive, send)

    def _may(self, method: str, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if method in READING:  # a link leads here from anywhere
            return site in {None, "same-origin", "none"} or headers.get("sec-fetch-mode") == "navigate"
        if site is not None:
            return site == "same-origin"
        origin = _origin(headers.get("origin", ""))
        return origin != ("", "") and (origin == self._own or origin[1] == headers.get("host", "").lower())


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # an address with half a bracket
        return "", ""
    return parts.scheme.lower(), parts.netloc.lower()
