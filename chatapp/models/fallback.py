"""Fallback: another model answers while the chosen one is not ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from chatapp.models import ModelState
from chatapp.models.wrapper import ModelWrapper

if TYPE_CHECKING:
    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog

CHECK_SECONDS = 2.0  # that a question waits to know whether its model has become ready


class FallbackModel(ModelWrapper):
    """The chosen model or, where that is not ready, the first of the catalogue that is.

    Which one it is, is decided before the answer is stored (see `select`): the person sees it from the beginning.

    Attributes:
        instead_of: id of the chosen model, where another one answers; "" where it answers itself.
    """

    def __init__(self, wrapped: ChatModel, *, instead_of: str = "") -> None:
        super().__init__(wrapped)
        self.instead_of = instead_of

    @classmethod
    async def select(cls, catalog: Catalog, model: ChatModel, *, needs_images: bool = False) -> Self:
        """Return the model of the catalogue that answers now: ``model`` if it is ready, or if no other one is.

        Waits `CHECK_SECONDS` at most. With ``needs_images``, another model must support images.
        """
        state = catalog.statuses()[model.id].state
        if state not in {ModelState.READY, ModelState.NOT_SET_UP}:
            await asyncio.wait([asyncio.create_task(catalog.check(model.id))], timeout=CHECK_SECONDS)
        statuses = catalog.statuses()
        if statuses[model.id].state is not ModelState.READY:
            for other in catalog:
                if statuses[other.id].state is ModelState.READY and (other.supports_images or not needs_images):
                    model.wake()
                    return cls(other, instead_of=model.id)
        return cls(model)
