"""Settings of rate limits, quotas and sizes."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings

from chatapp.config.field_types import Cost, Quantity  # noqa: TC001  # pydantic reads the annotations
from chatapp.limits import SHARED_QUOTA, USER_QUOTA

STORAGE_MEGABYTES = 500
ALL_STORAGE_MEGABYTES = 20_000
IMPORT_MEGABYTES, LOCAL_IMPORT_MEGABYTES = 200, 4_000


def _quota(what: str, default: float) -> str:
    return f"Maximum {what}. If not set: {default:,}. `0`: no limit."


class LimitSettings(BaseSettings):
    """How much one user, and all users together, may use. Each replica counts its own requests.

    See [limits](operate.md#limits). With `CHAT_IDENTITY=local`, quotas that are not set do not apply.
    """

    messages_per_minute: Quantity = Field(
        default=None, description=_quota("messages of one user per minute", USER_QUOTA.messages_per_minute)
    )
    tokens_per_day: Quantity = Field(
        default=None, description=_quota("tokens of one user per day (UTC)", USER_QUOTA.tokens_per_day)
    )
    cost_per_day: Cost = Field(
        default=None, description=_quota("cost of one user per day, in US dollars", USER_QUOTA.cost_per_day)
    )
    all_messages_per_minute: Quantity = Field(
        default=None, description=_quota("messages of all users together per minute", SHARED_QUOTA.messages_per_minute)
    )
    all_tokens_per_day: Quantity = Field(
        default=None, description=_quota("tokens of all users together per day", SHARED_QUOTA.tokens_per_day)
    )
    all_cost_per_day: Cost = Field(
        default=None, description=_quota("cost of all users together per day, in US dollars", SHARED_QUOTA.cost_per_day)
    )
    guest_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="With `google` and `CHAT_GUESTS`: the part of the limits of all users together that all guests "
        "together may use. The rest is left to people who have signed in.",
    )
    new_guests_per_hour: int = Field(
        default=60,
        ge=0,
        le=1_000_000,
        description="Maximum new anonymous users and guests per hour from one client address (IPv6: one /56 network). "
        "`0`: no limit.",
    )
    searches_per_minute: int = Field(
        default=120, ge=0, le=1_000_000, description="Maximum searches of one user per minute. `0`: no limit."
    )
    exports_per_minute: int = Field(
        default=20, ge=0, le=1_000_000, description="Maximum downloads of data of one user per minute. `0`: no limit."
    )
    reads_per_minute: int = Field(
        default=1200,
        ge=0,
        le=1_000_000,
        description="Maximum lists, maximum images, maximum documents, and maximum opened conversations of one user "
        "per minute, each. `0`: no limit.",
    )
    storage_megabytes: Quantity = Field(
        default=None,
        description=_quota(
            "size of one user's conversations, images, documents, collections and personas, in MB", STORAGE_MEGABYTES
        ),
    )
    all_storage_megabytes: Quantity = Field(
        default=None, description=_quota("size of the data of all users together, in MB", ALL_STORAGE_MEGABYTES)
    )
    imports_per_hour: int = Field(
        default=20, ge=0, le=1_000_000, description="Maximum imports of one user per hour. `0`: no limit."
    )
    import_megabytes: Quantity = Field(
        default=None,
        description="Maximum size of a file that is imported in the page, in MB; it is on the disk of the data folder "
        f"meanwhile. If not set: {IMPORT_MEGABYTES:,}, with `CHAT_IDENTITY=local` {LOCAL_IMPORT_MEGABYTES:,}. "
        "`0`: no imports.",
    )
    turns_at_once: int = Field(
        default=256, ge=1, le=100_000, description="How many answers are generated at the same time."
    )
    turns_per_user: int = Field(
        default=4,
        ge=1,
        le=1000,
        description="How many answers are generated at the same time for one user; further ones wait in the queue.",
    )
    turns_waiting: int = Field(
        default=512,
        ge=0,
        le=100_000,
        description="Maximum length of the queue. If it is full, new messages are refused.",
    )
    max_message_chars: int = Field(
        default=100_000, ge=100, le=900_000, description="Maximum length of a message, in characters."
    )
    max_images: int = Field(default=4, ge=0, le=16, description="Maximum number of images in a message.")
    max_documents: int = Field(
        default=8, ge=0, le=16, description="Maximum number of documents in a message. `0`: no documents."
    )
    max_collection_documents: int = Field(
        default=100,
        ge=0,
        le=1000,
        description="Maximum number of documents in a collection. `0`: no collections, as with `CHAT_MAX_DOCUMENTS=0`.",
    )
    document_megabytes: int = Field(
        default=20, ge=1, le=50, description="Maximum size of the file of a document, in MB."
    )
