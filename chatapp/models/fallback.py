"""Fallback: another model answers while the chosen one is not ready."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Self

from chatapp.domain.conversation import Place
from chatapp.models import ModelState
from chatapp.models.wrapper import ModelWrapper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog

CHECK_SECONDS = 2.0  # that a question waits to know whether its model has become ready


async def _may_go_anywhere() -> bool:
    return False


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
    async def select(
        cls,
        catalog: Catalog,
        model: ChatModel,
        *,
        needs_images: bool = False,
        stays_at_place: Callable[[], Awaitable[bool]] = _may_go_anywhere,
    ) -> Self:
        """Return the model of the catalogue that answers now: ``model`` if it is ready, or if no other one is.

        Waits `CHECK_SECONDS` at most.

        Args:
            catalog: all models.
            model: the chosen one.
            needs_images: another model must support images.
            stays_at_place: returns whether another model must run where the chosen one does, since the conversation
                has documents; called where the chosen one is not ready.
        """
        state = catalog.statuses()[model.id].state
        if state not in {ModelState.READY, ModelState.NOT_SET_UP}:
            await asyncio.wait([asyncio.create_task(catalog.check(model.id))], timeout=CHECK_SECONDS)
        statuses = catalog.statuses()
        if statuses[model.id].state is not ModelState.READY:
            stays = await stays_at_place()
            for other in catalog:
                is_ready = statuses[other.id].state is ModelState.READY
                is_able = (other.supports_images or not needs_images) and (_is_at_same_place(model, other) or not stays)
                if is_ready and is_able:
                    model.wake()
                    return cls(other, instead_of=model.id)
        return cls(model)


def _is_at_same_place(model: ChatModel, other: ChatModel) -> bool:
    """Return whether two models surely run at the same place: two other servers may have different owners."""
    return model.place == other.place and model.place not in {Place.UNKNOWN, Place.OTHER_SERVER}
