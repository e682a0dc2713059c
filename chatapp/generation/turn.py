"""One turn: the answers that are being written, and those who watch them."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from chatapp.domain.conversation import Conversation, GenerationParameters, Message, Usage
    from chatapp.domain.message_tree import Branches
    from chatapp.models import ChatModel

QUIET_SECONDS = 10.0  # after which those who watch are told that nothing has changed


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked."""

    model: ChatModel
    messages: Sequence[Message]
    parameters: GenerationParameters


class Turn:
    """A question and its answers while these are written: one, or two at the same time.

    Text is announced at most every ``batch_seconds``, to all who watch together: what a token costs here does not
    depend on them. The first words, and all but text, are announced at once.

    Args:
        question: what was asked with it; None where an earlier question is answered again, or an answer goes on.
        answers: each as it is stored, with what is asked for it.
        follows: id of the message before what is new in this turn; "" at the beginning of a conversation.
        branches: the conversation with what is new.

    Attributes:
        titling: asks for the conversation's title once the answers have ended; the title, "" for none.
    """

    def __init__(
        self,
        user: str,
        conversation: Conversation,
        question: Message | None,
        answers: Sequence[tuple[Message, Prompt]],
        *,
        follows: str,
        branches: Branches,
        batch_seconds: float,
    ) -> None:
        self.user = user
        self.conversation = conversation
        self.question = question
        self.answers = [RunningAnswer(self, answer, prompt) for answer, prompt in answers]
        self.follows = follows
        self.branches = branches
        self.finished = asyncio.Event()
        self.stop_requested = False
        self.titling: asyncio.Task[str] | None = None
        self._batch_seconds = batch_seconds
        self._changed = asyncio.Event()  # of the next change; each has its own, so that no watcher misses one
        self._announced_at = float("-inf")  # by the loop's clock
        self._announcement: asyncio.TimerHandle | None = None

    @property
    def is_written(self) -> bool:
        """Whether all that is left is to store it; a page may show that it has ended."""
        return all(answer.generation is not None and answer.generation.done() for answer in self.answers)

    def messages(self) -> list[Message]:
        """Return the messages of this turn as they are now."""
        return [*([self.question] if self.question else []), *(answer.message() for answer in self.answers)]

    def column(self, message_id: str) -> int:
        """Return in which column a message stands: 1 or 2 for one of two answers, 0 for what stands alone."""
        if len(self.answers) < 2:  # as it says
            return 0
        return next((column for column, answer in enumerate(self.answers, 1) if answer.id == message_id), 0)

    async def watch(self) -> AsyncGenerator[None]:
        """Yield at once, whenever something has changed, and once more at the end."""
        while not self.finished.is_set():
            changed = self._changed
            yield
            await changed.wait()
        yield

    async def cancel(self) -> None:
        """End all answers and wait until what was written is stored."""
        for answer in self.answers:
            if answer.generation is not None:
                answer.generation.cancel()
        await self.finished.wait()

    def finish(self) -> None:
        """Tell everybody who watches that nothing more will come."""
        self.finished.set()
        self.announce()

    def remind(self) -> None:
        """Wake those who watch if there was nothing for a while, so that they can show that they are there."""
        if asyncio.get_running_loop().time() - self._announced_at > QUIET_SECONDS:
            self.announce()

    def announce(self) -> None:
        """Wake those who watch."""
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None
        self._announced_at = asyncio.get_running_loop().time()
        self._changed.set()
        self._changed = asyncio.Event()

    def announce_soon(self) -> None:
        """Wake those who watch when it is time to."""
        if self._announcement is None:
            loop = asyncio.get_running_loop()
            due = self._announced_at + self._batch_seconds
            if due <= loop.time():
                self.announce()
            else:
                self._announcement = loop.call_at(due, self.announce)


class RunningAnswer:
    """An answer that is being written: what is known of it so far.

    Attributes:
        text: all that was written.
        stored_length: characters that were stored when it began.
        usage: tokens of this turn, without those of an answer that goes on in it.
        place: how many are to begin before it, counted from 1; 0 once the model is asked.
        was_asked: the model was; an answer that waits for its turn has cost nothing yet.
        has_ended: nothing of it will change any more.
    """

    def __init__(self, turn: Turn, message: Message, prompt: Prompt) -> None:
        self.turn = turn
        self.prompt = prompt
        self.text = message.content
        self.stored_length = len(message.content)
        self.usage: Usage | None = None
        self.place = 0
        self.was_asked = False
        self.has_ended = False
        self.generation: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None
        self._message = message

    @property
    def id(self) -> str:
        """The message's."""
        return self._message.id

    def append(self, text: str) -> None:
        """Add text that the model wrote."""
        self.text += text
        self.turn.announce_soon()

    def set(self, **changes: object) -> None:
        """Change fields of the message; whoever watches sees it with the next text."""
        self._message = dataclasses.replace(self._message, **changes)  # type: ignore[arg-type]  # names are Message's own

    def move(self, place: int) -> None:
        """Change the place in the queue."""
        if place != self.place:
            self.place = place
            self.turn.announce()

    def end(self) -> None:
        """Tell those who watch that it has ended."""
        self.has_ended = True
        self.turn.announce()

    def message(self) -> Message:
        """Return it as it is now."""
        return dataclasses.replace(self._message, content=self.text)

    def next_revision(self) -> Message:
        """Return it as it is now, as a newer revision to store."""
        self._message = dataclasses.replace(self._message, revision=self._message.revision + 1)
        return self.message()
