"""Firestore documents of conversations, messages, attachments and profiles: paths and fields, without Google's library.

    users/{uid}/conversations/{cid}                       title, model, updatedMs ...
    users/{uid}/conversations/{cid}/messages/{mid}        one message, or the first part of a very long one
    users/{uid}/conversations/{cid}/messages/{mid}~{n}    its further parts
    users/{uid}/conversations/{cid}/images/{iid}          an image of a message, with its data
    users/{uid}/conversations/{cid}/documents/{did}       the same for an uploaded document: its text, compressed
    users/{uid}/conversations/{cid}/documents/{did}~{n}   a part of its vectors
    users/{uid}                                           the user's profile: personas, collections, folders ...
    users/{uid}/library/{did}                             a document of a collection: its text, compressed
    users/{uid}/libraryVectors/{did}~{n}                  a part of its vectors
    users/{uid}/deletions/{cid}                           an unfinished deletion; contains no text
    users/{uid}/sessions/{sid}                            a sign-in: when, when last used, browser and system
    users/{uid}/revocations/{sid}                         a revoked session
    users/{uid}/revocations/before                        revokes all sessions that began up to a moment
    users/{uid}/shares/{sid}                              a share, for the user's list; its id is a digest
    shares/{sid}                                          the same, for who has the link: uid, conversation ...
    shares/{sid}/pieces/{name}                            a part of its messages, or an image

Paths never contain the user's id: ``uid`` is a digest of it. Field names are the codec's in camelCase, except `_NAMES`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from itertools import zip_longest
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from chatapp.domain import conversation as domain
from chatapp.domain.library import LibraryDocument
from chatapp.store import codec
from chatapp.store.firestore.schema import COLLECTION_FIELD, DOCUMENTS, EXPIRY_FIELD, IMAGES, SIZE_FIELD
from chatapp.store.library import library_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.domain.conversation import AttachmentT, Conversation, Message, Profile

VERSION = 1  # of the documents' schema, in "v"; a program that changes the schema can tell old from new
# UTF-8 bytes of text in one document. A document holds 1 MiB (https://firebase.google.com/docs/firestore/quotas); the
# rest is for the other fields.
PART_BYTES = 900 * 1024
# A document id that needs no escaping; `new_id` makes 32 hex digits. "~" is reserved for parts.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_NAMES = {"created_ms": "createdAt", "revision": "rev"}
_FIELDS = {name: field for field, name in _NAMES.items()}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

# Lists in a message's document whose items have fields of the codec.
_LISTS = "images", "documents", "citations"

Document = dict[str, Any]  # of Firestore
COLLECTIONS: Mapping[type[object], str] = MappingProxyType({domain.Image: IMAGES, domain.Document: DOCUMENTS})


def uid(user: str) -> str:
    """Return the user's id for paths: a digest of 52 characters that reveals no address and no name."""
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


def is_id(text: str) -> bool:
    """Return whether this is a valid id of a conversation or a message; an invalid one was never stored."""
    return _ID.fullmatch(text) is not None


def timestamp(ms: int) -> datetime:
    """Return milliseconds since the epoch as a Firestore timestamp, without a rounding error."""
    return _EPOCH + ms * _MILLISECOND


def expiry(since_ms: int, retention_ms: int | None) -> Document:
    """Return the field with a document's expiry time; none without a retention period."""
    return {} if retention_ms is None else {EXPIRY_FIELD: timestamp(since_ms + retention_ms)}


def is_expired(document: Mapping[str, Any], now: datetime) -> bool:
    """Return whether a document has expired and must not be returned any more."""
    return EXPIRY_FIELD in document and document[EXPIRY_FIELD] <= now


def conversation_document(conversation: Conversation) -> Document:
    """Return the document of a conversation, without its expiry time."""
    return _document(codec.conversation_fields(codec.clean_conversation(conversation)))


def conversation_of(conversation_id: str, document: Mapping[str, Any]) -> Conversation:
    """Return the conversation of a document."""
    return codec.conversation_of(_fields(document) | {"id": conversation_id})


def message_documents(message: Message, retention_ms: int | None) -> dict[str, Document]:
    """Return the documents of a message by id; the first one has its fields.

    Raises:
        ValueError: its id is invalid.
    """
    if not is_id(message.id):
        raise ValueError(f"{message.id!r} cannot be the id of a message")
    fields = codec.message_fields(codec.clean(message))
    room = PART_BYTES // 2 if fields.get("thinking") else PART_BYTES
    (content, thinking), *further = zip_longest(
        _parts(fields["content"], room), _parts(fields.get("thinking", ""), room), fillvalue=""
    )
    common = {"v": VERSION, "createdAt": timestamp(message.created_ms)} | expiry(message.created_ms, retention_ms)
    fields |= {
        "content": content,
        **({"thinking": thinking} if thinking else {}),
        "parts": 1 + len(further),
        **{name: [_camel(one) for one in fields[name]] for name in _LISTS if name in fields},
    }
    parts = {
        part_id(message.id, number): common | {"content": content} | ({"thinking": thinking} if thinking else {})
        for number, (content, thinking) in enumerate(further, start=1)
    }
    return {message.id: _document(fields) | common, **parts}


def part_id(message_id: str, number: int) -> str:
    """Return the id of a further part of a long message; parts count from 0, which is the message's own document."""
    return f"{message_id}~{number}"


def is_part(document_id: str) -> bool:
    """Return whether a document in `MESSAGES` is a further part of a message."""
    return "~" in document_id


def message_of(message_id: str, documents: Mapping[str, Mapping[str, Any]]) -> Message:
    """Return a message from its conversation's documents by id."""
    document = documents[message_id]
    parts = [document, *(documents[part_id(message_id, number)] for number in range(1, document["parts"]))]
    fields = _fields(document) | {
        "id": message_id,
        "content": "".join(part["content"] for part in parts),
        "thinking": "".join(part.get("thinking", "") for part in parts),  # none in documents from before it existed
        **{name: [_fields(one) for one in document.get(name, ())] for name in _LISTS},
    }
    return codec.message_of(fields)


def attachment_documents(message: Message, retention_ms: int | None) -> dict[tuple[str, str], Document]:
    """Return the documents of a message's attachments by collection and id, for those that come with data.

    Raises:
        ValueError: an id is invalid.
    """
    for attachment in message.attachments:
        if not is_id(attachment.id):
            raise ValueError(f"{attachment.id!r} cannot be the id of an image or a document")
    if not message.attachments:
        return {}
    common = {"v": VERSION} | expiry(message.created_ms, retention_ms)
    return {
        (COLLECTIONS[type(one)], one.id): _document(codec.attachment_fields(one)) | common | {"data": one.data}
        for one in codec.clean(message).attachments
        if one.data
    }


def attachment_of(kind: type[AttachmentT], attachment_id: str, document: Mapping[str, Any]) -> AttachmentT:
    """Return the image or the uploaded document of a document."""
    fields = _fields(document) | {"id": attachment_id, "data": bytes(document.get("data", b""))}
    return codec.attachment_of(kind, fields)


def library_fields(document: LibraryDocument) -> Document:
    """Return the document of a collection's document, with its data.

    Raises:
        ValueError: its id is invalid.
    """
    if not is_id(document.document.id):
        raise ValueError(f"{document.document.id!r} cannot be the id of a document")
    cleaned = codec.clean_document(document.document)
    own = {COLLECTION_FIELD: document.collection, "addedMs": document.added_ms, SIZE_FIELD: library_bytes(document)}
    return _document(codec.attachment_fields(cleaned)) | own | {"data": cleaned.data}


def library_document_of(document_id: str, document: Mapping[str, Any]) -> LibraryDocument:
    """Return the document of a collection; without data if it was read without."""
    return LibraryDocument(
        collection=document[COLLECTION_FIELD],
        added_ms=document["addedMs"],
        document=attachment_of(domain.Document, document_id, document),
    )


def profile_document(profile: Profile) -> Document:
    """Return the document of a user's profile."""
    return _document(codec.profile_fields(profile))


def profile_of(document: Mapping[str, Any]) -> Profile:
    """Return the profile of a user's document."""
    return codec.profile_of(_fields(document))


def _document(fields: Mapping[str, Any]) -> Document:
    """Return a document with the codec's fields; the id is in the path."""
    document: Document = {"v": VERSION}
    document |= {name: value for name, value in _camel(fields).items() if name != "id"}
    if "createdAt" in document:
        document["createdAt"] = timestamp(document["createdAt"])
    return document


def _fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the codec's fields of a document."""
    fields = {_FIELDS.get(name) or _snake(name): value for name, value in document.items()}
    if "created_ms" in fields:
        fields["created_ms"] = _milliseconds(fields["created_ms"])
    return fields


def _camel(fields: Mapping[str, Any]) -> Document:
    return {_name(name): value for name, value in fields.items()}


def _name(field: str) -> str:
    """Return the name of a field in documents: camelCase, but for `_NAMES`."""
    first, *further = field.split("_")
    return _NAMES.get(field) or first + "".join(word.title() for word in further)


def _snake(name: str) -> str:
    return re.sub("[A-Z]", lambda letter: f"_{letter[0].lower()}", name)


def _milliseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MILLISECOND


def _parts(text: str, most: int) -> list[str]:
    """Cut text into parts of at most so many bytes, never within a character; "" is one empty part."""
    encoded = text.encode()
    parts: list[str] = []
    start = 0
    while not parts or start < len(encoded):
        end = min(start + most, len(encoded))
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:  # a byte that continues a character
            end -= 1
        parts.append(encoded[start:end].decode())
        start = end
    return parts
