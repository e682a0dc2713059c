"""The running answers of this process, as the journal records them: after a kill, the next start ends them.

They are separate from the waiting writes: a delivered part of an answer is still needed to record its end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from chatapp.domain.conversation import Message, MessageStatus, Role
from chatapp.store.journal.overlay import decoded_message

if TYPE_CHECKING:
    import sqlite3

    from chatapp.store.journal.rows import Key


class Abandoned(NamedTuple):
    """An answer that a former process left as running.

    Attributes:
        conversation: its conversation, as the journal stores it.
    """

    key: Key
    message: Message
    conversation: bytes


def remember(connection: sqlite3.Connection, key: Key, message: Message, content: bytes, conversation: bytes) -> None:
    """Record the newest revision of a running answer; delete the record of one that has ended."""
    if message.role is Role.USER:
        return
    if message.status is MessageStatus.STREAMING:
        connection.execute(
            "INSERT INTO running (user, conversation_id, message_id, revision, conversation, message)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision,"
            " message = excluded.message WHERE excluded.revision > revision",
            (*key, message.id, message.revision, conversation, content),
        )
    else:
        query = "DELETE FROM running WHERE user = ? AND conversation_id = ? AND message_id = ? AND revision < ?"
        connection.execute(query, (*key, message.id, message.revision))


def forget(connection: sqlite3.Connection, key: Key) -> None:
    """Delete the records of a conversation's answers."""
    connection.execute("DELETE FROM running WHERE user = ? AND conversation_id = ?", key)


def abandoned(connection: sqlite3.Connection) -> list[Abandoned]:
    """Return all recorded answers."""
    rows = connection.execute("SELECT user, conversation_id, message, conversation FROM running")
    return [
        Abandoned((row["user"], row["conversation_id"]), decoded_message(row["message"]), row["conversation"])
        for row in rows
    ]


def interrupted(message: Message) -> Message:
    """Return an abandoned answer as interrupted."""
    return replace(message, status=MessageStatus.INTERRUPTED, revision=message.revision + 1)
