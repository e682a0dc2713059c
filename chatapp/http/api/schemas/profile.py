"""The profile: personas and the other settings of a user."""

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

from chatapp.domain.conversation import GenerationParameters, Persona, Profile
from chatapp.domain.errors import InvalidParameters
from chatapp.domain.sentences import Sentence
from chatapp.http.api.schemas.base import RequestBody, ResponseBody
from chatapp.models.prompt import clean_text

MAX_PERSONAS = 40  # each may have 20,000 characters, and all are stored, and sent to the page, together
MAX_NAME_CHARS = 80
MAX_REVISION = 2**53 - 1  # the largest integer that JavaScript can count to


class PersonaBody(ResponseBody):
    """A persona of the user's."""

    id: str
    name: str
    instructions: str


class ParametersBody(BaseModel):
    """Parameters as they were last set."""

    model_config = ConfigDict(from_attributes=True)

    temperature: float
    top_p: float
    max_tokens: int


class ProfileBody(ResponseBody):
    """The user's settings; ``parameters`` is null while they are the defaults."""

    personas: list[PersonaBody]
    parameters: ParametersBody | None
    answer_with_other: bool = Field(serialization_alias="allowFallback")
    revision: int


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


class PersonaChange(RequestBody):
    """A new or changed persona.

    Raises:
        InvalidParameters: the name or the instructions are too long, or there is no name.
    """

    id: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9_.-]{0,199}$")
    name: Annotated[str, AfterValidator(_name)]
    instructions: Annotated[str, AfterValidator(_instructions)]


class ParametersChange(RequestBody):
    """Parameters to store as the user's defaults."""

    temperature: SkipValidation[float]
    top_p: SkipValidation[float]
    max_tokens: SkipValidation[int]


class ProfileChange(RequestBody):
    """The whole profile with the user's changes.

    Raises:
        InvalidParameters: there are too many personas, or one is not valid.
    """

    personas: Annotated[list[PersonaChange], BeforeValidator(_number)]
    parameters: ParametersChange | None = None
    # The second name is that of pages from before an upgrade: see `chatapp.http.api.schemas.turns`.
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
