"""What a Service of Kubernetes is for connections: new ones go to a server that is ready."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import Self

from tests.serving import free_port

CHUNK_BYTES = 65_536
ERRORS = (ConnectionError, TimeoutError, OSError)


class Service:
    """Connects each new connection to the next server that is ready; an async context manager.

    An open connection stays with its server, also when that is not ready any more. While no server is ready,
    connections are refused, as kube-proxy does.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._ready: list[int] = []
        self._turns = itertools.count()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ready.clear()
        self._close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def add(self, port: int) -> None:
        """Send new connections to this port, too."""
        self._ready.append(port)
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)

    def remove(self, port: int) -> None:
        """Send no new connections to this port."""
        self._ready.remove(port)
        if not self._ready:
            self._close()

    def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._ready:  # accepted in the moment in which the last server was removed
            writer.transport.abort()
            return
        port = self._ready[next(self._turns) % len(self._ready)]
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", port)
        except ERRORS:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_carry(reader, to_server), _carry(from_server, writer))
        except ERRORS:
            writer.transport.abort()
            to_server.transport.abort()
        finally:
            writer.close()
            to_server.close()


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(CHUNK_BYTES):
        writer.write(chunk)
        await writer.drain()
    with suppress(*ERRORS, RuntimeError):  # the other direction has ended it
        writer.write_eof()
