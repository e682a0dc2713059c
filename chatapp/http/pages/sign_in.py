"""Sign-in with OpenID Connect, by links alone.

GET /sign-in?next=           a page with a link to the provider; redirects a user who is signed in to the chat
                             ?signed-out=1 offers to sign out of the provider, too
GET /sign-in/start?next=     redirects to the provider; &choose=1 to choose an account there, &again=1 to authenticate
                             there again
GET /sign-in/callback        the way back from the provider, and on to ``next``
"""

from __future__ import annotations

from contextlib import contextmanager
from time import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from chatapp.auth import NOT_SIGNED_IN, audit
from chatapp.auth.audit import Action
from chatapp.auth.authlib_compat import set_session
from chatapp.auth.client import client_address
from chatapp.auth.cookies import TWO_COOKIES, Cookie, DuplicateCookie
from chatapp.auth.encrypted_cookies import CookieCipher
from chatapp.auth.oidc import GOOGLE, SignInError
from chatapp.auth.sessions import NOT_ALLOWED, Session, user_id
from chatapp.domain.sentences import Sentence, Wait
from chatapp.http.errors import error_json
from chatapp.http.pages.navigation import is_navigation, local_page
from chatapp.http.pages.rendering import render_page
from chatapp.limits.sign_in import SignInLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from chatapp.auth import Authenticator, AuthResult
    from chatapp.auth.allow_list import AllowList
    from chatapp.auth.anonymous import AnonymousAuthenticator
    from chatapp.auth.audit import RefusalLog
    from chatapp.auth.oidc import Claims, OidcProvider
    from chatapp.auth.session_list import SessionList
    from chatapp.auth.sessions import SessionCookies

PATH, START, CALLBACK = "/sign-in", "/sign-in/start", "/sign-in/callback"
PUBLIC = frozenset({PATH, START, CALLBACK})
FLOW_SECONDS = 600

SIGN_IN = Sentence("Sign in")
PROMPT = Sentence("Sign in to use this chat. Your conversations will be on all your devices.")
SIGNED_OUT = Sentence("You are signed out of this chat.")
AS_GUEST = Sentence("Continue as guest")


class SignIn:
    """The routes, and the response to a request without authentication.

    Args:
        provider: the OpenID Connect provider.
        cookies: the session cookies.
        allow_list: which accounts may use the chat.
        authenticator: recognizes a user who is signed in already.
        secret: encrypts the cookie that holds the state of a sign-in.
        root_url: the public address of the chat; "" where the ``Host`` header says it.
        guests: recognizes the guest that this browser was before.
        allows_guests: users may continue without signing in.
        refusals: where refused sign-ins are logged.
        session_list: where sessions are noted.
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
        guests: AnonymousAuthenticator,
        allows_guests: bool,
        refusals: RefusalLog,
        session_list: SessionList,
    ) -> None:
        self._session_list = session_list
        self._provider = provider
        self._cookies = cookies
        self._allow_list = allow_list
        self._authenticator = authenticator
        self._root_url = root_url
        self._root_path = urlsplit(root_url).path.rstrip("/")
        self._guests = guests
        self._allows_guests = allows_guests
        self._refusals = refusals
        self._limit = SignInLimit()
        self._cipher = CookieCipher(secret, "sign-in")
        self._state_cookie = Cookie("chat_sign_in", secure=root_url.startswith("https:"))
        host = self._provider_name = urlsplit(provider.issuer).netloc
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
        try:
            if self._cookies.is_sent(request) and (await self._authenticator.authenticate(request)).user:
                return self._redirect(page)
        except DuplicateCookie:
            return self._offer(request, 400, TWO_COOKIES, page, choose=False)
        has_signed_out = request.query_params.get("signed-out") == "1"
        return self._offer(
            request,
            200,
            SIGNED_OUT if has_signed_out else PROMPT,
            page,
            choose=request.query_params.get("choose") == "1",
            sign_out_url=self._provider.sign_out_url if has_signed_out else "",
        )

    async def _start(self, request: Request) -> Response:
        page = local_page(request.query_params.get("next", ""))
        # A cookie that appears later may come from another site: only this guest's data will be offered for a merge.
        guests = {self._guests.user_in(request), self._guests.earlier_user_in(request)} - {""}
        again = request.query_params.get("again") == "1"
        session: dict[str, object] = {"next": page, "guests": sorted(guests), "not_before": time() if again else 0}
        set_session(request, session)
        choose = request.query_params.get("choose") == "1"
        try:
            with self._counted(request) as before_request:
                address = await self._provider.start_sign_in(
                    request,
                    f"{self._public_address(request)}{CALLBACK}",
                    choose_account=choose,
                    again=again,
                    before_request=before_request,
                )
        except SignInError as error:
            return self._refuse_sign_in(request, error, page)
        response = RedirectResponse(address, 303, headers={"cache-control": "no-store"})
        cookie = self._state_cookie.set(self._cipher.encrypt(session), seconds=FLOW_SECONDS)
        response.headers.append("set-cookie", cookie)
        return response

    async def _callback(self, request: Request) -> Response:
        try:
            cookie = self._state_cookie.read(request) or ""
        except DuplicateCookie:
            return self._refuse_sign_in(request, SignInError(400, TWO_COOKIES), "/")
        session = self._cipher.decrypt(cookie, FLOW_SECONDS) or {}
        set_session(request, session)
        page = local_page(str(session.get("next", "")))
        try:
            with self._counted(request) as before_request:
                claims = await self._provider.finish_sign_in(
                    request, not_before=float(session.get("not_before", 0)), before_request=before_request
                )
                response = self._signed_in(request, claims, page, tuple(session.get("guests", ())))
        except SignInError as error:
            response = self._refuse_sign_in(request, error, page)
        response.headers.append("set-cookie", self._state_cookie.deleted)  # valid once
        return response

    @contextmanager
    def _counted(self, request: Request) -> Iterator[Callable[[], None]]:
        """Yield a function that counts a request to the provider; what succeeds within the block does not count."""
        address, counted = client_address(request.scope), 0

        def count() -> None:
            nonlocal counted
            if seconds := self._limit.admit(address):
                raise SignInError(
                    429, _TOO_MANY.filled(when=Wait(seconds)), detail="too_many_sign_ins", retry_after=seconds
                )
            counted += 1

        yield count
        for _ in range(counted):
            self._limit.take_back(address)

    def _signed_in(self, request: Request, claims: Claims, page: str, guests: tuple[str, ...]) -> Response:
        user = user_id(self._provider.issuer, claims.subject)
        if not self._allow_list.allows(claims.email, claims.domain):
            raise SignInError(403, NOT_ALLOWED if claims.email else _UNVERIFIED, user=user)
        session = Session.create(
            self._provider.issuer,
            claims.subject,
            name=claims.name,
            email=claims.email,
            domain=claims.domain,
            guests=guests,
        )
        audit.record(Action.SIGN_IN, user)
        self._session_list.note(session, request.headers.get("user-agent", ""))
        response = self._redirect(page)
        response.headers.append("set-cookie", self._cookies.set_cookie(session))
        return response

    def _refuse_sign_in(self, request: Request, error: SignInError, page: str) -> Response:
        self._refusals.sign_in_refused(error.user)
        if error.detail:
            self._refusals.sign_in_failed(error.detail)
        response = self._offer(request, error.status, error.sentence, page, choose=bool(error.user))
        if error.retry_after:
            response.headers["retry-after"] = str(error.retry_after)
        return response

    def _offer(
        self, request: Request, status: int, sentence: str, page: str, *, choose: bool, sign_out_url: str = ""
    ) -> Response:
        start = f"{START}?next={quote(page)}" + ("&choose=1" if choose else "")
        links = [(self._provider_label, start)]
        if self._allows_guests and status != 429:
            links.append((AS_GUEST, page))
        if sign_out_url:
            links.append((Sentence("Sign out of {provider}, too", provider=self._provider_name), sign_out_url))
        return render_page(request, status, SIGN_IN, sentence, links=links, root_url=self._root_url)

    def _redirect(self, page: str) -> Response:
        return RedirectResponse(self._root_path + page, 303, headers={"cache-control": "no-store"})

    def _public_address(self, request: Request) -> str:
        return self._root_url or f"{request.url.scheme}://{request.headers.get('host', '')}"


_TOO_MANY = Sentence("There were too many sign-ins from your network that did not succeed. Try again {when}.")
_UNVERIFIED = Sentence(
    "Your sign-in service has not verified your e-mail address. Verify it there, then sign in again."
)
