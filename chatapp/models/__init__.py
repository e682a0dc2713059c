"""The one seam to any language model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from chatapp.conversation import FinishReason, GenerationParameters, Message, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


class ModelState(StrEnum):
    """Whether a model can answer."""

    READY = "ready"
    LOADING = "loading"
    UNAVAILABLE = "unavailable"
    NOT_SET_UP = "not set up"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Whether a model can answer, why not, and the one thing that would change it, each in words for a person."""

    state: ModelState
    reason: str = ""
    fix: str = ""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long to wait for a model server, in seconds."""

    connect: float = 5.0
    first_token: float = 120.0
    between_tokens: float = 60.0


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append to the answer; never empty, never with a lone surrogate or NUL."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The model ended its answer by itself."""

    reason: FinishReason


ModelEvent = TextDelta | Usage | Finish


class ChatModel(Protocol):
    """A language model that answers a conversation.

    Attributes:
        id: short, stable, unique in the catalogue; stored with every answer.
        label: what a person calls it.
    """

    id: str
    label: str

    @property
    def context_tokens(self) -> int | None:
        """The tokens that prompt and answer may have together; None while unknown."""

    def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message, which is the user's.

        Yields any number of `TextDelta`, at most one `Usage` and one `Finish`, as they arrive. Closing the generator
        (or cancelling the task that reads it) closes the request, so that the server stops generating.

        Raises:
            ModelError: the answer could not be given, or ended early; one of its kinds where it is known.
        """

    async def status(self) -> ModelStatus:
        """Say whether the model can answer now. Never raises; takes a few seconds at most; costs no money."""

    async def start(self) -> None:
        """Get ready for a first question that is likely to come soon; a model that needs nothing does nothing."""

    async def aclose(self) -> None:
        """Release connections and processes."""
