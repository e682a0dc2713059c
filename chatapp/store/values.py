"""What every adapter does to values: text that can be stored, and a position in the list as a cursor."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatapp.conversation import Conversation

MAX_PAGE = 200  # conversations
BEGINNING = 2**63 - 1, ""


def storable(text: str) -> str:
    """Join the halves of surrogate pairs and replace lone ones: UTF-8 has neither, and no text may be lost for it."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


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
