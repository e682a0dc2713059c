"""The ends of answers: stored, however long the history cannot be written."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.errors import ChatError, ConversationNotFound

if TYPE_CHECKING:
    from chatapp.domain.conversation import Message
    from chatapp.store import ConversationStore

    Key = tuple[str, str]  # user, conversation id

SAVE_ATTEMPTS = 5  # in which an answer's reader waits for its end to be stored
SAVE_AGAIN_SECONDS = 5.0  # afterwards

log = structlog.get_logger(__name__)


class Ends:
    """Stores ends of answers, and goes on trying with those that the store does not take."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._unsaved: dict[Key, dict[str, Message]] = {}  # by the message's id
        self._saving: dict[Key, asyncio.Task[None]] = {}

    async def save(self, key: Key, answer: Message) -> bool:
        """Store an end; return whether it is stored, or no longer wanted. If not, that is tried again and again."""
        for attempt in range(SAVE_ATTEMPTS):
            try:
                await asyncio.shield(self._store.append(*key, answer))
            except ConversationNotFound:
                return True  # deleted meanwhile: nothing is to be kept
            except ChatError as error:
                log.warning("save_failed", attempt=attempt, error=type(error).__name__, detail=error.detail)
                await asyncio.sleep(0.2 * 2**attempt)
            else:
                return True
        log.error("answer_not_saved", conversation=key[1], message=answer.id)
        self._unsaved.setdefault(key, {})[answer.id] = answer
        if key not in self._saving:
            self._saving[key] = asyncio.create_task(self._save_later(key))
        return False

    async def save_left(self, key: Key) -> None:
        """Store what is left of a conversation, now.

        Raises:
            StoreUnavailable: it still cannot be.
        """
        for answer in list(self._unsaved.get(key, {}).values()):
            await self._store.append(*key, answer)
            self._saved(key, answer)

    async def aclose(self) -> None:
        """Try once more; what fails now, the next start shows as interrupted."""
        saving = list(self._saving.values())
        for task in saving:
            task.cancel()
        await asyncio.gather(*saving, return_exceptions=True)
        for key in list(self._unsaved):
            with suppress(ChatError):
                await self.save_left(key)

    async def _save_later(self, key: Key) -> None:
        """Go on trying: until then, nothing else can be written in this conversation."""
        while answers := self._unsaved.get(key):
            await asyncio.sleep(SAVE_AGAIN_SECONDS)
            for answer in list(answers.values()):
                try:
                    await self._store.append(*key, answer)
                except ConversationNotFound:
                    pass  # deleted meanwhile
                except ChatError as error:
                    log.warning("save_failed", error=type(error).__name__, detail=error.detail)
                    continue
                self._saved(key, answer)
        self._saving.pop(key, None)

    def _saved(self, key: Key, answer: Message) -> None:
        answers = self._unsaved.get(key, {})
        answers.pop(answer.id, None)
        if not answers:
            self._unsaved.pop(key, None)
