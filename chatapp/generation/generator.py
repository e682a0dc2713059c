"""Writing an answer: from the model into its turn, and from there into the store."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import FinishReason, Message, MessageStatus, Usage
from chatapp.domain.errors import ChatError, ConversationNotFound, ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.generation.final_save import Ends
from chatapp.models import Finish, TextDelta
from chatapp.models.context import ContextWindow, Omitted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.domain.conversation import Image
    from chatapp.generation.queue import TurnQueue
    from chatapp.generation.turn import RunningAnswer, Turn
    from chatapp.limits import Limits
    from chatapp.models.catalog import Catalog
    from chatapp.store import ConversationStore

# A running answer is written at least this often, text or not: a store takes one that is not for abandoned.
SIGN_OF_LIFE_SECONDS = 20.0

log = structlog.get_logger(__name__)


class Writer:
    """Writes the answers of turns.

    Args:
        queue: where an answer waits for its turn.
        checkpoint_seconds: how often a growing answer is stored.
        limits: is told what every answer took.
        on_end: is told of every answer that ended, and how many seconds it took.
    """

    def __init__(
        self,
        store: ConversationStore,
        catalog: Catalog,
        queue: TurnQueue,
        *,
        checkpoint_seconds: float,
        limits: Limits,
        on_end: Callable[[Message, float], None],
    ) -> None:
        self.ends = Ends(store)
        self._store = store
        self._catalog = catalog
        self._queue = queue
        self._checkpoint_seconds = checkpoint_seconds
        self._limits = limits
        self._on_end = on_end
        self._windows = {model.id: ContextWindow(model) for model in catalog}

    def begin(self, turn: Turn, on_last: Callable[[], None]) -> None:
        """Begin all answers of a turn; ``on_last`` is called when the last of them has ended and is stored."""

        def ended(answer: RunningAnswer) -> None:
            if all(other.has_ended for other in turn.answers if other is not answer):
                on_last()

        for answer in turn.answers:
            # Two tasks, so that ending the first, however early, never skips what the second does at the end.
            answer.generation = asyncio.create_task(self._generate(answer))
            answer.ending = asyncio.create_task(self._finish(answer, ended))

    async def _generate(self, answer: RunningAnswer) -> None:
        before = answer.message()
        window = self._windows[answer.prompt.model.id]
        finish: Finish | None = None
        first = True
        events = window.stream(answer.prompt.messages, answer.prompt.parameters, self._images_of(answer.turn))
        async with self._queue.turn(answer.turn.user, answer.move), aclosing(events):
            started = time.monotonic()
            answer.was_asked = True
            try:
                async for event in events:
                    match event:
                        case TextDelta(text):
                            if first:
                                answer.set(seconds_to_first_token=round(time.monotonic() - started, 3))
                                first = False
                            answer.append(text)
                        case Omitted(number):
                            answer.set(omitted_messages=number)
                        case Finish():
                            finish = event
                        case Usage():
                            answer.usage = event
                            answer.set(usage=_sum(before.usage, event))
            finally:
                answer.set(seconds=_total(before, before.seconds, round(time.monotonic() - started, 3)))
        if first:
            raise ModelUnavailable(_nothing_written(window.model.label, finish))
        answer.set(status=MessageStatus.COMPLETE, finish_reason=finish.reason if finish else None)

    async def _finish(self, answer: RunningAnswer, ended: Callable[[RunningAnswer], None]) -> None:
        model = answer.prompt.model.id
        before = answer.message()
        started = time.monotonic()
        keeping = asyncio.create_task(self._keep(answer))
        try:
            await answer.generation  # type: ignore[misc]  # set just before this task
        except asyncio.CancelledError:
            stopped = answer.turn.stop_requested
            answer.set(status=MessageStatus.STOPPED if stopped else MessageStatus.INTERRUPTED)
        except ChatError as error:
            self._catalog.expire(model)
            log.warning("answer_failed", model=model, error=type(error).__name__, detail=error.detail)
            answer.set(status=MessageStatus.ERROR, error=error.sentence)
        except Exception:
            log.exception("answer_failed", model=model)
            answer.set(
                status=MessageStatus.ERROR,
                error=Sentence(
                    "Something went wrong in the chat itself while this was being written. Please send it again."
                ),
            )
        keeping.cancel()
        price = answer.prompt.model.price
        if used := self._used(answer):
            self._limits.count(used, price, answer.turn.user)
        if price and answer.usage:
            answer.set(cost=_total(before, before.cost, price.of(answer.usage)))
        seconds = time.monotonic() - started
        _log_end(answer, seconds)
        try:
            if not await self.ends.save((answer.turn.user, answer.turn.conversation.id), answer.next_revision()):
                answer.set(
                    status=MessageStatus.ERROR,
                    error=Sentence(
                        "This answer is not saved yet, because the history cannot be written now. It is tried again "
                        "and again for as long as the chat runs; copy what you need."
                    ),
                )
        finally:
            ended(answer)
            answer.end()
            # As it ended, saved or not, with the tokens of this turn alone.
            self._on_end(dataclasses.replace(answer.message(), usage=answer.usage), seconds)

    def _used(self, answer: RunningAnswer) -> Usage | None:
        """Return the tokens of this turn, estimated where they were not counted; None where it took none."""
        ended_here = answer.message().status in {MessageStatus.STOPPED, MessageStatus.INTERRUPTED}
        written = answer.text[answer.stored_length :]
        # A model that is stopped has read what it was asked, though it wrote nothing; one that refuses has not.
        if not (answer.usage or written or (answer.was_asked and ended_here)):
            return None
        prompt = answer.prompt
        sent = prompt.messages[answer.message().omitted_messages or 0 :]
        return self._windows[prompt.model.id].filled(answer.usage, sent, prompt.parameters, written)

    async def _keep(self, answer: RunningAnswer) -> None:
        """Store what was written every now and then, beside the writing, which never waits for it."""
        length, kept_at = answer.stored_length, time.monotonic()
        while True:
            await asyncio.sleep(self._checkpoint_seconds)
            answer.turn.remind()
            if len(answer.text) == length and time.monotonic() - kept_at < SIGN_OF_LIFE_SECONDS:
                continue
            length, kept_at = len(answer.text), time.monotonic()
            try:
                await self._store.append(answer.turn.user, answer.turn.conversation.id, answer.next_revision())
            except ChatError as error:
                log.warning("checkpoint_failed", error=type(error).__name__, detail=error.detail)

    def _images_of(self, turn: Turn) -> Callable[[Message], Awaitable[Message]]:
        """Return what loads the pictures of a message of the conversation; those that are gone are left out."""

        async def loaded(message: Message) -> Message:
            images: list[Image] = []
            for image in message.images:
                if image.data:
                    images.append(image)
                    continue
                with suppress(ConversationNotFound):
                    images.append(await self._store.image(turn.user, turn.conversation.id, image.id))
            return dataclasses.replace(message, images=tuple(images))

        return loaded


def _nothing_written(model: str, finish: Finish | None) -> Sentence:
    if finish is not None and finish.reason is FinishReason.LENGTH:
        return Sentence("{model} used up Max tokens before it wrote anything. Raise it and send again.", model=model)
    return Sentence("{model} ended without writing anything. Send again, or choose another model.", model=model)


def _sum(before: Usage | None, now: Usage) -> Usage:
    """Return the usage of an answer that went on: the prompt of the last request, the tokens of all."""
    if before is None or before.completion_tokens is None or now.completion_tokens is None:
        return now
    return dataclasses.replace(now, completion_tokens=before.completion_tokens + now.completion_tokens)


def _total(answer: Message, before: float | None, now: float | None) -> float | None:
    """Return a sum over all parts of an answer that may have gone on; None if one of them is not known."""
    if not answer.content:
        return now
    return None if before is None or now is None else round(before + now, 9)


def _log_end(answer: RunningAnswer, seconds: float) -> None:
    message = answer.message()
    log.info(
        "turn_finished",
        model=message.model,
        status=message.status.value,
        seconds=round(seconds, 3),
        seconds_to_first_token=message.seconds_to_first_token,
        prompt_tokens=message.usage.prompt_tokens if message.usage else None,
        completion_tokens=message.usage.completion_tokens if message.usage else None,
    )
