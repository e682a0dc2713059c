"""Authentication: a middleware finds the user of each request before any route sees it.

There is one `Authenticator` per ``CHAT_IDENTITY``: `chatapp.auth.local`, `chatapp.auth.anonymous`,
`chatapp.auth.sessions` (after a sign-in with OpenID Connect) and `chatapp.auth.iap`. Routes read the user with
`current_user`; they never look at cookies or tokens themselves.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request

from chatapp.auth.cookies import TWO_COOKIES, DuplicateCookie
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

USER_KEY = "chat.user"
# Without authentication: the health check, what search engines and browsers ask first, and the static files of the
# pages (`chatapp.http.assets`, `chatapp.http.pages.installing`).
PUBLIC = re.compile(r"/healthz|/robots\.txt|/manifest\.webmanifest|/service-worker\.js|/page/[^/]+/.+")
# IAP's unsigned headers. Any client can send them, so nothing behind the middleware may see them.
_UNSIGNED_IAP_HEADERS = b"x-goog-authenticated-user-"
NOT_SIGNED_IN = Sentence("You are signed out. Sign in to continue; your text is still in the box.")


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An authenticated user of the chat.

    Attributes:
        id: the key of the user's data in the store: opaque, never an e-mail address.
        kind: the authenticator that vouches for the user, as in ``CHAT_IDENTITY``.
        name: the display name from the provider; "" if it gives none.
        email: the e-mail address from the provider; "" if it gives none. Never logged, never stored.
        signed_in_ms: when the user signed in at the chat; None where the chat has no sign-in of its own.
    """

    id: str
    kind: Literal["local", "anonymous", "google", "iap"]
    name: str = ""
    email: str = ""
    signed_in_ms: int | None = None

    @property
    def is_guest(self) -> bool:
        """Whether the user is known only by a cookie in one browser."""
        return self.kind == "anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthResult:
    """The outcome of authenticating one request: a user, or why there is none.

    Attributes:
        user: None if authentication failed.
        cookies: ``Set-Cookie`` headers for the response.
        problem: the message for the client if authentication failed.
        status: the HTTP status if authentication failed.
        retry_after: seconds until a retry may succeed; 0 if waiting does not help.
    """

    user: User | None
    cookies: tuple[str, ...] = ()
    problem: Sentence = NOT_SIGNED_IN
    status: int = 401
    retry_after: int = 0


class Authenticator(Protocol):
    """Finds the user of a request."""

    async def authenticate(self, request: HTTPConnection) -> AuthResult:
        """Return the user who sent this request, or why there is none.

        Raises:
            DuplicateCookie: the request has a cookie twice.
        """


class AuthenticationMiddleware:
    """Authenticates each HTTP request once and puts the user into its scope.

    It fails closed: without a user, only public paths are passed on.

    Args:
        app: the app behind it.
        authenticator: finds the user.
        refuse: makes the response to a request without a user.
        on_refused: called for each of them.
        public: paths that need no user, in addition to `PUBLIC`; requests for them get no user at all.
        also_public: a regular expression of more such paths.
    """

    def __init__(
        self,
        app: ASGIApp,
        authenticator: Authenticator,
        *,
        refuse: Callable[[Request, AuthResult], Response],
        on_refused: Callable[[AuthResult], None] = lambda _result: None,
        public: frozenset[str] = frozenset(),
        also_public: str = "",
    ) -> None:
        self._app = app
        self._authenticator = authenticator
        self._public = public
        self._also_public = re.compile(also_public or r"(?!)", re.DOTALL)
        self._refuse = refuse
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass an authenticated or public request on; refuse any other."""
        if scope["type"] == "websocket":  # the chat has none
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] == "http":
            scope["headers"] = [item for item in scope["headers"] if not item[0].startswith(_UNSIGNED_IAP_HEADERS)]
        if scope["type"] != "http" or self._is_public(scope["path"]):
            await self._app(scope, receive, send)
            return
        try:
            result = await self._authenticator.authenticate(HTTPConnection(scope))
        except DuplicateCookie:
            result = AuthResult(user=None, problem=TWO_COOKIES, status=400)
        response: ASGIApp = self._app
        if result.user is None:
            self._on_refused(result)
            refusal = self._refuse(Request(scope, receive), result)
            if result.retry_after:
                refusal.headers["retry-after"] = str(result.retry_after)
            response = refusal
        else:
            scope[USER_KEY] = result.user
        await response(scope, receive, _with_cookies(send, result.cookies) if result.cookies else send)

    def _is_public(self, path: str) -> bool:
        return path in self._public or bool(PUBLIC.fullmatch(path) or self._also_public.fullmatch(path))


def _with_cookies(send: Send, cookies: tuple[str, ...]) -> Send:
    """Return a function that adds ``Set-Cookie`` headers, except for cookies that the response sets itself."""

    async def send_with_cookies(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            names = {cookie.partition("=")[0] for cookie in headers.getlist("set-cookie")}
            for cookie in cookies:
                if cookie.partition("=")[0] not in names:  # such as a session that signing out deletes
                    headers.append("set-cookie", cookie)
        await send(message)

    return send_with_cookies


def current_user(request: HTTPConnection) -> User:
    """Return the user who sent this request.

    Raises:
        KeyError: the path is public, so the request was not authenticated.
    """
    user: User = request.scope[USER_KEY]
    return user


def current_user_id(request: HTTPConnection) -> str:
    """Return the id of the user who sent this request.

    Raises:
        KeyError: the path is public, so the request was not authenticated.
    """
    return current_user(request).id
