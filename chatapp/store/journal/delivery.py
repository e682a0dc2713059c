"""Delivers the journal's writes to the cloud: in order per conversation, a few in parallel, with backoff."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store.journal.overlay import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatapp.store import Store
    from chatapp.store.journal.journal import Journal
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.rows import Key

FIRST_RETRY_S, LAST_RETRY_S = 0.5, 30.0
DRAINING_RETRY_S = 2.0  # the longest pause when the chat is about to end
CALL_S = 60.0  # for a cloud that forgot its own limit; FirestoreStore's longest is half of it

log = structlog.get_logger(__name__)
_CHANCE = random.SystemRandom()


@dataclass(slots=True)
class _Conversation:
    """A conversation of which something waits, and how its deliveries went.

    Attributes:
        more: something was accepted since the journal was last read.
        failed_at: when its last delivery failed, 0 if it did not; by the monotonic clock, as all times here.
        failures: how often it alone failed, while others were delivered.
        not_before: when it may be tried again.
        aside: the cloud refused it in a way that waiting does not mend.
    """

    more: bool = True
    failed_at: float = 0.0
    failures: int = 0
    not_before: float = 0.0
    aside: bool = False
    task: asyncio.Task[None] | None = None


class Deliveries:
    """Delivers up to ``at_once`` conversations in parallel, and the writes of each in order.

    **An outage is the cloud's, not a conversation's**: after a failure, one delivery at a time tries whether the cloud
    is back, each time another conversation, after a random pause that grows from `FIRST_RETRY_S` to `LAST_RETRY_S`
    seconds; the first that works lets all go on. Only where others were delivered since a conversation was last tried
    is its failure its own: then it alone pauses, and never for longer than that.

    **What is final**: ConversationNotFound for an append or an update says that the conversation was deleted elsewhere
    (or expired); its owner wanted it gone, so the write is dropped, with its text. Any other refusal that is not
    StoreUnavailable (an id that the cloud rejects, a bug) sets the conversation aside until the next start: its
    writes stay in the journal, are counted and returned by reads, and block no other conversation.

    Args:
        gone: is told of a conversation that the cloud no longer has.
    """

    def __init__(self, journal: Journal, cloud: Store, at_once: int, gone: Callable[[Key], None]) -> None:
        self._journal = journal
        self._cloud = cloud
        self._at_once = at_once
        self._gone = gone
        self._waiting: dict[Key, _Conversation] = {}  # in line: the first is tried first
        self._running = 0
        self._settling = 0  # writes that are being noted as delivered
        self._failures = 0  # of the cloud, one after the other
        self._failed_at = 0.0
        self._again_at = 0.0
        self._last_success = 0.0
        self._longest_pause = LAST_RETRY_S
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None

    def start(self, keys: list[Key]) -> None:
        """Begin, with what waits from before."""
        self._waiting = {key: _Conversation() for key in keys}
        self._dispatcher = asyncio.create_task(self._dispatch())

    def notice(self, key: Key, *, supersedes: bool = False) -> None:
        """Deliver what was just accepted; ``supersedes`` resets the failures of what it replaces."""
        found = self._waiting.setdefault(key, _Conversation())
        found.more = True
        if supersedes:
            found.aside, found.failures, found.not_before = False, 0, 0.0
        self._wake.set()

    @property
    def outage(self) -> bool:
        """Whether the cloud failed when it was last tried."""
        return self._failures > 0

    def pending(self, key: Key) -> bool:
        """Return whether something of a conversation is not in the cloud yet, as far as is known here."""
        return key in self._waiting

    async def drain(self) -> None:
        """Deliver all that can be delivered, with short pauses only; ends when just what was set aside is left."""
        self._longest_pause = DRAINING_RETRY_S
        self._again_at = 0.0
        for found in self._waiting.values():
            found.not_before = 0.0
        while any(not found.aside for found in self._waiting.values()):
            self._empty.clear()
            self._wake.set()
            await self._empty.wait()

    async def aclose(self) -> None:
        """Cancel the running deliveries; their writes stay in the journal."""
        tasks = [found.task for found in self._waiting.values() if found.task]
        tasks += [self._dispatcher] if self._dispatcher else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            pause = self._start_what_may_be_tried()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _start_what_may_be_tried(self) -> float | None:
        """Start deliveries; return the seconds until the next may be tried, None: when something happens."""
        now = time.monotonic()
        earliest: float | None = None
        for key, found in list(self._waiting.items()):
            if self._running >= (1 if self.outage else self._at_once):
                return None
            if found.task or found.aside:
                continue
            at = max(found.not_before, self._again_at)
            if at <= now:
                self._running += 1
                found.task = asyncio.create_task(self._deliver(key, found))
            elif earliest is None or at < earliest:
                earliest = at
        return None if earliest is None else earliest - now

    async def _deliver(self, key: Key, found: _Conversation) -> None:
        began = time.monotonic()
        try:
            while True:
                found.more = False
                batch = await self._journal.next_batch(key)
                if not batch:
                    if found.more:
                        continue
                    del self._waiting[key]
                    return
                began = time.monotonic()
                await self._deliver_batch(key, batch)
                found.failures, found.failed_at = 0, 0.0
        except (StoreUnavailable, TimeoutError) as error:
            self._failed(key, found, began, error)
        except ConversationNotFound as error:
            found.aside = True
            log.warning("delivery_set_aside", conversation=key[1], detail=error.detail)
        except Exception:
            found.aside = True
            log.exception("delivery_set_aside", conversation=key[1])
        finally:
            found.task = None
            self._running -= 1
            self._wake.set()
            self._empty.set()

    async def _deliver_batch(self, key: Key, batch: list[Waiting]) -> None:
        gone = False
        try:
            async with asyncio.timeout(CALL_S):
                await self._call(key, batch)
        except ConversationNotFound:
            if batch[0].kind not in (Kind.APPEND, Kind.UPDATE):
                raise
            gone = True
            self._gone(key)
            log.warning("delivery_dropped", conversation=key[1], writes=len(batch), reason="deleted elsewhere")
        self._settling += len(batch)
        try:
            # The last of all leaves an empty file: no text stays here that the cloud has.
            last = self._settling >= len(self._journal.depth.rows)
            await self._journal.settle(key, [write.number for write in batch], gone=gone, erases=last)
        finally:
            self._settling -= len(batch)
        self._worked()

    async def _call(self, key: Key, batch: list[Waiting]) -> None:
        user, conversation_id = key
        messages = [write.message for write in batch if write.message]
        first = batch[0]
        if first.kind is Kind.DELETE:
            await self._cloud.delete(user, conversation_id)
        elif first.kind is Kind.CREATE and first.conversation:
            await self._cloud.create(user, first.conversation, *messages)
        elif first.kind is Kind.UPDATE and first.conversation:
            await self._cloud.update(user, first.conversation)
        elif first.kind is Kind.PROFILE and first.profile:
            await self._cloud.save_profile(user, first.profile)
        elif first.kind is Kind.NO_PROFILE:
            await self._cloud.delete_profile(user)
        else:
            await self._cloud.append(user, conversation_id, *messages)

    def _worked(self) -> None:
        self._failures, self._again_at, self._last_success = 0, 0.0, time.monotonic()
        self._wake.set()

    def _failed(self, key: Key, found: _Conversation, began: float, error: Exception) -> None:
        now = time.monotonic()
        self._waiting[key] = self._waiting.pop(key)  # to the end of the line
        alone = self._last_success > (found.failed_at or began)
        found.failed_at = now
        if alone:
            found.failures += 1
            found.not_before = now + self._pause(found.failures)
        elif began >= self._failed_at:  # those that were under way together fail together, and count once
            self._failures += 1
            self._failed_at = now
            self._again_at = now + self._pause(self._failures)
        log.warning(
            "delivery_failed",
            conversation=key[1],
            waiting=len(self._waiting),
            failures=found.failures if alone else self._failures,
            detail=getattr(error, "detail", "") or type(error).__name__,
        )

    def _pause(self, failures: int) -> float:
        longest = min(self._longest_pause, FIRST_RETRY_S * 2 ** min(failures, 10))
        return _CHANCE.uniform(min(FIRST_RETRY_S, longest), longest)
