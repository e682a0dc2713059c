"""Rows of the journal: what an accepted call adds and removes, and how much waits."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from chatapp.domain.conversation import now_ms
from chatapp.store.journal.images import keep_images
from chatapp.store.journal.overlay import Kind, Waiting, decoded_conversation, decoded_message, decoded_profile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from chatapp.domain.conversation import Message

Key = tuple[str, str]  # user, conversation id
PROFILE = "~profile"  # stands where a conversation's id does; no conversation can have it


class Row(NamedTuple):
    """A write as it counts: its size in bytes, and since when it waits, by the monotonic clock."""

    size: int
    since: float


@dataclass(slots=True)
class Depth:
    """How much waits.

    Attributes:
        rows: by number.
        size: bytes of all of them.
    """

    rows: dict[int, Row]
    size: int = 0

    def add(self, number: int, row: Row) -> None:
        """Count a row."""
        self.rows[number] = row
        self.size += row.size

    def remove(self, numbers: Sequence[int]) -> None:
        """Count rows no more; those that were not counted are fine."""
        for number in numbers:
            row = self.rows.pop(number, None)
            self.size -= row.size if row else 0

    @property
    def age(self) -> float:
        """Seconds since the oldest was accepted; 0 when nothing waits. The clock of the day does not matter."""
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
        """Forget an attempt that was undone: the writer may make a change a second time."""
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
    ) -> None:
        """Add a row."""
        accepted_ms, since_s = since or self._accepted
        facts = (message.id, message.revision, message.created_ms) if message else (None, None, None)
        image_bytes = keep_images(connection, self._key, message) if message else 0
        number = connection.execute(
            "INSERT INTO writes (call, user, conversation_id, kind, accepted_ms, message_id, revision, created_ms,"
            " conversation, message, image_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (self._call, *self._key, kind, accepted_ms, *facts, conversation, content, image_bytes),
        ).lastrowid
        self._added[number or 0] = Row(len(conversation or b"") + len(content or b"") + image_bytes, since_s)

    def message(self, connection: sqlite3.Connection, message: Message, content: bytes, known: bytes) -> None:
        """Add a message to append, unless what waits says as much, and take away what it makes superfluous.

        An append also says when the conversation was last written to; so an older revision stays in the rare case that
        it has the later ``created_ms``. A creation does not say it, and counts for nothing if the cloud has the
        conversation already: so what only a creation holds is taken away, but never makes an append superfluous.
        """
        newer, older = [], []
        for row in connection.execute(
            "SELECT number, kind, revision, created_ms, accepted_ms FROM writes"
            " WHERE user = ? AND conversation_id = ? AND message_id = ?",
            (*self._key, message.id),
        ).fetchall():
            appended = row["kind"] == Kind.APPEND
            if row["revision"] < message.revision and (not appended or row["created_ms"] <= message.created_ms):
                older.append(row)
            elif appended and row["revision"] >= message.revision and row["created_ms"] >= message.created_ms:
                newer.append(row)
        if newer:
            return
        since = self._accepted
        for row in older:  # what it replaces has been waiting for longer
            counted = self._added.get(row["number"]) or self._depth.rows.get(row["number"])
            since = min(since[0], row["accepted_ms"]), min(since[1], counted.since if counted else since[1])
        self.take_away(connection, [row["number"] for row in older])
        self.row(connection, Kind.APPEND, None if self._added else known, message, content, since)

    def take_away(self, connection: sqlite3.Connection, numbers: Sequence[int]) -> None:
        """Delete rows."""
        connection.executemany("DELETE FROM writes WHERE number = ?", [(number,) for number in numbers])
        for number in numbers:
            if not self._added.pop(number, None):
                self._removed.append(number)

    @property
    def adds(self) -> bool:
        """Whether it added anything."""
        return bool(self._added)

    def count(self) -> None:
        """Count the change."""
        self._depth.remove(self._removed)
        for number, row in self._added.items():
            self._depth.add(number, row)


def is_deleted(connection: sqlite3.Connection, key: Key) -> bool:
    """Return whether a conversation's deletion waits, and no creation after it."""
    query = "SELECT kind FROM writes WHERE user = ? AND conversation_id = ? AND message_id IS NULL"
    kinds = {kind for (kind,) in connection.execute(query, key)}
    return Kind.DELETE in kinds and Kind.CREATE not in kinds


def deletion_waits(connection: sqlite3.Connection, key: Key) -> bool:
    """Return whether a conversation's deletion waits, whatever comes after it."""
    query = "SELECT 1 FROM writes WHERE user = ? AND conversation_id = ? AND kind = ? LIMIT 1"
    return connection.execute(query, (*key, Kind.DELETE)).fetchone() is not None


def is_there(connection: sqlite3.Connection, key: Key) -> bool:
    """Return whether what waits says that there is such a conversation."""
    query = "SELECT 1 FROM writes WHERE user = ? AND conversation_id = ? AND kind != ? LIMIT 1"
    return connection.execute(query, (*key, Kind.DELETE)).fetchone() is not None


def rows_of(connection: sqlite3.Connection, key: Key) -> Iterator[Waiting]:
    """Return what waits of a conversation, in order, each row read when it is asked for."""
    for row in connection.execute(
        "SELECT number, call, kind, created_ms, conversation, image_bytes, message FROM writes"
        " WHERE user = ? AND conversation_id = ? ORDER BY number",
        key,
    ):
        yield waiting_of(row, row["message"])


def waiting_of(row: sqlite3.Row, message: bytes | None = None) -> Waiting:
    """Return the write that a row holds, with its message or without."""
    kind, conversation = Kind(row["kind"]), row["conversation"]
    return Waiting(
        number=row["number"],
        call=row["call"],
        kind=kind,
        conversation=decoded_conversation(conversation) if conversation and kind is not Kind.PROFILE else None,
        profile=decoded_profile(conversation) if conversation and kind is Kind.PROFILE else None,
        message=decoded_message(message) if message else None,
        created_ms=row["created_ms"] or 0,
        size=len(conversation or b"") + len(message or b"") + row["image_bytes"],
    )
