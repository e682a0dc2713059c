"""Vectors of documents in SQLite: a row beside that of the document, which goes with it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from chatapp.domain.errors import ConversationNotFound, DocumentNotFound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

MIGRATION = """
    CREATE TABLE document_vectors (
        conversation_id TEXT NOT NULL,
        document_id TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (conversation_id, document_id),
        FOREIGN KEY (conversation_id, document_id) REFERENCES documents (conversation_id, id) ON DELETE CASCADE
    );
    CREATE TABLE library_vectors (
        user TEXT NOT NULL,
        document_id TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (user, document_id),
        FOREIGN KEY (user, document_id) REFERENCES library_documents (user, id) ON DELETE CASCADE
    );
    """


def vectors_of(
    connection: sqlite3.Connection, user: str, conversation_id: str, document_ids: Collection[str], oldest_ms: int
) -> dict[str, bytes]:
    """Return the vectors of documents of a user's conversation, by document, whose messages have not expired."""
    rows = connection.execute(
        "SELECT document_id, document_vectors.data FROM document_vectors"
        " JOIN conversations ON conversations.id = document_vectors.conversation_id AND user = ? JOIN documents"
        " ON documents.conversation_id = document_vectors.conversation_id AND documents.id = document_id JOIN messages"
        " ON messages.conversation_id = documents.conversation_id AND messages.id = message_id"
        " WHERE document_vectors.conversation_id = ? AND messages.created_ms >= ?"
        " AND document_id IN (SELECT value FROM json_each(?))",
        (user, conversation_id, oldest_ms, json.dumps(list(document_ids))),
    )
    return {row["document_id"]: row["data"] for row in rows}


def library_vectors_of(connection: sqlite3.Connection, user: str, document_ids: Collection[str]) -> dict[str, bytes]:
    """Return the vectors of documents of a user's collections, by document."""
    rows = connection.execute(
        "SELECT document_id, data FROM library_vectors WHERE user = ?"
        " AND document_id IN (SELECT value FROM json_each(?))",
        (user, json.dumps(list(document_ids))),
    )
    return {row["document_id"]: row["data"] for row in rows}


def put_vectors(connection: sqlite3.Connection, conversation_id: str, document_id: str, data: bytes) -> None:
    """Add or replace the vectors of a document of a conversation.

    Raises:
        ConversationNotFound: there is no such document.
    """
    added = connection.execute(
        "INSERT OR REPLACE INTO document_vectors"
        " SELECT conversation_id, id, ? FROM documents WHERE conversation_id = ? AND id = ?",
        (data, conversation_id, document_id),
    )
    if not added.rowcount:
        raise ConversationNotFound(detail="no such document")


def put_library_vectors(connection: sqlite3.Connection, user: str, document_id: str, data: bytes) -> None:
    """Add or replace the vectors of a document of a collection.

    Raises:
        DocumentNotFound: there is no such document.
    """
    added = connection.execute(
        "INSERT OR REPLACE INTO library_vectors SELECT user, id, ? FROM library_documents WHERE user = ? AND id = ?",
        (data, user, document_id),
    )
    if not added.rowcount:
        raise DocumentNotFound
