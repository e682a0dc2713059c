"""Helpers that store adapters share: storable text, revisions, cursors, size limits."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Document, revised
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from chatapp.domain.conversation import Attachment, Conversation, Message, Profile

MAX_PAGE = 200  # conversations
MAX_HITS = 50  # conversations that a search found
MAX_PINNED = 100
MAX_IN_FOLDER = 500
MAX_REMOVED = 100  # documents of collections in one call, which is one request to Firestore
BEGINNING = 2**63 - 1, ""
# UTF-8 bytes of text in one write to Firestore, which is all or nothing: the emulator takes requests of 4 MiB,
# Firestore of 10. The journal refuses what Firestore would refuse permanently.
WRITE_BYTES = 4_000_000
# A Firestore document holds 1 MiB: an image is one document, and so are the text of a document and a profile. Every
# store has this limit, so that data can move from any store to any other.
IMAGE_BYTES = 900_000
PROFILE_BYTES = 900_000
VECTORS_BYTES = 4 * 900_000  # of a document: four documents of Firestore, in one request
FILE_PART_BYTES = 1_000_000  # in which the file of a document is read
PIECE_BYTES = 901_000  # an image of a share, with its type
UNREACHABLE = Sentence("The chat history is unavailable. Try again in a moment; nothing is stored twice.")


def storable(text: str) -> str:
    """Return text that UTF-8 can encode: surrogate pairs are joined, lone surrogates become U+FFFD."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def sort_key(conversation: Conversation) -> tuple[int, str]:
    """Return the key that sorts a user's list of conversations, the highest first."""
    return conversation.updated_ms, conversation.id


def cursor_after(last: Conversation) -> str:
    """Return the cursor of the page that begins after this conversation."""
    return base64.urlsafe_b64encode(f"{last.updated_ms}:{last.id}".encode()).decode()


def position(cursor: str | None) -> tuple[int, str]:
    """Return the sort key after which the page begins; `BEGINNING` if the cursor is invalid."""
    try:
        updated_ms, _, last_id = base64.urlsafe_b64decode(cursor or "").decode().partition(":")
        return min(int(updated_ms), BEGINNING[0]), last_id
    except ValueError:
        return BEGINNING


def newest(messages: Iterable[Message]) -> list[Message]:
    """Return the newest revision of each message, with its last rating; of the same revision, the first."""
    newest_by_id: dict[str, Message] = {}
    for message in messages:
        newest_by_id[message.id] = revised(newest_by_id.get(message.id, message), message)
    return list(newest_by_id.values())


def in_order(messages: Iterable[Message]) -> list[Message]:
    """Return messages in the order of a conversation."""
    return sorted(messages, key=place)


def place(message: Message) -> tuple[int, str]:
    """Return the key of the order of a conversation."""
    return message.created_ms, message.id


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


def refuse_too_many_vectors(vectors: bytes) -> None:
    """Refuse vectors of more than `VECTORS_BYTES`.

    Raises:
        StoreUnavailable: with a sentence that no person sees: a document is searched without stored vectors.
    """
    if len(vectors) > VECTORS_BYTES:
        raise StoreUnavailable("These vectors are too large.", detail=f"{len(vectors)} bytes of vectors")


def refuse_too_large_attachments(messages: Iterable[Message]) -> None:
    """Refuse messages with an image, or the text of a document, of more than `IMAGE_BYTES`.

    Raises:
        StoreUnavailable: with the size in words.
    """
    attachments = (attachment for message in messages for attachment in message.attachments)
    if largest := max(attachments, key=lambda one: len(one.data), default=None):
        refuse_too_large_attachment(largest)


def refuse_too_large_attachment(largest: Attachment) -> None:
    """Refuse an image, or the text of a document, of more than `IMAGE_BYTES`.

    Raises:
        StoreUnavailable: with the size in words.
    """
    if len(largest.data) <= IMAGE_BYTES:
        return
    values = {"size": -(-len(largest.data) // 1000), "most": IMAGE_BYTES // 1000}
    if isinstance(largest, Document):
        raise StoreUnavailable(
            Sentence(
                "The text of {name} takes {size} kB, and the chat history can store at most {most} kB of a document. "
                "Nothing was changed. Split the document, then send the parts that you need.",
                name=largest.name,
                **values,
            )
        )
    raise StoreUnavailable(
        Sentence(
            "This image is {size} kB, and the chat history can store images of at most {most} "
            "kB. Nothing was changed. Send a smaller image.",
            **values,
        )
    )


def attached_bytes(messages: Iterable[Message]) -> int:
    """Return how many bytes the images and documents of messages take, without files of documents."""
    return sum(len(attachment.data) for message in messages for attachment in message.attachments)


def file_bytes(document: Document) -> int:
    """Return how many bytes the file of a document takes."""
    return document.size if document.file else 0


def refuse_too_large_pieces(pieces: Mapping[str, bytes]) -> None:
    """Refuse a piece of a share of more than `PIECE_BYTES`.

    Raises:
        ValueError: one is larger.
    """
    if max(map(len, pieces.values()), default=0) > PIECE_BYTES:
        raise ValueError(f"a piece of a share has more than {PIECE_BYTES} bytes")


def refuse_too_much_profile(profile: Profile) -> None:
    """Refuse a profile of more than `PROFILE_BYTES`.

    Raises:
        StoreUnavailable: with the size in words.
    """
    texts = [text for one in profile.personas for text in (one.id, one.name, one.instructions)]
    texts += [text for one in profile.folders for text in (one.id, one.name, one.instructions, one.collection)]
    texts += [text for one in profile.collections for text in (one.id, one.name)]
    size = sum(len(text.encode()) for text in texts)
    if size > PROFILE_BYTES:
        sentence = _FOLDERS_TOO_LARGE if profile.folders else _PERSONAS_TOO_LARGE
        raise StoreUnavailable(sentence.filled(size=-(-size // 1000), most=PROFILE_BYTES // 1000))


_PERSONAS_TOO_LARGE = Sentence(
    "All personas together take {size} kB, and the limit is {most} kB. Nothing was changed. Shorten or delete one."
)
_FOLDERS_TOO_LARGE = Sentence(
    "All personas and folders together take {size} kB, and the limit is {most} kB. Nothing was changed. Shorten or "
    "delete one."
)
