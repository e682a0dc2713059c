"""Load benchmark: the latency that the chat adds to concurrent answers, and the CPU time per token.

Run: ``python -m benchmarks.load [--users 1,20,100,200] [--history 0,100] [--seconds 12] [--conversations 1000]``. Three
processes: a fake backend at 50 tokens/s per stream, the chat, and this one, which sends the requests of browsers and
checks each character of the answers. Users send questions without a pause, in a new conversation or in one with 100
messages; then the same load goes to the backend directly. Delays of this process count as the chat's: the numbers are
upper bounds. At the end, the memory of the chat before and after many conversations.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import resource
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import psutil

from benchmarks import percentile
from benchmarks.fault_parts.users import COOKIE
from benchmarks.load_parts.processes import backend_process, chat_process, measured
from benchmarks.load_parts.users import TURN_TIMEOUT_SECONDS, BackendUser, PageUser, Results
from chatapp.auth.anonymous import AnonymousAuthenticator
from chatapp.domain.conversation import Conversation, Message, Role, new_id, now_ms
from chatapp.store.sqlite.store import SQLiteStore
from tests.serving import NO_LIMITS_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.load_parts.processes import Cost
    from benchmarks.load_parts.users import User

USERS = (1, 20, 100, 200)
HISTORIES = (0, 100)  # messages
SECONDS = 12.0  # in which turns start; half of it for the backend without the chat
SPREAD_SECONDS = 3.0  # in which the users start: the duration of an answer, so that turns do not start together
OPENING = 8  # concurrent page loads
CONVERSATIONS = 1000  # twice at the end, for the memory of the chat
MEMORY_USERS = 100
SECRET = "benchmark-benchmark"
QUESTION = "And how did the keeper of the lighthouse spend the winter of that year?"
ANSWER = "The keeper read, mended the lamp, and wrote down the weather, which he had no reason to trust. " * 10
HEADINGS = (
    ("history", "users", "", "turns", "tokens", "errors"),
    ("first words, ms", "first token added, ms", "token lag, ms"),
    ("CPU/token", "memory", "busy cores: chat backend load others", "late, ms: load backend"),
)
COLUMNS = "{:>7} {:>5} {:<8} {:>5} {:>6} {:>6}  {:>15}  {:>21}  {:>21}  {:>9}  {:>13}  {:>36}  {:>22}"
# Above these, the load itself distorts the measurement.
BUSY_CORES = 0.85  # of a process with one thread
BUSY_OTHERS = 0.3
LATE_SECONDS = 0.02
Guest = tuple[dict[str, str], str]  # cookies, and the conversation that the page opens


async def main(users: Sequence[int], histories: Sequence[int], seconds: float, conversations: int) -> None:
    cancel_on_sigterm(asyncio.current_task())
    allow_many_connections()
    with tempfile.TemporaryDirectory() as folder, backend_process() as (backend, backend_url):
        place = Path(folder)
        guests = await prepare(place / "chat.db", users, histories)
        with chat_process(place, settings(place, backend_url)) as (chat, chat_url):
            print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load average {load_average()}")
            print(f"Processes: chat {chat.pid}, backend {backend.pid}, load {os.getpid()}. Values: p50 / p95 (/ p99)\n")
            print(COLUMNS.format(*(word for line in HEADINGS for word in line)), flush=True)
            processes = {
                "load": psutil.Process(),
                "backend": psutil.Process(backend.pid),
                "chat": psutil.Process(chat.pid),
            }
            for history in histories:
                for count in users:
                    texts = [QUESTION, ANSWER] * (history // 2)
                    at_page = await level_at_page(chat_url, guests[history, count], texts, seconds, processes)
                    report(history, count, "chat", *at_page)
                    direct = await level_at_backend(backend_url, count, texts, seconds / 2, processes)
                    report(history, count, "direct", *direct)
                    report_difference(at_page[0], direct[0])
            if conversations:
                await report_memory(chat_url, conversations, processes["chat"])
            print(f"\nLoad average at the end {load_average()}")


def settings(folder: Path, backend_url: str) -> dict[str, str]:
    return {
        "CHAT_DATA_DIR": str(folder),
        "CHAT_IDENTITY": "anonymous",
        "CHAT_SESSION_SECRET": SECRET,
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_GEMMA_URL": backend_url,
        "CHAT_TITLES": "first-words",  # titles from the model would be one more request per conversation
        **NO_LIMITS_ENVIRONMENT,
    }


async def prepare(path: Path, users: Sequence[int], histories: Sequence[int]) -> dict[tuple[int, int], list[Guest]]:
    """Write the conversations of returning users; a user without one gets the cookie from the page."""
    identity = AnonymousAuthenticator(SECRET, secure=False)
    store = await SQLiteStore.open(path)
    guests: dict[tuple[int, int], list[Guest]] = {}
    for history in histories:
        for count in users:
            guests[history, count] = [({}, "")] * count
            if history:
                returning = [identity.new_user() for _ in range(count)]
                ids = await asyncio.gather(*(write_conversation(store, user, history) for user, _ in returning))
                cookies = [{COOKIE: cookie} for _, cookie in returning]
                guests[history, count] = list(zip(cookies, ids, strict=True))
    await store.aclose()
    return guests


async def write_conversation(store: SQLiteStore, user: str, history: int) -> str:
    created_ms = now_ms() - history - 1
    conversation = Conversation(id=new_id(), title=QUESTION[:60], created_ms=created_ms, updated_ms=created_ms)
    messages, turn_id = [], ""
    for i in range(history):
        role, text = (Role.ASSISTANT, ANSWER) if i % 2 else (Role.USER, QUESTION)
        turn_id = turn_id if i % 2 else new_id()
        model = "gemma" if i % 2 else ""
        messages.append(
            Message(id=new_id(), turn_id=turn_id, role=role, content=text, created_ms=created_ms + i, model=model)
        )
    await store.create(user, conversation, *messages)
    return conversation.id


async def level_at_page(
    url: str, guests: list[Guest], texts: list[str], seconds: float, processes: dict[str, psutil.Process]
) -> tuple[Results, Cost]:
    """Open all pages, then measure the turns."""
    simulated = [
        PageUser(url, cookies=cookies, conversation=conversation, texts=texts) for cookies, conversation in guests
    ]
    opening = asyncio.Semaphore(OPENING)

    async def open_page(user: PageUser) -> None:
        async with opening:
            await user.open()

    try:
        await asyncio.gather(*(open_page(user) for user in simulated))
        return await level(simulated, seconds, processes)
    finally:
        await asyncio.gather(*(user.close() for user in simulated))


async def report_memory(url: str, conversations: int, chat: psutil.Process) -> None:
    """Print the memory of the chat before and after new conversations, and after as many again."""
    memory = [chat.memory_info().rss]
    results = Results()
    for _ in range(2):
        simulated = [
            PageUser(url, cookies={}, conversation="", texts=[]) for _ in range(min(MEMORY_USERS, conversations))
        ]
        try:
            for user in simulated:
                await user.open()
            await asyncio.gather(
                *(user.start_conversations(results, conversations // len(simulated)) for user in simulated)
            )
        finally:
            await asyncio.gather(*(user.close() for user in simulated))
        memory.append(chat.memory_info().rss)
    before, after, again = (rss / 2**20 for rss in memory)
    print(
        f"\nMemory of the chat: {before:.0f} MiB, after {conversations:,} conversations {after:.0f} MiB, after as many "
        f"again {again:.0f} MiB ({results.turns:,} turns, {len(results.errors)} errors)"
    )


async def level_at_backend(
    url: str, count: int, texts: list[str], seconds: float, processes: dict[str, psutil.Process]
) -> tuple[Results, Cost]:
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        return await level([BackendUser(url, http, texts=texts) for _ in range(count)], seconds, processes)


async def level(
    simulated: Sequence[User], seconds: float, processes: dict[str, psutil.Process]
) -> tuple[Results, Cost]:
    """Run the users until the last turn has ended."""
    results = Results()
    async with measured(processes) as cost, asyncio.timeout(seconds + SPREAD_SECONDS + 2 * TURN_TIMEOUT_SECONDS):
        until = time.monotonic() + seconds
        delays = [SPREAD_SECONDS * i / len(simulated) for i in range(len(simulated))]
        await asyncio.gather(
            *(user.run(results, delay=delay, until=until) for user, delay in zip(simulated, delays, strict=True))
        )
    return results, cost


def report(history: int, count: int, where: str, results: Results, cost: Cost) -> None:
    chat = where == "chat"
    per_token = f"{cost.cpu_seconds['chat'] / results.tokens * 1e6:.0f} µs" if chat and results.tokens else ""
    memory = f"{cost.memory_mib['chat']:.0f} {cost.growth_mib['chat']:+.0f} MiB" if chat else ""
    cores = [cost.cores(name) for name in ("chat", "backend", "load")]
    others = max(0.0, cost.machine * (os.cpu_count() or 1) - sum(cores))
    lates = percentile(cost.lates, 95), percentile(results.lates, 95)
    print(
        COLUMNS.format(
            *(history, count, where, results.turns, results.tokens, len(results.errors)),
            *(
                milliseconds(results.waits, 50, 95),
                milliseconds(results.added, 50, 95),
                milliseconds(results.lags, 50, 95, 99),
            ),
            *(per_token, memory),
            " ".join(f"{busy:.2f}" for busy in (*cores, others)),
            " ".join(f"{late * 1000:.1f}" for late in lates),
        ),
        flush=True,
    )
    for error, times in Counter(results.errors).most_common(3):
        print(f"        {times} x {error}")
    if max(cores[1:]) > BUSY_CORES or max(lates) > LATE_SECONDS:
        print("        The load generator or the backend was saturated: these times are upper bounds.")
    if others > BUSY_OTHERS:
        print(f"        Other programs kept {others:.1f} cores busy: these times are upper bounds.")
    if cores[0] > BUSY_CORES:
        print("        The chat used a whole core: more users would only wait longer.")


def report_difference(chat: Results, direct: Results) -> None:
    """Print what the chat adds to the same load on the backend."""
    if not (chat.turns and direct.turns):
        return
    differences = []
    pairs = (("first words", chat.waits, direct.waits), ("token lag", chat.lags, direct.lags))
    for name, here, there in pairs:
        for percent in (50, 95):
            with_chat, without = percentile(here, percent), percentile(there, percent)
            ratio = with_chat / without
            differences.append(f"{name} p{percent} {(with_chat - without) * 1000:+.1f} ms ({ratio:.1f} times)")
    print(f"        The chat adds: {', '.join(differences)}", flush=True)


def milliseconds(values: list[float], *percents: int) -> str:
    return " / ".join(f"{percentile(values, percent) * 1000:.1f}" for percent in percents)


def load_average() -> str:
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def cancel_on_sigterm(task: asyncio.Task | None) -> None:
    """End all processes on SIGTERM, as on Ctrl-C."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def allow_many_connections() -> None:
    """Raise the limit of open files, which the chat inherits: 200 users are about 600 connections, macOS allows 256."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=numbers, default=USERS, help="concurrent users of each level: 1,20,100,200")
    parser.add_argument("--history", type=numbers, default=HISTORIES, help="earlier messages of each round: 0,100")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="seconds in which turns start at each level: 12")
    parser.add_argument(
        "--conversations",
        type=int,
        default=CONVERSATIONS,
        help="for the memory: 1000; 0: skip",
    )
    return parser.parse_args()


if __name__ == "__main__":
    options = arguments()
    try:
        asyncio.run(main(options.users, options.history, options.seconds, options.conversations))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise SystemExit("Interrupted; every process of this run has been ended.") from None
