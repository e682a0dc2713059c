"""Signing in at a provider, by links alone.

GET /sign-in?next=           a page that leads to the provider; to the chat who is signed in already
GET /sign-in/start?next=     to the provider; &choose=1 to choose an account there
GET /sign-in/callback        back from there, and on to where it began
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from chatapp.auth import NOBODY, audit
from chatapp.auth.audit import Action
from chatapp.auth.oidc import GOOGLE, SignInRefused
from chatapp.auth.sealed import Seal
from chatapp.auth.sessions import NOT_ALLOWED, Session, user_id
from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_json
from chatapp.http.pages.navigation import is_navigation, own_page
from chatapp.http.pages.rendering import render_page

if TYPE_CHECKING:
    from chatapp.auth import Identified, Identity
    from chatapp.auth.allowed import AllowedPeople
    from chatapp.auth.oidc import Claims, Provider
    from chatapp.auth.sessions import SessionCookies

PATH, START, CALLBACK = "/sign-in", "/sign-in/start", "/sign-in/callback"
PUBLIC = frozenset({PATH, START, CALLBACK})
FLOW_SECONDS = 600

SIGN_IN = Sentence("Sign in")
TO_GO_ON = Sentence("Sign in to use this chat. Your conversations are then there on each of your devices.")
AS_GUEST = Sentence("Go on without signing in")

log = structlog.get_logger(__name__)


class SignIn:
    """The routes, and what is answered where nobody is signed in.

    Args:
        provider: where people sign in.
        cookies: what they get for it.
        allowed: who of them may use the chat.
        identity: who is signed in already.
        secret: seals what must be known between leaving for the provider and coming back.
        root_url: the address that people use; "" where the request says it.
        guests: people may go on without signing in.
    """

    def __init__(
        self,
        provider: Provider,
        cookies: SessionCookies,
        allowed: AllowedPeople,
        identity: Identity,
        *,
        secret: str,
        root_url: str,
        guests: bool,
    ) -> None:
        self._provider = provider
        self._cookies = cookies
        self._allowed = allowed
        self._identity = identity
        self._root_url = root_url
        self._root_path = urlsplit(root_url).path.rstrip("/")
        self._guests = guests
        self._seal = Seal(secret, "sign-in")
        secure = root_url.startswith("https:")
        self._flow = "__Host-chat_sign_in" if secure else "chat_sign_in"
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        host = urlsplit(provider.issuer).netloc
        self._to_provider = (
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

    def refused(self, request: Request, nobody: Identified) -> Response:
        """Return the page to sign in at to who opened an address, and JSON to a script."""
        if not is_navigation(request):
            return error_json(nobody.status, nobody.problem, signIn=self._root_path + PATH)
        return self._offer(
            request,
            nobody.status,
            TO_GO_ON if nobody.problem is NOBODY else nobody.problem,
            own_page(request.scope["path"]),
            choose=nobody.problem is NOT_ALLOWED,
        )

    async def _page(self, request: Request) -> Response:
        to = own_page(request.query_params.get("next", ""))
        # Whoever only looks at this page is no new guest.
        if self._cookies.sent(request) and (await self._identity.identify(request)).person:
            return self._on_to(to)
        return self._offer(request, 200, TO_GO_ON, to, choose=request.query_params.get("choose") == "1")

    async def _start(self, request: Request) -> Response:
        to = own_page(request.query_params.get("next", ""))
        session: dict[str, object] = {"next": to}
        request.scope["session"] = session  # where Authlib keeps what it must know when the person comes back
        choose = request.query_params.get("choose") == "1"
        try:
            address = await self._provider.begin(request, f"{self._own_address(request)}{CALLBACK}", choose=choose)
        except SignInRefused as refusal:
            return self._refusal(request, refusal, to)
        response = RedirectResponse(address, 303, headers={"cache-control": "no-store"})
        cookie = f"{self._flow}={self._seal.closed(session)}; Max-Age={FLOW_SECONDS}{self._attributes}"
        response.headers.append("set-cookie", cookie)
        return response

    async def _callback(self, request: Request) -> Response:
        session = self._seal.opened(request.cookies.get(self._flow, ""), FLOW_SECONDS) or {}
        request.scope["session"] = session
        to = own_page(str(session.get("next", "")))
        try:
            claims = await self._provider.finish(request)
            response = self._signed_in(claims, to)
        except SignInRefused as refusal:
            response = self._refusal(request, refusal, to)
        response.headers.append("set-cookie", f"{self._flow}=; Max-Age=0{self._attributes}")  # it is good for once
        return response

    def _signed_in(self, claims: Claims, to: str) -> Response:
        user = user_id(self._provider.issuer, claims.subject)
        if not self._allowed.let_in(claims.address, claims.domain):
            raise SignInRefused(403, NOT_ALLOWED if claims.address else _UNVERIFIED, user=user)
        session = Session.begun(
            self._provider.issuer,
            claims.subject,
            name=claims.name,
            address=claims.address,
            domain=claims.domain,
        )
        audit.note(Action.SIGN_IN, user)
        response = self._on_to(to)
        response.headers.append("set-cookie", self._cookies.header(session))
        return response

    def _refusal(self, request: Request, refusal: SignInRefused, to: str) -> Response:
        audit.note(Action.SIGN_IN_REFUSED, refusal.user)
        if refusal.detail:
            log.warning("sign_in_refused", detail=refusal.detail)
        return self._offer(request, refusal.status, refusal.sentence, to, choose=bool(refusal.user))

    def _offer(self, request: Request, status: int, sentence: str, to: str, *, choose: bool) -> Response:
        start = f"{START}?next={quote(to)}" + ("&choose=1" if choose else "")
        links = [(self._to_provider, start), *([(AS_GUEST, to)] if self._guests and status != 429 else [])]
        return render_page(request, status, SIGN_IN, sentence, links=links, root_url=self._root_url)

    def _on_to(self, page: str) -> Response:
        return RedirectResponse(self._root_path + page, 303, headers={"cache-control": "no-store"})

    def _own_address(self, request: Request) -> str:
        return self._root_url or f"{request.url.scheme}://{request.headers.get('host', '')}"


_UNVERIFIED = Sentence(
    "The service that you sign in at has not verified your e-mail address, so it does not say who you are. Verify it "
    "there, then sign in again."
)
