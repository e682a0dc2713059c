"""Settings of the models."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from chatapp.config.field_types import JSON_LIST, Format, Hours, ModelId, ServerUrl, TokenPrice, Url
from chatapp.config.store_settings import GoogleCloudSettings
from chatapp.domain.conversation import Place  # noqa: TC001  # pydantic reads the annotations
from chatapp.models import TimeLimits

BUILT_IN_MODELS = ("gemma", "gemini", "demo")


class ExtraModel(BaseModel):
    """One more model behind an OpenAI-compatible API, as an item of ``CHAT_MODELS``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ModelId
    label: str = Field(min_length=1, max_length=80)
    url: ServerUrl = Field(min_length=1)
    model: str = ""
    api_key: SecretStr = SecretStr("")
    context_tokens: int | None = Field(default=None, ge=256, le=100_000_000)
    images: bool | None = None
    place: Place | None = None
    price: TokenPrice = None
    ignores: tuple[Literal["temperature", "top_p"], ...] = ()


class ModelSettings(GoogleCloudSettings):
    """Which models the chat offers, and how long it waits for them.

    The chat offers Gemma if `CHAT_GEMMA_URL` is set, Gemini if a Google Cloud project or an API key is set, the models
    of `CHAT_MODELS`, and the models that run inside of the chat.
    """

    default_model: str = Field(
        default="",
        description="Id of the preselected model: `gemma`, `gemini`, `demo`, the id of a downloaded model, an id in "
        "`CHAT_MODELS`, or `ollama/` and the name of a model of Ollama. If not set: the first model that is ready.",
    )
    gemma_url: ServerUrl = Field(
        default="",
        description="Base URL of an OpenAI-compatible server (vLLM, Ollama, LM Studio, llama.cpp), such as "
        "`http://localhost:8000`. With or without the version, as its provider documents it. A query, such as Azure's "
        "`?api-version=2024-10-21`, is sent with each request.",
    )
    gemma_model: str = Field(
        default="",
        description="Name of the model on that server. If not set: the first model that the server lists and that can "
        "chat.",
    )
    gemma_context_tokens: int | None = Field(
        default=None,
        ge=256,
        le=100_000_000,
        description="Size of the model's context on that server, in tokens of the prompt and the answer together. If "
        "not set: as the server says (vLLM, llama.cpp, Ollama, LM Studio), else learned from its answers.",
    )
    gemma_api_key: SecretStr = Field(default=SecretStr(""), description="API key of that server, if it needs one.")
    gemma_label: str = Field(
        default="Gemma3 12b it", min_length=1, max_length=80, description="Name of the model on the page."
    )
    gemma_images: bool | None = Field(
        default=None,
        description="Whether the model accepts images. If not set: as the server reports, else judged by the name.",
    )
    gemma_place: Place | None = Field(
        default=None, description="Where the model runs, as the page shows it. If not set: judged by the URL."
    )
    gemma_price: TokenPrice = Field(
        default=None, description="US dollars per million input and output tokens; the page shows the cost of answers."
    )
    gemma_pods: str = Field(
        default="",
        pattern=r"^([a-z0-9-]{1,63}/[A-Za-z0-9._/=,-]+)?$",
        description="The model server's Pods as `NAMESPACE/LABEL=VALUE`, for a chat in the same cluster. The page then "
        "says why the model is not ready, such as waiting for GPUs.",
    )
    gemma_deployment: str = Field(
        default="",
        pattern=r"^((leaderworkerset/)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$",
        description="Name of the Deployment of these Pods, in the same namespace: the page then also says whether it "
        "is switched off. `leaderworkerset/NAME`: they are those of a LeaderWorkerSet, on several machines.",
    )
    gemma_idle_minutes: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Minutes without a question after which the chat scales this Deployment to zero; a question wakes "
        "it. 0: it is never scaled. Otherwise at least 5.",
    )
    gemma_office_hours: Hours = Field(
        default="",
        description="Hours in which it is not scaled to zero, such as `Sun-Thu 08:00-18:00 Asia/Jerusalem`, several "
        "separated by commas (`Mon-Fri 08:00-18:00, Sat 09:00-13:00 Europe/Berlin`). It is woken when they begin.",
    )
    gemini_api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        description="API key for Gemini without a Google Cloud project.",
    )
    gemini_model: str = Field(default="gemini-3.5-flash-lite", min_length=1, description="Model id of Gemini.")
    gemini_label: str = Field(default="Gemini", min_length=1, max_length=80, description="Name of Gemini on the page.")
    gemini_price: TokenPrice = Field(
        default=None,
        description="US dollars per million input and output tokens. If not set: Google's list price, if known.",
    )
    gemini_thinking_tokens: int = Field(
        default=0,
        ge=0,
        le=32_768,
        description="Tokens that Gemini may use for thinking, in addition to the maximum length of the answer.",
    )
    gemini_base_url: Url = Field(default="", description="Another base URL for the Gemini API, such as a proxy.")
    models: Annotated[tuple[ExtraModel, ...], NoDecode, JSON_LIST, Format("JSON list of objects")] = Field(
        default=(),
        description='More models: `[{"id": "qwen", "label": "Qwen", "url": "http://localhost:11434"}]`. Optional keys: '
        "`model`, `api_key`, `context_tokens`, `images`, `place`, `price`, and `ignores` (the parameters that the "
        'model ignores: `["temperature", "top_p"]`).',
    )
    titles: Literal["model", "first-words"] = Field(
        default="model",
        description="How conversations get their titles: from the `model` that answers first, or from the "
        "`first-words` of the first message.",
    )
    embeddings: Literal["off", "server", "gemini"] = Field(
        default="off",
        description="Find passages of documents by meaning too, and across languages: with the embeddings of a "
        "`server` (`CHAT_EMBEDDINGS_URL`), or of `gemini` (on Vertex AI where a Google Cloud project is set). The text "
        "of a document goes there only in conversations whose model runs at the same place, unless "
        "`CHAT_EMBEDDINGS_ELSEWHERE` allows more.",
    )
    embeddings_url: ServerUrl = Field(
        default="",
        description="Base URL of an OpenAI-compatible server with `/v1/embeddings`. If not set: `CHAT_GEMMA_URL`.",
    )
    embeddings_model: str = Field(
        default="",
        description="Name of the embedding model. If not set: of Gemini `gemini-embedding-2`, in a region of Vertex AI "
        "`gemini-embedding-001`; for a server none, whose vectors of documents are then not stored.",
    )
    embeddings_api_key: SecretStr = Field(default=SecretStr(""), description="API key of that server, if it needs one.")
    embeddings_place: Place | None = Field(
        default=None, description="Where the embeddings are made. If not set: judged by the URL."
    )
    embeddings_elsewhere: bool = Field(
        default=False,
        description="Whether the text of documents may go to the embeddings although the conversation's model runs at "
        "another place.",
    )
    connect_seconds: float = Field(
        default=5, gt=0, le=600, description="Timeout for connecting to a model server, in seconds."
    )
    first_token_seconds: float = Field(
        default=120, gt=0, le=3600, description="Timeout for the first token of an answer, in seconds."
    )
    between_tokens_seconds: float = Field(
        default=60, gt=0, le=3600, description="Timeout between two tokens of an answer, in seconds."
    )

    @field_validator("gemma_idle_minutes")
    @classmethod
    def _sleep_has_a_deployment(cls, minutes: int, info: ValidationInfo) -> int:
        if 0 < minutes < 5:
            raise ValueError("it must be 0 or at least 5")
        if minutes and not all(info.data.get(name) for name in ("gemma_url", "gemma_pods", "gemma_deployment")):
            raise ValueError("it needs CHAT_GEMMA_URL, CHAT_GEMMA_PODS and CHAT_GEMMA_DEPLOYMENT, which it scales")
        return minutes

    @field_validator("gemma_office_hours")
    @classmethod
    def _hours_are_of_a_sleep(cls, hours: str, info: ValidationInfo) -> str:
        if hours and not info.data.get("gemma_idle_minutes"):
            raise ValueError("it needs CHAT_GEMMA_IDLE_MINUTES, without which Gemma never sleeps")
        return hours

    @field_validator("models")
    @classmethod
    def _ids_are_unique(cls, models: tuple[ExtraModel, ...]) -> tuple[ExtraModel, ...]:
        ids = [*BUILT_IN_MODELS, *(model.id for model in models)]
        doubled = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if doubled:
            raise ValueError(f"these ids are taken twice: {', '.join(doubled)}; choose others")
        return models

    @property
    def time_limits(self) -> TimeLimits:
        """The timeouts for a model server."""
        return TimeLimits(
            connect=self.connect_seconds,
            first_token=self.first_token_seconds,
            between_tokens=self.between_tokens_seconds,
        )
