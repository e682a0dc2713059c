"""Routes of the account: the user, how to sign out, and the conversations that they had as a guest in this browser."""

from typing import TYPE_CHECKING

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from chatapp.auth import User, audit
from chatapp.auth.anonymous import AnonymousAuthenticator
from chatapp.auth.audit import Action
from chatapp.auth.revoked_sessions import RevokedSessions
from chatapp.auth.session_list import SessionList
from chatapp.auth.sessions import SessionCookies
from chatapp.config.settings import Settings
from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.http.api.recent_sign_in import has_signed_in_recently, sign_in_again_url
from chatapp.http.api.routing import ERRORS, ApiRoute, CurrentUser
from chatapp.http.api.schemas.account import (
    AccountBody,
    GuestDataBody,
    GuestHistory,
    MergeRequest,
    Moved,
    SignInBody,
    SignIns,
    StorageUse,
)
from chatapp.http.api.schemas.base import Done
from chatapp.http.errors import error_json
from chatapp.store.quota import Measured
from chatapp.userdata.merge_guest import GuestChanged, GuestMerge, Selection

if TYPE_CHECKING:
    from chatapp.auth.oidc import OidcProvider  # imports Authlib, which takes 0.12 s

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
        store: Measured,
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
            sign_in_again_url=(None if has_signed_in_recently(user) else sign_in_again_url(self._settings.root_url)),
            guest_history=await self._guest_history(request, user),
            store=self._settings.store,
            retention_days=self._settings.retention_days,
            storage=await self._storage(user),
            import_bytes=self._settings.import_bytes,
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
        selection = Selection(
            conversations=wanted.conversations, personas=chosen, settings=wanted.settings, library=wanted.library
        )
        ids: dict[str, str] = {}
        for guest in guests:
            ids |= await self._guest_merge.merge(guest, user.id, selection)
            if not await self._guest_merge.data([guest]):
                self._delete_cookie(request, response, guest)
        library = len(data.collections) + len(data.folders) if wanted.library else 0
        return Moved(conversations=len(ids), personas=len(chosen), library=library, ids=ids)

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
        if not (data.conversations or data.personas or data.has_library):  # settings alone are no reason to ask
            return None
        library = len(data.collections) + len(data.folders)
        return GuestHistory(conversations=len(data.conversations), personas=len(data.personas), library=library)


class SignOut:
    """The routes that end sessions.

    Args:
        cookies: name the sessions.
        revoked: remembers which have ended.
        session_list: the sessions of each user.
        provider: where users sign in.
    """

    def __init__(
        self,
        cookies: SessionCookies,
        revoked: RevokedSessions,
        session_list: SessionList,
        provider: "OidcProvider | None" = None,
    ) -> None:
        self._cookies = cookies
        self._session_list = session_list
        self._provider = provider
        self._revoked = revoked

    def router(self) -> APIRouter:
        """Return the routes."""
        router = APIRouter(route_class=ApiRoute, responses=ERRORS)
        router.add_api_route("/sign-out", self.sign_out, methods=["POST"])
        router.add_api_route("/sign-ins", self.list_sessions, methods=["GET"])
        router.add_api_route("/sign-ins/{session_id}", self.end_session, methods=["DELETE"])
        router.add_api_route("/sign-out-elsewhere", self.sign_out_elsewhere, methods=["POST"])
        router.add_api_route("/sign-out-everywhere", self.sign_out_everywhere, methods=["POST"], response_model=Done)
        return router

    async def list_sessions(self, request: Request, user: CurrentUser) -> SignIns:
        """Return where the user is signed in."""
        if user.is_guest:
            return SignIns(sign_ins=[])
        own = self._own_session(request)
        return SignIns(
            sign_ins=[
                SignInBody(
                    id=one.id,
                    began_ms=one.began_ms,
                    seen_ms=one.seen_ms,
                    device=one.device,
                    is_current=one.id == own,
                )
                for one in await self._session_list.sessions(user.id)
            ]
        )

    async def end_session(self, session_id: str, user: CurrentUser) -> Done:
        """End one session of the user, on whatever device."""
        if user.is_guest or not await self._session_list.end(user.id, session_id):
            raise HTTPException(404, Sentence("This device is already signed out."))
        audit.record(Action.END_SESSION, user.id)
        return Done()

    async def sign_out_elsewhere(self, request: Request, user: CurrentUser) -> Done:
        """End all sessions of the user but this one."""
        if not user.is_guest:
            audit.record(Action.END_SESSION, user.id)
            await self._session_list.end_others(user.id, self._own_session(request))
        return Done()

    def _own_session(self, request: Request) -> str:
        session = self._cookies.read(request)
        return session.id if session else ""

    async def sign_out(self, request: Request, response: Response, user: CurrentUser) -> Done:
        """End this session, whatever copies of its cookie there are."""
        session = self._cookies.read(request)
        if session is not None:  # a guest has none
            audit.record(Action.SIGN_OUT, user.id)
            try:
                await self._revoked.revoke(user.id, session=session.id)
            except StoreUnavailable as error:
                log.warning("sign_out_not_kept", detail=error.detail)  # this browser has no cookie any more
        await self._end(response)
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
        await self._end(response)
        return response

    async def _end(self, response: Response) -> None:
        """Have the browser remove what the next person at the device could see."""
        response.headers.append("set-cookie", self._cookies.delete_cookie)
        # Not "cookies", which covers all hosts of the domain.
        response.headers["clear-site-data"] = '"cache", "storage"'
        if self._provider is not None:
            await self._provider.load()  # the sign-in page links to the provider's sign-out, if there is one
