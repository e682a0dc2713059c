"""A TCP proxy that injects network faults into the connections to Firestore."""

from __future__ import annotations

import asyncio
import math
import random
import socket
import struct
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

CHUNK_BYTES = 65_536
SLICE_BYTES = 256  # unit of a limited bandwidth
HALF_CLOSE_SECONDS = (0.05, 0.5)  # after the connection was opened
ERRORS = (ConnectionError, TimeoutError, OSError)


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of all connections.

    Attributes:
        refuses: new connections are refused, open ones are reset.
        loses_requests: bytes from the client are read and dropped.
        loses_replies: bytes from the server are read and dropped, after it has processed the request.
        half_closes: one direction of each connection ends soon after it was opened.
        bytes_per_second: in each direction of each connection.
        seconds_late: minimum and maximum delay of each part of a stream.
    """

    refuses: bool = False
    loses_requests: bool = False
    loses_replies: bool = False
    half_closes: bool = False
    bytes_per_second: float = math.inf
    seconds_late: tuple[float, float] = (0.0, 0.0)

    @property
    def breaks(self) -> bool:
        """Whether connections are unusable afterwards."""
        return self.loses_requests or self.loses_replies or self.half_closes


PASS = Fault()
REFUSE = Fault(refuses=True)
STALL = Fault(loses_requests=True, loses_replies=True)
LOSE_REPLIES = Fault(loses_replies=True)
HALF_CLOSE = Fault(half_closes=True)
THIN = Fault(bytes_per_second=4_000)
LATE = Fault(seconds_late=(0.05, 0.3))


class Proxy:
    """Listens on a loopback port and connects to the port ``target``; an async context manager.

    Attributes:
        fault: the current one; see `set`.
        counts: numbers of connections, resets and lost bytes.
    """

    def __init__(self, target: int, seed: int = 0) -> None:
        self.fault = PASS
        self.counts: Counter[str] = Counter()
        self._target = target
        self._chance = random.Random(seed)
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        # Reserves the port while connections are refused; it never listens.
        self._place = _bound(0)

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop_listening()
        self.reset()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._place.close()

    @property
    def host(self) -> str:
        """``host:port``, as ``FIRESTORE_EMULATOR_HOST`` takes it."""
        return f"127.0.0.1:{self._place.getsockname()[1]}"

    async def set(self, fault: Fault) -> None:
        """Set the fault of new and open connections; reset those that the previous fault made unusable."""
        before, self.fault = self.fault, fault
        if fault.refuses:
            self._stop_listening()
        if fault.refuses or (before.breaks and before != fault):
            self.reset()
        if not fault.refuses:
            await self._listen()
        if fault.half_closes:
            for connection in list(self._connections):
                connection.half_close_soon()

    def reset(self) -> None:
        """Reset (RST) every open connection."""
        for connection in list(self._connections):
            connection.reset()

    async def _listen(self) -> None:
        if self._server is None:
            listener = _bound(self._place.getsockname()[1])
            self._server = await asyncio.start_server(self._accept, sock=listener)

    def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Not a coroutine: asyncio would log the injected errors.
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.counts["connections"] += 1
        try:
            target = await asyncio.open_connection("127.0.0.1", self._target)
        except ERRORS:
            _reset(writer)
            return
        connection = _Connection(self, self._chance, (reader, writer), target)
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)


class _Connection:
    """A connection from the client, with its connection to the server."""

    def __init__(
        self,
        proxy: Proxy,
        chance: random.Random,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._proxy = proxy
        self._chance = chance
        self._client, self._to_client = client
        self._server, self._to_server = server
        self._ended: set[asyncio.StreamWriter] = set()  # closed directions

    async def run(self) -> None:
        if self._proxy.fault.half_closes:
            self.half_close_soon()
        try:
            await asyncio.gather(
                self._carry(self._client, self._to_server, "requests"),
                self._carry(self._server, self._to_client, "replies"),
            )
        except ERRORS:
            self.reset()
        finally:
            for writer in (self._to_client, self._to_server):
                writer.close()

    def reset(self) -> None:
        self._proxy.counts["resets"] += 1
        _reset(self._to_client)
        _reset(self._to_server)

    def half_close_soon(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(self._chance.uniform(*HALF_CLOSE_SECONDS), self._half_close)

    def _half_close(self) -> None:
        self._end(self._chance.choice((self._to_client, self._to_server)))
        self._proxy.counts["half closed"] += 1

    def _end(self, writer: asyncio.StreamWriter) -> None:
        self._ended.add(writer)
        with suppress(*ERRORS, RuntimeError):  # already closed
            writer.write_eof()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: str) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0  # when the last delayed part will be written, so that the order stays
        while chunk := await reader.read(CHUNK_BYTES):
            fault = self._proxy.fault
            if writer in self._ended or (fault.loses_requests if direction == "requests" else fault.loses_replies):
                self._proxy.counts[f"lost bytes of {direction}"] += len(chunk)
                continue
            if fault.bytes_per_second < math.inf:
                await asyncio.sleep(max(0.0, due - loop.time() + 1e-3))
                await self._carry_slowly(chunk, writer, fault.bytes_per_second)
            elif fault.seconds_late[1] or due > loop.time():
                due = max(due + 1e-5, loop.time() + self._chance.uniform(*fault.seconds_late))
                loop.call_at(due, self._write, writer, chunk)
            else:
                self._write(writer, chunk)
                await writer.drain()
        await asyncio.sleep(max(0.0, due - loop.time() + 1e-3))
        self._end(writer)

    async def _carry_slowly(self, chunk: bytes, writer: asyncio.StreamWriter, bytes_per_second: float) -> None:
        for start in range(0, len(chunk), SLICE_BYTES):
            part = chunk[start : start + SLICE_BYTES]
            await asyncio.sleep(len(part) / bytes_per_second)
            self._write(writer, part)

    def _write(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        if writer not in self._ended and not writer.is_closing():
            writer.write(chunk)


def _bound(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def _reset(writer: asyncio.StreamWriter) -> None:
    if not writer.is_closing():
        # So that closing sends RST and drops pending bytes.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
