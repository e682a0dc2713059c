"""The proxy of ``benchmarks.faults``: each fault does what its name says."""

import asyncio
import contextlib

import pytest

from benchmarks.fault_parts.proxy import HALF_CLOSE, LOSE_REPLIES, PASS, REFUSE, STALL, Fault, Proxy


class Server:
    """Records what arrives, and responds to each request with its text in upper case."""

    def __init__(self):
        self.arrived = asyncio.Queue()
        self.ends = asyncio.Queue()

    async def serve(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            while request := await reader.read(1000):
                await self.arrived.put(request)
                writer.write(request.upper())
        await self.ends.put(None)
        writer.close()


@pytest.fixture
async def server():
    server = Server()
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        server.port = listening.sockets[0].getsockname()[1]
        yield server


@pytest.fixture
async def proxy(server):
    async with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
async def connect(proxy):
    """Return a function that connects through the proxy."""
    writers = []

    async def connected():
        host, _, port = proxy.host.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writers.append(writer)
        return reader, writer

    yield connected
    for writer in writers:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture(autouse=True)
async def _timeout():
    async with asyncio.timeout(60):
        yield


async def send(connection, request):
    """Send a request and return its reply."""
    reader, writer = connection
    writer.write(request)
    return await reader.read(1000)


async def test_pass_forwards_everything(connect):
    assert await send(await connect(), b"request") == b"REQUEST"


async def test_lose_replies_forwards_the_request_and_drops_the_reply(proxy, server, connect):
    reader, writer = await connect()
    await proxy.set(LOSE_REPLIES)
    writer.write(b"request")
    assert await server.arrived.get() == b"request"
    await proxy.set(PASS)
    with pytest.raises(ConnectionResetError):
        await reader.read(1000)


async def test_stall_accepts_connections_and_drops_their_bytes(proxy, server, connect):
    await proxy.set(STALL)
    reader, writer = await connect()
    writer.write(b"gone")
    while not proxy.counts["lost bytes of requests"]:
        await asyncio.sleep(0.01)
    await proxy.set(PASS)
    with pytest.raises(ConnectionResetError):
        await reader.read(1000)
    assert await send(await connect(), b"request") == b"REQUEST"
    assert server.arrived.get_nowait() == b"request"


async def test_refuse_resets_open_connections_and_refuses_new_ones(proxy, connect):
    reader, _ = connection = await connect()
    await send(connection, b"request")
    await proxy.set(REFUSE)
    with pytest.raises(ConnectionResetError):
        await reader.read(1000)
    with pytest.raises(ConnectionRefusedError):
        await connect()
    await proxy.set(PASS)
    assert await send(await connect(), b"request") == b"REQUEST"


async def test_reset_reaches_client_and_server(proxy, server, connect):
    reader, _ = connection = await connect()
    await send(connection, b"request")
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read(1000)
    await server.ends.get()


@pytest.mark.slow
async def test_half_close_ends_one_direction(proxy, server, connect):
    reader, writer = connection = await connect()
    await send(connection, b"request")
    await proxy.set(HALF_CLOSE)
    ends = {asyncio.ensure_future(reader.read(1000)), asyncio.ensure_future(server.ends.get())}
    done, pending = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    assert proxy.counts["half closed"] == 1
    assert done
    writer.close()
    await asyncio.gather(*pending, return_exceptions=True)


async def test_bandwidth_is_limited(proxy, connect):
    connection = await connect()
    await proxy.set(Fault(bytes_per_second=2000))
    loop = asyncio.get_running_loop()
    began = loop.time()
    assert await send(connection, b"r" * 200) == b"R" * 200
    assert loop.time() - began >= 0.2  # 200 bytes there and 200 back


@pytest.mark.slow
async def test_delayed_bytes_arrive_complete_and_in_order_when_the_fault_changes(proxy, server, connect):
    _, writer = await connect()
    await proxy.set(Fault(seconds_late=(0.0, 0.1)))
    sent = b""
    for i in range(60):
        if i == 30:
            await proxy.set(Fault(bytes_per_second=100_000))
        if i == 45:
            await proxy.set(PASS)
        part = b"%d," % i
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.001)
        sent += part
    arrived = b""
    while len(arrived) < len(sent):
        arrived += await server.arrived.get()
    assert arrived == sent
