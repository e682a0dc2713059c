"""Delivers the journal's writes to the cloud: in order per conversation, a few in parallel, with backoff."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
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
DRAINING_RETRY_S = 2.0  # the longest pause during shutdown
CALL_S = 60.0  # for a store without its own timeout; FirestoreStore's longest is half of it
# How long a write waits on the disk first: its acknowledgement, and the request to the model, are to come before the
# milliseconds of the event loop that a delivery takes.
LULL_S = 0.02

log = structlog.get_logger(__name__)
_CHANCE = random.SystemRandom()


@dataclass(slots=True)
class _Queue:
    """The state of a conversation with pending writes.

    Attributes:
        has_new: a write was accepted since the journal was last read.
        failed_at: when its last delivery failed, 0 if it did not; by the monotonic clock, as all times here.
        failures: consecutive failures while deliveries of other conversations succeeded.
        retry_at: the earliest time of the next attempt, or of the first one.
        set_aside: the cloud rejected it with an error that a retry does not fix.
        progress: set, and replaced, when writes were delivered.
    """

    has_new: bool = True
    failed_at: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    set_aside: bool = False
    task: asyncio.Task[None] | None = None
    progress: asyncio.Event = field(default_factory=asyncio.Event)


class Deliveries:
    """Delivers up to ``at_once`` conversations in parallel, and the writes of each in order.

    **Retries**: a failure counts as an outage of the cloud. During an outage, one delivery at a time probes the cloud,
    each time for another conversation, with exponential backoff and jitter from `FIRST_RETRY_S` to `LAST_RETRY_S`; the
    first success resumes all deliveries. A failure counts against a single conversation only if deliveries of others
    succeeded since its last attempt: then only this conversation backs off, with the same limits.

    **Permanent errors**: ConversationNotFound for an append or an update means that the conversation was deleted
    elsewhere (or expired); its owner wanted it gone, so the write is dropped, with its text. Any other error that is
    not StoreUnavailable (an id that the cloud rejects, a bug) sets the conversation aside until the next start: its
    writes stay in the journal, are counted and returned by reads, and block no other conversation.

    Args:
        on_deleted: called with a conversation that the cloud no longer has.
        on_delivered: called after each delivery: the cloud answers.
    """

    def __init__(
        self,
        journal: Journal,
        cloud: Store,
        at_once: int,
        on_deleted: Callable[[Key], None],
        on_delivered: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._cloud = cloud
        self._at_once = at_once
        self._on_deleted = on_deleted
        self._on_delivered = on_delivered
        self._waiting: dict[Key, _Queue] = {}  # in the order of the next attempts
        self._running = 0
        self._failures = 0  # consecutive, of the cloud
        self._failed_at = 0.0
        self._retry_at = 0.0
        self._last_success = 0.0
        self._longest_pause = LAST_RETRY_S
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._dispatcher: asyncio.Task[None] | None = None

    def start(self, keys: list[Key]) -> None:
        """Begin with the conversations that have pending writes."""
        self._waiting = {key: _Queue() for key in keys}
        self._dispatcher = asyncio.create_task(self._dispatch())

    def notice(self, key: Key, *, supersedes: bool = False) -> None:
        """Deliver a newly accepted write; ``supersedes`` resets the failures of the writes that it replaces."""
        queue = self._waiting.setdefault(key, _Queue(retry_at=time.monotonic() + LULL_S))
        queue.has_new = True
        if supersedes:
            queue.set_aside, queue.failures, queue.retry_at = False, 0, 0.0
        self._wake.set()

    @property
    def outage(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    def pending(self, key: Key) -> bool:
        """Return whether a conversation has pending writes."""
        return key in self._waiting

    def progress(self, key: Key) -> asyncio.Event | None:
        """Return what is set at the next delivery of a conversation; None: nothing of it is pending."""
        queue = self._waiting.get(key)
        return queue.progress if queue else None

    async def drain(self) -> None:
        """Deliver everything except conversations that are set aside, with a shorter backoff."""
        self._longest_pause = DRAINING_RETRY_S
        self._retry_at = 0.0
        for queue in self._waiting.values():
            queue.retry_at = 0.0
        while any(not queue.set_aside for queue in self._waiting.values()):
            self._empty.clear()
            self._wake.set()
            await self._empty.wait()

    async def aclose(self) -> None:
        """Cancel the running deliveries; their writes stay in the journal."""
        tasks = [queue.task for queue in self._waiting.values() if queue.task]
        tasks += [self._dispatcher] if self._dispatcher else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            pause = self._start_due()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    def _start_due(self) -> float | None:
        """Start the deliveries that are due; return the seconds until the next one, None: wait for an event."""
        now = time.monotonic()
        earliest: float | None = None
        for key, queue in list(self._waiting.items()):
            if self._running >= (1 if self.outage else self._at_once):
                return None
            if queue.task or queue.set_aside:
                continue
            at = max(queue.retry_at, self._retry_at)
            if at <= now:
                self._running += 1
                queue.task = asyncio.create_task(self._deliver(key, queue))
            elif earliest is None or at < earliest:
                earliest = at
        return None if earliest is None else earliest - now

    async def _deliver(self, key: Key, queue: _Queue) -> None:
        began = time.monotonic()
        try:
            while True:
                queue.has_new = False
                batch = await self._journal.next_batch(key)
                if not batch:
                    if queue.has_new:
                        continue
                    del self._waiting[key]
                    return
                began = time.monotonic()
                await self._deliver_batch(key, batch)
                queue.progress.set()
                queue.progress = asyncio.Event()
                queue.failures, queue.failed_at = 0, 0.0
        except (StoreUnavailable, TimeoutError) as error:
            self._failed(key, queue, began, error)
        except ConversationNotFound as error:
            queue.set_aside = True
            log.warning("delivery_set_aside", conversation=key[1], detail=error.detail)
        except Exception:
            queue.set_aside = True
            log.exception("delivery_set_aside", conversation=key[1])
        finally:
            queue.task = None
            self._running -= 1
            self._wake.set()
            self._empty.set()

    async def _deliver_batch(self, key: Key, batch: list[Waiting]) -> None:
        deleted = False
        try:
            async with asyncio.timeout(CALL_S):
                await self._call(key, batch)
        except ConversationNotFound:
            if batch[0].kind not in (Kind.APPEND, Kind.UPDATE):
                raise
            deleted = True
            self._on_deleted(key)
            log.warning("delivery_dropped", conversation=key[1], writes=len(batch), reason="deleted elsewhere")
        await self._journal.settle(key, [write.number for write in batch], deleted=deleted)
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
        self._failures, self._retry_at, self._last_success = 0, 0.0, time.monotonic()
        self._on_delivered()
        self._wake.set()

    def _failed(self, key: Key, queue: _Queue, began: float, error: Exception) -> None:
        now = time.monotonic()
        self._waiting[key] = self._waiting.pop(key)  # to the end of the queue
        alone = self._last_success > (queue.failed_at or began)
        queue.failed_at = now
        if alone:
            queue.failures += 1
            queue.retry_at = now + self._pause(queue.failures)
        elif began >= self._failed_at:  # concurrent deliveries fail together, and count once
            self._failures += 1
            self._failed_at = now
            self._retry_at = now + self._pause(self._failures)
        log.warning(
            "delivery_failed",
            conversation=key[1],
            waiting=len(self._waiting),
            failures=queue.failures if alone else self._failures,
            detail=getattr(error, "detail", "") or type(error).__name__,
        )

    def _pause(self, failures: int) -> float:
        longest = min(self._longest_pause, FIRST_RETRY_S * 2 ** min(failures, 10))
        return _CHANCE.uniform(min(FIRST_RETRY_S, longest), longest)
