"""Protection against cross-site requests, by the headers that browsers send: Fetch Metadata and ``Origin``."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response
from chatapp.http.request_rules import Source, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.datastructures import Headers
    from starlette.types import ASGIApp, Receive, Scope, Send

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})  # they change nothing (RFC 9110, section 9.2.1)
# Destinations of a page's parts. Those that embed a page, such as "iframe" and "object", are none.
PARTS = frozenset({None, "script", "style", "font", "image", "manifest", "json", "worker", "empty"})


class Kind(Enum):
    """What a request of a browser can be for."""

    OPENED = "a page at top level"
    FETCHED = "a script's fetch"
    PICTURE = "a picture"
    PART = "any part of a page"
    FRAMED = "a page in a frame"
    WORKER = "a service worker"


FROM_PAGE: dict[Source, frozenset[Kind]] = {
    Source.DOCUMENT: frozenset({Kind.OPENED, Kind.FETCHED}),
    Source.NAVIGATION: frozenset({Kind.OPENED}),
    Source.SCRIPT: frozenset({Kind.FETCHED}),
    Source.DOWNLOAD: frozenset({Kind.OPENED, Kind.FETCHED}),
    Source.IMAGE: frozenset({Kind.OPENED, Kind.FETCHED, Kind.PICTURE}),
    Source.FILE: frozenset({Kind.OPENED, Kind.PART}),
    Source.FRAME: frozenset({Kind.OPENED, Kind.PART, Kind.FRAMED}),
    Source.WORKER: frozenset({Kind.OPENED, Kind.WORKER}),
}
LINKED = {Source.DOCUMENT, Source.NAVIGATION}  # any site may link to them
FILES = {Source.FILE, Source.FRAME, Source.WORKER}  # the same for everyone, so they may be loaded in advance


class CsrfMiddleware:
    """Allows only the chat's own page to change anything, and every route only what it is for.

    A browser sends the user's cookies with requests from other sites' pages, too, and an answer of a model can make the
    page request any address as a picture. A browser truthfully sends where a request comes from and what for
    (``Sec-Fetch-Site``, ``-Mode`` and ``-Dest``) over HTTPS and on this computer; else only ``Origin``. Other programs
    can forge all of them, but they do not have another user's cookies. `chatapp.http.request_rules` says what each
    route is for. See https://web.dev/articles/fetch-metadata and https://owasp.org/www-community/attacks/csrf.

    Args:
        app: the app behind it.
        root_url: the public address of the chat; "" if the ``Host`` header is to be used.
        on_refused: called with the status of each refusal.
    """

    def __init__(
        self, app: ASGIApp, *, root_url: str, on_refused: Callable[[int], None] = lambda _status: None
    ) -> None:
        self._app = app
        self._on_refused = on_refused
        self._root_url = root_url
        self._own = _origin(root_url)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its origin and its purpose are allowed."""
        if scope["type"] != "http" or self._is_allowed(scope, HTTPConnection(scope).headers):
            await self._app(scope, receive, send)
            return
        self._on_refused(403)
        sentence = Sentence("Only the chat's own page may send this request. Nothing was changed.")
        await error_response(scope, 403, sentence, root_url=self._root_url)(scope, receive, send)

    def _is_allowed(self, scope: Scope, headers: Headers) -> bool:
        if scope["method"] in SAFE_METHODS:
            return may_read(rule_of(scope["path"]).source, headers)
        site, destination = headers.get("sec-fetch-site"), headers.get("sec-fetch-dest", "empty")
        if destination != "empty":  # a form: the page sends all changes by script
            return False
        if site is not None:
            return site == "same-origin"
        origin = _origin(headers.get("origin", ""))
        return origin != ("", "") and (origin == self._own or origin[1] == headers.get("host", "").lower())


def may_read(source: Source, headers: Headers) -> bool:
    """Return whether a request that changes nothing may come from where its Fetch Metadata says.

    A header that is missing is no reason to refuse: browsers do not send them over plain HTTP, and older ones lack
    some.
    """
    if source is Source.ANY:
        return True
    if source not in FILES and _is_speculative(headers):
        return False
    site, mode = headers.get("sec-fetch-site"), headers.get("sec-fetch-mode")
    kinds = _kinds(mode, headers.get("sec-fetch-dest"))
    if site in {None, "none"}:  # a person entered the address
        return not kinds.isdisjoint(FROM_PAGE[source] | {Kind.OPENED})
    if site == "same-origin":
        return not kinds.isdisjoint(FROM_PAGE[source])
    return source in LINKED and mode == "navigate" and Kind.OPENED in kinds


def _kinds(mode: str | None, destination: str | None) -> set[Kind]:
    """Return what a request with these headers can be."""
    kinds = set()
    if mode in {None, "navigate"} and destination in {None, "document"}:
        kinds.add(Kind.OPENED)
    if mode in {None, "cors", "same-origin"} and destination in {None, "empty"}:
        kinds.add(Kind.FETCHED)
    if destination == "image":
        kinds.add(Kind.PICTURE)
    if destination in PARTS:
        kinds.add(Kind.PART)
    if destination == "iframe":
        kinds.add(Kind.FRAMED)
    if destination in {None, "serviceworker"}:
        kinds.add(Kind.WORKER)
    return kinds


def _is_speculative(headers: Headers) -> bool:
    """Return whether the browser prefetches or prerenders a page that is not open yet."""
    return any("prefetch" in headers.get(name, "") for name in ("sec-purpose", "purpose"))


def _origin(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:  # such as a bracket without its pair
        return "", ""
    return parts.scheme.lower(), parts.netloc.lower()
