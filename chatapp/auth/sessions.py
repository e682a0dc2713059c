"""Sessions after a sign-in with OpenID Connect, kept in an encrypted cookie."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from chatapp.auth import AuthResult, User
from chatapp.auth.cookies import Cookie
from chatapp.auth.encrypted_cookies import CookieCipher
from chatapp.domain.conversation import now_ms
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from chatapp.auth.allow_list import AllowList
    from chatapp.auth.anonymous import AnonymousAuthenticator
    from chatapp.auth.revoked_sessions import RevokedSessions
    from chatapp.auth.session_list import SessionList

DAY_SECONDS = 24 * 3600
HOUR_MS = 3_600_000
# The browser keeps the cookie longer than the session is valid. So the chat can answer "your session is over", where it
# would otherwise treat the user as a guest.
COOKIE_GRACE_SECONDS = 30 * DAY_SECONDS

SESSION_EXPIRED = Sentence("Your session has expired. Sign in again to continue; your text is still in the box.")
NOT_ALLOWED = Sentence(
    "This account has no access to this chat. Sign in with another account, or ask the operator of the chat for access."
)


class SessionAuthenticator:
    """Authenticates users by their session cookies.

    An expired or revoked session is refused and not treated as a guest: otherwise messages would end up in a history
    that the user cannot find. The response deletes the cookie, so the next request may be a guest's.

    Args:
        cookies: reads the session cookies.
        revoked: the sessions that were signed out.
        session_list: where the use of a session is noted.
        allow_list: checked at each request, because the list may have changed since the sign-in.
        issuer: the only provider whose sessions are accepted.
        guests: authenticates requests without a session; None if a sign-in is required.
    """

    def __init__(
        self,
        cookies: SessionCookies,
        revoked: RevokedSessions,
        allow_list: AllowList,
        *,
        session_list: SessionList,
        issuer: str,
        guests: AnonymousAuthenticator | None,
    ) -> None:
        self._session_list = session_list
        self._cookies = cookies
        self._revoked = revoked
        self._allow_list = allow_list
        self._issuer = issuer
        self._guests = guests

    async def authenticate(self, request: HTTPConnection) -> AuthResult:
        """Return the session's user; without a session a guest, where guests are allowed."""
        if not self._cookies.is_sent(request):
            return await self._guests.authenticate(request) if self._guests else AuthResult(user=None)
        session = self._cookies.read(request)
        if session is None or session.issuer != self._issuer:
            return self._refused(SESSION_EXPIRED)
        if not self._allow_list.allows(session.email, session.domain):
            return self._refused(NOT_ALLOWED)
        user = session.user
        if await self._revoked.is_revoked(user.id, session.id, session.began_ms):
            return self._refused(SESSION_EXPIRED)
        renewed = self._cookies.renewed(session)
        if renewed is None:
            return AuthResult(user=user)
        self._session_list.note(renewed, request.headers.get("user-agent", ""))
        return AuthResult(user=user, cookies=(self._cookies.set_cookie(renewed),))

    def _refused(self, problem: Sentence) -> AuthResult:
        return AuthResult(user=None, cookies=(self._cookies.delete_cookie,), problem=problem)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sign-in.

    Attributes:
        issuer: the provider's address.
        subject: the provider's id of the account.
        id: random; revocation names the session by it.
        began_ms: milliseconds since the epoch.
        name: the display name.
        email: the e-mail address; "" if the provider has not verified it.
        domain: the domain that the account belongs to; "" for none.
        seen_ms: when it was last used, within the interval of `SessionCookies.renewed`; 0: unknown.
        guests: the guests that this browser was when the sign-in began, whose data may be merged into the account.
    """

    issuer: str
    subject: str
    id: str
    began_ms: int
    name: str = ""
    email: str = ""
    domain: str = ""
    seen_ms: int = 0
    guests: tuple[str, ...] = ()

    @classmethod
    def create(
        cls, issuer: str, subject: str, *, name: str, email: str, domain: str, guests: tuple[str, ...] = ()
    ) -> Session:
        """Return a new session."""
        now = now_ms()
        return cls(
            issuer=issuer,
            subject=subject,
            id=secrets.token_hex(16),
            began_ms=now,
            seen_ms=now,
            name=name,
            email=email,
            domain=domain,
            guests=guests,
        )

    @property
    def user(self) -> User:
        """The user who signed in."""
        return User(
            id=user_id(self.issuer, self.subject),
            kind="google",
            name=self.name,
            email=self.email,
            signed_in_ms=self.began_ms,
        )


def user_id(issuer: str, subject: str) -> str:
    """Return the store's user id of an account: a digest, from which the account cannot be read."""
    digest = hashlib.sha256(f"{issuer}\0{subject}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"oidc-{digest[:40]}"


class SessionCookies:
    """Reads and writes sessions as encrypted cookies.

    Args:
        secret: encrypts them; all replicas share it.
        secure: the chat is served over HTTPS.
        days: how long a session is valid.
        idle_hours: how long a session is valid without being used; 0: no limit.
    """

    def __init__(self, secret: str, *, secure: bool, days: int, idle_hours: int = 0) -> None:
        self._cookie = Cookie("chat_session", secure=secure)
        self._cipher = CookieCipher(secret, "session")
        self._seconds = days * DAY_SECONDS
        self._idle_ms = idle_hours * HOUR_MS
        # Not at each request: a cookie is 600 bytes, and what a browser has must not change while a page loads.
        self._renew_ms = min(HOUR_MS, self._idle_ms // 4) if self._idle_ms else HOUR_MS

    def is_sent(self, request: HTTPConnection) -> bool:
        """Return whether the request has a session cookie, valid or not.

        Raises:
            DuplicateCookie: it has two.
        """
        return self._cookie.read(request) is not None

    def read(self, request: HTTPConnection) -> Session | None:
        """Return the session of the request's cookie; None if the cookie is missing, invalid or expired.

        Raises:
            DuplicateCookie: there are two.
        """
        content = self._cipher.decrypt(self._cookie.read(request) or "", self._seconds)
        session = _session(content) if content else None
        if session is None or now_ms() >= session.began_ms + self._seconds * 1000:
            return None
        # A cookie from before there was a time-out has no time. It gets one now.
        is_idle = self._idle_ms and session.seen_ms and now_ms() >= session.seen_ms + self._idle_ms
        return None if is_idle else session

    def renewed(self, session: Session) -> Session | None:
        """Return a session with the time of its use, where that is due; None where it is not."""
        now = now_ms()
        return replace(session, seen_ms=now) if now >= session.seen_ms + self._renew_ms else None

    def end_ms(self, session: Session) -> int:
        """Return when a session expires, unless it is used again."""
        end = session.began_ms + self._seconds * 1000
        return min(end, session.seen_ms + self._idle_ms) if self._idle_ms else end

    def set_cookie(self, session: Session) -> str:
        """Return the ``Set-Cookie`` header for a session."""
        return self._cookie.set(self._cipher.encrypt(asdict(session)), seconds=self._seconds + COOKIE_GRACE_SECONDS)

    @property
    def delete_cookie(self) -> str:
        """The ``Set-Cookie`` header that deletes the session cookie."""
        return self._cookie.deleted


def _session(content: dict[str, Any]) -> Session | None:
    if "address" in content:  # the name of "email" in cookies until November 2026; remove after one release
        content = {"email": content["address"], **content}
    # Missing in cookies until November 2026; remove after one release.
    content |= {"guests": tuple(content.get("guests", ())), "seen_ms": content.get("seen_ms", 0)}
    try:
        return Session(**{field.name: content[field.name] for field in fields(Session)})
    except KeyError:  # from a version with other fields
        return None
