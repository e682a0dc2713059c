"""Which sessions ended before their time, without asking the store at every request."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import StoreUnavailable
from chatapp.store import Revocations

if TYPE_CHECKING:
    from chatapp.store import ConversationStore

FRESH_S = 30.0  # after which what another copy of the chat ended is known here
PATIENCE_S = 2.0  # for the store; a request waits no longer, and not at all for one that did not answer the last
ASK_AGAIN_S = 5.0  # after the store was asked in vain
USERS_REMEMBERED = 10_000

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Known:
    ended: Revocations
    until: float  # by the monotonic clock


class EndedSessions:
    """Ends sessions, and remembers which are ended.

    While the store is away, a session counts as good unless it is known here that it is ended: people go on talking.
    What was ended here meanwhile holds here at once, and is written to the store when that is asked for the user again.

    Args:
        store: where it is kept.
        seconds: for which a cookie may name a session that is ended.
    """

    def __init__(self, store: ConversationStore, *, seconds: float) -> None:
        self._store = store
        self._ms = int(seconds * 1000)
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._unsaved: dict[str, Revocations] = {}
        self._asking: dict[str, asyncio.Task[_Known]] = {}
        self._in_vain = False

    async def has(self, user: str, session: str, began_ms: int) -> bool:
        """Return whether a session is ended."""
        known = self._known.get(user)
        if known is None or time.monotonic() >= known.until:
            known = await self._asked(user)
        return known.ended.end(session, began_ms)

    async def end(self, user: str, *, session: str = "", before_ms: int = 0) -> None:
        """End one session, or all that began up to a moment.

        Raises:
            StoreUnavailable: it holds here, and nowhere else yet.
        """
        ended = Revocations(before_ms=before_ms, sessions=frozenset({session} - {""}))
        before = self._unsaved.get(user, Revocations())
        self._unsaved[user] = before.joined(ended)
        if known := self._known.get(user):
            self._known[user] = _Known(known.ended.joined(ended), known.until)
        await self._save(user)

    async def aclose(self) -> None:
        """Ask no more."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _asked(self, user: str) -> _Known:
        task = self._asking.get(user)
        if task is None:
            task = self._asking[user] = asyncio.create_task(self._ask(user))
        await asyncio.wait({task}, timeout=0 if self._in_vain else PATIENCE_S)
        if task.done() and not task.cancelled():
            return task.result()
        self._in_vain = True
        return self._remember(user, Revocations(), ASK_AGAIN_S)

    async def _ask(self, user: str) -> _Known:
        try:
            if user in self._unsaved:
                await self._save(user)
            ended = await self._store.revocations(user)
            self._in_vain = False
            return self._remember(user, ended, FRESH_S)
        except StoreUnavailable as error:
            self._in_vain = True
            log.warning("ended_sessions_unknown", detail=error.detail)
            return self._remember(user, Revocations(), ASK_AGAIN_S)
        finally:
            del self._asking[user]

    async def _save(self, user: str) -> None:
        unsaved, until_ms = self._unsaved[user], now_ms() + self._ms
        if unsaved.before_ms:
            await self._store.revoke(user, before_ms=unsaved.before_ms, until_ms=until_ms)
        for session in unsaved.sessions:
            await self._store.revoke(user, session=session, until_ms=until_ms)
        if self._unsaved.get(user) == unsaved:  # nothing more was ended meanwhile
            del self._unsaved[user]

    def _remember(self, user: str, ended: Revocations, seconds: float) -> _Known:
        """Remember this beside what is known: what is ended stays ended."""
        before = self._known.get(user)
        for other in (before.ended if before else Revocations(), self._unsaved.get(user, Revocations())):
            ended = ended.joined(other)
        known = self._known[user] = _Known(ended, time.monotonic() + seconds)
        self._known.move_to_end(user)
        if len(self._known) > USERS_REMEMBERED:
            self._known.popitem(last=False)
        return known
