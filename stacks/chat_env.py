"""The chat's environment: one table from this stack's settings to the variables of `chatapp.config.settings.Settings`.

The chat's container gets every row that has a value, and nothing else. A test checks each name and value against the
chat's own settings class.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
from pydantic import SecretStr

from gemma.arguments import SERVED_NAME
from gemma.profiles import supports_images
from stacks.components.chat_pod import DATA_DIR, METRICS_PORT, PORT, SHUTDOWN_SECONDS, VOLUME_SHUTDOWN_SECONDS
from stacks.components.model_pod import APP as MODEL_SERVER
from stacks.settings import secret_output

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chatapp.models.kubernetes.workload import Workload
    from stacks.ingress.ingress import Ingress
    from stacks.settings import Settings

    Value = pulumi.Input[str] | None
    """`None` or empty: the variable is left out, and the chat uses its own default."""


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the values come from: the settings, and outputs of other components.

    Attributes:
        settings: of the stack.
        ingress: the public URL, and who may sign in.
        namespace: of this stack's own Gemma server.
        gemma_url: of this stack's own Gemma server; `None`: there is none.
        gemma_key: which that server asks for; `None`: none.
        gemma_workload: that server's Deployment, or LeaderWorkerSet.
        database: ID of the Firestore database; `None`: the history is a SQLite file.
        session_secret: signs the cookies, the same for all replicas; `None`: the chat generates one and stores it on
            its volume.
    """

    settings: Settings
    ingress: Ingress
    namespace: pulumi.Input[str]
    gemma_url: Value = None
    gemma_key: Value = None
    gemma_workload: Workload | None = None
    database: Value = None
    session_secret: Value = None


def _fixed(value: str) -> Callable[[Sources], Value]:
    return lambda _: value


def _setting(name: str, *, sign_in: str = "") -> Callable[[Sources], Value]:
    """Return the value of a setting; with ``sign_in``, only if the chat signs people in that way."""

    def value(sources: Sources) -> Value:
        if sign_in and sources.settings.sign_in != sign_in:
            return None
        setting = getattr(sources.settings, name)
        if isinstance(setting, SecretStr):
            return secret_output(setting)
        return ("true" if setting is True else str(setting)) if setting else None

    return value


def _on_gcp(value: Callable[[Sources], Value]) -> Callable[[Sources], Value]:
    return lambda sources: value(sources) if sources.settings.on_gcp else None


def _own_gpus(value: Callable[[Sources], Value]) -> Callable[[Sources], Value]:
    return lambda sources: value(sources) if sources.gemma_url is not None else None


def gemma_label(settings: Settings) -> str | None:
    """Return Gemma's name on the page; `None`: there is no Gemma."""
    profile = settings.gpu_profile
    if not profile and not settings.gemma_url:
        return None
    return settings.gemma_model.rpartition("/")[2] or (profile.label if profile else "Gemma")


def _gemma_supports_images(sources: Sources) -> Value:
    profile = sources.settings.gpu_profile
    supported = supports_images(sources.settings.gemma_model or profile.model) if profile else None
    return None if supported is None else str(supported).lower()


VARIABLES: Mapping[str, Callable[[Sources], Value]] = {
    "CHAT_PORT": _fixed(str(PORT)),
    "CHAT_METRICS_PORT": _fixed(str(METRICS_PORT)),
    "CHAT_LOG_FORMAT": _fixed("json"),
    "CHAT_DATA_DIR": _fixed(DATA_DIR),
    "CHAT_EMBEDDED_MODEL": _fixed("false"),
    "CHAT_SHUTDOWN_SECONDS": lambda sources: str(
        VOLUME_SHUTDOWN_SECONDS if sources.database is None else SHUTDOWN_SECONDS
    ),
    "THEME": _setting("theme"),
    "CHAT_OTEL_ENDPOINT": _setting("otel_endpoint"),
    # Sign-in
    "CHAT_IDENTITY": _setting("sign_in"),
    "CHAT_ROOT_URL": lambda sources: sources.ingress.root_url,
    "CHAT_TRUSTED_PROXIES": lambda sources: sources.ingress.trusted_proxies,
    "CHAT_ALLOWED_PEOPLE": lambda sources: sources.ingress.allowed_people,
    "CHAT_IAP_AUDIENCE": lambda sources: sources.ingress.iap_audience,
    "CHAT_OIDC_CLIENT_ID": _setting("oauth_client_id", sign_in="google"),
    "CHAT_GUESTS": _setting("guests"),
    "CHAT_INSTALLABLE": _setting("installable"),
    "CHAT_SHARE_LINKS": lambda sources: None if sources.settings.share_links == "off" else sources.settings.share_links,
    # Rate limits and budgets. Not divided by replicas: the load balancer keeps a browser on one replica.
    "CHAT_MESSAGES_PER_MINUTE": _setting("messages_per_minute"),
    "CHAT_TOKENS_PER_DAY": _setting("tokens_per_day"),
    "CHAT_COST_PER_DAY": lambda sources: cost_per_replica(sources.settings.cost_per_day, 1),
    # Shared by all people, so divided by replicas.
    "CHAT_ALL_TOKENS_PER_DAY": lambda sources: tokens_per_replica(
        sources.settings.all_tokens_per_day, sources.settings.replicas
    ),
    "CHAT_ALL_COST_PER_DAY": lambda sources: cost_per_replica(
        sources.settings.all_cost_per_day, sources.settings.replicas
    ),
    # Gemini and Google Cloud
    "CHAT_GEMINI_MODEL": _setting("gemini_model"),
    "GOOGLE_CLOUD_PROJECT": _on_gcp(_setting("project")),
    "GOOGLE_CLOUD_LOCATION": _on_gcp(_setting("model_location")),
    "CHAT_RESIDENCY": lambda sources: sources.settings.residency if sources.settings.bound_to else None,
    # Embeddings; those of Gemini have its project, location and key
    "CHAT_EMBEDDINGS": lambda sources: None if sources.settings.embeddings == "off" else sources.settings.embeddings,
    "CHAT_EMBEDDINGS_URL": _setting("embeddings_url"),
    "CHAT_EMBEDDINGS_MODEL": _setting("embeddings_model"),
    "CHAT_EMBEDDINGS_PLACE": lambda sources: (
        None if sources.settings.embeddings_place == "auto" else sources.settings.embeddings_place
    ),
    "CHAT_EMBEDDINGS_ELSEWHERE": _setting("embeddings_elsewhere"),
    # Gemma
    "CHAT_GEMMA_URL": lambda sources: sources.settings.gemma_url if sources.gemma_url is None else sources.gemma_url,
    "CHAT_GEMMA_LABEL": lambda sources: gemma_label(sources.settings),
    "CHAT_GEMMA_MODEL": lambda sources: sources.settings.gemma_model if sources.gemma_url is None else SERVED_NAME,
    "CHAT_GEMMA_IMAGES": _gemma_supports_images,
    "CHAT_GEMMA_PLACE": _own_gpus(_fixed("own-gpus")),
    "CHAT_GEMMA_PODS": _own_gpus(lambda sources: pulumi.Output.concat(sources.namespace, "/app=", MODEL_SERVER)),
    "CHAT_GEMMA_IDLE_MINUTES": _own_gpus(_setting("gemma_idle_minutes")),
    "CHAT_GEMMA_OFFICE_HOURS": _own_gpus(_setting("gemma_office_hours")),
    "CHAT_GEMMA_DEPLOYMENT": lambda sources: sources.gemma_workload.setting if sources.gemma_workload else None,
    # History
    "CHAT_STORE": lambda sources: None if sources.database is None else "firestore",
    "CHAT_FIRESTORE_DATABASE": lambda sources: sources.database,
    "CHAT_ACKNOWLEDGE": lambda sources: None if sources.database is None else "cloud",
    "CHAT_RETENTION_DAYS": _setting("retention_days"),
}

SECRETS: Mapping[str, Callable[[Sources], Value]] = {
    "CHAT_SESSION_SECRET": lambda sources: sources.session_secret,
    "CHAT_OIDC_CLIENT_SECRET": _setting("oauth_client_secret", sign_in="google"),
    "GEMINI_API_KEY": _setting("gemini_api_key"),
    "CHAT_EMBEDDINGS_API_KEY": _setting("embeddings_api_key"),
    "CHAT_GEMMA_API_KEY": lambda sources: (
        secret_output(sources.settings.gemma_api_key) if sources.gemma_key is None else sources.gemma_key
    ),
}


def environment(sources: Sources) -> dict[str, pulumi.Input[str]]:
    """Return the variables that are not secret."""
    return _values(VARIABLES, sources)


def secret_environment(sources: Sources) -> dict[str, pulumi.Input[str]]:
    """Return the variables whose values belong into a Secret."""
    return _values(SECRETS, sources)


def _values(table: Mapping[str, Callable[[Sources], Value]], sources: Sources) -> dict[str, pulumi.Input[str]]:
    values = {name: value(sources) for name, value in table.items()}
    return {name: value for name, value in values.items() if value is not None and value != ""}


def tokens_per_replica(total: int, replicas: int) -> str | None:
    """Return one replica's part of a total, rounded down: each counts on its own, so the sum stays within the total.

    Never 0, which the chat takes for "no limit".
    """
    return str(max(1, total // replicas)) if total else None


def cost_per_replica(total: float, replicas: int) -> str | None:
    """Return one replica's part of an amount of US dollars, rounded down to a ten-thousandth; never 0 either."""
    if not total:
        return None
    return f"{max(1, math.floor(total / replicas * 10_000 + 1e-6)) / 10_000:.4f}".rstrip("0").rstrip(".")
