"""Writing messages to Firestore so that the newest revision wins, without transactions."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.cloud.firestore import DELETE_FIELD

from chatapp.domain.conversation import MessageStatus
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store.firestore.client import committed, fetched_all
from chatapp.store.firestore.documents import (
    Document,
    image_documents,
    message_documents,
    part_id,
)
from chatapp.store.firestore.schema import EXPIRY_FIELD, IMAGES, MESSAGES
from chatapp.store.values import newest, refuse_too_large_images, refuse_too_much

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from google.cloud.firestore import AsyncDocumentReference, AsyncWriteBatch
    from google.cloud.firestore_v1.types import WriteResult

    from chatapp.domain.conversation import Message
    from chatapp.store.firestore.firestore_compat import Client

ROUNDS = 5  # how often other writers of the same messages may come between
REMEMBERED = 10_000  # running answers


class Version(NamedTuple):
    """What Firestore holds of a message: its revision, when that was written, and in how many documents."""

    revision: int
    update_time: datetime
    parts: int


class Encoded(NamedTuple):
    """A message to write, with its documents by their ids: the one with its facts first, then further parts.

    Attributes:
        images: the documents of its images, by their ids.
    """

    message: Message
    documents: dict[str, Document]
    images: dict[str, Document]


class Revisions:
    """Writes messages, and remembers running answers as it left them, so that a checkpoint needs no read."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, Version] = OrderedDict()  # by path

    async def create(
        self,
        client: Client,
        conversation: AsyncDocumentReference,
        fields: Document,
        messages: Sequence[Encoded],
    ) -> None:
        """Create a conversation with its first messages, all or nothing.

        Raises:
            AlreadyExists: the conversation is there; nothing was changed.
        """
        batch = client.batch()
        batch.create(conversation, fields)
        positions = [_set(batch, conversation, message) for message in messages]
        self._remember(conversation, messages, positions, await committed(batch))

    async def put(
        self,
        client: Client,
        conversation: AsyncDocumentReference,
        changes: dict[str, Any],
        messages: Sequence[Encoded],
    ) -> None:
        """Change a conversation's fields and add messages, or replace those of a lower revision, all or nothing.

        Raises:
            ConversationNotFound: there is no such conversation; nothing was changed.
            StoreUnavailable: other writers came between in each of `ROUNDS`; nothing was changed.
        """
        stored = self._assumed(conversation, messages)
        for _ in range(ROUNDS):
            if stored is None:
                stored = await _stored(client, conversation, messages)
            newer = [one for one in messages if _replaces(one.message, stored.get(one.message.id))]
            batch = client.batch()
            batch.update(conversation, changes)
            positions = [_replace(client, batch, conversation, one, stored.get(one.message.id)) for one in newer]
            try:
                results = await committed(batch)
            except (AlreadyExists, FailedPrecondition, NotFound):
                stored = None  # not as assumed: another writer came before, or it is done and the reply was lost
            else:
                self._remember(conversation, newer, positions, results)
                return
        raise StoreUnavailable(
            Sentence("This conversation is being changed in several places at once. Try again in a moment.")
        )

    def _assumed(self, conversation: AsyncDocumentReference, messages: Sequence[Encoded]) -> dict[str, Version] | None:
        """Return what Firestore most likely holds of these messages; None if only a read can tell."""
        left = {message.id: self._left.get(_path(conversation, message)) for message, *_ in messages}
        if any(message.revision > 0 and left[message.id] is None for message, *_ in messages):
            return None
        return {message_id: version for message_id, version in left.items() if version}

    def _remember(
        self,
        conversation: AsyncDocumentReference,
        messages: Sequence[Encoded],
        positions: Sequence[int],
        results: Sequence[WriteResult],
    ) -> None:
        for (message, documents, _), number in zip(messages, positions, strict=True):
            path = _path(conversation, message)
            self._left.pop(path, None)
            if message.status is MessageStatus.STREAMING:  # what has ended is not written again
                self._left[path] = Version(message.revision, results[number].update_time, len(documents))
        while len(self._left) > REMEMBERED:
            self._left.popitem(last=False)


def encoded(messages: Iterable[Message], retention_ms: int | None) -> list[Encoded]:
    """Return the newest revision of each message with its documents; of the same revision, the first.

    Raises:
        ValueError, TypeError, AttributeError: a message is none.
        StoreUnavailable: together they are longer than one commit may be.
    """
    found = [
        Encoded(message, message_documents(message, retention_ms), image_documents(message, retention_ms))
        for message in newest(messages)
    ]
    refuse_too_large_images(one.message for one in found)
    refuse_too_much(
        sum(len(document["content"].encode()) for one in found for document in one.documents.values())
        + sum(len(document["data"]) for one in found for document in one.images.values())
    )
    return found


async def _stored(
    client: Client, conversation: AsyncDocumentReference, messages: Sequence[Encoded]
) -> dict[str, Version]:
    """Return what Firestore holds of these messages.

    Raises:
        ConversationNotFound: there is no such conversation.
    """
    references = [conversation, *(_reference(conversation, message.id) for message, *_ in messages)]
    there = {one.reference.path: one for one in await fetched_all(client, references, "rev", "parts")}
    if there.pop(conversation.path, None) is None:
        raise ConversationNotFound
    return {one.id: Version(one.fields["rev"], one.update_time, one.fields["parts"]) for one in there.values()}


def _replaces(message: Message, stored: Version | None) -> bool:
    return stored is None or message.revision > stored.revision


def _replace(
    client: Client,
    batch: AsyncWriteBatch,
    conversation: AsyncDocumentReference,
    new: Encoded,
    stored: Version | None,
) -> int:
    """Write a message on the condition that it is still ``stored``; return the write's position in the batch."""
    message_id = new.message.id
    for number in range(len(new.documents), stored.parts if stored else 0):
        batch.delete(_reference(conversation, part_id(message_id, number)))
    for document_id, fields in new.documents.items():
        if document_id != message_id:
            batch.set(_reference(conversation, document_id), fields)
    _set_images(batch, conversation, new)
    reference, facts = _reference(conversation, message_id), new.documents[message_id]
    if stored is None:
        batch.create(reference, facts)
    else:
        unchanged = client.write_option(last_update_time=stored.update_time)
        batch.update(reference, {EXPIRY_FIELD: DELETE_FIELD} | facts, option=unchanged)
    return len(batch) - 1


def _set(batch: AsyncWriteBatch, conversation: AsyncDocumentReference, new: Encoded) -> int:
    """Write a message of a new conversation; return the write's position in the batch."""
    position = len(batch)
    for document_id, fields in new.documents.items():
        batch.set(_reference(conversation, document_id), fields)
    _set_images(batch, conversation, new)
    return position


def _set_images(batch: AsyncWriteBatch, conversation: AsyncDocumentReference, new: Encoded) -> None:
    for image_id, fields in new.images.items():
        batch.set(conversation.collection(IMAGES).document(image_id), fields)


def _reference(conversation: AsyncDocumentReference, document_id: str) -> AsyncDocumentReference:
    reference: AsyncDocumentReference = conversation.collection(MESSAGES).document(document_id)
    return reference


def _path(conversation: AsyncDocumentReference, message: Message) -> str:
    return f"{conversation.path}/{message.id}"
