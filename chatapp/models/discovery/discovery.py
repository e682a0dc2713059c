"""Keeps the models of the servers on this computer in the catalogue, as they come and go."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

import structlog

from chatapp.models.discovery.servers import ServerAway
from chatapp.models.llamacpp.demo import DEMO_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.models import ChatModel
    from chatapp.models.catalog import Catalog
    from chatapp.models.discovery.servers import LocalServer

FRESH_SECONDS: Final = 5.0
"""For which what was seen is believed: an open page reads the models every 10 seconds, and when its picker opens."""

WAIT_SECONDS: Final = 0.5
"""That a page waits for a look; on loopback it takes milliseconds."""

log = structlog.get_logger(__name__)


class Discovery:
    """The servers on this computer, and what the catalogue has of them.

    Looks when it is asked to, so no server is asked while no page is open. A model that its server no longer lists
    leaves the catalogue; those of a server that does not answer stay, and their status says so: a page whose model
    disappeared would go on with another one, maybe in a cloud.

    Args:
        catalog: of the chat.
        servers: to look for.
    """

    def __init__(self, catalog: Catalog, servers: Sequence[LocalServer]) -> None:
        self._catalog = catalog
        self._servers: dict[LocalServer, dict[str, ChatModel]] = {server: {} for server in servers}
        self._task: asyncio.Task[None] | None = None
        self._looked_at = float("-inf")

    def look(self) -> asyncio.Task[None]:
        """Look again in the background, unless what was seen is fresh or a look is in progress."""
        if self._task is None or (self._task.done() and time.monotonic() - self._looked_at > FRESH_SECONDS):
            self._task = asyncio.get_running_loop().create_task(self._look())
        return self._task

    async def refreshed(self, seconds: float = WAIT_SECONDS) -> None:
        """Look again, and wait for that, but no longer than these seconds."""
        await asyncio.wait([self.look()], timeout=seconds)

    async def aclose(self) -> None:
        """End the look in progress. The catalogue closes the models."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        await asyncio.gather(*(self._look_at(server) for server in self._servers))
        self._looked_at = time.monotonic()

    async def _look_at(self, server: LocalServer) -> None:
        before = self._servers[server]
        try:
            found = await server.models(before)
        except ServerAway:
            for model_id in before:
                self._catalog.expire(model_id)  # its status is read again, and says so
            return
        except Exception:  # another program's answers must not keep a page from its models
            log.exception("discovery_failed", server=type(server).__name__)
            return
        now = {model.id: model for model in (*found.models, *found.passed_on)}
        for model_id in before.keys() - now.keys():
            await self._catalog.remove(model_id)
        new = [model for model in now.values() if before.get(model.id) is not model]
        for model in new:
            self._catalog.add(model, before=DEMO_ID if model in found.models else "")
            if model.id in before:
                await before[model.id].aclose()
        self._servers[server] = now
        if new:
            log.info("models_found", models=[model.id for model in new])
            await self._catalog.check(*(model.id for model in new))
