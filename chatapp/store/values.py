"""What adapters do to values: text that can be stored, the newest of several revisions, a position as a cursor."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.domain.conversation import Conversation, Message, Profile

MAX_PAGE = 200  # conversations
MAX_HITS = 50  # conversations that a search found
MAX_PINNED = 100
BEGINNING = 2**63 - 1, ""
# UTF-8 bytes of text in one write to Firestore, which is all or nothing: the emulator takes requests of 4 MiB,
# Firestore of 10. Whoever accepts a write for it refuses what it would refuse for good.
WRITE_BYTES = 4_000_000
# A document of Firestore holds 1 MiB: an image is one, and so is a profile. Every place has this limit, so that what is
# in one can be moved to any other.
IMAGE_BYTES = 900_000
PROFILE_BYTES = 900_000
UNREACHABLE = Sentence("The chat history is unavailable. Try again in a moment; nothing is stored twice.")


def storable(text: str) -> str:
    """Join the halves of surrogate pairs and replace lone ones: UTF-8 has neither, and no text may be lost for it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def place_of(conversation: Conversation) -> tuple[int, str]:
    """Return where a conversation stands in its user's list, which begins with the highest."""
    return conversation.updated_ms, conversation.id


def cursor_after(last: Conversation) -> str:
    """Return the cursor of the page that begins after this conversation."""
    return base64.urlsafe_b64encode(f"{last.updated_ms}:{last.id}".encode()).decode()


def position(cursor: str | None) -> tuple[int, str]:
    """Return where the page begins: after this ``(updated_ms, id)``; `BEGINNING` if it is not a cursor."""
    try:
        updated_ms, _, last_id = base64.urlsafe_b64decode(cursor or "").decode().partition(":")
        return min(int(updated_ms), BEGINNING[0]), last_id
    except ValueError:
        return BEGINNING


def newest(messages: Iterable[Message]) -> list[Message]:
    """Return the newest revision of each message; of the same revision, the first."""
    found: dict[str, Message] = {}
    for message in messages:
        if message.id not in found or message.revision > found[message.id].revision:
            found[message.id] = message
    return list(found.values())


def in_order(messages: Iterable[Message]) -> list[Message]:
    """Return messages as a conversation shows them."""
    return sorted(messages, key=lambda message: (message.created_ms, message.id))


def refuse_too_much(size: int) -> None:
    """Refuse a write of more than `WRITE_BYTES`.

    Raises:
        StoreUnavailable: with the size in words.
    """
    if size > WRITE_BYTES:
        raise StoreUnavailable(
            Sentence(
                "This is {size} MB, and the chat history can store at most {most} MB at once. "
                "Nothing was changed. Shorten it, or send it in parts.",
                size=f"{size / 1e6:.1f}",
                most=WRITE_BYTES // 1_000_000,
            )
        )


def refuse_too_large_images(messages: Iterable[Message]) -> None:
    """Refuse messages with an image of more than `IMAGE_BYTES`.

    Raises:
        StoreUnavailable: with the size in words.
    """
    largest = max((len(image.data) for message in messages for image in message.images), default=0)
    if largest > IMAGE_BYTES:
        raise StoreUnavailable(
            Sentence(
                "This image is {size} kB, and the chat history can store images of at most {most} "
                "kB. Nothing was changed. Send a smaller image.",
                size=-(-largest // 1000),
                most=IMAGE_BYTES // 1000,
            )
        )


def refuse_too_much_profile(profile: Profile) -> None:
    """Refuse a profile of more than `PROFILE_BYTES`.

    Raises:
        StoreUnavailable: with the size in words.
    """
    texts = (text for persona in profile.personas for text in (persona.id, persona.name, persona.instructions))
    size = sum(len(text.encode()) for text in texts)
    if size > PROFILE_BYTES:
        raise StoreUnavailable(
            Sentence(
                "All personas together take {size} kB, and the limit is {most} kB. Nothing was "
                "changed. Shorten or delete one.",
                size=-(-size // 1000),
                most=PROFILE_BYTES // 1000,
            )
        )
