"""A SQLite file of the chat: opening, lock, schema migrations, and errors as sentences."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store.folding import fold
from chatapp.store.sqlite import attachments, files, library, shares, usage, vectors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

# FULL syncs the write-ahead log at every commit: acknowledged writes survive a power cut, with NORMAL only the end of
# the process. Measured (benchmarks/store.py, 2 shared cores): 0.46 to 0.48 times the turns/s of NORMAL for one
# conversation, an append taking 0.5 ms instead of 0.2 ms (p50); 0.78 to 0.89 with 32 at once, which share their syncs.
SYNCHRONOUS = "FULL"


@dataclass(frozen=True)
class Schema:
    """The schema of a file.

    Attributes:
        application_id: distinguishes it from files of other programs, and from the chat's other files.
        migrations: one transaction each; ``PRAGMA user_version`` counts those applied. One that was released is never
            changed again.
        foreign: the error for a file of another program; ``{path}`` names it.
        newer: the error for a file of a newer version of this program.
        functions: SQL functions of one text, by name.
    """

    application_id: int
    migrations: tuple[str, ...]
    foreign: str
    newer: str
    functions: Mapping[str, Callable[[str], str]] = field(default_factory=dict)


_CONVERSATIONS = """
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
    """

# Finds the answers that a killed process left as streaming, however long the history is.
_RUNNING = "CREATE INDEX messages_running ON messages (conversation_id, id) WHERE status = 'streaming'"

_PERSONAL = """
    ALTER TABLE conversations ADD COLUMN persona TEXT NOT NULL DEFAULT '';
    ALTER TABLE conversations ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE conversations ADD COLUMN archived INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE conversations ADD COLUMN branch TEXT NOT NULL DEFAULT '';
    ALTER TABLE conversations ADD COLUMN deleted_ms INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX conversations_pinned ON conversations (user, updated_ms, id) WHERE pinned;
    -- What a search compares. It stands last, so that whoever reads a message does not read it.
    ALTER TABLE messages ADD COLUMN folded TEXT NOT NULL DEFAULT '';
    UPDATE messages SET folded = fold(content);
    CREATE TABLE images (
        conversation_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        id TEXT NOT NULL,
        media_type TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (conversation_id, id),
        FOREIGN KEY (conversation_id, message_id) REFERENCES messages (conversation_id, id) ON DELETE CASCADE
    );
    CREATE INDEX images_by_message ON images (conversation_id, message_id);
    CREATE TABLE profiles (
        user TEXT NOT NULL PRIMARY KEY,
        revision INTEGER NOT NULL,
        fields TEXT NOT NULL
    );
    """

_REVOCATIONS = """
    CREATE TABLE revocations (
        user TEXT NOT NULL,
        session TEXT NOT NULL, -- "": all that began up to before_ms
        before_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        PRIMARY KEY (user, session)
    ) WITHOUT ROWID;
    CREATE INDEX revocations_by_end ON revocations (until_ms);
    """

_SESSIONS = """
    CREATE TABLE sessions (
        user TEXT NOT NULL,
        session TEXT NOT NULL,
        began_ms INTEGER NOT NULL,
        seen_ms INTEGER NOT NULL,
        device TEXT NOT NULL,
        until_ms INTEGER NOT NULL,
        PRIMARY KEY (user, session)
    ) WITHOUT ROWID;
    CREATE INDEX sessions_by_end ON sessions (until_ms);
    """

HISTORY = Schema(
    application_id=0x48434854,  # "HCHT"
    migrations=(
        *(_CONVERSATIONS, _RUNNING, _PERSONAL, _REVOCATIONS, usage.MIGRATION, _SESSIONS, shares.MIGRATION),
        *(attachments.MIGRATION, library.MIGRATION, files.MIGRATION, vectors.MIGRATION),
    ),
    functions={"fold": fold},
    foreign="The file at {path} belongs to another program, so it was not changed."
    " Choose another place for the chat history.",
    newer="The chat history at {path} was made by a newer version of this chat, so it was not changed."
    " Install that version, or choose another place for the history.",
)


class SQLiteFile:
    """An open file and its lock.

    Attributes:
        writer: the connection that may change the file.
        readers: those that may only read it.
    """

    def __init__(self, resources: ExitStack, writer: sqlite3.Connection, readers: list[sqlite3.Connection]) -> None:
        self._resources = resources
        self.writer = writer
        self.readers = readers

    @classmethod
    def open(cls, path: Path, schema: Schema, *, readers: int, busy_timeout: float) -> Self:
        """Open the file, or make it, and bring it up to date: see `chatapp.store.sqlite.store.SQLiteStore.open`.

        Raises:
            StoreUnavailable: it cannot be used; it was not changed.
        """
        path = path.absolute()
        with ExitStack() as resources:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                resources.enter_context(only_chat_at(path))
                # SQLite gives its other files the mode of this one. Only a new file is opened here: closing it drops
                # every lock that this process holds on it (https://www.sqlite.org/howtocorrupt.html, 2.2).
                with suppress(FileExistsError):
                    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
                writer = resources.enter_context(_connection(path, schema, busy_timeout))
                _bring_up_to_date(writer, path, schema)
                reading = [resources.enter_context(_connection(path, schema, busy_timeout)) for _ in range(readers)]
                for reader in reading:
                    reader.execute("PRAGMA query_only = ON")
            except sqlite3.Error as error:
                raise explained(error, f" at {path}") from error
            except OSError as error:
                raise _explained_folder(error, path) from error
            return cls(resources.pop_all(), writer, reading)

    def close(self) -> None:
        """Close the connections, then release the lock; a second time does nothing."""
        self._resources.close()


@contextmanager
def only_chat_at(path: Path) -> Iterator[None]:
    """Hold the lock of the file; the system releases it even when the process is killed."""
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


def _connection(path: Path, schema: Schema, busy_timeout: float) -> closing[sqlite3.Connection]:
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for name, function in schema.functions.items():
        connection.create_function(name, 1, function, deterministic=True)
    return closing(connection)


def _bring_up_to_date(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    """Check the application id, configure the connection for writing, and apply missing migrations."""
    application_id, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application_id != schema.application_id and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreUnavailable(schema.foreign.format(path=path))
    latest = len(schema.migrations)
    if version > latest:
        raise StoreUnavailable(schema.newer.format(path=path), detail=f"schema {version}, this version knows {latest}")
    for setting in (
        "journal_mode = WAL",
        f"synchronous = {SYNCHRONOUS}",
        "fullfsync = ON",  # macOS: its fsync leaves the text in the disk's own cache
        "secure_delete = ON",
        "temp_store = MEMORY",  # savepoints: no text in other folders, and no need that they can be written
    ):
        connection.execute(f"PRAGMA {setting}")
    for number, migration in enumerate(schema.migrations[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {migration};"
            f"PRAGMA application_id = {schema.application_id}; PRAGMA user_version = {number}; COMMIT"
        )
    connection.execute("PRAGMA foreign_keys = ON")  # after the migrations: one that rebuilds a table needs it off
    # Detects a read-only file now, not at the first message; BEGIN IMMEDIATE alone would not.
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {latest}; ROLLBACK")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a killed chat may have left deleted text in the log


_EXPLANATIONS = {
    sqlite3.SQLITE_FULL: Sentence(
        "The disk with the chat history{at} is full. Nothing was saved. Free some space, then try again."
    ),
    sqlite3.SQLITE_READONLY: Sentence(
        "The chat history{at} is read-only. Nothing was saved. Make the file and its folder writable, then try again."
    ),
    sqlite3.SQLITE_IOERR: Sentence(
        "The disk with the chat history{at} reports an error. Nothing was changed. Check the disk, then try again."
    ),
    sqlite3.SQLITE_BUSY: Sentence(
        "Another program has locked the chat history{at}. Nothing was changed. Close that program (a "
        "backup or a database viewer) and try again."
    ),
    sqlite3.SQLITE_CANTOPEN: Sentence(
        "The chat history{at} cannot be opened. Check that it is a file that you can read and write, then try again."
    ),
    sqlite3.SQLITE_NOTADB: Sentence(
        "The file of the chat history{at} is not a chat history. It was not changed. Move it, or "
        "choose another place for the history."
    ),
    sqlite3.SQLITE_CORRUPT: Sentence(
        "The file of the chat history{at} is damaged. Nothing was changed. Stop the chat and restore "
        "a copy from your backup."
    ),
}


def explained(error: sqlite3.Error, at: str = "") -> StoreUnavailable:
    """Return the error as a sentence; ``at`` names the file, for messages that only its owner reads."""
    # Errors of the module itself, such as "Cannot operate on a closed database", have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    sentence = _EXPLANATIONS.get(
        code, Sentence("The chat history{at} failed. Nothing was changed. Try again; the log has details.")
    )
    return StoreUnavailable(sentence.filled(at=at), detail=f"{getattr(error, 'sqlite_errorname', '')} {error}".strip())


def explained_disk(error: OSError) -> StoreUnavailable:
    """Return an error of the disk, beside the database, as a sentence."""
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    sentence = _EXPLANATIONS[sqlite3.SQLITE_FULL if is_full else sqlite3.SQLITE_IOERR]
    return StoreUnavailable(sentence.filled(at=""), detail=type(error).__name__)


def _explained_folder(error: OSError, path: Path) -> StoreUnavailable:
    if error.errno == errno.ENOSPC:
        return StoreUnavailable(_EXPLANATIONS[sqlite3.SQLITE_FULL].filled(at=f" at {path}"), detail=str(error))
    return StoreUnavailable(
        f"The folder of the chat history, {path.parent}, cannot be used: {os.strerror(error.errno or 0)}."
        " Make it a folder that you may write to, or choose another place for the history.",
        detail=str(error),
    )
