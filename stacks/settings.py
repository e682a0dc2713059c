"""Every setting of the stack: Pulumi's configuration -> one typed, checked object.

A person sets a key with ``pulumi config set KEY VALUE``. `Pulumi.yaml` describes the keys of this project; where to
deploy to is configured with the providers' own keys (``gcp:project``, ``kubernetes:context`` ...).
"""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

import pulumi
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from stacks.components.gpu_profiles import PROFILES, GpuProfile, is_gated
from stacks.ingress.sign_in import AllowedPerson, SignIn, WayIn, access_conflicts, parsed_people

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from pydantic_core import ErrorDetails


class InvalidSettings(pulumi.RunError):
    """One or more settings are wrong; each line names a key, its value and what is allowed."""


def _parsed_json(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError('a list is needed, such as ["--max-num-seqs=8"]') from error


def _checked_url(value: str) -> str:
    if value and not re.fullmatch(r"https?://[^\s/?#]+[^\s?#]*", value):
        raise ValueError("an address like http://ollama.example.org:11434 is needed")
    return value.rstrip("/")


def _checked_image(value: str) -> str:
    if not _IMAGE.fullmatch(value):
        raise ValueError("a container image with a tag or a digest is needed, such as example.org/chat:1.0")
    if value.endswith(":latest"):
        raise ValueError("'latest' names another image tomorrow: give a version or a digest")
    return value


def _checked_chat_image(value: str) -> str:
    if value in {"auto", "cloud-build", "docker"}:
        return value
    try:
        return _checked_image(value)
    except ValueError as error:
        raise ValueError(f"auto, cloud-build, docker or an image is needed ({error})") from error


# registry/path:tag@digest; the registry may have a port, which is why a tag is looked for after the last slash.
_IMAGE = re.compile(
    r"(?:[\w.-]+(?::\d+)?/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?:(?::[\w][\w.-]{0,127})(?:@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})"
)
Image = Annotated[str, BeforeValidator(_checked_image)]
ChatImageChoice = Annotated[str, BeforeValidator(_checked_chat_image)]
Url = Annotated[str, BeforeValidator(_checked_url)]
Profile = Literal["auto", "none", "l4x1", "l4x2", "l4x4", "rtx6000", "a100", "h100"]

SECRET_KEYS = ("oauthClientSecret", "huggingFaceToken", "geminiApiKey", "gemmaApiKey")
GCP_ONLY = (
    "domain",
    "cloudArmor",
    "databaseLocation",
    "retentionDays",
    "vertexLocation",
    "network",
    "releaseChannel",
    "gpuFallback",
)
KUBERNETES_ONLY = ("geminiApiKey", "imageRegistry", "volumeSize", "storageClass")
# Flags of vLLM that the stack itself gives.
OWN_GEMMA_FLAGS = ("--host", "--port", "--model", "--served-model-name", "--tensor-parallel-size", "--api-key")


class Settings(BaseModel):
    """The stack's settings.

    Raises:
        InvalidSettings: from `Settings.load` and `Settings.checked`, with every wrong key at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    platform: Literal["gcp", "kubernetes"] = Field(
        default="gcp", description="gcp: everything on Google Cloud; kubernetes: the cluster of your kubeconfig"
    )
    project: str = Field(
        default="",
        alias="gcp:project",
        pattern=r"^([a-z][a-z0-9.:-]{4,61}[a-z0-9])?$",
        description="Google Cloud project",
    )
    region: str = Field(
        default="us-central1", alias="gcp:region", pattern=r"^[a-z]+-[a-z]+\d{1,2}$", description="Google Cloud region"
    )

    theme: Literal["blue", "green"] = Field(default="blue", description="colour of the page")
    exposure: Literal["auto", "https", "public-http", "private"] = Field(
        default="auto",
        description="how browsers get in. https: an encrypted load balancer (gcp); public-http: an unencrypted one on "
        "port 7860; private: only through kubectl port-forward; auto: https on gcp, private on kubernetes",
    )
    domain: str = Field(
        default="",
        pattern=r"^(([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?)?$",
        max_length=253,
        description="https: your own name for the chat, such as chat.example.org; empty: a free one of cloud.goog",
    )
    cloud_armor: bool = Field(
        default=False,
        description="https: bans addresses that ask too often, and watches for known attacks (costs by the month)",
    )
    identity: Literal["auto", "google", "iap", "anonymous"] = Field(
        default="auto",
        description="who is asking. google: the chat's own sign-in with Google; iap: Google's Identity-Aware Proxy in "
        "front of it; anonymous: nobody signs in; auto: with https, google if oauthClientId is set, else iap; "
        "without https, anonymous",
    )
    allowed_people: Annotated[tuple[AllowedPerson, ...], BeforeValidator(parsed_people)] = Field(
        default=(),
        description="who may come in: addresses, domains, or * for everybody who signs in (iap also group:ADDRESS); "
        "iap without it: whoever runs Pulumi",
    )
    oauth_client_id: str = Field(
        default="",
        pattern=r"^([\w-]+\.apps\.googleusercontent\.com)?$",
        description="google, optional for iap: the ID of your OAuth client",
    )
    oauth_client_secret: SecretStr = Field(
        default=SecretStr(""), description="the secret of that OAuth client (a secret)"
    )
    guests: bool = Field(
        default=False, description="google: people may chat before they sign in; everybody on the internet can"
    )
    messages_per_minute: int = Field(
        default=0, ge=0, le=10_000, description="most messages of one person in a minute; 0: the chat's default"
    )
    tokens_per_day: int = Field(
        default=0, ge=0, le=10**12, description="most tokens of one person in a day; 0: the chat's default"
    )
    cost_per_day: float = Field(
        default=0.0,
        ge=0,
        le=10**6,
        allow_inf_nan=False,
        description="most US dollars that one person may cost in a day, such as 0.50; empty: the chat's default",
    )
    all_tokens_per_day: int = Field(
        default=0, ge=0, le=10**12, description="most tokens of all people together in a day; 0: the chat's default"
    )
    all_cost_per_day: float = Field(
        default=0.0,
        ge=0,
        le=10**6,
        allow_inf_nan=False,
        description="most US dollars that all people together may cost in a day; empty: the chat's default",
    )
    chat_replicas: int = Field(
        default=0, ge=0, le=20, description="copies of the chat; 0: two on gcp, one on kubernetes"
    )
    image: ChatImageChoice = Field(
        default="auto",
        description="where the chat's image comes from: cloud-build, docker (the engine on this computer), or the name "
        "of an image that exists; auto: cloud-build on gcp, docker on kubernetes",
    )
    image_registry: str = Field(
        default="",
        pattern=r"^([\w.-]+(:\d+)?(/[a-z0-9._-]+)*)?$",
        description="kubernetes with image docker: where to push the image, such as localhost:5001; empty: not pushed",
    )
    volume_size: str = Field(
        default="5Gi", pattern=r"^[1-9]\d*(Mi|Gi|Ti)$", description="kubernetes: size of the history's volume"
    )
    storage_class: str = Field(
        default="",
        pattern=r"^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)?$",
        description="kubernetes: storage class of that volume; empty: the cluster's default",
    )

    gemma: Profile = Field(
        default="auto",
        description="GPUs for Gemma: l4x1, l4x2, l4x4, rtx6000, a100, h100 or none; auto: l4x1 on gcp, none on "
        "kubernetes",
    )
    gemma_model: str = Field(
        default="", pattern=r"^([\w.-]+/[\w.-]+)?$", description="weights on Hugging Face; empty: those of the profile"
    )
    gemma_image: Image = Field(
        default="vllm/vllm-openai:v0.33.0", description="vLLM's image; add @sha256:... to fix its content"
    )
    gemma_args: Annotated[tuple[str, ...], BeforeValidator(_parsed_json)] = Field(
        default=(), description="more arguments for vLLM"
    )
    gemma_url: Url = Field(
        default="", description="an OpenAI-compatible server to use in place of GPUs of this stack (gemma none)"
    )
    gemma_api_key: SecretStr = Field(default=SecretStr(""), description="key of that server (a secret)")
    gpu_fallback: bool = Field(
        default=False, description="gcp: take another kind of GPU machine when the first is out of stock (l4x1, l4x2)"
    )
    hugging_face_token: SecretStr = Field(
        default=SecretStr(""), description="token for gated weights, such as Gemma 3 (a secret)"
    )

    gemini_model: str = Field(
        default="gemini-3.5-flash-lite", pattern=r"^[a-z0-9][a-z0-9.-]{1,62}$", description="Gemini's model id"
    )
    gemini_api_key: SecretStr = Field(
        default=SecretStr(""), description="kubernetes: key of the Gemini API (a secret); on gcp Vertex AI needs none"
    )
    vertex_location: str = Field(
        default="global", pattern=r"^(global|[a-z]+-[a-z]+\d{1,2})$", description="gcp: location of Gemini on Vertex AI"
    )

    database_location: str = Field(
        default="nam5", pattern=r"^([a-z]+\d{1,2}|[a-z]+-[a-z]+\d{1,2})$", description="gcp: location of Firestore"
    )
    retention_days: int = Field(
        default=0, ge=0, le=36_500, description="gcp: days after which a conversation is deleted; 0: never"
    )
    network: str = Field(
        default="default", pattern=r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$", description="gcp: VPC network of the cluster"
    )
    release_channel: Literal["RAPID", "REGULAR", "STABLE"] = Field(
        default="REGULAR", description="gcp: how early GKE takes new versions"
    )

    kubeconfig: SecretStr = Field(default=SecretStr(""), alias="kubernetes:kubeconfig")
    kube_context: str = Field(default="", alias="kubernetes:context")

    @classmethod
    def load(cls) -> Self:
        """Read the settings of the stack that runs.

        Raises:
            InvalidSettings: with every wrong key, not only the first.
        """
        config = {**pulumi.runtime.config.get_config_env(), **pulumi.runtime.config.CONFIG.get()}
        secrets = {key for key in config if pulumi.runtime.is_config_secret(key)}
        settings, problems = cls.parse(pulumi.Config().name, config, secrets)
        if problems:
            raise InvalidSettings(_report(problems))
        return settings

    @classmethod
    def parse(cls, project: str, config: Mapping[str, Any], secrets: Collection[str]) -> tuple[Self, list[str]]:
        """Return the settings in a stack's configuration, and a sentence for each thing that is wrong in it.

        Args:
            project: the name of the Pulumi project, which begins the keys of its own settings.
            config: full key, such as ``gcp:project`` or ``hybrid-chat:platform`` -> value.
            secrets: the full keys that are stored encrypted.
        """
        keys = {_alias(name) for name in cls.model_fields}
        values = {key: config.get(key if ":" in key else f"{project}:{key}") for key in keys}
        # A set but empty value is how `pulumi config set KEY ''` and the defaults of Pulumi.yaml say "not set".
        values = {key: value for key, value in values.items() if value not in (None, "")}
        problems = [
            f"{project}:{key} is stored in plain text; store it encrypted: pulumi config set --secret {key}"
            for key in SECRET_KEYS
            if key in values and f"{project}:{key}" not in secrets
        ]
        own = {key.removeprefix(f"{project}:") for key in config if key.startswith(f"{project}:")}
        problems += [_unknown(key, cls) for key in sorted(own - keys)]
        settings, wrong = cls._validated(values)
        return settings, problems + wrong

    @classmethod
    def checked(cls, values: Mapping[str, Any]) -> Self:
        """Return the settings made of `values` (key -> value).

        Raises:
            InvalidSettings: with every wrong key.
        """
        settings, problems = cls._validated(values)
        if problems:
            raise InvalidSettings(_report(problems))
        return settings

    @classmethod
    def _validated(cls, values: Mapping[str, Any]) -> tuple[Self, list[str]]:
        """Return the settings made of the values that are right, and a sentence for each that is wrong."""
        sentences: list[str] = []
        wrong: set[str] = set()
        try:
            settings = cls.model_validate(dict(values))
        except ValidationError as error:
            details = error.errors()
            sentences = [_sentence(problem) for problem in details]
            wrong = {str(problem["loc"][0]) for problem in details}
            # What is wrong by itself is left out, so that conflicts between the others are reported in the same run.
            settings = cls.model_validate({key: value for key, value in values.items() if key not in wrong})
        return settings, sentences + [text for keys, text in settings.conflicts() if not wrong.intersection(keys)]

    @property
    def on_gcp(self) -> bool:
        """Whether the stack brings its own cluster on Google Cloud."""
        return self.platform == "gcp"

    @property
    def gpu_profile(self) -> GpuProfile | None:
        """How this stack serves Gemma itself; `None` if it does not."""
        chosen = self.gemma
        if chosen == "auto":
            chosen = "l4x1" if self.on_gcp and not self.gemma_url else "none"
        return PROFILES.get(chosen)

    @property
    def image_source(self) -> str:
        """``cloud-build``, ``docker``, or the reference of an image that exists."""
        if self.image == "auto":
            return "cloud-build" if self.on_gcp else "docker"
        return self.image

    @property
    def replicas(self) -> int:
        """How many copies of the chat run."""
        return self.chat_replicas or (2 if self.on_gcp else 1)

    @property
    def way_in(self) -> WayIn:
        """How browsers get in: the exposure, with ``auto`` resolved."""
        if self.exposure == "auto":
            return "https" if self.on_gcp else "private"
        return self.exposure

    @property
    def sign_in(self) -> SignIn:
        """Who says who is asking: the identity, with ``auto`` resolved; never ``anonymous`` with https."""
        if self.identity != "auto":
            return self.identity
        if self.way_in != "https":
            return "anonymous"
        return "google" if self.oauth_client_id else "iap"

    def conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yield (keys, sentence) for each thing that does not fit together, or is missing."""
        other = KUBERNETES_ONLY if self.on_gcp else GCP_ONLY
        for key in other:
            name = next(name for name in type(self).model_fields if _alias(name) == key)
            if getattr(self, name) != type(self).model_fields[name].default:
                needed = "kubernetes" if self.on_gcp else "gcp"
                yield (
                    (key, "platform"),
                    f"{key} does nothing on platform {self.platform}: it is for {needed}; remove it",
                )
        if self.on_gcp and not self.project:
            yield ("gcp:project",), "gcp:project is not set. Run: pulumi config set gcp:project YOUR_PROJECT_ID"
        if not self.on_gcp and self.image == "cloud-build":
            yield (
                ("image", "platform"),
                "image is 'cloud-build', which needs platform gcp; allowed: docker, or an image",
            )
        if not self.on_gcp and self.replicas > 1:
            yield (
                ("chatReplicas", "platform"),
                f"chatReplicas is {self.chat_replicas}: on platform kubernetes the history is a SQLite file on one "
                "volume, which one copy of the chat uses; allowed: 1",
            )
        if self.image_registry and self.image_source != "docker":
            yield ("imageRegistry", "image"), "imageRegistry does nothing unless image is docker"
        yield from access_conflicts(self)
        yield from self._gemma_conflicts()

    def _gemma_conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        profile = self.gpu_profile
        if self.gemma_url and profile:
            yield (
                ("gemma", "gemmaUrl"),
                f"gemma is '{self.gemma}' and gemmaUrl is set: GPUs of this stack, or a server elsewhere? Remove one",
            )
        if not profile and not self.gemma_url and self.gemma_model:
            yield ("gemma", "gemmaModel", "gemmaUrl"), "gemmaModel does nothing without Gemma: set gemma or gemmaUrl"
        if not profile and self.gemma_args:
            yield ("gemma", "gemmaArgs"), "gemmaArgs does nothing while gemma is none"
        for argument in self.gemma_args:
            flag = argument.partition("=")[0]
            if not argument.startswith("--") or flag in OWN_GEMMA_FLAGS:
                yield (
                    ("gemmaArgs",),
                    f"gemmaArgs has {argument!r}: allowed are flags of vLLM, but for those that the stack gives "
                    f"({', '.join(OWN_GEMMA_FLAGS)})",
                )
        if self.gemma_api_key.get_secret_value() and not self.gemma_url:
            yield (
                ("gemmaApiKey", "gemmaUrl"),
                "gemmaApiKey does nothing without gemmaUrl, the server that wants the key",
            )
        if self.gpu_fallback and (not profile or not profile.compute_class):
            yield ("gpuFallback", "gemma"), f"gpuFallback is true, which is for gemma l4x1 or l4x2, not {self.gemma}"
        token = self.hugging_face_token.get_secret_value()
        model = self.gemma_model or (profile.model if profile else "")
        if profile and is_gated(model) and not token:
            yield (
                ("gemma", "gemmaModel", "huggingFaceToken"),
                f"huggingFaceToken is not set, and the weights {model} are gated: accept the terms at "
                f"huggingface.co/{model}, make a token that may read them, and run: "
                "pulumi config set --secret huggingFaceToken",
            )
        if token and not re.fullmatch(r"hf_\w{8,}", token):
            yield ("huggingFaceToken",), "huggingFaceToken is not a token of Hugging Face, which begins with hf_"


def secret_of(value: SecretStr) -> pulumi.Output[str] | None:
    """Return a secret setting as what stays secret in Pulumi's state; `None`: it is not set."""
    text = value.get_secret_value()
    return pulumi.Output.secret(text) if text else None


def _alias(field: str) -> str:
    return Settings.model_fields[field].alias or field


def _unknown(key: str, settings: type[Settings]) -> str:
    keys = sorted(_alias(name) for name in settings.model_fields)
    close = difflib.get_close_matches(key, keys, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(name for name in keys if ':' not in name)}"
    return f"{key} is no setting of this stack; {hint}"


def _sentence(problem: ErrorDetails) -> str:
    key = str(problem["loc"][0])
    is_secret = key in SECRET_KEYS or key == "kubernetes:kubeconfig"
    value = "" if is_secret else f" is {str(problem['input'])[:80]!r}"
    return f"{key}{value}: {_allowed(key, problem)}"


# What a pattern means, in words.
_SHAPES = {
    "gcp:project": "the project's ID is needed (as `gcloud projects list` shows it), neither its name nor its number",
    "gcp:region": "a region is needed, such as us-central1 (not a zone)",
    "domain": "a name in small letters is needed, such as chat.example.org (without https://)",
    "oauthClientId": "the ID of an OAuth client is needed, which ends with .apps.googleusercontent.com",
    "imageRegistry": "a registry is needed, such as localhost:5001 or example.org/team",
    "volumeSize": "a size is needed, such as 5Gi",
    "storageClass": "the name of a storage class is needed (kubectl get storageclass)",
    "gemmaModel": "an owner and a name on Hugging Face are needed, such as google/gemma-3-12b-it",
    "geminiModel": "a model id is needed, such as gemini-3.5-flash-lite",
    "vertexLocation": "global or a region is needed, such as europe-west4",
    "databaseLocation": "a location of Firestore is needed, such as nam5, eur3 or europe-west4",
    "network": "the name of a VPC network is needed",
}


def _allowed(key: str, problem: ErrorDetails) -> str:
    if problem["type"] == "string_pattern_mismatch":
        return _SHAPES[key]
    if problem["type"] == "literal_error":
        return f"allowed: {problem['ctx']['expected'].replace(' or ', ', ').replace(chr(39), '')}"
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message.replace("Input should be", "it must be")
    return f"{message[:1].lower()}{message[1:]}"


def _report(sentences: list[str]) -> str:
    count = "One setting is" if len(sentences) == 1 else f"{len(sentences)} settings are"
    lines = "".join(f"\n  - {sentence}" for sentence in sentences)
    return f"{count} wrong; nothing was changed.{lines}"
