"""The store in a cloud behind a journal on this disk (an outbox): no message waits for the cloud, and none is lost.

`journal` is the queue of pending writes on the disk (`file` opens it), `delivery` sends them to the cloud, `reads` and
`lists` merge them with the cloud's data through `cloud_reads`, `recent` is the read cache, and `running` ends the
answers of a killed process.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Self, TypedDict, Unpack

import structlog

from chatapp.domain.conversation import MessageStatus, Role, changed, saved
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store import Consistency, StoreStatus
from chatapp.store.codec import clean, clean_conversation, clean_profile, without_data
from chatapp.store.journal.delivery import Deliveries
from chatapp.store.journal.journal import Journal
from chatapp.store.journal.lists import Lists
from chatapp.store.journal.reads import Reads
from chatapp.store.journal.recent import RECENT_BYTES
from chatapp.store.journal.rows import PROFILE
from chatapp.store.journal.usage import CloudUsage
from chatapp.store.library import library_bytes
from chatapp.store.quota import message_bytes
from chatapp.store.scanning import Scan
from chatapp.store.values import (
    UNREACHABLE,
    attached_bytes,
    in_order,
    newest,
    refuse_too_large_attachments,
    refuse_too_much,
    refuse_too_much_profile,
)
from chatapp.store.without_files import WithoutFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    from chatapp.domain.conversation import Conversation, Message, Profile
    from chatapp.domain.library import LibraryDocument
    from chatapp.domain.share import Share
    from chatapp.store import Hit, Page, Revocations, SessionRecord, Store
    from chatapp.store.journal.rows import Key

AT_ONCE = 8  # concurrent deliveries, of one or two requests each
MOST_WRITES = 10_000
MOST_BYTES = 256_000_000
DRAIN_S, LOG_DRAINING_AFTER_S = 30.0, 1.0
SHARED_WITHIN_S = 5.0  # how long a share waits until its conversation is in the cloud, a library for its profile

log = structlog.get_logger(__name__)


class Options(TypedDict, total=False):
    """The options of `JournaledStore`."""

    most_writes: int
    most_bytes: int
    at_once: int
    drain_seconds: float
    recent_bytes: int


class JournaledStore(WithoutFiles, Lists, Reads):
    """A `chatapp.store.Store` that writes to a journal on this disk (an outbox), and delivers from there to the cloud.

    **Writes**: a call returns when its write is in the journal (SQLite, ``synchronous=FULL``). A background task
    delivers it: in order per conversation, only the newest pending revision of a message, several appends in one call,
    with retries after a failure and after a restart. A crash between a delivery and its acknowledgement delivers the
    write again, which is safe: every call of a store is idempotent. `Deliveries` documents the backoff and permanent
    errors.

    **Read your writes**: a read returns the cloud's data merged with the pending writes. A conversation that was
    deleted here stays deleted here, even while the cloud still returns it.

    **`Consistency.CACHED`**: a read returns cached data, updated with every write made here. It reads from the cloud
    only what was not read since the start or was evicted (see ``recent_bytes``). Of a list, only the first page is
    cached. Writes of other replicas are missing until a read with `Consistency.LATEST`.

    **Outage**: when the cloud does not answer within `READ_TIMEOUT_S`, a read falls back to the cache (conversations,
    and the first page of the list) merged with the pending writes, so that users can continue a conversation. Writes
    of other replicas and devices are missing until the cloud is back. After a restart during an outage, the cache is
    empty: of the list, only conversations with pending writes are available, and the messages only of those that were
    created here and are not delivered. A fallback never lacks what was written here. It lacks messages of another
    replica, even ones that were read here, where the reply to a creation was lost, so that the creation still waits,
    and the cache has evicted the conversation or is new: the next request of a page that shows them waits until they
    can be read (`chatapp.conversations.catch_up`), and once the cloud is back all are there. All other reads raise
    the cloud's StoreUnavailable. An append or an update needs a conversation that is known to exist: from the cache or
    the journal, without a request, or else from the cloud.

    **Running answers**: the journal records the last text of a running answer until it ends. After a kill, the next
    start appends an interrupted revision; a newer revision of another replica wins. Abandoned answers of other
    replicas are detected by the cloud's store, as in `FirestoreStore`.

    **Deletion**: it erases the conversation's pending writes from the journal before it returns (as
    `chatapp.store.sqlite.store.SQLiteStore` does), and is then delivered itself. Delivered text has left
    the file about five seconds later.

    **Backpressure**: at ``most_writes`` or ``most_bytes``, new conversations and new questions raise StoreUnavailable
    before a model is called; ends of answers, changed titles and deletions are still accepted. A full or read-only
    disk rejects every write at once, as a whole.

    **Preconditions**: the cloud keeps the ids of each user separate, as `FirestoreStore` does, because a creation is
    accepted without a request. A repeated creation must not contain another running answer, which the next start would
    take for an abandoned one. If the cloud already has a conversation that is unknown here, only `LATEST` reads return
    it. The file belongs to one running chat and one destination, and must outlive the process: pending writes are lost
    with it.

    Args:
        journal: open; it is closed with this store, as ``cloud`` is.
        most_writes: limit of pending writes; most turns have two or three.
        most_bytes: limit of their text and fields; the file is somewhat larger.
        at_once: concurrent deliveries.
        drain_seconds: how long `aclose` delivers pending writes.
        recent_bytes: size of the read cache.
    """

    def __init__(
        self,
        journal: Journal,
        cloud: Store,
        *,
        most_writes: int = MOST_WRITES,
        most_bytes: int = MOST_BYTES,
        at_once: int = AT_ONCE,
        drain_seconds: float = DRAIN_S,
        recent_bytes: int = RECENT_BYTES,
    ) -> None:
        super().__init__(journal, cloud, recent_bytes)
        self._most_writes = most_writes
        self._most_bytes = most_bytes
        self._drain_seconds = drain_seconds
        self._deliveries = Deliveries(journal, cloud, at_once, self._forget, self._cloud_reads.close)
        self._scan = Scan(_Searched(self))
        self._usage = CloudUsage(cloud)
        self._closed = False
        self._close_once = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, cloud: Store, *, destination: str, **options: Unpack[Options]) -> Self:
        """Open or create the journal, and begin to deliver its pending writes.

        ``destination`` describes the cloud for people; a journal with writes for another one is rejected. ``options``
        are those of the class.

        Raises:
            StoreUnavailable: another chat uses the file, or it cannot be used; it was not changed.
        """
        journal = await Journal.open(path, destination)
        try:
            if number := await journal.interrupt_abandoned():
                log.warning("answers_interrupted", number=number)
        except StoreUnavailable as error:  # a full disk must not prevent deliveries
            log.warning("answers_not_interrupted", detail=error.detail)
        store = cls(journal, cloud, **options)
        store._deliveries.start(await journal.conversations())
        return store

    def is_shared(self, conversation_id: str) -> bool:  # noqa: ARG002  # the protocol's parameter
        """Return True: other replicas use the same database."""
        return True

    def pending(self, user: str, conversation_id: str = "") -> bool:
        """Return whether a conversation, or the profile (""), has pending writes."""
        return self._deliveries.pending((user, conversation_id or PROFILE))

    async def undelivered(self, user: str, conversation_id: str) -> set[str]:
        """Return the ids of a conversation's messages with a pending write; reads the disk only if there is one."""
        key = user, conversation_id
        return await self._journal.undelivered(key) - {""} if self._deliveries.pending(key) else set()

    async def delivered(self, user: str, conversation_id: str, message_id: str, *, seconds: float) -> bool:
        """Wait until no write of a message, of a conversation's own fields, or of the profile is pending.

        True also if it was dropped with its conversation.
        """
        key = user, conversation_id or PROFILE
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while progress := self._deliveries.progress(key):
                    if message_id not in await self._journal.undelivered(key):
                        return True
                    await progress.wait()
                return True
        return False

    async def search(
        self, user: str, text: str, *, limit: int = 20, cursor: str | None = None, thinking: bool = False
    ) -> Page[Hit]:
        """Find the conversations with a message, or else a title, that has all words of a text, by reading them."""
        with self._calls.track():
            return await self._scan.search(user, text, limit=limit, cursor=cursor, thinking=thinking)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""
        conversation, messages = clean_conversation(conversation), tuple(map(clean, messages))
        self._refuse_if_too_large_or_full(messages, is_new=True)
        key, new = (user, conversation.id), [(conversation, messages)]
        with self._calls.track():
            await self._journal.create(key, conversation, messages, lambda is_new: self._created(user, new, [is_new]))
        self._count(user, messages)

    async def create_all(self, user: str, new: Sequence[tuple[Conversation, Sequence[Message]]]) -> set[str]:
        """Add conversations with their first messages in one transaction; return no id: the cloud keeps users apart."""
        new = [(clean_conversation(conversation), tuple(map(clean, messages))) for conversation, messages in new]
        for _, messages in new:
            self._refuse_if_too_large_or_full(messages, is_new=True)
        with self._calls.track():
            await self._journal.create_all(user, new, lambda are_new: self._created(user, new, are_new))
        for _, messages in new:
            self._count(user, messages)
        return set()

    async def update(self, user: str, conversation: Conversation) -> None:
        """Change a conversation field by field: see `chatapp.domain.conversation.changed`."""
        conversation = clean_conversation(conversation)
        key = user, conversation.id
        with self._calls.track():
            before = await self.conversation(*key, consistency=Consistency.CACHED)
            change = replace(conversation, created_ms=before.created_ms)
            await self._journal.update(key, change, lambda _: self._updated(key, before, conversation))

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""
        messages = tuple(map(clean, messages))
        self._refuse_if_too_large_or_full(messages, is_new=any(message.role is Role.USER for message in messages))
        key = user, conversation_id
        with self._calls.track():
            conversation = await self.conversation(*key, consistency=Consistency.CACHED)
            if messages:
                ids = {message.id for message in messages}
                cached = self._recent.messages(key) or ()
                seen = {message.id: message.revision for message in cached if message.id in ids}
                await self._journal.append(
                    key, messages, conversation, seen, lambda _: self._appended(key, messages, conversation)
                )
                self._count(user, messages)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages for good."""
        key = user, conversation_id
        if conversation_id == PROFILE:
            return
        with self._calls.track(), suppress(ConversationNotFound):  # an invalid id
            await self._journal.delete(key, lambda _: self._deleted(key))
            self._usage.deleted(user)

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile; of each of its two parts, one of the same or a higher revision stays."""
        profile = clean_profile(profile)
        refuse_too_much_profile(profile)
        with self._calls.track():
            await self._journal.save_profile(user, profile, lambda _: self._saved_profile(user, profile))

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile for good."""
        with self._calls.track():
            await self._journal.delete_profile(user, lambda _: self._deleted_profile(user))

    async def sessions(self, user: str) -> list[SessionRecord]:
        """Return the user's sessions from the cloud: other replicas add sessions too."""
        with self._calls.track():
            return await self._cloud.sessions(user)

    async def save_session(self, user: str, session: SessionRecord, *, until_ms: int) -> None:
        """Add or replace a session in the cloud before it returns, as `revoke` does."""
        with self._calls.track():
            await self._cloud.save_session(user, session, until_ms=until_ms)

    async def revocations(self, user: str) -> Revocations:
        """Return the user's revoked sessions from the cloud: other replicas revoke sessions too."""
        with self._calls.track():
            return await self._cloud.revocations(user)

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """Revoke one session of the user, or all that began up to ``before_ms``, in the cloud before it returns.

        It bypasses the journal, where it would be valid for this replica only.
        """
        with self._calls.track():
            await self._cloud.revoke(user, session=session, before_ms=before_ms, until_ms=until_ms)

    async def save_share(self, user: str, share: Share, pieces: Mapping[str, bytes]) -> None:
        """Add a share in the cloud before it returns, as its conversation is there: another replica may open the link.

        Raises:
            StoreUnavailable: also if the conversation is not in the cloud within `SHARED_WITHIN_S`.
        """
        if not await self.delivered(user, share.conversation_id, "", seconds=SHARED_WITHIN_S):
            raise StoreUnavailable(UNREACHABLE, detail="the conversation of a share is not delivered")
        with self._calls.track():
            await self._cloud.save_share(user, share, pieces)
        self._usage.add(user, share.size)

    async def shares(self, user: str) -> list[Share]:
        """Return the user's shares from the cloud: other replicas add shares too."""
        with self._calls.track():
            return await self._cloud.shares(user)

    async def delete_share(self, user: str, share_id: str) -> None:
        """Delete a share in the cloud before it returns: its link must not work at another replica."""
        with self._calls.track():
            await self._cloud.delete_share(user, share_id)
        self._usage.deleted(user)

    async def shared(self, share_id: str) -> Share:
        """Return a share of any user from the cloud."""
        with self._calls.track():
            return await self._cloud.shared(share_id)

    async def shared_piece(self, share_id: str, name: str) -> bytes:
        """Return a piece of a share of any user from the cloud."""
        with self._calls.track():
            return await self._cloud.shared_piece(share_id, name)

    async def change_library(self, user: str, change: Callable[[Profile], Profile]) -> Profile:
        """Change the collections and folders in the cloud before it returns: other replicas change them too.

        Raises:
            StoreUnavailable: also if a deletion of the profile is not in the cloud within `SHARED_WITHIN_S`, which
                would delete them again.
        """
        if not await self.delivered(user, "", "", seconds=SHARED_WITHIN_S):
            raise StoreUnavailable(UNREACHABLE, detail="the profile is not delivered")
        with self._calls.track():
            profile = await self._cloud.change_library(user, change)
            self._cloud_reads.wrote(user)
            if cached := self._recent.profile(user):
                self._recent.keep_profile(user, saved(cached, profile))
        return profile

    async def add_library_document(self, user: str, document: LibraryDocument) -> None:
        """Add a document in the cloud before it returns: the person still has the file if it fails."""
        with self._calls.track():
            await self._cloud.add_library_document(user, document)
        self._usage.add(user, library_bytes(document))

    async def library(self, user: str, collection: str = "") -> list[LibraryDocument]:
        """Return the documents of a collection, or of all, from the cloud."""
        with self._calls.track():
            return await self._cloud.library(user, collection)

    async def library_document(self, user: str, document_id: str) -> LibraryDocument:
        """Return a document of a collection from the cloud."""
        with self._calls.track():
            return await self._cloud.library_document(user, document_id)

    async def remove_library_documents(self, user: str, document_ids: Collection[str]) -> None:
        """Delete documents of collections in the cloud before it returns."""
        with self._calls.track():
            await self._cloud.remove_library_documents(user, document_ids)
        self._usage.deleted(user)

    async def save_vectors(self, user: str, conversation_id: str, document_id: str, vectors: bytes) -> None:
        """Add or replace the vectors of a document in the cloud, once the document is there.

        Raises:
            StoreUnavailable: also if the document is not in the cloud within `SHARED_WITHIN_S`.
        """
        if conversation_id:
            for waiting in ("", *await self.undelivered(user, conversation_id)):
                if not await self.delivered(user, conversation_id, waiting, seconds=SHARED_WITHIN_S):
                    raise StoreUnavailable(UNREACHABLE, detail="the conversation of vectors is not delivered")
        with self._calls.track():
            await self._cloud.save_vectors(user, conversation_id, document_id, vectors)

    async def stored_bytes(self, user: str | None = None, *, consistency: Consistency = Consistency.LATEST) -> int:
        """Return about how many bytes the data of one user take, or of all users: see `CloudUsage`."""
        return await self._usage.stored_bytes(user, wait=consistency is not Consistency.CACHED)

    def _count(self, user: str, messages: Sequence[Message]) -> None:
        """Count messages that do not change any more."""
        complete = (message for message in messages if message.status is not MessageStatus.STREAMING)
        self._usage.add(user, sum(map(message_bytes, complete)))

    def status(self) -> StoreStatus:
        """Return the depth of the journal, and whether the cloud is reachable."""
        depth = self._journal.depth
        return StoreStatus(
            waiting_writes=len(depth.rows),
            waiting_bytes=depth.size,
            waiting_seconds=depth.age,
            reachable=not self._deliveries.outage,
            full=self._is_full,
        )

    async def aclose(self) -> None:
        """Reject new writes, deliver for up to ``drain_seconds``, log the remaining writes, and close; idempotent.

        The next start delivers the remaining writes.
        """
        self._calls.closing = True
        async with self._close_once:
            if self._closed:
                return
            self._closed = True
            notice = asyncio.get_running_loop().call_later(LOG_DRAINING_AFTER_S, self._log_draining)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._drain_seconds):
                    await self._calls.finish()
                    await self._deliveries.drain()
            notice.cancel()
            await self._deliveries.aclose()
            await self._cloud_reads.aclose()
            await self._usage.aclose()
            await self._log_remaining()
            await self._journal.aclose()
            await self._cloud.aclose()

    # What follows once a write is on the disk, whether or not its caller still waits.

    def _created(
        self, user: str, new: Sequence[tuple[Conversation, Sequence[Message]]], are_new: Sequence[bool]
    ) -> None:
        """Cache accepted creations, where the journal says that they are new."""
        created = {
            conversation.id: (conversation, messages)
            for (conversation, messages), is_new in zip(new, are_new, strict=True)
            if is_new and self._recent.conversation((user, conversation.id)) is None
        }
        for conversation, _ in new:
            self._wrote((user, conversation.id))
        self._recent.keep_conversations(user, [conversation for conversation, _ in created.values()])
        for conversation, messages in created.values():
            self._recent.keep_messages((user, conversation.id), in_order(newest(map(without_data, messages))))

    def _updated(self, key: Key, before: Conversation, conversation: Conversation) -> None:
        self._wrote(key)
        # The cached one may be newer than ``before``: an append may have changed it since.
        self._recent.keep_conversation(key, changed(self._recent.conversation(key) or before, conversation))

    def _appended(self, key: Key, messages: Sequence[Message], conversation: Conversation) -> None:
        self._wrote(key)
        self._recent.appended(key, map(without_data, messages), conversation)

    def _deleted(self, key: Key) -> None:
        self._forget(key)
        self._deliveries.notice(key, supersedes=True)

    def _saved_profile(self, user: str, profile: Profile) -> None:
        self._wrote((user, PROFILE))
        if cached := self._recent.profile(user):
            self._recent.keep_profile(user, saved(cached, profile))

    def _deleted_profile(self, user: str) -> None:
        self._wrote((user, PROFILE))
        self._recent.forget_profile(user)

    def _wrote(self, key: Key) -> None:
        self._cloud_reads.wrote(key[0])
        self._scan.wrote(*key)
        self._deliveries.notice(key)

    def _forget(self, key: Key) -> None:
        """Drop a deleted conversation from the caches, also for reads in progress."""
        self._cloud_reads.wrote(key[0])
        self._scan.wrote(*key)
        self._recent.forget(key)

    @property
    def _is_full(self) -> bool:
        depth = self._journal.depth
        return len(depth.rows) >= self._most_writes or depth.size >= self._most_bytes

    def _refuse_if_too_large_or_full(self, messages: Sequence[Message], *, is_new: bool) -> None:
        refuse_too_large_attachments(messages)
        texts = sum(len(text.encode()) for message in messages for text in (message.content, message.thinking))
        refuse_too_much(texts + attached_bytes(messages))
        if is_new and self._is_full:
            raise StoreUnavailable(
                Sentence(
                    "The chat history cannot be saved: the cloud has been unavailable for a while "
                    "and the local queue is full. Nothing was sent; try again later."
                ),
                detail=f"{len(self._journal.depth.rows)} writes, {self._journal.depth.size} bytes wait",
            )

    def _log_draining(self) -> None:
        log.warning("saving_what_waits", writes=len(self._journal.depth.rows), at_most_seconds=self._drain_seconds)

    async def _log_remaining(self) -> None:
        with suppress(StoreUnavailable):
            await self._journal.accepted()
            if not self._journal.depth.rows:
                return
            for key in await self._journal.conversations():
                waiting = await self._journal.waiting(key)
                log.warning(
                    "not_delivered",
                    conversation=key[1],
                    writes=Counter(write.kind.value for write in waiting),
                    bytes=sum(write.size for write in waiting),
                )


class _Searched:
    """The reads of a search; they do not fill the cache, which is for conversations in use."""

    def __init__(self, store: JournaledStore) -> None:
        self.conversations = store.conversations
        self.messages = partial(store.messages, cache=False)
