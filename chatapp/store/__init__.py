"""The one seam to any place that keeps conversations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.domain.conversation import Conversation, Image, Message, Profile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a longer list; ``cursor`` asks for the next part and is None at the end."""

    items: Sequence[T]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a search found its words: in a message, or only in the title.

    Attributes:
        message_id: the newest message that has them all; "" for the title.
        before: the text before ``match``, as ``after`` is the one behind it: about 60 characters of what was written,
            with "…" where it goes on.
    """

    conversation: Conversation
    message_id: str
    before: str
    match: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """How a store is doing, as far as it knows without asking anybody.

    Attributes:
        waiting_writes: how many writes are safe on this disk and not in the cloud yet.
        waiting_bytes: how many bytes of text and facts they hold.
        waiting_seconds: how long the oldest of them has been waiting.
        reachable: False when the last delivery to the cloud failed.
        full: so much waits that new messages are refused.
    """

    waiting_writes: int = 0
    waiting_bytes: int = 0
    waiting_seconds: float = 0.0
    reachable: bool = True
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """Which of a user's sessions are ended, whatever cookie still names them.

    Attributes:
        before_ms: those that began then or earlier, in milliseconds since the epoch.
        sessions: and these, by their ids.
    """

    before_ms: int = 0
    sessions: frozenset[str] = frozenset()

    def end(self, session: str, began_ms: int) -> bool:
        """Return whether a session is ended."""
        return began_ms <= self.before_ms or session in self.sessions

    def joined(self, other: Revocations) -> Revocations:
        """Return both."""
        before_ms = max(self.before_ms, other.before_ms)
        return Revocations(before_ms=before_ms, sessions=self.sessions | other.sessions)


class ConversationStore(Protocol):
    """Keeps conversations; every call is scoped to one user, and nothing of another user is ever read or changed.

    A call that returns has made its change durable: it survives ``kill -9`` of the app. A call that raises has changed
    nothing; where a network is between, all of it may have been done and its reply lost: the same call again is safe.

    ``fresh=False`` says that what this process knows is enough: what it last saw, with all that was written here. So
    nothing waits for a network where that can be avoided; if this process knows nothing, it is read as ever.
    ``certain=True`` is the contrary: nothing is shown that the place did not say just now, for whoever deletes what was
    read.

    Raises (every call):
        ConversationNotFound: the user has no such conversation (deleted, never there, or somebody else's).
        StoreUnavailable: the place cannot be read or written now.
    """

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, fresh: bool = True
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first. An invalid cursor starts at the beginning.

        A page has ``limit`` conversations if there are so many; one that has fewer may still have a cursor.
        """

    async def conversation(self, user: str, conversation_id: str, *, fresh: bool = True) -> Conversation:
        """Return one conversation."""

    async def messages(
        self, user: str, conversation_id: str, *, fresh: bool = True, certain: bool = False
    ) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``, their images without data."""

    async def message(self, user: str, conversation_id: str, message_id: str, *, fresh: bool = True) -> Message:
        """Return one message, without reading the others; its images without data.

        Raises:
            ConversationNotFound: the user has no such message.
        """

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data.

        Raises:
            ConversationNotFound: the user has no such image.
        """

    async def pinned(self, user: str, *, fresh: bool = True) -> list[Conversation]:
        """Return the user's pinned conversations, archived ones too, the last updated first, 100 at most.

        Those that are marked as deleted are not among them.
        """

    async def search(self, user: str, text: str, *, limit: int = 20, cursor: str | None = None) -> Page[Hit]:
        """Find the conversations with a message, or else a title, that has all words of a text, as parts of words too.

        The last updated first, 50 at most at a time, one hit for each; without those that are marked as deleted. How a
        word is written makes no difference (see `chatapp.store.folding`). A page that is not full, or empty, may still
        have a cursor: there is more to look at.
        """

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages, all or nothing; again with the same id changes nothing.

        An id that another user has raises `ConversationNotFound`, or is this user's own from here on: ids are never
        shared, whoever makes them.
        """

    async def update(self, user: str, conversation: Conversation) -> None:
        """Replace all of a conversation but its id and ``created_ms``; ``updated_ms`` never goes back."""

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision, all or nothing.

        Idempotent: the same call again changes nothing. The conversation's ``updated_ms`` becomes the newest message's
        ``created_ms`` if that is later.

        Images come with the first revision of their message, and with data: of `values.IMAGE_BYTES` at most, others
        raise StoreUnavailable, in words. They never change; a newer revision names the same, with data or without.
        """

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages and images for good; one that is not there is fine."""

    async def profile(self, user: str, *, fresh: bool = True, certain: bool = False) -> Profile:
        """Return what is remembered of the user; an empty profile if nothing is."""

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Remember a profile, unless one of the same or a higher revision is there: then nothing changes."""

    async def delete_profile(self, user: str) -> None:
        """Forget the user's profile for good, whatever its revision."""

    async def revocations(self, user: str) -> Revocations:
        """Return which of the user's sessions are ended."""

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """End one session of the user (an id that a document can have), or all that began up to ``before_ms``.

        What was ended stays ended; from ``until_ms`` on, when no cookie can name it any more, it may be forgotten.
        """

    def pending(self, user: str, conversation_id: str = "") -> bool:
        """Return whether something of a conversation, or of the profile, is safe here and not in the cloud yet."""

    def status(self) -> StoreStatus:
        """Return how the store is doing; asks nobody, so that anybody may ask often."""

    async def aclose(self) -> None:
        """Finish what was accepted and release the place."""
