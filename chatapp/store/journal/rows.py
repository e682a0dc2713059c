"""Rows of the journal: what an accepted call adds and removes, and the depth of the queue."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from chatapp.domain.conversation import now_ms, revised
from chatapp.store.journal.attachments import keep_attachments
from chatapp.store.journal.overlay import Kind, Waiting, decoded_conversation, decoded_message, decoded_profile, encoded

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from chatapp.domain.conversation import Message

Key = tuple[str, str]  # user, conversation id
PROFILE = "~profile"  # in place of a conversation id; no conversation can have it


class Row(NamedTuple):
    """The size of a write in bytes, and when it was accepted, by the monotonic clock."""

    size: int
    since: float


@dataclass(slots=True)
class Depth:
    """The depth of the queue.

    Attributes:
        rows: by number.
        size: bytes of all of them.
    """

    rows: dict[int, Row]
    size: int = 0
    _gone: set[int] = field(default_factory=set)  # deleted before they were counted

    def add(self, number: int, row: Row) -> None:
        """Count a row, unless it was delivered and deleted before its own call got here."""
        if number in self._gone:
            self._gone.remove(number)
            return
        self.rows[number] = row
        self.size += row.size

    def remove(self, numbers: Sequence[int]) -> None:
        """Stop counting deleted rows."""
        for number in numbers:
            if row := self.rows.pop(number, None):
                self.size -= row.size
            else:
                self._gone.add(number)

    @property
    def age(self) -> float:
        """Seconds since the oldest write was accepted, by the monotonic clock; 0 if none is pending."""
        return time.monotonic() - min(row.since for row in self.rows.values()) if self.rows else 0.0


class Addition:
    """What one accepted call changes in the table, counted once it is committed."""

    def __init__(self, depth: Depth, call: int, key: Key) -> None:
        self._depth = depth
        self._call = call
        self._key = key
        self._accepted = now_ms(), time.monotonic()
        self.begin()

    def begin(self) -> None:
        """Discard a rolled-back attempt: the writer may retry a change."""
        self._added: dict[int, Row] = {}
        self._removed: list[int] = []

    def row(
        self,
        connection: sqlite3.Connection,
        kind: Kind,
        conversation: bytes | None = None,
        message: Message | None = None,
        content: bytes | None = None,
        since: tuple[int, float] | None = None,
        call: int | None = None,
    ) -> None:
        """Add a row; ``call`` is that of a row that it supersedes."""
        accepted_ms, since_s = since or self._accepted
        facts = (message.id, message.revision, message.created_ms) if message else (None, None, None)
        attachment_bytes = keep_attachments(connection, self._key, message) if message else 0
        number = connection.execute(
            "INSERT INTO writes (call, user, conversation_id, kind, accepted_ms, message_id, revision, created_ms,"
            " conversation, message, attachment_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                self._call if call is None else call,
                *self._key,
                kind,
                accepted_ms,
                *facts,
                conversation,
                content,
                attachment_bytes,
            ),
        ).lastrowid
        self._added[number or 0] = Row(len(conversation or b"") + len(content or b"") + attachment_bytes, since_s)

    def message(self, connection: sqlite3.Connection, message: Message, content: bytes, conversation: bytes) -> None:
        """Add an append, unless a pending append supersedes it, and delete the rows that it supersedes.

        An append also sets the conversation's ``updated_ms``; so an older revision stays in the rare case that it has
        the later ``created_ms``. The messages of a call reach the cloud together, so that no other replica sees a
        question without its answer: a row takes the place of the one that it supersedes, and keeps its rating if
        that is later. A message of a creation, which has no effect if the cloud has the conversation already, neither
        supersedes nor is superseded.
        """
        newer, older = [], []
        for row in connection.execute(
            "SELECT number, call, kind, revision, created_ms, accepted_ms,"
            " iif(instr(message, ?), message, NULL) AS rated FROM writes"
            " WHERE user = ? AND conversation_id = ? AND message_id = ?",
            (b'"feedback_ms":', *self._key, message.id),
        ).fetchall():
            if row["kind"] != Kind.APPEND:
                continue
            if row["revision"] < message.revision and row["created_ms"] <= message.created_ms:
                older.append(row)
            elif row["revision"] >= message.revision and row["created_ms"] >= message.created_ms:
                newer.append(row)
        if newer and not message.feedback_ms:  # a rating counts by its time
            return
        since = self._accepted
        for row in older:  # it inherits the age of the rows that it replaces
            counted = self._added.get(row["number"]) or self._depth.rows.get(row["number"])
            since = min(since[0], row["accepted_ms"]), min(since[1], counted.since if counted else since[1])
            if row["rated"] and (merged := revised(decoded_message(row["rated"]), message)) is not message:
                message, content = merged, encoded(merged)
        self.take_away(connection, [row["number"] for row in older])
        call = min((row["call"] for row in older), default=None)
        self.row(connection, Kind.APPEND, None if self._added else conversation, message, content, since, call)

    def take_away(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Delete rows."""
        for number in numbers:
            deleted = connection.execute("DELETE FROM writes WHERE number = ?", (number,))
            if not self._added.pop(number, None) and deleted.rowcount:
                self._removed.append(number)

    @property
    def adds(self) -> bool:
        """Whether it added anything."""
        return bool(self._added)

    def count(self) -> None:
        """Apply the change to the depth."""
        self._depth.remove(self._removed)
        for number, row in self._added.items():
            self._depth.add(number, row)


def is_deleted(connection: sqlite3.Connection, key: Key) -> bool:
    """Return whether a conversation's deletion is pending, with no creation after it."""
    query = "SELECT kind FROM writes WHERE user = ? AND conversation_id = ? AND message_id IS NULL"
    kinds = {kind for (kind,) in connection.execute(query, key)}
    return Kind.DELETE in kinds and Kind.CREATE not in kinds


def deletion_waits(connection: sqlite3.Connection, key: Key) -> bool:
    """Return whether a conversation's deletion is pending, even with a creation after it."""
    query = "SELECT 1 FROM writes WHERE user = ? AND conversation_id = ? AND kind = ? LIMIT 1"
    return connection.execute(query, (*key, Kind.DELETE)).fetchone() is not None


def is_there(connection: sqlite3.Connection, key: Key) -> bool:
    """Return whether a conversation has a pending write other than its deletion."""
    query = "SELECT 1 FROM writes WHERE user = ? AND conversation_id = ? AND kind != ? LIMIT 1"
    return connection.execute(query, (*key, Kind.DELETE)).fetchone() is not None


def rows_of(connection: sqlite3.Connection, key: Key) -> Iterator[Waiting]:
    """Yield the pending writes of a conversation in the order of their calls; rows are read lazily."""
    for row in connection.execute(
        "SELECT number, call, kind, created_ms, conversation, attachment_bytes, message FROM writes"
        " WHERE user = ? AND conversation_id = ? ORDER BY call, number",
        key,
    ):
        yield waiting_of(row, row["message"])


def waiting_of(row: sqlite3.Row, message: bytes | None = None) -> Waiting:
    """Return the write of a row, with or without its message."""
    kind, conversation = Kind(row["kind"]), row["conversation"]
    return Waiting(
        number=row["number"],
        call=row["call"],
        kind=kind,
        conversation=decoded_conversation(conversation) if conversation and kind is not Kind.PROFILE else None,
        profile=decoded_profile(conversation) if conversation and kind is Kind.PROFILE else None,
        message=decoded_message(message) if message else None,
        created_ms=row["created_ms"] or 0,
        size=len(conversation or b"") + len(message or b"") + row["attachment_bytes"],
    )
