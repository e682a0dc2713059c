"""Writing messages to Firestore so that the newest revision wins, without transactions."""

from __future__ import annotations

from collections import OrderedDict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound
from google.cloud.firestore import DELETE_FIELD, Increment

from chatapp.domain.conversation import MessageStatus
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store.firestore.client import committed, fetched_all
from chatapp.store.firestore.documents import (
    Document,
    attachment_documents,
    message_documents,
    part_id,
)
from chatapp.store.firestore.schema import EXPIRY_FIELD, MESSAGES, SIZE_FIELD
from chatapp.store.quota import message_bytes
from chatapp.store.values import newest, refuse_too_large_attachments, refuse_too_much

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from google.cloud.firestore import AsyncDocumentReference, AsyncWriteBatch
    from google.cloud.firestore_v1.types import WriteResult

    from chatapp.domain.conversation import Message
    from chatapp.store.firestore.firestore_compat import Client

RATED_FIELD = "feedbackMs"
RATING = "feedback", RATED_FIELD
ROUNDS = 5  # attempts when other writers interfere
MAX_RUNNING = 10_000  # remembered running answers


class Version(NamedTuple):
    """The stored state of a message.

    Attributes:
        revision: the message's.
        update_time: when that was written, by Firestore's clock.
        parts: in how many documents.
        size: how many of its bytes its conversation counts (its field `SIZE_FIELD`).
        created_ms: of the message; its conversation was updated then or later.
        rating: the fields of the message's rating, and when it was given.
    """

    revision: int
    update_time: datetime
    parts: int
    size: int
    created_ms: int = 0
    rating: Mapping[str, Any] = MappingProxyType({})


class Encoded(NamedTuple):
    """A message to write, with its documents by id: first the one with its fields, then further parts.

    Attributes:
        attachments: the documents of its images and uploaded documents by collection and id.
    """

    message: Message
    documents: dict[str, Document]
    attachments: dict[tuple[str, str], Document]

    @property
    def size(self) -> int:
        """Bytes of the message with its attachments."""
        size: int = self.documents[self.message.id][SIZE_FIELD]
        return size


class New(NamedTuple):
    """A conversation to create, with its fields and first messages."""

    conversation: AsyncDocumentReference
    fields: Document
    messages: Sequence[Encoded]

    @property
    def writes(self) -> int:
        """How many documents it has."""
        return 1 + sum(len(one.documents) + len(one.attachments) for one in self.messages)

    @property
    def size(self) -> int:
        """About how many bytes its documents take."""
        return sum(message.size + len(message.message.thinking.encode(errors="replace")) for message in self.messages)


class Revisions:
    """Writes messages, and remembers the last version of running answers, so that a checkpoint needs no read.

    Nor does a checkpoint write the conversation: the precondition on its answer shows that this still exists. The
    conversation counts the bytes of the answer at its end.
    """

    def __init__(self) -> None:
        self._running: OrderedDict[str, Version] = OrderedDict()  # running answers by path

    async def create(
        self,
        client: Client,
        conversation: AsyncDocumentReference,
        fields: Document,
        messages: Sequence[Encoded],
    ) -> None:
        """Create a conversation with its first messages, all or nothing.

        Raises:
            AlreadyExists: the conversation exists; nothing was changed.
        """
        await self.create_all(client, [New(conversation, fields, messages)])

    async def create_all(self, client: Client, new: Sequence[New]) -> None:
        """Create conversations with their first messages in one commit, all or nothing.

        Raises:
            AlreadyExists: one of the conversations exists; nothing was changed.
        """
        batch = client.batch()
        positions: list[list[int]] = []
        for conversation, fields, messages in new:
            batch.create(conversation, fields | {SIZE_FIELD: sum(message.size for message in messages)})
            positions.append([_set(batch, conversation, message) for message in messages])
        results = await committed(batch)
        for one, of_messages in zip(new, positions, strict=True):
            self._remember(one.conversation, one.messages, of_messages, results)

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
            StoreUnavailable: other writers interfered in each of `ROUNDS`; nothing was changed.
        """
        stored = self._assumed(conversation, messages)
        for _ in range(ROUNDS):
            if stored is None:
                stored = await _stored(client, conversation, messages)
            newer = [entry for entry in messages if _replaces(entry.message, stored.get(entry.message.id))]
            batch = client.batch()
            is_checkpoint = bool(newer) and all(_is_checkpoint(one, stored.get(one.message.id)) for one in newer)
            if not is_checkpoint:
                sizes = (entry.size - _size(stored.get(entry.message.id)) for entry in newer)
                batch.update(conversation, changes | {SIZE_FIELD: Increment(sum(sizes))})
            positions = [
                _replace(client, batch, conversation, entry, stored.get(entry.message.id), is_counted=not is_checkpoint)
                for entry in newer
            ]
            for entry in messages:
                if entry not in newer and entry.message.feedback_ms > _rated_ms(version := stored[entry.message.id]):
                    unchanged = client.write_option(last_update_time=version.update_time)
                    rating = _rating(entry.documents[entry.message.id])
                    batch.update(_reference(conversation, entry.message.id), rating, option=unchanged)
            try:
                results = await committed(batch)
            except (AlreadyExists, FailedPrecondition, NotFound):
                stored = None  # a precondition failed: another writer was faster, or the reply was lost
            else:
                self._remember(conversation, newer, positions, results, stored if is_checkpoint else {})
                return
        raise contended()

    def _assumed(self, conversation: AsyncDocumentReference, messages: Sequence[Encoded]) -> dict[str, Version] | None:
        """Return the probable stored versions of these messages; None if they must be read."""
        versions = {message.id: self._running.get(_path(conversation, message)) for message, *_ in messages}
        if any(message.revision > 0 and versions[message.id] is None for message, *_ in messages):
            return None
        return {message_id: version for message_id, version in versions.items() if version}

    def _remember(
        self,
        conversation: AsyncDocumentReference,
        messages: Sequence[Encoded],
        positions: Sequence[int],
        results: Sequence[WriteResult],
        counted: Mapping[str, Version] = MappingProxyType({}),
    ) -> None:
        for entry, number in zip(messages, positions, strict=True):
            message, documents = entry.message, entry.documents
            size = counted[message.id].size if message.id in counted else entry.size
            path = _path(conversation, message)
            self._running.pop(path, None)
            if message.status is MessageStatus.STREAMING:  # an ended answer is not written again
                time = results[number].update_time
                self._running[path] = Version(message.revision, time, len(documents), size, message.created_ms)
        while len(self._running) > MAX_RUNNING:
            self._running.popitem(last=False)


def contended() -> StoreUnavailable:
    """Return the error of a write that other writers kept from succeeding."""
    return StoreUnavailable(
        Sentence("This conversation is being changed in several places at once. Try again in a moment.")
    )


def encoded(messages: Iterable[Message], retention_ms: int | None) -> list[Encoded]:
    """Return the newest revision of each message with its documents; of the same revision, the first.

    Raises:
        ValueError, TypeError, AttributeError: a message is invalid.
        StoreUnavailable: together they are longer than one commit may be.
    """
    entries = [
        Encoded(message, message_documents(message, retention_ms), attachment_documents(message, retention_ms))
        for message in newest(messages)
    ]
    for entry in entries:
        entry.documents[entry.message.id][SIZE_FIELD] = message_bytes(entry.message)
    refuse_too_large_attachments(entry.message for entry in entries)
    refuse_too_much(
        sum(len(document["content"].encode()) for entry in entries for document in entry.documents.values())
        + sum(len(document["data"]) for entry in entries for document in entry.attachments.values())
    )
    return entries


async def _stored(
    client: Client, conversation: AsyncDocumentReference, messages: Sequence[Encoded]
) -> dict[str, Version]:
    """Return the stored versions of these messages.

    Raises:
        ConversationNotFound: there is no such conversation.
    """
    references = [conversation, *(_reference(conversation, message.id) for message, *_ in messages)]
    fields = "rev", "parts", SIZE_FIELD, *RATING
    documents = {one.reference.path: one for one in await fetched_all(client, references, *fields)}
    if documents.pop(conversation.path, None) is None:
        raise ConversationNotFound
    return {
        # Documents from before December 2026 have no size.
        one.id: Version(
            one.fields["rev"],
            one.update_time,
            one.fields["parts"],
            one.fields.get(SIZE_FIELD, 0),
            rating=_rating(one.fields),
        )
        for one in documents.values()
    }


def _rating(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in RATING if name in document}


def _rated_ms(version: Version) -> int:
    """Return when the stored rating was given; 0 if it never was."""
    return int(version.rating.get(RATED_FIELD, 0))


def _size(version: Version | None) -> int:
    return version.size if version else 0


def _is_checkpoint(entry: Encoded, stored: Version | None) -> bool:
    """Return whether only the text of a running answer changes, of which this process wrote the stored revision."""
    message, is_running = entry.message, entry.message.status is MessageStatus.STREAMING
    return stored is not None and is_running and not entry.attachments and message.created_ms <= stored.created_ms


def _replaces(message: Message, stored: Version | None) -> bool:
    return stored is None or message.revision > stored.revision


def _replace(
    client: Client,
    batch: AsyncWriteBatch,
    conversation: AsyncDocumentReference,
    new: Encoded,
    stored: Version | None,
    *,
    is_counted: bool,
) -> int:
    """Write a message with the precondition that it is still ``stored``; return the write's position in the batch.

    Where the conversation does not count the message's new size in this batch, the message keeps the size that it
    counts: another replica that ends the answer counts the difference.
    """
    message_id = new.message.id
    for number in range(len(new.documents), stored.parts if stored else 0):
        batch.delete(_reference(conversation, part_id(message_id, number)))
    for document_id, fields in new.documents.items():
        if document_id != message_id:
            batch.set(_reference(conversation, document_id), fields)
    _set_attachments(batch, conversation, new)
    reference, facts = _reference(conversation, message_id), dict(new.documents[message_id])
    if not is_counted:
        del facts[SIZE_FIELD]
    if stored is None:
        batch.create(reference, facts)
    else:
        if _rated_ms(stored) > new.message.feedback_ms:
            facts |= stored.rating
        unchanged = client.write_option(last_update_time=stored.update_time)
        batch.update(reference, {EXPIRY_FIELD: DELETE_FIELD} | facts, option=unchanged)
    return len(batch) - 1


def _set(batch: AsyncWriteBatch, conversation: AsyncDocumentReference, new: Encoded) -> int:
    """Write a message of a new conversation; return the write's position in the batch."""
    position = len(batch)
    for document_id, fields in new.documents.items():
        batch.set(_reference(conversation, document_id), fields)
    _set_attachments(batch, conversation, new)
    return position


def _set_attachments(batch: AsyncWriteBatch, conversation: AsyncDocumentReference, new: Encoded) -> None:
    for (collection, attachment_id), fields in new.attachments.items():
        batch.set(conversation.collection(collection).document(attachment_id), fields)


def _reference(conversation: AsyncDocumentReference, document_id: str) -> AsyncDocumentReference:
    reference: AsyncDocumentReference = conversation.collection(MESSAGES).document(document_id)
    return reference


def _path(conversation: AsyncDocumentReference, message: Message) -> str:
    return f"{conversation.path}/{message.id}"
