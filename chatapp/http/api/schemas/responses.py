"""Bodies of responses. Fields have the names of the attributes that they are read from, except where they say so."""

from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasGenerator,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SkipValidation,
    ValidationInfo,
    WithJsonSchema,
    computed_field,
)
from pydantic.alias_generators import to_camel

from chatapp.domain.conversation import Conversation, Feedback, FinishReason, MessageStatus, Place, Role
from chatapp.domain.sentences import as_json
from chatapp.models import ChatModel, ModelState, ModelStatus
from chatapp.store.temporary.router import is_temporary

# A sentence with what its translation is made from. Validation would make a plain text of a `Sentence`: it is skipped.
Translatable = Annotated[
    SkipValidation[str],
    PlainSerializer(as_json, return_type=dict[str, Any], when_used="unless-none"),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {
                "text": {"type": "string", "description": "in English"},
                "template": {"type": "string"},
                "values": {"type": "object"},
                "seconds": {"type": "integer", "description": "of a time to wait"},
                "duration": {"type": "number", "description": "seconds"},
            },
            "required": ["text"],
            "additionalProperties": False,
        },
        mode="serialization",
    ),
]


class ResponseBody(BaseModel):
    """Base of all bodies of responses."""

    model_config = ConfigDict(
        alias_generator=AliasGenerator(serialization_alias=lambda name: to_camel(name.removesuffix("_ms"))),
        serialize_by_alias=True,
        from_attributes=True,
        extra="forbid",
    )


class ErrorBody(ResponseBody):
    """Why a request was refused."""

    model_config = ConfigDict(extra="allow")  # such as ``signIn``, where to sign in, and ``deleted``, how many

    error: Translatable


class Done(ResponseBody):
    """An empty object: success."""


class ConversationItem(ResponseBody):
    """A conversation as a list shows it. Times are milliseconds since the epoch."""

    id: str
    title: str
    created_ms: int
    updated_ms: int
    pinned: bool
    archived: bool
    persona: str
    model: str
    writing: bool = Field(default=False, description="an answer is being written in it")

    @computed_field
    def temporary(self) -> bool:
        """Whether it is only kept in memory."""
        return is_temporary(self.id)

    @classmethod
    def of(cls, conversation: Conversation, *, writing: bool) -> Self:
        """Return a conversation as the page gets it."""
        item = cls.model_validate(conversation)
        item.writing = writing
        return item


class OpenConversation(ConversationItem):
    """A conversation as it is shown on its own: with the system prompt, which no list needs."""

    system_prompt: str


class ConversationPage(ResponseBody):
    """A page of the list; the pinned conversations come with the first."""

    pinned: list[ConversationItem]
    items: list[ConversationItem]
    cursor: str | None


class ImageInfo(ResponseBody):
    """An image of a question, whose file has an address of its own; width and height in pixels."""

    id: str
    width: int
    height: int


class MessageBody(ResponseBody):
    """A message; a question has no other fields than these."""

    id: str
    role: Role
    content: str = Field(serialization_alias="text")
    created_ms: int
    follows: str | None
    status: MessageStatus
    images: list[ImageInfo]
    can_continue: bool = Field(default=False, description="it is an answer that ended early")
    column: int = Field(default=0, description="1 or 2 for one of two answers that are shown side by side")
    versions: list[str] | None = Field(
        default=None,
        exclude_if=lambda versions: versions is None,
        description="ids of it and of the versions of it in other branches, in order; only where there are any",
    )

    @computed_field
    def writing(self) -> bool:
        """Whether it is being written."""
        return self.status is MessageStatus.STREAMING


def _label(model_id: str, info: ValidationInfo) -> str:
    return str(info.context.label(model_id)) if model_id else ""  # `ConversationEvents` passes the catalogue


Label = Annotated[str, AfterValidator(_label)]


class AnswerBody(MessageBody):
    """An answer of a model."""

    model: str
    label: Label = Field(validation_alias="model", description="what the model is called")
    place: Place = Field(description="where the model ran")
    queue_position: int = Field(default=0, description="in the queue, counted from 1; 0 once it has begun")
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
    instead_of: Label = Field(description="the chosen model, where another one answered because that was not ready")
    feedback: Feedback

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


class SearchHit(ResponseBody):
    """A conversation that matches a search; ``message`` is "" if its title does."""

    conversation: ConversationItem
    message_id: str = Field(serialization_alias="message")
    before: str
    match: str
    after: str


class SearchPage(ResponseBody):
    """A page of search results."""

    hits: list[SearchHit]
    cursor: str | None


class Undo(ResponseBody):
    """How long a deletion can be undone, in seconds."""

    undo_seconds: float


class Price(ResponseBody):
    """US dollars per million tokens."""

    input: float
    output: float


class ModelBody(ResponseBody):
    """A model and its status."""

    id: str
    label: str
    place: Place
    state: ModelState
    reason: Translatable | None
    fix: Translatable | None
    since_ms: int | None
    supports_images: bool = Field(serialization_alias="images")
    unsupported: dict[str, Translatable] = Field(description="parameters that it ignores, and why")
    price: Price | None
    context_tokens: int | None = Field(serialization_alias="context")

    @classmethod
    def of(cls, model: ChatModel, status: ModelStatus) -> Self:
        """Return a model as the page gets it."""
        return cls(
            id=model.id,
            label=model.label,
            place=model.place,
            state=status.state,
            reason=status.reason or None,
            fix=status.fix or None,
            since_ms=status.since_ms,
            supports_images=model.supports_images,
            unsupported=dict(model.unsupported),
            price=Price.model_validate(model.price) if model.price else None,
            context_tokens=model.context_tokens if status.state is not ModelState.NOT_SET_UP else None,
        )


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


class StoreBody(ResponseBody):
    """The status of the history's store."""

    reachable: bool
    full: bool
    waiting_writes: int
    waiting_seconds: Annotated[int, BeforeValidator(round)]


class Models(ResponseBody):
    """The states of the models, and what to tell the user now."""

    models: list[ModelBody]
    notices: list[Translatable]


class UserBody(ResponseBody):
    """The user."""

    kind: str
    name: str
    email: str = Field(serialization_alias="address")


class Limits(ResponseBody):
    """How large a message may be: characters, images, and each image's pixels and bytes."""

    message_chars: int
    images: int
    image_side: int
    image_bytes: int


class State(Models):
    """Everything that a page needs when it is opened."""

    default: str = Field(description="id of the model that is chosen at first")
    me: UserBody
    profile: ProfileBody
    conversations: ConversationPage
    conversation: OpenConversation | None
    store: StoreBody
    store_kind: str = Field(description="`sqlite` or `firestore`")
    limits: Limits


class GuestHistory(ResponseBody):
    """How many conversations this browser's guest has."""

    conversations: int


class AccountBody(UserBody):
    """The user, how to sign in and out, and how long conversations are kept (days; null for ever)."""

    can_sign_in: bool
    sign_in_url: str | None
    can_sign_out: bool
    sign_out_url: str | None
    guest_history: GuestHistory | None
    store: str
    retention_days: int | None


class Moved(ResponseBody):
    """How many conversations were moved, and the new id of each."""

    conversations: int
    ids: dict[str, str]


class Deleted(ResponseBody):
    """How many conversations were deleted."""

    deleted: int
