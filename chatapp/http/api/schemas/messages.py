"""Messages: questions and answers, and feedback on an answer."""

from typing import Annotated, Any

from pydantic import AfterValidator, AliasPath, BeforeValidator, Field, ValidationInfo, computed_field

from chatapp.domain.conversation import Feedback, FinishReason, MessageStatus, Place, Role
from chatapp.http.api.schemas.base import RequestBody, ResponseBody, Translatable


class ImageInfo(ResponseBody):
    """An image of a question or an answer, whose file has an address of its own; width and height in pixels."""

    id: str
    width: int
    height: int


class DocumentInfo(ResponseBody):
    """A document of a question, whose text has an address of its own."""

    id: str
    name: str
    kind: str = Field(description="such as `PDF` or `Word`")
    pages: int
    size: int = Field(description="of its file, in bytes")


class CitationBody(ResponseBody):
    """A quote in an answer that is in a document, word for word; positions are UTF-16 code units."""

    end: int = Field(description="where the quote ends in the text of the answer")
    document: str = Field(description="id of the document")
    page: int = Field(description="its number, from 1")
    page_start: int = Field(serialization_alias="start", description="of the quote in the text of the page")
    page_end: int = Field(serialization_alias="stop", description="of the quote in the text of the page")
    collection: str = Field(
        default="",
        exclude_if=lambda collection: not collection,
        description="id of the collection that the document belongs to; left out for a document of a question",
    )
    name: str = Field(
        default="", exclude_if=lambda name: not name, description="of a collection's document, when it was cited"
    )
    quote: str = Field(
        default="",
        exclude_if=lambda quote: not quote,
        description="the words of the page, of a collection's document; shown where that was removed",
    )


class MessageBody(ResponseBody):
    """A message; a question has no other fields than these."""

    id: str
    role: Role
    content: str = Field(serialization_alias="text")
    created_ms: int
    revision: int
    follows: str | None
    status: MessageStatus
    images: list[ImageInfo]
    documents: list[DocumentInfo] = Field(exclude_if=lambda documents: not documents)
    can_continue: bool = Field(default=False, description="it is an answer that ended early")
    column: int = Field(default=0, description="1 or 2 for one of two answers that are shown side by side")
    versions: list[str] | None = Field(
        default=None,
        exclude_if=lambda versions: versions is None,
        description="ids of it and of the versions of it in other branches, in order; only where there are any",
    )

    saved: bool = Field(
        default=True,
        exclude_if=lambda saved: saved,
        description="false: it is only on the disk of one replica, because the cloud has not responded for a while",
    )

    @computed_field
    def writing(self) -> bool:
        """Whether it is being written."""
        return self.status is MessageStatus.STREAMING


def _label(model_id: str, info: ValidationInfo) -> str:
    catalog: Any = info.context  # a `Catalog`, which `ConversationEvents` passes
    return str(catalog.label(model_id)) if model_id else ""


Label = Annotated[str, AfterValidator(_label)]


class AnswerBody(MessageBody):
    """An answer of a model."""

    model: str
    label: Label = Field(validation_alias="model", description="what the model is called")
    place: Place = Field(description="where the model ran")
    queue_position: int = Field(default=0, description="in the queue, counted from 1; 0 once it has begun")
    waits_for: Translatable | None = Field(
        default=None, description="why the model was not asked yet, such as that it wakes up"
    )
    prompt_tokens: int | None = Field(
        default=None, validation_alias=AliasPath("usage", "prompt_tokens"), serialization_alias="tokensIn"
    )
    completion_tokens: int | None = Field(
        default=None, validation_alias=AliasPath("usage", "completion_tokens"), serialization_alias="tokensOut"
    )
    seconds: float | None = Field(exclude=True)
    seconds_to_first_token: float | None
    cost: float | None = Field(description="US dollars; null where the model has no price")
    temperature: float | None
    omitted_messages: int = Field(
        serialization_alias="omitted", description="how many of the oldest messages were not sent to the model"
    )
    finish_reason: FinishReason | None = Field(serialization_alias="finish")
    error: Annotated[Translatable | None, BeforeValidator(lambda error: error or None)]
    thinking: str = Field(description="what the model thought before it answered")
    unshown_pictures: int = Field(description="how many pictures of the model cannot be shown")
    instead_of: Label = Field(description="the chosen model, where another one answered because that was not ready")
    feedback: Feedback
    citations: list[CitationBody] = Field(exclude_if=lambda citations: not citations)
    passages: bool = Field(
        exclude_if=lambda passages: not passages,
        description="its model got passages of the documents, and not the whole of each; left out where it is false",
    )
    not_in_documents: bool = Field(
        exclude_if=lambda is_outside: not is_outside,
        description="it says that the documents do not answer the question: its model knows the rest from elsewhere; "
        "left out where it is false",
    )

    @computed_field
    def tokens_per_second(self) -> float | None:
        """Tokens per second after the first one."""
        tokens, seconds, first = self.completion_tokens, self.seconds, self.seconds_to_first_token
        if tokens is None or tokens < 2 or seconds is None or first is None or seconds <= first:
            return None
        return round((tokens - 1) / (seconds - first), 1)


class MessagePage(ResponseBody):
    """Messages of the shown branch, and how many come before them."""

    messages: list[AnswerBody | MessageBody]
    earlier: int


class FeedbackChange(RequestBody):
    """The user's feedback on an answer."""

    feedback: Feedback
