"""Real vLLMs with the stack's arguments, which start and end as their pods do."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import aiohttp

from gemma.arguments import PRIVACY
from stacks.components.model_pod import GRACE_SECONDS, HEALTH, PRE_STOP_SECONDS
from tests.serving import free_port
from tests.vllm_command import command

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.rollout_parts.service import Service

START_SECONDS = 600.0


class Server:
    """One vLLM.

    Attributes:
        port: that it listens on.
        was_killed: whether the grace period of its pod was too short.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.was_killed = False
        self.log = folder / f"vllm-{self.port}.log"
        self._command = command(self.port)
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            SystemExit: it ended before.
        """
        with self.log.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, process_group=0, env=os.environ | PRIVACY
            )
        await self._wait_until_ready(self._process)

    async def end(self, service: Service) -> float:
        """End it as Kubernetes ends its pod; return the seconds that it took after SIGTERM."""
        assert self._process is not None
        service.remove(self.port)
        await asyncio.sleep(PRE_STOP_SECONDS)
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(GRACE_SECONDS - PRE_STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self.was_killed = True
        await self.kill()
        return time.monotonic() - began

    async def kill(self) -> None:
        """Kill it with its engine (SIGKILL), as the end of a container does."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()

    async def _wait_until_ready(self, process: asyncio.subprocess.Process) -> None:
        url = f"http://127.0.0.1:{self.port}{HEALTH}"
        async with asyncio.timeout(START_SECONDS), aiohttp.ClientSession() as http:
            while process.returncode is None:
                with suppress(aiohttp.ClientError):
                    async with http.get(url) as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.5)
        raise SystemExit(f"vLLM ended with {process.returncode}; see its log:\n{self.log.read_text()[-2000:]}")


class Servers:
    """The vLLMs behind a Service: one serves, and another one replaces it.

    Args:
        folder: for the logs.
        service: in front of them.
        ahead: start each one before it is needed, where few cores make a start long.

    Attributes:
        times: seconds of the steps of the last change.
        killed: how many had to be killed.
    """

    def __init__(self, folder: Path, service: Service, *, ahead: bool) -> None:
        self.times: dict[str, float] = {}
        self.killed = 0
        self._folder = folder
        self._service = service
        self._ahead = ahead
        self._all: list[Server] = []
        self._next: asyncio.Task[Server] | None = None

    async def start(self) -> None:
        """Start the first one."""
        self._begin_next()
        first = self._next
        if self._ahead:
            self._begin_next()
        self._serving = await self._added(first)

    async def kill(self) -> None:
        """Kill all."""
        if self._next is not None:
            self._next.cancel()
        for server in self._all:
            await server.kill()

    async def replace(self) -> None:
        """Replace the one that serves, the new one first."""
        old, self._serving = self._serving, await self._added(self._next)
        await self._end(old)

    async def recreate(self) -> None:
        """Replace the one that serves, the old one first."""
        await self._end(self._serving)
        began = time.monotonic()
        self._serving = await self._added(self._next)
        self.times["nothing served"] = time.monotonic() - began + self.times["vLLM ended after SIGTERM"]

    def _begin_next(self) -> None:
        self._next = asyncio.create_task(self._started())

    async def _started(self) -> Server:
        server = Server(self._folder)
        self._all.append(server)
        await server.start()
        return server

    async def _added(self, starting: asyncio.Task[Server] | None) -> Server:
        server = await (starting or asyncio.create_task(self._started()))
        if starting is self._next:
            self._next = None
        await self._service.add(server.port)
        return server

    async def _end(self, server: Server) -> None:
        self.times["vLLM ended after SIGTERM"] = await server.end(self._service)
        self.killed += server.was_killed
        if self._ahead and self._next is None:
            self._begin_next()
