"""The composition root: chooses the adapters and wires the app. `chatapp.server.catalog` does so for the models."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI

from chatapp.auth.audit import Refusal
from chatapp.conversations.library import Library
from chatapp.conversations.service import Conversations
from chatapp.conversations.shares import Shares
from chatapp.documents.reader import DocumentReader
from chatapp.documents.uploads import SENTENCES as DOCUMENT_SENTENCES
from chatapp.documents.uploads import DocumentUploads
from chatapp.domain.errors import StoreUnavailable
from chatapp.generation.queue import TurnLimits
from chatapp.generation.runner import TurnRunner
from chatapp.http import api, health, robots
from chatapp.http.api.routing import Services
from chatapp.http.auth_setup import AuthSetup
from chatapp.http.errors import add_exception_handlers
from chatapp.http.middleware.csrf import CsrfMiddleware
from chatapp.http.middleware.error_boundary import ErrorBoundaryMiddleware
from chatapp.http.middleware.forwarded import ClientAddressMiddleware
from chatapp.http.middleware.lanes import LanesMiddleware
from chatapp.http.middleware.limits import BodyMemoryMiddleware, RequestSizeMiddleware, StreamLimitMiddleware
from chatapp.http.middleware.security_headers import SecurityHeadersMiddleware
from chatapp.http.middleware.shutdown import StreamShutdownMiddleware
from chatapp.http.middleware.trusted_hosts import TrustedHostMiddleware
from chatapp.http.pages.shared import SharedPages
from chatapp.http.request_rules import BodyLimits
from chatapp.http.routes import add_routes
from chatapp.images.decoder import ImageDecoder
from chatapp.images.uploads import SENTENCES as IMAGE_SENTENCES
from chatapp.images.uploads import Uploads
from chatapp.imports.places import ImportPlaces
from chatapp.limits import NoLimits
from chatapp.limits.daily_totals import DailyTotals
from chatapp.limits.lanes import DOCUMENT_LIMITS, Lane, LaneName, lane_limits
from chatapp.limits.uploads import UploadLimits
from chatapp.limits.usage import UsageLimits
from chatapp.server.catalog import open_catalog, open_discovery, open_embeddings, watch_sleep
from chatapp.server.metrics import JournalMetrics, Metrics
from chatapp.store.opening import open_store
from chatapp.store.quota import StorageQuota
from chatapp.store.temporary.router import StoreRouter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from chatapp.config.settings import Settings
    from chatapp.domain.sentences import Sentence
    from chatapp.generation.tracing import Tracing
    from chatapp.limits import Limits
    from chatapp.models.catalog import Catalog
    from chatapp.store import FileStore, Store


# How often a growing answer is stored: for what a crash may lose, or so that a device at another replica, which reads
# every 0.5 s (`chatapp.http.api.stream`), shows its text within 2 s.
CHECKPOINT_S, SHARED_CHECKPOINT_S = 5.0, 1.2
# How long a message waits for Firestore with ``CHAT_ACKNOWLEDGE=cloud``: healthy, it takes 10 to 50 ms.
CLOUD_S = 1.0


async def create_app(settings: Settings, *, with_page: bool = True) -> FastAPI:
    """Return the chat as an ASGI app. Its lifespan closes its stores, models and tasks.

    Args:
        settings: the settings of this chat.
        with_page: whether to mount the page. False serves the API alone, without Gradio, which takes half a second to
            mount and two to import.

    Raises:
        StoreUnavailable: the data folder cannot be used.
        UnknownModel: ``CHAT_DEFAULT_MODEL`` names an unknown model.
        InvalidSettings: the URL or API key of a model is invalid.
    """
    async with AsyncExitStack() as opened:  # closes, in reverse order, what is open when a later step fails
        tracing = _tracing(settings, opened)  # closed last: a collector that is away takes seconds, which messages need
        catalog, local_models = open_catalog(settings)
        opened.push_async_callback(catalog.aclose)
        discovery = open_discovery(settings, catalog)
        if discovery:
            opened.push_async_callback(discovery.aclose)
            discovery.look()  # in the background: a page that opens at once finds its models
        watch_sleep(catalog)
        if local_models:
            opened.push_async_callback(local_models.aclose)
        persistent = await _store(settings)

        def on_refused(limit: str) -> None:
            if metrics:
                metrics.count_refusal(limit)

        quota = StorageQuota(persistent, settings.storage_limits, on_refused)
        store = StoreRouter(persistent, quota=quota)
        opened.push_async_callback(store.aclose)
        metrics = _metrics(
            settings, catalog, persistent, running=lambda: turns.running_count, waiting=lambda: turns.waiting_count
        )
        if metrics:
            metrics.watch_storage(quota)
            if settings.gemma_pods and settings.gemma_url:
                metrics.watch_gemma(lambda: catalog.status("gemma"))
        auth = AuthSetup(settings, store, persistent, on_refused)
        opened.push_async_callback(auth.aclose)
        images = ImageDecoder()
        turns = TurnRunner(
            store,
            catalog,
            max_message_chars=settings.max_message_chars,
            limits=TurnLimits(
                per_user=settings.turns_per_user, at_once=settings.turns_at_once, waiting=settings.turns_waiting
            ),
            usage_limits=await _usage_limits(settings, opened, on_refused),
            cloud_seconds=CLOUD_S if settings.acknowledge == "cloud" else 0.0,
            titles=settings.titles == "model",
            checkpoint_seconds=SHARED_CHECKPOINT_S if settings.store == "firestore" else CHECKPOINT_S,
            on_end=metrics.count_turn if metrics else lambda _answer, _seconds: None,
            images=images,
            tracing=tracing,
            embeddings=open_embeddings(settings),
        )
        opened.push_async_callback(turns.aclose)
        conversations = Conversations(store, turns.updates, turns, turns.catch_up, turns.acknowledgement)
        opened.push_async_callback(conversations.aclose)
        shares = Shares(
            store,
            conversations,
            turns.catch_up,
            catalog.label,
            retention_days=settings.retention_days,
            on_refused=on_refused,
        )

        @asynccontextmanager
        async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
            async with owned:
                yield

        app = FastAPI(title="Hybrid chat", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
        app.state.services = Services(
            settings=settings,
            store=store,
            catalog=catalog,
            turns=turns,
            conversations=conversations,
            shares=shares,
            library=Library(store, settings.collection_documents, turns.forget_documents),
            images=images,
            uploads=Uploads(images, _upload_limits(settings, IMAGE_SENTENCES, settings.max_images, on_refused)),
            documents=_documents(settings, store, on_refused),
            imports=ImportPlaces(settings.imports_per_hour, on_refused),
            local_models=local_models,
            discovery=discovery,
        )
        app.state.catalog = catalog
        app.state.discovery = discovery
        app.state.local_models = local_models
        app.state.turns = turns
        app.state.closing = asyncio.Event()
        app.state.metrics = metrics
        auth.add_routes(app, turns)
        _add_routes(app, settings, shares, has_local_models=local_models is not None)
        if with_page:
            # Gradio takes 1.8 s to import: invalid settings and an unusable data folder are reported before that.
            from chatapp.ui.mount import mount_page  # noqa: PLC0415

            mount_page(app, settings)
        _add_middleware(app, settings, auth, on_refused)
        owned = opened.pop_all()
        return app


def _add_routes(app: FastAPI, settings: Settings, shares: Shares, *, has_local_models: bool) -> None:
    """Add the routes that need no page of Gradio's, and the responses to errors."""
    add_exception_handlers(app, root_url=settings.root_url)
    add_routes(app, health.router, robots.router, api.router)
    if has_local_models:
        add_routes(app, api.local_models)
    if settings.share_links != "off":
        add_routes(app, api.shares, SharedPages(shares, root_url=settings.root_url).router())


def _add_middleware(app: FastAPI, settings: Settings, auth: AuthSetup, on_refused: Callable[[str], None]) -> None:
    """Add the middleware of all requests, from the innermost to the outermost: a request passes them in reverse."""
    bodies = BodyLimits.of(settings)
    lanes = lane_limits(
        searches=settings.searches_per_minute, exports=settings.exports_per_minute, reads=settings.reads_per_minute
    )
    app.add_middleware(StreamShutdownMiddleware, closing=app.state.closing)
    app.add_middleware(StreamLimitMiddleware)
    app.add_middleware(LanesMiddleware, lanes={name: Lane(name, lanes[name], on_refused) for name in lanes})
    app.add_middleware(BodyMemoryMiddleware, limits=bodies)
    auth.add_middleware(app)
    refused = auth.refusals.request_refused
    app.add_middleware(  # before a new guest is made
        CsrfMiddleware, root_url=settings.root_url, on_refused=partial(refused, Refusal.ORIGIN)
    )
    app.add_middleware(ClientAddressMiddleware, trusted=settings.trusted_proxies)
    app.add_middleware(
        TrustedHostMiddleware,
        root_url=settings.root_url,
        local=settings.identity == "local" and not settings.local_anywhere,
        on_refused=partial(refused, Refusal.HOST),
    )
    app.add_middleware(
        RequestSizeMiddleware,
        limits=bodies,
        on_refused=partial(refused, Refusal.SIZE),
    )
    app.add_middleware(ErrorBoundaryMiddleware, closing=app.state.closing, root_url=settings.root_url)
    app.add_middleware(  # on refusals, too
        SecurityHeadersMiddleware,
        https=settings.root_url.startswith("https:"),
        subdomains=settings.hsts_subdomains,
    )


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
    journal = JournalMetrics(store.status, settings.journal_writes, settings.journal_megabytes * 1_000_000)
    return Metrics(
        [model.id for model in catalog],
        running=running,
        waiting=waiting,
        journal=journal if settings.store == "firestore" else None,
        price=catalog.price,
    )


def _tracing(settings: Settings, opened: AsyncExitStack) -> Tracing | None:
    if not settings.otel_endpoint:
        return None
    # Without traces, OpenTelemetry's SDK is not imported: with its exporter it takes 0.1 s.
    from chatapp.server.tracing import OpenTelemetry  # noqa: PLC0415

    tracing = OpenTelemetry(settings.otel_endpoint, {"gemini": settings.gemini_model})
    opened.push_async_callback(tracing.aclose)
    return tracing


async def _usage_limits(settings: Settings, opened: AsyncExitStack, on_refused: Callable[[str], None]) -> Limits:
    if not (settings.user_quota or settings.shared_quota):
        return NoLimits()
    totals = await DailyTotals.open(settings.data_dir / "limits.db")
    opened.push_async_callback(totals.aclose)
    has_members = settings.identity == "google" and settings.guests
    guests = settings.shared_quota.part(settings.guest_share) if has_members else None
    return UsageLimits(settings.user_quota, settings.shared_quota, totals, on_refused, guests=guests)


async def _store(settings: Settings) -> Store:
    try:
        return await open_store(settings)
    except StoreUnavailable as error:
        raise StoreUnavailable(f"{error} The setting for it is CHAT_DATA_DIR.", detail=error.detail) from error


def _documents(settings: Settings, store: FileStore, on_refused: Callable[[str], None]) -> DocumentUploads:
    reader = DocumentReader(
        Lane(LaneName.DOCUMENT, DOCUMENT_LIMITS, on_refused), max_file_bytes=settings.document_megabytes * 1_000_000
    )
    limits = _upload_limits(settings, DOCUMENT_SENTENCES, settings.max_documents, on_refused)
    files = store if settings.keeps_files else None
    most_file_bytes = settings.max_documents * settings.document_megabytes * 1_000_000
    return DocumentUploads(reader, limits, files, most_file_bytes=most_file_bytes)


def _upload_limits(
    settings: Settings, sentences: tuple[Sentence, Sentence], per_message: int, on_refused: Callable[[str], None]
) -> UploadLimits:
    """Return the limits that allow as many files as the messages per minute can have."""
    return UploadLimits(
        sentences,
        settings.user_quota.messages_per_minute * per_message,
        settings.shared_quota.messages_per_minute * per_message,
        on_refused,
    )
