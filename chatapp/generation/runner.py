"""Turns: a question and its streamed answers, which live on their own, whoever watches."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from chatapp.conversations.updates import Changes
from chatapp.domain.conversation import Conversation, GenerationParameters, Message, new_id
from chatapp.domain.errors import ConversationBusy, ConversationNotFound, InvalidMessage, ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.generation.generator import Writer
from chatapp.generation.model_choice import choose
from chatapp.generation.prepare import Question, TurnStart
from chatapp.generation.queue import TurnLimits, TurnQueue
from chatapp.generation.titles import Titles
from chatapp.limits import NoLimits
from chatapp.models.prompt import clean_text
from chatapp.store.temporary.router import PREFIX, is_temporary

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from chatapp.domain.conversation import Image
    from chatapp.generation.final_save import Key
    from chatapp.generation.turn import Turn
    from chatapp.limits import Limits
    from chatapp.models.catalog import Catalog
    from chatapp.store import ConversationStore

_DEFAULT_LIMITS = TurnLimits()
_NO_LIMITS = NoLimits()

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Beside:
    """A second answer to the same question, at the same time."""

    model: str
    parameters: GenerationParameters


class TurnRunner:
    """Starts turns, lets anybody watch them, and stops them.

    A question is stored before the model is asked; an answer is stored every ``checkpoint_seconds`` while it grows and
    once at its end, and no text waits for that. Watchers see new text at most every ``batch_seconds``.

    Args:
        limits: beyond these, answers wait in a queue, or are refused.
        usage_limits: beyond these, they are refused.
        titles: the model that answered first is asked for a conversation's title.
        on_end: is told of every answer that ended, and how many seconds it took.
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
        usage_limits: Limits = _NO_LIMITS,
        titles: bool = False,
        on_end: Callable[[Message, float], None] = lambda _answer, _seconds: None,
    ) -> None:
        self.changes = Changes(store)
        self._store = store
        self._catalog = catalog
        self._max_message_chars = max_message_chars
        self._queue = TurnQueue(limits)
        self._usage_limits = usage_limits
        self._writer = Writer(
            store,
            catalog,
            self._queue,
            checkpoint_seconds=checkpoint_seconds,
            limits=usage_limits,
            on_end=on_end,
        )
        self._beginnings = TurnStart(store, self.changes, self._writer.ends, batch_seconds=batch_seconds)
        self._titles = Titles(self.changes, usage_limits) if titles else None
        self._turns: dict[Key, Turn | None] = {}  # None: being started
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
        follows: str | None = None,
        images: tuple[Image, ...] = (),
        persona: str | None = None,
        or_other: bool = False,
        beside: Beside | None = None,
        temporary: bool = False,
    ) -> Conversation:
        """Store the question, start its answer and return the conversation, which is new if ``conversation_id`` is "".

        Whoever cannot know whether a call was carried out (its reply was lost, the chat was killed) makes it again,
        with the same ``question_id`` and ``again``: the question is then taken once. The id is the caller's, 32 random
        hex digits.

        Args:
            user: who asks.
            conversation_id: where.
            text: the question.
            model_id: who is to answer.
            parameters: and how.
            question_id: see above.
            again: see above.
            follows: id of the answer that the question follows, "" for none; by default the last one that is shown.
            images: pictures that belong to the question.
            persona: id of whom the model plays; None as before.
            or_other: another model answers while the chosen one is not ready.
            beside: a second answer is written at the same time.
            temporary: a new conversation is kept in memory only.

        Raises:
            InvalidMessage: the text is blank or too long, or the model does not see pictures.
            UnknownModel: there is no such model.
            ModelUnavailable: the model is not set up, or the app is about to end.
            TooManyTurns: too many answers run or wait.
            LimitReached: this person, or everybody, has asked for as much as may be asked for.
            ConversationBusy: an answer is being written in this conversation.
            ConversationNotFound: the user has no such conversation.
            MessageNotFound: it has no such answer as the question is to follow.
            StoreUnavailable: the question could not be stored; nothing was asked.
        """
        text = self._checked(text, has_images=bool(images))
        question_id = question_id or new_id()
        key = (user, conversation_id or _conversation_of(user, question_id, temporary=temporary))
        if again and (taken := await self._taken(key, question_id)):
            return taken
        question = Question(id=question_id, text=text, images=images, follows=follows, persona=persona)
        sees = bool(images)
        choices = [await choose(self._catalog, model_id, _clean(parameters), or_other=or_other, sees=sees)]
        if beside is not None:
            choices.append(
                await choose(self._catalog, beside.model, _clean(beside.parameters), or_other=or_other, sees=sees)
            )

        def stored() -> Awaitable[Turn]:
            return self._beginnings.question(key, question, choices, is_new=not conversation_id)

        return await self._begin(key, len(choices), stored)

    async def answer_again(
        self,
        user: str,
        conversation_id: str,
        question_id: str,
        model_id: str,
        parameters: GenerationParameters,
        *,
        answer_id: str = "",
        again: bool = False,
        or_other: bool = False,
    ) -> Conversation:
        """Start another answer to a question that has one, and return its conversation.

        ``answer_id`` and ``again`` as the question's in `start`.

        Raises:
            MessageNotFound: the conversation has no such question.
            ConversationNotFound, ...: as `start`.
        """
        answer_id = answer_id or new_id()
        key = (user, conversation_id)
        if again and (taken := await self._taken(key, answer_id)):
            return taken
        choice = await choose(self._catalog, model_id, _clean(parameters), or_other=or_other)

        def stored() -> Awaitable[Turn]:
            return self._beginnings.answer_again(key, question_id, answer_id, choice)

        return await self._begin(key, 1, stored)

    async def go_on(
        self,
        user: str,
        conversation_id: str,
        message_id: str,
        model_id: str,
        parameters: GenerationParameters,
        *,
        or_other: bool = False,
    ) -> Conversation:
        """Continue an answer that ended early, in the same message; return its conversation.

        Raises:
            NothingToContinue: the answer is whole, or is not at the end of what is shown.
            ConversationNotFound, ...: as `start`.
        """
        key = (user, conversation_id)
        choice = await choose(self._catalog, model_id, _clean(parameters), or_other=or_other)

        def stored() -> Awaitable[Turn]:
            return self._beginnings.continuation(key, message_id, choice)

        return await self._begin(key, 1, stored)

    def is_busy(self, user: str, conversation_id: str) -> bool:
        """Return whether an answer is being written in this conversation, or is about to be."""
        return (user, conversation_id) in self._turns

    def current(self, user: str, conversation_id: str) -> Turn | None:
        """Return the turn that is running in this conversation, None if there is none."""
        return self._turns.get((user, conversation_id))

    async def watch(self, user: str, conversation_id: str) -> AsyncGenerator[Message]:
        """Yield the (first) running answer as it grows, and once more at its end; nothing if none is running."""
        turn = self.current(user, conversation_id)
        if turn is not None:
            async with aclosing(turn.watch()) as changes:
                async for _ in changes:
                    yield turn.answers[0].message()

    async def stop(self, user: str, conversation_id: str) -> bool:
        """End what is being written and keep it; return whether something was, here."""
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
        """Delete a conversation for good; an answer that is being written in it ends first."""
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
        if self._titles:
            await self._titles.aclose()
        await self._writer.ends.aclose()

    def _checked(self, text: str, *, has_images: bool) -> str:
        if not isinstance(text, str) or not (text.strip() or has_images):
            raise InvalidMessage(Sentence("There is nothing to send yet: write a message first."))
        if len(text) > self._max_message_chars:
            raise InvalidMessage(
                Sentence(
                    "This message has {characters} characters; at most {most} can be sent at once. Shorten it, or send "
                    "it in parts. Nothing was sent; it is still in the box.",
                    characters=len(text),
                    most=self._max_message_chars,
                )
            )
        return clean_text(text)

    async def _begin(self, key: Key, answers: int, stored: Callable[[], Awaitable[Turn]]) -> Conversation:
        """Check what can be checked at once, then start the turn that ``stored`` returns."""
        last = self._turns.get(key)
        if last is not None and last.is_written:
            await last.finished.wait()
        if self._closing:
            raise ModelUnavailable(Sentence("The chat is being restarted. Send again in a moment; nothing was sent."))
        if key in self._turns:
            raise ConversationBusy
        self._queue.refuse_if_full(key[0], answers)
        self._usage_limits.admit(key[0], answers)  # last: what another check refuses is not counted
        self._turns[key] = None  # from here on a second send is refused
        # Shielded: a page that goes away right now must not leave a question without its answer.
        starting = asyncio.create_task(self._start(key, stored()))
        starting.add_done_callback(lambda done: done.cancelled() or done.exception())  # seen, should the page be gone
        return await asyncio.shield(starting)

    async def _start(self, key: Key, storing: Awaitable[Turn]) -> Conversation:
        try:
            turn = await storing
        except BaseException:
            self._forget(key)
            raise
        self._turns[key] = turn
        self._writer.begin(turn, lambda: self._finished(key, turn))
        return turn.conversation

    def _finished(self, key: Key, turn: Turn) -> None:
        self._forget(key)
        if self._titles and not self._closing and not is_temporary(key[1]):
            turn.titling = self._titles.begin(turn)
        turn.finish()

    def _forget(self, key: Key) -> None:
        del self._turns[key]
        if not self._turns:
            self._none_left.set()

    async def _taken(self, key: Key, message_id: str) -> Conversation | None:
        """Return the conversation if this question, or answer, is in it already."""
        while key in self._turns and self._turns[key] is None:  # noqa: ASYNC110  # it takes a moment
            await asyncio.sleep(0.01)
        turn = self._turns.get(key)
        if turn is not None and any(message.id == message_id for message in turn.messages()):
            return turn.conversation
        try:
            messages = await self._store.messages(*key)
            if any(message.id == message_id for message in messages):
                return await self._store.conversation(*key, fresh=False)
        except ConversationNotFound:
            pass  # the first message of a new one, which was not taken
        return None


def _clean(parameters: GenerationParameters) -> GenerationParameters:
    return dataclasses.replace(parameters, system_prompt=clean_text(parameters.system_prompt))


def _conversation_of(user: str, question_id: str, *, temporary: bool) -> str:
    """Return the id of the conversation that a question begins: the same for the same question, and nobody else's."""
    digest = hashlib.sha256(f"{user}\0{question_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
    return f"{PREFIX}{digest}" if temporary else digest
