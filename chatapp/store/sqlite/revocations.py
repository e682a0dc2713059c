"""Revoked sessions in SQLite: a row for each until its cookie has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.conversation import now_ms
from chatapp.store import Revocations

if TYPE_CHECKING:
    import sqlite3

_REVOKE = (
    "INSERT INTO revocations (user, session, before_ms, until_ms) VALUES (?, ?, ?, ?) ON CONFLICT (user, session)"
    " DO UPDATE SET before_ms = max(before_ms, excluded.before_ms), until_ms = max(until_ms, excluded.until_ms)"
)


def revocations_of(connection: sqlite3.Connection, user: str) -> Revocations:
    """Return which sessions of a user are revoked."""
    rows = connection.execute("SELECT session, before_ms FROM revocations WHERE user = ?", (user,)).fetchall()
    return Revocations(
        before_ms=max((row["before_ms"] for row in rows), default=0),
        sessions=frozenset(row["session"] for row in rows if row["session"]),
    )


def revoke(connection: sqlite3.Connection, user: str, session: str, before_ms: int, until_ms: int) -> None:
    """Revoke a session, or all that began up to ``before_ms``, and delete expired revocations."""
    connection.execute("DELETE FROM revocations WHERE until_ms < ?", (now_ms(),))
    if session:
        connection.execute(_REVOKE, (user, session, 0, until_ms))
    if before_ms:
        connection.execute(_REVOKE, (user, "", before_ms, until_ms))
