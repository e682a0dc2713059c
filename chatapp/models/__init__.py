"""The one seam to any language model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from chatapp.domain.conversation import FinishReason, GenerationParameters, Message, Place, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from chatapp.domain.sentences import Sentence


class ModelState(StrEnum):
    """Whether a model can answer."""

    READY = "ready"
    LOADING = "loading"
    WAITING = "waiting"  # for GPUs
    UNAVAILABLE = "unavailable"
    NOT_SET_UP = "not set up"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Whether a model can answer, why not, and the one thing that would change it, each in words for a person.

    Attributes:
        since_ms: when it came into this state, milliseconds since the epoch; None where nobody knows.
    """

    state: ModelState
    reason: str = ""
    fix: str = ""
    since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars for a million tokens."""

    input: float
    output: float

    def of(self, usage: Usage) -> float | None:
        """Return what an answer has cost in US dollars; None where the server did not count."""
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1_000_000


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


@dataclass(frozen=True, slots=True)
class Omitted:
    """How many of the oldest messages were not sent."""

    messages: int


ModelEvent = TextDelta | Usage | Finish | Omitted


class ModelDefaults:
    """What a `ChatModel` is taken for while it says nothing else."""

    place: Place = Place.UNKNOWN
    sees_images: bool = False
    tokens_per_image: int = 1024
    writes_titles: bool = True
    unsupported: Mapping[str, Sentence] = MappingProxyType({})
    price: Price | None = None


class ChatModel(Protocol):
    """A language model that answers a conversation.

    Attributes:
        id: short, stable, unique in the catalogue; stored with every answer.
        label: what a person calls it.
    """

    id: str
    label: str

    @property
    def place(self) -> Place:
        """Where it runs, which is where the words go."""

    @property
    def sees_images(self) -> bool:
        """Whether pictures can be sent; it may only be known once the server has told what it runs."""

    @property
    def tokens_per_image(self) -> int:
        """About how many tokens a picture is; what the server counts corrects it."""

    @property
    def writes_titles(self) -> bool:
        """Whether it is good enough to be asked for a conversation's title."""

    @property
    def unsupported(self) -> Mapping[str, Sentence]:
        """The fields of `GenerationParameters` that it does not heed, and why."""

    @property
    def price(self) -> Price | None:
        """What its tokens cost; None where they cost nothing that is counted by the token, or nobody knows."""

    @property
    def context_tokens(self) -> int | None:
        """The tokens that prompt and answer may have together; None while unknown."""

    def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message, which is the user's; images are sent where they have their data.

        Yields any number of `TextDelta` and at most one of each other `ModelEvent`, as they arrive. Closing the
        generator (or cancelling the task that reads it) closes the request, so that the server stops generating.

        Raises:
            ModelError: the answer could not be given, or ended early; one of its kinds where it is known.
        """

    async def status(self) -> ModelStatus:
        """Say whether the model can answer now. Never raises; takes a few seconds at most; costs no money."""

    async def start(self) -> None:
        """Get ready for a first question that is likely to come soon; a model that needs nothing does nothing."""

    async def aclose(self) -> None:
        """Release connections and processes."""
