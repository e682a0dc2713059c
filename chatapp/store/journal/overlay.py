"""Pending writes, and how they merge with the cloud's data."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from chatapp.domain.conversation import Conversation, Message, Profile, changed, revised, saved
from chatapp.store.codec import (
    conversation_fields,
    conversation_of,
    message_fields,
    message_of,
    profile_fields,
    profile_of,
)
from chatapp.store.values import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class Kind(StrEnum):
    """The operation to perform in the cloud."""

    DELETE = "delete"
    CREATE = "create"
    CREATED = "created"  # a first message of a conversation, which goes with its CREATE
    UPDATE = "update"
    APPEND = "append"
    PROFILE = "profile"  # this and the next are of a user, not of a conversation
    NO_PROFILE = "no profile"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One pending write.

    Attributes:
        conversation: what CREATE and UPDATE write; with a call's first APPEND, the conversation as known then.
        message: what CREATED and APPEND write; None in lists, which need no messages.
        profile: what PROFILE writes.
        created_ms: the message's.
        size: bytes in the journal.
    """

    number: int
    call: int
    kind: Kind
    conversation: Conversation | None
    message: Message | None
    profile: Profile | None
    created_ms: int
    size: int


class Revised(NamedTuple):
    """What a pending write does to the revisions of a conversation's messages; of the conversation itself: no id."""

    kind: Kind
    message_id: str | None
    revision: int | None


def merged_conversation(base: Conversation | None, waiting: Iterable[Waiting]) -> Conversation | None:
    """Return the cloud's conversation after the pending writes; None: there is none.

    A write that was delivered a moment ago may be in both; applying it twice changes nothing (idempotent).
    """
    for write in waiting:
        if write.kind is Kind.DELETE:
            base = None
        elif write.kind is Kind.CREATE:
            base = base or write.conversation
        elif base and write.kind is Kind.APPEND:
            base = replace(base, updated_ms=max(base.updated_ms, write.created_ms))
        elif base and write.kind is Kind.UPDATE and write.conversation:
            base = changed(base, write.conversation)
    return base


def merged_messages(base: Sequence[Message] | None, waiting: Iterable[Waiting]) -> list[Message] | None:
    """Return the cloud's messages after the pending writes, in order; None: there is no conversation."""
    messages = None if base is None else {message.id: message for message in base}
    created = False
    for write in waiting:
        if write.kind is Kind.DELETE:
            messages = None
        elif write.kind is Kind.CREATE and messages is None:
            messages, created = {}, True
        elif messages is not None and write.message and (write.kind is Kind.APPEND or created):
            messages[write.message.id] = revised(messages.get(write.message.id, write.message), write.message)
    return None if messages is None else in_order(messages.values())


def merged_revisions(base: dict[str, int] | None, waiting: Iterable[Revised]) -> dict[str, int] | None:
    """Return the revisions of the cloud's messages after the pending writes, as `merged_messages` has them."""
    revisions = base
    created = False
    for kind, message_id, revision in waiting:
        if kind is Kind.DELETE:
            revisions = None
        elif kind is Kind.CREATE and revisions is None:
            revisions, created = {}, True
        elif revisions is not None and message_id is not None and (kind is Kind.APPEND or created):
            revisions = revisions | {message_id: max(revisions.get(message_id, 0), revision or 0)}
    return revisions


def recorded_conversation(waiting: Iterable[Waiting]) -> Conversation | None:
    """Return the conversation as the first pending append or update recorded it, for when the cloud is unavailable."""
    kinds = (Kind.APPEND, Kind.UPDATE)
    return next((write.conversation for write in waiting if write.conversation and write.kind in kinds), None)


def encoded(value: Conversation | Message | Profile) -> bytes:
    """Return the JSON that the journal stores for a value; images and documents of messages without their data.

    Raises:
        TypeError: it contains something other than text and numbers.
        UnicodeEncodeError: an id is not valid Unicode.
    """
    match value:
        case Conversation():
            fields = conversation_fields(value)
        case Message():
            fields = message_fields(value)
        case Profile():
            fields = profile_fields(value)
    return _JSON.encode(fields).encode()


def decoded_conversation(data: bytes) -> Conversation:
    """Return the conversation that `encoded` wrote."""
    return conversation_of(json.loads(data))


def decoded_message(data: bytes) -> Message:
    """Return the message that `encoded` wrote."""
    return message_of(json.loads(data))


def decoded_profile(data: bytes) -> Profile:
    """Return the profile that `encoded` wrote."""
    return profile_of(json.loads(data))


def merged_profile(base: Profile, waiting: Iterable[Waiting]) -> Profile:
    """Return the cloud's profile after the pending writes."""
    for write in waiting:
        if write.kind is Kind.NO_PROFILE:
            base = Profile()
        elif write.profile:
            base = write.profile if base == Profile() else saved(base, write.profile)
    return base
