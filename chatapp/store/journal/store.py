"""The store in a cloud behind a journal on this disk: no message waits for the cloud, and none is lost.

`journal` holds the writes that wait on the disk (`file` opens it), `delivery` sends them to the cloud, `reads` and
`lists` merge them into what the cloud returns, `recent` caches that, and `running` ends the answers of a
killed process.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Self, TypedDict, TypeVar, Unpack

import structlog

from chatapp.domain.conversation import Role
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store import Consistency, StoreStatus
from chatapp.store.calls import Calls
from chatapp.store.codec import clean, clean_conversation, clean_profile, without_image_data
from chatapp.store.journal.asking import Asking
from chatapp.store.journal.delivery import Deliveries
from chatapp.store.journal.journal import Journal
from chatapp.store.journal.lists import Lists
from chatapp.store.journal.overlay import changed
from chatapp.store.journal.reads import Reads
from chatapp.store.journal.recent import RECENT_BYTES, Recent
from chatapp.store.journal.rows import PROFILE
from chatapp.store.scanning import Scan
from chatapp.store.values import (
    in_order,
    newest,
    refuse_too_large_images,
    refuse_too_much,
    refuse_too_much_profile,
)

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from chatapp.domain.conversation import Conversation, Image, Message, Profile
    from chatapp.store import Hit, Page, Revocations, Store
    from chatapp.store.journal.rows import Key

T = TypeVar("T")

AT_ONCE = 8  # deliveries; each is one or two requests
MOST_WRITES = 10_000
MOST_BYTES = 256_000_000
DRAIN_S, SAY_SO_AFTER_S = 30.0, 1.0

log = structlog.get_logger(__name__)


class Options(TypedDict, total=False):
    """What can be chosen: see `JournaledStore`."""

    most_writes: int
    most_bytes: int
    at_once: int
    drain_seconds: float
    recent_bytes: int


class JournaledStore:
    """A `chatapp.store.Store` that writes to a journal on this disk, and from there to the cloud.

    **A write returns when it is on this disk** (SQLite, ``synchronous=FULL``) and is delivered to the cloud in the
    background: per conversation in the order of the calls, of several revisions of a message that wait only the newest,
    several appends in one, again after a failure, and again at the next start. A crash between a delivery and its note
    delivers it again, which the cloud takes, since every call of a store may be repeated. So may an update: it can undo
    a later one that another replica made in between. `Deliveries` says how an outage is waited out and what
    becomes of writes that the cloud refuses for good.

    **Read your writes**: what the cloud holds, with what waits here laid over it. A conversation
    that is deleted here is gone here, whatever the cloud still says.

    **`Consistency.CACHED`**: a read returns what was last read, with every write made here since, and asks the cloud
    only for what was not read since the start (or was evicted: see ``recent_bytes``). Of the list only the first page
    is cached. What another replica wrote or deleted meanwhile is missing until a read with `Consistency.LATEST`.

    **When the cloud does not answer**, or not within `PATIENCE_S`, a read shows what was last seen of a conversation or
    of the first page of the list (bounded, in memory, with everything written here since), and what waits here: a
    person in the middle of a conversation goes on. What another replica or another device wrote meanwhile is
    then missing until the cloud is back. After a restart in mid-outage only what waits here is known: a list or a
    conversation of which something waits is shown as far as that goes. Everything else raises the cloud's own
    StoreUnavailable. Existing conversations take messages only when they are known to exist: from here, without a
    request, or else from the cloud.

    **An answer that was running here** when the chat was killed is interrupted at the next start: the journal remembers
    its last text until its end comes, and else appends an end to it then; a newer revision, if another replica
    wrote one meanwhile, wins. What another copy left behind is for the cloud to tell, as `FirestoreStore` does.

    **A deletion** takes the conversation's waiting writes out of the journal before it returns, text and all (as
    `chatapp.store.sqlite.store.SQLiteStore` does), and is itself delivered. Delivered text leaves the file as soon as
    nothing waits any more.

    **Bounds**: from ``most_writes`` or ``most_bytes`` on, new conversations and new messages of a person raise
    StoreUnavailable before anything is asked of a model; the end of an answer, a changed title and a deletion are
    still taken. A disk that is full or may only be read refuses each write at once, whole.

    The cloud must keep the ids of each user apart, as `FirestoreStore` does: a creation is accepted without asking it.
    Made again, it must not hold another running answer, which the next start would take for one that was left behind.
    Should the cloud have that conversation already, unknown here, then only `LATEST` reads show it as it is.
    The file belongs to one running chat and one destination. It must outlive the process; what waits is lost with it.

    Args:
        journal: opened; it is closed with this store, as ``cloud`` is.
        most_writes: how many may wait; most turns wait as two or three.
        most_bytes: of text and facts that may wait; the file is somewhat larger.
        at_once: deliveries beside each other.
        drain_seconds: how long `aclose` delivers what waits.
        recent_bytes: memory for what was last seen.
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
        self._journal = journal
        self._cloud = cloud
        self._most_writes = most_writes
        self._most_bytes = most_bytes
        self._drain_seconds = drain_seconds
        self._recent = Recent(recent_bytes)
        self._asking = Asking()
        self._lists = Lists(journal, cloud, self._recent, self._asking)
        self._reads = Reads(journal, cloud, self._recent, self._asking)
        self._deliveries = Deliveries(journal, cloud, at_once, self._forget)
        self._scan = Scan(_Searched(self._lists, self._reads))
        self._accepting: set[asyncio.Task[None]] = set()
        self._calls = Calls()
        self._closed = False
        self._close_once = asyncio.Lock()

    @classmethod
    async def open(cls, path: Path, cloud: Store, *, destination: str, **options: Unpack[Options]) -> Self:
        """Open the journal, or make it, and begin to deliver what waits in it.

        ``destination`` names the cloud in a person's words; a journal with writes for another one is refused.
        ``options`` are those of the class.

        Raises:
            StoreUnavailable: another chat uses the file, or it cannot be used; it was not changed.
        """
        journal = await Journal.open(path, destination)
        try:
            if number := await journal.interrupt_abandoned():
                log.warning("answers_interrupted", number=number)
        except StoreUnavailable as error:  # a full disk, which must not keep what waits from being delivered
            log.warning("answers_not_interrupted", detail=error.detail)
        store = cls(journal, cloud, **options)
        store._deliveries.start(await journal.conversations())
        return store

    def pending(self, user: str, conversation_id: str = "") -> bool:
        """Return whether something of a conversation, or of the profile, is not in the cloud yet."""
        return self._deliveries.pending((user, conversation_id or PROFILE))

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, consistency: Consistency = Consistency.LATEST
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        with self._calls.one():
            return await self._lists.conversations(user, limit, cursor, consistency=consistency)

    async def conversation(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return one conversation."""
        with self._calls.one():
            return await self._reads.conversation((user, conversation_id), consistency=consistency)

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``."""
        with self._calls.one():
            return await self._reads.messages((user, conversation_id), consistency=consistency)

    async def message(
        self, user: str, conversation_id: str, message_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Message:
        """Return one message."""
        with self._calls.one():
            return await self._reads.message((user, conversation_id), message_id, consistency=consistency)

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        with self._calls.one():
            return await self._reads.image((user, conversation_id), image_id)

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned conversations, the last updated first."""
        with self._calls.one():
            return await self._lists.pinned(user, consistency=consistency)

    async def search(self, user: str, text: str, *, limit: int = 20, cursor: str | None = None) -> Page[Hit]:
        """Find the conversations with a message, or else a title, that has all words of a text, by reading them."""
        with self._calls.one():
            return await self._scan.search(user, text, limit=limit, cursor=cursor)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""
        conversation, messages = clean_conversation(conversation), tuple(map(clean, messages))
        self._refuse_what_is_too_much(messages, is_new=True)
        key = user, conversation.id
        with self._calls.one():
            await self._accept(self._created(key, conversation, messages))

    async def update(self, user: str, conversation: Conversation) -> None:
        """Replace all of a conversation but its id and ``created_ms``; ``updated_ms`` never goes back."""
        conversation = clean_conversation(conversation)
        key = user, conversation.id
        with self._calls.one():
            before = await self._reads.conversation(key, consistency=Consistency.CACHED)
            await self._accept(self._updated(key, before, conversation))

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""
        messages = tuple(map(clean, messages))
        self._refuse_what_is_too_much(messages, is_new=any(message.role is Role.USER for message in messages))
        key = user, conversation_id
        with self._calls.one():
            known = await self._reads.conversation(key, consistency=Consistency.CACHED)
            if messages:
                await self._accept(self._appended(key, messages, known))

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages for good."""
        key = user, conversation_id
        if conversation_id == PROFILE:
            return
        with self._calls.one(), suppress(ConversationNotFound):  # an id that cannot be one
            await self._accept(self._delete(key))

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile."""
        with self._calls.one():
            return await self._reads.profile(user, consistency=consistency)

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile, unless one of the same or a higher revision is stored."""
        profile = clean_profile(profile)
        refuse_too_much_profile(profile)
        with self._calls.one():
            await self._accept(self._saved_profile(user, profile))

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile for good."""
        with self._calls.one():
            await self._accept(self._deleted_profile(user))

    async def revocations(self, user: str) -> Revocations:
        """Return which of the user's sessions are revoked, from the cloud: other replicas revoke sessions too."""
        with self._calls.one():
            return await self._cloud.revocations(user)

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """Revoke one session of the user, or all that began up to ``before_ms``, in the cloud before it returns.

        In the journal the revocation would hold for this replica only.
        """
        with self._calls.one():
            await self._cloud.revoke(user, session=session, before_ms=before_ms, until_ms=until_ms)

    def status(self) -> StoreStatus:
        """Return how much waits for the cloud, and whether the cloud is reachable."""
        depth = self._journal.depth
        return StoreStatus(
            waiting_writes=len(depth.rows),
            waiting_bytes=depth.size,
            waiting_seconds=depth.age,
            reachable=not self._deliveries.outage,
            full=self._is_full,
        )

    async def aclose(self) -> None:
        """Accept no more writes, deliver for up to ``drain_seconds``, log what is left, and close; idempotent.

        What is left is delivered at the next start.
        """
        self._calls.closing = True
        async with self._close_once:
            if self._closed:
                return
            self._closed = True
            saying = asyncio.get_running_loop().call_later(SAY_SO_AFTER_S, self._say_that_it_drains)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._drain_seconds):
                    await self._calls.finish()
                    await self._deliveries.drain()
            saying.cancel()
            await self._deliveries.aclose()
            await self._asking.aclose()
            await asyncio.gather(*self._accepting, return_exceptions=True)
            await self._log_what_is_left()
            await self._journal.aclose()
            await self._cloud.aclose()

    async def _created(self, key: Key, conversation: Conversation, messages: Sequence[Message]) -> None:
        is_new = await self._journal.create(key, conversation, messages)
        self._wrote(key)
        if is_new and self._recent.conversation(key) is None:
            self._recent.keep_conversation(key, conversation)
            self._recent.keep_messages(key, in_order(newest(map(without_image_data, messages))))

    async def _updated(self, key: Key, before: Conversation, conversation: Conversation) -> None:
        await self._journal.update(key, replace(conversation, created_ms=before.created_ms))
        self._wrote(key)
        # As it is by now: something may have been appended since.
        self._recent.keep_conversation(key, changed(self._recent.conversation(key) or before, conversation))

    async def _appended(self, key: Key, messages: Sequence[Message], known: Conversation) -> None:
        seen = {message.id: message.revision for message in self._recent.messages(key) or ()}
        await self._journal.append(key, messages, known, seen)
        self._wrote(key)
        self._recent.appended(key, map(without_image_data, messages), known)

    async def _delete(self, key: Key) -> None:
        await self._journal.delete(key)
        self._forget(key)
        self._deliveries.notice(key, supersedes=True)

    async def _saved_profile(self, user: str, profile: Profile) -> None:
        await self._journal.save_profile(user, profile)
        self._wrote((user, PROFILE))
        if (known := self._recent.profile(user)) and profile.revision > known.revision:
            self._recent.keep_profile(user, profile)

    async def _deleted_profile(self, user: str) -> None:
        await self._journal.delete_profile(user)
        self._wrote((user, PROFILE))
        self._recent.forget_profile(user)

    def _wrote(self, key: Key) -> None:
        self._asking.wrote(key[0])
        self._scan.wrote(*key)
        self._deliveries.notice(key)

    def _forget(self, key: Key) -> None:
        """Drop a deleted conversation from the caches, also for reads in progress."""
        self._asking.wrote(key[0])
        self._scan.wrote(*key)
        self._recent.forget(key)

    async def _accept(self, accepting: Coroutine[None, None, None]) -> None:
        """Finish a write even if its caller is cancelled: once it is on the disk, it must be delivered."""
        task = asyncio.create_task(accepting)
        self._accepting.add(task)
        task.add_done_callback(self._accepting.discard)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, should its caller be gone
        await asyncio.shield(task)

    @property
    def _is_full(self) -> bool:
        depth = self._journal.depth
        return len(depth.rows) >= self._most_writes or depth.size >= self._most_bytes

    def _refuse_what_is_too_much(self, messages: Sequence[Message], *, is_new: bool) -> None:
        refuse_too_large_images(messages)
        sizes = (
            len(message.content.encode()) + sum(len(image.data) for image in message.images) for message in messages
        )
        refuse_too_much(sum(sizes))
        if is_new and self._is_full:
            raise StoreUnavailable(
                Sentence(
                    "The chat history cannot be saved: the cloud has been unavailable for a while "
                    "and the local queue is full. Nothing was sent; try again later."
                ),
                detail=f"{len(self._journal.depth.rows)} writes, {self._journal.depth.size} bytes wait",
            )

    def _say_that_it_drains(self) -> None:
        log.warning("saving_what_waits", writes=len(self._journal.depth.rows), at_most_seconds=self._drain_seconds)

    async def _log_what_is_left(self) -> None:
        if not self._journal.depth.rows:
            return
        with suppress(StoreUnavailable):
            for key in await self._journal.conversations():
                waiting = await self._journal.waiting(key)
                log.warning(
                    "not_delivered",
                    conversation=key[1],
                    writes=Counter(write.kind.value for write in waiting),
                    bytes=sum(write.size for write in waiting),
                )


class _Searched:
    """What a search reads; it does not fill the cache, which is for conversations in use."""

    def __init__(self, lists: Lists, reads: Reads) -> None:
        self._lists = lists
        self._reads = reads

    async def conversations(self, user: str, *, limit: int = 50, cursor: str | None = None) -> Page[Conversation]:
        return await self._lists.conversations(user, limit, cursor, consistency=Consistency.LATEST)

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Message]:
        return await self._reads.messages((user, conversation_id), consistency=consistency, keep=False)
