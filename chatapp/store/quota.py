"""The quota of storage: how many bytes one user's data, and everybody's together, may take.

A profile counts, and is never refused: it is one per user and bounded, and making it smaller must stay possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from chatapp.domain.conversation import MessageStatus, Role
from chatapp.domain.errors import StorageFull
from chatapp.domain.sentences import Sentence
from chatapp.store import Consistency
from chatapp.store.values import attached_bytes, file_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chatapp.domain.conversation import Message

OVERHEAD_BYTES = 500  # of the other fields of a message, about


class Measured(Protocol):
    """The part of `chatapp.store.Store` that a quota needs."""

    async def stored_bytes(self, user: str | None = None, *, consistency: Consistency = Consistency.LATEST) -> int:
        """Return about how many bytes the data of one user take, or of all users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLimits:
    """How many bytes may be stored; 0: no limit.

    Attributes:
        per_user: by one user.
        in_total: by all users together.
    """

    per_user: int = 0
    in_total: int = 0


class StorageQuota:
    """Refuses new messages while the storage is full; the ends of answers, changes and deletions are accepted.

    The stores keep the sizes up to date with every write, so a check reads one or two numbers.

    Args:
        store: whose data are counted.
        limits: how much may be stored.
        on_refused: called with the name of the limit at each refusal.

    Attributes:
        limits: as above.
        last_total: bytes of all users when they were last read.
    """

    def __init__(
        self, store: Measured, limits: StorageLimits, on_refused: Callable[[str], None] = lambda _limit: None
    ) -> None:
        self.limits = limits
        self.last_total = 0
        self._store = store
        self._on_refused = on_refused

    async def refuse_if_full(self, user: str, messages: Sequence[Message]) -> None:
        """Refuse messages for which there is no room.

        Raises:
            StorageFull: with the sentence.
            StoreUnavailable: the sizes cannot be read.
        """
        if not any(_is_new(message) for message in messages):
            return
        await self._refuse(user, sum(map(message_bytes, messages)), _USER_FULL, _ALL_FULL)

    async def refuse_if_too_much(self, user: str, more: int) -> None:
        """Refuse a share of ``more`` bytes for which there is no room.

        Raises:
            StorageFull: with the sentence.
            StoreUnavailable: the sizes cannot be read.
        """
        await self._refuse(user, more, _NO_SHARE, _NO_SHARE)

    async def refuse_document(self, user: str, more: int) -> None:
        """Refuse a document of a collection of ``more`` bytes for which there is no room.

        Raises:
            StorageFull: with the sentence.
            StoreUnavailable: the sizes cannot be read.
        """
        await self._refuse(user, more, _NO_DOCUMENT, _NO_DOCUMENT_FOR_ALL)

    async def _refuse(self, user: str, more: int, of_user: Sentence, of_all: Sentence) -> None:
        if (most := self.limits.per_user) and (used := await self._stored(user)) + more > most:
            self._on_refused("storage")
            raise StorageFull(of_user.filled(used=_megabytes(used), most=_megabytes(most)), detail="of a user")
        if (most := self.limits.in_total) and await self.total() + more > most:
            self._on_refused("all_storage")
            raise StorageFull(of_all, detail="of all users")

    async def total(self) -> int:
        """Return the bytes of all users."""
        self.last_total = await self._stored(None)
        return self.last_total

    async def _stored(self, user: str | None) -> int:
        return await self._store.stored_bytes(user, consistency=Consistency.CACHED)


def message_bytes(message: Message) -> int:
    """Return about how many bytes a message takes, with its images, documents and their files."""
    text = OVERHEAD_BYTES + len(message.content.encode(errors="replace"))
    return text + attached_bytes([message]) + sum(map(file_bytes, message.documents))


def _is_new(message: Message) -> bool:
    """Return whether a message is a question, or an answer that begins."""
    return message.role is Role.USER or (message.status is MessageStatus.STREAMING and message.revision == 0)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"


_USER_FULL = Sentence(
    "Your storage is full: {used} of {most} MB. Nothing was sent; your text is still in the box. Delete conversations "
    "that you do not need any more; you can download them first."
)
_NO_SHARE = Sentence(
    "There is no room for a shared copy of this conversation, so no link was made. Turn off links, or delete "
    "conversations, that you do not need any more."
)
_NO_DOCUMENT = Sentence(
    "Your storage is full: {used} of {most} MB. The document was not added. Remove documents, or delete conversations, "
    "that you do not need any more; you can download them first."
)
_NO_DOCUMENT_FOR_ALL = Sentence(
    "The storage of this chat is full. The document was not added. Remove documents, or delete conversations, that you "
    "do not need any more, or ask the operator of this chat for more room."
)
_ALL_FULL = Sentence(
    "The storage of this chat is full. Nothing was sent; your text is still in the box. Delete conversations that you "
    "do not need any more, or ask the operator of this chat for more room."
)
