"""What a client asks for when it starts a turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.conversations.catch_up import Seen
    from chatapp.domain.conversation import Document, GenerationParameters, Image

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


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


class QuestionFiles(Protocol[T_co]):
    """The images or the documents of a question: found before it is admitted, loaded after that."""

    def __len__(self) -> int:
        """Return how many there are."""

    async def find(self, conversation_id: str) -> Sequence[str]:
        """Find those that the question names; return the ids of those that are not here.

        ``conversation_id`` is "" for a new conversation.
        """

    async def load(self) -> tuple[T_co, ...]:
        """Return them with data, each under a new id.

        Raises:
            InvalidMessage: one cannot be read.
            LimitReached: too many images are being decoded.
        """


class LoadedFiles(Generic[T]):
    """Images or documents that are there already."""

    def __init__(self, *files: T) -> None:
        self._files = files

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._files)

    async def find(self, conversation_id: str) -> Sequence[str]:  # noqa: ARG002  # of the protocol
        """Return that none is missing."""
        return ()

    async def load(self) -> tuple[T, ...]:
        """Return them."""
        return self._files


NO_IMAGES: LoadedFiles[Image] = LoadedFiles()
NO_DOCUMENTS: LoadedFiles[Document] = LoadedFiles()


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
        documents: that belong to it.
        persona: id of the persona that the instructions come from; None: unchanged.
        collection: id of the collection that the conversation asks, "" for none; None: unchanged.
        folder: id of the folder that it is in, "" for none; None: unchanged.
        is_temporary: a new conversation is kept in memory only.
    """

    text: str
    answers: Sequence[AnswerRequest]
    conversation_id: str = ""
    question_id: str = ""
    is_retry: bool = False
    follows: str | None = None
    seen: Seen | None = None
    images: QuestionFiles[Image] = NO_IMAGES
    documents: QuestionFiles[Document] = NO_DOCUMENTS
    persona: str | None = None
    collection: str | None = None
    folder: str | None = None
    is_temporary: bool = False

    @property
    def chosen(self) -> dict[str, str]:
        """The fields of the conversation that the request sets, besides the model and its instructions."""
        choices = {"persona": self.persona, "collection": self.collection, "folder": self.folder}
        return {name: value for name, value in choices.items() if value is not None}
