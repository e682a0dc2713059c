"""What is the same in every store that keeps no files of documents."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from chatapp.domain.errors import ConversationNotFound, DocumentNotFound

if TYPE_CHECKING:
    from collections.abc import Collection

    from chatapp.domain.conversation import Message


class WithoutFiles:
    """The part of a `chatapp.store.Store` that is about files: there are none."""

    async def add_file(self, user: str, file: bytes) -> str:
        """Return "": it is not kept."""
        del user, file
        return ""

    async def discard_files(self, user: str, files: Collection[str] | None = None) -> None:
        """Do nothing."""

    async def hand_over_files(self, user: str, to: str, files: Collection[str]) -> None:
        """Do nothing."""

    async def document_file_part(self, user: str, conversation_id: str, document_id: str, number: int) -> bytes:
        """Find none."""
        del user, conversation_id, document_id, number
        raise ConversationNotFound(detail="no files are kept")

    async def library_file_part(self, user: str, document_id: str, number: int) -> bytes:
        """Find none."""
        del user, document_id, number
        raise DocumentNotFound(detail="no files are kept")


def without_files(message: Message) -> Message:
    """Return a message whose documents name no files."""
    if not message.documents:
        return message
    return replace(message, documents=tuple(replace(one, file="") for one in message.documents))
