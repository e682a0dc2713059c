"""The protocol of language models, and what their adapters share. Knows no store and no HTTP API of the chat."""

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
    ASLEEP = "asleep"  # scaled to zero until the next question
    UNAVAILABLE = "unavailable"
    NOT_SET_UP = "not set up"


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """Whether a model can answer, why not, and what would fix it, in words for a person.

    Attributes:
        since_ms: when it entered this state, milliseconds since the epoch; None where unknown.
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
        """Return the cost of an answer in US dollars; None where the server did not count its tokens."""
        if usage.prompt_tokens is None or usage.completion_tokens is None:
            return None
        return (usage.prompt_tokens * self.input + usage.completion_tokens * self.output) / 1_000_000


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """How long to wait for a model server, in seconds."""

    connect: float = 5.0
    first_token: float = 120.0
    between_tokens: float = 60.0


DEFAULT_TIME_LIMITS = TimeLimits()


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append to the answer; never empty, never with a lone surrogate or NUL."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """Thinking to append, as `TextDelta`: shown apart from the answer, and never sent back to a model."""

    text: str


@dataclass(frozen=True, slots=True)
class TextWasThinking:
    """All text so far was thinking: the model's template opens the thinking, so only its end is in the stream."""


@dataclass(frozen=True, slots=True)
class PictureDelta:
    """A picture that the model drew: its file in base64; "" where it cannot be shown."""

    data: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The model ended its answer."""

    reason: FinishReason


@dataclass(frozen=True, slots=True)
class Omitted:
    """How many of the oldest messages were not sent."""

    messages: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """The question was not sent yet, because the model is not ready; with no reason: it is sent now.

    Attributes:
        reason: a sentence for the person who waits.
    """

    reason: str = ""


ModelEvent = TextDelta | ThinkingDelta | TextWasThinking | PictureDelta | Usage | Finish | Omitted | Waiting


class ModelDefaults:
    """Defaults of a `ChatModel`."""

    place: Place = Place.UNKNOWN
    supports_images: bool = False
    tokens_per_image: int = 1024
    writes_titles: bool = True
    is_small: bool = False
    unsupported: Mapping[str, Sentence] = MappingProxyType({})
    price: Price | None = None
    max_answer_tokens: int = 4096

    async def read_context(self) -> None:
        """Do nothing: the context is known from the start, or is never told."""

    def wake(self) -> None:
        """Do nothing: it does not sleep."""


class ChatModel(Protocol):
    """A language model that answers a conversation.

    Attributes:
        id: short, stable, unique in the catalogue; stored with every answer.
        label: its name on the page.
    """

    id: str
    label: str

    @property
    def place(self) -> Place:
        """Where it runs, and so where messages are sent."""

    @property
    def supports_images(self) -> bool:
        """Whether images can be sent; it may change once the server has listed its models."""

    @property
    def tokens_per_image(self) -> int:
        """The estimated tokens of an image, until the server has counted some."""

    @property
    def writes_titles(self) -> bool:
        """Whether it is good enough to generate titles of conversations."""

    @property
    def is_small(self) -> bool:
        """Whether it gets lost in a long text and in rules: of documents it gets two or three passages."""

    @property
    def unsupported(self) -> Mapping[str, Sentence]:
        """The fields of `GenerationParameters` that it ignores, and why."""

    @property
    def price(self) -> Price | None:
        """The price of its tokens; None where it is unknown, or not by the token."""

    @property
    def context_tokens(self) -> int | None:
        """The tokens of prompt and answer together; None while unknown."""

    async def read_context(self) -> None:
        """Find out ``context_tokens`` before a question, where that may have changed. Never raises."""

    @property
    def max_answer_tokens(self) -> int:
        """The longest answer, with its thinking: the end of the range of Max tokens."""

    def stream(self, messages: Sequence[Message], parameters: GenerationParameters) -> AsyncGenerator[ModelEvent]:
        """Answer the last message, which is a question; images are sent where they have their data.

        Yields any number of `Waiting`, and then of `TextDelta`, `ThinkingDelta` and `PictureDelta`, and at most one of
        each other `ModelEvent`, as they arrive. Closing the generator (or cancelling the task that reads it) closes the
        request, so that the server stops generating.

        Raises:
            ModelError: there is no answer, or it ended early; a subclass where the reason is known.
        """

    async def status(self) -> ModelStatus:
        """Return whether the model can answer now. Never raises, takes a few seconds at most, and costs no money."""

    async def start(self) -> None:
        """Prepare for a first question that is likely to come soon."""

    def wake(self) -> None:
        """Begin to wake, where it sleeps: a question for it is answered by another model. Returns at once."""

    async def aclose(self) -> None:
        """Release connections and processes."""
