"""Final saves: an answer's end is stored, however long the store is unavailable."""

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

SAVE_ATTEMPTS = 5  # that an answer's subscribers wait for
RETRY_SECONDS = 5.0  # afterwards

log = structlog.get_logger(__name__)


class FinalSaves:
    """Stores the ends of answers, and retries in the background those that the store did not take."""

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._unsaved: dict[Key, dict[str, Message]] = {}  # by message id
        self._retries: dict[Key, asyncio.Task[None]] = {}

    async def save(self, key: Key, answer: Message) -> bool:
        """Store an end; return whether it is stored or its conversation is deleted. If not, retries follow."""
        for attempt in range(SAVE_ATTEMPTS):
            try:
                await asyncio.shield(self._store.append(*key, answer))
            except ConversationNotFound:
                return True  # deleted meanwhile
            except ChatError as error:
                log.warning("save_failed", attempt=attempt, error=type(error).__name__, detail=error.detail)
                await asyncio.sleep(0.2 * 2**attempt)
            else:
                return True
        log.error("answer_not_saved", conversation=key[1], message=answer.id)
        self._unsaved.setdefault(key, {})[answer.id] = answer
        if key not in self._retries:
            self._retries[key] = asyncio.create_task(self._retry(key))
        return False

    async def save_pending(self, key: Key) -> None:
        """Store the unsaved answers of a conversation now.

        Raises:
            StoreUnavailable: it still cannot be stored.
        """
        for answer in list(self._unsaved.get(key, {}).values()):
            await self._store.append(*key, answer)
            self._saved(key, answer)

    async def aclose(self) -> None:
        """Try once more; the next start marks what fails now as interrupted."""
        retries = list(self._retries.values())
        for retry in retries:
            retry.cancel()
        await asyncio.gather(*retries, return_exceptions=True)
        for key in list(self._unsaved):
            with suppress(ChatError):
                await self.save_pending(key)

    async def _retry(self, key: Key) -> None:
        """Retry until all is stored: until then, no other message of this conversation can be."""
        while answers := self._unsaved.get(key):
            await asyncio.sleep(RETRY_SECONDS)
            for answer in list(answers.values()):
                try:
                    await self._store.append(*key, answer)
                except ConversationNotFound:
                    pass  # deleted meanwhile
                except ChatError as error:
                    log.warning("save_failed", error=type(error).__name__, detail=error.detail)
                    continue
                self._saved(key, answer)
        self._retries.pop(key, None)

    def _saved(self, key: Key, answer: Message) -> None:
        answers = self._unsaved.get(key, {})
        answers.pop(answer.id, None)
        if not answers:
            self._unsaved.pop(key, None)
