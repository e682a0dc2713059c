"""The names that the chat answers to."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

_HOST = re.compile(r"(\[[0-9a-fA-F:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::\d{1,5})?")
PROBED = "/healthz"  # load balancers and kubelets ask by an address


class TrustedHostMiddleware:
    """Refuses requests for other names than the chat's own.

    A page of another site could otherwise have its own name lead to the chat once it is loaded (DNS rebinding), and
    would then be of one origin with it: a chat for one person, who need not sign in, would be read by any site.

    Args:
        root_url: the address that people use; "" where any name may lead here.
        local: only names of this computer do.
    """

    def __init__(self, app: ASGIApp, *, root_url: str, local: bool) -> None:
        self._app = app
        self._root_url = root_url
        self._own = (urlsplit(root_url).hostname or "").rstrip(".")
        self._any = not (self._own or local)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on if it is for this chat."""
        refused = None if scope["type"] != "http" or scope["path"] == PROBED else self._refused(scope)
        await (refused or self._app)(scope, receive, send)

    def _refused(self, scope: Scope) -> Response | None:
        asked = _HOST.fullmatch(HTTPConnection(scope).headers.get("host", ""))
        if asked is None:
            return error_response(scope, 400, Sentence("The address in this request is not valid."), links=())
        name = asked[1].strip("[]").rstrip(".").lower()
        # Nobody else's name leads to a loopback name, which is also what a forwarded port is called by.
        if self._any or name == self._own or is_loopback(name):
            return None
        server = scope.get("server")
        address = self._root_url or f"http://localhost:{server[1] if server else ''}"
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


def is_loopback(name: str) -> bool:
    """Return whether a host, as in an address or a ``Host`` header without its port, can only be this computer."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
