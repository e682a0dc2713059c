"""The list of a user's sessions: where the user is signed in, and ending a session from elsewhere."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.errors import StoreUnavailable
from chatapp.store import SessionRecord

if TYPE_CHECKING:
    from chatapp.auth.revoked_sessions import RevokedSessions
    from chatapp.auth.sessions import Session, SessionCookies
    from chatapp.store import SessionStore

MAX_WRITES = 100  # at the same time; a use that is not noted now is noted at the next renewal of the cookie
MAX_USER_AGENT_CHARS = 500
# The first that matches; later ones name themselves after earlier ones, too.
_BROWSERS = (
    ("Edge", r"\bEdg(?:e|A|iOS)?/"),
    ("Opera", r"\bOPR/|\bOpera\b"),
    ("Samsung Internet", r"\bSamsungBrowser/"),
    ("Firefox", r"\b(?:Firefox|FxiOS)/"),
    ("Chrome", r"\b(?:Headless)?(?:Chrome|CriOS|Chromium)/"),
    ("Safari", r"\bSafari/"),
)
_SYSTEMS = (
    ("Android", r"\bAndroid\b"),
    ("iPhone", r"\biPhone\b"),
    ("iPad", r"\biPad\b"),
    ("Windows", r"\bWindows\b"),
    ("ChromeOS", r"\bCrOS\b"),
    ("macOS", r"\bMac OS X\b|\bMacintosh\b"),
    ("Linux", r"\bLinux\b"),
)

log = structlog.get_logger(__name__)


class SessionList:
    """Notes sessions in the store, lists those that are valid, and ends them.

    The list is for the user to look at. Its cookie and `RevokedSessions` alone decide whether a session is valid.

    Args:
        store: keeps the sessions.
        revoked: ends sessions.
        cookies: say how long a session is valid.
    """

    def __init__(self, store: SessionStore, revoked: RevokedSessions, cookies: SessionCookies) -> None:
        self._store = store
        self._revoked = revoked
        self._cookies = cookies
        self._writes: set[asyncio.Task[None]] = set()

    def note(self, session: Session, user_agent: str) -> None:
        """Store that a session began or is in use, in the background; a failure is logged only."""
        if len(self._writes) < MAX_WRITES:
            task = asyncio.create_task(self._save(session, device_name(user_agent)))
            self._writes.add(task)
            task.add_done_callback(self._writes.discard)

    async def sessions(self, user: str) -> list[SessionRecord]:
        """Return the user's valid sessions, the last used first.

        Raises:
            StoreUnavailable: they cannot be read now.
        """
        return [
            session
            for session in await self._store.sessions(user)
            if not await self._revoked.is_revoked(user, session.id, session.began_ms)
        ]

    async def end(self, user: str, session_id: str) -> bool:
        """End a session; return False if the user has no such session.

        Raises:
            StoreUnavailable: it may not be ended at other replicas.
        """
        if session_id not in {session.id for session in await self.sessions(user)}:
            return False
        await self._revoked.revoke(user, session=session_id)
        return True

    async def end_others(self, user: str, session_id: str) -> int:
        """End all sessions in the list but one, and return their number.

        Raises:
            StoreUnavailable: some may not be ended at other replicas.
        """
        others = [session.id for session in await self.sessions(user) if session.id != session_id]
        for other in others:
            await self._revoked.revoke(user, session=other)
        return len(others)

    async def aclose(self) -> None:
        """Cancel the writes in progress."""
        for task in self._writes:
            task.cancel()
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _save(self, session: Session, device: str) -> None:
        record = SessionRecord(id=session.id, began_ms=session.began_ms, seen_ms=session.seen_ms, device=device)
        try:
            await self._store.save_session(session.user.id, record, until_ms=self._cookies.end_ms(session))
        except StoreUnavailable as error:
            log.warning("session_not_listed", detail=error.detail)


def device_name(user_agent: str) -> str:
    """Return the browser and the system that a ``User-Agent`` names, such as "Firefox, Windows"; "" if unknown."""
    text = user_agent[:MAX_USER_AGENT_CHARS]
    names = [next((name for name, pattern in kinds if re.search(pattern, text)), "") for kinds in (_BROWSERS, _SYSTEMS)]
    return ", ".join(filter(None, names))
