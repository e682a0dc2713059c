"""Imports a file into a user's history: reads it once to check all of it, then once more to store it.

Nothing is stored of a file that cannot be read to its end. After an interruption, the same file again adds what is
missing: ids are the same each time (`chatapp.imports.assembly`).
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import structlog

from chatapp.domain.errors import StorageFull
from chatapp.domain.sentences import Sentence
from chatapp.imports.archive import Archive
from chatapp.imports.assembly import Assembled, assemble
from chatapp.imports.library import new_library_bytes, store_library
from chatapp.imports.parsed import Skipped
from chatapp.imports.pictures import Pictures
from chatapp.imports.reading import Reading, read_conversations
from chatapp.imports.report import Report
from chatapp.imports.storing import Storing
from chatapp.imports.threads import in_thread
from chatapp.store.quota import message_bytes
from chatapp.store.values import attached_bytes
from chatapp.userdata.insert import add_profile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from chatapp.imports.parsed import Parsed
    from chatapp.imports.pictures import Decoder
    from chatapp.store import UserStore
    from chatapp.store.quota import StorageLimits

PICTURE_BYTES = 200_000  # of a picture that is not decoded yet, about
# Read at once, in a thread of its own, and stored together: for fewer switches of threads, with little memory.
BATCH_CONVERSATIONS, BATCH_CHARS = 100, 500_000
PROGRESS_SECONDS = 0.3

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """How far an import is.

    Attributes:
        is_checking: whether the file is being checked; else it is being stored.
        share: of this part, from 0 to 1.
        conversations: so far.
    """

    is_checking: bool
    share: float
    conversations: int


class Importer:
    """Imports files into a store.

    Args:
        store: where conversations are kept.
        images: decodes pictures.
        limits: how much the user's data may take.
        oldest_ms: messages from before are left out.
    """

    def __init__(
        self,
        store: UserStore,
        images: Decoder,
        *,
        limits: StorageLimits | None = None,
        oldest_ms: Callable[[], int] = int,
    ) -> None:
        self._store = store
        self._images = images
        self._limits = limits
        self._oldest_ms = oldest_ms

    async def run(
        self, user: str, file: BinaryIO, name: str, *, on_step: Callable[[Step], None], dry_run: bool = False
    ) -> Report:
        """Import a file that can be read from any position.

        Raises:
            InvalidImport: it cannot be read; nothing was stored.
            StorageFull: there is no room for it; nothing was stored.
            StoreUnavailable: the store is unavailable; what was stored stays.
        """
        archive = await asyncio.to_thread(Archive.open, file, name)
        report = Report()
        if dry_run:
            await self._check(user, archive, on_step, report)
            return report
        needed = await self._check(user, archive, on_step, Report())
        await self._refuse_if_full(user, archive, needed)
        pictures = Pictures(self._images, archive, user)
        storing = Storing(self._store, pictures, user, self._oldest_ms(), report)
        reading = Reading()
        steps = _Steps(on_step, archive, is_checking=False)
        async with aclosing(_assembled(archive, reading, user)) as batches:
            async for batch in batches:
                await storing.store(batch)
                steps.next(len(batch))
        if reading.profile:
            report.personas = await add_profile(self._store, user, reading.profile)
        _close(report, reading)
        await store_library(self._store, user, archive, reading, report)
        log.info("imported", sources=sorted(report.sources), conversations=report.conversations)
        return report

    async def _check(self, user: str, archive: Archive, on_step: Callable[[Step], None], report: Report) -> int:
        """Read the whole file, and return about how many bytes it takes; count in ``report`` as if all were new."""
        reading, needed = Reading(), 0
        steps = _Steps(on_step, archive, is_checking=True)
        async with aclosing(_assembled(archive, reading, user)) as batches:
            async for batch in batches:
                for parsed, assembled in batch:
                    if assembled is not None:
                        needed += sum(map(message_bytes, assembled.messages))
                        needed += PICTURE_BYTES * sum(map(len, assembled.pictures.values()))
                        report.conversations += 1
                        report.messages += len(assembled.messages)
                    report.skipped.update(parsed.skipped)
                steps.next(len(batch))
        _close(report, reading)
        return needed + reading.library_bytes

    async def _refuse_if_full(self, user: str, archive: Archive, needed: int) -> None:
        if self._limits is None:
            return
        for limit, who in ((self._limits.per_user, user), (self._limits.in_total, None)):
            if not limit or (used := await self._store.stored_bytes(who)) + needed <= limit:
                continue
            new = await self._new_bytes(user, archive)
            if used + new > limit:
                room = max(0, limit - used)
                raise StorageFull(
                    Sentence(
                        "This import needs {needed} MB, and {room} MB of your storage are free. Nothing was imported. "
                        "Delete conversations that you do not need any more, or export fewer.",
                        needed=f"{new / 1e6:.1f}",
                        room=f"{room / 1e6:.1f}",
                    ),
                    detail="an import",
                )

    async def _new_bytes(self, user: str, archive: Archive) -> int:
        """Return about how many bytes the messages and documents take that are not stored yet."""
        new = await new_library_bytes(self._store, user, archive)
        async with aclosing(_assembled(archive, Reading(), user)) as batches:
            async for batch in batches:
                conversations = [assembled for _, assembled in batch if assembled is not None]
                stored = await self._store.revisions(user, {one.conversation.id for one in conversations})
                for assembled in conversations:
                    revisions = stored.get(assembled.conversation.id, {})
                    for message in assembled.messages:
                        if message.id not in revisions:
                            new += message_bytes(message)
                            new += PICTURE_BYTES * len(assembled.pictures.get(message.id, ()))
        return new


async def _assembled(
    archive: Archive, reading: Reading, user: str
) -> AsyncGenerator[list[tuple[Parsed, Assembled | None]]]:
    """Yield the conversations in batches, read and assembled in a thread."""

    def conversations() -> Generator[tuple[Parsed, Assembled | None]]:
        for parsed in read_conversations(archive, reading):
            if parsed.exported is not None:
                yield parsed, Assembled(parsed.exported.conversation, list(parsed.exported.messages))
                continue
            assembled = assemble(parsed, user)
            if assembled is None:
                parsed.skipped[Skipped.EMPTY] += 1
            yield parsed, assembled

    batches = in_thread(conversations(), size=_chars, most_items=BATCH_CONVERSATIONS, most_size=BATCH_CHARS)
    async with aclosing(batches):
        async for batch in batches:
            yield batch


def _chars(item: tuple[Parsed, Assembled | None]) -> int:
    """Return about how many characters and bytes of a conversation are in memory."""
    _, assembled = item
    if assembled is None:
        return 0
    texts = sum(len(one.content) + len(one.thinking) for one in assembled.messages)
    pictures = sum(len(ref.data) for refs in assembled.pictures.values() for ref in refs)
    return texts + pictures + attached_bytes(assembled.messages)


def _close(report: Report, reading: Reading) -> None:
    report.sources = reading.sources
    report.skipped.update(reading.skipped)
    report.files, report.missing = reading.files, reading.missing


class _Steps:
    """Reports how far an import is, now and then."""

    def __init__(self, on_step: Callable[[Step], None], archive: Archive, *, is_checking: bool) -> None:
        self._on_step = on_step
        self._progress = archive.progress
        self._is_checking = is_checking
        self._conversations = 0
        self._reported_at = 0.0

    def next(self, conversations: int) -> None:
        """Count conversations."""
        self._conversations += conversations
        now = asyncio.get_running_loop().time()
        if now - self._reported_at >= PROGRESS_SECONDS:
            self._reported_at = now
            share = min(1.0, self._progress.done / max(1, self._progress.total))
            self._on_step(Step(self._is_checking, share, self._conversations))
