"""Imports a file into a user's history: reads it once to check all of it, then once more to store it.

Nothing is stored of a file that cannot be read to its end. After an interruption, the same file again adds what is
missing: ids are the same each time (`chatapp.imports.assembly`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO, Protocol

import structlog

from chatapp.domain.conversation import Image
from chatapp.domain.errors import ConversationNotFound, InvalidMessage, LimitReached, StorageFull, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.images.decoder import MAX_FILE_BYTES
from chatapp.imports.archive import Archive
from chatapp.imports.assembly import Assembled, assemble, identifier
from chatapp.imports.library import store_library
from chatapp.imports.parsed import Skipped
from chatapp.imports.reading import Reading, read_conversations
from chatapp.imports.report import Report
from chatapp.imports.threads import in_thread
from chatapp.store.quota import message_bytes
from chatapp.store.values import WRITE_BYTES
from chatapp.userdata.insert import Added, IdTaken, add, add_profile

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from chatapp.domain.conversation import Attachment, Message
    from chatapp.imports.parsed import Parsed, PictureRef
    from chatapp.store import ConversationStore, UserStore
    from chatapp.store.quota import StorageLimits

PICTURE_BYTES = 200_000  # of a picture that is not decoded yet, about
MAX_PICTURE_BYTES = WRITE_BYTES - 3_200_000  # of a message's pictures beside its longest text, in one write
MAX_WAITING_WRITES = 200  # in the journal of a store whose cloud is slower
WAIT_SECONDS = 120.0
PROGRESS_SECONDS = 0.3

log = structlog.get_logger(__name__)


class Decoder(Protocol):
    """The part of `chatapp.images.decoder.ImageDecoder` that an import needs."""

    async def decoded(self, user: str, file: bytes) -> Image:
        """Return the image of a file, scaled down and encoded again."""


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
        importing = _Importing(self._store, self._images, archive, user, self._oldest_ms(), report)
        reading = Reading()
        steps = _Steps(on_step, archive, is_checking=False)
        async with aclosing(_assembled(archive, reading, user)) as conversations:
            async for parsed, assembled in conversations:
                await importing.store(parsed, assembled)
                steps.next()
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
        async with aclosing(_assembled(archive, reading, user)) as conversations:
            async for parsed, assembled in conversations:
                if assembled is not None:
                    needed += sum(map(message_bytes, assembled.messages))
                    needed += PICTURE_BYTES * sum(map(len, assembled.pictures.values()))
                    report.conversations += 1
                    report.messages += len(assembled.messages)
                report.skipped.update(parsed.skipped)
                steps.next()
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
        """Return about how many bytes the messages take that are not stored yet."""
        new = 0
        async with aclosing(_assembled(archive, Reading(), user)) as conversations:
            async for _, assembled in conversations:
                if assembled is not None:
                    stored = await _stored_ids(self._store, user, assembled.conversation.id)
                    for message in assembled.messages:
                        if message.id not in stored:
                            new += message_bytes(message)
                            new += PICTURE_BYTES * len(assembled.pictures.get(message.id, ()))
        return new


async def _stored_ids(store: ConversationStore, user: str, conversation_id: str) -> set[str]:
    try:
        return {message.id for message in await store.messages(user, conversation_id)}
    except ConversationNotFound:
        return set()


async def _assembled(archive: Archive, reading: Reading, user: str) -> AsyncGenerator[tuple[Parsed, Assembled | None]]:
    """Yield each conversation, read and assembled in a thread."""

    def conversations() -> Generator[tuple[Parsed, Assembled | None]]:
        for parsed in read_conversations(archive, reading):
            if parsed.exported is not None:
                yield parsed, Assembled(parsed.exported.conversation, list(parsed.exported.messages))
                continue
            assembled = assemble(parsed, user)
            if assembled is None:
                parsed.skipped[Skipped.EMPTY] += 1
            yield parsed, assembled

    async with aclosing(in_thread(conversations())) as items:
        async for item in items:
            yield item


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

    def next(self) -> None:
        """Count a conversation."""
        self._conversations += 1
        now = asyncio.get_running_loop().time()
        if now - self._reported_at >= PROGRESS_SECONDS:
            self._reported_at = now
            share = min(1.0, self._progress.done / max(1, self._progress.total))
            self._on_step(Step(self._is_checking, share, self._conversations))


class _Importing:
    """Stores the conversations of one import."""

    def __init__(
        self, store: UserStore, images: Decoder, archive: Archive, user: str, oldest_ms: int, report: Report
    ) -> None:
        self._store = store
        self._images = images
        self._archive = archive
        self._user = user
        self._oldest_ms = oldest_ms
        self._report = report
        self._new_pictures = self._new_documents = 0  # of the conversation that is being stored

    async def store(self, parsed: Parsed, assembled: Assembled | None) -> None:
        """Store a conversation, or what of it is new."""
        report = self._report
        if assembled is not None:
            await self._wait_for_cloud()
            try:
                added = await self._add(assembled, parsed)
            except IdTaken:  # an export of this chat that another user of it has, too
                own_id = identifier("copy", self._user, assembled.conversation.id)
                assembled.conversation = replace(assembled.conversation, id=own_id)
                added = await self._add(assembled, parsed)
            report.conversations += added.conversations
            report.messages += added.messages
            report.pictures += self._new_pictures
            report.documents += self._new_documents
            report.extended += bool(added.messages and not added.conversations)
            report.unchanged += not (added.messages or added.conversations or added.expired)
            report.skipped[Skipped.EXPIRED] += added.expired
        report.skipped.update(parsed.skipped)

    async def _add(self, assembled: Assembled, parsed: Parsed) -> Added:
        added = Added()
        self._new_pictures = self._new_documents = 0
        refs = assembled.pictures
        conversation_id = assembled.conversation.id

        async def complete(message: Message) -> Message:
            if message.id in refs:
                images = await self._pictures(conversation_id, message.id, refs[message.id], parsed)
                return replace(message, images=images)
            return self._with_small_attachments(message, parsed)

        # Pictures of messages that are stored already are counted as if they were read: they are not looked at again.
        await add(
            self._store,
            self._user,
            assembled.conversation,
            assembled.messages,
            added,
            oldest_ms=self._oldest_ms,
            complete=complete,
        )
        return added

    def _with_small_attachments(self, message: Message, parsed: Parsed) -> Message:
        """Return a message of this chat's export with as many of its images and documents as one write can have."""
        room = WRITE_BYTES - len((message.content + message.thinking).encode(errors="replace"))
        kept: list[Attachment] = []
        for attachment in message.attachments:
            room -= len(attachment.data)
            if room >= 0:
                kept.append(attachment)
            else:
                is_image = isinstance(attachment, Image)
                parsed.skipped[Skipped.UNREADABLE_PICTURES if is_image else Skipped.DOCUMENTS] += 1
        complete = message.with_attachments(kept) if len(kept) < len(message.attachments) else message
        self._new_pictures += len(complete.images)
        self._new_documents += len(complete.documents)
        return complete

    async def _pictures(
        self, conversation_id: str, message_id: str, refs: tuple[PictureRef, ...], parsed: Parsed
    ) -> tuple[Image, ...]:
        images: list[Image] = []
        size = 0
        for number, ref in enumerate(refs):
            file = await asyncio.to_thread(self._file, ref)
            image = await self._decoded(file) if file else None
            if image is not None and size + len(image.data) <= MAX_PICTURE_BYTES:
                size += len(image.data)
                images.append(replace(image, id=identifier("image", conversation_id, message_id, str(number))))
            elif file is None:
                parsed.skipped[Skipped.PICTURES] += 1
            else:
                parsed.skipped[Skipped.UNREADABLE_PICTURES] += 1
        self._new_pictures += len(images)
        return tuple(images)

    def _file(self, ref: PictureRef) -> bytes | None:
        """Return the file of a picture; None if there is none, b"" if it cannot be read."""
        if not ref.data:
            return self._archive.picture(ref.names)
        data = ref.data.partition(",")[2] if ref.data.startswith("data:") else ref.data
        if len(data) > MAX_FILE_BYTES * 4 // 3 + 4:
            return b""
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return b""

    async def _decoded(self, file: bytes) -> Image | None:
        """Return the image; None if it cannot be read. Waits while other images are being decoded."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            try:
                return await self._images.decoded(self._user, file)
            except InvalidMessage:
                return None
            except LimitReached:
                if asyncio.get_running_loop().time() > deadline:
                    return None
                await asyncio.sleep(0.2)

    async def _wait_for_cloud(self) -> None:
        """Wait while the writes before are on their way to the cloud.

        Raises:
            StoreUnavailable: they make no progress.
        """
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        before = self._store.status().waiting_writes
        while (waiting := self._store.status().waiting_writes) > MAX_WAITING_WRITES:
            if waiting < before:
                before, deadline = waiting, asyncio.get_running_loop().time() + WAIT_SECONDS
            if asyncio.get_running_loop().time() > deadline:
                raise StoreUnavailable(
                    Sentence(
                        "The cloud is unavailable, so the import stopped. What was imported is kept. Add the same file "
                        "again later to continue."
                    )
                )
            await asyncio.sleep(0.1)
