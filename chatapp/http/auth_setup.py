"""Authentication as the settings choose it: the authenticator, its routes, and the response to a refused request."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from chatapp.auth import NOT_SIGNED_IN, AuthenticationMiddleware
from chatapp.auth.allow_list import AllowList
from chatapp.auth.anonymous import NOT_A_PAGE, TOO_MANY, AnonymousAuthenticator, load_or_create_secret
from chatapp.auth.audit import Refusal, RefusalLog
from chatapp.auth.iap import SIGN_OUT_URL, IapAuthenticator
from chatapp.auth.iap_keys import SigningKeys
from chatapp.auth.local import LocalAuthenticator
from chatapp.auth.revoked_sessions import RevokedSessions
from chatapp.auth.session_list import SessionList
from chatapp.auth.sessions import DAY_SECONDS, NOT_ALLOWED, SessionAuthenticator, SessionCookies
from chatapp.config.auth_settings import MAX_SESSION_DAYS
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.http.api.account import Account, SignOut
from chatapp.http.errors import error_response
from chatapp.http.pages import shared
from chatapp.http.pages.navigation import local_page
from chatapp.http.routes import add_routes
from chatapp.limits.guests import NewGuests
from chatapp.userdata.merge_guest import GuestMerge

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from chatapp.auth import Authenticator, AuthResult
    from chatapp.config.settings import Settings
    from chatapp.conversations.turns import Turns
    from chatapp.store import SessionStore, UserStore


class AuthSetup:
    """The authentication of one app.

    Attributes:
        refusals: the log of refused requests.

    Args:
        settings: choose the authenticator (``CHAT_IDENTITY``).
        store: of which a guest's data are moved to an account.
        sessions: keeps sessions and which are revoked.
        on_refused: called with the name of the rate limit that refused a new guest.

    Raises:
        StoreUnavailable: the data folder cannot be used.
    """

    def __init__(
        self,
        settings: Settings,
        store: UserStore,
        sessions: SessionStore,
        on_refused: Callable[[str], None] = lambda _limit: None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._sessions = sessions
        self._on_refused = on_refused
        self._secure = settings.root_url.startswith("https:")
        self._cookie_secret = "" if settings.identity == "local" else _load_cookie_secret(settings)
        self._allow_list = AllowList(settings.allowed_people)
        # The longest that any setting lets a cookie live, because the setting may be raised later.
        self._revoked = RevokedSessions(sessions, seconds=MAX_SESSION_DAYS * DAY_SECONDS)
        self._authenticator = self._choose_authenticator()
        self.refusals = RefusalLog()
        self._public: frozenset[str] = frozenset()
        self._refuse: Callable[[Request, AuthResult], Response] = self._refuse_without_sign_in

    def _choose_authenticator(self) -> Authenticator:
        """Return the authenticator that ``CHAT_IDENTITY`` names."""
        settings = self._settings
        match settings.identity:
            case "local":
                return LocalAuthenticator()
            case "anonymous":
                return self._guests
            case "google":
                return SessionAuthenticator(
                    self._session_cookies,
                    self._revoked,
                    self._allow_list,
                    session_list=self._session_list,
                    issuer=settings.oidc_issuer,
                    guests=self._guests if settings.guests else None,
                )
            case "iap":
                keys = SigningKeys(settings.iap_keys_url)
                allow_list = self._allow_list if settings.allowed_people else None  # else IAP's own policy decides
                return IapAuthenticator(keys, audience=settings.iap_audience, allow_list=allow_list)

    def add_routes(self, app: FastAPI, turns: Turns) -> None:
        """Add the routes for the account, and for signing in and out where users do that in the chat."""
        account = Account(
            self._settings,
            self._store,
            GuestMerge(self._store, turns),
            self._guests if self._cookie_secret else None,
            self._session_cookies if self._settings.identity == "google" else None,
            sign_out_url=SIGN_OUT_URL if self._settings.identity == "iap" else "",
        )
        add_routes(app, account.router())
        if self._settings.identity == "google":
            self._add_sign_in(app)

    def add_middleware(self, app: FastAPI) -> None:
        """Require authentication for everything but public paths; call it after `add_routes`."""
        app.add_middleware(
            AuthenticationMiddleware,
            authenticator=self._authenticator,
            public=self._public,
            also_public=shared.PUBLIC if self._settings.has_public_links else "",
            refuse=self._refuse,
            on_refused=self._log_refusal,
        )

    async def aclose(self) -> None:
        """Cancel reads of the store."""
        if self._settings.identity == "google":
            await self._session_list.aclose()
        await self._revoked.aclose()

    def _add_sign_in(self, app: FastAPI) -> None:
        # Authlib takes 0.12 s to import.
        from chatapp.auth.oidc import OidcProvider  # noqa: PLC0415
        from chatapp.http.pages import sign_in  # noqa: PLC0415  # imports Authlib, too

        settings = self._settings
        provider = OidcProvider(
            settings.oidc_issuer, settings.oidc_client_id, settings.oidc_client_secret.get_secret_value()
        )
        routes = sign_in.SignIn(
            provider,
            self._session_cookies,
            self._allow_list,
            self._authenticator,
            secret=self._cookie_secret,
            root_url=settings.root_url,
            guests=self._guests,
            allows_guests=settings.guests,
            refusals=self.refusals,
            session_list=self._session_list,
        )
        self._public = sign_in.PUBLIC
        self._refuse = routes.refused
        sign_out = SignOut(self._session_cookies, self._revoked, self._session_list, provider)
        add_routes(app, routes.router(), sign_out.router())

    def _log_refusal(self, result: AuthResult) -> None:
        if result.problem is not NOT_SIGNED_IN:  # a person who has yet to sign in
            self.refusals.request_refused(Refusal.AUTHENTICATION, result.status)

    def _refuse_without_sign_in(self, request: Request, result: AuthResult) -> Response:
        """Return the refusal where the chat has no sign-in page."""
        page = local_page(request.scope["path"])
        title, link = Sentence("You are not signed in"), (Sentence("Try again"), page)
        if result.problem is NOT_ALLOWED:
            link = Sentence("Sign in with another account"), SIGN_OUT_URL
        elif result.problem is TOO_MANY:
            title = Sentence("Too many new guests")
        elif result.problem is NOT_A_PAGE:
            title, link = Sentence("Open the chat"), (Sentence("Open the chat"), page)
        return error_response(
            request.scope, result.status, result.problem, root_url=self._settings.root_url, title=title, links=[link]
        )

    @cached_property
    def _guests(self) -> AnonymousAuthenticator:
        guests = NewGuests(self._settings.new_guests_per_hour, self._on_refused)
        return AnonymousAuthenticator(self._cookie_secret, secure=self._secure, admit=guests.admit)

    @cached_property
    def _session_list(self) -> SessionList:
        return SessionList(self._sessions, self._revoked, self._session_cookies)

    @cached_property
    def _session_cookies(self) -> SessionCookies:
        settings = self._settings
        return SessionCookies(
            self._cookie_secret,
            secure=self._secure,
            days=settings.session_days,
            idle_hours=settings.session_idle_hours,
        )


def _load_cookie_secret(settings: Settings) -> str:
    try:
        return settings.session_secret.get_secret_value() or load_or_create_secret(settings.secret_file)
    except OSError as error:
        raise StoreUnavailable(
            f"The data folder {settings.data_dir} cannot be used ({error.strerror}). Set CHAT_DATA_DIR to one that can "
            "be written, or CHAT_SESSION_SECRET to a long random text."
        ) from error
