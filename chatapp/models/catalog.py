"""The catalogue of models, and their status."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from chatapp.domain.errors import ModelUnavailable, UnknownModel
from chatapp.domain.sentences import Sentence
from chatapp.models import ModelDefaults, ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message
    from chatapp.models import ChatModel, ModelEvent, Price

READY_SECONDS = 30.0  # for which a status is fresh
NOT_READY_SECONDS = 5.0  # the same, of a model that is not ready
READ_SECONDS = 30.0  # after a read, for which a status that changes is checked at once
STATUS_TIMEOUT_SECONDS = 8.0

_UNCHECKED = ModelStatus(ModelState.LOADING, Sentence("its status is being checked"))


class Catalog:
    """The models of this chat, in the order in which they are offered.

    A status is checked again when it is read and no longer fresh: no model is polled while no page is open
    (but Gemma on own GPUs, where metrics say how long it has not been ready).
    """

    def __init__(self, models: Sequence[ChatModel], *, default: str = "") -> None:
        self._models = {model.id: model for model in models}
        self._default = ""
        self.prefer(default)
        self._statuses = dict.fromkeys(self._models, _UNCHECKED)
        self._checked_at = dict.fromkeys(self._models, float("-inf"))
        self._read_at: dict[str, float] = {}
        self._checks: dict[str, asyncio.Task[None]] = {}

    def __iter__(self) -> Iterator[ChatModel]:
        return iter(self._models.values())

    def prefer(self, model_id: str, *, if_there: bool = False) -> None:
        """Preselect a model; "" changes nothing.

        Args:
            model_id: of the model.
            if_there: a model that is added later may be meant: until then, the first choice is as without one.

        Raises:
            UnknownModel: there is none.
        """
        if model_id and model_id not in self._models and not if_there:
            raise UnknownModel(f"There is no model {model_id!r}; there are {', '.join(self._models)}.")
        self._default = model_id or self._default

    def add(self, model: ChatModel, *, before: str = "") -> None:
        """Offer one more model: before another one of the list or at its end; in place of the one with the same id."""
        models = list(self)
        if model.id in self._models:
            models[list(self._models).index(model.id)] = model
        else:
            models.insert(next((index for index, one in enumerate(models) if one.id == before), len(models)), model)
        self._models = {one.id: one for one in models}
        self._statuses = {one.id: self._statuses.get(one.id, _UNCHECKED) for one in models} | {model.id: _UNCHECKED}
        self._checked_at[model.id] = float("-inf")

    async def remove(self, model_id: str) -> None:
        """Offer a model no longer, and close it."""
        model = self._models.pop(model_id, None)
        self._statuses.pop(model_id, None)
        self._checked_at.pop(model_id, None)
        if check := self._checks.pop(model_id, None):
            check.cancel()
            await asyncio.gather(check, return_exceptions=True)
        if model is not None:
            await model.aclose()

    def get(self, model_id: str) -> ChatModel:
        """Return the model with this id.

        Raises:
            UnknownModel: there is none.
        """
        try:
            return self._models[model_id]
        except (KeyError, TypeError) as error:
            raise UnknownModel(
                Sentence("This model is not in the list. Choose another model and send again.")
            ) from error

    def label(self, model_id: str) -> str:
        """Return the name of a model on the page; of one that is no longer in the catalogue, its id."""
        return self._models[model_id].label if model_id in self._models else model_id

    def price(self, model_id: str) -> Price | None:
        """Return the price of a model's tokens; None where it is unknown, or the model is no longer in the list."""
        model = self._models.get(model_id)
        return model.price if model else None

    def statuses(self) -> dict[str, ModelStatus]:
        """Return the last status of each model at once; statuses that are not fresh are checked in the background."""
        return {model_id: self.status(model_id) for model_id in self._statuses}

    def status(self, model_id: str) -> ModelStatus:
        """Return the last status of one model at once; one that is not fresh is checked in the background."""
        status = self._statuses[model_id]
        self._read_at[model_id] = time.monotonic()
        fresh = READY_SECONDS if status.state is ModelState.READY else NOT_READY_SECONDS
        if time.monotonic() - self._checked_at[model_id] > fresh:
            self._check(model_id)
        return status

    async def check(self, *model_ids: str) -> dict[str, ModelStatus]:
        """Check these models now (all, if none is named) and return the status of all.

        Bounded by `STATUS_TIMEOUT_SECONDS`.
        """
        await asyncio.gather(*(self._check(model_id) for model_id in model_ids or self._models))
        return dict(self._statuses)

    def expire(self, model_id: str) -> None:
        """Have the status checked at the next read, after an answer failed."""
        self._checked_at[model_id] = float("-inf")

    def changed(self, model_id: str) -> None:
        """Have a status that has changed checked at once if it is being read, else at the next read."""
        self.expire(model_id)
        if time.monotonic() - self._read_at.get(model_id, float("-inf")) > READ_SECONDS:
            return

        def check_again(ended: asyncio.Task[None]) -> None:
            if not ended.cancelled() and model_id in self._models:
                self._check(model_id)

        if running := self._checks.get(model_id):  # it may have asked before the change
            running.add_done_callback(check_again)
        else:
            self._check(model_id)

    def first_choice(self) -> ChatModel:
        """Return the configured default, else the first that is ready, else the first that is set up."""
        if self._default in self._models:
            return self._models[self._default]
        for states in ({ModelState.READY}, set(ModelState) - {ModelState.NOT_SET_UP}, set(ModelState)):
            for model_id, status in self._statuses.items():
                if status.state in states:
                    return self._models[model_id]
        raise UnknownModel("There is no model at all: see the settings in the README.")

    async def aclose(self) -> None:
        """Close every model."""
        for check in self._checks.values():
            check.cancel()
        await asyncio.gather(*self._checks.values(), return_exceptions=True)
        await asyncio.gather(*(model.aclose() for model in self))

    def _check(self, model_id: str) -> asyncio.Task[None]:
        if model_id not in self._checks:
            task = asyncio.create_task(self._run_check(model_id))
            task.add_done_callback(lambda _: self._checks.pop(model_id, None))
            self._checks[model_id] = task
        return self._checks[model_id]

    async def _run_check(self, model_id: str) -> None:
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_SECONDS):
                status = await self._models[model_id].status()
        except TimeoutError:
            status = ModelStatus(
                ModelState.UNAVAILABLE, Sentence("it does not answer in time"), Sentence("try again in a moment")
            )
        if model_id not in self._models:  # it was removed meanwhile
            return
        self._statuses[model_id] = status
        self._checked_at[model_id] = time.monotonic()


class UnconfiguredModel(ModelDefaults):
    """A model of the catalogue that is not set up: its status says which setting is missing."""

    context_tokens: int | None = None

    def __init__(self, id: str, label: str, *, fix: Sentence) -> None:  # noqa: A002  # the protocol's name
        self.id = id
        self.label = label
        self._fix = fix

    async def stream(
        self,
        messages: Sequence[Message],  # noqa: ARG002  # the protocol's parameters
        parameters: GenerationParameters,  # noqa: ARG002
    ) -> AsyncGenerator[ModelEvent]:
        """Raise `ModelUnavailable` with the setting."""
        raise ModelUnavailable(Sentence("{model} is not set up. To use it, {fix}.", model=self.label, fix=self._fix))
        yield  # type: ignore[unreachable]  # makes this a generator, like every other model's stream

    async def status(self) -> ModelStatus:
        """Return the setting that is missing."""
        return ModelStatus(ModelState.NOT_SET_UP, Sentence("not set up"), self._fix)

    async def start(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""
