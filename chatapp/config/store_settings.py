"""Settings of the stores, and of Google Cloud."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import platformdirs
from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings

from chatapp.config.field_types import Folder  # noqa: TC001  # pydantic reads the annotations


class GoogleCloudSettings(BaseSettings):
    """The Google Cloud project for Gemini on Vertex AI and for Firestore.

    The chat uses Application Default Credentials: `gcloud auth application-default login`.
    """

    google_cloud_project: str = Field(
        default="", validation_alias="GOOGLE_CLOUD_PROJECT", description="Id of the project."
    )
    google_cloud_location: str = Field(
        default="global", validation_alias="GOOGLE_CLOUD_LOCATION", min_length=1, description="Location of Vertex AI."
    )
    residency: Literal["none", "eu", "us"] = Field(
        default="none",
        description="The European Union or the United States, if the operator has bound the data to it. The chat then "
        "suggests no location outside; `GOOGLE_CLOUD_LOCATION` is where Gemini answers.",
    )


class StoreSettings(GoogleCloudSettings):
    """Where conversations are stored, and for how long.

    With Firestore, each write goes to a journal in the data folder first and is then sent to Firestore.
    """

    store: Literal["sqlite", "firestore"] = Field(
        default="sqlite",
        description="`sqlite`: a file in the data folder. `firestore`: Cloud Firestore, which several replicas can "
        "share; it needs `GOOGLE_CLOUD_PROJECT`.",
    )
    data_dir: Folder = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("hybrid-chat", appauthor=False)),
        description="Folder of the SQLite files: the conversations, or the journal of Firestore. If not set: the "
        "user's data folder. `~` is the home folder.",
    )
    retention_days: int | None = Field(
        default=None, ge=1, le=36_500, description="Days until messages are deleted. If not set: never."
    )
    keep_document_files: bool | None = Field(
        default=None,
        description="Keep the files of documents besides their texts: they can be downloaded, and a PDF opens as "
        "printed at the cited page. They are in a folder beside the SQLite file. If not set: with `sqlite`. With "
        "`firestore` they cannot be kept.",
    )
    firestore_database: str = Field(default="(default)", min_length=1, description="Id of the Firestore database.")
    journal_writes: int = Field(
        default=10_000,
        ge=1,
        le=10_000_000,
        description="Maximum number of writes that wait for Firestore. If it is reached, new messages are refused.",
    )
    journal_megabytes: int = Field(
        default=256,
        ge=1,
        le=1_000_000,
        description="Maximum size of the writes that wait for Firestore, in MB. If it is reached, new messages are "
        "refused.",
    )
    drain_seconds: float = Field(
        default=30,
        ge=0,
        le=600,
        description="On shutdown, how many seconds the chat tries to send waiting writes to Firestore. The rest is "
        "sent after the next start.",
    )
    acknowledge: Literal["local", "cloud"] = Field(
        default="local",
        description="When a message counts as sent. `local`: once it is on this computer's disk. `cloud`: once "
        "Firestore has it too, for which it waits up to 1 s while the model is already answering. After that, the page "
        "marks it until Firestore has it.",
    )
    abandoned_seconds: float = Field(
        default=60,
        ge=6,
        le=3600,
        description="Seconds after which an answer that another replica stopped writing is shown as interrupted.",
    )

    @field_validator("store")
    @classmethod
    def _firestore_needs_a_project(cls, store: str, info: ValidationInfo) -> str:
        if store == "firestore" and not info.data.get("google_cloud_project"):
            raise ValueError("it needs GOOGLE_CLOUD_PROJECT, the project with the database")
        return store

    @field_validator("keep_document_files")
    @classmethod
    def _files_need_sqlite(cls, keep: bool | None, info: ValidationInfo) -> bool | None:  # noqa: FBT001  # pydantic's call
        if keep and info.data.get("store") == "firestore":
            raise ValueError("it needs CHAT_STORE=sqlite: a document of Firestore holds 1 MiB, and files are larger")
        return keep
