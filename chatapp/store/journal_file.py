"""The SQLite file of the journal: opening it, its versions, and which cloud its writes are for."""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from chatapp.errors import StoreUnavailable
from chatapp.store.sqlite_file import (
    SYNCHRONOUS,
    SQLiteFile,
    _connection,
    _explained_folder,
    _only_chat_at,
    explained,
)

if TYPE_CHECKING:
    from pathlib import Path

APPLICATION_ID = 0x484A524E  # "HJRN": no history, and no file of another program
BUSY_TIMEOUT_S = 5.0
READERS = 2

# As in `chatapp.store.sqlite_file`: one transaction each, and one that was released is never changed again.
MIGRATIONS = (
    """
    -- One row for each thing that is to be done in the cloud; what was accepted together shares its ``call``.
    -- A number is never used twice: a late note that a row was delivered takes no newer one away.
    -- Texts stand last, so that a look at the others reads no text.
    CREATE TABLE writes (
        number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        call INTEGER NOT NULL,
        user TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        accepted_ms INTEGER NOT NULL,
        message_id TEXT,
        revision INTEGER,
        created_ms INTEGER,
        conversation BLOB,
        message BLOB
    );
    CREATE INDEX writes_in_order ON writes (user, conversation_id, number);
    CREATE INDEX writes_by_message ON writes (user, conversation_id, message_id);
    CREATE TABLE destination (name TEXT NOT NULL);
    """,
)


def open_journal(path: Path, destination: str) -> SQLiteFile:
    """Open the journal, or make it (as `SQLiteFile.open` does), for writes to this cloud.

    Raises:
        StoreUnavailable: it cannot be used, or holds writes for another ``destination``; it was not changed.
    """
    path = path.absolute()
    with ExitStack() as resources:
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            resources.enter_context(_only_chat_at(path))
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            writer = resources.enter_context(_connection(path, BUSY_TIMEOUT_S))
            _bring_up_to_date(writer, path)
            _check_destination(writer, path, destination)
            reading = [resources.enter_context(_connection(path, BUSY_TIMEOUT_S)) for _ in range(READERS)]
            for reader in reading:
                reader.execute("PRAGMA query_only = ON")
        except sqlite3.Error as error:
            raise explained(error, f" at {path}") from error
        except OSError as error:
            raise _explained_folder(error, path) from error
        return SQLiteFile(resources.pop_all(), writer, reading)


def _bring_up_to_date(connection: sqlite3.Connection, path: Path) -> None:
    """Check that it is a journal, set the connection up for writing, and apply the migrations that are missing."""
    application_id, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    if application_id != APPLICATION_ID and connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        raise StoreUnavailable(
            f"The file at {path} is not the chat's journal, so it was left alone. Move it away and start again."
        )
    if version > len(MIGRATIONS):
        raise StoreUnavailable(
            f"The chat's journal at {path} was made by a newer version of this chat, so it was left alone. Start that"
            " version once, so that it saves what waits there.",
            detail=f"schema {version}, this version knows {len(MIGRATIONS)}",
        )
    for setting in (
        "journal_mode = WAL",
        f"synchronous = {SYNCHRONOUS}",
        "fullfsync = ON",
        "secure_delete = ON",
        "temp_store = MEMORY",
    ):
        connection.execute(f"PRAGMA {setting}")
    for number, migration in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {migration};"
            f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT"
        )
    # Says now, not at the first message, that the file is read-only.
    connection.executescript(f"BEGIN IMMEDIATE; PRAGMA user_version = {len(MIGRATIONS)}; ROLLBACK")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a killed chat may have left text in the log


def _check_destination(connection: sqlite3.Connection, path: Path, destination: str) -> None:
    known = connection.execute("SELECT name FROM destination").fetchone()
    if known and known["name"] == destination:
        return
    (waiting,) = connection.execute("SELECT count(*) FROM writes").fetchone()
    if known and waiting:
        raise StoreUnavailable(
            f"The chat's journal at {path} holds {waiting:,} writes for {known['name']}, and this chat saves to"
            f" {destination}. Start it once with the former settings, so that they are saved there; or move the file"
            " away, and they are lost."
        )
    connection.executescript("BEGIN IMMEDIATE; DELETE FROM destination")
    connection.execute("INSERT INTO destination VALUES (?)", (destination,))
    connection.execute("COMMIT")
