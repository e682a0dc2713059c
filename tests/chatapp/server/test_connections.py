"""Slow connections are closed, and others are served meanwhile."""

import asyncio
import contextlib
import json
import logging
import socket
import sys
import time

import aiohttp
import psutil
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse

from chatapp.__main__ import server_config
from chatapp.server.open_files import raise_open_files_limit
from chatapp.server.uvicorn_compat import BoundedProtocol
from tests.serving import running_chat

pytestmark = pytest.mark.slow  # hundreds of connections

HEAD = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
GET = b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Served:
    """A small app, served as the chat is, with short times."""

    def __init__(self, **bounds):
        self.end = asyncio.Event()
        self.outcomes = []
        config = server_config(self._app)
        config.http = type("Hurried", (BoundedProtocol,), {"head_seconds": 0.2, "body_seconds": 0.2, **bounds})
        config.lifespan, config.interface = "off", "asgi3"
        self.server = uvicorn.Server(config)
        self.server.capture_signals = contextlib.nullcontext

    async def _app(self, scope, receive, send):
        if scope["path"] == "/read":
            try:
                body = await Request(scope, receive).body()
            except Exception as error:
                self.outcomes.append(type(error).__name__)
                raise
            response = PlainTextResponse(str(len(body)))
        elif scope["path"] == "/refuse":
            response = PlainTextResponse("no", 413)
        elif scope["path"] == "/much":
            response = StreamingResponse(self._much())
        else:
            if scope["path"] == "/wait":
                await self.end.wait()
            response = PlainTextResponse("here")
        await response(scope, receive, send)

    async def _much(self):
        try:
            while True:
                yield b"x" * 100_000
                await asyncio.sleep(0)
        finally:
            self.outcomes.append("stopped")

    async def __aenter__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self._task = asyncio.create_task(self.server.serve(sockets=[self.listener]))
        while not self.server.started:
            await asyncio.sleep(0.01)
        self._opened = []
        return self

    async def __aexit__(self, *_):
        for writer in self._opened:
            writer.transport.abort()
        self.end.set()
        self.server.should_exit = True
        await self._task

    async def connection(self, *sent):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 16)
        self._opened.append(writer)
        for piece in sent:
            writer.write(piece)
        return reader, writer

    async def get(self, path="x"):
        reader, writer = await self.connection(GET % path.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        writer.close()
        return int(head.split()[1])


async def said(reader):
    """Return the status and the sentence of all that comes until the connection is closed."""
    async with asyncio.timeout(60):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]["text"]


async def drip(writer, piece=b"x", *, every=0.05):
    with contextlib.suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(piece)
            await asyncio.sleep(every)


@contextlib.asynccontextmanager
async def dripping(writer, piece):
    task = asyncio.create_task(drip(writer, piece))
    try:
        yield
    finally:
        task.cancel()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n", GET % b"x"])
async def test_slow_head_times_out(begun):
    """Whether it is the first request on its connection or another one."""
    async with Served() as served:
        reader, writer = await served.connection(begun)
        if begun.endswith(b"\r\n\r\n"):
            await reader.readuntil(b"here")
        async with dripping(writer, b"X"):
            status, sentence = await said(reader)
        assert (status, "took too long" in sentence) == (408, True)
        assert await served.get() == 200


async def test_slow_body_times_out():
    async with Served() as served:
        reader, writer = await served.connection(HEAD)
        async with dripping(writer, b"x"):
            assert (await said(reader))[0] == 408
        assert served.outcomes == ["ClientDisconnect"]


async def test_body_that_arrives_fast_enough_is_received():
    async with Served(body_seconds=0.9, body_bytes_per_second=50_000) as served:  # it takes longer
        reader, writer = await served.connection(HEAD)
        for _ in range(10):
            writer.write(b"x" * 10_000)
            await asyncio.sleep(0.1)
        assert (await reader.readuntil(b"100000")).startswith(b"HTTP/1.1 200")


async def test_refused_body_is_read_up_to_a_bound():
    async with Served(unread_bytes=1_000_000, body_seconds=3600) as served:
        reader, writer = await served.connection(HEAD.replace(b"/read", b"/refuse").replace(b"100000", b"9" * 12))
        await reader.readuntil(b"no")
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"x" * 100_000)
                    await writer.drain()
                    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (HEAD, b"408"),
        (HEAD.replace(b"/read", b"/refuse").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"413"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b"408"),
        (b"not HTTP\r\n\r\n", b"400"),
    ],
    ids=["slow body", "refused body", "slow head", "not HTTP"],
)
async def test_response_reaches_a_client_that_is_still_sending(head, status):
    def exchange():
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
            connection.sendall(head)
            for _ in range(20):
                time.sleep(0.03)  # it reads nothing meanwhile
                connection.sendall(b"x" * 1000)
            return b"".join(iter(lambda: connection.recv(65536), b""))

    async with Served() as served:
        assert (await asyncio.to_thread(exchange)).split()[1] == status


async def test_connection_that_is_closed_receives_the_rest_for_a_moment_only():
    async with Served(linger_seconds=0.3, unread_bytes=1_000_000) as served:
        for piece in (b"x", b"x" * 500_000):  # too long, and too much
            reader, writer = await served.connection(b"not HTTP\r\n\r\n")
            assert b" 400 " in await reader.read()
            async with asyncio.timeout(60):
                with contextlib.suppress(ConnectionError):
                    while True:
                        writer.write(piece)
                        await writer.drain()
                        await asyncio.sleep(0.01)


async def test_client_that_reads_nothing_is_disconnected():
    async with Served(reader_seconds=0.3) as served:
        await served.connection(GET % b"much")
        async with asyncio.timeout(60):
            while served.outcomes != ["stopped"]:
                await asyncio.sleep(0.05)


async def test_client_that_reads_slowly_is_served():
    # Twice as long as a reader may take nothing; of which a machine that stands still takes no second.
    async with Served(reader_seconds=1.5) as served:
        reader, _ = await served.connection(GET % b"much")
        for _ in range(60):
            assert await reader.read(2_000_000)
            await asyncio.sleep(0.05)
        assert served.outcomes == []


async def test_connection_may_be_idle_between_requests():
    async with Served() as served:
        reader, writer = await served.connection(GET % b"x")
        await reader.readuntil(b"here")
        await asyncio.sleep(0.5)
        writer.write((GET % b"x") * 2)
        for _ in range(2):
            await reader.readuntil(b"here")


async def test_response_may_take_long_to_begin():
    async with Served() as served:
        reader, _ = await served.connection(GET % b"wait")
        await asyncio.sleep(0.5)
        served.end.set()
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")


async def test_connection_that_waits_longest_is_closed_when_there_are_too_many():
    async with Served(max_connections=5, head_seconds=30) as served:
        at_work, _ = await served.connection(GET % b"wait")
        idle, _ = await served.connection(GET % b"x")
        await idle.readuntil(b"here")
        slow = [(await served.connection(b"GET"))[0] for _ in range(3)]
        await asyncio.sleep(0.1)
        assert await served.get() == 200
        with contextlib.suppress(ConnectionError):
            assert await idle.read() == b""
        assert not any(reader.at_eof() for reader in slow)
        for _ in range(20):  # as many as there are
            assert await served.get() == 200
        served.end.set()
        assert (await at_work.readuntil(b"here")).startswith(b"HTTP/1.1 200")


async def test_next_connection_gets_503_when_all_are_busy(monkeypatch):
    monkeypatch.setattr("chatapp.server.uvicorn_compat.SPARE_CONNECTIONS", 2)
    async with Served(max_connections=3) as served:
        at_work = [(await served.connection(GET % b"wait"))[0] for _ in range(3)]
        await asyncio.sleep(0.1)
        reader, _ = await served.connection(GET % b"x")
        status, sentence = await said(reader)
        assert (status, "too many connections" in sentence) == (503, True)
        served.end.set()
        for reader in at_work:
            assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
        assert await served.get() == 200


async def test_upgrade_to_websocket_is_ignored(caplog):
    async with Served() as served:
        upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
        reader, _ = await served.connection((GET % b"x").removesuffix(b"\r\n") + upgrade)
        assert (await reader.readuntil(b"here")).startswith(b"HTTP/1.1 200")
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


def test_limit_of_open_files_is_raised_as_far_as_the_system_allows():
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        limit = raise_open_files_limit()
        assert limit == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
        assert raise_open_files_limit() == limit
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def median_seconds(url, times=15):
    """Return how long a request takes on a connection of its own."""
    loop, took = asyncio.get_running_loop(), []
    for _ in range(times):
        before = loop.time()
        async with aiohttp.ClientSession() as http, http.get(f"{url}/state") as response:
            assert response.status == 200
        took.append(loop.time() - before)
    return sorted(took)[times // 2]


# Its figures are seen with -rP.
async def test_a_thousand_idle_and_two_hundred_slow_connections_do_not_delay_others(tmp_path):
    async with running_chat(tmp_path, CHAT_EMBEDDED_MODEL="false") as chat:
        opened = []

        async def connection(sent):
            reader, writer = await asyncio.open_connection("127.0.0.1", chat.port)
            opened.append(writer)
            writer.write(sent)
            return reader, writer

        memory = psutil.Process(chat.pid).memory_info
        await median_seconds(chat.url)  # the first ones take longer
        alone = await median_seconds(chat.url)
        before = memory().rss
        for _ in range(10):
            idle = await asyncio.gather(*[connection(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(100)])
            await asyncio.gather(*[reader.readuntil(b"ok") for reader, _ in idle])
        idle_bytes = memory().rss - before
        with_idle = await median_seconds(chat.url)
        slow = await asyncio.gather(*[connection(b"POST /conversations HTTP/1.1\r\nHost: x") for _ in range(200)])
        drips = [asyncio.create_task(drip(writer, every=0.5)) for _, writer in slow]
        with_slow = await median_seconds(chat.url)
        for task in drips:
            task.cancel()
        for writer in opened:
            writer.transport.abort()
        sys.stdout.write(
            f"1,000 idle: {idle_bytes / 1e6:.1f} MB, x {with_idle / alone:.2f}; 200 slow: x {with_slow / alone:.2f}"
        )
        assert idle_bytes < 50_000_000
        assert with_slow < max(20 * alone, 1)


async def test_new_connection_is_served_beyond_the_bound(tmp_path):
    async with running_chat(tmp_path, CHAT_EMBEDDED_MODEL="false", CHAT_CONNECTIONS="100") as chat:
        opened = [await asyncio.open_connection("127.0.0.1", chat.port) for _ in range(300)]
        try:
            assert await median_seconds(chat.url, 3)
        finally:
            for _, writer in opened:
                writer.transport.abort()
        assert "too_many_connections" in chat.output
