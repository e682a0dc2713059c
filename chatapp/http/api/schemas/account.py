"""The account: the user, their guest history, and the deletion of everything."""

from typing import Annotated, Self

from pydantic import Field, StrictBool, StrictStr

from chatapp.http.api.schemas.base import RequestBody, ResponseBody
from chatapp.http.api.schemas.library import CollectionName, FolderName
from chatapp.http.api.schemas.profile import MAX_PERSONAS, ParametersBody, PersonaBody
from chatapp.http.api.schemas.state import UserBody
from chatapp.userdata.merge_guest import GuestData

SHOWN_CONVERSATIONS = 200


class GuestHistory(ResponseBody):
    """How many conversations and personas this browser's guest has."""

    conversations: int
    personas: int
    library: int = Field(
        default=0,
        exclude_if=lambda number: not number,
        description="collections and folders; left out if there are none",
    )


class GuestConversation(ResponseBody):
    """A conversation of the guest."""

    id: str
    title: str
    updated_ms: int


class GuestDataBody(ResponseBody):
    """What this browser's guest has. ``digest`` identifies it; the latest conversations are listed, all are counted."""

    digest: str
    conversations: list[GuestConversation]
    conversation_count: int
    personas: list[PersonaBody]
    collections: list[CollectionName] = Field(description="with ``document_count`` documents together")
    folders: list[FolderName]
    document_count: int
    parameters: ParametersBody | None
    answer_with_other: bool = Field(serialization_alias="allowFallback")

    @classmethod
    def of(cls, data: GuestData) -> Self:
        """Return the data as the page gets it."""
        return cls(
            digest=data.digest,
            conversations=[GuestConversation.model_validate(one) for one in data.conversations[:SHOWN_CONVERSATIONS]],
            conversation_count=len(data.conversations),
            personas=[PersonaBody.model_validate(one) for one in data.personas],
            collections=[CollectionName.model_validate(one) for one in data.collections],
            folders=[FolderName.model_validate(one) for one in data.folders],
            document_count=len(data.documents),
            parameters=ParametersBody.model_validate(data.parameters) if data.parameters else None,
            answer_with_other=data.answer_with_other,
        )


class MergeRequest(RequestBody):
    """What of the guest's data to move; ``digest`` is that of the data that the user was shown."""

    digest: StrictStr = ""
    conversations: StrictBool = False
    personas: Annotated[tuple[StrictStr, ...], Field(max_length=2 * MAX_PERSONAS)] = ()
    settings: StrictBool = False
    library: StrictBool = False


class StorageUse(ResponseBody):
    """How many bytes the user's data take, and may take (null: no limit)."""

    used: int
    limit: int | None


class AccountBody(UserBody):
    """The user, how to sign in and out, and how long conversations are kept (days; null for ever)."""

    can_sign_in: bool
    sign_in_url: str | None
    can_sign_out: bool
    sign_out_url: str | None
    sign_in_again_url: str | None = Field(description="where to sign in before everything can be deleted")
    guest_history: GuestHistory | None
    store: str
    retention_days: int | None
    storage: StorageUse | None = Field(description="null while it cannot be read")
    import_bytes: int = Field(description="the largest file that can be imported; 0: none")


class Moved(ResponseBody):
    """How many conversations and personas were moved, and the new id of each conversation."""

    conversations: int
    personas: int
    library: int = Field(
        default=0,
        exclude_if=lambda number: not number,
        description="collections and folders; left out if there are none",
    )
    ids: dict[str, str]


class SignInBody(ResponseBody):
    """A session of the user; ``seen`` is accurate to an hour."""

    id: str
    began_ms: int
    seen_ms: int
    device: str = Field(description="browser and system, empty if unknown")
    is_current: bool


class SignIns(ResponseBody):
    """Where the user is signed in, the last used session first."""

    sign_ins: list[SignInBody]


class Confirmation(RequestBody):
    """Must be ``{"confirm": true}``."""

    confirm: StrictBool


class Deleted(ResponseBody):
    """How many conversations were deleted."""

    deleted: int
