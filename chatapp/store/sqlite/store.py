"""The store in one SQLite file, with Python's own sqlite3: the embedded default.

One thread writes and commits all queued changes together (`writer`); a few connections read in parallel (`database`).
`rows` maps objects to rows, `search` scans them, `file` opens the file and turns its errors into sentences.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Self

import structlog

from chatapp.domain.conversation import Document, Image, MessageStatus, Profile, saved
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Consistency, Page
from chatapp.store.codec import clean_profile, profile_fields, profile_of
from chatapp.store.direct import DirectStore
from chatapp.store.library import with_library
from chatapp.store.sqlite.attachments import attachment_of
from chatapp.store.sqlite.database import SQLiteDatabase
from chatapp.store.sqlite.document_files import DocumentFiles
from chatapp.store.sqlite.file import HISTORY, SQLiteFile
from chatapp.store.sqlite.file_folder import FileFolder, folder_of
from chatapp.store.sqlite.files import file_of_document, file_of_library
from chatapp.store.sqlite.library import (
    add_library_document,
    library_document,
    library_of,
    remove_library_documents,
)
from chatapp.store.sqlite.retention import Retention
from chatapp.store.sqlite.revocations import revocations_of, revoke
from chatapp.store.sqlite.rows import (
    CONVERSATION,
    MESSAGE,
    UPDATE,
    conversation_of,
    conversation_row,
    create,
    message_of,
    owned,
    put,
    revisions,
)
from chatapp.store.sqlite.search import search
from chatapp.store.sqlite.sessions import save_session, sessions_of
from chatapp.store.sqlite.shares import (
    delete_expired,
    delete_share,
    has_expired,
    save_share,
    shared,
    shared_piece,
    shares_of,
)
from chatapp.store.sqlite.usage import stored_bytes
from chatapp.store.sqlite.vectors import library_vectors_of, put_library_vectors, put_vectors, vectors_of
from chatapp.store.values import (
    MAX_IN_FOLDER,
    MAX_PAGE,
    MAX_PINNED,
    cursor_after,
    position,
    refuse_too_large_attachment,
    refuse_too_large_attachments,
    refuse_too_large_pieces,
    refuse_too_many_vectors,
    refuse_too_much_profile,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from chatapp.domain.conversation import AttachmentT, Conversation, Message
    from chatapp.domain.library import LibraryDocument
    from chatapp.domain.share import Share
    from chatapp.store import Hit, Revocations, SessionRecord


READERS = 4
_CONVERSATIONS = f"SELECT {CONVERSATION} FROM conversations"  # noqa: S608  # constants, as below
_MESSAGES = f"SELECT {MESSAGE} FROM messages"  # noqa: S608

log = structlog.get_logger(__name__)


class SQLiteStore(DirectStore):
    """A `chatapp.store.Store` in one file, for one running chat and one event loop.

    Opening the file marks answers that an ended process left as streaming as interrupted: no other process can write.

    A write whose caller is cancelled happens whole or not at all. A conversation that is updated while its list is
    being paged moves to the front, so none is listed twice. A lone surrogate, which UTF-8 cannot encode, is
    stored as U+FFFD.

    Deleted text is overwritten, in the file and in its write-ahead log, before `delete` returns; if a reader still
    needs the log, as soon as it does not. SQLite's ``secure_delete`` misses copies left where it once moved rows within
    the file (for 0 to 4 of 600 deleted conversations, SQLite 3.40); these go with a ``VACUUM`` after
    `sqlite_writer.QUIET_S` without a write, or at the end (4 to 7 ms per MB).
    """

    def __init__(self, database: SQLiteDatabase, files: DocumentFiles, *, retention_days: int | None = None) -> None:
        self._database = database
        self._files = files
        self._retention = Retention(database, retention_days, files.erase_deleted)
        self._retention.start()

    @classmethod
    async def open(cls, path: Path, *, busy_timeout: float = 5.0, retention_days: int | None = None) -> Self:
        """Open the file, or make it (mode 0600, its folder 0700; what exists keeps its mode), and bring it up to date.

        ``busy_timeout``, in seconds, is how long to wait for a lock that another program holds. For
        ``retention_days`` see `chatapp.store.sqlite.retention.Retention`.

        Raises:
            StoreUnavailable: another chat uses the file, it is newer than this program, it is not a chat history, or
                it cannot be read and written; the file was not changed.
        """
        file = await asyncio.to_thread(SQLiteFile.open, path, HISTORY, readers=READERS, busy_timeout=busy_timeout)
        database = SQLiteDatabase(file, busy_timeout)
        files = DocumentFiles(database, FileFolder(folder_of(path)))
        try:
            await database.write(_interrupt)
            if await database.read(has_expired):
                await database.write(delete_expired, erase_within=0)
            await files.delete_left()
        except StoreUnavailable as error:  # a full disk, which must not keep the history from being read
            log.warning("answers_not_interrupted", detail=error.detail)
        return cls(database, files, retention_days=retention_days)

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, consistency: Consistency = Consistency.LATEST
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        del consistency  # the file is always current
        limit = min(max(limit, 1), MAX_PAGE)
        updated_ms, last_id = position(cursor)
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> list[Conversation]:
            rows = connection.execute(
                f"{_CONVERSATIONS} WHERE user = ? AND updated_ms >= ? AND (updated_ms, id) < (?, ?)"
                " ORDER BY updated_ms DESC, id DESC LIMIT ?",
                (user, oldest_ms, updated_ms, last_id, limit + 1),
            )
            return [conversation_of(row) for row in rows]

        listed = await self._database.read(query)
        return Page(listed[:limit], cursor_after(listed[limit - 1]) if len(listed) > limit else None)

    async def conversation(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return one conversation."""
        del consistency
        oldest_ms = self._retention.oldest_ms
        return await self._database.read(lambda connection: owned(connection, user, conversation_id, oldest_ms))

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``."""
        del consistency
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> list[Message]:
            owned(connection, user, conversation_id, oldest_ms)
            rows = connection.execute(
                f"{_MESSAGES} WHERE conversation_id = ? AND created_ms >= ? ORDER BY created_ms, id",
                (conversation_id, oldest_ms),
            )
            return [message_of(row) for row in rows]

        return await self._database.read(query)

    async def message(
        self, user: str, conversation_id: str, message_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Message:
        """Return one message."""
        del consistency
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> Message:
            owned(connection, user, conversation_id, oldest_ms)
            row = connection.execute(
                f"{_MESSAGES} WHERE conversation_id = ? AND id = ? AND created_ms >= ?",
                (conversation_id, message_id, oldest_ms),
            ).fetchone()
            if row is None:
                raise ConversationNotFound(detail="no such message")
            return message_of(row)

        return await self._database.read(query)

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        return await self._attachment(Image, user, conversation_id, image_id)

    async def document(self, user: str, conversation_id: str, document_id: str) -> Document:
        """Return a document of a conversation, with its data."""
        return await self._attachment(Document, user, conversation_id, document_id)

    async def _attachment(
        self, kind: type[AttachmentT], user: str, conversation_id: str, attachment_id: str
    ) -> AttachmentT:
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> AttachmentT:
            owned(connection, user, conversation_id, oldest_ms)
            return attachment_of(connection, kind, conversation_id, attachment_id, oldest_ms)

        return await self._database.read(query)

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned conversations, the last updated first."""
        del consistency
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> list[Conversation]:
            rows = connection.execute(
                f"{_CONVERSATIONS} WHERE user = ? AND pinned AND deleted_ms = 0 AND updated_ms >= ?"
                " ORDER BY updated_ms DESC, id DESC LIMIT ?",
                (user, oldest_ms, MAX_PINNED),
            )
            return [conversation_of(row) for row in rows]

        return await self._database.read(query)

    async def in_folder(
        self, user: str, folder: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Conversation]:
        """Return the conversations of a folder, the last updated first."""
        del consistency
        oldest_ms = self._retention.oldest_ms

        def query(connection: sqlite3.Connection) -> list[Conversation]:
            rows = connection.execute(
                # The second condition names the index.
                f"{_CONVERSATIONS} WHERE user = ? AND folder = ? AND folder != '' AND deleted_ms = 0"
                " AND updated_ms >= ? ORDER BY updated_ms DESC, id DESC LIMIT ?",
                (user, folder, oldest_ms, MAX_IN_FOLDER),
            )
            return [conversation_of(row) for row in rows]

        return await self._database.read(query)

    async def search(
        self, user: str, text: str, *, limit: int = 20, cursor: str | None = None, thinking: bool = False
    ) -> Page[Hit]:
        """Find the conversations with a message, or else a title, that has all words of a text."""
        oldest_ms = self._retention.oldest_ms
        return await self._database.read(
            lambda connection: search(connection, user, text, limit, cursor, oldest_ms, thinking=thinking)
        )

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""
        refuse_too_large_attachments(messages)

        def change(connection: sqlite3.Connection) -> None:
            if not create(connection, user, conversation, messages):
                raise ConversationNotFound

        await self._database.write(change)

    async def create_all(self, user: str, new: Sequence[tuple[Conversation, Sequence[Message]]]) -> set[str]:
        """Add conversations with their first messages in one transaction; return the ids of other users."""
        refuse_too_large_attachments(message for _, messages in new for message in messages)
        taken: set[str] = set()

        def change(connection: sqlite3.Connection) -> None:
            taken.clear()  # the writer may repeat a change
            for conversation, messages in new:
                if not create(connection, user, conversation, messages):
                    taken.add(conversation.id)

        await self._database.write(change)
        return taken

    async def revisions(self, user: str, conversation_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the revision of each message by id, for those of these conversations that the user has."""
        oldest_ms = self._retention.oldest_ms
        return await self._database.read(lambda connection: revisions(connection, user, conversation_ids, oldest_ms))

    async def update(self, user: str, conversation: Conversation) -> None:
        """Replace all fields of a conversation that `chatapp.domain.conversation.CHANGEABLE` names.

        ``updated_ms`` never goes back. There is no other writer, so ``changed_ms`` decides nothing and is not stored.
        """

        def change(connection: sqlite3.Connection) -> None:
            if not connection.execute(UPDATE, conversation_row(user, conversation)).rowcount:
                raise ConversationNotFound

        await self._database.write(change)

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""
        refuse_too_large_attachments(messages)

        def change(connection: sqlite3.Connection) -> None:
            newest_ms = max((message.created_ms for message in messages), default=0)
            changed = connection.execute(
                "UPDATE conversations SET updated_ms = max(updated_ms, ?) WHERE id = ? AND user = ?",
                (newest_ms, conversation_id, user),
            )
            if not changed.rowcount:
                raise ConversationNotFound
            put(connection, conversation_id, messages)

        await self._database.write(change)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages for good."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM conversations WHERE id = ? AND user = ?", (conversation_id, user))

        await self._database.write(change, erase_within=0)
        await self._files.erase_deleted()

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile."""
        del consistency

        return await self._database.read(lambda connection: _profile(connection, user) or Profile())

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile; of each of its two parts, one of the same or a higher revision stays."""
        profile = clean_profile(profile)
        refuse_too_much_profile(profile)

        def change(connection: sqlite3.Connection) -> None:
            before = _profile(connection, user)
            _put_profile(connection, user, saved(before, profile) if before else profile)

        await self._database.write(change)

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile for good."""

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM profiles WHERE user = ?", (user,))

        await self._database.write(change, erase_within=0)

    async def sessions(self, user: str) -> list[SessionRecord]:
        """Return the user's sessions."""
        return await self._database.read(lambda connection: sessions_of(connection, user))

    async def save_session(self, user: str, session: SessionRecord, *, until_ms: int) -> None:
        """Add or replace a session."""
        await self._database.write(lambda connection: save_session(connection, user, session, until_ms))

    async def revocations(self, user: str) -> Revocations:
        """Return which of the user's sessions are revoked."""
        return await self._database.read(lambda connection: revocations_of(connection, user))

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """Revoke one session of the user, or all that began up to ``before_ms``."""
        await self._database.write(lambda connection: revoke(connection, user, session, before_ms, until_ms))

    async def save_share(self, user: str, share: Share, pieces: Mapping[str, bytes]) -> None:
        """Add a share of a conversation."""
        refuse_too_large_pieces(pieces)
        oldest_ms = self._retention.oldest_ms

        def change(connection: sqlite3.Connection) -> None:
            delete_expired(connection)
            save_share(connection, user, share, pieces, oldest_ms)

        await self._database.write(change)

    async def shares(self, user: str) -> list[Share]:
        """Return the user's shares, the latest first."""
        oldest_ms = self._retention.oldest_ms
        return await self._database.read(lambda connection: shares_of(connection, user, oldest_ms))

    async def delete_share(self, user: str, share_id: str) -> None:
        """Delete a share of the user for good."""
        await self._database.write(lambda connection: delete_share(connection, user, share_id), erase_within=0)

    async def shared(self, share_id: str) -> Share:
        """Return a share of any user."""
        oldest_ms = self._retention.oldest_ms
        return await self._database.read(lambda connection: shared(connection, share_id, oldest_ms))

    async def shared_piece(self, share_id: str, name: str) -> bytes:
        """Return a piece of a share of any user."""
        oldest_ms = self._retention.oldest_ms
        return await self._database.read(lambda connection: shared_piece(connection, share_id, name, oldest_ms))

    async def change_library(self, user: str, change: Callable[[Profile], Profile]) -> Profile:
        """Change the collections and folders of the user's profile."""
        states: list[tuple[Profile, Profile]] = []  # before and after; the last is of the attempt that was committed

        def write(connection: sqlite3.Connection) -> None:
            before = _profile(connection, user) or Profile()
            states.append((before, with_library(before, change)))
            _put_profile(connection, user, states[-1][1])

        await self._database.write(write)
        before, after = states[-1]
        if not set(before.collections) <= set(after.collections) or not set(before.folders) <= set(after.folders):
            await self._database.write(lambda _connection: None, erase_within=0)  # what was deleted or replaced
        return after

    async def add_library_document(self, user: str, document: LibraryDocument) -> None:
        """Add a document to a collection."""
        refuse_too_large_attachment(document.document)
        await self._database.write(lambda connection: add_library_document(connection, user, document))

    async def library(self, user: str, collection: str = "") -> list[LibraryDocument]:
        """Return the documents of a collection, or of all, by collection and name, without data."""
        return await self._database.read(lambda connection: library_of(connection, user, collection))

    async def library_document(self, user: str, document_id: str) -> LibraryDocument:
        """Return a document of a collection, with its data."""
        return await self._database.read(lambda connection: library_document(connection, user, document_id))

    async def remove_library_documents(self, user: str, document_ids: Collection[str]) -> None:
        """Delete documents of collections for good."""
        await self._database.write(
            lambda connection: remove_library_documents(connection, user, document_ids), erase_within=0
        )
        await self._files.erase_deleted()

    async def vectors(self, user: str, conversation_id: str, document_ids: Collection[str]) -> dict[str, bytes]:
        """Return the vectors of documents of a conversation, or of collections (""), by document."""
        oldest_ms = self._retention.oldest_ms
        if not conversation_id:
            return await self._database.read(lambda connection: library_vectors_of(connection, user, document_ids))
        return await self._database.read(
            lambda connection: vectors_of(connection, user, conversation_id, document_ids, oldest_ms)
        )

    async def save_vectors(self, user: str, conversation_id: str, document_id: str, vectors: bytes) -> None:
        """Add or replace the vectors of a document of a conversation, or of a collection ("")."""
        refuse_too_many_vectors(vectors)

        def change(connection: sqlite3.Connection) -> None:
            if not conversation_id:
                put_library_vectors(connection, user, document_id, vectors)
                return
            owned(connection, user, conversation_id)
            put_vectors(connection, conversation_id, document_id, vectors)

        await self._database.write(change)

    async def add_file(self, user: str, file: bytes) -> str:
        """Keep a file until it is discarded, or with the documents that name it; return its id."""
        return await self._files.add(user, file)

    async def discard_files(self, user: str, files: Collection[str] | None = None) -> None:
        """Delete files that no document names: these, or all of the user."""
        await self._files.discard(user, files)

    async def hand_over_files(self, user: str, to: str, files: Collection[str]) -> None:
        """Give files to another user."""
        await self._files.hand_over(user, to, files)

    async def document_file_part(self, user: str, conversation_id: str, document_id: str, number: int) -> bytes:
        """Return a part of the file of a document of a conversation."""
        oldest_ms = self._retention.oldest_ms

        def file(connection: sqlite3.Connection) -> str:
            owned(connection, user, conversation_id, oldest_ms)
            return file_of_document(connection, conversation_id, document_id, oldest_ms)

        return await self._files.part(file, number)

    async def library_file_part(self, user: str, document_id: str, number: int) -> bytes:
        """Return a part of the file of a document of a collection."""
        return await self._files.part(lambda connection: file_of_library(connection, user, document_id), number)

    async def stored_bytes(self, user: str | None = None, *, consistency: Consistency = Consistency.LATEST) -> int:
        """Return how many bytes the data of one user take, or of all users: text in UTF-8, images and documents."""
        del consistency
        return await self._database.read(lambda connection: stored_bytes(connection, user))

    def is_shared(self, conversation_id: str) -> bool:  # noqa: ARG002  # the protocol's parameter
        """Return False: this process is the only one."""
        return False

    async def aclose(self) -> None:
        """Finish the accepted writes, clean up, and close the file and its lock; idempotent."""
        await self._retention.aclose()
        await self._database.aclose()


def _profile(connection: sqlite3.Connection, user: str) -> Profile | None:
    row = connection.execute("SELECT fields FROM profiles WHERE user = ?", (user,)).fetchone()
    return profile_of(json.loads(row["fields"])) if row else None


def _put_profile(connection: sqlite3.Connection, user: str, profile: Profile) -> None:
    connection.execute(
        "INSERT INTO profiles (user, revision, fields) VALUES (?, ?, ?) ON CONFLICT (user) DO UPDATE"
        " SET revision = excluded.revision, fields = excluded.fields",
        (user, profile.revision, json.dumps(profile_fields(profile))),
    )


def _interrupt(connection: sqlite3.Connection) -> None:
    """Mark streaming answers as interrupted, as a newer revision."""
    interrupted = connection.execute(
        "UPDATE messages SET status = ?, revision = revision + 1 WHERE status = 'streaming'",  # as the index says it
        (MessageStatus.INTERRUPTED,),
    )
    if interrupted.rowcount:
        log.warning("answers_interrupted", number=interrupted.rowcount)
