"""Every setting of the chat: environment variables (or a line in ``.env``) -> one typed, checked object.

Names start with ``CHAT_``, but for those that Google's own tools define already and the codelab's ``THEME``.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import platformdirs
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from chatapp.config.auth_settings import IdentitySettings
from chatapp.domain.conversation import Place  # noqa: TC001  # pydantic looks it up
from chatapp.domain.errors import ChatError
from chatapp.limits import EVERYBODY, PERSON, Most
from chatapp.models import Price, TimeLimits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic_core import ErrorDetails


BUILT_IN_MODELS = ("gemma", "gemini", "demo")


class InvalidSettings(ChatError):
    """One or more settings are wrong; the sentence names each one, its value and what is allowed."""


def _checked_url(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        raise ValueError("it must be an address like http://localhost:8000/v1")
    return value.rstrip("/")


Url = Annotated[str, BeforeValidator(_checked_url)]
ModelId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


def _parsed_price(value: object) -> object:
    if not isinstance(value, str):
        return value
    numbers = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*", value)
    if numbers is None:
        raise ValueError("it must be US dollars per million tokens that are read and written, like 0.30/2.50")
    return Price(float(numbers[1]), float(numbers[2]))


PriceOfTokens = Annotated[Price | None, NoDecode, BeforeValidator(_parsed_price)]


def _parsed_networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return tuple(ip_network(part) for part in re.split(r"[\s,]+", value) if part)
    except ValueError as error:
        raise ValueError(f"it must be networks like 10.0.0.0/8, separated by commas ({error})") from error


Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_parsed_networks)]
Limit = Annotated[int | None, Field(ge=0, le=10**12)]
LimitOfCost = Annotated[float | None, Field(ge=0, le=10**6, allow_inf_nan=False)]


class ExtraModel(BaseModel):
    """One more model behind an OpenAI-compatible API, as an item of ``CHAT_MODELS``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: ModelId
    label: str = Field(min_length=1, max_length=80)
    url: Url = Field(min_length=1)
    model: str = ""
    api_key: SecretStr = SecretStr("")
    context_tokens: int | None = Field(default=None, ge=256)
    images: bool | None = None
    place: Place | None = None
    price: PriceOfTokens = None
    ignores: tuple[Literal["temperature", "top_p"], ...] = ()


def _parsed_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"it must be a JSON list of models ({error})") from error


class Settings(IdentitySettings):
    """The chat's settings.

    Raises:
        InvalidSettings: from `load_settings`, which is how the app makes one.
    """

    model_config = SettingsConfigDict(
        env_prefix="CHAT_", env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True, populate_by_name=True
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on")
    port: int = Field(default=7860, ge=1, le=65535, description="port to listen on")
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="port of its own for Prometheus' metrics; none if not set"
    )
    root_url: Url = Field(
        default="", description="the address people use when a proxy stands in front, such as https://chat.example.org"
    )
    connections: int = Field(
        default=4096, ge=16, le=60_000, description="how many connections may be open, fewer if the system allows fewer"
    )
    trusted_proxies: Networks = Field(
        default=(), description="networks of the proxies whose X-Forwarded-For is believed: 10.0.0.0/8, 192.0.2.7"
    )
    theme: Literal["blue", "green"] = Field(
        default="blue", validation_alias=AliasChoices("THEME", "CHAT_THEME"), description="colour of the page"
    )
    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("hybrid-chat", appauthor=False)),
        description="folder of the history, or of what waits to be saved to Firestore",
    )
    log_format: Literal["text", "json"] = Field(default="text", description="json is what Cloud Logging understands")
    shutdown_seconds: float = Field(
        default=3, ge=0, le=600, description="time for answers that are being written to end, when the chat ends"
    )
    turns_at_once: int = Field(default=256, ge=1, le=100_000, description="how many answers are written at once")
    turns_per_user: int = Field(default=4, ge=1, le=1000, description="how many of them for one person; others wait")
    turns_waiting: int = Field(
        default=512, ge=0, le=100_000, description="how many may wait to begin; beyond, a message is refused"
    )
    messages_per_minute: Limit = Field(
        default=None, description="most messages of one person in a minute; 0: no limit (so where identity is local)"
    )
    tokens_per_day: Limit = Field(default=None, description="most tokens of one person, in a day of UTC")
    cost_per_day: LimitOfCost = Field(default=None, description="most that they may cost, in US dollars")
    all_messages_per_minute: Limit = Field(default=None, description="most messages of all, at one copy of the chat")
    all_tokens_per_day: Limit = Field(default=None, description="most tokens, likewise")
    all_cost_per_day: LimitOfCost = Field(default=None, description="most that they may cost, likewise")
    new_guests_per_hour: int = Field(
        default=60, ge=0, le=1_000_000, description="most new users of 'anonymous' from one address; 0: no limit"
    )
    max_message_chars: int = Field(default=100_000, ge=100, le=900_000, description="longest message, in characters")
    max_images: int = Field(default=4, ge=0, le=16, description="how many pictures a message may have")
    titles: Literal["model", "first-words"] = Field(
        default="model", description="who names a conversation: the model that answered first, or its first words"
    )

    default_model: str = Field(default="", description="id of the model that is chosen first")
    gemma_url: Url = Field(default="", description="OpenAI-compatible address of Gemma (vLLM, Ollama, LM Studio)")
    gemma_model: str = Field(default="", description="name of the model there; empty: the first that it lists")
    gemma_api_key: SecretStr = Field(default=SecretStr(""), description="key, if that server wants one")
    gemma_label: str = Field(default="Gemma3 12b it", min_length=1, max_length=80)
    gemma_images: bool | None = Field(
        default=None, description="whether it sees pictures; not set: as the server lists it, else as its name tells"
    )
    gemma_place: Place | None = Field(
        default=None, description="where it runs: own-gpus, this-computer, other-server; not set: by its address"
    )
    gemma_price: PriceOfTokens = Field(default=None, description="US dollars per million tokens in and out: 0.10/0.40")
    gemma_pods: str = Field(
        default="",
        pattern=r"^([a-z0-9-]{1,63}/[A-Za-z0-9._/=,-]+)?$",
        description="Gemma's pods as NAMESPACE/LABEL=VALUE, to say why it is not there; for a chat in their cluster",
    )
    gemini_label: str = Field(default="Gemini", min_length=1, max_length=80)
    gemini_model: str = Field(default="gemini-3.5-flash-lite", min_length=1, description="Gemini's model id")
    gemini_price: PriceOfTokens = Field(default=None, description="as for Gemma; not set: the list price, if known")
    gemini_thinking_tokens: int = Field(
        default=0, ge=0, le=32_768, description="tokens Gemini may think before it answers"
    )
    gemini_api_key: SecretStr = Field(
        default=SecretStr(""),
        validation_alias=AliasChoices("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        description="key of the Gemini API, for Gemini without a Google Cloud project",
    )
    gemini_base_url: Url = Field(default="", description="another address for Gemini's API, such as a proxy")
    google_cloud_project: str = Field(
        default="",
        validation_alias="GOOGLE_CLOUD_PROJECT",
        description="project for Gemini on Vertex AI and for Firestore, with Application Default Credentials",
    )
    google_cloud_location: str = Field(
        default="global",
        validation_alias="GOOGLE_CLOUD_LOCATION",
        min_length=1,
        description="location of Vertex AI",
    )
    store: Literal["sqlite", "firestore"] = Field(
        default="sqlite",
        description="where the history is: a file in the data folder, or Cloud Firestore by way of a journal there",
    )
    firestore_database: str = Field(default="(default)", min_length=1, description="id of the Firestore database")
    retention_days: int | None = Field(
        default=None, ge=1, le=36_500, description="days until messages expire; never if not set"
    )
    journal_writes: int = Field(
        default=10_000, ge=1, le=10_000_000, description="how many writes may wait to be saved to Firestore"
    )
    journal_megabytes: int = Field(
        default=256, ge=1, le=1_000_000, description="how much may wait to be saved to Firestore"
    )
    abandoned_seconds: float = Field(
        default=60,
        ge=6,
        le=3600,
        description="after which an answer that another copy of the chat stopped writing is shown as interrupted",
    )
    drain_seconds: float = Field(
        default=30, ge=0, le=600, description="time to save what waits for Firestore when the chat ends"
    )
    embedded_model: bool = Field(default=True, description="offer the small demo model that runs on this computer")
    models: Annotated[tuple[ExtraModel, ...], NoDecode, BeforeValidator(_parsed_json)] = Field(
        default=(), description='more models: [{"id": "qwen", "label": "Qwen", "url": "http://localhost:11434"}]'
    )

    connect_seconds: float = Field(default=5, gt=0, le=600)
    first_token_seconds: float = Field(default=120, gt=0, le=3600)
    between_tokens_seconds: float = Field(default=60, gt=0, le=3600)

    @field_validator("metrics_port")
    @classmethod
    def _metrics_are_apart(cls, port: int | None, info: ValidationInfo) -> int | None:
        if port is not None and port == info.data.get("port"):
            raise ValueError("it must be another port than CHAT_PORT, which everybody can ask")
        return port

    @field_validator("models")
    @classmethod
    def _ids_are_unique(cls, models: tuple[ExtraModel, ...]) -> tuple[ExtraModel, ...]:
        ids = [*BUILT_IN_MODELS, *(model.id for model in models)]
        doubled = sorted({id_ for id_ in ids if ids.count(id_) > 1})
        if doubled:
            raise ValueError(f"these ids are taken twice: {', '.join(doubled)}; choose others")
        return models

    @field_validator("store")
    @classmethod
    def _firestore_has_a_project(cls, store: str, info: ValidationInfo) -> str:
        if store == "firestore" and not info.data.get("google_cloud_project"):
            raise ValueError("it needs GOOGLE_CLOUD_PROJECT, the project with the database")
        return store

    @property
    def most_per_person(self) -> Most:
        """How much one person may ask of the models."""
        return self._most("", PERSON)

    @property
    def most_of_all(self) -> Most:
        """How much everybody together may ask of the models, at one copy of the chat."""
        return self._most("all_", EVERYBODY)

    def _most(self, prefix: str, default: Most) -> Most:
        # A person alone on a computer of their own is not to be kept from it, unless they say so.
        usual = Most() if self.identity == "local" else default
        given = {field.name: getattr(self, f"{prefix}{field.name}") for field in dataclasses.fields(Most)}
        return dataclasses.replace(usual, **{name: most for name, most in given.items() if most is not None})

    @property
    def time_limits(self) -> TimeLimits:
        """How long to wait for a model server."""
        return TimeLimits(
            connect=self.connect_seconds,
            first_token=self.first_token_seconds,
            between_tokens=self.between_tokens_seconds,
        )


def load_settings() -> Settings:
    """Read the settings from the environment and ``.env``.

    Raises:
        InvalidSettings: with every wrong setting, not only the first.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidSettings("\n".join(_sentence(problem) for problem in error.errors())) from error


def unknown_settings(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each ``CHAT_`` variable that is no setting: most often a typing mistake."""
    known = sorted(name for field in Settings.model_fields for name in _variables(field))
    return [
        f"{name} is not a setting of the chat and does nothing{_did_you_mean(name, known)}."
        for name in sorted(environment)
        if name.startswith("CHAT_") and name not in known
    ]


def _did_you_mean(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _variables(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias
    if alias is None:
        return [f"CHAT_{field.upper()}"]
    return [str(name) for name in (alias.choices if isinstance(alias, AliasChoices) else [alias])]


def _sentence(problem: ErrorDetails) -> str:
    first, *rest = (str(part) for part in problem["loc"])
    name = _variables(first)[0] if first in Settings.model_fields else first
    where = f"{name} ({'.'.join(rest)})" if rest else name
    no_value = problem["input"] in ("", ()) or isinstance(problem["input"], (dict, list))
    secret = any(word in name for word in ("KEY", "SECRET")) or "api_key" in rest
    value = "" if secret or no_value else f" is {str(problem['input'])[:80]!r}:"
    wanted = problem["msg"].removeprefix("Value error, ").replace("Input should be", "it must be")
    return f"{where}{value} {wanted[:1].lower()}{wanted[1:]}."
