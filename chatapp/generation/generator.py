"""The generation of answers: from a model's stream into the turn, and from there into the store."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import TAKEOVER, FinishReason, Message, MessageStatus, Usage
from chatapp.domain.errors import ChatError, ConversationNotFound, InvalidMessage, LimitReached, ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.generation.bounds import MAX_PICTURE_BYTES, MAX_PICTURES, check_length, max_seconds, too_slow
from chatapp.generation.documents import says_not_in_documents
from chatapp.generation.final_save import FinalSaves
from chatapp.generation.tracing import Tracing
from chatapp.images.decoder import file_of
from chatapp.models import Finish, Omitted, PictureDelta, TextDelta, TextWasThinking, ThinkingDelta, Waiting
from chatapp.models.failure import raise_max_tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatapp.domain.conversation import Image
    from chatapp.generation.documents import ConversationDocuments
    from chatapp.generation.queue import TurnQueue
    from chatapp.generation.turn import Prompt, RunningAnswer, Turn
    from chatapp.images.decoder import ImageDecoder
    from chatapp.limits import Limits
    from chatapp.models import ModelEvent
    from chatapp.models.catalog import Catalog
    from chatapp.store import ConversationStore

# A running answer is stored at least this often, with new text or not: a store takes an older one for abandoned.
HEARTBEAT_SECONDS = 20.0
# How often the writer looks whether another replica stopped or took over the answer (two documents each time), and how
# long that may hold up a checkpoint.
LOOK_EVERY_SECONDS, LOOK_SECONDS = 4.0, 1.0

log = structlog.get_logger(__name__)


class AnswerGenerator:
    """Generates the answers of turns.

    Args:
        queue: admits answers as far as the limits on running turns allow.
        checkpoint_seconds: how often a growing answer is stored.
        limits: counts the tokens of every answer.
        on_end: called with every answer that ended, and the seconds that it took.
        tracing: records turns; None: nothing is recorded.
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
        images: ImageDecoder,
        documents: ConversationDocuments,
        tracing: Tracing | None = None,
    ) -> None:
        self.final_saves = FinalSaves(store)
        self._store = store
        self._catalog = catalog
        self._queue = queue
        self._checkpoint_seconds = checkpoint_seconds
        self._limits = limits
        self._on_end = on_end
        self._images = images
        self._documents = documents
        self._tracing = tracing or Tracing()

    async def run(self, turn: Turn) -> None:
        """Generate all answers of a turn; return when the last of them is stored."""
        with self._tracing.turn(turn):
            if len(turn.answers) == 1:  # without a task, which would begin a turn of the loop later
                await self._traced(turn.answers[0])
                return
            async with asyncio.TaskGroup() as answers:
                for answer in turn.answers:
                    answers.create_task(self._traced(answer))

    async def _traced(self, answer: RunningAnswer) -> None:
        with self._tracing.answer(answer):
            await self._answer(answer)

    async def _answer(self, answer: RunningAnswer) -> None:
        """Generate an answer, then store its end: cancelling the generation, however early, never skips that."""
        before, started = answer.message(), time.monotonic()
        try:
            if answer.turn.cancelled_as is None:
                async with asyncio.TaskGroup() as tasks:
                    answer.generation = tasks.create_task(self._generate(answer))
                    checkpoints = tasks.create_task(self._store_checkpoints(answer))
                    answer.generation.add_done_callback(lambda _: checkpoints.cancel())
        finally:
            await self._end(answer, before, time.monotonic() - started)

    async def _generate(self, answer: RunningAnswer) -> None:
        model = answer.prompt.model.id
        try:
            with self._tracing.request(answer):
                await self._stream(answer)
        except ChatError as error:
            self._catalog.expire(model)
            log.warning("answer_failed", model=model, error=type(error).__name__, detail=error.detail)
            answer.set(status=MessageStatus.ERROR, error=error.sentence)
        except Exception:
            log.exception("answer_failed", model=model)
            answer.set(
                status=MessageStatus.ERROR,
                error=Sentence("An internal error interrupted this answer. Send the message again."),
            )

    async def _stream(self, answer: RunningAnswer) -> None:
        before = answer.message()
        prompt = answer.prompt
        max_tokens = prompt.parameters.max_tokens
        finish: Finish | None = None
        events = self._documents.stream(answer)
        async with self._queue.turn(answer.turn.user, answer.move), aclosing(events):
            answer.sent_at = time.monotonic()
            try:
                async with asyncio.timeout(max_seconds(max_tokens)) as limit:
                    async for event in events:
                        match event:
                            case TextDelta(text):
                                _note_first(answer)
                                answer.append(text)
                            case Finish():
                                finish = event
                            case Waiting(reason):
                                limit.reschedule(asyncio.get_running_loop().time() + max_seconds(max_tokens))
                                answer.wait(reason)
                            case Usage():
                                answer.usage = event
                                answer.set(usage=_sum(before.usage, event))
                            case _:
                                await self._add(answer, event)
                        check_length(prompt.model.label, max_tokens, answer.new_text, answer.new_thinking)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise too_slow(prompt.model.label, max_tokens) from None
            finally:
                if answer.sent_at is not None:
                    answer.set(seconds=_total(before, before.seconds, round(time.monotonic() - answer.sent_at, 3)))
                answer.end_thinking()
        if not (answer.new_text or answer.message_so_far.images or answer.message_so_far.unshown_pictures):
            raise ModelUnavailable(_no_text(prompt, finish, has_thought=answer.new_thinking > 0))
        answer.set(status=MessageStatus.COMPLETE, finish_reason=finish.reason if finish else None)

    async def _add(self, answer: RunningAnswer, event: ModelEvent) -> None:
        match event:
            case ThinkingDelta(text):
                _note_first(answer)
                answer.append_thinking(text)
            case TextWasThinking():
                answer.move_text_to_thinking()
            case PictureDelta(data):
                await self._add_picture(answer, data)
            case Omitted(number):
                answer.set(omitted_messages=number)

    async def _add_picture(self, answer: RunningAnswer, data: str) -> None:
        """Add a picture that the model drew, re-encoded like an uploaded one; one that cannot be is counted."""
        images = answer.message_so_far.images
        image: Image | None = None
        if data and len(images) < MAX_PICTURES:
            try:
                image = await self._images.decoded(answer.turn.user, file_of(data))
            except (InvalidMessage, LimitReached) as error:
                log.info("picture_not_shown", model=answer.prompt.model.id, detail=error.detail)
        if image is None or answer.picture_bytes + len(image.data) > MAX_PICTURE_BYTES:
            answer.set(unshown_pictures=answer.message_so_far.unshown_pictures + 1)
        else:
            answer.picture_bytes += len(image.data)
            answer.set(images=(*images, image))
            # Stored at once: the page fetches it from the store.
            if await self._store_so_far(answer):
                answer.set(images=(*images, dataclasses.replace(image, data=b"")))
        answer.turn.announce_soon()

    async def _store_checkpoints(self, answer: RunningAnswer) -> None:
        """Store the text so far every ``checkpoint_seconds``, in parallel with the generation, which never waits."""
        length, stored_at = answer.stored_size, time.monotonic()
        looked_at = float("-inf") if answer.is_contested else stored_at
        while True:
            await asyncio.sleep(self._checkpoint_seconds)
            answer.turn.keep_alive()
            if time.monotonic() - looked_at >= LOOK_EVERY_SECONDS:
                looked_at = time.monotonic()
                if await self._is_taken_over(answer):
                    return
            if answer.size == length and time.monotonic() - stored_at < HEARTBEAT_SECONDS:
                continue
            length, stored_at = answer.size, time.monotonic()
            await self._store_so_far(answer)

    async def _store_so_far(self, answer: RunningAnswer) -> bool:
        """Store an answer as it is; return whether that worked, since a fault of it must not end the answer."""
        try:
            await self._store.append(answer.turn.user, answer.turn.conversation.id, answer.next_revision())
        except ChatError as error:
            log.warning("checkpoint_failed", error=type(error).__name__, detail=error.detail)
        except Exception:
            log.exception("checkpoint_failed")
        else:
            return True
        return False

    async def _is_taken_over(self, answer: RunningAnswer) -> bool:
        """Return whether another replica stopped or took over the answer, or deleted its conversation."""
        key = answer.turn.user, answer.turn.conversation.id
        if not self._store.is_shared(key[1]):
            return False
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                stored = await self._store.message(*key, answer.id)
        except ConversationNotFound:
            if answer.generation is not None:
                answer.generation.cancel()
            return True
        except (ChatError, TimeoutError):
            return False  # the next checkpoint looks again
        if stored.revision > answer.revision:
            answer.take_over(stored)
            return True
        return False

    async def _end(self, answer: RunningAnswer, before: Message, seconds: float) -> None:
        answer.is_written = True
        if answer.is_contested and not answer.is_lost:
            await self._is_taken_over(answer)
        if answer.message().status is MessageStatus.STREAMING and not answer.is_lost:
            answer.set(status=answer.turn.cancelled_as or MessageStatus.INTERRUPTED)
        price = answer.prompt.model.price
        if used := self._used(answer):
            self._limits.count(used, price, answer.turn.user)
        if price and answer.usage:
            answer.set(cost=_total(before, before.cost, price.of(answer.usage)))
        _log_end(answer, seconds)
        if answer.turn.cancelled_as is not MessageStatus.INTERRUPTED:  # a chat that ends has no time for that
            cited = await self._documents.citations(answer)
            answer.set(citations=cited, not_in_documents=not cited and says_not_in_documents(answer))
        try:
            key = answer.turn.user, answer.turn.conversation.id
            # Above what a Stop of another replica stored while the last text was being written.
            step = 2 * TAKEOVER if self._store.is_shared(key[1]) else 1
            if not answer.is_lost and not await self.final_saves.save(key, answer.next_revision(step)):
                answer.set(
                    status=MessageStatus.ERROR,
                    error=Sentence(
                        "This answer is not saved yet because the history is unavailable. The chat "
                        "keeps trying while it runs; copy what you need."
                    ),
                )
        finally:
            answer.end()
            # With the tokens of this turn alone, and an error if it is not saved.
            self._on_end(dataclasses.replace(answer.message(), usage=answer.usage), seconds)

    def _used(self, answer: RunningAnswer) -> Usage | None:
        """Return the tokens of this turn, estimated where they were not counted; None where it took none."""
        ended_early = answer.message().status in {MessageStatus.STOPPED, MessageStatus.INTERRUPTED}
        written = answer.new_words
        # A model that is stopped has read its prompt, though it wrote nothing; one that refuses has not.
        if not (answer.usage or written or (answer.sent_at is not None and ended_early)):
            return None
        prompt = answer.prompt
        sent = answer.sent[answer.message().omitted_messages or 0 :]
        return prompt.model.estimated_usage(answer.usage, sent, prompt.parameters, written)


def _note_first(answer: RunningAnswer) -> None:
    """Note the time of the first text or thinking."""
    if answer.message_so_far.seconds_to_first_token is None and answer.sent_at is not None:
        answer.set(seconds_to_first_token=round(time.monotonic() - answer.sent_at, 3))


def _no_text(prompt: Prompt, finish: Finish | None, *, has_thought: bool) -> Sentence:
    model, now, most = prompt.model.label, prompt.parameters.max_tokens, prompt.model.max_answer_tokens
    if finish is not None and finish.reason is FinishReason.LENGTH:
        if (prompt.model.sent_max_tokens or now) < now:
            return Sentence(
                "The conversation leaves {model} too little room for an answer. Start a new chat, or choose another "
                "model.",
                model=model,
            )
        used_up = (
            Sentence("{model} used all of Max tokens ({now}) for thinking.", model=model, now=now)
            if has_thought
            else Sentence("{model} used up Max tokens ({now}) before it wrote any text.", model=model, now=now)
        )
        return Sentence("{one} {next}", one=used_up, next=raise_max_tokens(now, most))
    return Sentence("{model} returned an empty answer. Send again, or choose another model.", model=model)


def _sum(before: Usage | None, now: Usage) -> Usage:
    """Return the usage of an answer that was continued: the prompt of the last request, the tokens of all."""
    if before is None or before.completion_tokens is None or now.completion_tokens is None:
        return now
    return dataclasses.replace(now, completion_tokens=before.completion_tokens + now.completion_tokens)


def _total(answer: Message, before: float | None, now: float | None) -> float | None:
    """Return a sum over all parts of an answer that may have been continued; None if one of them is unknown."""
    if not (answer.content or answer.thinking):
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
