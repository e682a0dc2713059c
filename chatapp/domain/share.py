"""A share: a link to a conversation as it was when the link was made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What is known of a share besides its content. Times are milliseconds since the epoch.

    Attributes:
        id: a digest of the link's secret, in hex: the link is found by it and cannot be made from it.
        conversation_id: of the conversation; the share ends with it.
        title: the conversation's, when the link was made.
        expires_ms: when the link stops to work.
        texts: how many pieces its messages take in the store.
        size: bytes of all its pieces.
    """

    id: str
    conversation_id: str
    title: str
    created_ms: int
    expires_ms: int
    texts: int = 1
    size: int = 0
