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
from chatapp.http.api.schemas.account import AccountBody, GuestDataBody, GuestHistory, MergeRequest, Moved, StorageUse
from chatapp.http.api.schemas.base import Done
from chatapp.http.errors import error_json
from chatapp.store import Store
from chatapp.userdata.merge_guest import GuestChanged, GuestMerge, Selection

log = structlog.get_logger(__name__)


class Account:
    """The routes.

    Args:
        settings: how long conversations are kept, and whether guests can sign in.
        store: says how much the user's data take.
        guest_merge: moves a guest's data to the account.
        guests: recognizes the guest that this browser was before it signed in; None: there are no guests.
        sessions: name the guests that a sign-in began as; None where users do not sign in here.
        sign_out_url: where users sign out who signed in at a proxy; "" where they sign out here.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        guest_merge: GuestMerge,
        guests: AnonymousAuthenticator | None,
        sessions: SessionCookies | None = None,
        *,
        sign_out_url: str = "",
    ) -> None:
        self._settings = settings
        self._store = store
        self._guest_merge = guest_merge
        self._guests = guests
        self._sessions = sessions
        self._sign_out_url = sign_out_url

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(route_class=ApiRoute, responses=ERRORS)
        router.add_api_route("/me", self.read, methods=["GET"])
        router.add_api_route("/take-along", self.read_guest_data, methods=["GET"])
        router.add_api_route("/take-along", self.move_guest_data, methods=["POST"])
        router.add_api_route("/take-along", self.forget_guest, methods=["DELETE"])
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
            storage=await self._storage(user),
        )

    async def _storage(self, user: User) -> StorageUse | None:
        try:
            used = await self._store.stored_bytes(user.id)
        except StoreUnavailable:
            return None
        return StorageUse(used=used, limit=self._settings.storage_limits.per_user or None)

    async def read_guest_data(self, request: Request, user: CurrentUser) -> GuestDataBody:
        """Return what the user had as a guest in this browser, to be looked at before it is moved."""
        return GuestDataBody.of(await self._guest_merge.data(self._guest_ids(request, user)))

    async def move_guest_data(
        self, request: Request, response: Response, user: CurrentUser, wanted: MergeRequest
    ) -> Moved:
        """Move what the user selected of the data that the page has shown."""
        guests = self._guest_ids(request, user)
        data = await self._guest_merge.data(guests)
        if not data:
            return Moved(conversations=0, personas=0, ids={})
        if wanted.digest != data.digest:
            raise GuestChanged
        audit.record(Action.MERGE_GUEST, user.id)
        chosen = {persona.id for persona in data.personas}.intersection(wanted.personas)
        selection = Selection(conversations=wanted.conversations, personas=chosen, settings=wanted.settings)
        ids: dict[str, str] = {}
        for guest in guests:
            ids |= await self._guest_merge.merge(guest, user.id, selection)
            if not await self._guest_merge.data([guest]):
                self._delete_cookie(request, response, guest)
        return Moved(conversations=len(ids), personas=len(chosen), ids=ids)

    async def forget_guest(self, request: Request, response: Response, user: CurrentUser) -> Done:
        """Have this browser forget the guest whose data are not the user's. The data stay where they are."""
        for guest in self._guest_ids(request, user):
            self._delete_cookie(request, response, guest)
        return Done()

    def _guest_ids(self, request: Request, user: User) -> list[str]:
        """Return the guests that this browser was before, as far as it can be told that no other site has set them."""
        if self._guests is None:
            return []
        sent = {self._guests.user_in(request), self._guests.earlier_user_in(request)} - {"", user.id}
        if user.kind == "google":
            session = self._sessions.read(request) if self._sessions else None
            sent.intersection_update(session.guests if session else ())
        return sorted(sent)

    def _delete_cookie(self, request: Request, response: Response, guest: str) -> None:
        if self._guests is not None:
            for header in self._guests.delete_cookie(guest, request):
                response.headers.append("set-cookie", header)

    async def _guest_history(self, request: Request, user: User) -> GuestHistory | None:
        try:
            data = await self._guest_merge.data(self._guest_ids(request, user))
        except StoreUnavailable:
            return None
        if not (data.conversations or data.personas):  # settings alone are no reason to ask
            return None
        return GuestHistory(conversations=len(data.conversations), personas=len(data.personas))


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
