"""Checks the ``Host`` header, against DNS rebinding."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chatapp.config.field_types import shown_url
from chatapp.domain.hosts import ascii_host, is_loopback
from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
HEALTH_CHECK = "/healthz"  # load balancers and kubelets use an IP address


class TrustedHostMiddleware:
    """Refuses requests with another host name than the chat's own.

    With DNS rebinding, a page of another site makes its own host name resolve to the chat, and then has the same origin
    as the chat: any site could read a local chat, which has no sign-in. Starlette's TrustedHostMiddleware does not know
    loopback addresses, answers in plain text, and checks the health check, too.

    Args:
        app: the app behind it.
        root_url: the public address of the chat; "" if any name may lead to it.
        local: only loopback names may lead to it.
        on_refused: called with the status of each refusal.
    """

    def __init__(
        self, app: ASGIApp, *, root_url: str, local: bool, on_refused: Callable[[int], None] = lambda _status: None
    ) -> None:
        self._app = app
        self._on_refused = on_refused
        self._root_url = root_url
        self._own_name = (urlsplit(root_url).hostname or "").rstrip(".")
        self._allows_any = not (self._own_name or local)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if its host name is allowed."""
        refused = None if scope["type"] != "http" or scope["path"] == HEALTH_CHECK else self._refused(scope)
        if refused is not None:
            self._on_refused(refused.status_code)
        await (refused or self._app)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        host = _HOST.fullmatch(_host(scope))
        if host is None:
            return error_response(scope, 400, Sentence("The address in this request is not valid."), links=())
        name = ascii_host(host[1].strip("[]"))
        # No DNS name of another site is a loopback name, and a forwarded port is reached by one.
        if self._allows_any or name == self._own_name or is_loopback(name):
            return None
        server = scope.get("server")
        address = shown_url(self._root_url) or f"http://localhost:{server[1] if server else ''}"
        return error_response(
            scope,
            421,
            Sentence(
                "This chat has another address. Open {address} instead. (For the operator: the "
                "public address is the setting CHAT_ROOT_URL.)",
                address=address,
            ),
            links=(),
        )


def _host(scope: Scope) -> str:
    """Return the header; a name that a proxy passes on in UTF-8 becomes one in ASCII, for all that read it later."""
    headers = scope["headers"]
    host = next((value for name, value in headers if name == b"host"), b"")
    if host.isascii():
        return host.decode()
    try:
        name, colon, port = host.decode().partition(":")
        address = ascii_host(name) + colon + port
    except ValueError:
        return ""
    scope["headers"] = [(name, address.encode() if name == b"host" else value) for name, value in headers]
    return address
