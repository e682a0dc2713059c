"""Routes temporary conversations to memory and all others to the persistent store, by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.errors import ConversationNotFound
from chatapp.store import Consistency
from chatapp.store.library import library_bytes
from chatapp.store.temporary.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from chatapp.domain.conversation import Conversation, Document, Image, Message, Profile
    from chatapp.domain.library import LibraryDocument
    from chatapp.domain.share import Share
    from chatapp.store import Hit, Page, StoreStatus, UserStore
    from chatapp.store.quota import StorageQuota

PREFIX = "temporary-"


def is_temporary(conversation_id: str) -> bool:
    """Return whether a conversation is temporary: kept in memory only."""
    return conversation_id.startswith(PREFIX)


class StoreRouter:
    """A `chatapp.store.UserStore` that keeps temporary conversations in memory, and all others in ``persistent``.

    A temporary conversation is found by its id only: no list, search or export returns it, and deleting everything
    needs `delete_temporary` too.

    Args:
        persistent: the store of the others; it is closed with this one.
        temporary: the store of temporary conversations.
        quota: how much the persistent store may hold; None: no limit.
    """

    def __init__(
        self, persistent: UserStore, temporary: MemoryStore | None = None, quota: StorageQuota | None = None
    ) -> None:
        self._persistent = persistent
        self._temporary = temporary or MemoryStore()
        self._quota = quota

    async def conversations(
        self, user: str, *, limit: int = 50, cursor: str | None = None, consistency: Consistency = Consistency.LATEST
    ) -> Page[Conversation]:
        """List the user's persistent conversations."""
        return await self._persistent.conversations(user, limit=limit, cursor=cursor, consistency=consistency)

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

    async def document(self, user: str, conversation_id: str, document_id: str) -> Document:
        """Return a document of a conversation, with its data."""
        return await self._of(conversation_id).document(user, conversation_id, document_id)

    async def pinned(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> list[Conversation]:
        """Return the user's pinned persistent conversations."""
        return await self._persistent.pinned(user, consistency=consistency)

    async def in_folder(
        self, user: str, folder: str, *, consistency: Consistency = Consistency.LATEST
    ) -> list[Conversation]:
        """Return the persistent conversations of a folder."""
        return await self._persistent.in_folder(user, folder, consistency=consistency)

    async def search(
        self, user: str, text: str, *, limit: int = 20, cursor: str | None = None, thinking: bool = False
    ) -> Page[Hit]:
        """Search the persistent conversations."""
        return await self._persistent.search(user, text, limit=limit, cursor=cursor, thinking=thinking)

    async def create(self, user: str, conversation: Conversation, *messages: Message) -> None:
        """Add a conversation with its first messages.

        Raises:
            StorageFull: there is no room for them.
        """
        await self._refuse_if_full(user, conversation.id, messages)
        await self._of(conversation.id).create(user, conversation, *messages)

    async def create_all(self, user: str, new: Sequence[tuple[Conversation, Sequence[Message]]]) -> set[str]:
        """Add conversations with their first messages; return the ids of other users.

        Raises:
            StorageFull: there is no room for all of them; nothing was added.
        """
        temporary = [one for one in new if is_temporary(one[0].id)]
        persistent = [one for one in new if not is_temporary(one[0].id)]
        if self._quota and persistent:
            await self._quota.refuse_if_full(user, [message for _, messages in persistent for message in messages])
        taken: set[str] = set()
        if persistent:
            taken |= await self._persistent.create_all(user, persistent)
        if temporary:
            taken |= await self._temporary.create_all(user, temporary)
        return taken

    async def revisions(self, user: str, conversation_ids: Collection[str]) -> dict[str, dict[str, int]]:
        """Return the revision of each message by id, for those of these conversations that the user has."""
        persistent = [id_ for id_ in conversation_ids if not is_temporary(id_)]
        temporary = await self._temporary.revisions(user, list(filter(is_temporary, conversation_ids)))
        return temporary | (await self._persistent.revisions(user, persistent) if persistent else {})

    async def update(self, user: str, conversation: Conversation) -> None:
        """Change a conversation field by field."""
        await self._of(conversation.id).update(user, conversation)

    async def append(self, user: str, conversation_id: str, *messages: Message) -> None:
        """Add messages, or replace those with the same id and a lower revision.

        Raises:
            StorageFull: there is no room for new ones.
        """
        await self._refuse_if_full(user, conversation_id, messages)
        await self._of(conversation_id).append(user, conversation_id, *messages)

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation for good."""
        await self._of(conversation_id).delete(user, conversation_id)

    async def delete_temporary(self, user: str) -> None:
        """Delete all temporary conversations of the user."""
        while conversations := (await self._temporary.conversations(user)).items:
            for conversation in conversations:
                await self._temporary.delete(user, conversation.id)

    async def profile(self, user: str, *, consistency: Consistency = Consistency.LATEST) -> Profile:
        """Return the user's profile."""
        return await self._persistent.profile(user, consistency=consistency)

    async def save_profile(self, user: str, profile: Profile) -> None:
        """Store a profile."""
        await self._persistent.save_profile(user, profile)

    async def delete_profile(self, user: str) -> None:
        """Delete the user's profile."""
        await self._persistent.delete_profile(user)

    async def save_share(self, user: str, share: Share, pieces: Mapping[str, bytes]) -> None:
        """Add a share of a persistent conversation.

        Raises:
            ConversationNotFound: the user has no such conversation, or it is temporary.
            StorageFull: there is no room for it.
        """
        if is_temporary(share.conversation_id):
            raise ConversationNotFound(detail="it is temporary")
        if self._quota:
            await self._quota.refuse_if_too_much(user, share.size)
        await self._persistent.save_share(user, share, pieces)

    async def shares(self, user: str) -> list[Share]:
        """Return the user's shares."""
        return await self._persistent.shares(user)

    async def delete_share(self, user: str, share_id: str) -> None:
        """Delete a share of the user for good."""
        await self._persistent.delete_share(user, share_id)

    async def shared(self, share_id: str) -> Share:
        """Return a share of any user."""
        return await self._persistent.shared(share_id)

    async def shared_piece(self, share_id: str, name: str) -> bytes:
        """Return a piece of a share of any user."""
        return await self._persistent.shared_piece(share_id, name)

    async def change_library(self, user: str, change: Callable[[Profile], Profile]) -> Profile:
        """Change the collections and folders of the user's profile."""
        return await self._persistent.change_library(user, change)

    async def add_library_document(self, user: str, document: LibraryDocument) -> None:
        """Add a document to a collection.

        Raises:
            StorageFull: there is no room for it.
        """
        if self._quota:
            await self._quota.refuse_document(user, library_bytes(document))
        await self._persistent.add_library_document(user, document)

    async def library(self, user: str, collection: str = "") -> list[LibraryDocument]:
        """Return the documents of a collection, or of all."""
        return await self._persistent.library(user, collection)

    async def library_document(self, user: str, document_id: str) -> LibraryDocument:
        """Return a document of a collection, with its data."""
        return await self._persistent.library_document(user, document_id)

    async def remove_library_documents(self, user: str, document_ids: Collection[str]) -> None:
        """Delete documents of collections for good."""
        await self._persistent.remove_library_documents(user, document_ids)

    async def vectors(self, user: str, conversation_id: str, document_ids: Collection[str]) -> dict[str, bytes]:
        """Return the vectors of documents of a conversation, or of collections (""); a temporary one has none."""
        if is_temporary(conversation_id):
            return {}
        return await self._persistent.vectors(user, conversation_id, document_ids)

    async def save_vectors(self, user: str, conversation_id: str, document_id: str, vectors: bytes) -> None:
        """Add or replace the vectors of a document; those of a temporary conversation are only where they are used."""
        if not is_temporary(conversation_id):
            await self._persistent.save_vectors(user, conversation_id, document_id, vectors)

    async def add_file(self, user: str, file: bytes) -> str:
        """Keep a file."""
        return await self._persistent.add_file(user, file)

    async def discard_files(self, user: str, files: Collection[str] | None = None) -> None:
        """Delete files that no document names."""
        await self._persistent.discard_files(user, files)

    async def hand_over_files(self, user: str, to: str, files: Collection[str]) -> None:
        """Give files to another user."""
        await self._persistent.hand_over_files(user, to, files)

    async def document_file_part(self, user: str, conversation_id: str, document_id: str, number: int) -> bytes:
        """Return a part of the file of a document of a conversation; a temporary one has none."""
        return await self._of(conversation_id).document_file_part(user, conversation_id, document_id, number)

    async def library_file_part(self, user: str, document_id: str, number: int) -> bytes:
        """Return a part of the file of a document of a collection."""
        return await self._persistent.library_file_part(user, document_id, number)

    async def stored_bytes(self, user: str | None = None, *, consistency: Consistency = Consistency.LATEST) -> int:
        """Return about how many bytes the persistent data of one user take, or of all users."""
        return await self._persistent.stored_bytes(user, consistency=consistency)

    def is_shared(self, conversation_id: str) -> bool:
        """Return whether other processes write the same data."""
        return self._of(conversation_id).is_shared(conversation_id)

    def pending(self, user: str, conversation_id: str = "") -> bool:
        """Return whether a write of a conversation, or of the profile, has yet to reach the cloud."""
        return self._of(conversation_id).pending(user, conversation_id)

    async def undelivered(self, user: str, conversation_id: str) -> set[str]:
        """Return the ids of a conversation's messages of which a revision has yet to reach the cloud."""
        return await self._of(conversation_id).undelivered(user, conversation_id)

    async def delivered(self, user: str, conversation_id: str, message_id: str, *, seconds: float) -> bool:
        """Wait until no revision of a message has yet to reach the cloud; return whether that was so in time."""
        return await self._of(conversation_id).delivered(user, conversation_id, message_id, seconds=seconds)

    def status(self) -> StoreStatus:
        """Return the state of the persistent store."""
        return self._persistent.status()

    async def aclose(self) -> None:
        """Close both stores."""
        await self._temporary.aclose()
        await self._persistent.aclose()

    async def _refuse_if_full(self, user: str, conversation_id: str, messages: Sequence[Message]) -> None:
        if self._quota and not is_temporary(conversation_id):
            await self._quota.refuse_if_full(user, messages)

    def _of(self, conversation_id: str) -> UserStore:
        return self._temporary if is_temporary(conversation_id) else self._persistent
