"""The store in memory: for temporary conversations."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Profile
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Consistency, Page, Revocations, StoreStatus
from chatapp.store.calls import CLOSED
from chatapp.store.codec import clean, clean_conversation, clean_profile, without_image_data
from chatapp.store.scanning import Scan
from chatapp.store.values import (
    MAX_PAGE,
    MAX_PINNED,
    cursor_after,
    in_order,
    newest,
    position,
    refuse_too_large_images,
    refuse_too_much_profile,
    sort_key,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.domain.conversation import Conversation, Image, Message
    from chatapp.store import Hit

MOST_BYTES = 64_000_000
FORGET_AFTER_S = 12 * 3600.0
_OBJECT_BYTES = 600  # of a message or conversation without its texts, about

Key = tuple[str, str]  # user, conversation id


@dataclass(slots=True)
class Entry:
    """A conversation with its messages and images."""

    conversation: Conversation
    messages: dict[str, Message] = field(default_factory=dict)
    images: dict[str, Image] = field(default_factory=dict)
    used_at: float = 0.0  # by the monotonic clock

    @property
    def size(self) -> int:
        """Approximate size in memory, in bytes."""
        objects = [self.conversation.title, self.conversation.system_prompt]
        objects += [message.content for message in self.messages.values()]
        return sum(_OBJECT_BYTES + 2 * len(text) for text in objects) + sum(
            len(image.data) for image in self.images.values()
        )


class Memory:
    """The data of a `MemoryStore`: conversations, the least recently used first, profiles, and revoked sessions."""

    def __init__(self) -> None:
        self.conversations: OrderedDict[Key, Entry] = OrderedDict()
        self.profiles: dict[str, Profile] = {}
        self.revocations: dict[str, Revocations] = {}
        self.size = 0


class MemoryStore:
    """A `chatapp.store.Store` that ends with the process and evicts unused conversations.

    A conversation is evicted after ``forget_after_seconds`` without use, or as the least recently used one when all
    together take more than ``most_bytes``. No call awaits anything, so every call is atomic.
    """

    def __init__(
        self,
        memory: Memory | None = None,
        *,
        most_bytes: int = MOST_BYTES,
        forget_after_seconds: float = FORGET_AFTER_S,
    ) -> None:
        self._memory = memory or Memory()
        self._most_bytes = most_bytes
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
        """Return all messages of a conversation by ``(created_ms, id)``, their images without data."""
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
        if image := self._used(user, conversation_id).images.get(image_id):
            return image
        raise ConversationNotFound(detail="no such image")

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned conversations, the last updated first."""
        del consistency
        return [one for one in self._all(user) if one.pinned and not one.deleted_ms][:MAX_PINNED]

    async def search(self, user: str, text: str, *, limit: int = 20, cursor: str | None = None) -> Page[Hit]:
        """Find the conversations with a message, or else a title, that has all words of a text."""
        return await self._scan.search(user, text, limit=limit, cursor=cursor)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""
        self._refuse(messages)
        entry, cleaned = Entry(clean_conversation(conversation)), [clean(message) for message in messages]
        if (user, conversation.id) not in self._memory.conversations:
            _put(entry, cleaned)
            self._keep((user, conversation.id), entry)

    async def update(self, user: str, conversation: Conversation) -> None:
        """Replace all of a conversation but its id and ``created_ms``; ``updated_ms`` never goes back."""
        entry = self._used(user, conversation.id)
        before = entry.conversation
        updated_ms = max(before.updated_ms, conversation.updated_ms)
        after = replace(clean_conversation(conversation), created_ms=before.created_ms, updated_ms=updated_ms)
        self._keep((user, conversation.id), replace(entry, conversation=after))

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""
        self._refuse(messages)
        before = self._used(user, conversation_id)
        updated_ms = max([before.conversation.updated_ms, *(message.created_ms for message in messages)])
        entry = Entry(replace(before.conversation, updated_ms=updated_ms), dict(before.messages), dict(before.images))
        _put(entry, [clean(message) for message in messages])
        self._keep((user, conversation_id), entry)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation with all that belongs to it."""
        self._open()
        self._forget((user, conversation_id))

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile."""
        del consistency
        self._open()
        return self._memory.profiles.get(user, Profile())

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile, unless one of the same or a higher revision is stored."""
        self._open()
        profile = clean_profile(profile)
        refuse_too_much_profile(profile)
        before = self._memory.profiles.get(user)
        if before is None or profile.revision > before.revision:
            self._memory.profiles[user] = profile

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile."""
        self._open()
        self._memory.profiles.pop(user, None)

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

    def pending(self, user: str, conversation_id: str = "") -> bool:  # noqa: ARG002  # the protocol's parameters
        """Return False: there is no cloud behind this store."""
        return False

    def status(self) -> StoreStatus:
        """Return an empty status: no write waits."""
        return StoreStatus()

    async def aclose(self) -> None:
        """Accept no more calls."""
        self._closed = True

    def _refuse(self, messages: Sequence[Message]) -> None:
        self._open()
        refuse_too_large_images(messages)

    def _open(self) -> None:
        """Evict unused conversations.

        Raises:
            StoreUnavailable: the store is closed.
        """
        if self._closed:
            raise StoreUnavailable(CLOSED)
        conversations, oldest = self._memory.conversations, time.monotonic() - self._forget_after_seconds
        while conversations and next(iter(conversations.values())).used_at < oldest:
            self._forget(next(iter(conversations)))

    def _all(self, user: str) -> list[Conversation]:
        self._open()
        owned = (entry.conversation for (owner, _), entry in self._memory.conversations.items() if owner == user)
        return sorted(owned, key=sort_key, reverse=True)

    def _used(self, user: str, conversation_id: str) -> Entry:
        self._open()
        key = user, conversation_id
        if entry := self._memory.conversations.get(key):
            entry.used_at = time.monotonic()
            self._memory.conversations.move_to_end(key)
            return entry
        raise ConversationNotFound

    def _keep(self, key: Key, entry: Entry) -> None:
        """Store a conversation, and evict others while the memory is full."""
        self._forget(key)
        entry.used_at = time.monotonic()
        self._memory.conversations[key] = entry
        self._memory.size += entry.size
        while self._memory.size > self._most_bytes and len(self._memory.conversations) > 1:
            self._forget(next(iter(self._memory.conversations)))

    def _forget(self, key: Key) -> None:
        if entry := self._memory.conversations.pop(key, None):
            self._memory.size -= entry.size


def _put(entry: Entry, messages: Sequence[Message]) -> None:
    for message in newest([*entry.messages.values(), *messages]):
        if message is not entry.messages.get(message.id):
            images = (image for image in message.images if image.data)
            entry.images = {image.id: image for image in images} | entry.images
            entry.messages[message.id] = without_image_data(message)
