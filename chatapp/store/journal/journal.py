"""The journal: an ordered queue, on this disk, of writes that are not yet in the cloud."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Self

from chatapp.domain.conversation import changed, now_ms
from chatapp.domain.errors import ConversationNotFound
from chatapp.store.journal.attachments import attachment_in, drop_attachments, with_data
from chatapp.store.journal.file import BUSY_TIMEOUT_S, open_journal
from chatapp.store.journal.overlay import Kind, Revised, decoded_conversation, encoded
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
from chatapp.store.sqlite.writer import ERASE_SOON_S
from chatapp.store.values import newest, storable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from chatapp.domain.conversation import AttachmentT, Conversation, Message, Profile
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.rows import Key
    from chatapp.store.sqlite.file import SQLiteFile


# The largest batch of one delivery: far below Firestore's limit of 4 MB per commit, and quick to retry.
BATCH_BYTES = 512_000
BATCH_MESSAGES = 100

Then = Callable[[bool], None]
Change = Callable[["sqlite3.Connection", Addition], None]

_SIZE = "ifnull(length(conversation), 0) + ifnull(length(message), 0) + attachment_bytes"


def _nothing(_adds: bool) -> None:  # noqa: FBT001  # as `then` is called
    pass


class Journal:
    """The file and its one writer thread; pending writes are read from it when needed, and not kept in memory.

    The pending writes of a conversation are compacted: at most one deletion, then one creation with its messages, one
    update, and the newest revision of each message. An append replaces older revisions of its messages, and a deletion
    replaces everything. The journal also records the running answers of this process (see
    `chatapp.store.journal.running`).
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
        """Return the conversations with pending writes, the oldest write first."""
        query = "SELECT user, conversation_id FROM writes GROUP BY user, conversation_id ORDER BY min(number)"
        return await self._database.read(lambda connection: [tuple(row) for row in connection.execute(query)])

    async def waiting(self, key: Key) -> list[Waiting]:
        """Return the pending writes of a conversation, in order."""
        return await self._database.read(lambda connection: list(rows_of(connection, key)))

    async def undelivered(self, key: Key) -> set[str]:
        """Return the ids of a conversation's messages with a pending write; "" for one of the conversation itself."""
        query = "SELECT coalesce(message_id, '') FROM writes WHERE user = ? AND conversation_id = ?"
        return await self._database.read(lambda connection: {name for (name,) in connection.execute(query, key)})

    async def waiting_of(self, user: str) -> dict[str, list[Waiting]]:
        """Return the pending writes of each of a user's conversations, in order, without messages."""

        def query(connection: sqlite3.Connection) -> dict[str, list[Waiting]]:
            writes: defaultdict[str, list[Waiting]] = defaultdict(list)
            for row in connection.execute(
                "SELECT conversation_id, number, call, kind, created_ms, conversation, attachment_bytes FROM writes"
                " WHERE user = ? AND conversation_id != ? ORDER BY call, number",
                (user, PROFILE),
            ):
                writes[row["conversation_id"]].append(waiting_of(row))
            return dict(writes)

        return await self._database.read(query)

    async def revisions(self, user: str, conversation_ids: Iterable[str]) -> dict[str, list[Revised]]:
        """Return what the pending writes of each of these conversations do to the revisions of its messages."""
        ids = json.dumps([id_ for id_ in conversation_ids if storable(id_) == id_])

        def query(connection: sqlite3.Connection) -> dict[str, list[Revised]]:
            writes: defaultdict[str, list[Revised]] = defaultdict(list)
            for row in connection.execute(
                "SELECT conversation_id, kind, message_id, revision FROM writes"
                " WHERE user = ? AND conversation_id IN (SELECT value FROM json_each(?)) ORDER BY call, number",
                (user, ids),
            ):
                writes[row["conversation_id"]].append(Revised(Kind(row["kind"]), row["message_id"], row["revision"]))
            return dict(writes)

        return await self._database.read(query)

    async def attachment(self, key: Key, kind: type[AttachmentT], attachment_id: str) -> AttachmentT | None:
        """Return a pending image or document with its data; None: the cloud may have it.

        Raises:
            ConversationNotFound: its conversation's deletion is pending.
        """

        def query(connection: sqlite3.Connection) -> AttachmentT | None:
            attachment = attachment_in(connection, key, kind, attachment_id)
            if attachment is None and deletion_waits(connection, key):
                raise ConversationNotFound(detail=f"no such {kind.__name__.lower()}")
            return attachment

        return await self._database.read(query)

    async def next_batch(self, key: Key) -> list[Waiting]:
        """Return the next writes of a conversation for one delivery; writes of one call stay together."""

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
            return [with_data(connection, key, write) for write in batch]

        return await self._database.read(query)

    async def interrupt_abandoned(self) -> int:
        """Append an interrupted revision of each answer that a former process left running; return their number.

        In one transaction: a start waits for it.
        """
        answers = await self._database.read(abandoned)
        changes = []
        for key, message, conversation in answers:
            end = interrupted(message)
            changes.append((self._addition(key), _appending(key, [(end, encoded(end))], conversation, {})))
        if changes:
            await self._change_all(changes)
        return len(answers)

    def create(
        self, key: Key, conversation: Conversation, messages: Sequence[Message], then: Then = _nothing
    ) -> asyncio.Future[None]:
        """Accept a creation.

        Args:
            key: of the conversation.
            conversation: itself.
            messages: its first ones.
            then: see `_change`; False: a pending write shows that the conversation exists, and nothing was changed.
        """
        return self._change(key, _creation(key, conversation, messages), then)

    def create_all(
        self,
        user: str,
        new: Sequence[tuple[Conversation, Sequence[Message]]],
        then: Callable[[Sequence[bool]], None],
    ) -> asyncio.Future[None]:
        """Accept creations in one transaction; ``then`` gets for each what `create` says."""
        changes = [
            (self._addition((user, conversation.id)), _creation((user, conversation.id), conversation, messages))
            for conversation, messages in new
        ]
        return self._change_all(changes, lambda: then([add.adds for add, _ in changes]))

    def append(
        self,
        key: Key,
        messages: Sequence[Message],
        conversation: Conversation,
        seen: Mapping[str, int],
        then: Then = _nothing,
    ) -> asyncio.Future[None]:
        """Accept messages of a conversation.

        Args:
            key: of the conversation.
            messages: new ones, or newer revisions.
            conversation: as it is known here.
            seen: ids of messages that it has already, with their revisions.
            then: see `_change`.

        Raises:
            ConversationNotFound: its deletion is pending.
        """
        new = [(message, encoded(message)) for message in messages]
        return self._change(key, _appending(key, new, encoded(conversation), seen), then)

    def update(self, key: Key, conversation: Conversation, then: Then = _nothing) -> asyncio.Future[None]:
        """Accept an update; it replaces a pending one.

        Raises:
            ConversationNotFound: the conversation's deletion is pending.
        """

        def change(connection: sqlite3.Connection, add: Addition) -> None:
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

        return self._change(key, change, then)

    def delete(self, key: Key, then: Then = _nothing) -> asyncio.Future[None]:
        """Accept a deletion; the conversation's pending writes are erased from the file."""

        def change(connection: sqlite3.Connection, add: Addition) -> None:
            numbers = "SELECT number FROM writes WHERE user = ? AND conversation_id = ?"
            add.take_away(connection, [number for (number,) in connection.execute(numbers, key)])
            add.row(connection, Kind.DELETE)
            forget(connection, key)
            drop_attachments(connection, key)

        return self._change(key, change, then, erase_within=0)

    def save_profile(self, user: str, profile: Profile, then: Then = _nothing) -> asyncio.Future[None]:
        """Accept a profile; it replaces a pending one, unless that has the same or a higher revision."""
        key = user, PROFILE

        def change(connection: sqlite3.Connection, add: Addition) -> None:
            waiting = [write for write in rows_of(connection, key) if write.profile]
            if all(write.profile and write.profile.revision < profile.revision for write in waiting):
                add.take_away(connection, [write.number for write in waiting])
                add.row(connection, Kind.PROFILE, encoded(profile))

        return self._change(key, change, then)

    def delete_profile(self, user: str, then: Then = _nothing) -> asyncio.Future[None]:
        """Accept the deletion of a profile; its pending writes are erased from the file."""
        key = user, PROFILE

        def change(connection: sqlite3.Connection, add: Addition) -> None:
            add.take_away(connection, [write.number for write in rows_of(connection, key)])
            add.row(connection, Kind.NO_PROFILE)

        return self._change(key, change, then, erase_within=0)

    async def accepted(self) -> None:
        """Wait until all that was accepted is on the disk, also what no caller waits for any more."""
        await self._database.write(lambda _connection: None)

    async def settle(self, key: Key, numbers: Sequence[int], *, deleted: bool) -> None:
        """Delete rows that were delivered, or that never will be because the conversation is ``deleted`` in the cloud.

        Their text has left the file `ERASE_SOON_S` later; that of a ``deleted`` one, when this returns. After a power
        cut before that, they may be there again, and are delivered again.
        """

        def change(connection: sqlite3.Connection, add: Addition) -> None:
            add.take_away(connection, numbers)
            drop_attachments(connection, key)
            if deleted:
                forget(connection, key)

        erase_within = 0 if deleted else ERASE_SOON_S
        await self._change(key, change, erase_within=erase_within, durable=False)

    async def aclose(self) -> None:
        """Finish the accepted writes and close the file; idempotent."""
        await self._database.aclose()

    def _change(
        self,
        key: Key,
        change: Change,
        then: Then = _nothing,
        *,
        erase_within: float | None = None,
        durable: bool = True,
    ) -> asyncio.Future[None]:
        """Make one accepted change, count its rows, and call ``then`` with whether it added any.

        All of that happens even if the future is cancelled: a write on the disk must be delivered.
        """
        add = self._addition(key)

        def attempt(connection: sqlite3.Connection) -> None:
            add.begin()
            change(connection, add)

        def count() -> None:
            add.count()
            then(add.adds)

        return self._database.accept(attempt, count, erase_within=erase_within, durable=durable)

    def _change_all(
        self, changes: Sequence[tuple[Addition, Change]], then: Callable[[], None] = lambda: None
    ) -> asyncio.Future[None]:
        """Make changes in one transaction, count their rows, and call ``then``; as `_change` otherwise."""

        def attempt(connection: sqlite3.Connection) -> None:
            for add, change in changes:
                add.begin()
                change(connection, add)

        def count() -> None:
            for add, _ in changes:
                add.count()
            then()

        return self._database.accept(attempt, count)

    def _addition(self, key: Key) -> Addition:
        return Addition(self.depth, next(self._calls), key)


def _appending(key: Key, new: Sequence[tuple[Message, bytes]], conversation: bytes, seen: Mapping[str, int]) -> Change:
    """Return the change that accepts messages; it raises ConversationNotFound if the conversation's deletion waits."""

    def change(connection: sqlite3.Connection, add: Addition) -> None:
        if is_deleted(connection, key):
            raise ConversationNotFound
        for message, content in new:
            add.message(connection, message, content, conversation)
            if message.revision > seen.get(message.id, -1):
                remember(connection, key, message, content, conversation)

    return change


def _creation(key: Key, conversation: Conversation, messages: Sequence[Message]) -> Change:
    """Return the change that accepts a creation, unless a pending write shows that the conversation exists."""
    new = [(message, encoded(message)) for message in newest(messages)]
    conversation_data = encoded(conversation)

    def change(connection: sqlite3.Connection, add: Addition) -> None:
        if is_there(connection, key):
            return
        add.row(connection, Kind.CREATE, conversation_data)
        for message, content in new:
            add.row(connection, Kind.CREATED, None, message, content)
            remember(connection, key, message, content, conversation_data)

    return change


def _depth(connection: sqlite3.Connection) -> Depth:
    """Return the depth of the queue in the file."""
    depth = Depth({})
    now, clock = time.monotonic(), now_ms()
    for number, accepted_ms, size in connection.execute(f"SELECT number, accepted_ms, {_SIZE} AS size FROM writes"):  # noqa: S608  # a constant
        # The wall clock may have been set back since: an age is never negative.
        depth.add(number, Row(size, now - max(0, clock - accepted_ms) / 1000))
    return depth
