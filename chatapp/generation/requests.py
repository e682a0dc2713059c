"""What a client asks for when it starts a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.conversations.catch_up import Seen
    from chatapp.domain.conversation import GenerationParameters, Image


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    """Which model answers, and how.

    Attributes:
        model: its id in the catalogue.
        allow_fallback: another model may answer while this one is not ready.
        seen: the last message that the page shows; None: the client builds on whatever is newest.
    """

    model: str
    parameters: GenerationParameters
    allow_fallback: bool = False
    seen: Seen | None = None


class QuestionImages(Protocol):
    """The images of a question: found before it is admitted, decoded after that."""

    def __len__(self) -> int:
        """Return how many there are."""

    async def find(self, conversation_id: str) -> None:
        """Find the images that the question names; ``conversation_id`` is "" for a new conversation.

        Raises:
            ImagesMissing: some are not here.
        """

    async def load(self) -> tuple[Image, ...]:
        """Return them with data, each under a new id.

        Raises:
            InvalidMessage: one cannot be read.
            LimitReached: too many images are being decoded.
        """


class LoadedImages:
    """Images that are there already."""

    def __init__(self, *images: Image) -> None:
        self._images = images

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._images)

    async def find(self, conversation_id: str) -> None:
        """Do nothing."""

    async def load(self) -> tuple[Image, ...]:
        """Return them."""
        return self._images


NO_IMAGES = LoadedImages()


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRequest:
    """A question, and the answers to generate for it at the same time.

    A turn is idempotent by ``question_id``: a client that cannot know whether a request was carried out (the response
    was lost, the chat was killed) sends it again with the same id and ``is_retry``, and the question is stored once.

    Attributes:
        text: the question.
        answers: one, or two to compare.
        conversation_id: "" starts a new conversation.
        question_id: 32 random hex digits that the client makes; "" where it does not retry.
        is_retry: the same request may have been sent before.
        follows: id of the answer that the question follows, "" for none, which makes it a version of the question that
            follows it now; None: the end of the conversation.
        seen: as in `AnswerRequest`.
        images: pictures that belong to the question.
        persona: id of the persona that the instructions come from; None: unchanged.
        is_temporary: a new conversation is kept in memory only.
    """

    text: str
    answers: Sequence[AnswerRequest]
    conversation_id: str = ""
    question_id: str = ""
    is_retry: bool = False
    follows: str | None = None
    seen: Seen | None = None
    images: QuestionImages = NO_IMAGES
    persona: str | None = None
    is_temporary: bool = False
