"""Which model answers: the chosen one, or another while that is not ready and the person agrees."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.domain.errors import ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState
from chatapp.models.context_window import ContextEstimate, ContextWindow
from chatapp.models.fallback import FallbackModel
from chatapp.models.images import StoredImages
from chatapp.models.prompt import clean_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.domain.conversation import GenerationParameters, Message
    from chatapp.generation.requests import AnswerRequest
    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """The model that answers, and its parameters.

    Attributes:
        instead_of: id of the requested model, where another one answers because that is not ready.
    """

    model: ContextWindow
    parameters: GenerationParameters
    instead_of: str = ""


class ModelChooser:
    """Chooses the models of a turn, and wraps them."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._estimates: defaultdict[str, ContextEstimate] = defaultdict(ContextEstimate)  # by model id

    async def choose(
        self,
        request: AnswerRequest,
        load_images: Callable[[Message], Awaitable[Message]],
        *,
        has_documents: Callable[[], Awaitable[bool]],
        needs_images: bool = False,
    ) -> ModelChoice:
        """Return the requested model or, where it is not ready and the request allows it, another one.

        Args:
            request: for an answer.
            load_images: see `StoredImages`.
            has_documents: returns whether the conversation has documents: their text goes to another model only if it
                runs at the same place.
            needs_images: another model must support images.

        Raises:
            UnknownModel: there is no such model.
            ModelUnavailable: it is not set up, and no other model answers.
        """
        model: ChatModel = self._catalog.get(request.model)
        instead_of = ""
        if request.allow_fallback:
            model = fallback = await FallbackModel.select(
                self._catalog, model, needs_images=needs_images, stays_at_place=has_documents
            )
            instead_of = fallback.instead_of
        status = self._catalog.statuses()[model.id]
        if status.state is ModelState.NOT_SET_UP:
            raise ModelUnavailable(
                Sentence(
                    "{model} is not set up. To use it, {fix}. Nothing was sent.", model=model.label, fix=status.fix
                )
            )
        window = ContextWindow(StoredImages(model, load_images), self._estimates[model.id])
        system_prompt = clean_text(request.parameters.system_prompt)
        max_tokens = min(request.parameters.max_tokens, model.max_answer_tokens)
        parameters = dataclasses.replace(request.parameters, system_prompt=system_prompt, max_tokens=max_tokens)
        return ModelChoice(window, parameters, instead_of)
