"""Who somebody is to the chat, and the ways out.

GET  /me                   {"kind", "name", "address", "canSignIn", "signInUrl", "canSignOut", "signOutUrl",
                           "takeAlong": {"conversations": 3} or null, "store", "retentionDays"}
POST /take-along           moves what a guest had in this browser -> {"conversations": 3, "ids": {old: new}}
POST /sign-out             ends this session, whatever copy of its cookie there is -> {}
POST /sign-out-everywhere  ends all sessions of the person -> {}
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from chatapp.auth import audit, current_user, current_user_id
from chatapp.auth.audit import Action
from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence, as_json
from chatapp.http.errors import ApiRoute

if TYPE_CHECKING:
    from chatapp.auth import User
    from chatapp.auth.anonymous import AnonymousAuthenticator
    from chatapp.auth.revoked_sessions import RevokedSessions
    from chatapp.auth.sessions import SessionCookies
    from chatapp.config.settings import Settings
    from chatapp.userdata.merge_guest import GuestMerge

NO_STORE = {"cache-control": "no-store"}

log = structlog.get_logger(__name__)


class Account:
    """The routes.

    Args:
        settings: say how long things are kept, and whether guests can sign in.
        guest_merge: moves a guest's data to the account.
        guests: knows the guest who a browser was before somebody signed in there; None: there are no guests.
        sign_out_url: where people sign out who signed in before they reached the chat; "" where they do it here.
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
        routes = APIRouter(include_in_schema=False, route_class=ApiRoute)
        routes.add_api_route("/me", self._me, methods=["GET"])
        routes.add_api_route("/take-along", self._take_along, methods=["POST"])
        return routes

    async def _me(self, request: Request) -> Response:
        user = current_user(request)
        can_sign_in = user.is_guest and self._settings.identity == "google"
        facts = {
            "kind": user.kind,
            "name": user.name,
            "address": user.email,
            "canSignIn": can_sign_in,
            "signInUrl": "/sign-in" if can_sign_in else None,
            "canSignOut": user.kind in {"google", "iap"},
            "signOutUrl": self._sign_out_url or None,
            "takeAlong": await self._left_behind(request, user),
            "store": self._settings.store,
            "retentionDays": self._settings.retention_days,
        }
        return JSONResponse(facts, headers=NO_STORE)

    async def _take_along(self, request: Request) -> Response:
        user = current_user(request)
        guest = self._guest(request, user)
        if not guest:
            return JSONResponse({"conversations": 0, "ids": {}}, headers=NO_STORE)
        audit.record(Action.MERGE_GUEST, user.id)
        moved = await self._guest_merge.merge(guest, user.id)
        response = JSONResponse({"conversations": len(moved), "ids": moved}, headers=NO_STORE)
        if self._guests is not None:
            response.headers.append("set-cookie", self._guests.delete_cookie)
        return response

    def _guest(self, request: Request, user: User) -> str:
        """Return the guest that this browser was before; "" if it was none."""
        return self._guests.user_in(request) if self._guests and user.kind in {"google", "iap"} else ""

    async def _left_behind(self, request: Request, user: User) -> dict[str, int] | None:
        guest = self._guest(request, user)
        try:
            count = await self._guest_merge.count(guest) if guest else 0
        except StoreUnavailable:
            return None
        return {"conversations": count} if count else None


class SignOut:
    """The routes that end sessions.

    Args:
        cookies: name the sessions.
        revoked: revokes them.
    """

    def __init__(self, cookies: SessionCookies, revoked: RevokedSessions) -> None:
        self._cookies = cookies
        self._revoked = revoked

    def router(self) -> APIRouter:
        """Return the routes."""
        routes = APIRouter(include_in_schema=False, route_class=ApiRoute)
        routes.add_api_route("/sign-out", self._here, methods=["POST"])
        routes.add_api_route("/sign-out-everywhere", self._everywhere, methods=["POST"])
        return routes

    async def _here(self, request: Request) -> Response:
        session = self._cookies.read(request)
        if session is not None:  # else a guest, whom nobody knows afterwards either
            user = current_user_id(request)
            audit.record(Action.SIGN_OUT, user)
            try:
                await self._revoked.revoke(user, session=session.id)
            except StoreUnavailable as error:
                log.warning("sign_out_not_kept", detail=error.detail)  # this browser has no cookie any more
        return self._out({})

    async def _everywhere(self, request: Request) -> Response:
        user = current_user(request)
        if user.is_guest:
            return self._out({})
        audit.record(Action.SIGN_OUT_EVERYWHERE, user.id)
        try:
            await self._revoked.revoke(user.id, before_ms=now_ms())
        except StoreUnavailable as error:
            log.warning("sign_out_not_kept", detail=error.detail)
            sentence = Sentence(
                "You are signed out here, but other devices may still be signed in because the chat "
                "history is unavailable. Sign in again in a moment and sign out everywhere again."
            )
            return self._out({"error": as_json(sentence)}, 503)
        return self._out({})

    def _out(self, facts: dict[str, object], status: int = 200) -> Response:
        response = JSONResponse(facts, status, headers=NO_STORE)
        response.headers.append("set-cookie", self._cookies.delete_cookie)
        return response
