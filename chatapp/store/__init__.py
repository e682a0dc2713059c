"""Stores: the protocols that every adapter keeps (SQLite, Firestore, the journal in front of it, memory).

An adapter implements `Store`. Code asks for the part of it that it uses: `ConversationStore`, `ProfileStore`,
`ShareStore`, `LibraryStore`, `VectorStore`, `FileStore`, all six (`UserStore`) or `SessionStore`. This package knows
nothing of HTTP, models or settings.

Every call:

- is scoped to one user: it never reads or changes data of another user. Only `ShareStore.shared` and `shared_piece` are
  not: everyone who has the link may read;
- is durable when it returns: the change survives ``kill -9`` of the process. A call that raises has changed nothing;
  across a network the change may have been made and its reply lost, and the same call again is safe (idempotent);
- raises ConversationNotFound if the user has no such conversation (deleted, never created, or another user's), and
  StoreUnavailable if the store cannot be read or written now.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from chatapp.domain.conversation import Conversation, Document, Image, Message, Profile
    from chatapp.domain.library import LibraryDocument
    from chatapp.domain.share import Share

T = TypeVar("T")


class Consistency(Enum):
    """How current a read must be."""

    CACHED = "cached"
    """Cached data with every write made here; reads from the store only what is not cached."""
    LATEST = "latest"
    """The store's current data; cached data if the store does not answer in time."""
    STRICT = "strict"
    """The store's current data, or an error: for code that deletes the data it has read."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a longer list; ``cursor`` continues it and is None at the end."""

    items: Sequence[T]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Hit:
    """Where a search matched: in a message, or only in the title.

    Attributes:
        message_id: the newest message that has all words; "" for the title.
        before: up to about 60 characters of text before ``match``, as ``after`` is behind it, with "…" where the text
            continues.
        in_thinking: the match is in what the model thought.
    """

    conversation: Conversation
    message_id: str
    before: str
    match: str
    after: str
    in_thinking: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """The state of a store, as far as it knows without a request.

    Attributes:
        waiting_writes: writes that are durable on this disk and not yet in the cloud.
        waiting_bytes: bytes of text and fields that they hold.
        waiting_seconds: the age of the oldest of them.
        reachable: False when the last delivery to the cloud failed.
        full: the queue is full, and new messages are rejected.
    """

    waiting_writes: int = 0
    waiting_bytes: int = 0
    waiting_seconds: float = 0.0
    reachable: bool = True
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocations:
    """Which sessions of a user are revoked.

    Attributes:
        before_ms: sessions that began then or earlier, in milliseconds since the epoch.
        sessions: ids of further sessions.
    """

    before_ms: int = 0
    sessions: frozenset[str] = frozenset()

    def end(self, session: str, began_ms: int) -> bool:
        """Return whether a session is revoked."""
        return began_ms <= self.before_ms or session in self.sessions

    def joined(self, other: Revocations) -> Revocations:
        """Return the union of both."""
        before_ms = max(self.before_ms, other.before_ms)
        return Revocations(before_ms=before_ms, sessions=self.sessions | other.sessions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """A sign-in, as the user sees it in a list.

    Attributes:
        id: the session's.
        began_ms: when the user signed in, in milliseconds since the epoch.
        seen_ms: when the session was last used, within an hour or so.
        device: the browser and the system, such as "Firefox, Windows"; "" if unknown.
    """

    id: str
    began_ms: int
    seen_ms: int
    device: str = ""


class ConversationStore(Protocol):
    """Stores conversations with their messages, images and documents."""

    async def conversations(
        self,
        user: str,
        *,
        limit: int = 50,
        cursor: str | None = None,
        consistency: Consistency = Consistency.LATEST,
    ) -> Page[Conversation]:
        """List the user's conversations, the last updated first. An invalid cursor starts at the beginning.

        A page has ``limit`` conversations if there are as many; a shorter one may still have a cursor.
        """

    async def conversation(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return one conversation."""

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Message]:
        """Return all messages of a conversation by ``(created_ms, id)``, their images and documents without data."""

    async def message(
        self, user: str, conversation_id: str, message_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Message:
        """Return one message without reading the others; its images and documents without data.

        Raises:
            ConversationNotFound: the user has no such message.
        """

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a conversation, with its data.

        Raises:
            ConversationNotFound: the user has no such image.
        """

    async def document(self, user: str, conversation_id: str, document_id: str) -> Document:
        """Return a document of a conversation, with its data.

        Raises:
            ConversationNotFound: the user has no such document.
        """

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return up to 100 pinned conversations of the user, archived ones too, the last updated first.

        Conversations marked as deleted are left out.
        """

    async def in_folder(
        self, user: str, folder: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Conversation]:
        """Return up to `values.MAX_IN_FOLDER` conversations of a folder, archived ones too, the last updated first.

        Conversations marked as deleted are left out; "" is no folder, and has none.
        """

    async def search(
        self, user: str, text: str, *, limit: int = 20, cursor: str | None = None, thinking: bool = False
    ) -> Page[Hit]:
        """Find conversations in which a message, or else the title, contains all words of a text (substrings count).

        The names of a message's documents, and of a collection's documents that it cites, count as a part of it. The
        last updated first, at most 50 per page, one hit per conversation, without those marked as deleted. Words are
        compared folded (see `chatapp.store.folding`). With ``thinking``, the models' thinking counts as a part of their
        answers. A page that is short or empty may still have a cursor: more conversations are left to search.
        """

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages, all or nothing; the same id again changes nothing.

        An id that another user has either raises `ConversationNotFound` or becomes this user's separate conversation:
        conversations are never shared.
        """

    async def create_all(self, user: str, new: Sequence[tuple[Conversation, Sequence[Message]]]) -> set[str]:
        """Add conversations with their first messages as `create` does, in few transactions or requests.

        Each is added whole or not at all, and a call that raises may have added some: the same call again adds the
        others.

        Args:
            user: the owner.
            new: conversations with different ids.

        Returns:
            The ids of those that were not added, because another user has them (see `create`).
        """

    async def revisions(self, user: str, conversation_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the revision of each message by id, for those of these conversations that the user has.

        As current as a read with `Consistency.LATEST`; no text is read where the store can do without.
        """

    async def update(self, user: str, conversation: Conversation) -> None:
        """Change a conversation field by field: of two changes of a field, the later one by ``changed_ms`` stays.

        `chatapp.domain.conversation.changed` defines the result. ``updated_ms`` never goes back.
        """

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision, all or nothing.

        Whatever the revisions, of two ratings the later one by ``feedback_ms`` stays (`domain.conversation.revised`).

        Idempotent. The conversation's ``updated_ms`` becomes the newest message's ``created_ms`` if that is later.

        Images and documents come with the first revision of their message, with data of at most `values.IMAGE_BYTES`
        each; a larger one raises StoreUnavailable. They never change; a newer revision names the same ones, with or
        without data.
        """

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation and all its messages, images and documents for good; a missing one is no error."""

    def is_shared(self, conversation_id: str) -> bool:
        """Return whether other processes write the same data, so that a cached read may lack what they wrote."""

    def pending(self, user: str, conversation_id: str = "") -> bool:
        """Return whether a write of a conversation, or of the profile (""), has yet to reach the cloud."""

    async def undelivered(self, user: str, conversation_id: str) -> set[str]:
        """Return the ids of a conversation's messages of which a revision is only on this disk, and not in the cloud.

        Empty where the store has no cloud: what it accepted is where it stays.
        """

    async def delivered(self, user: str, conversation_id: str, message_id: str, *, seconds: float) -> bool:
        """Wait until no revision of a message is only on this disk; return whether that was so within ``seconds``.

        "" instead of a message: no change of the conversation's own fields; "" for both: none of the profile.
        True at once where the store has no cloud, and for a message of which nothing is waiting.
        """


class ProfileStore(Protocol):
    """Stores one profile per user."""

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile; an empty one if none is stored."""

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile; of each of its two parts, one of the same or a higher revision stays.

        `chatapp.domain.conversation.saved` defines the result.
        """

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile for good, whatever its revision."""


class SessionStore(Protocol):
    """Stores the sessions of users, and which are revoked."""

    async def sessions(self, user: str) -> list[SessionRecord]:
        """Return the user's sessions that are not forgotten, revoked ones too, the last used first."""

    async def save_session(self, user: str, session: SessionRecord, *, until_ms: int) -> None:
        """Add or replace a session (an id that a document can have); from ``until_ms`` on it is forgotten."""

    async def revocations(self, user: str) -> Revocations:
        """Return which of the user's sessions are revoked."""

    async def revoke(self, user: str, *, session: str = "", before_ms: int = 0, until_ms: int) -> None:
        """Revoke one session of the user (an id that a document can have), or all that began up to ``before_ms``.

        A revocation is permanent; from ``until_ms`` on, when the session's cookie has expired, it may be forgotten.
        """


class ShareStore(Protocol):
    """Stores shares: metadata, and pieces of bytes by name (an id that a document can have).

    A share ends with its conversation: a deleted one, one marked as deleted and an expired one have none.
    """

    async def save_share(self, user: str, share: Share, pieces: Mapping[str, bytes]) -> None:
        """Add a share of a conversation, where every replica finds it; each piece has at most `values.PIECE_BYTES`.

        Raises:
            ConversationNotFound: the user has no such conversation.
        """

    async def shares(self, user: str) -> list[Share]:
        """Return the user's shares that have not expired, the latest first."""

    async def delete_share(self, user: str, share_id: str) -> None:
        """Delete a share of the user for good; a missing one is no error."""

    async def shared(self, share_id: str) -> Share:
        """Return a share of any user.

        Raises:
            ShareNotFound: there is none, it has expired, or its conversation is deleted.
        """

    async def shared_piece(self, share_id: str, name: str) -> bytes:
        """Return a piece of a share of any user.

        Raises:
            ShareNotFound: as `shared`, or there is no such piece.
        """


class LibraryStore(Protocol):
    """Stores the documents of collections, and changes the collections and folders in the profile.

    All of it is read from and written to where every replica finds it.
    """

    async def change_library(self, user: str, change: Callable[[Profile], Profile]) -> Profile:
        """Change the collections and folders of the user's profile, atomically; return the profile.

        No change of another page or replica is lost: ``change`` gets the stored profile, perhaps several times. Of its
        result, only ``collections`` and ``folders`` count. Its errors are raised, and then nothing has changed.
        """

    async def add_library_document(self, user: str, document: LibraryDocument) -> None:
        """Add a document with data of at most `values.IMAGE_BYTES`; one with its id stays, and may get a file.

        The store does not ask whether the collection exists.
        """

    async def library(self, user: str, collection: str = "") -> list[LibraryDocument]:
        """Return the documents of a collection, or of all, by collection and name, without data."""

    async def library_document(self, user: str, document_id: str) -> LibraryDocument:
        """Return a document of a collection, with its data.

        Raises:
            DocumentNotFound: the user has no such document.
        """

    async def remove_library_documents(self, user: str, document_ids: Collection[str]) -> None:
        """Delete at most `values.MAX_REMOVED` documents of collections for good; a missing one is no error."""


class VectorStore(Protocol):
    """Stores the vectors of documents, which are made from their texts and can be made again.

    They are written after their document, where every replica finds them, and are deleted with it. They are in no
    export, and count towards no quota.
    """

    async def vectors(self, user: str, conversation_id: str, document_ids: Collection[str]) -> dict[str, bytes]:
        """Return the vectors of documents of a conversation, or of collections (""), by document.

        Documents without any are left out, as are those that the user does not have.
        """

    async def save_vectors(self, user: str, conversation_id: str, document_id: str, vectors: bytes) -> None:
        """Add or replace the vectors of a document, at most `values.VECTORS_BYTES`.

        Raises:
            ConversationNotFound: the user's conversation has no such document.
            DocumentNotFound: no collection of the user ("") has.
            StoreUnavailable: also if they are larger.
        """


class FileStore(Protocol):
    """Stores the files of documents, in parts of `values.FILE_PART_BYTES`; SQLite alone keeps any.

    A file waits until a document names it (`Document.file`), and goes with the last document that does. A file that
    waits when the store is opened is deleted.
    """

    async def add_file(self, user: str, file: bytes) -> str:
        """Keep a file, and return its id; "" where the store keeps none."""

    async def discard_files(self, user: str, files: Collection[str] | None = None) -> None:
        """Delete those of these files of the user, or of all (None), that no document names."""

    async def hand_over_files(self, user: str, to: str, files: Collection[str]) -> None:
        """Have another user own files of the user, so that documents of that user can name them.

        A document that is added with a file of another user, or with a missing one, is stored without a file.
        """

    async def document_file_part(self, user: str, conversation_id: str, document_id: str, number: int) -> bytes:
        """Return a part, from 0, of the file of a document of a conversation; b"" behind its end.

        Raises:
            ConversationNotFound: the user has no such document with a file.
        """

    async def library_file_part(self, user: str, document_id: str, number: int) -> bytes:
        """Return a part, from 0, of the file of a document of a collection; b"" behind its end.

        Raises:
            DocumentNotFound: the user has no such document with a file.
        """


class UserStore(ConversationStore, ProfileStore, ShareStore, LibraryStore, VectorStore, FileStore, Protocol):
    """Stores what users own: conversations, profiles, shares, libraries, vectors and files."""

    async def stored_bytes(self, user: str | None = None, *, consistency: Consistency = Consistency.LATEST) -> int:
        """Return about how many bytes the data of one user take, or of all users; reads no messages."""

    def status(self) -> StoreStatus:
        """Return the state of the store; makes no request, so it may be called often."""

    async def aclose(self) -> None:
        """Finish the accepted writes and release the store."""


class Store(UserStore, SessionStore, Protocol):
    """Everything that the chat stores: what an adapter implements."""
