"""A fake of Firestore that several replicas share: each call is atomic, and its way there and back takes its time.

It keeps the guarantees of `chatapp.store.firestore.store.FirestoreStore`: the newest revision of a message stays, the
later change of a field stays, a create does not replace, and an answer that was not written for a while is interrupted.
"""

from __future__ import annotations

import dataclasses
import inspect
import time
from collections import Counter
from typing import TYPE_CHECKING

from chatapp.domain.conversation import MessageStatus
from chatapp.domain.errors import StoreUnavailable
from chatapp.store.temporary.memory import Memory, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.domain.conversation import Message

STALE_S = 60.0
READS = {
    "conversations",
    "conversation",
    "messages",
    "message",
    "image",
    "document",
    "pinned",
    "profile",
    "revocations",
}


class SharedCloud:
    """The data that all replicas see.

    Attributes:
        calls: number of executed calls by name.
    """

    def __init__(self, stale_seconds: float = STALE_S) -> None:
        self.store = MemoryStore(Memory(), most_bytes=10**12, most_user_bytes=10**12, forget_after_seconds=float("inf"))
        self.calls: Counter[str] = Counter()
        self._stale_seconds = stale_seconds
        self._written_at: dict[tuple[str, str], tuple[int, float]] = {}  # revision and time of running answers

    def client(self, travel: Callable[[str], Awaitable[None]] | None = None) -> CloudClient:
        """Return the cloud as one replica sees it; ``travel`` is awaited before and after each call, and may raise."""
        return CloudClient(self, travel)

    async def call(self, name: str, *arguments: object, **options: object) -> object:
        """Execute a call at one moment."""
        self.calls[name] += 1
        result = await getattr(self.store, name)(*arguments, **options)
        if name in {"create", "append"}:
            conversation = arguments[1] if name == "append" else arguments[1].id
            for message in arguments[2:]:
                stored = self._written_at.get((conversation, message.id))
                if stored is None or message.revision > stored[0]:
                    self._written_at[conversation, message.id] = message.revision, time.monotonic()
        if name == "messages":
            return [self._as_read(arguments[1], message) for message in result]
        return self._as_read(arguments[1], result) if name == "message" else result

    def _as_read(self, conversation: str, message: Message) -> Message:
        _, written_at = self._written_at.get((conversation, message.id), (0, time.monotonic()))
        if message.status is MessageStatus.STREAMING and time.monotonic() - written_at > self._stale_seconds:
            return dataclasses.replace(message, status=MessageStatus.INTERRUPTED)
        return message


class CloudClient:
    """A `Store` of one replica.

    Attributes:
        down: each call raises StoreUnavailable.
    """

    def __init__(self, cloud: SharedCloud, travel: Callable[[str], Awaitable[None]] | None) -> None:
        self.down = False
        self._cloud = cloud
        self._travel = travel

    def __getattr__(self, name: str):
        method = getattr(self._cloud.store, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def call(*arguments, **options):
            await self._leg(name)
            result = await self._cloud.call(name, *arguments, **options)
            await self._leg(name)
            return result

        return call

    async def aclose(self):
        """Leave the shared data open."""

    async def _leg(self, name):
        if self._travel:
            await self._travel(name)
        if self.down:
            raise StoreUnavailable("The cloud cannot be reached.", detail="503 down")
