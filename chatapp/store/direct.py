"""What is the same in every store without a queue: a write is where it stays when the call returns."""

from __future__ import annotations

from chatapp.store import StoreStatus


class DirectStore:
    """The part of a `chatapp.store.Store` that says what has yet to reach the cloud: nothing."""

    def pending(self, user: str, conversation_id: str = "") -> bool:
        """Return False."""
        del user, conversation_id
        return False

    async def undelivered(self, user: str, conversation_id: str) -> set[str]:
        """Return the empty set."""
        del user, conversation_id
        return set()

    async def delivered(self, user: str, conversation_id: str, message_id: str, *, seconds: float) -> bool:
        """Return True."""
        del user, conversation_id, message_id, seconds
        return True

    def status(self) -> StoreStatus:
        """Return an empty status."""
        return StoreStatus()
