"""Which model answers: the chosen one, or another while that is not ready and the person agrees."""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.errors import ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from chatapp.domain.conversation import GenerationParameters
    from chatapp.generation.requests import AnswerRequest
    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog

CHECK_SECONDS = 2.0  # that a question waits to know whether its model has become ready


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that answers, and its parameters.

    Attributes:
        instead_of: id of the chosen model, where another one answers because that is not ready.
    """

    model: ChatModel
    parameters: GenerationParameters
    instead_of: str = ""


async def choose(catalog: Catalog, request: AnswerRequest, *, needs_images: bool = False) -> ModelChoice:
    """Return the requested model or, where the request allows it, the first that is ready if that one is not.

    With ``needs_images``, another model must support images.

    Raises:
        UnknownModel: there is no such model.
        ModelUnavailable: it is not set up, and no other model may answer.
    """
    model = catalog.get(request.model)
    parameters = dataclasses.replace(request.parameters, system_prompt=clean_text(request.parameters.system_prompt))
    state = catalog.statuses()[model.id].state
    if request.allow_fallback and state is not ModelState.READY:
        if state is not ModelState.NOT_SET_UP:
            await asyncio.wait([asyncio.ensure_future(catalog.check(model.id))], timeout=CHECK_SECONDS)
        statuses = catalog.statuses()
        if statuses[model.id].state is not ModelState.READY:
            for other in catalog:
                if statuses[other.id].state is ModelState.READY and (other.sees_images or not needs_images):
                    return ModelChoice(other, parameters, instead_of=model.id)
    if state is ModelState.NOT_SET_UP:
        fix = catalog.statuses()[model.id].fix
        raise ModelUnavailable(
            Sentence("{model} is not set up. To use it, {fix}. Nothing was sent.", model=model.label, fix=fix)
        )
    return ModelChoice(model, parameters)
