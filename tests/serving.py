"""Runs the chat: the app in this process, or ``python -m chatapp`` as a process."""

import asyncio
import concurrent.futures
import contextlib
import itertools
import os
import random
import signal
import socket
import sys

import aiohttp
import uvicorn

from tests.forked import ForkedChat

# For tests and benchmarks in which one address sends as many requests as hundreds of users.
NO_LIMITS = dict.fromkeys(
    (
        *("new_guests_per_hour", "messages_per_minute", "tokens_per_day", "cost_per_day"),
        *("all_messages_per_minute", "all_tokens_per_day", "all_cost_per_day"),
        *("searches_per_minute", "exports_per_minute", "reads_per_minute", "imports_per_hour"),
    ),
    0,
)
NO_LIMITS_ENVIRONMENT = {f"CHAT_{name.upper()}": str(value) for name, value in NO_LIMITS.items()}


@contextlib.asynccontextmanager
async def serving(app):
    """Serve the app as `chatapp` does on a free loopback port and yield its address."""
    from chatapp.__main__ import server_config  # 1.5 s of CPU, which processes without a chat need not spend

    # TCP by name, as `chatapp.__main__` has it: else asyncio leaves Nagle's algorithm on, and each answer takes 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(server_config(app))
        server.capture_signals = contextlib.nullcontext
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            if task.done():
                await task
            await asyncio.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            app.state.closing.set()
            server.should_exit = True
            await task


@contextlib.contextmanager
def in_a_thread(serves):
    """Enter an async context manager in a thread with an event loop of its own; yield its value."""
    entered, ending = concurrent.futures.Future(), None

    async def serve():
        nonlocal ending
        ending = asyncio.get_running_loop().create_future()
        try:
            async with serves as value:
                entered.set_result(value)
                await ending
        except BaseException as error:
            if entered.done():
                raise
            entered.set_exception(error)

    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        served = threads.submit(asyncio.run, serve())
        yield entered.result()
        ending.get_loop().call_soon_threadsafe(ending.set_result, None)
        served.result()


def _candidates():
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(20_000 + worker % 10 * 1_000, 21_000 + worker % 10 * 1_000))
    random.shuffle(ports)  # another run of tests may use the same ones
    return itertools.cycle(ports)


_ports = _candidates()


def free_port():
    """Return a port that is free, and stays so until a process that is started now listens there.

    It is below those that a system gives to any program (Linux 32768 to 60999, macOS and Windows from 49152). Each
    worker of a test run has a thousand of its own, and takes them in turn.
    """
    return next(port for port in _ports if _is_free(port))


_left_ports = []  # of chats that have ended


@contextlib.contextmanager
def _kept_port():
    """Yield a free port, the one that another chat has left if it is free still.

    Chromium finds a page's scripts in its caches by their address, and opens the page of a chat at another address for
    twice the CPU.
    """
    port = _left_ports.pop() if _left_ports else free_port()
    if not _is_free(port):
        port = free_port()
    yield port
    _left_ports.append(port)


def _is_free(port):
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


class ChatProcess:
    """A chat process with these settings only, without the developer's environment and ``.env``.

    Args:
        folder: its working directory; its data are in ``data`` there.
        port: of its address; a free one if it is not given.
        cold: start ``python -m chatapp`` itself. Otherwise fork it from a process that has already imported it.
        settings: environment variables.
    """

    def __init__(self, folder, *, port=None, cold=False, **settings):
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.output = ""
        self._cold = cold
        own = {"CHAT_PORT": str(self.port), "CHAT_DATA_DIR": str(folder / "data"), "CHAT_FIND_SERVERS": "false"}
        self._settings = {**own, **settings}
        self._process = None
        self._reading = None

    @property
    def pid(self):
        return self._process.pid

    def change(self, **settings):
        """Set environment variables for the next start."""
        self._settings |= settings

    async def start(self, *, until_ready=True):
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environment |= {"PYTHONPATH": os.getcwd(), **self._settings}  # noqa: PTH109  # the checkout under test
        if self._cold:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "chatapp",
                cwd=self.folder,
                env=environment,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        else:
            self._process = await ForkedChat.start(self.folder, environment)
        self._reading = asyncio.create_task(self._read())
        if until_ready:
            await self._ready()
        return self

    async def ended(self, seconds=120):
        """Wait for the end and return the exit status."""
        async with asyncio.timeout(seconds):
            status = await self._process.wait()
            await self._reading
        return status

    async def end(self, number=signal.SIGTERM):
        """Send a signal and return the exit status."""
        if self._process.returncode is None:
            self._process.send_signal(number)
        return await self.ended()

    async def _read(self):
        async for line in self._process.stdout:
            self.output += line.decode()

    async def _ready(self):
        async with asyncio.timeout(300), aiohttp.ClientSession() as http:
            while self._process.returncode is None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with http.get(f"{self.url}/healthz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.05)
        await self._reading
        raise AssertionError(f"the chat ended with {self._process.returncode}:\n{self.output}")


@contextlib.asynccontextmanager
async def running_chat(folder, **settings):
    """Run the chat as a process, and stop it with SIGTERM."""
    with _kept_port() as port:
        chat = await ChatProcess(folder, port=port, **settings).start()
        try:
            yield chat
        finally:
            await chat.end()
