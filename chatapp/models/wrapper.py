"""The base of models that wrap another model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from chatapp.domain.conversation import GenerationParameters, Message, Place
    from chatapp.domain.sentences import Sentence
    from chatapp.models import ChatModel, ModelEvent, ModelStatus, Price


class ModelWrapper:
    """A `ChatModel` that is another one; subclasses override what they change.

    Attributes:
        wrapped: the other one.
    """

    def __init__(self, wrapped: ChatModel) -> None:
        self.wrapped = wrapped
        self.id = wrapped.id
        self.label = wrapped.label

    @property
    def place(self) -> Place:
        """As the wrapped model's, like all that follows."""
        return self.wrapped.place

    @property
    def supports_images(self) -> bool:  # noqa: D102  # documented in the protocol, like all that follows
        return self.wrapped.supports_images

    @property
    def tokens_per_image(self) -> int:  # noqa: D102
        return self.wrapped.tokens_per_image

    @property
    def writes_titles(self) -> bool:  # noqa: D102
        return self.wrapped.writes_titles

    @property
    def is_small(self) -> bool:  # noqa: D102
        return self.wrapped.is_small

    @property
    def unsupported(self) -> Mapping[str, Sentence]:  # noqa: D102
        return self.wrapped.unsupported

    @property
    def price(self) -> Price | None:  # noqa: D102
        return self.wrapped.price

    @property
    def context_tokens(self) -> int | None:  # noqa: D102
        return self.wrapped.context_tokens

    async def read_context(self) -> None:  # noqa: D102
        await self.wrapped.read_context()

    @property
    def max_answer_tokens(self) -> int:  # noqa: D102
        return self.wrapped.max_answer_tokens

    def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:  # noqa: D102
        return self.wrapped.stream(messages, parameters)

    async def status(self) -> ModelStatus:  # noqa: D102
        return await self.wrapped.status()

    async def start(self) -> None:  # noqa: D102
        await self.wrapped.start()

    def wake(self) -> None:  # noqa: D102
        self.wrapped.wake()

    async def aclose(self) -> None:  # noqa: D102
        await self.wrapped.aclose()
