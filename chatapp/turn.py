"""One turn: a running answer, and those who watch it."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chatapp.conversation import Conversation, Message, Usage

QUIET_SECONDS = 10.0  # after which those who watch are told that nothing has changed


class Turn:
    """A running answer: what is known of it so far, and a signal when that changes.

    Text is announced at most every ``batch_seconds``, to all who watch together: what a token costs here does not
    depend on them. The first words, and all but text, are announced at once.

    Attributes:
        question: what was asked with it; None where an earlier answer goes on.
        follows: id of the message before what is new in this turn; "" at the beginning of a conversation.
        stored_length: characters that were stored when it began.
        usage: tokens of this turn, without those of an answer that goes on in it.
        place: how many are to begin before it, counted from 1; 0 once the model is asked.
    """

    def __init__(
        self,
        user: str,
        conversation: Conversation,
        question: Message | None,
        answer: Message,
        *,
        follows: str,
        batch_seconds: float,
    ) -> None:
        self.user = user
        self.conversation = conversation
        self.question = question
        self.follows = follows
        self.usage: Usage | None = None
        self.place = 0
        self.finished = asyncio.Event()
        self.stop_requested = False
        self.generation: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None
        self._answer = answer
        self._text = answer.content
        self.stored_length = len(answer.content)
        self._batch_seconds = batch_seconds
        self._changed = asyncio.Event()  # of the next change; each has its own, so that no watcher misses one
        self._announced_at = float("-inf")  # by the loop's clock
        self._announcement: asyncio.TimerHandle | None = None

    @property
    def length(self) -> int:
        """Characters written so far."""
        return len(self._text)

    def append(self, text: str) -> None:
        """Add text that the model wrote."""
        self._text += text
        if self._announcement is None:
            loop = asyncio.get_running_loop()
            due = self._announced_at + self._batch_seconds
            if due <= loop.time():
                self._announce()
            else:
                self._announcement = loop.call_at(due, self._announce)

    def set(self, **changes: object) -> None:
        """Change fields of the answer; whoever watches sees it with the next text."""
        self._answer = dataclasses.replace(self._answer, **changes)  # type: ignore[arg-type]  # names are Message's own

    def move(self, place: int) -> None:
        """Change the place in the queue."""
        if place != self.place:
            self.place = place
            self._announce()

    def remind(self) -> None:
        """Wake those who watch if there was nothing for a while, so that they can show that they are there."""
        if asyncio.get_running_loop().time() - self._announced_at > QUIET_SECONDS:
            self._announce()

    def answer(self) -> Message:
        """Return the answer as it is now."""
        return dataclasses.replace(self._answer, content=self._text)

    def next_revision(self) -> Message:
        """Return the answer as it is now, as a newer revision to store."""
        self._answer = dataclasses.replace(self._answer, revision=self._answer.revision + 1)
        return self.answer()

    async def watch(self) -> AsyncGenerator[Message]:
        """Yield the answer as it grows, and once more at its end."""
        while not self.finished.is_set():
            changed = self._changed
            yield self.answer()
            await changed.wait()
        yield self.answer()

    async def cancel(self) -> None:
        """End the generation and wait until what was written is stored."""
        if self.generation is not None:
            self.generation.cancel()
            await self.finished.wait()

    def finish(self) -> None:
        """Tell everybody who watches that nothing more will come."""
        self.finished.set()
        self._announce()

    def _announce(self) -> None:
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None
        self._announced_at = asyncio.get_running_loop().time()
        self._changed.set()
        self._changed = asyncio.Event()
