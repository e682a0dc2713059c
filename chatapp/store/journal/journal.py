"""The journal: writes on this disk that have yet to reach the cloud, in order."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Self

from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import ConversationNotFound
from chatapp.store.journal.file import BUSY_TIMEOUT_S, open_journal
from chatapp.store.journal.images import drop_images, image_in, with_images
from chatapp.store.journal.overlay import Kind, changed, decoded_conversation, encoded
from chatapp.store.journal.rows import (
    PROFILE,
    Addition,
    Depth,
    Row,
    deletion_waits,
    is_deleted,
    is_there,
    rows_of,
    waiting_of,
)
from chatapp.store.journal.running import abandoned, forget, interrupted, remember
from chatapp.store.sqlite.database import SQLiteDatabase
from chatapp.store.values import newest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from chatapp.domain.conversation import Conversation, Image, Message, Profile
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.rows import Key
    from chatapp.store.sqlite.file import SQLiteFile

# What one call delivers of a long queue: far under the 4 MB that Firestore takes at once, and quick to send again.
BATCH_BYTES = 512_000
BATCH_MESSAGES = 100

_SIZE = "ifnull(length(conversation), 0) + ifnull(length(message), 0) + image_bytes"


class Journal:
    """The file and its one writer thread; what waits is read from it when it is needed, and never kept in memory.

    Of a conversation waits at most: one deletion, then one creation with its messages, one update, and of each message
    the newest revision. An append that comes takes older revisions of its messages away, and a deletion takes all.
    Beside that, the running answers of this process are remembered (see `journal_running`).
    """

    def __init__(self, file: SQLiteFile) -> None:
        (last_call,) = file.writer.execute("SELECT ifnull(max(call), 0) FROM writes").fetchone()
        self._calls = itertools.count(last_call + 1)
        self.depth = _depth(file.writer)
        self._database = SQLiteDatabase(file, BUSY_TIMEOUT_S)

    @classmethod
    async def open(cls, path: Path, destination: str) -> Self:
        """Open the journal of this cloud, or make it.

        Raises:
            StoreUnavailable: see `chatapp.store.journal.file.open_journal`.
        """
        return cls(await asyncio.to_thread(open_journal, path, destination))

    async def conversations(self) -> list[Key]:
        """Return the conversations of which something waits, the longest waiting first."""
        query = "SELECT user, conversation_id FROM writes GROUP BY user, conversation_id ORDER BY min(number)"
        return await self._database.read(lambda connection: [tuple(row) for row in connection.execute(query)])

    async def waiting(self, key: Key) -> list[Waiting]:
        """Return all that waits of a conversation, in order."""
        return await self._database.read(lambda connection: list(rows_of(connection, key)))

    async def waiting_of(self, user: str) -> dict[str, list[Waiting]]:
        """Return what waits of each of a user's conversations, in order, without messages."""

        def query(connection: sqlite3.Connection) -> dict[str, list[Waiting]]:
            found: defaultdict[str, list[Waiting]] = defaultdict(list)
            for row in connection.execute(
                "SELECT conversation_id, number, call, kind, created_ms, conversation, image_bytes FROM writes"
                " WHERE user = ? AND conversation_id != ? ORDER BY number",
                (user, PROFILE),
            ):
                found[row["conversation_id"]].append(waiting_of(row))
            return dict(found)

        return await self._database.read(query)

    async def image(self, key: Key, image_id: str) -> Image | None:
        """Return an image that waits, with its data; None: the cloud may have it.

        Raises:
            ConversationNotFound: its conversation's deletion waits.
        """

        def query(connection: sqlite3.Connection) -> Image | None:
            image = image_in(connection, key, image_id)
            if image is None and deletion_waits(connection, key):
                raise ConversationNotFound(detail="no such image")
            return image

        return await self._database.read(query)

    async def next_batch(self, key: Key) -> list[Waiting]:
        """Return what can be delivered next of a conversation in one call; nothing accepted together is parted."""

        def query(connection: sqlite3.Connection) -> list[Waiting]:
            batch: list[Waiting] = []
            for _, rows in itertools.groupby(rows_of(connection, key), key=lambda write: write.call):
                call = list(rows)
                size = sum(write.size for write in (*batch, *call))
                appends = batch and batch[0].kind is Kind.APPEND and call[0].kind is Kind.APPEND
                fits = appends and size <= BATCH_BYTES and len(batch) + len(call) <= BATCH_MESSAGES
                if batch and not fits:
                    break
                batch += call
            return [with_images(connection, key, write) for write in batch]

        return await self._database.read(query)

    async def interrupt_abandoned(self) -> int:
        """Append the end of each answer that a former process left as running; return how many those are."""
        left = await self._database.read(abandoned)
        for key, message, known in left:
            end = interrupted(message)
            await self._append(key, [(end, encoded(end))], known, {})
        return len(left)

    async def create(self, key: Key, conversation: Conversation, messages: Sequence[Message]) -> bool:
        """Accept a creation; False: what waits says that the conversation is there already, and nothing was changed."""
        add = Addition(self.depth, next(self._calls), key)
        new = [(message, encoded(message)) for message in newest(messages)]
        kept = encoded(conversation)

        def change(connection: sqlite3.Connection) -> None:
            add.begin()
            if is_there(connection, key):
                return
            add.row(connection, Kind.CREATE, kept)
            for message, content in new:
                add.row(connection, Kind.CREATED, None, message, content)
                remember(connection, key, message, content, kept)

        await self._write(change, add)
        return add.adds

    async def append(self, key: Key, messages: Sequence[Message], known: Conversation, seen: Mapping[str, int]) -> None:
        """Accept messages of a conversation, of which ``known`` is known; ``seen`` are revisions that it has already.

        Raises:
            ConversationNotFound: its deletion waits.
        """
        await self._append(key, [(message, encoded(message)) for message in messages], encoded(known), seen)

    async def _append(
        self, key: Key, new: Sequence[tuple[Message, bytes]], known: bytes, seen: Mapping[str, int]
    ) -> None:
        add = Addition(self.depth, next(self._calls), key)

        def change(connection: sqlite3.Connection) -> None:
            add.begin()
            if is_deleted(connection, key):
                raise ConversationNotFound
            for message, content in new:
                add.message(connection, message, content, known)
                if message.revision > seen.get(message.id, -1):
                    remember(connection, key, message, content, known)

        await self._write(change, add)

    async def update(self, key: Key, conversation: Conversation) -> None:
        """Accept an update; it takes the place of one that waits.

        Raises:
            ConversationNotFound: the conversation's deletion waits.
        """
        add = Addition(self.depth, next(self._calls), key)

        def change(connection: sqlite3.Connection) -> None:
            add.begin()
            if is_deleted(connection, key):
                raise ConversationNotFound
            after = conversation
            for row in connection.execute(
                "SELECT number, conversation FROM writes WHERE user = ? AND conversation_id = ? AND kind = ?",
                (*key, Kind.UPDATE),
            ).fetchall():
                after = changed(decoded_conversation(row["conversation"]), after)
                add.take_away(connection, [row["number"]])
            add.row(connection, Kind.UPDATE, encoded(after))

        await self._write(change, add)

    async def delete(self, key: Key) -> None:
        """Accept a deletion; all that waits of the conversation is gone from the file."""
        add = Addition(self.depth, next(self._calls), key)

        def change(connection: sqlite3.Connection) -> None:
            add.begin()
            numbers = "SELECT number FROM writes WHERE user = ? AND conversation_id = ?"
            add.take_away(connection, [number for (number,) in connection.execute(numbers, key)])
            add.row(connection, Kind.DELETE)
            forget(connection, key)
            drop_images(connection, key)

        await self._write(change, add, erases=True)

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Accept a profile; it takes the place of one that waits, unless that has the same or a higher revision."""
        key = user, PROFILE
        add = Addition(self.depth, next(self._calls), key)

        def change(connection: sqlite3.Connection) -> None:
            add.begin()
            waiting = [write for write in rows_of(connection, key) if write.profile]
            if all(write.profile and write.profile.revision < profile.revision for write in waiting):
                add.take_away(connection, [write.number for write in waiting])
                add.row(connection, Kind.PROFILE, encoded(profile))

        await self._write(change, add)

    async def delete_profile(self, user: str) -> None:
        """Accept that a profile is to go; what waits of it is gone from the file."""
        key = user, PROFILE
        add = Addition(self.depth, next(self._calls), key)

        def change(connection: sqlite3.Connection) -> None:
            add.begin()
            add.take_away(connection, [write.number for write in rows_of(connection, key)])
            add.row(connection, Kind.NO_PROFILE)

        await self._write(change, add, erases=True)

    async def settle(self, key: Key, numbers: Sequence[int], *, gone: bool, erases: bool) -> None:
        """Take rows away: they were delivered, or never will be, since the conversation is ``gone``.

        ``erases`` leaves none of their text in the file.
        """
        add = Addition(self.depth, 0, key)

        def change(connection: sqlite3.Connection) -> None:
            add.begin()
            add.take_away(connection, numbers)
            drop_images(connection, key)
            if gone:
                forget(connection, key)

        await self._write(change, add, erases=erases or gone)

    async def aclose(self) -> None:
        """Finish what was accepted and close the file; a second time does nothing."""
        await self._database.aclose()

    async def _write(
        self, change: Callable[[sqlite3.Connection], None], add: Addition, *, erases: bool = False
    ) -> None:
        await self._database.write(change, erases=erases)
        add.count()


def _depth(connection: sqlite3.Connection) -> Depth:
    """Return how much waits in the file."""
    depth = Depth({})
    now, clock = time.monotonic(), now_ms()
    for number, accepted_ms, size in connection.execute(f"SELECT number, accepted_ms, {_SIZE} AS size FROM writes"):  # noqa: S608  # a constant
        # The day's clock may have been set back since: nothing is younger than now.
        depth.add(number, Row(size, now - max(0, clock - accepted_ms) / 1000))
    return depth
