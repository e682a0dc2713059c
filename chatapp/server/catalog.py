"""The models of a chat, as its settings name them, and what finds more of them on this computer."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from chatapp.config.settings import InvalidSettings
from chatapp.domain.office_hours import OfficeHours
from chatapp.domain.sentences import Sentence
from chatapp.generation.vectors import EmbeddingPolicy
from chatapp.models.catalog import Catalog, UnconfiguredModel
from chatapp.models.discovery.discovery import Discovery
from chatapp.models.discovery.servers import (
    FOUND_PREFIXES,
    GEMMA_ID,
    VLLM_PREFIX,
    VLLM_URL,
    Ollama,
    Vllm,
    is_same_server,
    ollama_url,
)
from chatapp.models.embeddings import ServerEmbedder
from chatapp.models.gemini.embedding_models import default_model
from chatapp.models.gemini.embeddings import GeminiEmbedder
from chatapp.models.gemini.model import GeminiModel
from chatapp.models.kubernetes.api import KubernetesApi
from chatapp.models.kubernetes.pod_watch import PodWatch
from chatapp.models.kubernetes.sleeper import Sleeper
from chatapp.models.kubernetes.sleeping_model import SleepingModel
from chatapp.models.kubernetes.workload import Workload
from chatapp.models.llamacpp.demo import DemoModel
from chatapp.models.local.hub import Hub
from chatapp.models.local.setup import OWN_FILE_ID, LocalSetup, own_file
from chatapp.models.openai.listing import place_of_url
from chatapp.models.openai.model import OpenAICompatibleModel
from chatapp.models.openai.readiness import ServerUse

if TYPE_CHECKING:
    from chatapp.config.settings import Settings
    from chatapp.models import ChatModel
    from chatapp.models.discovery.servers import LocalServer
    from chatapp.models.embeddings import Embedder
    from chatapp.models.local.library import LocalModels

# For a request that scales Gemma, or notes its use; shorter than `SETTLE_MS`.
SCALE_SECONDS = 5.0


def open_catalog(settings: Settings) -> tuple[Catalog, LocalModels | None]:
    """Return the models, and those that can be downloaded; None where nothing can be.

    Raises:
        UnknownModel: ``CHAT_DEFAULT_MODEL`` names an unknown model.
        InvalidSettings: the URL or API key of a model is invalid.
    """
    pods = _pod_watch(settings)
    try:
        models = _models(settings, pods)
    except ValueError as error:
        raise InvalidSettings(str(error)) from error
    catalog = Catalog(models)
    if pods:
        pods.on_change.append(lambda: catalog.changed("gemma"))
    local_models = _add_local_models(settings, catalog)
    default = settings.default_model
    is_local = default in [entry.id for entry in settings.local_entries]
    if settings.finds_servers and default.startswith(FOUND_PREFIXES):
        default, is_local = default.removesuffix(":latest"), True
    catalog.prefer(default, if_there=is_local)
    return catalog, local_models


def open_embeddings(settings: Settings) -> EmbeddingPolicy | None:
    """Return the embeddings that find passages of documents; None where they are off.

    Raises:
        InvalidSettings: their URL is invalid, or what they need is not set.
    """
    if settings.embeddings == "gemini":
        if not (settings.google_cloud_project or settings.gemini_api_key.get_secret_value()):
            raise InvalidSettings("CHAT_EMBEDDINGS=gemini needs GOOGLE_CLOUD_PROJECT or GEMINI_API_KEY.")
        project, location = settings.google_cloud_project, settings.google_cloud_location
        embedder: Embedder = GeminiEmbedder(
            model=settings.embeddings_model or default_model(project=project, location=location),
            project=project,
            location=location,
            api_key=settings.gemini_api_key.get_secret_value(),
            base_url=settings.gemini_base_url or None,
        )
        return EmbeddingPolicy(embedder, elsewhere=settings.embeddings_elsewhere)
    if settings.embeddings == "off":
        return None
    url = settings.embeddings_url or settings.gemma_url
    if not url:
        raise InvalidSettings("CHAT_EMBEDDINGS=server needs CHAT_EMBEDDINGS_URL or CHAT_GEMMA_URL.")
    servers = {"gemma": settings.gemma_url, **{extra.id: extra.url for extra in settings.models}}
    same_server = frozenset(model for model, server in servers.items() if server and is_same_server(server, url))
    place = settings.embeddings_place or (settings.gemma_place if "gemma" in same_server else None)
    try:
        embedder = ServerEmbedder(
            url,
            model=settings.embeddings_model,
            api_key=settings.embeddings_api_key.get_secret_value(),
            place=place or place_of_url(url),
        )
    except ValueError as error:
        raise InvalidSettings(str(error)) from error
    return EmbeddingPolicy(embedder, same_server, settings.embeddings_elsewhere)


def open_discovery(settings: Settings, catalog: Catalog) -> Discovery | None:
    """Return what finds the servers on this computer; not those that a setting names already."""
    if not settings.finds_servers:
        return None
    limits = settings.time_limits
    named = [url for url in (settings.gemma_url, *(extra.url for extra in settings.models)) if url]
    ollama = ollama_url(settings.ollama_host)
    servers: list[LocalServer] = []
    if not any(is_same_server(url, ollama) for url in named):
        servers.append(Ollama(ollama, limits=limits))
    own = f"http://127.0.0.1:{settings.port}"
    if not any(is_same_server(url, VLLM_URL) for url in (own, *named)):
        servers.append(
            Vllm(VLLM_URL, gemma_id=VLLM_PREFIX + GEMMA_ID if settings.gemma_url else GEMMA_ID, limits=limits)
        )
    return Discovery(catalog, servers)


def _add_local_models(settings: Settings, catalog: Catalog) -> LocalModels | None:
    """Add the models that run inside of the chat, beside the demo model; only a chat for one person downloads any."""
    idle_seconds = 60 * settings.local_idle_minutes or None
    setup = LocalSetup(catalog, idle_seconds=idle_seconds, limits=settings.time_limits)
    wanted, path = settings.local_model, own_file(settings.local_model)
    taken = {model.id for model in catalog}
    entries = [entry for entry in settings.local_entries if entry.id not in taken]
    if path:
        setup.add_file(path)
    elif wanted and wanted not in [entry.id for entry in entries]:
        known = ", ".join(entry.id for entry in entries)
        raise InvalidSettings(f"CHAT_LOCAL_MODEL is {wanted!r}: it must be one of {known}, or the path of a GGUF file.")
    local_models = None
    if settings.downloads_models:
        hub = Hub(settings.hf_endpoint, settings.hf_token.get_secret_value())
        local_models = setup.library(settings.models_folder, hub, entries)
    elif wanted and not path:
        raise InvalidSettings(
            "CHAT_LOCAL_MODEL is set, but only a chat for one person downloads models: it needs CHAT_IDENTITY=local "
            "and CHAT_EMBEDDED_MODEL=true."
        )
    catalog.prefer(OWN_FILE_ID if path else wanted, if_there=True)
    return local_models


def import_sdks(catalog: Catalog) -> None:
    """Import the large packages that models need."""
    for model in catalog:
        if isinstance(model, GeminiModel):
            model.import_sdk()


def watch_sleep(catalog: Catalog) -> None:
    """Let the models that sleep do so from now on."""
    for model in catalog:
        if isinstance(model, SleepingModel):
            model.watch()


def _models(settings: Settings, pods: PodWatch | None) -> list[ChatModel]:
    """Return the models in the order of the page: Gemma, Gemini, those of ``CHAT_MODELS``, the demo model."""
    limits = settings.time_limits
    models: list[ChatModel] = []
    uses: defaultdict[str, ServerUse] = defaultdict(ServerUse)  # by server
    if settings.gemma_url:
        gemma = OpenAICompatibleModel(
            "gemma",
            settings.gemma_label,
            settings.gemma_url,
            model=settings.gemma_model,
            api_key=settings.gemma_api_key.get_secret_value(),
            context_tokens=settings.gemma_context_tokens,
            use=uses[settings.gemma_url],
            images=settings.gemma_images,
            place=settings.gemma_place,
            price=settings.gemma_price,
            pods=pods,
            limits=limits,
        )
        models.append(_that_sleeps(gemma, settings))
    else:
        fix = Sentence("set CHAT_GEMMA_URL to the address of an OpenAI-compatible server (vLLM, Ollama, LM Studio)")
        models.append(UnconfiguredModel("gemma", settings.gemma_label, fix=fix))
    models.append(
        GeminiModel(
            "gemini",
            settings.gemini_label,
            model=settings.gemini_model,
            project=settings.google_cloud_project,
            location=settings.google_cloud_location,
            api_key=settings.gemini_api_key.get_secret_value(),
            base_url=settings.gemini_base_url or None,
            limits=limits,
            thinking_tokens=settings.gemini_thinking_tokens,
            price=settings.gemini_price,
            is_bound=settings.residency != "none",
        )
    )
    models += [
        OpenAICompatibleModel(
            extra.id,
            extra.label,
            extra.url,
            model=extra.model,
            api_key=extra.api_key.get_secret_value(),
            context_tokens=extra.context_tokens,
            use=uses[extra.url],
            images=extra.images,
            place=extra.place,
            price=extra.price,
            ignores=extra.ignores,
            limits=limits,
            url_setting="its url in CHAT_MODELS",
            key_setting="its api_key in CHAT_MODELS",
            model_setting="its model in CHAT_MODELS",
        )
        for extra in settings.models
    ]
    if settings.embedded_model:
        models.append(DemoModel(Sentence("SmolLM2 (small demo)"), limits=limits))
    return models


def _pod_watch(settings: Settings) -> PodWatch | None:
    if not settings.gemma_pods:
        return None
    sleeps = settings.gemma_idle_minutes > 0
    workload = Workload.named(settings.gemma_deployment) if settings.gemma_deployment else None
    return PodWatch(settings.gemma_pods, workload=workload, sleeps=sleeps)


def _that_sleeps(model: ChatModel, settings: Settings) -> ChatModel:
    """Return Gemma with its sleep, where it has one."""
    if not settings.gemma_idle_minutes:
        return model
    sleeper = Sleeper(
        KubernetesApi(timeout=SCALE_SECONDS),
        settings.gemma_pods.partition("/")[0],
        Workload.named(settings.gemma_deployment),
        idle_seconds=60 * settings.gemma_idle_minutes,
        hours=OfficeHours.parse(settings.gemma_office_hours) if settings.gemma_office_hours else None,
    )
    return SleepingModel(model, sleeper)
