"""Start benchmark: start of the chat, compared with the import of gradio (most of it), and latency of the demo model.

Run: ``python -m benchmarks.start [runs]``. Chat and import alternate, so that other load on the machine affects both;
the first start of each fills the disk caches and is not counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import aclosing
from typing import TYPE_CHECKING

import psutil

from chatapp.domain.conversation import GenerationParameters, Message, Role, Usage, new_id, now_ms
from chatapp.models import ModelState, TextDelta
from chatapp.models.llamacpp.demo import DemoModel

if TYPE_CHECKING:
    from collections.abc import Iterator

RUNS = 5
POLL_SECONDS = 0.02
SETTLED_SECONDS = 2.0  # from the first page to the measurement of the memory, when the demo model has loaded
LONGEST_SECONDS = 120.0
QUESTION = "Tell me a long story about a lighthouse."
Figures = dict[str, float]


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    imports, starts, answers = [], [], []
    for run in range(runs + 1):
        imported, started, answered = measure_import(), measure_start(), asyncio.run(measure_model())
        if run:
            imports.append(imported)
            starts.append(started)
            answers.append(answered)
    print(f"{runs} runs, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    print(f"{'':<52}  {'median':>8}  {'least':>8}  {'most':>8}  {'to import':>9}")
    baseline = {name: statistics.median(one[name] for one in imports) for name in imports[0]}
    for title, measured in (("import gradio", imports), ("chat", starts), ("demo model", answers)):
        for name in measured[0]:
            values = [one[name] for one in measured]
            median = statistics.median(values)
            unit = name.partition(",")[0]
            ratio = f"{median / baseline[unit]:.2f}" if measured is starts and unit in baseline else ""
            label = f"{title}: {name}"
            print(f"{label:<52}  {median:>8.2f}  {min(values):>8.2f}  {max(values):>8.2f}  {ratio:>9}")


def measure_import() -> Figures:
    """Import gradio in a new process, which then waits for the measurement of its memory."""
    command = [sys.executable, "-c", "import gradio; print('done', flush=True); input()"]
    start = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if not process.stdout.readline():
            raise SystemExit("gradio cannot be imported")
        seconds = time.perf_counter() - start
        figures = {"seconds": seconds, "MiB": mebibytes(process.pid)}
        process.stdin.write(b"\n")
        process.stdin.flush()
    return figures


def measure_start() -> Figures:
    """Start the chat with an empty history, wait for its page, and end it."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        settings = {"CHAT_PORT": str(port), "CHAT_DATA_DIR": folder, "CHAT_HOST": "127.0.0.1"}
        start = time.perf_counter()
        with chat(settings) as process:
            wait_for(port, "/healthz", process)
            healthy = time.perf_counter() - start
            wait_for(port, "/", process)
            page = time.perf_counter() - start
            time.sleep(SETTLED_SECONDS)
            children = psutil.Process(process.pid).children(recursive=True)
            return {
                "seconds, to /healthz": healthy,
                "seconds, to the page": page,
                "MiB, the chat itself": mebibytes(process.pid),
                "MiB, its children (the demo model)": sum(mebibytes(child.pid) for child in children),
            }


async def measure_model() -> Figures:
    """Send a question to the demo model twice, through its adapter: after the start of its server, and again."""
    model = DemoModel("demo")
    try:
        start = time.perf_counter()
        await model.start()
        while (status := await model.status()).state is ModelState.LOADING:  # noqa: ASYNC110  # it has no event
            await asyncio.sleep(POLL_SECONDS)
        if status.state is not ModelState.READY:
            raise SystemExit(f"The demo model cannot answer: {status.reason}")
        ready = time.perf_counter() - start
        first, rate = await ask(model)
        again, _ = await ask(model)
    finally:
        await model.aclose()
    return {
        "seconds, to ready": ready,
        "seconds, first token": first,
        "seconds, first token of the same question again": again,
        "tokens per second": rate,
    }


async def ask(model: DemoModel) -> tuple[float, float]:
    """Return the seconds to the first token, and the tokens per second after it."""
    question = Message(id=new_id(), turn_id=new_id(), role=Role.USER, content=QUESTION, created_ms=now_ms())
    start = time.perf_counter()
    first, tokens = 0.0, 0
    async with aclosing(model.stream([question], GenerationParameters(max_tokens=256))) as events:
        async for event in events:
            if isinstance(event, TextDelta) and not first:
                first = time.perf_counter() - start
            elif isinstance(event, Usage):
                tokens = event.completion_tokens or 0
    return first, (tokens - 1) / (time.perf_counter() - start - first)


@contextlib.contextmanager
def chat(settings: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run the chat with these settings only."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("CHAT_", "GOOGLE_"))}
    process = subprocess.Popen([sys.executable, "-m", "chatapp"], env=inherited | settings, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_for(port: int, path: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until the path responds with 200."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LONGEST_SECONDS)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            response.read()
            if response.status == http.HTTPStatus.OK:
                return
        time.sleep(POLL_SECONDS)
    raise SystemExit(f"The chat did not answer {path}.")


def mebibytes(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / 2**20


if __name__ == "__main__":
    main()
