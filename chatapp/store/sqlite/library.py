"""Documents of collections in SQLite: a row for each, with its text; triggers count them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.conversation import Document
from chatapp.domain.errors import DocumentNotFound
from chatapp.domain.library import LibraryDocument
from chatapp.store import codec
from chatapp.store.sqlite.files import kept_file

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

MIGRATION = """
    ALTER TABLE conversations ADD COLUMN collection TEXT NOT NULL DEFAULT '';
    ALTER TABLE conversations ADD COLUMN folder TEXT NOT NULL DEFAULT '';
    CREATE INDEX conversations_in_folder ON conversations (user, folder, updated_ms, id) WHERE folder != '';
    CREATE TABLE library_documents (
        user TEXT NOT NULL,
        id TEXT NOT NULL,
        collection TEXT NOT NULL,
        added_ms INTEGER NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        pages INTEGER NOT NULL,
        size INTEGER NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (user, id)
    );
    CREATE TRIGGER library_document_added AFTER INSERT ON library_documents BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + 100 + length(NEW.data) WHERE user = NEW.user;
    END;
    CREATE TRIGGER library_document_deleted AFTER DELETE ON library_documents BEGIN
        UPDATE usage SET bytes = bytes - 100 - length(OLD.data) WHERE user = OLD.user;
        DELETE FROM usage WHERE user = OLD.user AND bytes <= 0;
    END;
    """

_LISTED = "SELECT id, collection, added_ms, name, kind, pages, size, file FROM library_documents"


def add_library_document(connection: sqlite3.Connection, user: str, added: LibraryDocument) -> None:
    """Add a document; one with its id stays as it is, and gets the file if it has none."""
    document = codec.clean_document(added.document)
    row = {
        **codec.attachment_fields(document),
        "file": kept_file(connection, user, document.file),
        "user": user,
        "collection": added.collection,
        "added_ms": added.added_ms,
        "data": document.data,
    }
    connection.execute(
        f"INSERT INTO library_documents ({', '.join(row)}) VALUES (:{', :'.join(row)}) ON CONFLICT (user, id)"  # noqa: S608  # constants
        " DO UPDATE SET file = excluded.file WHERE file = '' AND excluded.file != ''",
        row,
    )


def library_of(connection: sqlite3.Connection, user: str, collection: str) -> list[LibraryDocument]:
    """Return a user's documents of a collection, or of all (""), by collection and name, without data."""
    query = f"{_LISTED} WHERE user = ? AND (collection = ? OR ? = '') ORDER BY collection, name, id"
    return [_document(row) for row in connection.execute(query, (user, collection, collection))]


def library_document(connection: sqlite3.Connection, user: str, document_id: str) -> LibraryDocument:
    """Return a document of a user, with its data.

    Raises:
        DocumentNotFound: there is none.
    """
    query = "SELECT * FROM library_documents WHERE user = ? AND id = ?"
    row = connection.execute(query, (user, document_id)).fetchone()
    if row is None:
        raise DocumentNotFound
    return _document(row)


def remove_library_documents(connection: sqlite3.Connection, user: str, document_ids: Collection[str]) -> None:
    """Delete documents of a user."""
    rows = [(user, document_id) for document_id in document_ids]
    connection.executemany("DELETE FROM library_documents WHERE user = ? AND id = ?", rows)


def _document(row: sqlite3.Row) -> LibraryDocument:
    document = codec.attachment_of(Document, dict(row))
    return LibraryDocument(collection=row["collection"], document=document, added_ms=row["added_ms"])
