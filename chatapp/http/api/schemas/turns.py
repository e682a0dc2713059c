"""Requests that start turns: a question, another answer to one, or the rest of an answer.

The second of two `AliasChoices` is the key of pages that were loaded before an upgrade from a version until November
2026: they send a message again after the restart, and it must not be stored twice. Remove it after one release.
"""

import dataclasses
from typing import Annotated, Self

from pydantic import AliasChoices, BeforeValidator, Field, SkipValidation, StrictBool, model_validator

from chatapp.conversations.catch_up import Seen
from chatapp.domain.conversation import GenerationParameters
from chatapp.generation.requests import AnswerRequest
from chatapp.http.api.schemas.base import EntryId, RequestBody, Text

DEFAULTS = GenerationParameters()


def _text_or_blank(value: object) -> object:
    return value if isinstance(value, str) else ""


# `TurnRunner` and `Catalog` refuse a blank text with a sentence of their own; a value of another type counts as blank.
CheckedText = Annotated[str, BeforeValidator(_text_or_blank)]
# The page generates the id of a new message, which makes a retry idempotent.
NewId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class QuestionImage(RequestBody):
    """An image of a question: an upload, an image that the conversation has already, or a small file."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")] | None = Field(
        default=None, description="of an upload (`POST /images`), or of an image of this conversation"
    )
    data: str | None = Field(
        default=None, description="the file in base64 or as a `data:` URL, as far as the body has room for it"
    )

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.id is None) == (self.data is None):
            raise ValueError("an image has either an id or data")
        return self


class QuestionDocument(RequestBody):
    """A document of a question."""

    id: Annotated[str, Field(pattern="^[0-9a-f]{1,64}$")] = Field(
        description="of an upload (`POST /documents`), or of a document of this conversation"
    )


class Comparison(RequestBody):
    """A second answer to the same question, with these changes."""

    model: CheckedText = ""
    temperature: SkipValidation[float] = DEFAULTS.temperature
    top_p: SkipValidation[float] = DEFAULTS.top_p


class SeenMessage(RequestBody):
    """A message as the page has it."""

    id: Annotated[Text, Field(max_length=1000)]
    revision: int = Field(default=0, ge=0)
    earlier: list[Annotated[Text, Field(max_length=1000)]] = Field(
        default_factory=list,
        max_length=20,
        description="ids of messages that the page shows before it, for which the request waits as well",
    )


class AnswerOptions(RequestBody):
    """What all requests for an answer have in common."""

    model: CheckedText = ""
    temperature: SkipValidation[float] = DEFAULTS.temperature
    top_p: SkipValidation[float] = DEFAULTS.top_p
    max_tokens: SkipValidation[int] = DEFAULTS.max_tokens
    system_prompt: SkipValidation[str | None] = ""
    allow_fallback: StrictBool = Field(
        default=False,
        validation_alias=AliasChoices("allowFallback", "orOther"),
        description="another model answers while the chosen one is not ready",
    )
    retry: StrictBool = Field(
        default=False,
        validation_alias=AliasChoices("retry", "again"),
        description="the reply to an earlier, equal request was lost",
    )
    after: Text = Field(default="", description="id of the message after which the page needs the stream")
    shown: int | None = Field(default=None, ge=0, description="how many messages the page has up to that one")
    seen: SeenMessage | None = Field(
        default=None,
        description="the last message that the page shows; null: the newest in the store. The request waits for it, and"
        " is refused with 409 and the new messages if the conversation has more than that",
    )

    def seen_message(self) -> Seen | None:
        """Return the last message that the page shows."""
        return Seen(self.seen.id, self.seen.revision, tuple(self.seen.earlier)) if self.seen else None

    def answer(self) -> AnswerRequest:
        """Return which model is to answer, and how.

        Raises:
            InvalidParameters: a value is out of its range.
        """
        parameters = GenerationParameters(
            temperature=self.temperature,
            top_p=self.top_p,
            max_tokens=self.max_tokens,
            system_prompt=self.system_prompt or "",
        )
        return AnswerRequest(
            model=self.model, parameters=parameters, allow_fallback=self.allow_fallback, seen=self.seen_message()
        )


class NewQuestion(AnswerOptions):
    """A question."""

    text: CheckedText = ""
    images: list[QuestionImage] | None = None
    documents: list[QuestionDocument] | None = None
    question_id: NewId | None = Field(
        default=None, alias="question", description="id of the new question; the same one for a retry"
    )
    follows: Annotated[Text, Field(max_length=1000)] | None = Field(
        default=None, description='id of the answer that it follows, "" for none; null: the last one that is shown'
    )
    persona: Annotated[Text, Field(max_length=200)] | None = Field(default=None, description="null: as before")
    collection: EntryId | None = Field(
        default=None, description='id of the collection to ask, "" for none; null: as before'
    )
    folder: EntryId | None = Field(
        default=None, description='id of the folder of the conversation, "" for none; null: as before'
    )
    compare_with: Comparison | None = Field(default=None, validation_alias=AliasChoices("compareWith", "beside"))
    temporary: StrictBool = Field(default=False, description="a new conversation is only kept in memory")

    def answers(self) -> list[AnswerRequest]:
        """Return the requested answers: one, or two to compare.

        Raises:
            InvalidParameters: a value is out of its range.
        """
        first, other = self.answer(), self.compare_with
        if other is None:
            return [first]
        changes = {name: getattr(other, name) for name in other.model_fields_set - {"model"}}
        parameters = dataclasses.replace(first.parameters, **changes)
        return [first, dataclasses.replace(first, model=other.model, parameters=parameters)]


class FurtherAnswerOptions(AnswerOptions):
    """What requests for an answer to an earlier question have in common.

    Pages from before December 2026 sent two keys more, which have no effect. Remove them after one release.
    """

    persona: SkipValidation[object] = Field(default=None, deprecated=True)
    compare_with: SkipValidation[object] = Field(default=None, alias="compareWith", deprecated=True)


class NewAnswer(FurtherAnswerOptions):
    """Another answer to a question."""

    question: Text = ""
    answer_id: NewId | None = Field(
        default=None, alias="answer", description="id of the new answer; the same one for a retry"
    )


class Continuation(FurtherAnswerOptions):
    """The rest of an answer that ended early."""

    message: Text = ""
