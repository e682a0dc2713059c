"""Starts, measures and ends the processes of a run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.start import wait_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

END_SECONDS = 15.0
CHECKOUT = Path(__file__).parents[2]
SAMPLE_SECONDS = 0.02


@contextlib.contextmanager
def backend_process() -> Iterator[tuple[subprocess.Popen, str]]:
    """Run the fake backend; yield its process and its address."""
    command = [sys.executable, "-m", "benchmarks.load_parts.backend"]
    with _ended(subprocess.Popen(command, cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)) as process:
        assert process.stdout is not None
        yield process, f"http://127.0.0.1:{int(process.stdout.readline())}"


@contextlib.contextmanager
def chat_process(folder: Path, settings: dict[str, str]) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run the chat with these settings only, without ``.env``; yield its process and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    removed = ("CHAT_", "GOOGLE_", "GEMINI_", "THEME")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    environment = inherited | settings | {"CHAT_HOST": "127.0.0.1", "CHAT_PORT": str(port), "PYTHONPATH": str(CHECKOUT)}
    environment["TMPDIR"] = str(folder)  # Gradio creates a folder there
    log = folder / "chat.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "chatapp"]
        started = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    with _ended(started) as process:
        try:
            wait_for(port, "/", process)
        except SystemExit as error:
            raise SystemExit(f"{error}\n{log.read_text(errors='replace')[-2000:]}") from None
        yield process, f"http://127.0.0.1:{port}"


@contextlib.contextmanager
def _ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Cost:
    """The use of CPU and memory in an interval.

    Attributes:
        seconds: duration.
        cpu_seconds: user and system time by process.
        memory_mib: maximum of the resident memory by process.
        growth_mib: growth of the resident memory from start to end.
        lates: delays in seconds of the timers of this process.
        machine: busy share of all cores, 0 to 1.
    """

    seconds: float = 0.0
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    memory_mib: dict[str, float] = field(default_factory=dict)
    growth_mib: dict[str, float] = field(default_factory=dict)
    lates: list[float] = field(default_factory=list)
    machine: float = 0.0

    def cores(self, name: str) -> float:
        """Return the average number of cores that a process used."""
        return self.cpu_seconds[name] / self.seconds


@contextlib.asynccontextmanager
async def measured(processes: dict[str, psutil.Process]) -> AsyncIterator[Cost]:
    """Yield the cost of the block; it is complete after the block."""
    cost = Cost()
    sampling = asyncio.create_task(_sample(processes, cost))
    started, cpu = time.monotonic(), {name: _cpu_seconds(process) for name, process in processes.items()}
    memory = {name: _mib(process) for name, process in processes.items()}
    psutil.cpu_percent()
    yield cost
    cost.seconds = time.monotonic() - started
    cost.cpu_seconds = {name: _cpu_seconds(process) - cpu[name] for name, process in processes.items()}
    cost.growth_mib = {name: _mib(process) - memory[name] for name, process in processes.items()}
    cost.machine = psutil.cpu_percent() / 100
    sampling.cancel()
    await asyncio.wait({sampling})


async def _sample(processes: dict[str, psutil.Process], cost: Cost) -> None:
    while True:
        for name, process in processes.items():
            cost.memory_mib[name] = max(cost.memory_mib.get(name, 0.0), _mib(process))
        for _ in range(25):
            due = time.monotonic() + SAMPLE_SECONDS
            await asyncio.sleep(SAMPLE_SECONDS)
            cost.lates.append(time.monotonic() - due)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


def _mib(process: psutil.Process) -> float:
    return process.memory_info().rss / 2**20
