"""Which model answers: the chosen one, or another while that is not ready and the person agrees."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.errors import ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState

if TYPE_CHECKING:
    from chatapp.domain.conversation import GenerationParameters
    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog

LOOK_SECONDS = 2.0  # that a question waits to know whether its model is ready after all


@dataclass(frozen=True, slots=True)
class Choice:
    """Who is to answer, and how.

    Attributes:
        instead_of: id of the chosen model, where another one answers because that is not ready.
    """

    model: ChatModel
    parameters: GenerationParameters
    instead_of: str = ""


async def choose(
    catalog: Catalog, model_id: str, parameters: GenerationParameters, *, or_other: bool = False, sees: bool = False
) -> Choice:
    """Return the chosen model or, with ``or_other``, the first that is ready if the chosen one is not.

    Args:
        catalog: what there is to choose from.
        model_id: the chosen one.
        parameters: how it is to answer.
        or_other: another one may answer.
        sees: that one must see pictures.

    Raises:
        UnknownModel: there is no such model.
        ModelUnavailable: it is not set up, and no other one is to answer.
    """
    model = catalog.get(model_id)
    state = catalog.statuses()[model.id].state
    if or_other and state is not ModelState.READY:
        if state is not ModelState.NOT_SET_UP:
            await asyncio.wait([asyncio.ensure_future(catalog.check(model.id))], timeout=LOOK_SECONDS)
        statuses = catalog.statuses()
        if statuses[model.id].state is not ModelState.READY:
            for other in catalog:
                if statuses[other.id].state is ModelState.READY and (other.sees_images or not sees):
                    return Choice(other, parameters, instead_of=model.id)
    if state is ModelState.NOT_SET_UP:
        fix = catalog.statuses()[model.id].fix
        raise ModelUnavailable(
            Sentence("{model} is not set up. To use it, {fix}. Nothing was sent.", model=model.label, fix=fix)
        )
    return Choice(model, parameters)
