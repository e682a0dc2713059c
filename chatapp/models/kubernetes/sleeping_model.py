"""A model that may be asleep: a question wakes it, and waits."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from chatapp.domain.errors import ModelError, ModelUnavailable
from chatapp.domain.sentences import Duration, Sentence
from chatapp.models import ModelState, ModelStatus, Waiting
from chatapp.models.kubernetes.sleep_record import SleepState
from chatapp.models.wrapper import ModelWrapper

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message
    from chatapp.models import ChatModel, ModelEvent
    from chatapp.models.kubernetes.sleeper import Sleeper

POLL_SECONDS: Final = 2.0
MOST_SECONDS: Final = 1800.0
"""For which a question waits: GPUs can be out of stock for hours."""
FAILING_SECONDS: Final = 60.0
"""For which a question waits while the model cannot start: its container may start again meanwhile."""


class SleepingModel(ModelWrapper):
    """A model that sleeps while it is not used.

    Args:
        wrapped: the model, whose status says whether it is asleep.
        sleeper: wakes it.
        poll_seconds: between two looks while questions wait, however many.
        failing_seconds: see `FAILING_SECONDS`.
        most_seconds: see `MOST_SECONDS`.
    """

    def __init__(
        self,
        wrapped: ChatModel,
        sleeper: Sleeper,
        *,
        poll_seconds: float = POLL_SECONDS,
        failing_seconds: float = FAILING_SECONDS,
        most_seconds: float = MOST_SECONDS,
    ) -> None:
        super().__init__(wrapped)
        self._sleeper = sleeper
        self._poll_seconds = poll_seconds
        self._failing_seconds = failing_seconds
        self._most_seconds = most_seconds
        self._task: asyncio.Task[None] | None = None
        self._look: asyncio.Task[ModelStatus] | None = None
        self._looked_at = float("-inf")

    def watch(self) -> None:
        """Begin to let it sleep and to wake it, until it is closed."""
        self._task = asyncio.create_task(self._sleeper.run(self._is_ready))

    async def aclose(self) -> None:
        """End that, and close the model."""
        tasks = [task for task in (self._task, self._look) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sleeper.aclose()
        await self.wrapped.aclose()

    def wake(self) -> None:
        """Have it woken: a question for it is answered by another model."""
        self._sleeper.wake()

    async def status(self) -> ModelStatus:
        """Return its status; while it wakes, with the time that this usually takes."""
        return self._described(await self.wrapped.status())

    async def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer like the wrapped model; while that sleeps and wakes, yield `Waiting`.

        Raises:
            ModelUnavailable: it did not wake, with the reason.
            ModelError: as the wrapped model.
        """
        async with self._sleeper.in_use():
            if self._sleeper.is_awake:
                has_begun, since_ms = False, self._sleeper.record.since_ms
                try:
                    async with aclosing(self.wrapped.stream(messages, parameters)) as events:
                        async for event in events:
                            has_begun = True
                            yield event
                except ModelError:
                    # Another replica, or a person, may have scaled it down in this moment.
                    if has_begun or not await self._slept(since_ms):
                        raise
                else:
                    return
            async with aclosing(self._until_ready()) as waits:
                async for wait in waits:
                    yield wait
            async with aclosing(self.wrapped.stream(messages, parameters)) as events:
                async for event in events:
                    yield event

    async def _slept(self, since_ms: int) -> bool:
        """Return whether it is asleep or wakes, or did so after this time, after a look at the record."""
        await self._sleeper.step(self._is_ready)
        if self._sleeper.is_awake and self._sleeper.record.since_ms == since_ms:
            return False
        await self._sleeper.note_use()
        return True

    async def _until_ready(self) -> AsyncGenerator[Waiting]:
        clock = asyncio.get_running_loop().time
        began, failing_since = clock(), None
        while True:
            await self._sleeper.note_use()
            status = await self._shared_look()
            if status.state is ModelState.READY and (self._sleeper.is_awake or self._sleeper.problem):
                break
            failing = status.state in {ModelState.UNAVAILABLE, ModelState.NOT_SET_UP}
            failing_since = (failing_since or clock()) if failing else None
            if failing_since is not None and clock() - failing_since >= self._failing_seconds:
                raise self._did_not_wake(status)
            if clock() - began >= self._most_seconds:
                raise self._did_not_wake(status)
            reason = status.reason or Sentence("it is almost ready")
            yield Waiting(Sentence("{model}: {reason}.", model=self.label, reason=reason))
            await asyncio.sleep(self._poll_seconds)
        yield Waiting()

    async def _shared_look(self) -> ModelStatus:
        """Return the status, after a step where one may be due. Questions that wait share this."""
        now = asyncio.get_running_loop().time()
        if self._look is None or (self._look.done() and now - self._looked_at >= self._poll_seconds):
            self._looked_at = now
            self._look = asyncio.create_task(self._step_and_status())
        return await asyncio.shield(self._look)  # which goes on for the others when one question is gone

    async def _step_and_status(self) -> ModelStatus:
        status = await self.wrapped.status()
        if status.state in {ModelState.LOADING, ModelState.WAITING}:
            # Its pod starts, and nothing is to be done: a step would only read the record and the scale.
            return self._described(status)
        await self._sleeper.step(self._is_ready)
        return await self.status()

    def _did_not_wake(self, status: ModelStatus) -> ModelUnavailable:
        fix = status.fix.begun() if isinstance(status.fix, Sentence) else status.fix
        return ModelUnavailable(
            Sentence("{model} did not wake up: {reason}. {fix}.", model=self.label, reason=status.reason, fix=fix)
        )

    async def _is_ready(self) -> bool:
        return (await self.wrapped.status()).state is ModelState.READY

    def _described(self, status: ModelStatus) -> ModelStatus:
        record = self._sleeper.record
        usual = Duration(record.usual_seconds)
        if status.state is ModelState.READY:
            return status
        if self._sleeper.problem and status.state is ModelState.ASLEEP:
            return ModelStatus(ModelState.UNAVAILABLE, *self._sleeper.problem)
        if status.state is ModelState.ASLEEP and record.state is not SleepState.WAKING:
            reason = Sentence("it is asleep to save cost, and usually wakes within {time}", time=usual)
            return dataclasses.replace(status, reason=reason)
        if record.state is SleepState.WAKING and status.state in {
            ModelState.ASLEEP,
            ModelState.LOADING,
            ModelState.WAITING,
        }:
            reason = (
                Sentence("it is waking up, which usually takes {time}", time=usual)
                if status.state is ModelState.ASLEEP
                else Sentence("it is waking up, which usually takes {time}: {reason}", time=usual, reason=status.reason)
            )
            state = ModelState.LOADING if status.state is ModelState.ASLEEP else status.state
            fix = status.fix if status.state is not ModelState.ASLEEP else _WAIT
            return ModelStatus(state, reason, fix, record.since_ms or None)
        return status


_WAIT: Final = Sentence("wait a few minutes, or choose another model")
