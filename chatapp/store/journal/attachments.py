"""The images and documents of waiting messages: their data, in tables apart from the writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.store import codec
from chatapp.store.sqlite.attachments import TABLES, put_attachments

if TYPE_CHECKING:
    import sqlite3

    from chatapp.domain.conversation import AttachmentT, Message
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.rows import Key


def keep_attachments(connection: sqlite3.Connection, key: Key, message: Message) -> int:
    """Store the attachments of a message that have data; return the total size of its stored ones in bytes."""
    if not message.attachments:
        return 0
    of_message = dict(zip(("user", "conversation_id", "message_id"), (*key, message.id), strict=True))
    put_attachments(connection, of_message, message)
    sizes = (
        connection.execute(
            f"SELECT ifnull(sum(length(data)), 0) FROM {table}"  # noqa: S608  # a constant
            " WHERE user = :user AND conversation_id = :conversation_id AND message_id = :message_id",
            of_message,
        ).fetchone()[0]
        for table in TABLES.values()
    )
    return sum(sizes)


def drop_attachments(connection: sqlite3.Connection, key: Key) -> None:
    """Delete the attachments of a conversation's messages that have no pending write any more."""
    for table in TABLES.values():
        connection.execute(
            f"DELETE FROM {table} WHERE user = ? AND conversation_id = ? AND NOT EXISTS (SELECT 1 FROM writes WHERE"  # noqa: S608  # a constant
            f" writes.user = {table}.user AND writes.conversation_id = {table}.conversation_id"
            f" AND writes.message_id = {table}.message_id)",
            key,
        )


def attachment_in(
    connection: sqlite3.Connection, key: Key, kind: type[AttachmentT], attachment_id: str
) -> AttachmentT | None:
    """Return an image or a document from the journal, None if it has none."""
    query = f"SELECT * FROM {TABLES[kind]} WHERE user = ? AND conversation_id = ? AND id = ?"  # noqa: S608  # a constant
    row = connection.execute(query, (*key, attachment_id)).fetchone()
    return codec.attachment_of(kind, dict(row)) if row else None


def with_data(connection: sqlite3.Connection, key: Key, write: Waiting) -> Waiting:
    """Return a write with the data of its message's attachments, as far as the journal has it."""
    message = write.message
    if message is None or not message.attachments:
        return write
    attachments = (attachment_in(connection, key, type(one), one.id) or one for one in message.attachments)
    return replace(write, message=message.with_attachments(attachments))
