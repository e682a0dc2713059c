"""Reads of a conversation or a profile: the cloud's data merged with the waiting writes, or else cached data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from chatapp.domain.conversation import Document, Image, Profile, changed
from chatapp.domain.errors import ConversationNotFound
from chatapp.store import Consistency
from chatapp.store.journal.overlay import (
    Kind,
    merged_conversation,
    merged_messages,
    merged_profile,
    merged_revisions,
    recorded_conversation,
)
from chatapp.store.journal.rows import PROFILE
from chatapp.store.journal.sources import Sources
from chatapp.store.values import in_order, newest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable

    from chatapp.domain.conversation import AttachmentT, Conversation, Message
    from chatapp.store.journal.overlay import Waiting
    from chatapp.store.journal.rows import Key

T = TypeVar("T")
B = TypeVar("B")


class Reads(Sources):
    """The part of a `chatapp.store.journal.store.JournaledStore`, which documents it, that reads one thing.

    A read always reads the journal before the cloud: a write delivered in between is then in both, which changes
    nothing; in the other order it could be in neither. While a deletion is pending, the cloud is not read.
    """

    async def conversation(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return one conversation."""
        key = user, conversation_id
        return await self._merged(
            key,
            consistency,
            local=lambda waiting: self._recent.conversation(key) or recorded_conversation(waiting),
            fetch=lambda: self._cloud.conversation(*key),
            merge=merged_conversation,
            cached=lambda: self._recent.conversation(key),
            join=changed,
            keep=lambda conversation: self._recent.keep_conversation(key, conversation),
        )

    async def messages(
        self,
        user: str,
        conversation_id: str,
        *,
        consistency: Consistency = Consistency.LATEST,
        cache: bool = True,
    ) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``, and ``cache`` them."""
        key = user, conversation_id
        messages: list[Message] = await self._merged(
            key,
            consistency,
            local=lambda _: self._recent.messages(key),
            fetch=lambda: self._cloud.messages(*key),
            merge=merged_messages,
            cached=lambda: self._recent.messages(key),
            join=_joined,
            keep=lambda messages: self._recent.keep_messages(key, messages) if cache else None,
        )
        return list(messages)

    async def revisions(self, user: str, conversation_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the revision of each message by id, for those of these conversations that the user has."""
        with self._calls.track():
            waiting = await self._journal.revisions(user, conversation_ids)
            stored = await self._cloud_reads.run(self._cloud.revisions(user, conversation_ids))
            merged = ((id_, merged_revisions(stored.get(id_), waiting.get(id_, ()))) for id_ in conversation_ids)
            return {id_: revisions for id_, revisions in merged if revisions is not None}

    async def message(
        self, user: str, conversation_id: str, message_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Message:
        """Return one message."""
        key = user, conversation_id
        with self._calls.track():
            if consistency is Consistency.CACHED and (cached := self._recent.messages(key)) is not None:
                return _newest_of(cached, message_id)
            reading = self._cloud_reads.begin(user)
            waiting = await self._journal.waiting(key)
            if _has_kind(waiting, Kind.DELETE, Kind.CREATE):
                return _newest_of(await self.messages(*key, consistency=consistency), message_id)
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
            return await self._cloud_reads.run(
                read(), fallback=(lambda: _newest_of(local, message_id)) if has_fallback else None
            )

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        return await self._attachment(Image, (user, conversation_id), image_id, self._cloud.image)

    async def document(self, user: str, conversation_id: str, document_id: str) -> Document:
        """Return a document of a conversation, with its data."""
        return await self._attachment(Document, (user, conversation_id), document_id, self._cloud.document)

    async def vectors(self, user: str, conversation_id: str, document_ids: Collection[str]) -> dict[str, bytes]:
        """Return the vectors of documents from the cloud: none of a conversation that is not there yet, or deleted."""
        with self._calls.track():
            if conversation_id and _has_kind(await self._journal.waiting((user, conversation_id)), Kind.DELETE):
                return {}
            return await self._cloud_reads.run(self._cloud.vectors(user, conversation_id, document_ids))

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile."""
        with self._calls.track():
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
            return await self._cloud_reads.run(
                read(), fallback=(lambda: merged_profile(cached or Profile(), waiting)) if has_fallback else None
            )

    async def _attachment(
        self,
        kind: type[AttachmentT],
        key: Key,
        attachment_id: str,
        read: Callable[[str, str, str], Coroutine[Any, Any, AttachmentT]],
    ) -> AttachmentT:
        with self._calls.track():
            if attachment := await self._journal.attachment(key, kind, attachment_id):
                return attachment
            return await self._cloud_reads.run(read(*key, attachment_id))

    async def _merged(
        self,
        key: Key,
        consistency: Consistency,
        *,
        local: Callable[[Iterable[Waiting]], B | None],
        fetch: Callable[[], Awaitable[B]],
        merge: Callable[[B | None, Iterable[Waiting]], B | None],
        cached: Callable[[], B | None],
        join: Callable[[B, B], B],
        keep: Callable[[B], None],
    ) -> B:
        """Return a conversation, or its messages: those of the cloud, or else the ``local`` ones, after the writes.

        A read may end after one that began later, and has less then: what is cached meanwhile is joined with it.

        Raises:
            ConversationNotFound: there is none.
        """
        with self._calls.track():
            if consistency is Consistency.CACHED and (base := local(())) is not None:
                return base
            reading = self._cloud_reads.begin(key[0])
            waiting = await self._journal.waiting(key)
            base = local(waiting)

            def merged(base: B | None) -> B:
                result = merge(base, waiting)
                if result is None:
                    self._recent.forget(key)
                    raise ConversationNotFound
                newest_known = cached()
                if newest_known is not None:  # it has every write made here
                    result = join(newest_known, result)
                if reading.is_current or newest_known is not None:
                    keep(result)
                return result

            async def read() -> B:
                try:
                    fetched: B | None = await fetch()
                except ConversationNotFound:
                    fetched = None
                return merged(fetched)

            has_fallback = _is_whole(base, waiting) and consistency is not Consistency.STRICT
            if _has_kind(waiting, Kind.DELETE) or (has_fallback and consistency is Consistency.CACHED):
                return merged(base)
            return await self._cloud_reads.run(read(), fallback=(lambda: merged(base)) if has_fallback else None)


def _is_whole(base: object, waiting: list[Waiting]) -> bool:
    """Return whether this replica has all of a conversation, and not only its waiting writes, which would look so."""
    return base is not None or _has_kind(waiting, Kind.CREATE)


def _joined(cached: list[Message], read: list[Message]) -> list[Message]:
    """Return the newest revisions of all messages; cached ones before all that were read have expired."""
    oldest_ms = min((message.created_ms for message in read), default=float("inf"))
    return in_order(newest([*read, *(message for message in cached if message.created_ms >= oldest_ms)]))


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
