"""Turns: a question and its streamed answer, which lives on its own, whoever watches."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog

from chatapp.conversation import (
    Conversation,
    FinishReason,
    GenerationParameters,
    Message,
    MessageStatus,
    Role,
    Usage,
    new_id,
    now_ms,
)
from chatapp.errors import ChatError, ConversationBusy, ConversationNotFound, InvalidMessage, ModelUnavailable
from chatapp.models import Finish, ModelState, TextDelta
from chatapp.models.context import ContextWindow, Omitted
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog
    from chatapp.store import ConversationStore

TITLE_CHARS = 60
SAVE_ATTEMPTS = 5

log = structlog.get_logger(__name__)


class Turn:
    """A running answer: what is known of it so far, and a signal when that changes."""

    def __init__(self, user: str, conversation: Conversation, answer: Message) -> None:
        self.user = user
        self.conversation = conversation
        self.finished = asyncio.Event()
        self.stop_requested = False
        self.generation: asyncio.Task[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self._answer = answer
        self._text = answer.content
        self.changed = asyncio.Event()  # of the next change; each change has its own, so that no watcher misses one

    def append(self, text: str) -> None:
        """Add text that the model wrote."""
        self._text += text
        self._announce()

    def set(self, **changes: object) -> None:
        """Change fields of the answer."""
        self._answer = dataclasses.replace(self._answer, **changes)  # type: ignore[arg-type]  # names are Message's own
        self._announce()

    def answer(self) -> Message:
        """Return the answer as it is now."""
        return dataclasses.replace(self._answer, content=self._text)

    def next_revision(self) -> Message:
        """Return the answer as it is now, as a newer revision to store."""
        self._answer = dataclasses.replace(self._answer, revision=self._answer.revision + 1)
        return self.answer()

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
        self.changed.set()
        self.changed = asyncio.Event()


class TurnRunner:
    """Starts turns, lets anybody watch them, and stops them.

    A question is stored before the model is asked; the answer is stored every ``checkpoint_seconds`` while it grows and
    once at its end. Watchers get a new snapshot at most every ``batch_seconds``.
    """

    def __init__(
        self,
        store: ConversationStore,
        catalog: Catalog,
        *,
        max_message_chars: int = 100_000,
        batch_seconds: float = 0.08,
        checkpoint_seconds: float = 5.0,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._max_message_chars = max_message_chars
        self._batch_seconds = batch_seconds
        self._checkpoint_seconds = checkpoint_seconds
        self._turns: dict[tuple[str, str], Turn | None] = {}  # None: being started
        self._windows = {model.id: ContextWindow(model) for model in catalog}
        self._closing = False

    async def start(
        self, user: str, conversation_id: str, text: str, model_id: str, parameters: GenerationParameters
    ) -> Conversation:
        """Store the question, start its answer and return the conversation, which is new if ``conversation_id`` is "".

        Raises:
            InvalidMessage: the text is blank or too long.
            UnknownModel: there is no such model.
            ModelUnavailable: the model is not set up, or the app is about to end.
            ConversationBusy: an answer is being written in this conversation.
            ConversationNotFound: the user has no such conversation.
            StoreUnavailable: the question could not be stored; nothing was asked.
        """
        text = self._checked(text)
        parameters = dataclasses.replace(parameters, system_prompt=clean_text(parameters.system_prompt))
        model = self._catalog.get(model_id)
        status = self._catalog.statuses()[model.id]
        if status.state is ModelState.NOT_SET_UP:
            raise ModelUnavailable(f"{model.label} is not set up. To use it, {status.fix}. Nothing was sent.")
        if self._closing:
            raise ModelUnavailable("The chat is being restarted. Send again in a moment; nothing was sent.")
        key = (user, conversation_id or new_id())
        if key in self._turns:
            raise ConversationBusy
        self._turns[key] = None  # from here on a second send is refused
        # Shielded: a page that goes away right now must not leave a question without its answer.
        starting = asyncio.create_task(self._start(key, text, model, parameters, is_new=not conversation_id))
        return await asyncio.shield(starting)

    def running(self, user: str, conversation_id: str) -> Message | None:
        """Return the answer that is being written in this conversation, None if there is none."""
        turn = self._turns.get((user, conversation_id))
        return turn.answer() if turn else None

    async def watch(self, user: str, conversation_id: str) -> AsyncGenerator[Message]:
        """Yield the running answer as it grows, and once more at its end; nothing if no answer is running."""
        turn = self._turns.get((user, conversation_id))
        if turn is None:
            return
        while not turn.finished.is_set():
            changed = turn.changed
            answer = turn.answer()
            yield answer
            await changed.wait()
            if answer.content:  # the first words go out at once; after them, what comes in a moment travels together
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._batch_seconds):
                        await turn.finished.wait()
        yield turn.answer()

    async def stop(self, user: str, conversation_id: str) -> None:
        """End the running answer and keep what was written; nothing happens if none is running."""
        turn = self._turns.get((user, conversation_id))
        if turn is not None:
            turn.stop_requested = True
            await turn.cancel()

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation; an answer that is being written in it ends first."""
        await self.stop(user, conversation_id)
        await self._store.delete(user, conversation_id)

    async def aclose(self) -> None:
        """Take no more turns, end those that run, and store what they have as interrupted."""
        self._closing = True
        await asyncio.gather(*(turn.cancel() for turn in list(self._turns.values()) if turn is not None))

    def _checked(self, text: str) -> str:
        if not isinstance(text, str) or not text.strip():
            raise InvalidMessage("There is nothing to send yet: write a message first.")
        if len(text) > self._max_message_chars:
            raise InvalidMessage(
                f"This message has {len(text):,} characters; at most {self._max_message_chars:,} can be sent at once. "
                "Shorten it, or send it in parts. Nothing was sent; it is still in the box."
            )
        return clean_text(text)

    async def _start(
        self, key: tuple[str, str], text: str, model: ChatModel, parameters: GenerationParameters, *, is_new: bool
    ) -> Conversation:
        try:
            turn, messages = await self._store_question(key, text, model, parameters, is_new=is_new)
        except BaseException:
            del self._turns[key]
            raise
        self._turns[key] = turn
        # Two tasks, so that ending the first, however early, never skips what the second does at the end.
        turn.generation = asyncio.create_task(self._generate(turn, self._windows[model.id], messages, parameters))
        turn.task = asyncio.create_task(self._finish(key, turn))
        return turn.conversation

    async def _store_question(
        self, key: tuple[str, str], text: str, model: ChatModel, parameters: GenerationParameters, *, is_new: bool
    ) -> tuple[Turn, list[Message]]:
        user, conversation_id = key
        earlier = [] if is_new else await self._store.messages(user, conversation_id)
        # Later than the last message even when the clock was set back, so that the order never changes.
        created_ms = max(now_ms(), earlier[-1].created_ms + 1 if earlier else 0)
        turn_id = new_id()
        question = Message(id=new_id(), turn_id=turn_id, role=Role.USER, content=text, created_ms=created_ms)
        answer = Message(
            id=new_id(),
            turn_id=turn_id,
            role=Role.ASSISTANT,
            content="",
            created_ms=created_ms + 1,
            status=MessageStatus.STREAMING,
            model=model.id,
        )
        if is_new:
            conversation = Conversation(
                id=conversation_id,
                title=_title(text),
                created_ms=created_ms,
                updated_ms=created_ms,
                model=model.id,
                system_prompt=parameters.system_prompt,
            )
            await self._store.create(user, conversation, question, answer)
        else:
            before = await self._store.conversation(user, conversation_id)
            conversation = dataclasses.replace(before, model=model.id, system_prompt=parameters.system_prompt)
            await self._store.append(user, conversation_id, question, answer)  # which also says that it was updated
            if conversation != before:
                await self._store.update(user, conversation)
        return Turn(user, conversation, answer), [*earlier, question]

    async def _finish(self, key: tuple[str, str], turn: Turn) -> None:
        model = turn.answer().model
        started = time.monotonic()
        try:
            await turn.generation  # type: ignore[misc]  # set just before this task
        except asyncio.CancelledError:
            turn.set(status=MessageStatus.STOPPED if turn.stop_requested else MessageStatus.INTERRUPTED)
        except ChatError as error:
            self._catalog.expire(model)
            log.warning("answer_failed", model=model, error=type(error).__name__, detail=error.detail)
            turn.set(status=MessageStatus.ERROR, error=str(error))
        except Exception:
            log.exception("answer_failed", model=model)
            problem = "Something went wrong in the chat itself while this was being written. Please send it again."
            turn.set(status=MessageStatus.ERROR, error=problem)
        answer = turn.answer()
        log.info(
            "turn_finished",
            model=model,
            status=answer.status.value,
            seconds=round(time.monotonic() - started, 3),
            seconds_to_first_token=answer.seconds_to_first_token,
            prompt_tokens=answer.usage.prompt_tokens if answer.usage else None,
            completion_tokens=answer.usage.completion_tokens if answer.usage else None,
        )
        try:
            await self._save_end(turn)
        finally:
            del self._turns[key]
            turn.finish()

    async def _generate(
        self, turn: Turn, window: ContextWindow, messages: list[Message], parameters: GenerationParameters
    ) -> None:
        started = checkpointed = time.monotonic()
        usage: Usage | None = None
        finish: Finish | None = None
        first = True
        async with aclosing(window.stream(messages, parameters)) as events:
            async for event in events:
                match event:
                    case TextDelta(text):
                        if first:
                            turn.set(seconds_to_first_token=round(time.monotonic() - started, 3))
                            first = False
                        turn.append(text)
                        if time.monotonic() - checkpointed > self._checkpoint_seconds:
                            checkpointed = time.monotonic()
                            await self._checkpoint(turn)
                    case Omitted(number):
                        turn.set(omitted_messages=number)
                    case Finish():
                        finish = event
                    case Usage():
                        usage = event
        if first:
            thought = finish is not None and finish.reason is FinishReason.LENGTH
            raise ModelUnavailable(
                f"{window.model.label} used up Max tokens before it wrote anything. Raise it and send again."
                if thought
                else f"{window.model.label} ended without writing anything. Send again, or choose another model."
            )
        turn.set(status=MessageStatus.COMPLETE, usage=usage, finish_reason=finish.reason if finish else None)

    async def _checkpoint(self, turn: Turn) -> None:
        try:
            await self._store.append(turn.user, turn.conversation.id, turn.next_revision())
        except ChatError as error:
            log.warning("checkpoint_failed", error=type(error).__name__, detail=error.detail)

    async def _save_end(self, turn: Turn) -> None:
        answer = turn.next_revision()
        for attempt in range(SAVE_ATTEMPTS):
            try:
                await asyncio.shield(self._store.append(turn.user, turn.conversation.id, answer))
            except ConversationNotFound:
                return  # deleted meanwhile: nothing is to be kept
            except ChatError as error:
                log.warning("save_failed", attempt=attempt, error=type(error).__name__, detail=error.detail)
                await asyncio.sleep(0.2 * 2**attempt)
            else:
                return
        log.error("answer_not_saved", conversation=turn.conversation.id, message=answer.id)
        turn.set(
            status=MessageStatus.ERROR,
            error="This answer could not be saved, because the history cannot be written now. Copy what you need.",
        )


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
