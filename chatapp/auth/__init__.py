"""The one seam to who is asking: a middleware puts the person on every request, before anything else sees it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request

from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PERSON_KEY = "chat.person"
# What anybody may have: whether the chat is alive, and the files that its pages are made of (`chatapp.http.assets`).
PUBLIC = re.compile(r"/healthz|/page/[^/]+/.+")
_UNSIGNED = b"x-goog-authenticated-user-"
NOBODY = Sentence("You are signed out. Sign in to go on; what you wrote is still here.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who may use the chat.

    Attributes:
        user: whom the store knows: opaque, and never an address.
        kind: who says so.
        name: as the provider says it, for the person's own eyes; "" if it does not.
        address: the e-mail address, likewise; never logged, never stored.
    """

    user: str
    kind: Literal["local", "anonymous", "google", "iap"]
    name: str = ""
    address: str = ""

    @property
    def is_guest(self) -> bool:
        """Whether nobody knows who this is: a browser with a cookie."""
        return self.kind == "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """Who is asking, or why that is nobody.

    Attributes:
        person: None: nobody whom the chat knows.
        cookies: ``Set-Cookie`` headers to answer with.
        problem: what to say where there is nobody.
        status: and with which status.
        retry_after: seconds after which there may be somebody; 0 where time changes nothing.
    """

    person: Person | None
    cookies: tuple[str, ...] = ()
    problem: Sentence = NOBODY
    status: int = 401
    retry_after: int = 0


class Identity(Protocol):
    """Says who is asking."""

    async def identify(self, request: HTTPConnection) -> Identified:
        """Return who sent this request, or nobody."""


class IdentityMiddleware:
    """Identifies who sends each HTTP request, once. It fails closed: from nobody only what is public is passed on.

    Args:
        app: what is behind it.
        identity: who knows people.
        refuse: the response where there is nobody.
        public: paths besides `PUBLIC` that nobody has to be known for; they get no person at all.
    """

    def __init__(
        self,
        app: ASGIApp,
        identity: Identity,
        *,
        refuse: Callable[[Request, Identified], Response],
        public: frozenset[str] = frozenset(),
    ) -> None:
        self._app = app
        self._identity = identity
        self._public = public
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its person in the scope."""
        if scope["type"] == "websocket":  # nothing here talks over one
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            # A proxy's unsigned word of who is asking, which anybody can send.
            scope["headers"] = [header for header in scope["headers"] if not header[0].startswith(_UNSIGNED)]
        if scope["type"] != "http" or scope["path"] in self._public or PUBLIC.fullmatch(scope["path"]):
            await self._app(scope, receive, send)
            return
        identified = await self._identity.identify(HTTPConnection(scope))

        async def send_with_cookies(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for cookie in identified.cookies:
                    headers.append("set-cookie", cookie)
            await send(message)

        if identified.person is None:
            refused = self._refuse(Request(scope, receive), identified)
            if identified.retry_after:
                refused.headers["retry-after"] = str(identified.retry_after)
            response: ASGIApp = refused
        else:
            scope[PERSON_KEY] = identified.person
            response = self._app
        await response(scope, receive, send_with_cookies if identified.cookies else send)


def person_of(request: HTTPConnection) -> Person:
    """Return who sent this request.

    Raises:
        KeyError: the path is public, so nobody was asked for.
    """
    person: Person = request.scope[PERSON_KEY]
    return person


def user_of(request: HTTPConnection) -> str:
    """Return the id of the user who sent this request."""
    return person_of(request).user
