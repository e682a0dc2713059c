"""What every adapter does to a conversation before it translates it: pure functions over the neutral format."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.conversation import Role

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chatapp.conversation import Message


def alternating_turns(messages: Iterable[Message]) -> list[tuple[Role, str]]:
    """Return ``(role, text)`` pairs that start with the user and strictly alternate.

    Gemma's chat template refuses anything else (facts: two questions in a row after an empty or failed answer). Blank
    messages are left out, neighbours of one role become one text, and answers before the first question are dropped.
    """
    turns: list[tuple[Role, str]] = []
    for message in messages:
        if not message.content.strip():
            continue
        if turns and turns[-1][0] is message.role:
            turns[-1] = (message.role, f"{turns[-1][1]}\n\n{message.content}")
        elif turns or message.role is Role.USER:
            turns.append((message.role, message.content))
    return turns


def clean_text(text: str) -> str:
    """Replace what is not text with U+FFFD: NUL (databases and C strings end there) and lone surrogates (no UTF-8)."""
    return text.replace("\0", "\ufffd").encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
