"""The waiting writes, and how they merge with the cloud's data."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Conversation, Message, Profile
from chatapp.domain.errors import ConversationNotFound
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

    from chatapp.store import ConversationStore
    from chatapp.store.journal.rows import Key


class Kind(StrEnum):
    """What is to be done in the cloud."""

    DELETE = "delete"
    CREATE = "create"
    CREATED = "created"  # a first message of a conversation, which goes with its CREATE
    UPDATE = "update"
    APPEND = "append"
    PROFILE = "profile"  # these two are of a user, not of a conversation
    NO_PROFILE = "no profile"


@dataclass(frozen=True, slots=True)
class Waiting:
    """One write that waits.

    Attributes:
        conversation: what CREATE and UPDATE write; with the first APPEND of a call, what was known when it came.
        message: what CREATED and APPEND write; None where only the list is looked at.
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


def conversation_over(base: Conversation | None, waiting: Iterable[Waiting]) -> Conversation | None:
    """Return the conversation as it will be, from what the cloud holds; None: there is none.

    What was delivered a moment ago may be in both: a write laid over its own result changes nothing.
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


def changed(before: Conversation, after: Conversation) -> Conversation:
    """Return what an update leaves of a conversation."""
    updated_ms = max(before.updated_ms, after.updated_ms)
    return replace(after, created_ms=before.created_ms, updated_ms=updated_ms)


def messages_over(base: Sequence[Message] | None, waiting: Iterable[Waiting]) -> list[Message] | None:
    """Return the messages as they will be, in order, from what the cloud holds; None: there is no conversation."""
    found = None if base is None else {message.id: message for message in base}
    created = False
    for write in waiting:
        if write.kind is Kind.DELETE:
            found = None
        elif write.kind is Kind.CREATE and found is None:
            found, created = {}, True
        elif found is not None and write.message and (write.kind is Kind.APPEND or created):
            known = found.get(write.message.id)
            if known is None or write.message.revision > known.revision:
                found[write.message.id] = write.message
    return None if found is None else in_order(found.values())


async def base_of(cloud: ConversationStore, key: Key) -> Conversation | None:
    """Return what the cloud holds of a conversation; None: there is none."""
    try:
        return await cloud.conversation(*key)
    except ConversationNotFound:
        return None


def known_of(waiting: Iterable[Waiting]) -> Conversation | None:
    """Return what is known here of a conversation that the cloud has and cannot show."""
    kinds = (Kind.APPEND, Kind.UPDATE)
    return next((write.conversation for write in waiting if write.conversation and write.kind in kinds), None)


def encoded(value: Conversation | Message | Profile) -> bytes:
    """Return what the journal keeps of a conversation, a profile, or a message, without the bytes of its images.

    Raises:
        TypeError: it holds something else than text and numbers.
        UnicodeEncodeError: an id is not valid Unicode.
    """
    match value:
        case Conversation():
            fields = conversation_fields(value)
        case Message():
            fields = message_fields(value)
        case Profile():
            fields = profile_fields(value)
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def decoded_conversation(kept: bytes) -> Conversation:
    """Return the conversation that `encoded` kept."""
    return conversation_of(json.loads(kept))


def decoded_message(kept: bytes) -> Message:
    """Return the message that `encoded` kept."""
    return message_of(json.loads(kept))


def decoded_profile(kept: bytes) -> Profile:
    """Return the profile that `encoded` kept."""
    return profile_of(json.loads(kept))


def profile_over(base: Profile, waiting: Iterable[Waiting]) -> Profile:
    """Return the profile as it will be, from what the cloud holds."""
    for write in waiting:
        if write.kind is Kind.NO_PROFILE:
            base = Profile()
        elif write.profile and (base == Profile() or write.profile.revision > base.revision):
            base = write.profile
    return base
