"""Use cases on stored conversations: list, search, rename, pin, archive, rate, and delete with undo."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

import structlog

from chatapp.conversations.acknowledgement import Acknowledgement
from chatapp.conversations.catch_up import CatchUp, Seen
from chatapp.domain.conversation import Feedback, MessageStatus, Role, now_ms
from chatapp.domain.errors import ChatError, ConversationBusy, ConversationNotFound, InvalidMessage, NotCaughtUp
from chatapp.domain.sentences import Sentence
from chatapp.models.prompt import clean_text
from chatapp.store import Consistency, Page
from chatapp.store.values import cursor_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.conversations.turns import Turns
    from chatapp.conversations.updates import ConversationUpdates
    from chatapp.domain.conversation import Conversation, Document, Image, Message
    from chatapp.store import ConversationStore, Hit

UNDO_SECONDS = 10.0
SHARED_PURGE_S = 60.0
LONGEST_TITLE = 200  # characters
MOST_STORE_PAGES = 10  # read for one page of this list

log = structlog.get_logger(__name__)


class Conversations:
    """Manages a user's conversations.

    Deleting marks a conversation, which hides it from every read; it is purged ``undo_seconds`` later, or, if the
    process ended in between, when the owner's conversations are listed after that time. Where there are other replicas,
    it is purged `SHARED_PURGE_S` after it was seen marked in the cloud then, so that an undo at another one is there by
    then, also after an outage: that is longer than the pauses between the attempts to deliver it.
    """

    def __init__(
        self,
        store: ConversationStore,
        updates: ConversationUpdates,
        turns: Turns,
        catch_up: CatchUp | None = None,
        acknowledgement: Acknowledgement | None = None,
        *,
        undo_seconds: float = UNDO_SECONDS,
    ) -> None:
        self.undo_seconds = undo_seconds
        self.shared_purge_seconds = SHARED_PURGE_S
        self._store = store
        self._updates = updates
        self._turns = turns
        self._catch_up = catch_up or CatchUp(store)
        self._acknowledgement = acknowledgement or Acknowledgement(store)
        self._purges: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def listed(
        self, user: str, *, cursor: str | None = None, limit: int = 50, archived: bool = False
    ) -> Page[Conversation]:
        """List conversations, the last updated first: the archived ones, or those neither archived nor pinned."""
        conversations: list[Conversation] = []
        for _ in range(MOST_STORE_PAGES):
            page = await self._store.conversations(user, limit=limit, cursor=cursor)
            for conversation in page.items:
                if conversation.deleted_ms:
                    self._purge_if_due(user, conversation)
                elif conversation.archived if archived else not (conversation.archived or conversation.pinned):
                    conversations.append(conversation)
            cursor = page.cursor
            if len(conversations) > limit:
                return Page(conversations[:limit], cursor_after(conversations[limit - 1]))
            if cursor is None or len(conversations) == limit:
                break
        return Page(conversations, cursor)

    async def pinned(self, user: str) -> list[Conversation]:
        """List the pinned conversations, without archived ones."""
        return [one for one in await self._store.pinned(user) if not (one.archived or one.deleted_ms)]

    async def in_folder(self, user: str, folder: str, *, archived: bool = False) -> list[Conversation]:
        """List the conversations of a folder, the last updated first: the archived ones, or the others."""
        return [one for one in await self._store.in_folder(user, folder) if one.archived == archived]

    async def search(self, user: str, text: str, *, cursor: str | None = None, thinking: bool = False) -> Page[Hit]:
        """Search conversations by their text; with ``thinking``, also by what the models thought."""
        if not text.strip():
            return Page([], None)
        page = await self._store.search(user, clean_text(text), cursor=cursor, thinking=thinking)
        return Page([hit for hit in page.items if not hit.conversation.deleted_ms], page.cursor)

    async def open(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Conversation:
        """Return a conversation.

        Raises:
            ConversationNotFound: there is none, or it is deleted.
        """
        return await self._catch_up.eventually(
            user,
            conversation_id,
            lambda: self._updates.get(user, conversation_id, consistency=consistency),
        )

    async def rename(self, user: str, conversation_id: str, title: str) -> Conversation:
        """Give a conversation another title.

        Raises:
            InvalidMessage: it is blank or too long.
        """
        title = " ".join(clean_text(title).split())
        if not title:
            raise InvalidMessage(Sentence("A conversation needs a title. Enter one first."))
        if len(title) > LONGEST_TITLE:
            raise InvalidMessage(Sentence("A title can have {most} characters at most.", most=LONGEST_TITLE))
        return await self._changed(user, conversation_id, title=title)

    async def pin(self, user: str, conversation_id: str, *, pinned: bool) -> Conversation:
        """Pin a conversation to the top of the list, or unpin it."""
        return await self._changed(user, conversation_id, pinned=pinned)

    async def archive(self, user: str, conversation_id: str, *, archived: bool) -> Conversation:
        """Archive a conversation, or unarchive it."""
        return await self._changed(user, conversation_id, archived=archived)

    async def move(self, user: str, conversation_id: str, chosen: Mapping[str, str]) -> Conversation:
        """Change the ``folder`` that a conversation is in, or the ``collection`` that it asks; "" for none."""
        return await self._changed(user, conversation_id, deleted_too=False, **chosen)

    async def switch(self, user: str, conversation_id: str, message_id: str) -> Conversation:
        """Select the branch that contains a message; "" selects the newest.

        Raises:
            ConversationBusy: an answer is being generated, which the switch would hide.
            ConversationNotFound: there is no such message.
        """
        if self._turns.is_busy(user, conversation_id):
            raise ConversationBusy
        if message_id:
            await self._catch_up.until_known(user, conversation_id, Seen(message_id))
            await self._store.message(user, conversation_id, message_id, consistency=Consistency.CACHED)
        return await self._changed(user, conversation_id, branch=message_id)

    async def rate(self, user: str, conversation_id: str, message_id: str, feedback: Feedback) -> None:
        """Store the user's rating of an answer.

        Raises:
            ConversationBusy: the answer is still being generated.
            ConversationNotFound: there is no such answer.
        """
        await self._catch_up.until_known(user, conversation_id, Seen(message_id))
        await self.open(user, conversation_id, consistency=Consistency.CACHED)
        try:
            message = await self._catch_up.eventually(
                user, conversation_id, lambda: self._complete(user, conversation_id, message_id)
            )
        except NotCaughtUp as error:
            raise ConversationBusy from error
        if message.role is not Role.ASSISTANT:
            raise ConversationNotFound(detail="no answer")
        # Another replica may have to deliver an earlier rating, which this one replaces even if it is the known one.
        if message.feedback != feedback or self._store.is_shared(conversation_id):
            feedback_ms = max(now_ms(), message.feedback_ms + 1)
            rated = dataclasses.replace(
                message, feedback=feedback, feedback_ms=feedback_ms, revision=message.revision + 1
            )
            await self._store.append(user, conversation_id, rated)
            await self._acknowledgement.wait(user, conversation_id, message_id)

    async def _complete(self, user: str, conversation_id: str, message_id: str) -> Message:
        """Return the newest revision of a message, of which the next change becomes the next one.

        Raises:
            NotCaughtUp: it is incomplete: its replica writes it, or has still to deliver the end that its page shows.
        """
        message = await self._store.message(user, conversation_id, message_id)
        if message.status is MessageStatus.STREAMING:
            raise NotCaughtUp(detail="the answer is incomplete")
        return message

    async def image(self, user: str, conversation_id: str, image_id: str) -> Image:
        """Return an image of a question."""
        await self.open(user, conversation_id, consistency=Consistency.CACHED)
        return await self._catch_up.eventually(
            user, conversation_id, lambda: self._store.image(user, conversation_id, image_id)
        )

    async def document(self, user: str, conversation_id: str, document_id: str) -> Document:
        """Return a document of a question, with its text."""
        await self.open(user, conversation_id, consistency=Consistency.CACHED)
        return await self._catch_up.eventually(
            user, conversation_id, lambda: self._store.document(user, conversation_id, document_id)
        )

    async def delete(self, user: str, conversation_id: str) -> None:
        """Stop the running answer of a conversation, then delete it; `restore` can undo that for a while."""
        await self._turns.stop(user, conversation_id)
        await self._changed(user, conversation_id, deleted_ms=now_ms())
        self._purge_later(user, conversation_id, self.undo_seconds)

    async def restore(self, user: str, conversation_id: str) -> Conversation:
        """Undo a deletion.

        Raises:
            ConversationNotFound: the conversation is purged already.
        """
        restored = await self._changed(user, conversation_id, deleted_too=True, deleted_ms=0)
        if purge := self._purges.pop((user, conversation_id), None):
            purge.cancel()
        return restored

    async def aclose(self) -> None:
        """Cancel the scheduled purges; a later listing purges the marked conversations."""
        purges = list(self._purges.values())
        for purge in purges:
            purge.cancel()
        await asyncio.gather(*purges, return_exceptions=True)

    async def _changed(
        self, user: str, conversation_id: str, *, deleted_too: bool = False, **fields: object
    ) -> Conversation:
        # LATEST: another replica may have changed other fields.
        changed = await self._updates.change(
            user,
            conversation_id,
            lambda one: dataclasses.replace(one, **fields),  # type: ignore[arg-type]  # names are Conversation's own
            chosen=fields,
            consistency=Consistency.LATEST,
            deleted_too=deleted_too,
        )
        await self._acknowledgement.wait(user, conversation_id)
        return changed

    def _purge_if_due(self, user: str, conversation: Conversation) -> None:
        is_due = conversation.deleted_ms + self.undo_seconds * 1000 <= now_ms()
        if is_due and (user, conversation.id) not in self._purges:
            self._purge_later(user, conversation.id, 0.0)

    def _purge_later(self, user: str, conversation_id: str, seconds: float) -> None:
        key = user, conversation_id
        if former := self._purges.get(key):
            former.cancel()
        task = self._purges[key] = asyncio.create_task(self._purge(user, conversation_id, seconds))
        task.add_done_callback(lambda done: self._purges.pop(key, None) if self._purges.get(key) is done else None)

    async def _purge(self, user: str, conversation_id: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        try:
            if self._store.is_shared(conversation_id):
                if not await self._updates.is_deleted(user, conversation_id):
                    return
                await asyncio.sleep(self.shared_purge_seconds)
            await self._updates.purge(user, conversation_id)
        except ChatError as error:
            log.warning("purge_failed", error=type(error).__name__, detail=error.detail)
