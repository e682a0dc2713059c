"""The SQLite file of the journal: opening it, its versions, and which cloud its writes are for."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack
from typing import TYPE_CHECKING

from chatapp.domain.errors import StoreUnavailable
from chatapp.store.sqlite.file import Schema, SQLiteFile, explained

if TYPE_CHECKING:
    from pathlib import Path

BUSY_TIMEOUT_S = 5.0
READERS = 2

_WRITES = """
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
    """

_RUNNING = """
    -- The answers that are being written now; the next start finds here what a killed chat left.
    CREATE TABLE running (
        user TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        revision INTEGER NOT NULL,
        conversation BLOB NOT NULL,
        message BLOB NOT NULL,
        PRIMARY KEY (user, conversation_id, message_id)
    );
    """

_IMAGES = """
    -- Images of the messages that wait, until nothing of their message does. ``image_bytes`` is what a message's take.
    CREATE TABLE images (
        user TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        media_type TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (user, conversation_id, id)
    );
    CREATE INDEX images_by_message ON images (user, conversation_id, message_id);
    ALTER TABLE writes ADD COLUMN image_bytes INTEGER NOT NULL DEFAULT 0;
    """

_DOCUMENTS = """
    -- As images.
    CREATE TABLE documents (
        user TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        pages INTEGER NOT NULL,
        size INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (user, conversation_id, id)
    );
    CREATE INDEX documents_by_message ON documents (user, conversation_id, message_id);
    ALTER TABLE writes RENAME COLUMN image_bytes TO attachment_bytes;
    """

JOURNAL = Schema(
    application_id=0x484A524E,  # "HJRN"
    migrations=(_WRITES, _RUNNING, _IMAGES, _DOCUMENTS),
    foreign="The file at {path} is not the chat's journal, so it was not changed. Move it away and start again.",
    newer="The chat's journal at {path} was written by a newer version of this chat, so it was not changed."
    " Start that version once, so that it delivers the pending writes.",
)


def open_journal(path: Path, destination: str) -> SQLiteFile:
    """Open the journal, or make it (as `SQLiteFile.open` does), for writes to this cloud.

    Raises:
        StoreUnavailable: it cannot be used, or holds writes for another ``destination``; it was not changed.
    """
    path = path.absolute()
    with ExitStack() as resources:
        file = SQLiteFile.open(path, JOURNAL, readers=READERS, busy_timeout=BUSY_TIMEOUT_S)
        resources.callback(file.close)
        try:
            _check_destination(file.writer, path, destination)
        except sqlite3.Error as error:
            raise explained(error, f" at {path}") from error
        resources.pop_all()
    return file


def _check_destination(connection: sqlite3.Connection, path: Path, destination: str) -> None:
    stored = connection.execute("SELECT name FROM destination").fetchone()
    if stored and stored["name"] == destination:
        return
    count = "SELECT (SELECT count(*) FROM writes) + (SELECT count(*) FROM running)"
    (waiting,) = connection.execute(count).fetchone()
    if stored and waiting:
        raise StoreUnavailable(
            f"The chat's journal at {path} holds {waiting:,} writes for {stored['name']}, and this chat saves to"
            f" {destination}. Start it once with the former settings to deliver them, or move the file away to discard"
            " them."
        )
    connection.executescript("BEGIN IMMEDIATE; DELETE FROM destination")
    connection.execute("INSERT INTO destination VALUES (?)", (destination,))
    connection.execute("COMMIT")
