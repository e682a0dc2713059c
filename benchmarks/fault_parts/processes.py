"""The processes of a run: the emulator, the fake backend, the probe and the chat."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from tests.firestore_emulator import HOW_TO_GET_IT, HOW_TO_GET_IT_ELSEWHERE, JAVA_OPTIONS, MAIN, PROJECT, found_jar
from tests.serving import NO_LIMITS_ENVIRONMENT, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKOUT = Path(__file__).parents[2]
CLOCK = Path(__file__).parent / "clock"
START_SECONDS = 240.0
END_SECONDS = 60.0
POLL_SECONDS = 0.03
SECRET = "faults-faults-faults"  # signs the cookies that the users of a run have from the start
NOT_INHERITED = ("CHAT_", "GOOGLE_", "GEMINI_", "THEME", "FIRESTORE_", "FAULTS_")


def settings_of(backend: str, firestore: str, *, drain_seconds: int) -> dict[str, str]:
    """Return the settings of a chat before the emulator, for many users of one address.

    Args:
        backend: address of the fake model server.
        firestore: host and port of the emulator, or of the proxy before it.
        drain_seconds: how long a chat that ends delivers its journal.
    """
    return _settings(backend) | {
        "CHAT_STORE": "firestore",
        "GOOGLE_CLOUD_PROJECT": PROJECT,
        "FIRESTORE_EMULATOR_HOST": firestore,
        "CHAT_DRAIN_SECONDS": str(drain_seconds),
        "GRPC_VERBOSITY": "NONE",
    }


def sqlite_settings(backend: str) -> dict[str, str]:
    """Return the settings of a chat with SQLite, which keeps the files of documents."""
    return _settings(backend) | {"CHAT_STORE": "sqlite", "CHAT_KEEP_DOCUMENT_FILES": "true"}


def _settings(backend: str) -> dict[str, str]:
    return {
        "CHAT_IDENTITY": "anonymous",
        "CHAT_SESSION_SECRET": SECRET,
        "CHAT_LOG_FORMAT": "json",
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_GEMMA_URL": backend,
        "CHAT_SHUTDOWN_SECONDS": "1",
        **NO_LIMITS_ENVIRONMENT,
    }


def missing_program() -> str:
    """Return a sentence that names a missing program of a run, "" if there is none."""
    if shutil.which("java") and found_jar():
        return ""
    missing = "Java" if found_jar() else "The Firestore emulator"
    return f"{missing} is not here; install it with: {HOW_TO_GET_IT} (or: {HOW_TO_GET_IT_ELSEWHERE})"


class Emulator:
    """The Firestore emulator; an async context manager.

    It keeps its data in memory. `restart` therefore exports them, kills it, and starts a new one that imports them:
    acknowledged writes stay, and every document has a new update time.

    Args:
        folder: gets its log.
        nice: how much higher than this process's its niceness is once it runs. Firestore takes no CPU from a chat, but
            its emulator does: for each query it reads the whole database, deleted documents too. That took 4 ms of CPU
            with an empty database, 15 with 5,000 documents and 56 with 20,000 (Google Cloud CLI 528), so at the end of
            a long run it takes a core.
    """

    def __init__(self, folder: Path, *, nice: int = 0) -> None:
        self.nice = nice
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Emulator:
        await self._start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kill()

    def pause(self) -> None:
        """Pause it (SIGSTOP)."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue it (SIGCONT)."""
        self._running.send_signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Kill it and start it again with its data; it must get no request meanwhile."""
        exports = self._folder / f"export-{time.monotonic_ns()}"
        exports.mkdir()
        await asyncio.to_thread(self._export, exports)
        await self._kill()
        (metadata,) = exports.rglob("*.overall_export_metadata")
        await self._start("--import-data", str(metadata))
        shutil.rmtree(exports)

    @property
    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        return self._process

    def _export(self, folder: Path) -> None:
        body = {"database": f"projects/{PROJECT}/databases/(default)", "export_directory": str(folder)}
        request = urllib.request.Request(
            f"http://{self.host}/emulator/v1/projects/{PROJECT}:export",
            data=json.dumps(body | {"export_name": "all"}).encode(),
            headers={"content-type": "application/json", "authorization": "Bearer owner"},
        )
        with urllib.request.urlopen(request, timeout=START_SECONDS) as response:
            response.read()

    async def _start(self, *arguments: str) -> None:
        command = [
            "java",
            *JAVA_OPTIONS,
            "-cp",
            str(found_jar()),
            MAIN,
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
        ]
        with (self._folder / "emulator.log").open("ab") as log:
            self._process = await _start_process(*command, *arguments, stdout=log, stderr=log)
        await _wait_until_healthy(f"http://{self.host}/", self._process, "The emulator")
        if self.nice:  # of all its threads
            os.setpriority(os.PRIO_PGRP, self._process.pid, os.getpriority(os.PRIO_PROCESS, 0) + self.nice)

    async def _kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()  # also while it is paused
            await self._process.wait()


class Backend:
    """The fake model server; an async context manager."""

    url = ""

    async def __aenter__(self) -> Backend:
        command = [sys.executable, "-m", "benchmarks.fault_parts.backend"]
        pipe = asyncio.subprocess.PIPE
        self._process = await _start_process(*command, cwd=CHECKOUT, stdin=pipe, stdout=pipe)
        assert self._process.stdout is not None
        self.url = f"http://127.0.0.1:{int(await self._process.stdout.readline())}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()


class Probe:
    """The process of `benchmarks.fault_parts.probe`; an async context manager."""

    def __init__(self, folder: Path, firestore: str) -> None:
        self._folder = folder
        self._firestore = firestore

    async def __aenter__(self) -> Probe:
        self._folder.mkdir()
        command = [sys.executable, "-m", "benchmarks.fault_parts.probe", str(self._folder)]
        environment = os.environ | {"FIRESTORE_EMULATOR_HOST": self._firestore, "GRPC_VERBOSITY": "NONE"}
        with (self._folder / "out").open("wb") as output, (self._folder / "log").open("wb") as log:
            pipe = asyncio.subprocess.PIPE
            self._process = await _start_process(
                *command, cwd=CHECKOUT, env=environment, stdin=pipe, stdout=output, stderr=log
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def end(self) -> tuple[list[tuple[float, float, float, float]], Counter[str]]:
        """Stop it and return its measurements, and how many turns were refused, by error."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await self._process.wait()
        lines = [line.split() for line in (self._folder / "out").read_text().splitlines()]
        refused = Counter(line[2] for line in lines if "refused" in line)
        turns = [line for line in lines if "refused" not in line]
        return [(float(began), float(start), float(end), float(bare)) for began, start, end, bare in turns], refused


class Chat:
    """``python -m chatapp`` as shipped, with a clock that can be set; an async context manager.

    Args:
        folder: of its data and its log.
        settings: environment variables.
        module: what is run in place of ``chatapp``.
        end_seconds: in which it must end; it is killed after that.

    Attributes:
        serving: set while it accepts requests.
        starts: number of starts.
        crashes: a sentence for each unexpected end.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str],
        module: str = "chatapp",
        *,
        end_seconds: float = END_SECONDS,
    ) -> None:
        self._module = module
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data_folder = folder / "data"
        self.log = folder / "chat.log"
        self.serving = asyncio.Event()
        self.starts = 0
        self.crashes: list[str] = []
        self._folder = folder
        self._settings = dict(settings)
        self._end_seconds = end_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Chat:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and wait until it is healthy."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        own = {"CHAT_HOST": "127.0.0.1", "CHAT_PORT": str(self.port), "CHAT_DATA_DIR": str(self.data_folder)}
        own["CHAT_TITLES"] = "first-words"  # the backend writes no titles, and the audit ignores them
        python_path = {"PYTHONPATH": f"{CLOCK}{os.pathsep}{CHECKOUT}", "TMPDIR": str(self._folder)}
        self._process = await _start_process(
            *(sys.executable, "-m", self._module),
            cwd=self._folder,
            env=inherited | self._settings | own | python_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.starts += 1
        self._reading = asyncio.create_task(self._read(self._process))
        await _wait_until_healthy(f"{self.url}/healthz", self._process, f"The chat (see {self.log})")
        self._watching = asyncio.create_task(self._watch(self._process))
        self.serving.set()

    async def kill(self) -> None:
        """Kill it (SIGKILL)."""
        await self._end(signal.SIGKILL)

    async def terminate(self) -> int:
        """Stop it gracefully (SIGTERM); return the exit status."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        self.serving.clear()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        if self._process is None:
            return 0
        if self._process.returncode is None:
            self._process.send_signal(number)
        try:
            async with asyncio.timeout(self._end_seconds):
                status = await self._process.wait()
        except TimeoutError:
            self.crashes.append(f"The chat had not ended {self._end_seconds:.0f} s after {number.name}.")
            self._process.kill()
            status = await self._process.wait()
        if self._reading is not None:
            await self._reading
        return status

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        status = await process.wait()
        self.serving.clear()
        self.crashes.append(f"The chat ended by itself, with {status}.")

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Write its output to the log file; through a pipe, so that a limit of its files does not limit the log."""
        assert process.stdout is not None
        with self.log.open("ab") as log:
            while written := await process.stdout.read(1 << 16):
                log.write(written)


async def _start_process(*command: str, **options: object) -> asyncio.subprocess.Process:
    # In a new process group: Ctrl-C goes to the parent only, which stops all processes.
    return await asyncio.create_subprocess_exec(*command, process_group=0, **options)  # type: ignore[arg-type]


async def _wait_until_healthy(url: str, process: asyncio.subprocess.Process, name: str) -> None:
    """Wait until the URL responds with 200."""
    deadline = time.monotonic() + START_SECONDS
    async with aiohttp.ClientSession() as http:
        while time.monotonic() < deadline and process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get(url, timeout=aiohttp.ClientTimeout(total=START_SECONDS)) as response:
                    await response.read()
                    if response.status == 200:
                        return
            await asyncio.sleep(POLL_SECONDS)
    raise SystemExit(f"{name} does not respond; its exit status is {process.returncode}.")
