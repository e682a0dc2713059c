"""Conversations in one SQLite file, with Python's own sqlite3: the embedded default.

One thread writes, and commits everything that waits in its queue together; a few connections read meanwhile. This is
the store and its SQL; `sqlite_file` opens the file and says what its errors mean, `sqlite_database` reads and writes it
by way of `sqlite_writer`, which is that thread.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Self

import structlog

from chatapp.conversation import Conversation, FinishReason, Message, MessageStatus, Role, Usage
from chatapp.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Page, StoreStatus
from chatapp.store.sqlite_database import SQLiteDatabase
from chatapp.store.sqlite_file import HISTORY, SQLiteFile
from chatapp.store.sqlite_retention import Retention
from chatapp.store.values import MAX_PAGE, cursor_after, position, storable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable
    from pathlib import Path

READERS = 4
# What is only shown, never searched, is kept as JSON.
DETAILS = ("model", "usage", "seconds_to_first_token", "finish_reason", "omitted_messages", "error")
_MESSAGES = "SELECT id, turn_id, role, status, content, created_ms, revision, details FROM messages"

log = structlog.get_logger(__name__)


class SQLiteStore:
    """A `chatapp.store.ConversationStore` in one file, for one running chat and one event loop.

    What a former chat left as running is marked as interrupted when the file is opened: nobody else can be writing it.

    A write whose caller is cancelled happens whole or not at all. A conversation that is updated while its list is
    being paged moves to the front, so none is listed twice. Half of a surrogate pair, which UTF-8 cannot hold, is kept
    as U+FFFD.

    Deleted text is overwritten, in the file and in its write-ahead log, before `delete` returns; if a reader still
    needs the log, as soon as it does not. SQLite's ``secure_delete`` misses copies left where it once moved rows within
    the file (for 0 to 4 of 600 deleted conversations, SQLite 3.40); these go with a ``VACUUM`` after
    `sqlite_writer.QUIET_S` without a write, or at the end (4 to 7 ms per MB).
    """

    def __init__(self, database: SQLiteDatabase, *, retention_days: int | None = None) -> None:
        self._database = database
        self._retention = Retention(database, retention_days)
        self._retention.start()

    @classmethod
    async def open(cls, path: Path, *, busy_timeout: float = 5.0, retention_days: int | None = None) -> Self:
        """Open the file, or make it (mode 0600, its folder 0700; what exists keeps its mode), and bring it up to date.

        ``busy_timeout``, in seconds, is how long to wait for a lock that another program holds. For
        ``retention_days`` see `chatapp.store.sqlite_retention.Retention`.

        Raises:
            StoreUnavailable: another chat uses the file, it is newer than this program, it is not a chat history, or
                it cannot be read and written; the file was not changed.
        """
        file = await asyncio.to_thread(SQLiteFile.open, path, HISTORY, readers=READERS, busy_timeout=busy_timeout)
        database = SQLiteDatabase(file, busy_timeout)
        try:
            await database.write(_interrupt)
        except StoreUnavailable as error:  # a full disk, which must not keep the history from being read
            log.warning("answers_not_interrupted", detail=error.detail)
        return cls(database, retention_days=retention_days)

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, fresh: bool = True
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        del fresh  # the file always is
        limit = min(max(limit, 1), MAX_PAGE)
        updated_ms, last_id = position(cursor)
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> list[Conversation]:
            rows = connection.execute(
                "SELECT id, title, created_ms, updated_ms, model, system_prompt FROM conversations"
                " WHERE user = ? AND updated_ms >= ? AND (updated_ms, id) < (?, ?)"
                " ORDER BY updated_ms DESC, id DESC LIMIT ?",
                (user, oldest_ms, updated_ms, last_id, limit + 1),
            )
            return [Conversation(**row) for row in rows]

        found = await self._database.read(query)
        return Page(found[:limit], cursor_after(found[limit - 1]) if len(found) > limit else None)

    async def conversation(self, user: str, conversation_id: str, *, fresh: bool = True) -> Conversation:
        """Return one conversation."""
        del fresh
        oldest_ms = self._retention.oldest_ms
        return await self._database.read(lambda connection: _owned(connection, user, conversation_id, oldest_ms))

    async def messages(self, user: str, conversation_id: str, *, fresh: bool = True) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``."""
        del fresh
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> list[Message]:
            _owned(connection, user, conversation_id, oldest_ms)
            rows = connection.execute(
                f"{_MESSAGES} WHERE conversation_id = ? AND created_ms >= ? ORDER BY created_ms, id",
                (conversation_id, oldest_ms),
            )
            return [_message(row) for row in rows]

        return await self._database.read(query)

    async def message(self, user: str, conversation_id: str, message_id: str, *, fresh: bool = True) -> Message:
        """Return one message."""
        del fresh
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> Message:
            _owned(connection, user, conversation_id, oldest_ms)
            row = connection.execute(
                f"{_MESSAGES} WHERE conversation_id = ? AND id = ? AND created_ms >= ?",
                (conversation_id, message_id, oldest_ms),
            ).fetchone()
            if row is None:
                raise ConversationNotFound(detail="no such message")
            return _message(row)

        return await self._database.read(query)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""

        def change(connection: sqlite3.Connection) -> None:
            added = connection.execute(
                "INSERT INTO conversations (id, user, title, created_ms, updated_ms, model, system_prompt)"
                " VALUES (:id, :user, :title, :created_ms, :updated_ms, :model, :system_prompt)"
                " ON CONFLICT (id) DO NOTHING",
                _conversation_row(user, conversation),
            )
            if added.rowcount:
                _put(connection, conversation.id, messages)
            else:
                _owned(connection, user, conversation.id)

        await self._database.write(change)

    async def update(self, user: str, conversation: Conversation) -> None:
        """Replace title, model, system prompt and ``updated_ms`` (which never goes back)."""

        def change(connection: sqlite3.Connection) -> None:
            changed = connection.execute(
                "UPDATE conversations SET title = :title, model = :model, system_prompt = :system_prompt,"
                " updated_ms = max(updated_ms, :updated_ms) WHERE id = :id AND user = :user",
                _conversation_row(user, conversation),
            )
            if not changed.rowcount:
                raise ConversationNotFound

        await self._database.write(change)

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""

        def change(connection: sqlite3.Connection) -> None:
            newest_ms = max((message.created_ms for message in messages), default=0)
            changed = connection.execute(
                "UPDATE conversations SET updated_ms = max(updated_ms, ?) WHERE id = ? AND user = ?",
                (newest_ms, conversation_id, user),
            )
            if not changed.rowcount:
                raise ConversationNotFound
            _put(connection, conversation_id, messages)

        await self._database.write(change)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages for good."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM conversations WHERE id = ? AND user = ?", (conversation_id, user))

        await self._database.write(change, erases=True)

    def status(self) -> StoreStatus:
        """Return that nothing waits: a write is in the file when it returns."""
        return StoreStatus()

    async def aclose(self) -> None:
        """Finish what was accepted, tidy up, and close the file and its lock; a second time does nothing."""
        await self._retention.aclose()
        await self._database.aclose()


def _interrupt(connection: sqlite3.Connection) -> None:
    """Mark what was running as interrupted, as a newer revision."""
    interrupted = connection.execute(
        "UPDATE messages SET status = ?, revision = revision + 1 WHERE status = 'streaming'",  # as the index says it
        (MessageStatus.INTERRUPTED,),
    )
    if interrupted.rowcount:
        log.warning("answers_interrupted", number=interrupted.rowcount)


def _owned(connection: sqlite3.Connection, user: str, conversation_id: str, oldest_ms: int = 0) -> Conversation:
    row = connection.execute(
        "SELECT id, title, created_ms, updated_ms, model, system_prompt FROM conversations"
        " WHERE id = ? AND user = ? AND updated_ms >= ?",
        (conversation_id, user, oldest_ms),
    ).fetchone()
    if row is None:
        raise ConversationNotFound
    return Conversation(**row)


def _put(connection: sqlite3.Connection, conversation_id: str, messages: Iterable[Message]) -> None:
    connection.executemany(
        "INSERT INTO messages (conversation_id, id, turn_id, role, status, content, created_ms, revision, details)"
        " VALUES (:conversation_id, :id, :turn_id, :role, :status, :content, :created_ms, :revision, :details)"
        " ON CONFLICT (conversation_id, id) DO UPDATE SET turn_id = excluded.turn_id, role = excluded.role,"
        " status = excluded.status, content = excluded.content, created_ms = excluded.created_ms,"
        " revision = excluded.revision, details = excluded.details WHERE excluded.revision > revision",
        [_message_row(conversation_id, message) for message in messages],
    )


def _conversation_row(user: str, conversation: Conversation) -> dict[str, Any]:
    texts = {"title": storable(conversation.title), "system_prompt": storable(conversation.system_prompt)}
    return asdict(conversation) | texts | {"user": user}


def _message_row(conversation_id: str, message: Message) -> dict[str, Any]:
    row = asdict(message)
    details = json.dumps({name: row.pop(name) for name in DETAILS})
    return row | {"conversation_id": conversation_id, "content": storable(message.content), "details": details}


def _message(row: sqlite3.Row) -> Message:
    known = dict(row)
    known |= json.loads(known.pop("details"))
    known["role"], known["status"] = Role(known["role"]), MessageStatus(known["status"])
    known["usage"] = known["usage"] and Usage(**known["usage"])
    known["finish_reason"] = known["finish_reason"] and FinishReason(known["finish_reason"])
    return Message(**known)
