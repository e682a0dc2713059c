"""Sign-in with OpenID Connect, by links alone.

GET /sign-in?next=           a page with a link to the provider; redirects a user who is signed in to the chat
GET /sign-in/start?next=     redirects to the provider; &choose=1 to choose an account there
GET /sign-in/callback        the way back from the provider, and on to ``next``
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from chatapp.auth import NOT_SIGNED_IN, audit
from chatapp.auth.audit import Action
from chatapp.auth.authlib_compat import set_session
from chatapp.auth.encrypted_cookies import CookieCipher
from chatapp.auth.oidc import GOOGLE, SignInError
from chatapp.auth.sessions import NOT_ALLOWED, Session, user_id
from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_json
from chatapp.http.pages.navigation import is_navigation, local_page
from chatapp.http.pages.rendering import render_page

if TYPE_CHECKING:
    from chatapp.auth import Authenticator, AuthResult
    from chatapp.auth.allow_list import AllowList
    from chatapp.auth.oidc import Claims, OidcProvider
    from chatapp.auth.sessions import SessionCookies

PATH, START, CALLBACK = "/sign-in", "/sign-in/start", "/sign-in/callback"
PUBLIC = frozenset({PATH, START, CALLBACK})
FLOW_SECONDS = 600

SIGN_IN = Sentence("Sign in")
PROMPT = Sentence("Sign in to use this chat. Your conversations will be on all your devices.")
AS_GUEST = Sentence("Continue as guest")

log = structlog.get_logger(__name__)


class SignIn:
    """The routes, and the response to a request without authentication.

    Args:
        provider: the OpenID Connect provider.
        cookies: the session cookies.
        allow_list: which accounts may use the chat.
        authenticator: recognizes a user who is signed in already.
        secret: encrypts the cookie that holds the state of a sign-in.
        root_url: the public address of the chat; "" where the ``Host`` header says it.
        guests: users may continue without signing in.
    """

    def __init__(
        self,
        provider: OidcProvider,
        cookies: SessionCookies,
        allow_list: AllowList,
        authenticator: Authenticator,
        *,
        secret: str,
        root_url: str,
        guests: bool,
    ) -> None:
        self._provider = provider
        self._cookies = cookies
        self._allow_list = allow_list
        self._authenticator = authenticator
        self._root_url = root_url
        self._root_path = urlsplit(root_url).path.rstrip("/")
        self._guests = guests
        self._cipher = CookieCipher(secret, "sign-in")
        secure = root_url.startswith("https:")
        self._state_cookie = "__Host-chat_sign_in" if secure else "chat_sign_in"
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        host = urlsplit(provider.issuer).netloc
        self._provider_label = (
            Sentence("Sign in with Google")
            if provider.issuer == GOOGLE
            else Sentence("Sign in with {provider}", provider=host)
        )

    def router(self) -> APIRouter:
        """Return the routes."""
        routes = APIRouter(include_in_schema=False)
        routes.add_api_route(PATH, self._page, methods=["GET"])
        routes.add_api_route(START, self._start, methods=["GET"])
        routes.add_api_route(CALLBACK, self._callback, methods=["GET"])
        return routes

    def refused(self, request: Request, result: AuthResult) -> Response:
        """Return the sign-in page where a person opened an address, and JSON to a script."""
        if not is_navigation(request):
            return error_json(result.status, result.problem, signIn=self._root_path + PATH)
        return self._offer(
            request,
            result.status,
            PROMPT if result.problem is NOT_SIGNED_IN else result.problem,
            local_page(request.scope["path"]),
            choose=result.problem is NOT_ALLOWED,
        )

    async def _page(self, request: Request) -> Response:
        page = local_page(request.query_params.get("next", ""))
        # Only with a session cookie, because authenticating a request without one would create a guest.
        if self._cookies.is_sent(request) and (await self._authenticator.authenticate(request)).user:
            return self._redirect(page)
        return self._offer(request, 200, PROMPT, page, choose=request.query_params.get("choose") == "1")

    async def _start(self, request: Request) -> Response:
        page = local_page(request.query_params.get("next", ""))
        session: dict[str, object] = {"next": page}
        set_session(request, session)
        choose = request.query_params.get("choose") == "1"
        try:
            address = await self._provider.start_sign_in(
                request, f"{self._public_address(request)}{CALLBACK}", choose_account=choose
            )
        except SignInError as error:
            return self._refuse_sign_in(request, error, page)
        response = RedirectResponse(address, 303, headers={"cache-control": "no-store"})
        cookie = f"{self._state_cookie}={self._cipher.encrypt(session)}; Max-Age={FLOW_SECONDS}{self._attributes}"
        response.headers.append("set-cookie", cookie)
        return response

    async def _callback(self, request: Request) -> Response:
        session = self._cipher.decrypt(request.cookies.get(self._state_cookie, ""), FLOW_SECONDS) or {}
        set_session(request, session)
        page = local_page(str(session.get("next", "")))
        try:
            claims = await self._provider.finish_sign_in(request)
            response = self._signed_in(claims, page)
        except SignInError as error:
            response = self._refuse_sign_in(request, error, page)
        response.headers.append("set-cookie", f"{self._state_cookie}=; Max-Age=0{self._attributes}")  # valid once
        return response

    def _signed_in(self, claims: Claims, page: str) -> Response:
        user = user_id(self._provider.issuer, claims.subject)
        if not self._allow_list.allows(claims.email, claims.domain):
            raise SignInError(403, NOT_ALLOWED if claims.email else _UNVERIFIED, user=user)
        session = Session.create(
            self._provider.issuer, claims.subject, name=claims.name, email=claims.email, domain=claims.domain
        )
        audit.record(Action.SIGN_IN, user)
        response = self._redirect(page)
        response.headers.append("set-cookie", self._cookies.set_cookie(session))
        return response

    def _refuse_sign_in(self, request: Request, error: SignInError, page: str) -> Response:
        audit.record(Action.SIGN_IN_REFUSED, error.user)
        if error.detail:
            log.warning("sign_in_refused", detail=error.detail)
        return self._offer(request, error.status, error.sentence, page, choose=bool(error.user))

    def _offer(self, request: Request, status: int, sentence: str, page: str, *, choose: bool) -> Response:
        start = f"{START}?next={quote(page)}" + ("&choose=1" if choose else "")
        links = [(self._provider_label, start), *([(AS_GUEST, page)] if self._guests and status != 429 else [])]
        return render_page(request, status, SIGN_IN, sentence, links=links, root_url=self._root_url)

    def _redirect(self, page: str) -> Response:
        return RedirectResponse(self._root_path + page, 303, headers={"cache-control": "no-store"})

    def _public_address(self, request: Request) -> str:
        return self._root_url or f"{request.url.scheme}://{request.headers.get('host', '')}"


_UNVERIFIED = Sentence(
    "Your sign-in service has not verified your e-mail address. Verify it there, then sign in again."
)
