"""The one seam to who is asking: a middleware puts the user on every request, before anything else sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

USER_KEY = "chat.user"


class Identity(Protocol):
    """Says who is asking."""

    def identify(self, request: HTTPConnection) -> tuple[str, str]:
        """Return the user's id and a ``Set-Cookie`` header to answer with ("" for none)."""


class IdentityMiddleware:
    """Identifies the user of every HTTP request once."""

    def __init__(self, app: ASGIApp, identity: Identity) -> None:
        self._app = app
        self._identity = identity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its user in the scope."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope[USER_KEY], cookie = self._identity.identify(HTTPConnection(scope))

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", cookie)
            await send(message)

        await self._app(scope, receive, send_with_cookie if cookie else send)


def user_of(request: HTTPConnection) -> str:
    """Return the id of the user who sent this request."""
    return str(request.scope[USER_KEY])
