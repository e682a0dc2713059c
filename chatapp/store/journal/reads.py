"""Reads of a conversation: the cloud's data merged with the waiting writes, or else cached data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.conversation import Profile
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Consistency
from chatapp.store.journal.overlay import Kind, base_of, conversation_over, known_of, messages_over, profile_over
from chatapp.store.journal.rows import PROFILE
from chatapp.store.values import newest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.domain.conversation import Conversation, Image, Message
    from chatapp.store import Store
    from chatapp.store.journal.asking import Asking, Reading
    from chatapp.store.journal.journal import Journal
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.recent import Recent
    from chatapp.store.journal.rows import Key


class Reads:
    """The reads of a `chatapp.store.journal.store.JournaledStore`, which says what they show.

    The journal is always read before the cloud: what is delivered in between is then in both, which changes nothing;
    the other way round it would be in neither. Where a deletion waits, the cloud is not read.
    """

    def __init__(self, journal: Journal, cloud: Store, recent: Recent, asking: Asking) -> None:
        self._journal = journal
        self._cloud = cloud
        self._recent = recent
        self._asking = asking

    async def conversation(self, key: Key, *, consistency: Consistency) -> Conversation:
        """Return one conversation."""
        if consistency is Consistency.CACHED and (seen := self._recent.conversation(key)):
            return seen
        reading = self._asking.begin(key[0])
        waiting = await self._journal.waiting(key)
        seen = self._recent.conversation(key) or known_of(waiting)

        def over(base: Conversation | None) -> Conversation:
            return self._found(key, reading, conversation_over(base, waiting))

        async def ask() -> Conversation:
            return over(await base_of(self._cloud, key))

        is_here = seen is not None or _waits(waiting, Kind.CREATE)
        if _waits(waiting, Kind.DELETE) or (is_here and consistency is Consistency.CACHED):
            return over(seen)
        try:
            return await self._asking.ask(ask(), hurry=is_here)
        except StoreUnavailable:
            if not is_here:
                raise
            return over(seen)

    async def messages(self, key: Key, *, consistency: Consistency, keep: bool = True) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``, and ``keep`` them as what was last seen."""
        if consistency is Consistency.CACHED and (seen := self._recent.messages(key)) is not None:
            return list(seen)
        reading = self._asking.begin(key[0])
        waiting = await self._journal.waiting(key)
        seen = self._recent.messages(key)

        def over(base: Sequence[Message] | None) -> list[Message]:
            return self._found_messages(key, reading, messages_over(base, waiting), keep=keep)

        async def ask() -> list[Message]:
            base: Sequence[Message] | None
            try:
                base = await self._cloud.messages(*key)
            except ConversationNotFound:
                base = None
            return over(base)

        is_here = seen is not None or _waits(waiting, Kind.CREATE)
        if _waits(waiting, Kind.DELETE) or (is_here and consistency is Consistency.CACHED):
            return over(seen)
        try:
            return await self._asking.ask(ask(), hurry=is_here and consistency is not Consistency.STRICT)
        except StoreUnavailable:
            if consistency is Consistency.STRICT:
                raise
            if is_here:
                return over(seen)
            found = messages_over([], waiting)  # the rest is out of reach
            if not found:
                raise
            return found

    async def message(self, key: Key, message_id: str, *, consistency: Consistency) -> Message:
        """Return one message."""
        if consistency is Consistency.CACHED and (seen := self._recent.messages(key)) is not None:
            return _one(seen, message_id)
        reading = self._asking.begin(key[0])
        waiting = await self._journal.waiting(key)
        if _waits(waiting, Kind.DELETE, Kind.CREATE):
            return _one(await self.messages(key, consistency=consistency), message_id)
        appended = [write.message for write in waiting if write.message]
        here = [*(self._recent.messages(key) or ()), *appended]

        async def ask() -> Message:
            try:
                base = await self._cloud.message(*key, message_id)
            except ConversationNotFound:
                return _one(appended, message_id)
            found = _one([base, *appended], message_id)
            if reading.is_current:
                self._recent.keep_message(key, found)
            return found

        is_here = any(message.id == message_id for message in here)
        try:
            return await self._asking.ask(ask(), hurry=is_here)
        except StoreUnavailable:
            if not is_here:
                raise
            return _one(here, message_id)

    async def image(self, key: Key, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        if image := await self._journal.image(key, image_id):
            return image
        return await self._asking.ask(self._cloud.image(*key, image_id), hurry=False)

    async def profile(self, user: str, *, consistency: Consistency) -> Profile:
        """Return what is remembered of the user."""
        known = self._recent.profile(user)
        if consistency is Consistency.CACHED and known is not None:
            return known
        reading = self._asking.begin(user)
        waiting = await self._journal.waiting((user, PROFILE))

        async def ask() -> Profile:
            found = profile_over(await self._cloud.profile(user), waiting)
            if reading.is_current:
                self._recent.keep_profile(user, found)
            return found

        is_here = known is not None or bool(waiting)
        try:
            return await self._asking.ask(ask(), hurry=is_here and consistency is not Consistency.STRICT)
        except StoreUnavailable:
            if consistency is Consistency.STRICT or not is_here:
                raise
            return profile_over(known or Profile(), waiting)

    def _found(self, key: Key, reading: Reading, found: Conversation | None) -> Conversation:
        if found is None:
            self._recent.forget(key)
            raise ConversationNotFound
        if reading.is_current:
            self._recent.keep_conversation(key, found)
        return found

    def _found_messages(self, key: Key, reading: Reading, found: list[Message] | None, *, keep: bool) -> list[Message]:
        if found is None:
            self._recent.forget(key)
            raise ConversationNotFound
        if keep and reading.is_current:
            self._recent.keep_messages(key, found)
        return list(found)


def _waits(waiting: list[Waiting], *kinds: Kind) -> bool:
    return any(write.kind in kinds for write in waiting)


def _one(messages: Iterable[Message], message_id: str) -> Message:
    """Return the newest revision of one message.

    Raises:
        ConversationNotFound: it is not there.
    """
    for message in newest(message for message in messages if message.id == message_id):
        return message
    raise ConversationNotFound(detail="no such message")
