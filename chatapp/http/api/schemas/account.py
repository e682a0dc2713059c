"""The account: the user, their guest history, and the deletion of everything."""

from pydantic import StrictBool

from chatapp.http.api.schemas.base import RequestBody, ResponseBody
from chatapp.http.api.schemas.state import UserBody


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


class Confirmation(RequestBody):
    """Must be ``{"confirm": true}``."""

    confirm: StrictBool


class Deleted(ResponseBody):
    """How many conversations were deleted."""

    deleted: int
