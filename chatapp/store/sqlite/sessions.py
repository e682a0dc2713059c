"""Sessions in SQLite: a row for each until its cookie has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.conversation import now_ms
from chatapp.store import SessionRecord

if TYPE_CHECKING:
    import sqlite3


def sessions_of(connection: sqlite3.Connection, user: str) -> list[SessionRecord]:
    """Return the sessions of a user, the last used first."""
    rows = connection.execute(
        "SELECT session, began_ms, seen_ms, device FROM sessions WHERE user = ? AND until_ms > ?"
        " ORDER BY seen_ms DESC, session",
        (user, now_ms()),
    )
    return [
        SessionRecord(id=row["session"], began_ms=row["began_ms"], seen_ms=row["seen_ms"], device=row["device"])
        for row in rows
    ]


def save_session(connection: sqlite3.Connection, user: str, session: SessionRecord, until_ms: int) -> None:
    """Add or replace a session, and delete expired ones."""
    connection.execute("DELETE FROM sessions WHERE until_ms < ?", (now_ms(),))
    connection.execute(
        "INSERT OR REPLACE INTO sessions (user, session, began_ms, seen_ms, device, until_ms)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (user, session.id, session.began_ms, session.seen_ms, session.device, until_ms),
    )
