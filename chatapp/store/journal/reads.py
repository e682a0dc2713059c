"""Reads of a conversation: the cloud's data merged with the waiting writes, or else cached data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.conversation import Profile
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Consistency
from chatapp.store.journal.overlay import (
    Kind,
    fetched_conversation,
    merged_conversation,
    merged_messages,
    merged_profile,
    recorded_conversation,
)
from chatapp.store.journal.rows import PROFILE
from chatapp.store.values import newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.domain.conversation import Conversation, Image, Message
    from chatapp.store import Store
    from chatapp.store.journal.cloud_reads import CloudReads, Reading
    from chatapp.store.journal.journal import Journal
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.recent import Recent
    from chatapp.store.journal.rows import Key


class Reads:
    """The reads of a `chatapp.store.journal.store.JournaledStore`, which documents their guarantees.

    A read always reads the journal before the cloud: a write delivered in between is then in both, which changes
    nothing; in the other order it could be in neither. While a deletion is pending, the cloud is not read.
    """

    def __init__(self, journal: Journal, cloud: Store, recent: Recent, cloud_reads: CloudReads) -> None:
        self._journal = journal
        self._cloud = cloud
        self._recent = recent
        self._cloud_reads = cloud_reads

    async def conversation(self, key: Key, *, consistency: Consistency) -> Conversation:
        """Return one conversation."""
        if consistency is Consistency.CACHED and (cached := self._recent.conversation(key)):
            return cached
        reading = self._cloud_reads.begin(key[0])
        waiting = await self._journal.waiting(key)
        cached = self._recent.conversation(key) or recorded_conversation(waiting)

        def merge(base: Conversation | None) -> Conversation:
            return self._cache_conversation(key, reading, merged_conversation(base, waiting))

        async def read() -> Conversation:
            return merge(await fetched_conversation(self._cloud, key))

        has_fallback = consistency is not Consistency.STRICT and (cached is not None or _has_kind(waiting, Kind.CREATE))
        if _has_kind(waiting, Kind.DELETE) or (has_fallback and consistency is Consistency.CACHED):
            return merge(cached)
        try:
            return await self._cloud_reads.run(read(), has_fallback=has_fallback)
        except StoreUnavailable:
            if not has_fallback:
                raise
            return merge(cached)

    async def messages(self, key: Key, *, consistency: Consistency, cache: bool = True) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``, and ``cache`` them."""
        if consistency is Consistency.CACHED and (cached := self._recent.messages(key)) is not None:
            return list(cached)
        reading = self._cloud_reads.begin(key[0])
        waiting = await self._journal.waiting(key)
        cached = self._recent.messages(key)

        def merge(base: Sequence[Message] | None) -> list[Message]:
            return self._cache_messages(key, reading, merged_messages(base, waiting), cache=cache)

        async def read() -> list[Message]:
            base: Sequence[Message] | None
            try:
                base = await self._cloud.messages(*key)
            except ConversationNotFound:
                base = None
            return merge(base)

        has_fallback = consistency is not Consistency.STRICT and (cached is not None or _has_kind(waiting, Kind.CREATE))
        if _has_kind(waiting, Kind.DELETE) or (has_fallback and consistency is Consistency.CACHED):
            return merge(cached)
        try:
            return await self._cloud_reads.run(read(), has_fallback=has_fallback)
        except StoreUnavailable:
            if consistency is Consistency.STRICT:
                raise
            if not has_fallback:  # the waiting ones alone would look like the whole conversation
                raise
            return merge(cached)

    async def message(self, key: Key, message_id: str, *, consistency: Consistency) -> Message:
        """Return one message."""
        if consistency is Consistency.CACHED and (cached := self._recent.messages(key)) is not None:
            return _newest_of(cached, message_id)
        reading = self._cloud_reads.begin(key[0])
        waiting = await self._journal.waiting(key)
        if _has_kind(waiting, Kind.DELETE, Kind.CREATE):
            return _newest_of(await self.messages(key, consistency=consistency), message_id)
        appended = [write.message for write in waiting if write.message]
        local = [*(self._recent.messages(key) or ()), *appended]

        async def read() -> Message:
            try:
                base = await self._cloud.message(*key, message_id)
            except ConversationNotFound:
                return _newest_of(appended, message_id)
            message = _newest_of([base, *appended], message_id)
            if reading.is_current:
                self._recent.keep_message(key, message)
            return message

        has_fallback = any(message.id == message_id for message in local)
        try:
            return await self._cloud_reads.run(read(), has_fallback=has_fallback)
        except StoreUnavailable:
            if not has_fallback:
                raise
            return _newest_of(local, message_id)

    async def image(self, key: Key, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        if image := await self._journal.image(key, image_id):
            return image
        return await self._cloud_reads.run(self._cloud.image(*key, image_id), has_fallback=False)

    async def profile(self, user: str, *, consistency: Consistency) -> Profile:
        """Return the user's profile."""
        cached = self._recent.profile(user)
        if consistency is Consistency.CACHED and cached is not None:
            return cached
        reading = self._cloud_reads.begin(user)
        waiting = await self._journal.waiting((user, PROFILE))

        async def read() -> Profile:
            profile = merged_profile(await self._cloud.profile(user), waiting)
            if reading.is_current:
                self._recent.keep_profile(user, profile)
            return profile

        has_fallback = consistency is not Consistency.STRICT and (cached is not None or bool(waiting))
        try:
            return await self._cloud_reads.run(read(), has_fallback=has_fallback)
        except StoreUnavailable:
            if not has_fallback:
                raise
            return merged_profile(cached or Profile(), waiting)

    def _cache_conversation(self, key: Key, reading: Reading, conversation: Conversation | None) -> Conversation:
        if conversation is None:
            self._recent.forget(key)
            raise ConversationNotFound
        if reading.is_current:
            self._recent.keep_conversation(key, conversation)
        return conversation

    def _cache_messages(
        self, key: Key, reading: Reading, messages: list[Message] | None, *, cache: bool
    ) -> list[Message]:
        if messages is None:
            self._recent.forget(key)
            raise ConversationNotFound
        if cache and reading.is_current:
            self._recent.keep_messages(key, messages)
        return list(messages)


def _has_kind(waiting: list[Waiting], *kinds: Kind) -> bool:
    return any(write.kind in kinds for write in waiting)


def _newest_of(messages: Iterable[Message], message_id: str) -> Message:
    """Return the newest revision of one message.

    Raises:
        ConversationNotFound: there is none.
    """
    for message in newest(message for message in messages if message.id == message_id):
        return message
    raise ConversationNotFound(detail="no such message")
