"""The store in memory: for temporary conversations."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Document, Image, Profile, Role, changed, now_ms, saved
from chatapp.domain.errors import ConversationNotFound, DocumentNotFound, ShareNotFound, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store import Consistency, Page, Revocations, SessionRecord
from chatapp.store.calls import CLOSED
from chatapp.store.codec import clean, clean_conversation, clean_document, clean_profile, without_data
from chatapp.store.direct import DirectStore
from chatapp.store.library import in_library_order, library_bytes, of_folder, with_library
from chatapp.store.scanning import Scan
from chatapp.store.values import (
    MAX_PAGE,
    MAX_PINNED,
    cursor_after,
    in_order,
    newest,
    position,
    refuse_too_large_attachment,
    refuse_too_large_attachments,
    refuse_too_large_pieces,
    refuse_too_many_vectors,
    refuse_too_much_profile,
    sort_key,
)
from chatapp.store.without_files import WithoutFiles, without_files

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from chatapp.domain.conversation import Attachment, AttachmentT, Conversation, Message
    from chatapp.domain.library import LibraryDocument
    from chatapp.domain.share import Share
    from chatapp.store import Hit

MOST_BYTES = 64_000_000
MOST_USER_BYTES = 16_000_000
FORGET_AFTER_S = 12 * 3600.0
_OBJECT_BYTES = 600  # of a message or conversation without its texts, about

Key = tuple[str, str]  # user, conversation id


@dataclass(slots=True)
class Entry:
    """A conversation with its messages, images and documents."""

    conversation: Conversation
    messages: dict[str, Message] = field(default_factory=dict)
    attachments: dict[tuple[type[object], str], Attachment] = field(default_factory=dict)
    used_at: float = 0.0  # by the monotonic clock
    vectors: dict[str, bytes] = field(default_factory=dict)  # by document
    content_bytes: int = 0  # of the messages and attachments, approximately, in memory

    @property
    def size(self) -> int:
        """Approximate size in memory, in bytes."""
        return self.content_bytes + _size(self.conversation.title) + _size(self.conversation.system_prompt)


class Memory:
    """The data of a `MemoryStore`.

    Attributes:
        conversations: the least recently used first.
        sizes: bytes of the conversations by user.
        profiles: by user.
        revocations: revoked sessions by user.
        shares: the user, the share and its pieces, by id.
        library: documents of collections, by user and id.
        vectors: of these documents, by user and id.
    """

    def __init__(self) -> None:
        self.conversations: OrderedDict[Key, Entry] = OrderedDict()
        self.sizes: Counter[str] = Counter()
        self.profiles: dict[str, Profile] = {}
        self.revocations: dict[str, Revocations] = {}
        self.sessions: dict[str, dict[str, tuple[SessionRecord, int]]] = {}
        self.shares: dict[str, tuple[str, Share, Mapping[str, bytes]]] = {}
        self.library: dict[str, dict[str, LibraryDocument]] = {}
        self.vectors: dict[str, dict[str, bytes]] = {}
        self._ids: dict[str, OrderedDict[str, None]] = {}  # by user, in the order of `conversations`
        self._size = 0

    @property
    def size(self) -> int:
        """Bytes of all conversations."""
        return self._size

    def ids(self, user: str) -> Collection[str]:
        """Return the ids of a user's conversations, the least recently used first."""
        return self._ids.get(user, ())

    def put(self, key: Key, entry: Entry) -> None:
        """Add or replace a conversation, as the last used."""
        self.pop(key)
        user, conversation_id = key
        self.conversations[key] = entry
        self._ids.setdefault(user, OrderedDict())[conversation_id] = None
        self.sizes[user] += entry.size
        self._size += entry.size

    def use(self, key: Key) -> None:
        """Make a conversation the last used."""
        self.conversations.move_to_end(key)
        self._ids[key[0]].move_to_end(key[1])

    def pop(self, key: Key) -> None:
        """Remove a conversation if it is there."""
        entry = self.conversations.pop(key, None)
        if entry is None:
            return
        user, conversation_id = key
        self._size -= entry.size
        self.sizes[user] -= entry.size
        del self._ids[user][conversation_id]
        if not self._ids[user]:
            del self._ids[user], self.sizes[user]


class MemoryStore(WithoutFiles, DirectStore):
    """A `chatapp.store.Store` that ends with the process and evicts unused conversations.

    A conversation is evicted after ``forget_after_seconds`` without use. When all together take more than
    ``most_bytes``, the user whose conversations take most loses the least recently used one: so no user evicts the
    conversations of another who has less. One user's may take ``most_user_bytes``, and beyond that evict each other; a
    single conversation accepts no further questions then. No call awaits anything, so every call is atomic.
    """

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        most_bytes: int = MOST_BYTES,
        most_user_bytes: int = MOST_USER_BYTES,
        forget_after_seconds: float = FORGET_AFTER_S,
    ) -> None:
        self._memory = memory or Memory()
        self._most_bytes = most_bytes
        self._most_user_bytes = most_user_bytes
        self._forget_after_seconds = forget_after_seconds
        self._closed = False
        self._scan = Scan(self, most_bytes=0)  # it is in memory already

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, consistency: Consistency = Consistency.LATEST
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first, 1 to `MAX_PAGE` at a time."""
        del consistency
        limit = min(max(limit, 1), MAX_PAGE)
        after = position(cursor)
        listed = [one for one in self._all(user) if sort_key(one) < after]
        return Page(listed[:limit], cursor_after(listed[limit - 1]) if len(listed) > limit else None)

    async def conversation(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return one conversation."""
        del consistency
        return self._used(user, conversation_id).conversation

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``, their images and documents without data."""
        del consistency
        return in_order(self._used(user, conversation_id).messages.values())

    async def message(
        self, user: str, conversation_id: str, message_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Message:
        """Return one message."""
        del consistency
        if message := self._used(user, conversation_id).messages.get(message_id):
            return message
        raise ConversationNotFound(detail="no such message")

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        return self._attachment(Image, user, conversation_id, image_id)

    async def document(self, user: str, conversation_id: str, document_id: str) -> Document:
        """Return a document of a conversation, with its data."""
        return self._attachment(Document, user, conversation_id, document_id)

    def _attachment(self, kind: type[AttachmentT], user: str, conversation_id: str, attachment_id: str) -> AttachmentT:
        attachment = self._used(user, conversation_id).attachments.get((kind, attachment_id))
        if isinstance(attachment, kind):
            return attachment
        raise ConversationNotFound(detail=f"no such {kind.__name__.lower()}")

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned conversations, the last updated first."""
        del consistency
        return [one for one in self._all(user) if one.pinned and not one.deleted_ms][:MAX_PINNED]

    async def in_folder(
        self, user: str, folder: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Conversation]:
        """Return the conversations of a folder, the last updated first."""
        del consistency
        return of_folder(self._all(user), folder)

    async def search(
        self, user: str, text: str, *, limit: int = 20, cursor: str | None = None, thinking: bool = False
    ) -> Page[Hit]:
        """Find the conversations with a message, or else a title, that has all words of a text."""
        return await self._scan.search(user, text, limit=limit, cursor=cursor, thinking=thinking)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""
        self._refuse(messages)
        entry, cleaned = (
            Entry(clean_conversation(conversation)),
            [clean(without_files(message)) for message in messages],
        )
        if (user, conversation.id) not in self._memory.conversations:
            _put(entry, cleaned)
            self._refuse_if_full(entry, messages)
            self._keep((user, conversation.id), entry)

    async def create_all(self, user: str, new: Sequence[tuple[Conversation, Sequence[Message]]]) -> set[str]:
        """Add conversations with their first messages; return no id: each user has ids of their own."""
        for conversation, messages in new:
            await self.create(user, conversation, *messages)
        return set()

    async def revisions(self, user: str, conversation_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the revision of each message by id, for those of these conversations that the user has."""
        self._open()
        return {
            id_: {message.id: message.revision for message in self._used(user, id_).messages.values()}
            for id_ in conversation_ids
            if (user, id_) in self._memory.conversations
        }

    async def update(self, user: str, conversation: Conversation) -> None:
        """Change a conversation field by field: see `chatapp.domain.conversation.changed`."""
        entry = self._used(user, conversation.id)
        after = changed(entry.conversation, clean_conversation(conversation))
        self._keep((user, conversation.id), replace(entry, conversation=after))

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""
        self._refuse(messages)
        before = self._used(user, conversation_id)
        updated_ms = max([before.conversation.updated_ms, *(message.created_ms for message in messages)])
        entry = Entry(
            replace(before.conversation, updated_ms=updated_ms),
            dict(before.messages),
            dict(before.attachments),
            content_bytes=before.content_bytes,
        )
        _put(entry, [clean(without_files(message)) for message in messages])
        self._refuse_if_full(entry, messages)
        self._keep((user, conversation_id), entry)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation with all that belongs to it."""
        self._open()
        self._memory.pop((user, conversation_id))
        for one in [
            id_
            for id_, (owner, share, _) in self._memory.shares.items()
            if (owner, share.conversation_id) == (user, conversation_id)
        ]:
            del self._memory.shares[one]

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile."""
        del consistency
        self._open()
        return self._memory.profiles.get(user, Profile())

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile; of each of its two parts, one of the same or a higher revision stays."""
        self._open()
        profile = clean_profile(profile)
        refuse_too_much_profile(profile)
        before = self._memory.profiles.get(user)
        self._memory.profiles[user] = saved(before, profile) if before else profile

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile."""
        self._open()
        self._memory.profiles.pop(user, None)

    async def sessions(self, user: str) -> list[SessionRecord]:
        """Return the user's sessions."""
        self._open()
        kept = [session for session, until_ms in self._memory.sessions.get(user, {}).values() if until_ms > now_ms()]
        return sorted(kept, key=lambda one: (-one.seen_ms, one.id))

    async def save_session(self, user: str, session: SessionRecord, *, until_ms: int) -> None:
        """Add or replace a session."""
        self._open()
        self._memory.sessions.setdefault(user, {})[session.id] = session, until_ms

    async def revocations(self, user: str) -> Revocations:
        """Return which of the user's sessions are revoked."""
        self._open()
        return self._memory.revocations.get(user, Revocations())

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """Revoke one session of the user, or all that began up to ``before_ms``, until the process ends."""
        del until_ms
        self._open()
        ended = Revocations(before_ms=before_ms, sessions=frozenset({session} - {""}))
        self._memory.revocations[user] = ended.joined(await self.revocations(user))

    async def save_share(self, user: str, share: Share, pieces: Mapping[str, bytes]) -> None:
        """Add a share of a conversation."""
        refuse_too_large_pieces(pieces)
        self._used(user, share.conversation_id)
        self._memory.shares.setdefault(share.id, (user, share, dict(pieces)))

    async def shares(self, user: str) -> list[Share]:
        """Return the user's shares, the latest first."""
        self._open()
        own = [share for owner, share, _ in self._memory.shares.values() if owner == user and self._is_open(share.id)]
        return sorted(own, key=lambda one: (-one.created_ms, one.id))

    async def delete_share(self, user: str, share_id: str) -> None:
        """Delete a share of the user."""
        self._open()
        if self._memory.shares.get(share_id, ("",))[0] == user:
            del self._memory.shares[share_id]

    async def shared(self, share_id: str) -> Share:
        """Return a share of any user."""
        self._open()
        if not self._is_open(share_id):
            raise ShareNotFound
        return self._memory.shares[share_id][1]

    async def shared_piece(self, share_id: str, name: str) -> bytes:
        """Return a piece of a share of any user."""
        await self.shared(share_id)
        try:
            return self._memory.shares[share_id][2][name]
        except KeyError:
            raise ShareNotFound(detail="no such piece") from None

    def _is_open(self, share_id: str) -> bool:
        if share_id not in self._memory.shares:
            return False
        user, share, _ = self._memory.shares[share_id]
        entry = self._memory.conversations.get((user, share.conversation_id))
        return bool(entry and not entry.conversation.deleted_ms and share.expires_ms > now_ms())

    async def change_library(self, user: str, change: Callable[[Profile], Profile]) -> Profile:
        """Change the collections and folders of the user's profile."""
        self._open()
        profile = with_library(self._memory.profiles.get(user, Profile()), change)
        self._memory.profiles[user] = profile
        return profile

    async def add_library_document(self, user: str, document: LibraryDocument) -> None:
        """Add a document to a collection."""
        self._open()
        refuse_too_large_attachment(document.document)
        cleaned = replace(document, document=replace(clean_document(document.document), file=""))
        self._memory.library.setdefault(user, {}).setdefault(document.document.id, cleaned)

    async def library(self, user: str, collection: str = "") -> list[LibraryDocument]:
        """Return the documents of a collection, or of all, by collection and name, without data."""
        self._open()
        documents = self._memory.library.get(user, {}).values()
        listed = (replace(one, document=replace(one.document, data=b"")) for one in documents)
        return in_library_order(one for one in listed if collection in {"", one.collection})

    async def library_document(self, user: str, document_id: str) -> LibraryDocument:
        """Return a document of a collection, with its data."""
        self._open()
        if document := self._memory.library.get(user, {}).get(document_id):
            return document
        raise DocumentNotFound

    async def remove_library_documents(self, user: str, document_ids: Collection[str]) -> None:
        """Delete documents of collections."""
        self._open()
        for document_id in document_ids:
            self._memory.library.get(user, {}).pop(document_id, None)
            self._memory.vectors.get(user, {}).pop(document_id, None)

    async def vectors(self, user: str, conversation_id: str, document_ids: Collection[str]) -> dict[str, bytes]:
        """Return the vectors of documents of a conversation, or of collections (""), by document."""
        self._open()
        there = self._memory.vectors.get(user, {})
        if conversation_id:
            entry = self._memory.conversations.get((user, conversation_id))
            there = entry.vectors if entry else {}
        return {one: there[one] for one in document_ids if one in there}

    async def save_vectors(self, user: str, conversation_id: str, document_id: str, vectors: bytes) -> None:
        """Add or replace the vectors of a document of a conversation, or of a collection ("")."""
        self._open()
        refuse_too_many_vectors(vectors)
        if conversation_id:
            entry = self._used(user, conversation_id)
            if (Document, document_id) not in entry.attachments:
                raise ConversationNotFound(detail="no such document")
            entry.vectors[document_id] = vectors
        elif document_id in self._memory.library.get(user, {}):
            self._memory.vectors.setdefault(user, {})[document_id] = vectors
        else:
            raise DocumentNotFound

    async def stored_bytes(self, user: str | None = None, *, consistency: Consistency = Consistency.LATEST) -> int:
        """Return how many bytes the conversations and documents of one user take, or of all users."""
        del consistency
        self._open()
        memory = self._memory
        libraries = memory.library.values() if user is None else [memory.library.get(user, {})]
        documents = sum(library_bytes(one) for library in libraries for one in library.values())
        return documents + (memory.size if user is None else memory.sizes[user])

    def is_shared(self, conversation_id: str) -> bool:  # noqa: ARG002  # the protocol's parameter
        """Return False: this process is the only one."""
        return False

    async def aclose(self) -> None:
        """Accept no more calls."""
        self._closed = True

    def _refuse(self, messages: Sequence[Message]) -> None:
        self._open()
        refuse_too_large_attachments(messages)

    def _refuse_if_full(self, entry: Entry, messages: Sequence[Message]) -> None:
        """Refuse a question that makes a conversation too large; an answer that ends is stored.

        Raises:
            StoreUnavailable: with the sentence.
        """
        if entry.size > self._most_user_bytes and any(message.role is Role.USER for message in messages):
            raise StoreUnavailable(
                Sentence(
                    "This temporary chat is full: it takes more than {most} MB. Nothing was sent; your text is still "
                    "in the box. Start a new chat.",
                    most=f"{self._most_user_bytes / 1e6:g}",
                )
            )

    def _open(self) -> None:
        """Evict unused conversations.

        Raises:
            StoreUnavailable: the store is closed.
        """
        if self._closed:
            raise StoreUnavailable(CLOSED)
        conversations, oldest = self._memory.conversations, time.monotonic() - self._forget_after_seconds
        while conversations and next(iter(conversations.values())).used_at < oldest:
            self._memory.pop(next(iter(conversations)))

    def _all(self, user: str) -> list[Conversation]:
        self._open()
        owned = (self._memory.conversations[user, one].conversation for one in self._memory.ids(user))
        return sorted(owned, key=sort_key, reverse=True)

    def _used(self, user: str, conversation_id: str) -> Entry:
        self._open()
        key = user, conversation_id
        if entry := self._memory.conversations.get(key):
            entry.used_at = time.monotonic()
            self._memory.use(key)
            return entry
        raise ConversationNotFound

    def _keep(self, key: Key, entry: Entry) -> None:
        """Store a conversation, and evict others while the memory, or the user's share of it, is full."""
        memory, user = self._memory, key[0]
        entry.used_at = time.monotonic()
        memory.put(key, entry)
        while memory.sizes[user] > self._most_user_bytes and self._evict(user, key):
            pass
        while memory.size > self._most_bytes:
            has_others = len(memory.ids(user)) > 1
            users = (one for one in memory.sizes if one != user or has_others)
            largest = max(users, key=memory.sizes.__getitem__, default=user)
            if not self._evict(largest, key):
                break

    def _evict(self, user: str, kept: Key) -> bool:
        """Remove the user's least recently used conversation but ``kept``; return False if there is no other."""
        oldest = next((one for one in self._memory.ids(user) if (user, one) != kept), None)
        if oldest is None:
            return False
        self._memory.pop((user, oldest))
        return True


def _put(entry: Entry, messages: Sequence[Message]) -> None:
    for message in newest([*entry.messages.values(), *messages]):
        before = entry.messages.get(message.id)
        if message is not before:
            attached: dict[tuple[type[object], str], Attachment] = {
                (type(one), one.id): one for one in message.attachments if one.data
            }
            new = {key: one for key, one in attached.items() if key not in entry.attachments}
            entry.attachments |= new
            entry.messages[message.id] = without_data(message)
            entry.content_bytes += _text_size(message) + sum(len(one.data) for one in new.values())
            entry.content_bytes -= _text_size(before) if before else 0


def _text_size(message: Message) -> int:
    return _size(message.content) + _size(message.thinking)


def _size(text: str) -> int:
    return _OBJECT_BYTES + 2 * len(text)
