"""Turns: a question and its streamed answer, which lives on its own, whoever watches."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
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
from chatapp.errors import (
    ChatError,
    ConversationBusy,
    ConversationNotFound,
    InvalidMessage,
    ModelUnavailable,
    NothingToContinue,
)
from chatapp.models import Finish, ModelState, TextDelta
from chatapp.models.context import ContextWindow, Omitted
from chatapp.models.prompt import clean_text
from chatapp.turn import Turn
from chatapp.turn_queue import TurnLimits, TurnQueue

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog
    from chatapp.store import ConversationStore

    Key = tuple[str, str]  # user, conversation id

TITLE_CHARS = 60
SAVE_ATTEMPTS = 5  # in which an answer's reader waits for its end to be stored
SAVE_AGAIN_SECONDS = 5.0  # afterwards
# A running answer is written at least this often, text or not: a store takes one that is not for abandoned.
SIGN_OF_LIFE_SECONDS = 20.0
# To the model, after an answer that ended early. Only it can tell what comes next, and models of every kind follow it;
# continuing the model's own message needs an API of its own (vLLM's continue_final_message), which others refuse.
GO_ON = (
    "Your last message was cut off. Continue it exactly where it ended: write only what comes next, in the same "
    "language and formatting, without repeating anything and without any remark about this."
)
_DEFAULT_LIMITS = TurnLimits()

log = structlog.get_logger(__name__)


def can_go_on(answer: Message) -> bool:
    """Return whether an answer ended before its end, so that it can be continued."""
    early = {MessageStatus.STOPPED, MessageStatus.INTERRUPTED, MessageStatus.ERROR}
    is_early = answer.status in early or answer.finish_reason is FinishReason.LENGTH
    return answer.role is Role.ASSISTANT and is_early


class TurnRunner:
    """Starts turns, lets anybody watch them, and stops them.

    A question is stored before the model is asked; the answer is stored every ``checkpoint_seconds`` while it grows and
    once at its end, and no text waits for that. Watchers see new text at most every ``batch_seconds``.

    Args:
        limits: beyond these, turns wait in a queue, or are refused.
        on_end: is told of every answer that ended, and how many seconds the turn took.
    """

    def __init__(
        self,
        store: ConversationStore,
        catalog: Catalog,
        *,
        max_message_chars: int = 100_000,
        batch_seconds: float = 0.08,
        checkpoint_seconds: float = 5.0,
        limits: TurnLimits = _DEFAULT_LIMITS,
        on_end: Callable[[Message, float], None] = lambda _answer, _seconds: None,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._max_message_chars = max_message_chars
        self._batch_seconds = batch_seconds
        self._checkpoint_seconds = checkpoint_seconds
        self._on_end = on_end
        self._queue = TurnQueue(limits)
        self._turns: dict[Key, Turn | None] = {}  # None: being started
        self._windows = {model.id: ContextWindow(model) for model in catalog}
        self._unsaved: dict[Key, Message] = {}  # ends of answers that the store did not take
        self._saving: dict[Key, asyncio.Task[None]] = {}
        self._closing = False
        self._none_left = asyncio.Event()

    @property
    def running_count(self) -> int:
        """How many answers are being written."""
        return self._queue.running

    @property
    def waiting_count(self) -> int:
        """How many wait to begin."""
        return self._queue.waiting

    async def start(
        self,
        user: str,
        conversation_id: str,
        text: str,
        model_id: str,
        parameters: GenerationParameters,
        *,
        question_id: str = "",
        again: bool = False,
    ) -> Conversation:
        """Store the question, start its answer and return the conversation, which is new if ``conversation_id`` is "".

        Whoever cannot know whether a call was carried out (its reply was lost, the chat was killed) makes it again,
        with the same ``question_id`` and ``again``: the question is then taken once. The id is the caller's, 32 random
        hex digits.

        Raises:
            InvalidMessage: the text is blank or too long.
            UnknownModel: there is no such model.
            ModelUnavailable: the model is not set up, or the app is about to end.
            TooManyTurns: too many turns run or wait.
            ConversationBusy: an answer is being written in this conversation.
            ConversationNotFound: the user has no such conversation.
            StoreUnavailable: the question could not be stored; nothing was asked.
        """
        text = self._checked(text)
        parameters = dataclasses.replace(parameters, system_prompt=clean_text(parameters.system_prompt))
        question_id = question_id or new_id()
        key = (user, conversation_id or _conversation_of(user, question_id))
        if again and (taken := await self._taken(key, question_id)):
            return taken

        async def stored(model: ChatModel) -> tuple[Turn, list[Message]]:
            return await self._store_question(key, question_id, text, model, parameters, is_new=not conversation_id)

        return await self._begin(key, model_id, parameters, stored)

    async def go_on(
        self, user: str, conversation_id: str, message_id: str, model_id: str, parameters: GenerationParameters
    ) -> Conversation:
        """Continue an answer that ended early, in the same message; return its conversation.

        Raises:
            NothingToContinue: the answer is whole, or is not the last message.
            ConversationNotFound, ...: as `start`.
        """
        key = (user, conversation_id)

        async def stored(model: ChatModel) -> tuple[Turn, list[Message]]:
            return await self._store_continuation(key, message_id, model)

        return await self._begin(key, model_id, parameters, stored)

    def current(self, user: str, conversation_id: str) -> Turn | None:
        """Return the turn that is running in this conversation, None if there is none."""
        return self._turns.get((user, conversation_id))

    def running(self, user: str, conversation_id: str) -> Message | None:
        """Return the answer that is being written in this conversation, None if there is none."""
        turn = self.current(user, conversation_id)
        return turn.answer() if turn else None

    async def watch(self, user: str, conversation_id: str) -> AsyncGenerator[Message]:
        """Yield the running answer as it grows, and once more at its end; nothing if no answer is running."""
        turn = self.current(user, conversation_id)
        if turn is not None:
            async with aclosing(turn.watch()) as answers:
                async for answer in answers:
                    yield answer

    async def stop(self, user: str, conversation_id: str) -> bool:
        """End the running answer and keep what was written; return whether one was running here."""
        turn = self.current(user, conversation_id)
        if turn is None:
            return False
        turn.stop_requested = True
        await turn.cancel()
        return True

    async def stop_all(self, user: str) -> None:
        """End all running answers of a user, and keep what was written."""
        await asyncio.gather(*(self.stop(*key) for key in list(self._turns) if key[0] == user))

    async def delete(self, user: str, conversation_id: str) -> None:
        """Delete a conversation; an answer that is being written in it ends first."""
        await self.stop(user, conversation_id)
        await self._store.delete(user, conversation_id)

    async def finish(self, seconds: float) -> None:
        """Take no more turns, and give those that run some time to end by themselves."""
        self._closing = True
        if not self._turns:
            return
        self._none_left.clear()
        log.warning("finishing_answers", answers=len(self._turns), at_most_seconds=seconds)
        try:
            async with asyncio.timeout(seconds):
                await self._none_left.wait()
        except TimeoutError:
            log.warning("answers_interrupted", answers=len(self._turns))

    async def aclose(self) -> None:
        """Take no more turns, end those that run, and store what they have as interrupted."""
        self._closing = True
        while None in self._turns.values():  # noqa: ASYNC110  # storing a question takes a moment; then it is a turn
            await asyncio.sleep(0.01)
        await asyncio.gather(*(turn.cancel() for turn in list(self._turns.values()) if turn is not None))
        saving = list(self._saving.values())
        for task in saving:
            task.cancel()
        await asyncio.gather(*saving, return_exceptions=True)
        for key, answer in self._unsaved.items():  # once more; what fails now, the next start shows as interrupted
            with suppress(ChatError):
                await self._store.append(*key, answer)

    def _checked(self, text: str) -> str:
        if not isinstance(text, str) or not text.strip():
            raise InvalidMessage("There is nothing to send yet: write a message first.")
        if len(text) > self._max_message_chars:
            raise InvalidMessage(
                f"This message has {len(text):,} characters; at most {self._max_message_chars:,} can be sent at once. "
                "Shorten it, or send it in parts. Nothing was sent; it is still in the box."
            )
        return clean_text(text)

    async def _begin(
        self,
        key: Key,
        model_id: str,
        parameters: GenerationParameters,
        stored: Callable[[ChatModel], Awaitable[tuple[Turn, list[Message]]]],
    ) -> Conversation:
        """Check what can be checked at once, then start the turn that ``stored`` returns."""
        model = self._catalog.get(model_id)
        status = self._catalog.statuses()[model.id]
        if status.state is ModelState.NOT_SET_UP:
            raise ModelUnavailable(f"{model.label} is not set up. To use it, {status.fix}. Nothing was sent.")
        if self._closing:
            raise ModelUnavailable("The chat is being restarted. Send again in a moment; nothing was sent.")
        if key in self._turns:
            raise ConversationBusy
        self._queue.refuse_if_full(key[0])
        self._turns[key] = None  # from here on a second send is refused
        # Shielded: a page that goes away right now must not leave a question without its answer.
        starting = asyncio.create_task(self._start(key, model, parameters, stored(model)))
        starting.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, should the page be gone
        return await asyncio.shield(starting)

    async def _start(
        self,
        key: Key,
        model: ChatModel,
        parameters: GenerationParameters,
        storing: Awaitable[tuple[Turn, list[Message]]],
    ) -> Conversation:
        try:
            turn, messages = await storing
        except BaseException:
            self._forget(key)
            raise
        self._turns[key] = turn
        # Two tasks, so that ending the first, however early, never skips what the second does at the end.
        turn.generation = asyncio.create_task(self._generate(turn, self._windows[model.id], messages, parameters))
        turn.ending = asyncio.create_task(self._finish(key, turn))
        return turn.conversation

    async def _taken(self, key: Key, question_id: str) -> Conversation | None:
        """Return the conversation if this question is in it already."""
        while key in self._turns and self._turns[key] is None:  # noqa: ASYNC110  # it takes a moment
            await asyncio.sleep(0.01)
        turn = self._turns.get(key)
        if turn is not None and turn.question is not None and turn.question.id == question_id:
            return turn.conversation
        try:
            messages = await self._store.messages(*key)
            if any(message.id == question_id for message in messages):
                return await self._store.conversation(*key, fresh=False)
        except ConversationNotFound:
            pass  # the first message of a new one, which was not taken
        return None

    async def _store_question(
        self,
        key: Key,
        question_id: str,
        text: str,
        model: ChatModel,
        parameters: GenerationParameters,
        *,
        is_new: bool,
    ) -> tuple[Turn, list[Message]]:
        user, conversation_id = key
        earlier = [] if is_new else await self._idle(key)
        # Later than the last message even when the clock was set back, so that the order never changes.
        created_ms = max(now_ms(), earlier[-1].created_ms + 1 if earlier else 0)
        turn_id = new_id()
        question = Message(id=question_id, turn_id=turn_id, role=Role.USER, content=text, created_ms=created_ms)
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
            before = await self._store.conversation(user, conversation_id, fresh=False)
            conversation = dataclasses.replace(before, model=model.id, system_prompt=parameters.system_prompt)
            await self._store.append(user, conversation_id, question, answer)  # which also says that it was updated
            if conversation != before:
                await self._store.update(user, conversation)
        follows = earlier[-1].id if earlier else ""
        turn = Turn(user, conversation, question, answer, follows=follows, batch_seconds=self._batch_seconds)
        return turn, [*earlier, question]

    async def _store_continuation(self, key: Key, message_id: str, model: ChatModel) -> tuple[Turn, list[Message]]:
        user, conversation_id = key
        messages = await self._idle(key)
        if not messages or messages[-1].id != message_id or not can_go_on(messages[-1]):
            raise NothingToContinue
        *earlier, before = messages
        answer = dataclasses.replace(
            before,
            status=MessageStatus.STREAMING,
            revision=before.revision + 1,
            model=model.id,
            seconds_to_first_token=None,
            finish_reason=None,
            error="",
        )
        conversation = await self._store.conversation(user, conversation_id, fresh=False)
        await self._store.append(user, conversation_id, answer)
        follows = earlier[-1].id if earlier else ""
        turn = Turn(user, conversation, None, answer, follows=follows, batch_seconds=self._batch_seconds)
        if not before.content.strip():
            return turn, earlier  # there is nothing yet to go on from: the question is asked again
        go_on = Message(
            id=new_id(), turn_id=before.turn_id, role=Role.USER, content=GO_ON, created_ms=before.created_ms + 1
        )
        return turn, [*earlier, before, go_on]

    async def _idle(self, key: Key) -> list[Message]:
        """Return the messages of a conversation in which nobody writes an answer.

        They are those that this process knows: what another copy of the chat wrote since its page was opened here is
        not waited for, as the person who asks has not seen it either.

        Raises:
            ConversationBusy: another copy of the chat is writing an answer.
            StoreUnavailable: the end of the answer before could not be stored, and still cannot.
        """
        if (unsaved := self._unsaved.get(key)) is not None:
            await self._store.append(*key, unsaved)
            self._unsaved.pop(key, None)
        messages = await self._store.messages(*key, fresh=False)
        if messages and messages[-1].status is MessageStatus.STREAMING:
            last = await self._store.message(*key, messages[-1].id)  # as it is now
            if last.status is MessageStatus.STREAMING:
                raise ConversationBusy
            messages[-1] = last
        return messages

    async def _finish(self, key: Key, turn: Turn) -> None:
        model = turn.answer().model
        started = time.monotonic()
        keeping = asyncio.create_task(self._keep(turn))
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
        keeping.cancel()
        answer = turn.answer()
        seconds = time.monotonic() - started
        log.info(
            "turn_finished",
            model=model,
            status=answer.status.value,
            seconds=round(seconds, 3),
            seconds_to_first_token=answer.seconds_to_first_token,
            prompt_tokens=answer.usage.prompt_tokens if answer.usage else None,
            completion_tokens=answer.usage.completion_tokens if answer.usage else None,
        )
        try:
            await self._save_end(turn)
        finally:
            self._forget(key)
            turn.finish()
            # As it ended, saved or not, with the tokens of this turn alone.
            self._on_end(dataclasses.replace(turn.answer(), usage=turn.usage), seconds)

    def _forget(self, key: Key) -> None:
        del self._turns[key]
        if not self._turns:
            self._none_left.set()

    async def _generate(
        self, turn: Turn, window: ContextWindow, messages: list[Message], parameters: GenerationParameters
    ) -> None:
        usage_before = turn.answer().usage
        finish: Finish | None = None
        first = True
        async with self._queue.turn(turn.user, turn.move), aclosing(window.stream(messages, parameters)) as events:
            started = time.monotonic()
            async for event in events:
                match event:
                    case TextDelta(text):
                        if first:
                            turn.set(seconds_to_first_token=round(time.monotonic() - started, 3))
                            first = False
                        turn.append(text)
                    case Omitted(number):
                        turn.set(omitted_messages=number)
                    case Finish():
                        finish = event
                    case Usage():
                        turn.usage = event
                        turn.set(usage=_sum(usage_before, event))
        if first:
            thought = finish is not None and finish.reason is FinishReason.LENGTH
            raise ModelUnavailable(
                f"{window.model.label} used up Max tokens before it wrote anything. Raise it and send again."
                if thought
                else f"{window.model.label} ended without writing anything. Send again, or choose another model."
            )
        turn.set(status=MessageStatus.COMPLETE, finish_reason=finish.reason if finish else None)

    async def _keep(self, turn: Turn) -> None:
        """Store what was written every now and then, beside the writing, which never waits for it."""
        length, kept_at = turn.stored_length, time.monotonic()
        while True:
            await asyncio.sleep(self._checkpoint_seconds)
            turn.remind()
            if turn.length == length and time.monotonic() - kept_at < SIGN_OF_LIFE_SECONDS:
                continue
            length, kept_at = turn.length, time.monotonic()
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
        key = turn.user, turn.conversation.id
        self._unsaved[key] = answer
        self._saving[key] = asyncio.create_task(self._save_later(key))
        turn.set(
            status=MessageStatus.ERROR,
            error="This answer is not saved yet, because the history cannot be written now. It is tried again and "
            "again for as long as the chat runs; copy what you need.",
        )

    async def _save_later(self, key: Key) -> None:
        """Go on trying to store an end: until then, nothing else can be written in its conversation."""
        while (answer := self._unsaved.get(key)) is not None:
            await asyncio.sleep(SAVE_AGAIN_SECONDS)
            try:
                await self._store.append(*key, answer)
            except ConversationNotFound:
                pass  # deleted meanwhile
            except ChatError as error:
                log.warning("save_failed", error=type(error).__name__, detail=error.detail)
                continue
            self._unsaved.pop(key, None)
        self._saving.pop(key, None)


def _sum(before: Usage | None, now: Usage) -> Usage:
    """Return the usage of an answer that went on: the prompt of the last request, the tokens of all."""
    if before is None or before.completion_tokens is None or now.completion_tokens is None:
        return now
    return dataclasses.replace(now, completion_tokens=before.completion_tokens + now.completion_tokens)


def _conversation_of(user: str, question_id: str) -> str:
    """Return the id of the conversation that a question begins: the same for the same question, and nobody else's."""
    return hashlib.sha256(f"{user}\0{question_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _title(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= TITLE_CHARS else line[: TITLE_CHARS - 1].rstrip() + "…"
