"""The preparation of a conversation that all adapters share: pure functions over the neutral format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.domain.conversation import Image, Message


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """Consecutive messages of one role as one; images have their data."""

    role: Role
    text: str
    images: tuple[Image, ...] = ()


def alternating_turns(messages: Iterable[Message]) -> list[ChatTurn]:
    """Return turns that start with the user's and strictly alternate.

    Gemma's chat template refuses anything else, such as two questions in a row after an empty or failed answer. Blank
    messages are left out, neighbours of one role become one turn, and answers before the first question are dropped.
    """
    turns: list[ChatTurn] = []
    for message in messages:
        images = tuple(image for image in message.images if image.data)
        if not (message.content.strip() or images):
            continue
        if turns and turns[-1].role is message.role:
            before = turns.pop()
            text = "\n\n".join(text for text in (before.text, message.content) if text.strip())
            turns.append(ChatTurn(message.role, text, before.images + images))
        elif turns or message.role is Role.USER:
            turns.append(ChatTurn(message.role, message.content, images))
    return turns


def clean_text(text: str) -> str:
    """Replace NUL, which ends strings in databases and C, and lone surrogates, which UTF-8 lacks, with U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
