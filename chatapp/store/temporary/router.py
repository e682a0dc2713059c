"""Temporary conversations beside those that are kept: told apart by their ids, and kept in memory only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.store import Consistency
from chatapp.store.temporary.memory import MemoryStore

if TYPE_CHECKING:
    from chatapp.domain.conversation import Conversation, Image, Message, Profile
    from chatapp.store import Hit, Page, Revocations, Store, StoreStatus

PREFIX = "temporary-"


def is_temporary(conversation_id: str) -> bool:
    """Return whether a conversation is never written anywhere."""
    return conversation_id.startswith(PREFIX)


class StoreRouter:
    """A `chatapp.store.Store` that keeps temporary conversations in memory, and all others in ``kept``.

    A temporary one is found by its id alone: no list, no search and no export shows it. Deleting everything does not
    either, so whoever does that calls `delete_temporary` too.

    Args:
        kept: where the others are; it is closed with this store.
        temporary: where the temporary ones are.
    """

    def __init__(self, kept: Store, temporary: MemoryStore | None = None) -> None:
        self._kept = kept
        self._temporary = temporary or MemoryStore()

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, consistency: Consistency = Consistency.LATEST
    ) -> Page[Conversation]:
        """List the user's conversations that are kept."""
        return await self._kept.conversations(user, limit=limit, cursor=cursor, consistency=consistency)

    async def conversation(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return one conversation."""
        return await self._of(conversation_id).conversation(user, conversation_id, consistency=consistency)

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Message]:
        """Return all messages of a conversation."""
        return await self._of(conversation_id).messages(user, conversation_id, consistency=consistency)

    async def message(
        self, user: str, conversation_id: str, message_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Message:
        """Return one message."""
        return await self._of(conversation_id).message(user, conversation_id, message_id, consistency=consistency)

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data."""
        return await self._of(conversation_id).image(user, conversation_id, image_id)

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned conversations that are kept."""
        return await self._kept.pinned(user, consistency=consistency)

    async def search(self, user: str, text: str, *, limit: int = 20, cursor: str | None = None) -> Page[Hit]:
        """Search the conversations that are kept."""
        return await self._kept.search(user, text, limit=limit, cursor=cursor)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages."""
        await self._of(conversation.id).create(user, conversation, *messages)

    async def update(self, user: str, conversation: Conversation) -> None:
        """Replace all of a conversation but its id and ``created_ms``."""
        await self._of(conversation.id).update(user, conversation)

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision."""
        await self._of(conversation_id).append(user, conversation_id, *messages)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation for good."""
        await self._of(conversation_id).delete(user, conversation_id)

    async def delete_temporary(self, user: str) -> None:
        """Forget all temporary conversations of the user."""
        while found := (await self._temporary.conversations(user)).items:
            for conversation in found:
                await self._temporary.delete(user, conversation.id)

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return what is remembered of the user."""
        return await self._kept.profile(user, consistency=consistency)

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Remember a profile."""
        await self._kept.save_profile(user, profile)

    async def delete_profile(self, user: str) -> None:
        """Forget the user's profile."""
        await self._kept.delete_profile(user)

    async def revocations(self, user: str) -> Revocations:
        """Return which of the user's sessions are ended."""
        return await self._kept.revocations(user)

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """End one session of the user, or all that began up to ``before_ms``."""
        await self._kept.revoke(user, session=session, before_ms=before_ms, until_ms=until_ms)

    def pending(self, user: str, conversation_id: str = "") -> bool:
        """Return whether something of a conversation, or of the profile, is not in the cloud yet."""
        return self._of(conversation_id).pending(user, conversation_id)

    def status(self) -> StoreStatus:
        """Return how the place is doing where conversations are kept."""
        return self._kept.status()

    async def aclose(self) -> None:
        """Finish what was accepted and release both places."""
        await self._temporary.aclose()
        await self._kept.aclose()

    def _of(self, conversation_id: str) -> Store:
        return self._temporary if is_temporary(conversation_id) else self._kept
