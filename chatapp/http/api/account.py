"""Routes of the account: the user, how to sign out, and the conversations that they had as a guest in this browser."""

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from chatapp.auth import User, audit
from chatapp.auth.anonymous import AnonymousAuthenticator
from chatapp.auth.audit import Action
from chatapp.auth.revoked_sessions import RevokedSessions
from chatapp.auth.sessions import SessionCookies
from chatapp.config.settings import Settings
from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.http.api.routing import ERRORS, ApiRoute, CurrentUser
from chatapp.http.api.schemas.account import AccountBody, GuestHistory, Moved
from chatapp.http.api.schemas.base import Done
from chatapp.http.errors import error_json
from chatapp.userdata.merge_guest import GuestMerge

log = structlog.get_logger(__name__)


class Account:
    """The routes.

    Args:
        settings: how long conversations are kept, and whether guests can sign in.
        guest_merge: moves a guest's data to the account.
        guests: recognizes the guest that this browser was before it signed in; None: there are no guests.
        sign_out_url: where users sign out who signed in at a proxy; "" where they sign out here.
    """

    def __init__(
        self,
        settings: Settings,
        guest_merge: GuestMerge,
        guests: AnonymousAuthenticator | None,
        *,
        sign_out_url: str = "",
    ) -> None:
        self._settings = settings
        self._guest_merge = guest_merge
        self._guests = guests
        self._sign_out_url = sign_out_url

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(route_class=ApiRoute, responses=ERRORS)
        router.add_api_route("/me", self.read, methods=["GET"])
        router.add_api_route("/take-along", self.move_guest_history, methods=["POST"])
        return router

    async def read(self, request: Request, user: CurrentUser) -> AccountBody:
        """Return the user."""
        can_sign_in = user.is_guest and self._settings.identity == "google"
        return AccountBody(
            kind=user.kind,
            name=user.name,
            email=user.email,
            can_sign_in=can_sign_in,
            sign_in_url="/sign-in" if can_sign_in else None,
            can_sign_out=user.kind in {"google", "iap"},
            sign_out_url=self._sign_out_url or None,
            guest_history=await self._guest_history(request, user),
            store=self._settings.store,
            retention_days=self._settings.retention_days,
        )

    async def move_guest_history(self, request: Request, response: Response, user: CurrentUser) -> Moved:
        """Move the conversations that the user had as a guest in this browser."""
        guest = self._guest(request, user)
        if not guest:
            return Moved(conversations=0, ids={})
        audit.record(Action.MERGE_GUEST, user.id)
        ids = await self._guest_merge.merge(guest, user.id)
        if self._guests is not None:
            response.headers.append("set-cookie", self._guests.delete_cookie)
        return Moved(conversations=len(ids), ids=ids)

    def _guest(self, request: Request, user: User) -> str:
        """Return the guest that this browser was before; "" if it was none."""
        return self._guests.user_in(request) if self._guests and user.kind in {"google", "iap"} else ""

    async def _guest_history(self, request: Request, user: User) -> GuestHistory | None:
        guest = self._guest(request, user)
        try:
            count = await self._guest_merge.count(guest) if guest else 0
        except StoreUnavailable:
            return None
        return GuestHistory(conversations=count) if count else None


class SignOut:
    """The routes that end sessions.

    Args:
        cookies: name the sessions.
        revoked: remembers which have ended.
    """

    def __init__(self, cookies: SessionCookies, revoked: RevokedSessions) -> None:
        self._cookies = cookies
        self._revoked = revoked

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(route_class=ApiRoute, responses=ERRORS)
        router.add_api_route("/sign-out", self.sign_out, methods=["POST"])
        router.add_api_route("/sign-out-everywhere", self.sign_out_everywhere, methods=["POST"], response_model=Done)
        return router

    async def sign_out(self, request: Request, response: Response, user: CurrentUser) -> Done:
        """End this session, whatever copies of its cookie there are."""
        session = self._cookies.read(request)
        if session is not None:  # a guest has none
            audit.record(Action.SIGN_OUT, user.id)
            try:
                await self._revoked.revoke(user.id, session=session.id)
            except StoreUnavailable as error:
                log.warning("sign_out_not_kept", detail=error.detail)  # this browser has no cookie any more
        response.headers.append("set-cookie", self._cookies.delete_cookie)
        return Done()

    async def sign_out_everywhere(self, user: CurrentUser) -> Response:
        """End all sessions of the user."""
        response: Response = JSONResponse({})
        if not user.is_guest:
            audit.record(Action.SIGN_OUT_EVERYWHERE, user.id)
            try:
                await self._revoked.revoke(user.id, before_ms=now_ms())
            except StoreUnavailable as error:
                log.warning("sign_out_not_kept", detail=error.detail)
                sentence = Sentence(
                    "You are signed out here, but other devices may still be signed in because the chat history is "
                    "unavailable. Sign in again in a moment and sign out everywhere again."
                )
                response = error_json(503, sentence)
        response.headers.append("set-cookie", self._cookies.delete_cookie)
        return response
