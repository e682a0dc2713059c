"""Conversations in one SQLite file, with Python's own sqlite3: the embedded default.

One thread writes, and commits everything that waits in its queue together; a few connections read meanwhile.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import fcntl
import json
import os
import queue
import sqlite3
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self, TypeVar

from chatapp.conversation import Conversation, FinishReason, Message, MessageStatus, Role, Usage
from chatapp.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

T = TypeVar("T")

# FULL syncs the write-ahead log at every commit: what is acknowledged survives a power cut, with NORMAL only the end of
# the process. Measured (benchmarks/store.py, 2 shared cores): 0.48 times the turns/s of NORMAL for one conversation, an
# append taking 0.5 ms instead of 0.2 ms (p50), and 0.78 times with 32 at once, which share their syncs.
SYNCHRONOUS = "FULL"
READERS = 4
MAX_PAGE = 200  # conversations
# What is only shown, never searched, is kept as JSON.
DETAILS = ("model", "usage", "seconds_to_first_token", "finish_reason", "omitted_messages", "error")
QUIET_S = 5.0  # without a write, before the file is rebuilt after a delete
APPLICATION_ID = 0x48434854  # "HCHT": tells our files from those of other programs that use SQLite

# One transaction each; ``PRAGMA user_version`` counts those applied. One that was released is never changed again.
MIGRATIONS = (
    """
    CREATE TABLE conversations (
        id TEXT NOT NULL PRIMARY KEY,
        user TEXT NOT NULL,
        title TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        model TEXT NOT NULL,
        system_prompt TEXT NOT NULL
    );
    CREATE INDEX conversations_by_update ON conversations (user, updated_ms, id);
    -- The key begins with the conversation, so that a message id can never reach into another conversation.
    CREATE TABLE messages (
        conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        id TEXT NOT NULL,
        turn_id TEXT NOT NULL,
        role TEXT NOT NULL,
        status TEXT NOT NULL,
        content TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        revision INTEGER NOT NULL,
        details TEXT NOT NULL,
        PRIMARY KEY (conversation_id, id)
    );
    CREATE INDEX messages_in_order ON messages (conversation_id, created_ms, id);
    """,
)


class SQLiteStore:
    """A `chatapp.store.ConversationStore` in one file, for one running chat and one event loop.

    A write whose caller is cancelled happens whole or not at all. A conversation that is updated while its list is
    being paged moves to the front, so none is listed twice. Half of a surrogate pair, which UTF-8 cannot hold, is kept
    as U+FFFD.

    Deleted text is overwritten, in the file and in its write-ahead log, before `delete` returns; if a reader still
    needs the log, as soon as it does not. SQLite's ``secure_delete`` misses copies left where it once moved rows within
    the file (for 0 to 4 of 600 deleted conversations, SQLite 3.40); these go with a ``VACUUM`` after `QUIET_S` without
    a write, or at the end (4 to 7 ms per MB).
    """

    def __init__(self, resources: ExitStack, writer: _Writer, readers: queue.SimpleQueue[sqlite3.Connection]) -> None:
        self._resources = resources
        self._writer = writer
        self._idle_readers = readers
        self._reader_threads = ThreadPoolExecutor(READERS, "sqlite-reader")
        self._closing = False
        self._close_once = threading.Lock()

    @classmethod
    async def open(cls, path: Path, *, busy_timeout: float = 5.0) -> Self:
        """Open the file, or make it (mode 0600, its folder 0700; what exists keeps its mode), and bring it up to date.

        ``busy_timeout``, in seconds, is how long to wait for a lock that another program holds.

        Raises:
            StoreUnavailable: another chat uses the file, it is newer than this program, it is not a chat history, or
                it cannot be read and written; the file was not changed.
        """
        return await asyncio.to_thread(cls._open, path, busy_timeout)

    @classmethod
    def _open(cls, path: Path, busy_timeout: float) -> Self:
        path = path.absolute()
        readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        with ExitStack() as resources:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                resources.enter_context(_only_chat_at(path))
                # SQLite gives its other files the mode of this one. Only a new file is opened here: closing it drops
                # every lock that this process holds on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
                with suppress(FileExistsError):
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                writer = resources.enter_context(_connection(path, busy_timeout))
                _bring_up_to_date(writer, path)
                for _ in range(READERS):
                    reader = resources.enter_context(_connection(path, busy_timeout))
                    reader.execute("PRAGMA query_only = ON")
                    readers.put(reader)
            except sqlite3.Error as error:
                raise _explained(error, f" at {path}") from error
            except OSError as error:
                raise _explained_folder(error, path) from error
            return cls(resources.pop_all(), _Writer(writer, busy_timeout), readers)

    async def conversations(self, user: str, *, limit: int = 50, cursor: str | None = None) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        limit = min(max(limit, 1), MAX_PAGE)
        updated_ms, last_id = _position(cursor)

        def query(connection: sqlite3.Connection) -> list[Conversation]:
            rows = connection.execute(
                "SELECT id, title, created_ms, updated_ms, model, system_prompt FROM conversations"
                " WHERE user = ? AND (updated_ms, id) < (?, ?) ORDER BY updated_ms DESC, id DESC LIMIT ?",
                (user, updated_ms, last_id, limit + 1),
            )
            return [Conversation(**row) for row in rows]

        found = await self._read(query)
        return Page(found[:limit], _cursor(found[limit - 1]) if len(found) > limit else None)

    async def conversation(self, user: str, conversation_id: str) -> Conversation:
        """Return one conversation."""
        return await self._read(lambda connection: _owned(connection, user, conversation_id))

    async def messages(self, user: str, conversation_id: str) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``."""

        def query(connection: sqlite3.Connection) -> list[Message]:
            _owned(connection, user, conversation_id)
            rows = connection.execute(
                "SELECT id, turn_id, role, status, content, created_ms, revision, details FROM messages"
                " WHERE conversation_id = ? ORDER BY created_ms, id",
                (conversation_id,),
            )
            return [_message(row) for row in rows]

        return await self._read(query)

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

        await self._write(change)

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

        await self._write(change)

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

        await self._write(change)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages for good."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM conversations WHERE id = ? AND user = ?", (conversation_id, user))

        await self._write(change, erases=True)

    async def aclose(self) -> None:
        """Finish what was accepted, tidy up, and close the file and its lock; a second time does nothing."""
        self._closing = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._close_once:
            self._writer.stop()
            self._reader_threads.shutdown()
            self._resources.close()

    async def _read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        def run() -> T:
            connection = self._idle_readers.get()
            try:
                connection.execute("BEGIN")  # one snapshot for all of the query
                with connection:
                    return query(connection)
            finally:
                self._idle_readers.put(connection)

        with self._errors_explained():
            return await asyncio.get_running_loop().run_in_executor(self._reader_threads, run)

    async def _write(self, change: Callable[[sqlite3.Connection], None], *, erases: bool = False) -> None:
        with self._errors_explained():
            await asyncio.wrap_future(self._writer.submit(change, erases=erases))

    @contextmanager
    def _errors_explained(self) -> Iterator[None]:
        if self._closing:
            raise StoreUnavailable("The chat is shutting down, so nothing was changed. Start it and try again.")
        try:
            yield
        except sqlite3.Error as error:
            raise _explained(error) from error
        except UnicodeEncodeError as error:  # an id that cannot be stored was never stored
            raise ConversationNotFound(detail="an id is not valid Unicode") from error


@dataclass(slots=True, eq=False)
class _Write:
    """A change that waits for the writer."""

    change: Callable[[sqlite3.Connection], None]
    erases: bool
    done: Future[None] = field(default_factory=Future)
    error: Exception | None = None

    def settle(self) -> None:
        if self.error:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(None)


class _Writer:
    """The one thread that changes the file: what waits is committed together, so many changes share one sync."""

    def __init__(self, connection: sqlite3.Connection, busy_timeout: float) -> None:
        self._connection = connection
        self._busy_timeout_ms = int(busy_timeout * 1000)
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._log_holds_deleted = False
        self._slack_holds_deleted = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, change: Callable[[sqlite3.Connection], None], *, erases: bool = False) -> Future[None]:
        """Queue a change; until it has begun it can be cancelled."""
        write = _Write(change, erases)
        self._queue.put(write)
        return write.done

    def stop(self) -> None:
        """Finish the queue and wait for the thread; a second time does nothing."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            try:
                waiting = [self._queue.get(timeout=QUIET_S if self._untidy else None)]
            except queue.Empty:
                self._tidy()
                continue
            waiting += [self._queue.get() for _ in range(self._queue.qsize())]
            stopping = None in waiting
            batch = [write for write in waiting if write and write.done.set_running_or_notify_cancel()]
            self._commit(batch)
            if any(write.erases for write in batch):
                self._log_holds_deleted = self._slack_holds_deleted = True
            if self._log_holds_deleted:
                self._empty_log()
            for write in batch:
                write.settle()
        if self._untidy:
            self._tidy()

    @property
    def _untidy(self) -> bool:
        return self._log_holds_deleted or self._slack_holds_deleted

    def _commit(self, batch: list[_Write]) -> None:
        if not batch:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            for write in batch:
                write.error = error
            return
        try:
            for write in batch:
                self._apply(write)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._connection.execute("ROLLBACK")
            if len(batch) == 1:
                batch[0].error = error
                return
            for write in batch:  # nobody's change is in; alone, those that were not the cause succeed
                self._commit([write])

    def _apply(self, write: _Write) -> None:
        """Make the change, or note why it was undone; its neighbours in the transaction stay.

        Raises:
            sqlite3.Error: SQLite undid the whole transaction, as it may when the disk is full or fails.
        """
        write.error = None
        self._connection.execute("SAVEPOINT change")
        try:
            write.change(self._connection)
        except Exception as error:  # it belongs to the caller, whatever it is; the thread must go on
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO change")
            write.error = error
        self._connection.execute("RELEASE change")

    def _tidy(self) -> None:
        """Rebuild the file after a delete, which leaves no trace of the text in it, and empty the log."""
        if self._slack_holds_deleted:
            self._slack_holds_deleted = False  # should it fail, as it may on a full disk, the next delete tries again
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA temp_store = FILE")  # the copy may be larger than the memory
                self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA temp_store = MEMORY")
        self._empty_log()

    def _empty_log(self) -> None:
        """Move the write-ahead log into the file and cut it to nothing, unless a reader still needs it."""
        self._connection.execute("PRAGMA busy_timeout = 20")  # ms: writes wait meanwhile
        with suppress(sqlite3.Error):
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._log_holds_deleted = bool(busy)
        self._connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout_ms}")


@contextmanager
def _only_chat_at(path: Path) -> Iterator[None]:
    """Hold the lock that says a chat uses this file; the system releases it even when the process is killed."""
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreUnavailable(
                f"Another running chat already uses the history at {path}. Use that one, or stop it and start again."
            ) from error
        yield
    finally:
        os.close(descriptor)


def _connection(path: Path, busy_timeout: float) -> closing[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return closing(connection)


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Check whose file it is, set the connection up for writing, and apply the migrations that are missing."""
    application_id, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application_id != APPLICATION_ID and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreUnavailable(
            f"The file at {path} belongs to another program, so it was left alone."
            " Choose another place for the chat history."
        )
    if version > len(MIGRATIONS):
        raise StoreUnavailable(
            f"The chat history at {path} was made by a newer version of this chat, so it was left alone."
            " Install that version, or choose another place for the history.",
            detail=f"schema {version}, this version knows {len(MIGRATIONS)}",
        )
    for setting in (
        "journal_mode = WAL",
        f"synchronous = {SYNCHRONOUS}",
        "fullfsync = ON",  # macOS: its fsync leaves the text in the disk's own cache
        "secure_delete = ON",
        "temp_store = MEMORY",  # savepoints: no text in other folders, and no need that they can be written
    ):
        connection.execute(f"PRAGMA {setting}")
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {migration};"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT"
        )
    connection.execute("PRAGMA foreign_keys = ON")  # after the migrations: one that rebuilds a table needs it off
    connection.executescript("BEGIN IMMEDIATE; ROLLBACK")  # says now, not at the first message, that it is read-only
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a killed chat may have left deleted text in the log


def _owned(connection: sqlite3.Connection, user: str, conversation_id: str) -> Conversation:
    row = connection.execute(
        "SELECT id, title, created_ms, updated_ms, model, system_prompt FROM conversations WHERE id = ? AND user = ?",
        (conversation_id, user),
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
    texts = {"title": _storable(conversation.title), "system_prompt": _storable(conversation.system_prompt)}
    return asdict(conversation) | texts | {"user": user}


def _message_row(conversation_id: str, message: Message) -> dict[str, Any]:
    row = asdict(message)
    details = json.dumps({name: row.pop(name) for name in DETAILS})
    return row | {"conversation_id": conversation_id, "content": _storable(message.content), "details": details}


def _message(row: sqlite3.Row) -> Message:
    known = dict(row)
    known |= json.loads(known.pop("details"))
    known["role"], known["status"] = Role(known["role"]), MessageStatus(known["status"])
    known["usage"] = known["usage"] and Usage(**known["usage"])
    known["finish_reason"] = known["finish_reason"] and FinishReason(known["finish_reason"])
    return Message(**known)


def _storable(text: str) -> str:
    """Join the halves of surrogate pairs and replace lone ones: UTF-8 has neither, and no text may be lost for it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _cursor(last: Conversation) -> str:
    return base64.urlsafe_b64encode(f"{last.updated_ms}:{last.id}".encode()).decode()


def _position(cursor: str | None) -> tuple[int, str]:
    """Return where the page begins: after this ``(updated_ms, id)``; at the very beginning if it is not a cursor."""
    beginning = 2**63 - 1, ""
    try:
        updated_ms, _, last_id = base64.urlsafe_b64decode(cursor or "").decode().partition(":")
        return min(int(updated_ms), beginning[0]), last_id
    except ValueError:
        return beginning


_EXPLANATIONS = {
    sqlite3.SQLITE_FULL: "The disk with the chat history{at} is full, so nothing was saved."
    " Free some space, then try again.",
    sqlite3.SQLITE_READONLY: "The chat history{at} may only be read, so nothing was saved."
    " Make the file and its folder writable, then try again.",
    sqlite3.SQLITE_IOERR: "The disk with the chat history{at} reports an error, so nothing was changed."
    " Check the disk, then try again.",
    sqlite3.SQLITE_BUSY: "Another program keeps the chat history{at} locked, so nothing was changed."
    " Close that program (a backup, a database viewer), then try again.",
    sqlite3.SQLITE_CANTOPEN: "The chat history{at} cannot be opened."
    " Check that it is a file which you may read and write, then try again.",
    sqlite3.SQLITE_NOTADB: "The file of the chat history{at} holds something else, so it was left alone."
    " Move it away or choose another place for the history.",
    sqlite3.SQLITE_CORRUPT: "The file of the chat history{at} is damaged, so nothing was changed."
    " Stop the chat and put back a copy from your backup.",
}


def _explained(error: sqlite3.Error, at: str = "") -> StoreUnavailable:
    """Say it in words for a person; ``at`` names the file where only its owner reads it."""
    # Errors of the module itself, such as "Cannot operate on a closed database", have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    sentence = _EXPLANATIONS.get(
        code, "The chat history{at} does not work, so nothing was changed. Try again; the log says more."
    )
    return StoreUnavailable(sentence.format(at=at), detail=f"{getattr(error, 'sqlite_errorname', '')} {error}".strip())


def _explained_folder(error: OSError, path: Path) -> StoreUnavailable:
    if error.errno == errno.ENOSPC:
        return StoreUnavailable(_EXPLANATIONS[sqlite3.SQLITE_FULL].format(at=f" at {path}"), detail=str(error))
    return StoreUnavailable(
        f"The folder of the chat history, {path.parent}, cannot be used: {os.strerror(error.errno or 0)}."
        " Make it a folder that you may write to, or choose another place for the history.",
        detail=str(error),
    )
