"""When what a person sent or changed counts as done: on this disk, or in the cloud."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatapp.store import ConversationStore

CLOUD_RETRY_S = 5.0


class Acknowledgement:
    """Waits for the cloud, for a while; without it, only this replica's disk has what was acknowledged.

    Args:
        store: has the write already.
        seconds: for how long at most; 0: what is on this disk counts.
    """

    def __init__(self, store: ConversationStore, *, seconds: float = 0.0) -> None:
        self._store = store
        self._seconds = seconds
        self._failed_at = float("-inf")

    async def wait(self, user: str, conversation_id: str, message_id: str = "") -> None:
        """Wait until the cloud has a message, or the fields of the conversation (""), if it is in time.

        While the cloud is unavailable, each `CLOUD_RETRY_S` one request waits in vain.
        """
        if not self._seconds or time.monotonic() - self._failed_at < CLOUD_RETRY_S:
            return
        if not await self._store.delivered(user, conversation_id, message_id, seconds=self._seconds):
            self._failed_at = time.monotonic()
