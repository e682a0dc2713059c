"""Sessions of people who signed in: an encrypted cookie, and what ends it before its time."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from chatapp.auth import Identified, Person
from chatapp.auth.sealed import Seal
from chatapp.domain.conversation import now_ms
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from starlette.requests import HTTPConnection

    from chatapp.auth.allowed import AllowedPeople
    from chatapp.auth.anonymous import AnonymousIdentity
    from chatapp.auth.ended import EndedSessions

DAY_SECONDS = 24 * 3600
# A browser keeps the cookie for longer than it is good: so the chat can say that a session is over, where it would
# otherwise take the person for a guest.
KEPT_AFTERWARDS_SECONDS = 30 * DAY_SECONDS

OVER = Sentence("Your session is over. Sign in again to go on; what you wrote is still here.")
NOT_ALLOWED = Sentence(
    "This account may not use this chat. Sign in with another one, or ask whoever runs the chat to let you in."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sign-in.

    Attributes:
        issuer: who vouched for the person.
        subject: whom the issuer means.
        id: random, to end this session by.
        began_ms: milliseconds since the epoch.
        address: the e-mail address; "" if the issuer has not verified it.
        domain: which the person belongs to; "" for none.
    """

    issuer: str
    subject: str
    id: str
    began_ms: int
    name: str = ""
    address: str = ""
    domain: str = ""

    @classmethod
    def begun(cls, issuer: str, subject: str, *, name: str, address: str, domain: str) -> Session:
        """Return a new session."""
        return cls(
            issuer=issuer,
            subject=subject,
            id=secrets.token_hex(16),
            began_ms=now_ms(),
            name=name,
            address=address,
            domain=domain,
        )

    @property
    def person(self) -> Person:
        """Who signed in."""
        return Person(user=user_id(self.issuer, self.subject), kind="google", name=self.name, address=self.address)


def user_id(issuer: str, subject: str) -> str:
    """Return whom the store knows: the same for the same person, and nothing that anybody could read in it."""
    digest = hashlib.sha256(f"{issuer}\0{subject}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"oidc-{digest[:40]}"


class SessionCookies:
    """Sessions as cookies.

    Args:
        secret: encrypts them; replicas of one chat share it.
        secure: the chat is served over HTTPS.
        days: for which a session is good.
    """

    def __init__(self, secret: str, *, secure: bool, days: int) -> None:
        # The prefix keeps other sites of the domain from setting it; browsers take it over HTTPS only.
        self._name = "__Host-chat_session" if secure else "chat_session"
        self._seal = Seal(secret, "session")
        self._attributes = "; Path=/; HttpOnly; SameSite=Lax" + ("; Secure" if secure else "")
        self._seconds = days * DAY_SECONDS

    def sent(self, request: HTTPConnection) -> bool:
        """Return whether the browser sent anything that is called a session."""
        return self._name in request.cookies

    def read(self, request: HTTPConnection) -> Session | None:
        """Return the session whose cookie was sent; None if it is not ours, or over."""
        facts = self._seal.opened(request.cookies.get(self._name, ""), self._seconds)
        session = _session(facts) if facts else None
        return session if session and now_ms() < session.began_ms + self._seconds * 1000 else None

    def header(self, session: Session) -> str:
        """Return the ``Set-Cookie`` header that gives a browser its session."""
        seconds = self._seconds + KEPT_AFTERWARDS_SECONDS
        return f"{self._name}={self._seal.closed(asdict(session))}; Max-Age={seconds}{self._attributes}"

    @property
    def forgotten(self) -> str:
        """The ``Set-Cookie`` header that makes a browser forget its session."""
        return f"{self._name}=; Max-Age=0{self._attributes}"


def _session(facts: dict[str, Any]) -> Session | None:
    try:
        return Session(**{field.name: facts[field.name] for field in fields(Session)})
    except KeyError:  # of a chat that knew other fields
        return None


class SessionIdentity:
    """Knows people by their sessions.

    Who comes with a session that is over is nobody, and no guest: what they write must not end up in a history that
    they do not know of. The next request, without that cookie, may be a guest's.

    Args:
        cookies: the sessions.
        ended: those that ended early.
        allowed: who may use the chat; asked at every request, since the list may have changed.
        issuer: whose sessions count.
        guests: knows those who have not signed in; None: they are nobody.
    """

    def __init__(
        self,
        cookies: SessionCookies,
        ended: EndedSessions,
        allowed: AllowedPeople,
        *,
        issuer: str,
        guests: AnonymousIdentity | None,
    ) -> None:
        self._cookies = cookies
        self._ended = ended
        self._allowed = allowed
        self._issuer = issuer
        self._guests = guests

    async def identify(self, request: HTTPConnection) -> Identified:
        """Return whom the session's cookie names, or else a guest, where there are guests."""
        if not self._cookies.sent(request):
            return await self._guests.identify(request) if self._guests else Identified(person=None)
        session = self._cookies.read(request)
        if session is None or session.issuer != self._issuer:
            return self._nobody(OVER)
        if not self._allowed.let_in(session.address, session.domain):
            return self._nobody(NOT_ALLOWED)
        person = session.person
        if await self._ended.has(person.user, session.id, session.began_ms):
            return self._nobody(OVER)
        return Identified(person=person)

    def _nobody(self, problem: Sentence) -> Identified:
        return Identified(person=None, cookies=(self._cookies.forgotten,), problem=problem)
