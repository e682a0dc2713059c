"""Settings of the models that run inside of the chat."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from chatapp.config.field_types import JSON_LIST, Folder, Format, ModelId, Url
from chatapp.models.local.catalogue import CATALOGUE, HubFile, Licence, LocalEntry
from chatapp.models.local.computer import CACHE_BYTES, COMPUTATION_BYTES, SMALLEST_CONTEXT


class CatalogueFile(BaseModel):
    """A file of an item of ``CHAT_LOCAL_CATALOGUE``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str = Field(pattern=r"^[^/\\\s]+\.gguf$")
    size: int = Field(gt=0)
    sha256: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")


class CatalogueItem(CatalogueFile):
    """One more model that can be downloaded, as an item of ``CHAT_LOCAL_CATALOGUE``."""

    id: ModelId
    label: str = Field(min_length=1, max_length=80)
    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(default="main", pattern=r"^[\w./-]+$")
    projector: CatalogueFile | None = None
    licence: str = Field(min_length=1, max_length=80)
    licence_url: Url = Field(min_length=1)
    context_tokens: int = Field(default=8192, ge=SMALLEST_CONTEXT, le=10_000_000)
    memory_bytes: int = Field(default=0, ge=0)

    def entry(self) -> LocalEntry:
        """Return it as an entry of the catalogue."""
        projector = self._hub_file(self.projector) if self.projector else None
        size = self.size + (projector.size if projector else 0)
        return LocalEntry(
            id=self.id,
            label=self.label,
            file=self._hub_file(self),
            projector=projector,
            licence=Licence(self.licence, self.licence_url),
            context_tokens=self.context_tokens,
            cache_bytes=CACHE_BYTES,
            memory_bytes=self.memory_bytes or size + COMPUTATION_BYTES,
            languages=0,
        )

    def _hub_file(self, file: CatalogueFile) -> HubFile:
        return HubFile(
            repository=self.repository, revision=self.revision, name=file.file, size=file.size, sha256=file.sha256
        )


class LocalModelSettings(BaseSettings):
    """Models on this computer: inside of the chat, with llama.cpp, and of servers that the chat finds by itself."""

    embedded_model: bool = Field(
        default=True,
        description="Offer models that run inside the chat: the small demo model (SmolLM2), and, in a chat for one "
        "person (`CHAT_IDENTITY=local`), Gemma models to download.",
    )
    local_model: str = Field(
        default="",
        description="A model to run inside the chat: `gemma-3-1b`, `gemma-3-4b`, `gemma-4-e2b`, `gemma-4-e4b` or "
        "`gemma-4-12b`, which is downloaded at the first start, or the path of a GGUF file. It is preselected.",
    )
    local_model_licence: Literal["", "accepted"] = Field(
        default="",
        description="`accepted`: you have read and accept the licence of `CHAT_LOCAL_MODEL`. If not set, the terminal "
        "asks before the download.",
    )
    local_idle_minutes: float = Field(
        default=15,
        ge=0,
        le=100_000,
        description="Minutes without a question after which a downloaded model is unloaded from memory. 0: never.",
    )
    local_catalogue: Annotated[tuple[CatalogueItem, ...], NoDecode, JSON_LIST, Format("JSON list of objects")] = Field(
        default=(),
        description='More models to download: `[{"id": "qwen", "label": "Qwen", "repository": "owner/name", "file": '
        '"model.gguf", "size": 986048768, "licence": "Apache-2.0", "licence_url": "https://..."}]`. Optional keys: '
        "`revision`, `sha256` (if not set: as the hub states it), `context_tokens`, `memory_bytes`, and `projector` "
        "for images (an object with `file`, `size` and `sha256`).",
    )
    find_servers: bool = Field(
        default=True,
        description="Offer the models of servers that run on this computer already: Ollama, and vLLM on port 8000 "
        "(`make gemma`). Only in a chat for one person (`CHAT_IDENTITY=local`).",
    )
    ollama_host: str = Field(
        default="",
        validation_alias=AliasChoices("OLLAMA_HOST"),
        max_length=300,
        description="Where Ollama is, as Ollama itself reads it: `127.0.0.1:11434` if not set.",
    )
    models_dir: Folder | None = Field(
        default=None, description="Folder of downloaded models. If not set: `models` in the data folder."
    )
    hf_endpoint: Url = Field(
        default="",
        validation_alias=AliasChoices("HF_ENDPOINT", "CHAT_HF_ENDPOINT"),
        description="Where models are downloaded from: a mirror of `https://huggingface.co`. A proxy is taken from "
        "`HTTPS_PROXY`.",
    )
    hf_token: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
        description="Token of a Hugging Face account, for models whose repository asks for one. No model of the list "
        "needs it.",
    )

    @field_validator("local_catalogue")
    @classmethod
    def _local_ids_are_unique(cls, items: tuple[CatalogueItem, ...]) -> tuple[CatalogueItem, ...]:
        ids = [*(entry.id for entry in CATALOGUE), *(item.id for item in items)]
        doubled = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if doubled:
            raise ValueError(f"these ids are taken twice: {', '.join(doubled)}; choose others")
        return items

    @property
    def local_entries(self) -> tuple[LocalEntry, ...]:
        """All models that can be downloaded."""
        return (*CATALOGUE, *(item.entry() for item in self.local_catalogue))
