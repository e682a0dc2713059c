"""What a conversation looks like in Cloud Firestore: paths, documents and fields, without Google's library.

    users/{uid}/conversations/{cid}                       title, model, updatedMs ...
    users/{uid}/conversations/{cid}/messages/{mid}        one message, or the first part of a very long one
    users/{uid}/conversations/{cid}/messages/{mid}~{n}    its further parts
    users/{uid}/conversations/{cid}/images/{iid}          an image of a message, with its bytes
    users/{uid}                                           what is remembered of the user: personas ...
    users/{uid}/deletions/{cid}                           a deletion that is not finished; has no text
    users/{uid}/revocations/{sid}                         a session that is ended
    users/{uid}/revocations/before                        all that began up to a moment are

The user's id is in no path as it is: ``uid`` is a digest of it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import (
    Conversation,
    Feedback,
    FinishReason,
    Image,
    Message,
    MessageStatus,
    Place,
    Role,
    Usage,
)
from chatapp.domain.sentences import from_json
from chatapp.store.codec import clean, profile_fields, said
from chatapp.store.codec import profile_of as profile_of_fields
from chatapp.store.firestore.schema import EXPIRY_FIELD, PINNED_FIELD
from chatapp.store.values import storable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.domain.conversation import Profile

VERSION = 1  # of the documents' shape, in "v"; a program that changes the shape can tell the old from the new
# UTF-8 bytes of text in one document. A document holds 1 MiB (https://firebase.google.com/docs/firestore/quotas); the
# rest is for the other fields.
PART_BYTES = 900 * 1024
# What can be a document's id without being escaped; `new_id` makes 32 hex digits. "~" is kept for parts.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,199}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Document = dict[str, Any]


def uid(user: str) -> str:
    """Return the user's id as a path may hold it: 52 characters, of which nobody reads an address or a name."""
    digest = hashlib.sha256(user.encode("utf-8", "surrogatepass")).digest()
    return base64.b32encode(digest).decode().rstrip("=").lower()


def is_id(text: str) -> bool:
    """Return whether this can be the id of a conversation or a message; what cannot was never stored."""
    return _ID.fullmatch(text) is not None


def timestamp(ms: int) -> datetime:
    """Return milliseconds since the epoch as Firestore keeps a time, without a rounding error."""
    return _EPOCH + ms * _MILLISECOND


def expiry(since_ms: int, retention_ms: int | None) -> Document:
    """Return the field that says when a document may go; none without a retention."""
    return {} if retention_ms is None else {EXPIRY_FIELD: timestamp(since_ms + retention_ms)}


def is_expired(document: Mapping[str, Any], now: datetime) -> bool:
    """Return whether a document may go, and is not to be shown any more."""
    return EXPIRY_FIELD in document and document[EXPIRY_FIELD] <= now


def conversation_document(conversation: Conversation) -> Document:
    """Return the document of a conversation, without its expiry."""
    return {
        "v": VERSION,
        "title": storable(conversation.title),
        "model": conversation.model,
        "systemPrompt": storable(conversation.system_prompt),
        "createdAt": timestamp(conversation.created_ms),
        "updatedMs": conversation.updated_ms,
        "persona": conversation.persona,
        PINNED_FIELD: conversation.pinned,
        "archived": conversation.archived,
        "branch": conversation.branch,
        "deletedMs": conversation.deleted_ms,
    }


def conversation_of(conversation_id: str, document: Mapping[str, Any]) -> Conversation:
    """Return the conversation that a document holds."""
    return Conversation(
        id=conversation_id,
        title=document["title"],
        created_ms=_milliseconds(document["createdAt"]),
        updated_ms=document["updatedMs"],
        model=document["model"],
        system_prompt=document["systemPrompt"],
        persona=document.get("persona", ""),  # this and the next were not there from the beginning
        pinned=document.get(PINNED_FIELD, False),
        archived=document.get("archived", False),
        branch=document.get("branch", ""),
        deleted_ms=document.get("deletedMs", 0),
    )


def message_documents(message: Message, retention_ms: int | None) -> dict[str, Document]:
    """Return the documents of a message by their ids, the one with its facts first.

    Raises:
        ValueError: its id cannot be one.
    """
    if not is_id(message.id):
        raise ValueError(f"{message.id!r} cannot be the id of a message")
    message = clean(message)
    first, *further = _parts(message.content)
    every = {"v": VERSION, "createdAt": timestamp(message.created_ms)} | expiry(message.created_ms, retention_ms)
    facts = every | {
        "turnId": message.turn_id,
        "role": message.role.value,
        "status": message.status.value,
        "content": first,
        "parts": 1 + len(further),
        "rev": message.revision,
        "model": message.model,
        "usage": message.usage and asdict(message.usage),
        "secondsToFirstToken": message.seconds_to_first_token,
        "finishReason": message.finish_reason and message.finish_reason.value,
        "omittedMessages": message.omitted_messages,
        "error": said(message.error),
        "follows": message.follows,
        "images": [_image_facts(image) | {"id": image.id} for image in message.images],
        "feedback": message.feedback.value,
        "place": message.place.value,
        "insteadOf": message.instead_of,
        "temperature": message.temperature,
        "seconds": message.seconds,
        "cost": message.cost,
    }
    parts = {part_id(message.id, number): every | {"content": part} for number, part in enumerate(further, start=1)}
    return {message.id: facts, **parts}


def part_id(message_id: str, number: int) -> str:
    """Return the id of a further part of a long message; parts count from 0, which is the message's own document."""
    return f"{message_id}~{number}"


def is_part(document_id: str) -> bool:
    """Return whether a document in `MESSAGES` is a further part of a message."""
    return "~" in document_id


def message_of(message_id: str, documents: Mapping[str, Mapping[str, Any]]) -> Message:
    """Return a message from the documents of its conversation, by their ids."""
    document = documents[message_id]
    parts = [document, *(documents[part_id(message_id, number)] for number in range(1, document["parts"]))]
    return Message(
        id=message_id,
        turn_id=document["turnId"],
        role=Role(document["role"]),
        content="".join(part["content"] for part in parts),
        created_ms=_milliseconds(document["createdAt"]),
        status=MessageStatus(document["status"]),
        revision=document["rev"],
        model=document["model"],
        usage=Usage(**document["usage"]) if document["usage"] is not None else None,
        seconds_to_first_token=document["secondsToFirstToken"],
        finish_reason=FinishReason(document["finishReason"]) if document["finishReason"] else None,
        omitted_messages=document["omittedMessages"],
        error=from_json(document["error"]),
        follows=document.get("follows"),  # this and the next were not there from the beginning
        images=tuple(image_of(image["id"], image) for image in document.get("images", ())),
        feedback=Feedback(document.get("feedback", "")),
        place=Place(document.get("place", "")),
        instead_of=document.get("insteadOf", ""),
        temperature=document.get("temperature"),
        seconds=document.get("seconds"),
        cost=document.get("cost"),
    )


def image_documents(message: Message, retention_ms: int | None) -> dict[str, Document]:
    """Return the documents of a message's images by their ids: of those that come with their bytes.

    Raises:
        ValueError: an id cannot be one.
    """
    for image in message.images:
        if not is_id(image.id):
            raise ValueError(f"{image.id!r} cannot be the id of an image")
    every = {"v": VERSION} | expiry(message.created_ms, retention_ms)
    return {image.id: every | _image_facts(image) | {"data": image.data} for image in message.images if image.data}


def image_of(image_id: str, document: Mapping[str, Any]) -> Image:
    """Return the image that a document, or a message's mention of it, holds."""
    return Image(
        id=image_id,
        media_type=document["mediaType"],
        width=document["width"],
        height=document["height"],
        data=bytes(document.get("data", b"")),
    )


def profile_document(profile: Profile) -> Document:
    """Return the document of what is remembered of a user."""
    fields = profile_fields(profile)
    return {
        "v": VERSION,
        "rev": fields["revision"],
        "personas": fields["personas"],
        "parameters": fields["parameters"],
        "answerWithOther": fields["answer_with_other"],
    }


def profile_of(document: Mapping[str, Any]) -> Profile:
    """Return what a document remembers of a user."""
    names = {"rev": "revision", "answerWithOther": "answer_with_other"}
    return profile_of_fields({names.get(name, name): value for name, value in document.items()})


def _image_facts(image: Image) -> Document:
    return {"mediaType": image.media_type, "width": image.width, "height": image.height}


def _milliseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MILLISECOND


def _parts(text: str) -> list[str]:
    """Cut text into parts of at most `PART_BYTES`, never within a character; "" is one empty part."""
    encoded = text.encode()
    parts: list[str] = []
    start = 0
    while not parts or start < len(encoded):
        end = min(start + PART_BYTES, len(encoded))
        while end < len(encoded) and encoded[end] & 0xC0 == 0x80:  # a byte that continues a character
            end -= 1
        parts.append(encoded[start:end].decode())
        start = end
    return parts
