"""What every adapter does to a conversation before it translates it: pure functions over the neutral format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.conversation import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.domain.conversation import Image, Message


@dataclass(frozen=True, slots=True)
class ChatTurn:
    """What one side says before the other answers; images have their data."""

    role: Role
    text: str
    images: tuple[Image, ...] = ()


def alternating_turns(messages: Iterable[Message]) -> list[ChatTurn]:
    """Return turns that start with the user and strictly alternate.

    Gemma's chat template refuses anything else (facts: two questions in a row after an empty or failed answer). Blank
    messages are left out, neighbours of one role become one text, and answers before the first question are dropped.
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
    """Replace what is not text with U+FFFD: NUL (databases and C strings end there) and lone surrogates (no UTF-8)."""
    return text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
