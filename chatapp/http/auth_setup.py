"""Who may come in, as the settings say it: the identity that knows people, and the routes that belong to it."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from chatapp.auth import IdentityMiddleware
from chatapp.auth.allowed import AllowedPeople
from chatapp.auth.anonymous import TOO_MANY, AnonymousIdentity, kept_secret
from chatapp.auth.ended import EndedSessions
from chatapp.auth.iap import SIGN_OUT, ProxyIdentity
from chatapp.auth.iap_keys import SigningKeys
from chatapp.auth.local import LocalIdentity
from chatapp.auth.sessions import DAY_SECONDS, NOT_ALLOWED, SessionCookies, SessionIdentity
from chatapp.config.auth_settings import MAX_SESSION_DAYS
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.http.api.account import Account, SignOut
from chatapp.http.errors import error_response
from chatapp.http.pages.navigation import own_page
from chatapp.userdata.merge_guest import TakingAlong

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from chatapp.auth import Identified, Identity
    from chatapp.config.settings import Settings
    from chatapp.conversations.turns import Turns
    from chatapp.store import ConversationStore


class Entrance:
    """The identity of a chat.

    Args:
        settings: say who may come in.
        store: where ended sessions are.
        on_refused: is told the name of a limit that was the reason for a refusal.

    Raises:
        StoreUnavailable: the data folder cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        store: ConversationStore,
        on_refused: Callable[[str], None] = lambda _limit: None,
    ) -> None:
        self._settings = settings
        self._on_refused = on_refused
        self._store = store
        self._ended: EndedSessions | None = None
        self._public: frozenset[str] = frozenset()
        self._refuse: Callable[[Request, Identified], Response] = self._refused
        self._secure = settings.root_url.startswith("https:")
        self._secret = "" if settings.identity == "local" else _secret(settings)
        self._identity: Identity
        match settings.identity:
            case "local":
                self._identity = LocalIdentity()
            case "anonymous":
                self._identity = self._guests
            case "google":
                # The longest that any setting lets a cookie live, since the setting may be raised.
                self._ended = EndedSessions(store, seconds=MAX_SESSION_DAYS * DAY_SECONDS)
                self._cookies = SessionCookies(self._secret, secure=self._secure, days=settings.session_days)
                self._allowed = AllowedPeople(settings.allowed_people)
                self._identity = SessionIdentity(
                    self._cookies,
                    self._ended,
                    self._allowed,
                    issuer=settings.oidc_issuer,
                    guests=self._guests if settings.guests else None,
                )
            case "iap":
                self._identity = ProxyIdentity(
                    SigningKeys(settings.iap_keys_url),
                    audience=settings.iap_audience,
                    allowed=AllowedPeople(settings.allowed_people) if settings.allowed_people else None,
                )

    def add_routes(self, app: FastAPI, turns: Turns) -> None:
        """Add the routes; imports Gradio, and so comes late."""
        account = Account(
            self._settings,
            TakingAlong(self._store, turns),
            self._guests if self._secret else None,
            sign_out_url=SIGN_OUT if self._settings.identity == "iap" else "",
        )
        app.include_router(account.router())
        if self._ended is not None:
            self._add_sign_in(app, self._ended)

    def guard(self, app: FastAPI) -> None:
        """Let nobody in who is not known, but to what is public."""
        app.add_middleware(IdentityMiddleware, identity=self._identity, public=self._public, refuse=self._refuse)

    async def aclose(self) -> None:
        """Ask nobody any more."""
        if self._ended is not None:
            await self._ended.aclose()

    def _add_sign_in(self, app: FastAPI, ended: EndedSessions) -> None:
        # Authlib takes half a second: only where it is used.
        from chatapp.auth.oidc import Provider  # noqa: PLC0415
        from chatapp.http.pages import sign_in  # noqa: PLC0415

        settings = self._settings
        provider = Provider(
            settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret.get_secret_value()
        )
        routes = sign_in.SignIn(
            provider,
            self._cookies,
            self._allowed,
            self._identity,
            secret=self._secret,
            root_url=settings.root_url,
            guests=settings.guests,
        )
        self._public = sign_in.PUBLIC
        self._refuse = routes.refused
        app.include_router(routes.router())
        app.include_router(SignOut(self._cookies, ended).router())

    def _refused(self, request: Request, nobody: Identified) -> Response:
        """Say what is wrong where the chat has no page to sign in at."""
        title = Sentence("Too many new guests") if nobody.problem is TOO_MANY else Sentence("You are not signed in")
        if nobody.problem is NOT_ALLOWED:
            link = Sentence("Sign in with another account"), SIGN_OUT
        else:
            link = Sentence("Try again"), own_page(request.scope["path"])
        return error_response(
            request.scope,
            nobody.status,
            nobody.problem,
            root_url=self._settings.root_url,
            title=title,
            links=[link],
        )

    @cached_property
    def _guests(self) -> AnonymousIdentity:
        from chatapp.limits.guests import NewGuests  # noqa: PLC0415  # its library is for those who have limits

        guests = NewGuests(self._settings.new_guests_per_hour, self._on_refused)
        return AnonymousIdentity(self._secret, secure=self._secure, admit=guests.admit)


def _secret(settings: Settings) -> str:
    try:
        return settings.session_secret.get_secret_value() or kept_secret(settings.data_dir / "session-secret")
    except OSError as error:
        raise StoreUnavailable(
            f"The data folder {settings.data_dir} cannot be used ({error.strerror}). Set CHAT_DATA_DIR to one that can "
            "be written, or CHAT_SESSION_SECRET to a long random text."
        ) from error
