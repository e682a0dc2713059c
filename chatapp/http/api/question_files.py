"""The images and documents that a question names: uploads, or what its conversation has already."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

from chatapp.domain.errors import ConversationNotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from chatapp.limits.uploads import KeptUploads

T = TypeVar("T")


class NamedFiles(Generic[T]):
    """Finds files by their ids, and keeps what it found.

    Args:
        uploads: of all users.
        user: who asks the question.
        stored: returns a file of a conversation by the ids of both; `ConversationNotFound` where there is none.

    Attributes:
        by_id: what was found.
    """

    def __init__(self, uploads: KeptUploads[T], user: str, stored: Callable[[str, str], Awaitable[T]]) -> None:
        self.by_id: dict[str, T] = {}
        self._uploads = uploads
        self._user = user
        self._stored = stored

    async def find(self, ids: Iterable[str], conversation_id: str) -> list[str]:
        """Find files, also those of a conversation if its id is not ""; return the ids of those that are not here."""
        missing = []
        for file_id in dict.fromkeys(ids):
            file = self._uploads.get(self._user, file_id)
            if file is None and conversation_id:
                with suppress(ConversationNotFound):
                    file = await self._stored(conversation_id, file_id)
            if file is None:
                missing.append(file_id)
            else:
                self.by_id[file_id] = file
        return missing

    def drop_uploads(self) -> None:
        """Forget the uploads that were found, which a question has now."""
        self._uploads.drop(self._user, self.by_id)
