"""One turn: its running answers, and the subscribers that are told of every change."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from functools import cached_property
from typing import TYPE_CHECKING

from chatapp.domain.conversation import TAKEOVER, MessageStatus
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.library import NOTHING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from chatapp.domain.conversation import Conversation, GenerationParameters, Message, Usage
    from chatapp.models.context_window import ContextWindow

KEEPALIVE_SECONDS = 10.0  # after which subscribers are told that nothing has changed


@dataclasses.dataclass(frozen=True, slots=True)
class Prompt:
    """The messages and parameters of a request to a model."""

    model: ContextWindow
    messages: Sequence[Message]
    parameters: GenerationParameters


class Turn:
    """A question and its answers while these are generated: one, or two at the same time.

    Text is announced at most every ``batch_seconds``, to all subscribers at once: the cost of a token does not depend
    on their number. The first text, and every other change, is announced at once.

    Args:
        question: the message that is new in this turn; None where an answer is regenerated or continued.
        answers: each as it is stored, with its prompt.
        follows: id of the message before the first new one; "" at the beginning of a conversation.
        before: the other messages of the conversation.

    Attributes:
        task: generates the answers.
        title: generates the conversation's title once the answers have ended; its result is "" without a new title.
        cancelled_as: the status of answers that were cancelled; None while none was.
    """

    def __init__(
        self,
        user: str,
        conversation: Conversation,
        question: Message | None,
        answers: Sequence[tuple[Message, Prompt]],
        *,
        follows: str,
        before: Iterable[Message],
        batch_seconds: float,
    ) -> None:
        self.user = user
        self.conversation = conversation
        self.question = question
        self.answers = [RunningAnswer(self, answer, prompt) for answer, prompt in answers]
        self.follows = follows
        self._stored = [*before, *([question] if question else []), *(answer for answer, _ in answers)]
        self.finished = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.title: asyncio.Task[str] | None = None
        self.cancelled_as: MessageStatus | None = None
        self._batch_seconds = batch_seconds
        self._changed = asyncio.Event()  # of the next change; each has its own, so that no subscriber misses one
        self._announced_at = float("-inf")  # by the loop's clock
        self._announcement: asyncio.TimerHandle | None = None

    @cached_property
    def tree(self) -> MessageTree:
        """The conversation with the new messages; nothing needs it before the models are asked."""
        return MessageTree(self._stored)

    @property
    def is_written(self) -> bool:
        """Whether all answers have their full text, though their final save may still run."""
        return all(answer.is_written for answer in self.answers)

    def messages(self) -> list[Message]:
        """Return the messages of this turn as they are now."""
        return [*([self.question] if self.question else []), *(answer.message() for answer in self.answers)]

    def column(self, message_id: str) -> int:
        """Return the column of a message: 1 or 2 for one of two answers, 0 for a single answer."""
        if len(self.answers) < 2:
            return 0
        return next((column for column, answer in enumerate(self.answers, 1) if answer.id == message_id), 0)

    async def watch(self) -> AsyncGenerator[None]:
        """Yield at once, after every change, and once more at the end."""
        while not self.finished.is_set():
            changed = self._changed
            yield
            await changed.wait()
        yield

    async def cancel(self, status: MessageStatus) -> None:
        """End all answers early, with a status, and wait until their final saves are done."""
        self.cancelled_as = self.cancelled_as or status
        for answer in self.answers:
            if answer.generation is not None:
                answer.generation.cancel()
        await self.finished.wait()

    def finish(self) -> None:
        """Tell subscribers that no more changes will come."""
        self.finished.set()
        self.announce()

    def keep_alive(self) -> None:
        """Wake subscribers after `KEEPALIVE_SECONDS` without a change."""
        if asyncio.get_running_loop().time() - self._announced_at > KEEPALIVE_SECONDS:
            self.announce()

    def announce(self) -> None:
        """Wake subscribers now."""
        if self._announcement is not None:
            self._announcement.cancel()
            self._announcement = None
        self._announced_at = asyncio.get_running_loop().time()
        self._changed.set()
        self._changed = asyncio.Event()

    def announce_soon(self) -> None:
        """Wake subscribers with the next batch."""
        if self._announcement is None:
            loop = asyncio.get_running_loop()
            due = self._announced_at + self._batch_seconds
            if due <= loop.time():
                self.announce()
            else:
                self._announcement = loop.call_at(due, self.announce)


class RunningAnswer:
    """An answer that is being generated.

    Attributes:
        length: characters of the text so far.
        thinking_length: the same, of the thinking.
        stored_length: characters that it began with: those of an answer that is continued.
        moves: how often text turned out to be thinking.
        picture_bytes: of all pictures that the model drew.
        stored_size: the `size` that it began with.
        sent: the messages that the model gets: those of the prompt, with the texts of documents.
        library: what applies to it of the user's library.
        told: ids of the documents of which ``sent`` has text.
        usage: tokens of this turn, without those of the answer that it continues.
        queue_position: counted from 1; 0 once it has left the queue.
        waits_for: why the prompt was not sent yet, a sentence; "" once it was.
        sent_at: when the prompt was sent to the model, by `time.monotonic`; None while it waits in the queue or for the
            model, where it costs nothing.
        generation: reads the model's stream; None before it started.
        is_contested: it continues or repeats an answer, as another replica may at the same time.
        is_written: the text is complete, or the answer has ended early.
        is_lost: another replica writes this message now, so this one stores nothing more.
        has_ended: it is stored, and will not change any more.
    """

    def __init__(self, turn: Turn, message: Message, prompt: Prompt) -> None:
        self.turn = turn
        self.prompt = prompt
        self.sent = prompt.messages
        self.library = NOTHING
        self.told: frozenset[str] = frozenset()
        self._parts = [message.content]
        self._thoughts = [message.thinking]
        self.length = self.stored_length = len(message.content)
        self.thinking_length = self._stored_thinking_length = len(message.thinking)
        self.moves = 0
        self.picture_bytes = 0
        self.usage: Usage | None = None
        self.queue_position = 0
        self.waits_for = ""
        self.sent_at: float | None = None
        self.generation: asyncio.Task[None] | None = None
        self.is_contested = message.revision >= TAKEOVER
        self.is_written = False
        self.is_lost = False
        self.has_ended = False
        self._message = message
        self.stored_size = self.size

    @property
    def id(self) -> str:
        """The message's id."""
        return self._message.id

    @property
    def text(self) -> str:
        """The whole text so far, joined when it is read, so that adding a token does not copy the text before it."""
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        return self._parts[0]

    @property
    def thinking(self) -> str:
        """The whole thinking so far, like `text`."""
        if len(self._thoughts) > 1:
            self._thoughts = ["".join(self._thoughts)]
        return self._thoughts[0]

    @property
    def new_text(self) -> int:
        """Characters of text that this turn wrote."""
        return self.length - self.stored_length

    @property
    def new_thinking(self) -> int:
        """Characters of thinking that this turn wrote."""
        return self.thinking_length - self._stored_thinking_length

    @property
    def new_words(self) -> str:
        """The thinking and the text that this turn wrote."""
        return self.thinking[self._stored_thinking_length :] + self.text[self.stored_length :]

    @property
    def size(self) -> int:
        """Changes with every change of what the model wrote."""
        message = self._message
        return self.length + self.thinking_length + len(message.images) + message.unshown_pictures

    @property
    def message_so_far(self) -> Message:
        """The message without its texts so far, which `message` joins."""
        return self._message

    def append(self, text: str) -> None:
        """Add text from the model."""
        self._parts.append(text)
        self.length += len(text)
        self.turn.announce_soon()

    def append_thinking(self, text: str) -> None:
        """Add thinking from the model."""
        if self.thinking_length == self._stored_thinking_length > 0:
            text = f"\n\n{text}"  # after that of the answer that is continued
        self._thoughts.append(text)
        self.thinking_length += len(text)
        self.turn.announce_soon()

    def move_text_to_thinking(self) -> None:
        """Make the text that this turn wrote so far part of the thinking."""
        text = self.text
        self._parts = [text[: self.stored_length]]
        self.length = self.stored_length
        self.append_thinking(text[self.stored_length :])
        self.moves += 1

    def end_thinking(self) -> None:
        """Remove the white space at the end of the thinking, where its closing tag stood."""
        thinking = self.thinking.rstrip()
        self._thoughts, self.thinking_length = [thinking], len(thinking)

    def set(self, **changes: object) -> None:
        """Change fields of the message; subscribers see them with the next text."""
        self._message = dataclasses.replace(self._message, **changes)  # type: ignore[arg-type]  # names are Message's own

    def move(self, queue_position: int) -> None:
        """Change the position in the queue."""
        if queue_position != self.queue_position:
            self.queue_position = queue_position
            self.turn.announce()

    def wait(self, reason: str) -> None:
        """Say why the prompt is not sent yet; "" where it is sent now."""
        self.sent_at = None if reason else time.monotonic()
        if reason != self.waits_for:
            self.waits_for = reason
            self.turn.announce()

    def end(self) -> None:
        """Tell subscribers that it has ended."""
        self.has_ended = True
        self.turn.announce()

    @property
    def revision(self) -> int:
        """The last revision that was stored."""
        return self._message.revision

    def take_over(self, stored: Message) -> None:
        """End the generation, because another replica stored this higher revision: it stopped or took over the answer.

        One that was only stopped elsewhere ends here, with the text that it has here.
        """
        if stored.status is MessageStatus.STOPPED and self.text.startswith(stored.content):
            self.set(status=stored.status, revision=stored.revision)
        else:
            self._message, self._parts, self.length = stored, [stored.content], len(stored.content)
            self._thoughts, self.thinking_length = [stored.thinking], len(stored.thinking)
            self.is_lost = True
        if self.generation is not None:
            self.generation.cancel()

    def message(self) -> Message:
        """Return it as it is now."""
        return dataclasses.replace(self._message, content=self.text, thinking=self.thinking)

    def next_revision(self, step: int = 1) -> Message:
        """Return it as it is now, as a newer revision to store."""
        self._message = dataclasses.replace(self._message, revision=self._message.revision + step)
        return self.message()
