"""Every setting of the stack: Pulumi's configuration, parsed and validated.

Set a key with ``pulumi config set KEY VALUE``. ``Pulumi.yaml`` describes each key of this project; the target of the
deployment is configured with the providers' own keys (``gcp:project``, ``kubernetes:context`` ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar

import pulumi
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from gemma.profiles import PROFILES, REVISIONS, GpuProfile
from stacks.validation.conflicts import conflicts
from stacks.validation.messages import invalid_value, report, unknown_key
from stacks.validation.residency import RESIDENCIES, Residency
from stacks.validation.types import (  # noqa: TC001 - pydantic reads the annotations
    Arguments,
    ChatImage,
    Domain,
    GpuProfileName,
    Hours,
    Image,
    IngressKind,
    Network,
    People,
    SignIn,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SECRET_KEYS = ("oauthClientSecret", "huggingFaceToken", "geminiApiKey", "gemmaApiKey", "embeddingsApiKey")

_NETWORK_NAME = r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$"
Tokens = Annotated[int, Field(ge=0, le=10**12)]
Dollars = Annotated[float, Field(ge=0, le=10**6, allow_inf_nan=False)]


_Settings = TypeVar("_Settings", bound="Settings")


class InvalidSettings(pulumi.RunError):
    """One or more settings are wrong; each line names a key, its value and what is allowed."""


class Settings(BaseModel):
    """The stack's settings. Keys are the fields' names in camel case; `Pulumi.yaml` describes them.

    Raises:
        InvalidSettings: from `Settings.load` and `Settings.checked`, with every wrong key at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    platform: Literal["gcp", "kubernetes"] = "gcp"
    project: str = Field(default="", alias="gcp:project", pattern=r"^([a-z][a-z0-9.:-]{4,61}[a-z0-9])?$")
    region: str = Field(default="us-central1", alias="gcp:region", pattern=r"^[a-z]+-[a-z]+\d{1,2}$")

    theme: Literal["blue", "green"] = "blue"
    exposure: Literal["auto", IngressKind] = "auto"
    domain: Domain = Field(
        default="",
        pattern=r"^(([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$",
        max_length=253,
    )
    cloud_armor: bool = False
    # The key keeps its name; it means the sign-in (see `sign_in`), not a workload identity.
    identity: Literal["auto", SignIn] = "auto"
    allowed_people: People = ()
    oauth_client_id: str = Field(default="", pattern=r"^([\w-]+\.apps\.googleusercontent\.com)?$")
    oauth_client_secret: SecretStr = SecretStr("")
    guests: bool = False
    installable: bool = False
    share_links: Literal["off", "users", "anyone"] = "off"

    messages_per_minute: int = Field(default=0, ge=0, le=10_000)
    tokens_per_day: Tokens = 0
    cost_per_day: Dollars = 0.0
    all_tokens_per_day: Tokens = 0
    all_cost_per_day: Dollars = 0.0
    chat_replicas: int = Field(default=0, ge=0, le=20)
    image: ChatImage = "auto"
    image_registry: str = Field(default="", pattern=r"^([\w.-]+(:\d+)?(/[a-z0-9._-]+)*)?$")
    volume_size: str = Field(default="5Gi", pattern=r"^[1-9]\d*(Mi|Gi|Ti)$")
    storage_class: str = Field(default="", pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$")

    gemma: GpuProfileName = "auto"
    gemma_model: str = Field(default="", pattern=r"^([\w.-]+/[\w.-]+)?$")
    gemma_revision: str = Field(default="", pattern=r"^([\w][\w./-]{0,99})?$")
    gemma_image: Image = "vllm/vllm-openai:v0.33.0"
    gemma_args: Arguments = ()
    gemma_url: str = Field(default="", pattern=r"^(https?://[^\s/?#]+[^\s#]*)?$")
    gemma_api_key: SecretStr = SecretStr("")
    gemma_idle_minutes: int = Field(default=0, ge=0, le=10_000)
    gemma_office_hours: Hours = ""
    gemma_max_replicas: int = Field(default=1, ge=1, le=20)
    gemma_routing: Literal["service", "inference-gateway"] = "service"
    gemma_picker_image: Image = "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.9.0"
    gpu_fallback: bool = False
    weights_bucket: bool = False
    hugging_face_token: SecretStr = SecretStr("")

    gemini_model: str = Field(default="gemini-3.5-flash-lite", pattern=r"^[a-z0-9][a-z0-9.-]{1,62}$")
    gemini_api_key: SecretStr = SecretStr("")
    build_region: str = Field(default="", pattern=r"^(global|[a-z]+-[a-z]+\d{1,2})?$")
    vertex_location: str = Field(default="", pattern=r"^(global|eu|us|[a-z]+-[a-z]+\d{1,2})?$")

    embeddings: Literal["off", "server", "gemini"] = "off"
    embeddings_url: str = Field(default="", pattern=r"^(https?://[^\s/?#]+[^\s#]*)?$")
    embeddings_model: str = Field(default="", pattern=r"^([\w][\w.:/@-]{0,199})?$")
    embeddings_api_key: SecretStr = SecretStr("")
    embeddings_place: Literal["auto", "own-gpus", "other-server"] = "auto"
    embeddings_elsewhere: bool = False

    residency: Literal["none", "eu", "us"] = "none"
    database_location: str = Field(default="", pattern=r"^([a-z]+\d{1,2}|[a-z]+-[a-z]+\d{1,2})?$")
    retention_days: int = Field(default=0, ge=0, le=36_500)
    point_in_time_recovery: bool = False
    # 14 weeks at most: https://docs.cloud.google.com/firestore/native/docs/backups
    backup_days: int = Field(default=0, ge=0, le=98)
    network: str = Field(default="", pattern=_NETWORK_NAME)
    subnetwork: str = Field(default="", pattern=_NETWORK_NAME)
    proxy_range: Network = ""
    private_nodes: bool = False
    alert_email: str = Field(default="", pattern=r"^([^@\s]+@[^@\s]+\.[^@\s]+)?$", max_length=254)
    otel_endpoint: str = Field(default="", pattern=r"^(https?://[^\s/?#]+[^\s?#]*)?$")
    monthly_budget: int = Field(default=0, ge=0, le=10**9)
    release_channel: Literal["RAPID", "REGULAR", "STABLE"] = "REGULAR"

    kubeconfig: SecretStr = Field(default=SecretStr(""), alias="kubernetes:kubeconfig")
    kube_context: str = Field(default="", alias="kubernetes:context")

    @classmethod
    def load(cls) -> Self:
        """Read the settings of the current stack.

        Raises:
            InvalidSettings: with every wrong key, not only the first.
        """
        config = {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}
        secrets = {key for key in config if pulumi.runtime.is_config_secret(key)}
        return _valid(cls.parse(pulumi.Config().name, config, secrets))

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings for `values` (key -> value).

        Raises:
            InvalidSettings: with every wrong key.
        """
        return _valid(cls._validated(values))

    @classmethod
    def parse(cls, project: str, config: Mapping[str, Any], secrets: Collection[str]) -> tuple[Self, list[str]]:
        """Return the settings in a stack's configuration, and an error message for each wrong one.

        Args:
            project: name of the Pulumi project, the namespace of its own keys.
            config: full key, such as ``gcp:project`` or ``hybrid-chat:platform`` -> value.
            secrets: the full keys that are stored encrypted.
        """
        keys = cls.keys()
        values = {key: config.get(key if ":" in key else f"{project}:{key}") for key in keys}
        # `pulumi config set KEY ''` and the defaults of Pulumi.yaml write "not set" as an empty value.
        values = {key: value for key, value in values.items() if value not in (None, "")}
        messages = [
            f"{project}:{key} is stored in plain text; store it encrypted: pulumi config set --secret {key}"
            for key in SECRET_KEYS
            if key in values and f"{project}:{key}" not in secrets
        ]
        own = {key.removeprefix(f"{project}:") for key in config if key.startswith(f"{project}:")}
        messages += [unknown_key(key, keys) for key in sorted(own - keys)]
        settings, others = cls._validated(values)
        return settings, messages + others

    @classmethod
    def _validated(cls, values: Mapping[str, Any]) -> tuple[Self, list[str]]:
        """Return the settings for the valid ones of `values`, and an error message for each of the others."""
        messages: list[str] = []
        wrong: set[str] = set()
        try:
            settings = cls.model_validate(dict(values))
        except ValidationError as error:
            for problem in error.errors():
                key = str(problem["loc"][0])
                wrong.add(key)
                messages.append(invalid_value(problem, is_secret=key in {*SECRET_KEYS, "kubernetes:kubeconfig"}))
            # Without the wrong values, so that the conflicts between the others are reported in the same run.
            settings = cls.model_validate({key: value for key, value in values.items() if key not in wrong})
        return settings, messages + [text for keys, text in conflicts(settings) if not wrong.intersection(keys)]

    @classmethod
    def keys(cls) -> set[str]:
        """Return all configuration keys; those of other projects with their namespace (``gcp:project``)."""
        return {str(field.alias) for field in cls.model_fields.values()}

    @property
    def on_gcp(self) -> bool:
        """Whether the stack creates its own cluster on Google Cloud."""
        return self.platform == "gcp"

    @property
    def gpu_profile(self) -> GpuProfile | None:
        """The GPUs on which this stack serves Gemma; `None`: it does not."""
        if self.gemma == "auto":
            return PROFILES["l4x1"] if self.on_gcp and not self.gemma_url else None
        return PROFILES.get(self.gemma)

    @property
    def weights(self) -> tuple[str, str]:
        """The model and the revision of Gemma's weights; the revision is empty for the newest one of another model."""
        model = self.gemma_model or (self.gpu_profile.model if self.gpu_profile else "")
        return model, self.gemma_revision or REVISIONS.get(model, "")

    @property
    def uses_compute_class(self) -> bool:
        """Whether GKE looks for Gemma's GPU in several ways; always where no machine is sold on demand."""
        profile = self.gpu_profile
        return bool(self.on_gcp and profile and (self.gpu_fallback or not profile.on_demand))

    @property
    def serves_on_several_machines(self) -> bool:
        """Whether each server of Gemma runs on several machines."""
        return self.gpu_profile is not None and self.gpu_profile.machines > 1

    @property
    def balances_gemma(self) -> bool:
        """Whether a load balancer of its own distributes the questions to Gemma's servers."""
        return self.gemma_routing == "inference-gateway"

    @property
    def image_source(self) -> str:
        """``cloud-build``, ``docker``, or the reference of an existing image."""
        if self.image == "auto":
            return "cloud-build" if self.on_gcp else "docker"
        return self.image

    @property
    def builds_image(self) -> bool:
        """Whether the deployment builds the chat's image."""
        return self.image_source in {"cloud-build", "docker"}

    @property
    def cloud_build_region(self) -> str:
        """Where Cloud Build runs; ``global``: where Google places it."""
        return self.build_region or (self.region if self.bound_to else "global")

    @property
    def bound_to(self) -> Residency | None:
        """The residency of the deployment; `None`: it has none."""
        return RESIDENCIES.get(self.residency)

    @property
    def model_location(self) -> str:
        """The location of Gemini on Vertex AI."""
        return self.vertex_location or (self.bound_to.model if self.bound_to else "global")

    @property
    def firestore_location(self) -> str:
        """The location of the database."""
        return self.database_location or (self.bound_to.database if self.bound_to else "nam5")

    @property
    def replicas(self) -> int:
        """Number of replicas of the chat."""
        return self.chat_replicas or (2 if self.on_gcp else 1)

    @property
    def ingress(self) -> IngressKind:
        """How browsers reach the chat: `exposure` with ``auto`` resolved."""
        if self.exposure == "auto":
            return "https" if self.on_gcp else "private"
        return self.exposure

    @property
    def sign_in(self) -> SignIn:
        """How people sign in: `identity` with ``auto`` resolved, which never gives ``anonymous`` with https."""
        if self.identity != "auto":
            return self.identity
        if self.ingress != "https":
            return "anonymous"
        return "google" if self.oauth_client_id else "iap"

    @property
    def uses_googles_client(self) -> bool:
        """Whether people sign in with Google's own OAuth client, which admits members of an organization only."""
        return self.sign_in == "iap" and not self.oauth_client_id


def secret_output(value: SecretStr) -> pulumi.Output[str] | None:
    """Return a secret setting as a Pulumi secret; `None`: it is not set."""
    text = value.get_secret_value()
    return pulumi.Output.secret(text) if text else None


def _valid(parsed: tuple[_Settings, list[str]]) -> _Settings:
    settings, messages = parsed
    if messages:
        raise InvalidSettings(report(messages))
    return settings
