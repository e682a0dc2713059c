"""The store in Cloud Firestore: for a chat in the cloud, with one or more replicas.

`documents` maps objects to documents, `revisions` writes messages, `profiles` profiles, `shares` shares, `deletions`
deletes conversations, `revocations` revokes sessions, and `client` is the connection.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import AlreadyExists
from google.cloud.firestore import DELETE_FIELD, FieldFilter, Maximum, Query

from chatapp.domain.conversation import Conversation, Document, Image, Message, MessageStatus, Profile, now_ms
from chatapp.domain.errors import ConversationNotFound
from chatapp.store import Consistency, Page
from chatapp.store.calls import Calls
from chatapp.store.codec import clean_profile
from chatapp.store.direct import DirectStore
from chatapp.store.firestore.bulk import commits, message_documents_of, revisions
from chatapp.store.firestore.client import (
    CALL_S,
    READ_ATTEMPT_S,
    READ_CALL_S,
    Connection,
    committed,
    fetched,
    fetched_all,
    fetched_one,
    is_explained,
    summed,
)
from chatapp.store.firestore.deletions import Deletions, begin_deletion
from chatapp.store.firestore.documents import (
    COLLECTIONS,
    attachment_of,
    conversation_document,
    conversation_of,
    expiry,
    is_expired,
    is_id,
    is_part,
    message_of,
    part_id,
    profile_of,
    uid,
)
from chatapp.store.firestore.fields import put_fields
from chatapp.store.firestore.library import Libraries, library_document
from chatapp.store.firestore.profiles import change_library, put_profile
from chatapp.store.firestore.revisions import New, Revisions, encoded
from chatapp.store.firestore.revocations import put_revocation, revocations_of
from chatapp.store.firestore.schema import (
    CONVERSATIONS,
    EXPIRY_FIELD,
    FOLDER_FIELD,
    LIBRARY,
    MESSAGES,
    ORDER_FIELDS,
    PINNED_FIELD,
    SHARES,
    SIZE_FIELD,
    USERS,
)
from chatapp.store.firestore.sessions import put_session, sessions_of
from chatapp.store.firestore.shares import delete_share, put_share, shared, shared_piece, shares_of
from chatapp.store.firestore.vectors import put_vectors, vectors_of
from chatapp.store.library import of_folder
from chatapp.store.scanning import Scan
from chatapp.store.values import (
    BEGINNING,
    MAX_PAGE,
    MAX_PINNED,
    cursor_after,
    in_order,
    position,
    refuse_too_large_attachment,
    refuse_too_large_pieces,
    refuse_too_many_vectors,
    refuse_too_much_profile,
    sort_key,
)
from chatapp.store.without_files import WithoutFiles

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.domain.conversation import AttachmentT
    from chatapp.domain.library import LibraryDocument
    from chatapp.domain.share import Share
    from chatapp.store import Hit, Revocations, SessionRecord
    from chatapp.store.firestore.client import Snapshot
    from chatapp.store.firestore.firestore_compat import Client


STALE_S = 60.0  # three intervals of a running turn's heartbeat: see `chatapp.generation.generator.HEARTBEAT_SECONDS`
PINNED_READ = 300
FOLDER_READ = 1000
DAY_MS = 24 * 3600 * 1000


class FirestoreStore(WithoutFiles, DirectStore):
    """A `chatapp.store.Store` in one Firestore database, for any number of replicas.

    A store belongs to one event loop. It connects at its first call. Every call has a timeout: after `CALL_S`
    (`READ_CALL_S` for `messages` and `delete`) it has succeeded or raises StoreUnavailable.

    **Idempotent writes**: a write whose reply is lost may have been committed. The app creates all ids, every write
    sets absolute values (``updatedMs`` only rises; `Libraries` explains its count), and every call is one atomic
    commit: so a retry, here or by the caller, changes nothing more. A call that raises has written everything or
    nothing.

    **The newest revision wins**, without transactions. A new message is written with the precondition that it does not
    exist, and a newer revision with the precondition that the message was not changed since it was read (Firestore's
    ``last_update_time``; for a running answer, this store remembers its own last write). If the precondition fails, or
    another process wrote the message, the store reads the stored revision and retries if its own is higher. So a
    revision never replaces a higher one, however many writers there are and however late they are. A turn takes two
    commits and no read.

    **Abandoned answers** are returned as interrupted: their status is "streaming", and their last write is more than
    ``stale_seconds`` old by Firestore's own clock. Each read decides this and nothing is written, since another replica
    may still be writing: its final revision, if it comes, is returned. A running turn writes at least every 20 s, with
    or without new text.

    **Deletion**: one commit deletes the conversation and records the deletion; from then on no read returns the
    conversation and no write adds to it. Its messages are deleted in batches. If that is interrupted, the call has
    still succeeded, and the next replica that lists the user's conversations finishes it (see `deletions`). Ids must
    never be reused.

    **Retention**: with ``retention_days``, a message expires that long after its creation, and a conversation that long
    after its last write. Expired documents are not returned; TTL policies on `EXPIRY_FIELD` delete them, usually within
    a day. Documents written without a retention period never expire, and are deleted only with their conversation: set
    it from the beginning. A write to an expired conversation that is not deleted yet restores it.

    **Indexes**: queries order by and filter by `INDEXED_FIELDS`, which the automatic single-field indexes serve. No
    composite index is needed, and all other fields can be exempted.

    Args:
        project: the Google Cloud project.
        database: the database's id.
        retention_days: days until documents expire; None: never.
        stale_seconds: how long a running answer may go without a write.
    """

    def __init__(
        self, project: str, database: str, *, retention_days: int | None = None, stale_seconds: float = STALE_S
    ) -> None:
        self._connection = Connection(project, database)
        self._retention_ms = None if retention_days is None else retention_days * DAY_MS
        self._stale = timedelta(seconds=stale_seconds)
        self._revisions = Revisions()
        self._deletions = Deletions(lambda: self._call(READ_CALL_S))
        self._calls = Calls()
        self._scan = Scan(self)
        self._libraries = Libraries()

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, consistency: Consistency = Consistency.LATEST
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time, less what expired."""
        del consistency  # there is no cache
        limit = min(max(limit, 1), MAX_PAGE)
        after_ms, after_id = position(cursor)
        field = ORDER_FIELDS[CONVERSATIONS]
        async with self._call() as client:
            query = (
                client.collection(USERS, uid(user), CONVERSATIONS)
                .order_by(field, direction=Query.DESCENDING)
                .order_by("__name__", direction=Query.DESCENDING)
                .limit(limit + 1)
            )
            if (after_ms, after_id) != BEGINNING and is_id(after_id):
                query = query.start_after({field: after_ms, "__name__": after_id})
            documents = await fetched(query)
        if cursor is None:
            self._deletions.resume_interrupted(uid(user))
        last = conversation_of(documents[limit - 1].id, documents[limit - 1].fields) if len(documents) > limit else None
        shown = [conversation_of(one.id, one.fields) for one in documents[:limit] if not _is_expired(one)]
        return Page(shown, cursor_after(last) if last else None)

    async def conversation(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return one conversation."""
        del consistency
        async with self._call() as client:
            snapshot = await _owned(_conversation(client, user, conversation_id))
            return conversation_of(snapshot.id, snapshot.fields)

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``, as they were at one moment."""
        del consistency
        async with self._call(READ_CALL_S) as client:
            snapshots = await message_documents_of(await _owned(_conversation(client, user, conversation_id)))
        documents = {snapshot.id: snapshot.fields for snapshot in snapshots}
        messages = [
            self._with_current_status(message_of(snapshot.id, documents), snapshot)
            for snapshot in snapshots
            if not is_part(snapshot.id) and not _is_expired(snapshot)
        ]
        return in_order(messages)

    async def message(
        self, user: str, conversation_id: str, message_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Message:
        """Return one message, with one request (and one more for the further parts of a very long one)."""
        del consistency
        async with self._call(READ_CALL_S) as client:
            conversation = _conversation(client, user, conversation_id)
            first = await _part_of(client, conversation, MESSAGES, message_id)
            names = [part_id(message_id, number) for number in range(1, first.fields["parts"])]
            parts = [conversation.collection(MESSAGES).document(name) for name in names]
            further = await fetched_all(client, parts, at=first.read_time, seconds=READ_ATTEMPT_S) if parts else []
        documents = {snapshot.id: snapshot.fields for snapshot in (first, *further)}
        return self._with_current_status(message_of(message_id, documents), first)

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        return await self._attachment(Image, user, conversation_id, image_id)

    async def document(self, user: str, conversation_id: str, document_id: str) -> Document:
        """Return a document of a conversation, with its data."""
        return await self._attachment(Document, user, conversation_id, document_id)

    async def _attachment(
        self, kind: type[AttachmentT], user: str, conversation_id: str, attachment_id: str
    ) -> AttachmentT:
        async with self._call(READ_CALL_S) as client:
            conversation = _conversation(client, user, conversation_id)
            snapshot = await _part_of(client, conversation, COLLECTIONS[kind], attachment_id)
        return attachment_of(kind, attachment_id, snapshot.fields)

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned conversations, the last updated first.

        Sorted here: there is an index of the pinned ones, but no composite index for their order. Beyond `PINNED_READ`,
        an arbitrary part is left out.
        """
        del consistency
        async with self._call() as client:
            conversations = client.collection(USERS, uid(user), CONVERSATIONS)
            query = conversations.where(filter=FieldFilter(PINNED_FIELD, "==", value=True)).limit(PINNED_READ)
            documents = await fetched(query)
        shown = (conversation_of(one.id, one.fields) for one in documents if not _is_expired(one))
        return sorted((one for one in shown if not one.deleted_ms), key=sort_key, reverse=True)[:MAX_PINNED]

    async def in_folder(
        self, user: str, folder: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Conversation]:
        """Return the conversations of a folder, the last updated first.

        Sorted here, as `pinned`. Beyond `FOLDER_READ`, an arbitrary part is left out.
        """
        del consistency
        async with self._call(READ_CALL_S) as client:
            conversations = client.collection(USERS, uid(user), CONVERSATIONS)
            query = conversations.where(filter=FieldFilter(FOLDER_FIELD, "==", value=folder)).limit(FOLDER_READ)
            documents = await fetched(query, seconds=READ_ATTEMPT_S) if folder else []
        return of_folder((conversation_of(one.id, one.fields) for one in documents if not _is_expired(one)), folder)

    async def search(
        self, user: str, text: str, *, limit: int = 20, cursor: str | None = None, thinking: bool = False
    ) -> Page[Hit]:
        """Find the conversations with a message, or else a title, that has all words of a text, by reading them."""
        return await self._scan.search(user, text, limit=limit, cursor=cursor, thinking=thinking)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""
        new = encoded(messages, self._retention_ms)
        fields = conversation_document(conversation) | expiry(now_ms(), self._retention_ms)
        async with self._call() as client:
            reference = _conversation(client, user, conversation.id)
            with suppress(AlreadyExists):  # a retry
                await self._revisions.create(client, reference, fields, new)
        self._scan.wrote(user, conversation.id)

    async def create_all(self, user: str, new: Sequence[tuple[Conversation, Sequence[Message]]]) -> set[str]:
        """Add conversations with their first messages, in commits of many; return no id: users are apart.

        Where one conversation of a commit exists, each gets a commit of its own.
        """
        async with self._call() as client:
            creations = [
                New(
                    _conversation(client, user, conversation.id),
                    conversation_document(conversation) | expiry(now_ms(), self._retention_ms),
                    encoded(messages, self._retention_ms),
                )
                for conversation, messages in new
            ]
        for group in commits(creations):
            if not await self._created(group) and len(group) > 1:
                for one in group:
                    await self._created([one])
            for one in group:
                self._scan.wrote(user, one.conversation.id)
        return set()

    async def _created(self, group: Sequence[New]) -> bool:
        """Create conversations in one commit; return False, with nothing changed, if one of them exists."""
        async with self._call() as client:
            try:
                await self._revisions.create_all(client, group)
            except AlreadyExists:
                return False
            return True

    async def revisions(self, user: str, conversation_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the revision of each message by id, for those of these conversations that the user has."""
        async with self._call(READ_CALL_S) as client:
            return await revisions(client, [_conversation(client, user, id_) for id_ in conversation_ids if is_id(id_)])

    async def update(self, user: str, conversation: Conversation) -> None:
        """Change a conversation field by field: see `chatapp.domain.conversation.changed`."""
        async with self._call() as client:
            reference = _conversation(client, user, conversation.id)
            await put_fields(client, reference, conversation, self._touched(conversation.updated_ms))
        self._scan.wrote(user, conversation.id)

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""
        new = encoded(messages, self._retention_ms)
        async with self._call() as client:
            reference = _conversation(client, user, conversation_id)
            if not messages:
                await _owned(reference)
                return
            newest_ms = max(message.created_ms for message in messages)
            await self._revisions.put(client, reference, self._touched(newest_ms), new)
        self._scan.wrote(user, conversation_id)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages for good."""
        if not is_id(conversation_id):
            return
        async with self._call() as client:
            await begin_deletion(client, uid(user), conversation_id)
        self._scan.wrote(user, conversation_id)
        await self._deletions.finish(uid(user), conversation_id)

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile."""
        del consistency
        async with self._call() as client:
            snapshot = await fetched_one(client.document(USERS, uid(user)))
        return profile_of(snapshot.fields) if snapshot else Profile()

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile; of each of its two parts, one of the same or a higher revision stays."""
        profile = clean_profile(profile)
        refuse_too_much_profile(profile)
        async with self._call() as client:
            await put_profile(client, client.document(USERS, uid(user)), profile)

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile for good."""
        async with self._call() as client:
            batch = client.batch()
            batch.delete(client.document(USERS, uid(user)))
            await committed(batch)

    async def sessions(self, user: str) -> list[SessionRecord]:
        """Return the user's sessions."""
        async with self._call() as client:
            return await sessions_of(client, uid(user))

    async def save_session(self, user: str, session: SessionRecord, *, until_ms: int) -> None:
        """Add or replace a session."""
        async with self._call() as client:
            await put_session(client, uid(user), session, until_ms)

    async def revocations(self, user: str) -> Revocations:
        """Return which of the user's sessions are revoked."""
        async with self._call() as client:
            return await revocations_of(client, uid(user))

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """Revoke one session of the user, or all that began up to ``before_ms``."""
        async with self._call() as client:
            await put_revocation(client, uid(user), session, before_ms, until_ms)

    async def save_share(self, user: str, share: Share, pieces: Mapping[str, bytes]) -> None:
        """Add a share of a conversation."""
        refuse_too_large_pieces(pieces)
        async with self._call(READ_CALL_S) as client:
            await put_share(client, uid(user), share, pieces)

    async def shares(self, user: str) -> list[Share]:
        """Return the user's shares, the latest first."""
        async with self._call() as client:
            return await shares_of(client, uid(user))

    async def delete_share(self, user: str, share_id: str) -> None:
        """Delete a share of the user for good."""
        async with self._call(READ_CALL_S) as client:
            await delete_share(client, uid(user), share_id)

    async def shared(self, share_id: str) -> Share:
        """Return a share of any user."""
        async with self._call() as client:
            return await shared(client, share_id)

    async def shared_piece(self, share_id: str, name: str) -> bytes:
        """Return a piece of a share of any user."""
        async with self._call(READ_CALL_S) as client:
            return await shared_piece(client, share_id, name)

    async def change_library(self, user: str, change: Callable[[Profile], Profile]) -> Profile:
        """Change the collections and folders of the user's profile."""
        async with self._call() as client:
            return await change_library(client, client.document(USERS, uid(user)), change)

    async def add_library_document(self, user: str, document: LibraryDocument) -> None:
        """Add a document to a collection."""
        refuse_too_large_attachment(document.document)
        async with self._call(READ_CALL_S) as client:
            await self._libraries.add(client, uid(user), document)

    async def library(self, user: str, collection: str = "") -> list[LibraryDocument]:
        """Return the documents of a collection, or of all, by collection and name, without data; see `Libraries`."""
        async with self._call(READ_CALL_S) as client:
            return await self._libraries.documents(client, uid(user), collection)

    async def library_document(self, user: str, document_id: str) -> LibraryDocument:
        """Return a document of a collection, with its data."""
        async with self._call(READ_CALL_S) as client:
            return await library_document(client, uid(user), document_id)

    async def remove_library_documents(self, user: str, document_ids: Collection[str]) -> None:
        """Delete documents of collections for good."""
        async with self._call() as client:
            await self._libraries.remove(client, uid(user), document_ids)

    async def vectors(self, user: str, conversation_id: str, document_ids: Collection[str]) -> dict[str, bytes]:
        """Return the vectors of documents of a conversation, or of collections (""), by document."""
        async with self._call(READ_CALL_S) as client:
            return await vectors_of(client, uid(user), conversation_id, document_ids)

    async def save_vectors(self, user: str, conversation_id: str, document_id: str, vectors: bytes) -> None:
        """Add or replace the vectors of a document of a conversation, or of a collection ("")."""
        refuse_too_many_vectors(vectors)
        async with self._call(READ_CALL_S) as client:
            await put_vectors(client, uid(user), conversation_id, document_id, vectors)

    async def stored_bytes(self, user: str | None = None, *, consistency: Consistency = Consistency.LATEST) -> int:
        """Return about how many bytes the conversations, shares and documents of one user take, or of all users.

        The profiles do not count. An aggregation costs one read per 1,000 documents. Messages that expired in a
        conversation still count.
        """
        del consistency
        async with self._call() as client:
            groups = [
                client.collection_group(name) if user is None else client.collection(USERS, uid(user), name)
                for name in (CONVERSATIONS, SHARES, LIBRARY)
            ]
            # Its annotation names the class, not an object of it.
            sums = (summed(group.sum(SIZE_FIELD, alias=SIZE_FIELD)) for group in groups)  # type: ignore[arg-type]
            return sum(await asyncio.gather(*sums))

    def is_shared(self, conversation_id: str) -> bool:  # noqa: ARG002  # the protocol's parameter
        """Return True: other replicas use the same database."""
        return True

    async def aclose(self) -> None:
        """Finish the accepted calls and close the connection; idempotent."""
        self._calls.closing = True
        await self._deletions.aclose()
        await self._calls.finish()
        await self._connection.close()

    def _touched(self, updated_ms: int) -> dict[str, Any]:
        """Return the changes that record a write to a conversation."""
        changes = {ORDER_FIELDS[CONVERSATIONS]: Maximum(updated_ms), EXPIRY_FIELD: DELETE_FIELD}
        return changes | expiry(now_ms(), self._retention_ms)

    def _with_current_status(self, message: Message, document: Snapshot) -> Message:
        running = message.status is MessageStatus.STREAMING
        if running and document.read_time - document.update_time > self._stale:
            return replace(message, status=MessageStatus.INTERRUPTED)
        return message

    @asynccontextmanager
    async def _call(self, seconds: float = CALL_S) -> AsyncIterator[Client]:
        """Give a call its client and its timeout, and convert its errors to StoreUnavailable."""
        with self._calls.track():
            try:
                async with asyncio.timeout(seconds):
                    yield await self._connection.client()
            except Exception as error:
                if is_explained(error):
                    raise self._connection.explained(error) from error
                raise


def _conversation(client: Client, user: str, conversation_id: str) -> AsyncDocumentReference:
    if not is_id(conversation_id):
        raise ConversationNotFound(detail="not a valid id")
    return client.document(USERS, uid(user), CONVERSATIONS, conversation_id)


async def _owned(reference: AsyncDocumentReference) -> Snapshot:
    snapshot = await fetched_one(reference)
    if snapshot is None or _is_expired(snapshot):
        raise ConversationNotFound
    return snapshot


async def _part_of(client: Client, conversation: AsyncDocumentReference, kind: str, part: str) -> Snapshot:
    """Return a document beneath a conversation, unless it is left from an unfinished deletion."""
    if not is_id(part):
        raise ConversationNotFound(detail="not a valid id")
    references = [conversation, conversation.collection(kind).document(part)]
    documents = {one.reference.path: one for one in await fetched_all(client, references, seconds=READ_ATTEMPT_S)}
    if len(documents) < len(references) or any(map(_is_expired, documents.values())):
        raise ConversationNotFound(detail=f"none of its {kind}")
    return documents[references[1].path]


def _is_expired(document: Snapshot) -> bool:
    return is_expired(document.fields, document.read_time)
