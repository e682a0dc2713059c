"""What a page needs when it is opened: models, store, limits, and the user."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field

from chatapp.domain.conversation import Place
from chatapp.http.api.schemas.base import ResponseBody, Translatable
from chatapp.http.api.schemas.conversations import ConversationPage, OpenConversation
from chatapp.http.api.schemas.library import LibraryNames
from chatapp.http.api.schemas.local_models import LocalSummary
from chatapp.http.api.schemas.profile import ProfileBody
from chatapp.models import ChatModel, ModelState, ModelStatus


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
    max_answer_tokens: int = Field(description="the end of the range of Max tokens")

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
            max_answer_tokens=model.max_answer_tokens,
            context_tokens=model.context_tokens if status.state is not ModelState.NOT_SET_UP else None,
        )


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
    local: LocalSummary | None = Field(default=None, description="null where no model can be downloaded")
    default: str = Field(description="id of the model that is chosen at first")
    embeddings_place: Place = Field(
        default=Place.UNKNOWN,
        exclude_if=lambda place: not place,
        description="where the text of documents goes besides, whatever model answers; left out where it does not",
    )


class UserBody(ResponseBody):
    """The user."""

    kind: str
    name: str
    email: str = Field(serialization_alias="address")


class Limits(ResponseBody):
    """How large a message may be: characters, images, documents, and the size of each of them."""

    message_chars: int
    images: int
    image_side: int
    image_bytes: int
    documents: int = Field(description="0: turned off")
    document_bytes: int = Field(description="of the file of a document")
    collection_documents: int = Field(description="of a collection; 0: there are no collections")
    attachment_bytes: int = Field(
        description="as they are stored, of the images and documents of a message together; 0: no such limit"
    )


class State(Models):
    """Everything that a page needs when it is opened."""

    me: UserBody
    profile: ProfileBody
    library: LibraryNames
    conversations: ConversationPage
    conversation: OpenConversation | None
    store: StoreBody
    store_kind: str = Field(description="`sqlite` or `firestore`")
    limits: Limits
    share_links: Literal["off", "users", "anyone"] = Field(description="whether links can be made, and who opens them")
