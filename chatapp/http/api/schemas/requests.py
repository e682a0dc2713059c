"""Bodies of requests: untrusted input, of which this module validates what the domain does not.

Unknown keys are ignored, except in changes of a conversation. Values that the domain checks itself, with a sentence of
its own for each (`GenerationParameters`, the length of a text), pass unchecked.

The second of two `AliasChoices` is the key of pages that were loaded before an upgrade from a version until November
2026: they send a message again after the restart, and it must not be stored twice. Remove it after one release.
"""

import dataclasses
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SkipValidation,
    StrictBool,
    StrictInt,
    model_validator,
)

from chatapp.domain.conversation import Feedback, GenerationParameters, Persona, Profile
from chatapp.domain.errors import InvalidParameters
from chatapp.domain.sentences import Sentence
from chatapp.generation.requests import AnswerRequest
from chatapp.models.prompt import clean_text

DEFAULTS = GenerationParameters()
MAX_PERSONAS = 40  # each may have 20,000 characters, and all are stored, and sent to the page, together
MAX_NAME_CHARS = 80
MAX_REVISION = 2**53 - 1  # the largest integer that JavaScript can count to


def _clean(value: object) -> object:
    return clean_text(value) if isinstance(value, str) else value


def _text_or_blank(value: object) -> object:
    return value if isinstance(value, str) else ""


# JSON can hold NUL and half a surrogate pair, which stores cannot.
Text = Annotated[str, BeforeValidator(_clean)]
# `TurnRunner` and `Catalog` refuse a blank text with a sentence of their own; a value of another type counts as blank.
CheckedText = Annotated[str, BeforeValidator(_text_or_blank)]
# The page generates the id of a new message, which makes a retry idempotent.
NewId = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]


class ImageUpload(BaseModel):
    """An image of a question."""

    data: str = Field(description="the file in base64")


class Comparison(BaseModel):
    """A second answer to the same question, with these changes."""

    model: CheckedText = ""
    temperature: SkipValidation[float] = DEFAULTS.temperature
    top_p: SkipValidation[float] = DEFAULTS.top_p


class AnswerOptions(BaseModel):
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
    after: Text = Field(default="", description="id of the last message that the page shows and that is complete")

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
        return AnswerRequest(model=self.model, parameters=parameters, allow_fallback=self.allow_fallback)


class NewQuestion(AnswerOptions):
    """A question."""

    text: CheckedText = ""
    images: list[ImageUpload] | None = None
    question_id: NewId | None = Field(
        default=None, alias="question", description="id of the new question; the same one for a retry"
    )
    follows: Annotated[Text, Field(max_length=1000)] | None = Field(
        default=None, description='id of the answer that it follows, "" for none; null: the last one that is shown'
    )
    persona: Annotated[Text, Field(max_length=200)] | None = Field(default=None, description="null: as before")
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


class NewAnswer(AnswerOptions):
    """Another answer to a question."""

    question: Text = ""
    answer_id: NewId | None = Field(
        default=None, alias="answer", description="id of the new answer; the same one for a retry"
    )


class Continuation(AnswerOptions):
    """The rest of an answer that ended early."""

    message: Text = ""


class Empty(BaseModel):
    """An empty object: that it is JSON shows that it is not a form of another site."""


class Confirmation(BaseModel):
    """Must be ``{"confirm": true}``."""

    confirm: StrictBool


class FeedbackChange(BaseModel):
    """The user's feedback on an answer."""

    feedback: Feedback


class ConversationChange(BaseModel):
    """Changes of a conversation, at least one."""

    model_config = ConfigDict(extra="forbid")

    title: Text = ""
    pinned: StrictBool = False
    archived: StrictBool = False
    branch: Text = Field(default="", description="id of a message: the version of it that is shown")

    @model_validator(mode="after")
    def _is_a_change(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("no change")
        return self


def _name(value: str) -> str:
    name = " ".join(clean_text(value).split())
    if not name:
        raise InvalidParameters(Sentence("A persona needs a name."))
    if len(name) > MAX_NAME_CHARS:
        raise InvalidParameters(Sentence("A persona's name can have {most} characters at most.", most=MAX_NAME_CHARS))
    return name


def _instructions(value: str) -> str:
    longest = GenerationParameters.LONGEST_SYSTEM_PROMPT
    if len(value) > longest:
        raise InvalidParameters(Sentence("A persona's instructions can have {most} characters at most.", most=longest))
    return clean_text(value)


def _number(personas: object) -> object:
    if isinstance(personas, list) and len(personas) > MAX_PERSONAS:
        raise InvalidParameters(Sentence("There can be {most} personas at most. Delete one first.", most=MAX_PERSONAS))
    return personas


class PersonaChange(BaseModel):
    """A new or changed persona.

    Raises:
        InvalidParameters: the name or the instructions are too long, or there is no name.
    """

    id: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$")
    name: Annotated[str, AfterValidator(_name)]
    instructions: Annotated[str, AfterValidator(_instructions)]


class ParametersChange(BaseModel):
    """Parameters to store as the user's defaults."""

    temperature: SkipValidation[float]
    top_p: SkipValidation[float]
    max_tokens: SkipValidation[int]


class ProfileChange(BaseModel):
    """The whole profile with the user's changes.

    Raises:
        InvalidParameters: there are too many personas, or one is not valid.
    """

    personas: Annotated[list[PersonaChange], BeforeValidator(_number)]
    parameters: ParametersChange | None = None
    allow_fallback: StrictBool = Field(validation_alias=AliasChoices("allowFallback", "answerWithOther"))
    revision: StrictInt = Field(ge=1, le=MAX_REVISION, description="one more than the profile's that is changed")

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        if len({persona.id for persona in self.personas}) < len(self.personas):
            raise ValueError("two personas with one id")
        return self

    def profile(self) -> Profile:
        """Return the profile.

        Raises:
            InvalidParameters: a parameter is out of its range.
        """
        return Profile(
            personas=tuple(Persona(**dict(persona)) for persona in self.personas),
            parameters=GenerationParameters(**dict(self.parameters)) if self.parameters else None,
            answer_with_other=self.allow_fallback,
            revision=self.revision,
        )
