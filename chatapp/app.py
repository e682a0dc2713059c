"""The app: the only place where adapters are chosen."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI

from chatapp.config.settings import InvalidSettings
from chatapp.conversations.service import Conversations
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.images import Pictures
from chatapp.domain.sentences import Sentence
from chatapp.generation.queue import TurnLimits
from chatapp.generation.runner import TurnRunner
from chatapp.http import api, health
from chatapp.http.api.routing import Services, max_question_bytes
from chatapp.http.auth_setup import AuthSetup
from chatapp.http.errors import add_exception_handlers
from chatapp.http.middleware.csrf import CsrfMiddleware
from chatapp.http.middleware.forwarded import ClientAddressMiddleware
from chatapp.http.middleware.limits import LargeRequestsMiddleware, RequestSizeMiddleware, StreamLimitMiddleware
from chatapp.http.middleware.security_headers import SecurityHeadersMiddleware
from chatapp.http.middleware.shutdown import StreamShutdownMiddleware
from chatapp.http.middleware.trusted_hosts import TrustedHostMiddleware
from chatapp.limits import NoLimits
from chatapp.models.catalog import Catalog, UnconfiguredModel
from chatapp.models.gemini.model import GeminiModel
from chatapp.models.kubernetes_status import PodWatch
from chatapp.models.llamacpp.model import LlamaCppModel
from chatapp.models.openai.model import OpenAICompatibleModel
from chatapp.store.journal.store import JournaledStore
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.router import StoreRouter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from chatapp.config.settings import Settings
    from chatapp.limits import Limits
    from chatapp.limits.tallies import KeptWindows
    from chatapp.limits.windows import Windows
    from chatapp.models import ChatModel
    from chatapp.server.metrics import Metrics
    from chatapp.store import Store


async def create_app(settings: Settings, *, with_page: bool = True) -> FastAPI:
    """Return the chat as an ASGI app that owns its store, its models and its turns, and closes them at its end.

    Args:
        settings: of this chat.
        with_page: whether to mount the page. False serves the API alone, without Gradio, which takes half a second to
            mount and two to import.

    Raises:
        StoreUnavailable: the data folder cannot be used.
        UnknownModel: ``CHAT_DEFAULT_MODEL`` names a model that is not there.
        InvalidSettings: an address or a key of a model cannot be one.
    """
    try:
        models = _models(settings)
    except ValueError as error:
        raise InvalidSettings(str(error)) from error
    catalog = Catalog(models, default=settings.default_model)
    store = StoreRouter(await _store(settings))
    metrics = _metrics(
        settings, catalog, store, running=lambda: turns.running_count, waiting=lambda: turns.waiting_count
    )
    on_refused = metrics.refused if metrics else lambda _limit: None
    auth = AuthSetup(settings, store, on_refused)
    tallies = await _tallies(settings)
    turns = TurnRunner(
        store,
        catalog,
        max_message_chars=settings.max_message_chars,
        limits=TurnLimits(
            per_user=settings.turns_per_user, at_once=settings.turns_at_once, waiting=settings.turns_waiting
        ),
        usage_limits=_usage_limits(settings, tallies, on_refused),
        titles=settings.titles == "model",
        on_end=metrics.turn_ended if metrics else lambda _answer, _seconds: None,
    )

    conversations = Conversations(store, turns.changes, turns)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            await turns.aclose()
            if tallies:
                await tallies.aclose()
            await conversations.aclose()
            await catalog.aclose()
            await store.aclose()

    app = FastAPI(title="Hybrid chat", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.services = Services(
        settings=settings,
        store=store,
        catalog=catalog,
        turns=turns,
        conversations=conversations,
        pictures=Pictures(settings.max_images),
    )
    app.state.catalog = catalog
    app.state.turns = turns
    app.state.closing = asyncio.Event()
    app.state.metrics = metrics
    add_exception_handlers(app, root_url=settings.root_url)
    app.include_router(health.router)
    auth.add_routes(app, turns)
    app.include_router(api.router)
    if with_page:
        # Gradio is most of the start: whatever can be wrong with the settings or the data folder has been said by now.
        from chatapp.ui.mount import mount_page  # noqa: PLC0415

        mount_page(app, settings)
    app.add_middleware(StreamShutdownMiddleware, closing=app.state.closing)
    _guard(app, settings, auth)
    return app


def _guard(app: FastAPI, settings: Settings, auth: AuthSetup) -> None:
    """Put what every request passes in front of the app; the last one added is the first to see it."""
    app.add_middleware(StreamLimitMiddleware)
    app.add_middleware(LargeRequestsMiddleware)
    auth.add_middleware(app)
    app.add_middleware(CsrfMiddleware, root_url=settings.root_url)  # what another site embeds makes no new guest
    app.add_middleware(ClientAddressMiddleware, trusted=settings.trusted_proxies)
    app.add_middleware(
        TrustedHostMiddleware,
        root_url=settings.root_url,
        local=settings.identity == "local" and not settings.local_anywhere,
    )
    app.add_middleware(RequestSizeMiddleware, most_bytes=max_question_bytes(settings.max_images))
    app.add_middleware(SecurityHeadersMiddleware, https=settings.root_url.startswith("https:"))  # of refusals too


def _models(settings: Settings) -> list[ChatModel]:
    """Return the codelab's two models, then whatever was added, then the small one that is always there."""
    limits = settings.time_limits
    models: list[ChatModel] = []
    if settings.gemma_url:
        models.append(
            OpenAICompatibleModel(
                "gemma",
                settings.gemma_label,
                settings.gemma_url,
                model=settings.gemma_model,
                api_key=settings.gemma_api_key.get_secret_value(),
                images=settings.gemma_images,
                place=settings.gemma_place,
                price=settings.gemma_price,
                pods=PodWatch(settings.gemma_pods) if settings.gemma_pods else None,
                limits=limits,
            )
        )
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
        models.append(LlamaCppModel("demo", "SmolLM2 (small demo)", limits=limits))
    return models


def _metrics(
    settings: Settings,
    catalog: Catalog,
    store: Store,
    *,
    running: Callable[[], int],
    waiting: Callable[[], int],
) -> Metrics | None:
    if settings.metrics_port is None:
        return None
    # A twentieth of a second, for those who want it.
    from chatapp.server.metrics import JournalWatch, Metrics  # noqa: PLC0415

    journal = JournalWatch(store.status, settings.journal_writes, settings.journal_megabytes * 1_000_000)
    return Metrics(
        [model.id for model in catalog],
        running=running,
        waiting=waiting,
        journal=journal if settings.store == "firestore" else None,
    )


async def _tallies(settings: Settings) -> KeptWindows | None:
    if not (settings.user_quota or settings.shared_quota):
        return None
    # A twentieth of a second, for those who want it.
    from chatapp.limits.tallies import KeptWindows  # noqa: PLC0415

    return await KeptWindows.open(settings.data_dir / "limits.db")


def _usage_limits(settings: Settings, windows: Windows | None, on_refused: Callable[[str], None]) -> Limits:
    if windows is None:
        return NoLimits()
    from chatapp.limits.usage import UsageLimits  # noqa: PLC0415  # as above

    return UsageLimits(settings.user_quota, settings.shared_quota, windows, on_refused)


async def _store(settings: Settings) -> Store:
    try:
        if settings.store == "sqlite":
            return await SQLiteStore.open(settings.data_dir / "chat.db", retention_days=settings.retention_days)
        return await JournaledStore.open(
            settings.data_dir / "journal.db",
            _firestore(settings),
            destination=f"Firestore, database {settings.firestore_database} of project {settings.google_cloud_project}",
            most_writes=settings.journal_writes,
            most_bytes=settings.journal_megabytes * 1_000_000,
            drain_seconds=settings.drain_seconds,
        )
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error} The setting for it is CHAT_DATA_DIR.", detail=error.detail) from error


def _firestore(settings: Settings) -> Store:
    # Google's library takes a quarter of a second and 60 MB: only where it is used.
    try:
        from chatapp.store.firestore.store import FirestoreStore  # noqa: PLC0415
    except ImportError as error:
        raise InvalidSettings(
            "CHAT_STORE is 'firestore', which needs the package google-cloud-firestore. Install what "
            f"requirements/chat.txt lists, as make run does. ({error})"
        ) from error
    return FirestoreStore(
        settings.google_cloud_project,
        settings.firestore_database,
        retention_days=settings.retention_days,
        stale_seconds=settings.abandoned_seconds,  # a running answer is written every 20 s at least
    )
