"""Shares in SQLite: a row for each, and rows of their pieces, which go with it; it goes with its conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import ShareNotFound
from chatapp.domain.share import Share
from chatapp.store.sqlite.rows import owned

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

MIGRATION = """
    CREATE TABLE shares (
        id TEXT NOT NULL PRIMARY KEY,
        user TEXT NOT NULL,
        conversation_id TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
        title TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        texts INTEGER NOT NULL,
        bytes INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX shares_by_user ON shares (user, created_ms);
    CREATE INDEX shares_by_conversation ON shares (conversation_id);
    CREATE TABLE share_pieces (
        share_id TEXT NOT NULL REFERENCES shares (id) ON DELETE CASCADE,
        name TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (share_id, name)
    );
    CREATE TRIGGER share_added AFTER INSERT ON shares BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + NEW.bytes WHERE user = NEW.user;
    END;
    CREATE TRIGGER share_deleted AFTER DELETE ON shares BEGIN
        UPDATE usage SET bytes = bytes - OLD.bytes WHERE user = OLD.user;
        DELETE FROM usage WHERE user = OLD.user AND bytes <= 0;
    END;
    """

_SHARE = "shares.id, conversation_id, shares.title, shares.created_ms, expires_ms, texts, shares.bytes AS size"
_OPEN = (
    f"SELECT {_SHARE} FROM shares JOIN conversations ON conversations.id = conversation_id"  # noqa: S608  # constants
    " WHERE deleted_ms = 0 AND updated_ms >= ? AND expires_ms > ?"
)


def delete_expired(connection: sqlite3.Connection) -> None:
    """Delete the shares that have expired."""
    connection.execute("DELETE FROM shares WHERE expires_ms <= ?", (now_ms(),))


def has_expired(connection: sqlite3.Connection) -> bool:
    """Return whether there are shares that have expired."""
    return connection.execute("SELECT 1 FROM shares WHERE expires_ms <= ?", (now_ms(),)).fetchone() is not None


def save_share(
    connection: sqlite3.Connection, user: str, share: Share, pieces: Mapping[str, bytes], oldest_ms: int
) -> None:
    """Add a share.

    Raises:
        ConversationNotFound: the user has no such conversation.
    """
    owned(connection, user, share.conversation_id, oldest_ms)
    row = connection.execute(
        "INSERT INTO shares (id, user, conversation_id, title, created_ms, expires_ms, texts, bytes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (
            *(share.id, user, share.conversation_id, share.title),
            *(share.created_ms, share.expires_ms, share.texts, share.size),
        ),
    )
    if row.rowcount:
        rows = [(share.id, name, data) for name, data in pieces.items()]
        connection.executemany("INSERT INTO share_pieces (share_id, name, data) VALUES (?, ?, ?)", rows)


def shares_of(connection: sqlite3.Connection, user: str, oldest_ms: int) -> list[Share]:
    """Return the shares of a user, the latest first."""
    query = f"{_OPEN} AND shares.user = ? ORDER BY shares.created_ms DESC, shares.id"
    return [Share(**row) for row in connection.execute(query, (oldest_ms, now_ms(), user))]


def delete_share(connection: sqlite3.Connection, user: str, share_id: str) -> None:
    """Delete a share of a user."""
    connection.execute("DELETE FROM shares WHERE id = ? AND user = ?", (share_id, user))


def shared(connection: sqlite3.Connection, share_id: str, oldest_ms: int) -> Share:
    """Return a share.

    Raises:
        ShareNotFound: there is none that is open.
    """
    row = connection.execute(f"{_OPEN} AND shares.id = ?", (oldest_ms, now_ms(), share_id)).fetchone()
    if row is None:
        raise ShareNotFound
    return Share(**row)


def shared_piece(connection: sqlite3.Connection, share_id: str, name: str, oldest_ms: int) -> bytes:
    """Return a piece of a share.

    Raises:
        ShareNotFound: there is none that is open, or it has no such piece.
    """
    shared(connection, share_id, oldest_ms)
    query = "SELECT data FROM share_pieces WHERE share_id = ? AND name = ?"
    row = connection.execute(query, (share_id, name)).fetchone()
    if row is None:
        raise ShareNotFound(detail="no such piece")
    return bytes(row["data"])
