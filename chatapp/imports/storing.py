"""Stores the conversations of an import, several at once, and counts in its report what was new."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Image
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.imports.assembly import identifier
from chatapp.imports.parsed import Skipped
from chatapp.store.values import WRITE_BYTES
from chatapp.userdata.insert import Entry, add_all, refuse_if_taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.domain.conversation import Attachment, Conversation, Message
    from chatapp.imports.assembly import Assembled
    from chatapp.imports.parsed import Parsed
    from chatapp.imports.pictures import Pictures
    from chatapp.imports.report import Report
    from chatapp.store import UserStore

MAX_WAITING_WRITES = 200  # in the journal of a store whose cloud is slower
WAIT_SECONDS = 120.0


class Storing:
    """Stores the conversations of one import.

    Args:
        store: where to.
        pictures: of the messages.
        user: the owner.
        oldest_ms: messages from before are left out.
        report: counts what was stored.
    """

    def __init__(self, store: UserStore, pictures: Pictures, user: str, oldest_ms: int, report: Report) -> None:
        self._store = store
        self._pictures = pictures
        self._user = user
        self._oldest_ms = oldest_ms
        self._report = report

    async def store(self, batch: Sequence[tuple[Parsed, Assembled | None]]) -> None:
        """Store conversations, or what of each is new; those without messages are only counted.

        Raises:
            StoreUnavailable: the store is unavailable; what was stored stays.
        """
        await self._wait_for_cloud()
        attempts = [
            _Attempt(assembled, assembled.conversation, self._pictures)
            for _, assembled in batch
            if assembled is not None
        ]
        await self._add(attempts)
        # An export of this chat may have ids that another user of it has, too.
        copies = [attempt.with_id_of(self._user) for attempt in attempts if attempt.entry.is_taken]
        await self._add(copies)
        refuse_if_taken(copy.entry for copy in copies)
        for attempt in (*attempts, *copies):
            if not attempt.entry.is_taken:
                self._count(attempt)
        for parsed, _ in batch:
            self._report.skipped.update(parsed.skipped)

    async def _add(self, attempts: Sequence[_Attempt]) -> None:
        await add_all(self._store, self._user, [attempt.entry for attempt in attempts], oldest_ms=self._oldest_ms)

    def _count(self, attempt: _Attempt) -> None:
        report, added = self._report, attempt.entry.added
        report.conversations += added.conversations
        report.messages += added.messages
        report.pictures += attempt.new_pictures
        report.documents += attempt.new_documents
        report.extended += bool(added.messages and not added.conversations)
        report.unchanged += not (added.messages or added.conversations or added.expired)
        report.skipped[Skipped.EXPIRED] += added.expired
        report.skipped.update(attempt.skipped)

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


class _Attempt:
    """Stores one conversation under one id.

    Attributes:
        new_pictures: of its new messages.
        new_documents: of its new messages.
        skipped: what its new messages leave out.
    """

    def __init__(self, assembled: Assembled, conversation: Conversation, pictures: Pictures) -> None:
        self.entry = Entry(conversation, assembled.messages, complete=self._complete)
        self.new_pictures = self.new_documents = 0
        self.skipped: Counter[Skipped] = Counter()
        self._assembled = assembled
        self._pictures = pictures

    def with_id_of(self, user: str) -> _Attempt:
        """Return a new attempt, with an id that only this user's copy has."""
        own_id = identifier("copy", user, self.entry.conversation.id)
        return _Attempt(self._assembled, replace(self.entry.conversation, id=own_id), self._pictures)

    async def _complete(self, message: Message) -> Message:
        """Return a new message with its pictures. Those of a stored message are not looked at again."""
        if refs := self._assembled.pictures.get(message.id):
            images = await self._pictures.of(self.entry.conversation.id, message.id, refs, self.skipped)
            self.new_pictures += len(images)
            return replace(message, images=images)
        return self._with_small_attachments(message)

    def _with_small_attachments(self, message: Message) -> Message:
        """Return a message of this chat's export with as many of its images and documents as one write can have."""
        if not message.attachments:
            return message
        room = WRITE_BYTES - len((message.content + message.thinking).encode(errors="replace"))
        kept: list[Attachment] = []
        for attachment in message.attachments:
            room -= len(attachment.data)
            if room >= 0:
                kept.append(attachment)
            else:
                is_image = isinstance(attachment, Image)
                self.skipped[Skipped.UNREADABLE_PICTURES if is_image else Skipped.DOCUMENTS] += 1
        complete = message.with_attachments(kept) if len(kept) < len(message.attachments) else message
        self.new_pictures += len(complete.images)
        self.new_documents += len(complete.documents)
        return complete
