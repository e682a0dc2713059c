"""Which files of documents there are, and whose; their bytes are in a folder (`file_folder`).

A file is written to the folder, then noted here, and then named by documents, which may share it. Until one names it,
it waits; what waits when the history is opened was left by an ended process, and is deleted. A trigger deletes a file
with the last document that names it, and notes that it is to be erased from the folder.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.domain.errors import ConversationNotFound, DocumentNotFound

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable

    from chatapp.domain.conversation import Message

_LAST = """DELETE FROM files WHERE id = OLD.file AND OLD.file != ''
            AND NOT EXISTS (SELECT 1 FROM documents WHERE file = OLD.file AND file != '')
            AND NOT EXISTS (SELECT 1 FROM library_documents WHERE file = OLD.file AND file != '');"""

# The conditions with '' let SQLite use the partial indexes. Each document counts its file, also one that it shares.
MIGRATION = f"""
    ALTER TABLE documents ADD COLUMN file TEXT NOT NULL DEFAULT '';
    ALTER TABLE library_documents ADD COLUMN file TEXT NOT NULL DEFAULT '';
    CREATE INDEX documents_by_file ON documents (file) WHERE file != '';
    CREATE INDEX library_documents_by_file ON library_documents (file) WHERE file != '';
    CREATE TABLE files (id TEXT NOT NULL PRIMARY KEY, user TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE deleted_files (id TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
    CREATE TRIGGER file_deleted AFTER DELETE ON files BEGIN
        INSERT INTO deleted_files VALUES (OLD.id);
    END;
    CREATE TRIGGER document_file_added AFTER INSERT ON documents WHEN NEW.file != '' BEGIN
        UPDATE conversations SET bytes = bytes + NEW.size WHERE id = NEW.conversation_id;
    END;
    CREATE TRIGGER document_file_deleted AFTER DELETE ON documents WHEN OLD.file != '' BEGIN
        UPDATE conversations SET bytes = bytes - OLD.size WHERE id = OLD.conversation_id;
        {_LAST}
    END;
    -- The order of triggers is not defined: `library_document_added` may be the second.
    CREATE TRIGGER library_file_added AFTER INSERT ON library_documents WHEN NEW.file != '' BEGIN
        INSERT INTO usage SELECT NEW.user, 0 WHERE NOT EXISTS (SELECT 1 FROM usage WHERE user = NEW.user);
        UPDATE usage SET bytes = bytes + NEW.size WHERE user = NEW.user;
    END;
    CREATE TRIGGER library_file_changed AFTER UPDATE OF file ON library_documents BEGIN
        UPDATE usage SET bytes = bytes + NEW.size * ((NEW.file != '') - (OLD.file != '')) WHERE user = NEW.user;
        {_LAST}
    END;
    CREATE TRIGGER library_file_deleted BEFORE DELETE ON library_documents WHEN OLD.file != '' BEGIN
        UPDATE usage SET bytes = bytes - OLD.size WHERE user = OLD.user;
    END;
    CREATE TRIGGER library_file_left AFTER DELETE ON library_documents WHEN OLD.file != '' BEGIN
        {_LAST}
    END;
    """  # noqa: S608  # constants

_WAITING = (
    " NOT EXISTS (SELECT 1 FROM documents WHERE file = files.id AND file != '')"
    " AND NOT EXISTS (SELECT 1 FROM library_documents WHERE file = files.id AND file != '')"
)


def add_file(connection: sqlite3.Connection, user: str, file: str) -> None:
    """Add a file, which is in the folder; it waits."""
    connection.execute("INSERT INTO files (id, user) VALUES (?, ?)", (file, user))


def waiting(connection: sqlite3.Connection, user: str, ids: Collection[str] | None) -> list[str]:
    """Return those files of a user that no document names: of these ids, or of all (None)."""
    query = f"SELECT id FROM files WHERE user = ? AND {_WAITING}"  # noqa: S608  # constants
    return [id_ for (id_,) in connection.execute(query, (user,)) if ids is None or id_ in ids]


def discard(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Delete those of these files that no document names."""
    connection.executemany(f"DELETE FROM files WHERE id = ? AND {_WAITING}", [(id_,) for id_ in ids])  # noqa: S608


def delete_left(connection: sqlite3.Connection) -> None:
    """Delete all files that no document names."""
    connection.execute(f"DELETE FROM files WHERE {_WAITING}")  # noqa: S608


def hand_over(connection: sqlite3.Connection, user: str, to: str, ids: Collection[str]) -> None:
    """Give files of a user to another user; documents that name one keep it."""
    query = "UPDATE files SET user = ? WHERE user = ? AND id IN (SELECT value FROM json_each(?))"
    connection.execute(query, (to, user, json.dumps(list(ids))))


def kept_file(connection: sqlite3.Connection, user: str, file: str) -> str:
    """Return a file's id, "" if the user has none of this id."""
    row = connection.execute("SELECT 1 FROM files WHERE id = ? AND user = ?", (file, user)).fetchone() if file else None
    return file if row else ""


def with_kept_files(connection: sqlite3.Connection, conversation_id: str, message: Message) -> Message:
    """Return a new message, whose documents name no file that the conversation's user does not have."""
    if not any(one.file and one.data for one in message.documents):
        return message
    (user,) = connection.execute("SELECT user FROM conversations WHERE id = ?", (conversation_id,)).fetchone()
    documents = (replace(one, file=kept_file(connection, user, one.file)) for one in message.documents)
    return replace(message, documents=tuple(documents))


def all_files(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of all files."""
    return [id_ for (id_,) in connection.execute("SELECT id FROM files")]


def deleted_files(connection: sqlite3.Connection) -> list[str]:
    """Return the ids of files that are deleted, and may still be in the folder."""
    return [id_ for (id_,) in connection.execute("SELECT id FROM deleted_files")]


def forget(connection: sqlite3.Connection, files: Iterable[str]) -> None:
    """Note that deleted files are no longer in the folder."""
    connection.executemany("DELETE FROM deleted_files WHERE id = ?", [(id_,) for id_ in files])


def file_of_document(connection: sqlite3.Connection, conversation_id: str, document_id: str, oldest_ms: int) -> str:
    """Return the file of a document whose message has not expired.

    Raises:
        ConversationNotFound: there is none.
    """
    row = connection.execute(
        "SELECT file FROM documents JOIN messages"
        " ON messages.conversation_id = documents.conversation_id AND messages.id = message_id"
        " WHERE documents.conversation_id = ? AND documents.id = ? AND created_ms >= ? AND file != ''",
        (conversation_id, document_id, oldest_ms),
    ).fetchone()
    if row is None:
        raise ConversationNotFound(detail="no such file")
    return str(row["file"])


def file_of_library(connection: sqlite3.Connection, user: str, document_id: str) -> str:
    """Return the file of a document of a collection.

    Raises:
        DocumentNotFound: there is none.
    """
    query = "SELECT file FROM library_documents WHERE user = ? AND id = ? AND file != ''"
    row = connection.execute(query, (user, document_id)).fetchone()
    if row is None:
        raise DocumentNotFound(detail="no such file")
    return str(row["file"])
