"""What the conversations and the user data need of the turns that are being generated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


class Turns(Protocol):
    """The running turns of all users; `chatapp.generation.runner.TurnRunner` is the implementation."""

    def is_busy(self, user: str, conversation_id: str) -> bool:
        """Return whether an answer is being generated in a conversation, or is about to be."""

    async def stop(self, user: str, conversation_id: str) -> bool:
        """Stop the answer of a conversation, whichever replica generates it; return whether there was one."""

    async def stop_all(self, user: str) -> None:
        """Stop every answer that is being generated for a user."""

    async def delete(self, user: str, conversation_id: str) -> None:
        """Stop the answer that is being generated in a conversation, then delete the conversation."""

    def forget_documents(self, user: str, collection_id: str, document_ids: Sequence[str]) -> None:
        """Keep nothing in memory of documents that were removed from a collection."""
