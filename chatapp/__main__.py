"""Start the chat: ``python -m chatapp``."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import gc
import socket
import sys
from typing import TYPE_CHECKING

import structlog
import uvicorn

from chatapp.app import create_app
from chatapp.config.field_types import shown_url
from chatapp.config.logs import configure_logs
from chatapp.config.settings import InvalidSettings, load_settings, unknown_settings
from chatapp.domain.errors import ChatError
from chatapp.models import ModelState
from chatapp.models.llamacpp.demo import DEMO_ID
from chatapp.server.catalog import import_sdks
from chatapp.server.local_download import accept_licence, offer_line, show_download
from chatapp.server.metrics import serve_metrics
from chatapp.server.open_files import raise_open_files_limit
from chatapp.server.status_lines import lines
from chatapp.server.uvicorn_compat import BoundedProtocol, Server, bounded_protocol

if TYPE_CHECKING:
    from fastapi import FastAPI

    from chatapp.config.settings import Settings
    from chatapp.models.catalog import Catalog
    from chatapp.models.discovery.discovery import Discovery
    from chatapp.models.local.library import LocalModels

# Google Cloud's load balancers keep connections for 600 s; a server that closes them earlier causes 502s:
# https://cloud.google.com/load-balancing/docs/https#timeout-keepalive-backends
KEEP_ALIVE_SECONDS = 620
GRACEFUL_SHUTDOWN_SECONDS = 3  # for requests in progress; streams are ended at once
FIRST_MODEL_SECONDS = 5.0  # how long the table of models waits until the first one is loaded
FIRST_LOOK_SECONDS = 2.0  # the same, for the servers on this computer
OTHER_FILES = 512  # open files besides client connections: databases, models, the cloud, refused connections
LOOPBACK = ("127.0.0.1", "::1", "localhost")

log = structlog.get_logger(__name__)


def main() -> int:
    """Start, serve until Ctrl-C or SIGTERM, and return the exit status."""
    try:
        settings = load_settings()
        configure_logs(settings.log_format, project=settings.google_cloud_project)
        for sentence in unknown_settings():
            log.warning(sentence)
        accept_licence(settings)
        with _listening_socket(settings) as listener, _metrics_socket(settings) as metrics_listener:
            return asyncio.run(_serve(settings, listener, metrics_listener))
    except ChatError as error:
        print(f"The chat cannot start.\n{error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # at the question for a licence: later, uvicorn handles it
        print()
        return 130


async def _serve(settings: Settings, listener: socket.socket, metrics_listener: socket.socket | None) -> int:
    app = await _app(settings)
    server = Server(
        server_config(app, max_connections=_max_connections(settings)),
        on_started=lambda: _announce(settings, app.state.catalog, app.state.local_models, app.state.discovery),
        before_shutdown=lambda: _finish_turns(app, settings.shutdown_seconds),
    )
    async with _metrics_endpoint(app, metrics_listener):  # until the end, to show how much waits while the chat drains
        await server.serve(sockets=[listener])
    return 0 if server.started else 1


async def _app(settings: Settings) -> FastAPI:
    """Return the app, made without the garbage collector, which afterwards leaves alone what is there for good.

    Measured (2 busy cores, Firestore): 0.27 s of CPU for collections during the start in place of 0.62, and 1 ms in
    place of 235 for each full collection while the chat serves, which holds up every stream. Of the 227,000 objects
    that stay, 4,800 are garbage.
    """
    gc.disable()
    try:
        app = await create_app(settings)
        import_sdks(app.state.catalog)
        return app
    finally:
        gc.freeze()
        gc.enable()


def _metrics_endpoint(app: FastAPI, listener: socket.socket | None) -> contextlib.AbstractAsyncContextManager[None]:
    if listener is None:
        return contextlib.nullcontext()
    return serve_metrics(app.state.metrics, listener)


def server_config(app: FastAPI, *, max_connections: int = BoundedProtocol.max_connections) -> uvicorn.Config:
    """Return uvicorn's configuration. Forwarding headers are up to `chatapp.http.middleware.forwarded`."""
    return uvicorn.Config(
        app,
        http=bounded_protocol(max_connections),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_SHUTDOWN_SECONDS,
    )


def _max_connections(settings: Settings) -> int:
    open_files = raise_open_files_limit()
    allowed = min(settings.connections, max(16, open_files - OTHER_FILES))
    if allowed < settings.connections:
        log.warning("fewer_connections", limit=allowed, open_files=open_files, setting="CHAT_CONNECTIONS")
    return allowed


async def _finish_turns(app: FastAPI, seconds: float) -> None:
    """Let running answers finish while pages are still served; then have the open streams end."""
    try:
        await app.state.turns.finish(seconds)
    finally:
        app.state.closing.set()


async def _announce(
    settings: Settings, catalog: Catalog, local_models: LocalModels | None, discovery: Discovery | None
) -> None:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = (
        shown_url(settings.root_url) or f"http://{host if settings.host in LOOPBACK else 'localhost'}:{settings.port}"
    )
    if settings.log_format == "json":
        log.info("ready", address=address)
    else:
        print(f"\nHybrid chat is ready: {address}\n", flush=True)
    if discovery:
        await discovery.refreshed(FIRST_LOOK_SECONDS)
    statuses = await catalog.check()
    first = catalog.first_choice()
    await first.start()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(FIRST_MODEL_SECONDS):
            while (statuses := await catalog.check(first.id))[first.id].state is ModelState.LOADING:  # noqa: ASYNC110  # models report no events
                await asyncio.sleep(0.1)
    if settings.log_format == "json":
        if local_models and local_models.is_wanted(settings.local_model):
            local_models.start(settings.local_model)
        for model in catalog:
            status = statuses[model.id]
            log.info("model", model=model.id, state=status.state.value, reason=status.reason, fix=status.fix)
        return
    for line in lines(catalog, statuses):
        print(line)
    has_own = any(model.id != DEMO_ID and statuses[model.id].state is ModelState.READY for model in catalog)
    if local_models and not has_own and not settings.local_model and (line := offer_line(local_models)):
        print(f"\n{line}")
    print(f"\nHistory: {_history(settings)}\nStop with Ctrl-C.", flush=True)
    if local_models and local_models.is_wanted(settings.local_model):
        await show_download(local_models, settings.local_model)


def _history(settings: Settings) -> str:
    if settings.store == "firestore":
        return f"Firestore, database {settings.firestore_database} of project {settings.google_cloud_project}"
    return str(settings.data_dir)


def _listening_socket(settings: Settings) -> socket.socket:
    if settings.host not in LOOPBACK:
        _check_public_access(settings)
    return _bound(settings.host, settings.port, "CHAT_PORT")


def _check_public_access(settings: Settings) -> None:
    match settings.identity:
        case "local" if settings.local_anywhere:
            log.warning(
                "CHAT_LOCAL_ANYWHERE is set: everyone who can reach this chat reads and writes its one history."
            )
        case "local":
            raise InvalidSettings(
                f"CHAT_HOST is {settings.host!r}, which accepts other computers, but CHAT_IDENTITY=local is for one "
                "person on this computer: all users would share one history. Set CHAT_IDENTITY=anonymous or google, or "
                "leave CHAT_HOST out; or set CHAT_LOCAL_ANYWHERE=true if a proxy in front of it admits only you."
            )
        case "google" if not settings.root_url:
            raise InvalidSettings(
                "CHAT_ROOT_URL is missing: CHAT_IDENTITY=google needs the public address of the chat, such as "
                "https://chat.example.org. The provider redirects to it, and with https cookies are sent over HTTPS "
                "only."
            )


def _metrics_socket(settings: Settings) -> contextlib.AbstractContextManager[socket.socket | None]:
    if settings.metrics_port is None:
        return contextlib.nullcontext()
    return _bound(settings.host, settings.metrics_port, "CHAT_METRICS_PORT")


def _bound(host: str, port: int, setting: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except socket.gaierror as error:
        raise InvalidSettings(f"CHAT_HOST is {host!r}: this computer does not know that address.") from error
    except OSError as error:
        reasons = {
            errno.EADDRINUSE: f"Port {port} is taken, maybe by a chat that already runs.",
            errno.EACCES: f"Port {port} is only for the system's administrator.",
            errno.EADDRNOTAVAIL: f"CHAT_HOST is {host!r}, which is no address of this computer.",
        }
        what = reasons.get(error.errno or 0, f"{host}:{port} cannot be used ({error.strerror}).")
        raise InvalidSettings(f"{what} Choose another one, as in: make run {setting}={_other(port)}") from error
    return listener


def _other(port: int) -> int:
    return port + 1 if 1024 <= port < 65535 else 7861


if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m chatapp",
        description="Start the chat. Its settings are environment variables, or lines in .env: see docs/settings.md.",
    ).parse_args()
    sys.exit(main())
