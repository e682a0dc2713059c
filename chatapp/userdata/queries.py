"""Reading and deleting all data of a user."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from chatapp.conversations.library import remove_documents
from chatapp.domain.conversation import Conversation, Image, Message
from chatapp.domain.errors import ChatError, ConversationNotFound, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store import Consistency
from chatapp.store.temporary.router import StoreRouter, is_temporary
from chatapp.store.values import MAX_PAGE, cursor_after

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chatapp.conversations.turns import Turns
    from chatapp.domain.conversation import Attachment
    from chatapp.store import ConversationStore, UserStore

# While the cloud is unavailable, a store may return the first page of a list from its cache, but never a page after a
# cursor (see `chatapp.store.journal.store.JournaledStore`). This cursor is before all conversations: a list from it is
# complete or raises.
BEFORE_ALL = cursor_after(Conversation(id="z", title="", created_ms=0, updated_ms=2**62))
DELETED_AT_ONCE = 8

log = structlog.get_logger(__name__)


class NotAllDeleted(ChatError):
    """Some data is left; the same call again deletes it.

    Attributes:
        deleted: the number of deleted conversations.
    """

    def __init__(self, deleted: int, error: ChatError) -> None:
        done = (
            Sentence("Deleted conversations: {count}. The others are not deleted yet.", count=deleted)
            if deleted
            else Sentence("Nothing was deleted.")
        )
        super().__init__(
            Sentence("{done} {why} Use Delete everything again to delete the rest.", done=done, why=error.sentence),
            detail=error.detail,
        )
        self.deleted = deleted


async def conversations(store: ConversationStore, user: str) -> list[Conversation]:
    """Return all conversations of the user, the oldest first, including those whose deletion can still be undone.

    Raises:
        StoreUnavailable: not all of them can be read now.
    """
    by_id: dict[str, Conversation] = {}
    cursor: str | None = BEFORE_ALL
    while cursor is not None:
        page = await store.conversations(user, limit=MAX_PAGE, cursor=cursor)
        by_id |= {one.id: one for one in page.items}
        cursor = page.cursor
    return sorted(by_id.values(), key=lambda one: (one.created_ms, one.id))


async def everything(store: ConversationStore, user: str) -> AsyncGenerator[tuple[Conversation, list[Message]]]:
    """Yield every conversation with its messages, images and documents, the oldest first; one at a time in memory.

    Raises:
        StoreUnavailable: not everything can be read; also raised at the end, if a read may have come from a cache.
    """
    for conversation in await conversations(store, user):
        if conversation.deleted_ms:
            continue
        try:
            messages = await _with_attachments(store, user, conversation.id)
        except ConversationNotFound:
            continue  # deleted meanwhile
        yield conversation, messages
    await store.conversations(user, limit=1, cursor=BEFORE_ALL)


async def whole_conversation(
    store: ConversationStore, user: str, conversation_id: str
) -> tuple[Conversation, list[Message]]:
    """Return one conversation with all its messages, images and documents.

    Raises:
        ConversationNotFound: the user has no such conversation, or it is temporary (never exported).
        StoreUnavailable: not all of it can be read now.
    """
    await store.conversations(user, limit=1, cursor=BEFORE_ALL)
    conversation = await store.conversation(user, conversation_id)
    if conversation.deleted_ms or is_temporary(conversation_id):
        raise ConversationNotFound
    return conversation, await _with_attachments(store, user, conversation_id)


async def _with_attachments(store: ConversationStore, user: str, conversation_id: str) -> list[Message]:
    """Return the messages of a conversation, their images and documents with data."""
    messages = await store.messages(user, conversation_id, consistency=Consistency.STRICT)
    return [
        message.with_attachments([await _whole(store, user, conversation_id, one) for one in message.attachments])
        if message.attachments
        else message
        for message in messages
    ]


async def _whole(store: ConversationStore, user: str, conversation_id: str, attachment: Attachment) -> Attachment:
    read = store.image if isinstance(attachment, Image) else store.document
    try:
        return await read(user, conversation_id, attachment.id)
    except ConversationNotFound:
        return attachment  # it expired a moment before its message


async def delete_everything(store: UserStore, turns: Turns, user: str) -> int:
    """Stop the user's running answers, delete all data, and return the number of deleted conversations.

    Conversations that begin meanwhile on another page are deleted too. So are the profile and the temporary
    conversations, which are not counted.

    Raises:
        NotAllDeleted: some data is left; the same call again deletes it.
    """
    deleted: set[str] = set()
    try:
        await turns.stop_all(user)
        while remaining := await _remaining(store, user, deleted):
            for start in range(0, len(remaining), DELETED_AT_ONCE):
                await _delete(turns, user, remaining[start : start + DELETED_AT_ONCE], deleted)
        if isinstance(store, StoreRouter):
            await store.delete_temporary(user)
        for share in await store.shares(user):  # of conversations that expired
            await store.delete_share(user, share.id)
        while documents := await store.library(user):
            await remove_documents(store, user, documents, turns.forget_documents)
        await store.discard_files(user)
        await store.delete_profile(user)
    except StoreUnavailable as error:
        log.warning("not_all_deleted", conversations=len(deleted), detail=error.detail)
        raise NotAllDeleted(len(deleted), error) from error
    log.info("everything_deleted", conversations=len(deleted))
    return len(deleted)


async def _remaining(store: ConversationStore, user: str, deleted: set[str]) -> list[str]:
    remaining = [one.id for one in await conversations(store, user)]
    if remaining and deleted.issuperset(remaining):
        raise StoreUnavailable(Sentence("The chat history still shows deleted conversations."))
    return remaining


async def _delete(turns: Turns, user: str, ids: list[str], deleted: set[str]) -> None:
    """Delete conversations concurrently, record those that are deleted, then raise the first error."""
    ends = await asyncio.gather(*(turns.delete(user, one) for one in ids), return_exceptions=True)
    deleted.update(one for one, end in zip(ids, ends, strict=True) if end is None)
    for end in ends:
        if end is not None:
            raise end
