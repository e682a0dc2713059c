"""Images and documents in a SQLite file: a table for each of the two, with a column for each field and the data."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import Document, Image
from chatapp.domain.errors import ConversationNotFound
from chatapp.store import codec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from chatapp.domain.conversation import AttachmentT, Message


TABLES: Mapping[type[object], str] = MappingProxyType({Image: "images", Document: "documents"})

# The table of images is older: see `chatapp.store.sqlite.file`, and `usage` for its triggers.
MIGRATION = """
    CREATE TABLE documents (
        conversation_id TEXT NOT NULL,
        message_id TEXT NOT NULL,
        id TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        pages INTEGER NOT NULL,
        size INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (conversation_id, id),
        FOREIGN KEY (conversation_id, message_id) REFERENCES messages (conversation_id, id) ON DELETE CASCADE
    );
    CREATE INDEX documents_by_message ON documents (conversation_id, message_id);
    CREATE TRIGGER document_added AFTER INSERT ON documents BEGIN
        UPDATE conversations SET bytes = bytes + length(NEW.data) WHERE id = NEW.conversation_id;
    END;
    CREATE TRIGGER document_deleted AFTER DELETE ON documents BEGIN
        UPDATE conversations SET bytes = bytes - length(OLD.data) WHERE id = OLD.conversation_id;
    END;
    """


def put_attachments(connection: sqlite3.Connection, of_message: Mapping[str, Any], message: Message) -> None:
    """Add those images and documents of a message that have data and are new; ``of_message`` has its key columns."""
    for attachment in message.attachments:
        if attachment.data:
            row = {**codec.attachment_fields(attachment), **of_message, "data": attachment.data}
            connection.execute(
                f"INSERT INTO {TABLES[type(attachment)]} ({', '.join(row)}) VALUES (:{', :'.join(row)})"  # noqa: S608  # constants
                " ON CONFLICT DO NOTHING",
                row,
            )


def attachment_of(
    connection: sqlite3.Connection, kind: type[AttachmentT], conversation_id: str, attachment_id: str, oldest_ms: int
) -> AttachmentT:
    """Return an image or a document of a conversation whose message has not expired, with its data.

    Raises:
        ConversationNotFound: there is none.
    """
    table = TABLES[kind]
    row = connection.execute(
        f"SELECT {table}.* FROM {table} JOIN messages"  # noqa: S608  # constants
        f" ON messages.conversation_id = {table}.conversation_id AND messages.id = message_id"
        f" WHERE {table}.conversation_id = ? AND {table}.id = ? AND created_ms >= ?",
        (conversation_id, attachment_id, oldest_ms),
    ).fetchone()
    if row is None:
        raise ConversationNotFound(detail=f"none in {table}")
    return codec.attachment_of(kind, dict(row))
