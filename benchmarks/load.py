"""What the chat adds to a model's answers when many people read them at once, and what a token costs.

Run: ``python -m benchmarks.load [--users 1,20,100,200] [--history 0,100] [--seconds 12] [--conversations 1000]``. Three
processes: a fake backend at 50 tokens/s per stream, the chat as shipped, and this one, which does what browsers do and
checks each answer to the last character. People talk without a pause, in a new conversation or in one with 100
messages; then the same load goes straight at the backend. Whatever this process is late by counts as the chat's: the
numbers are upper bounds. In the end, the chat's memory before and after many conversations.
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
from benchmarks.load_parts.machines import backend_process, chat_process, measured
from benchmarks.load_parts.people import LONGEST_TURN_SECONDS, PersonAtBackend, PersonAtPage, Talk
from chatapp.auth.anonymous import COOKIE, AnonymousAuthenticator
from chatapp.domain.conversation import Conversation, Message, Role, new_id, now_ms
from chatapp.store.sqlite.store import SQLiteStore
from tests.serving import NO_LIMITS_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.load_parts.machines import Cost
    from benchmarks.load_parts.people import Person

USERS = (1, 20, 100, 200)
HISTORIES = (0, 100)  # messages
SECONDS = 12.0  # in which turns begin; straight at the backend half of that
SPREAD_SECONDS = 3.0  # in which the people begin: an answer's length, so that they do not move in step
OPENING = 8  # pages at once
CONVERSATIONS = 1000  # begun twice in the end, to see what the chat's memory does
MEMORY_PEOPLE = 100
SECRET = "benchmark-benchmark"
QUESTION = "And how did the keeper of the lighthouse spend the winter of that year?"
ANSWER = "The keeper read, mended the lamp, and wrote down the weather, which he had no reason to trust. " * 10
HEADINGS = (
    ("history", "users", "", "turns", "tokens", "errors"),
    ("first words, ms", "first token added, ms", "token lag, ms"),
    ("CPU/token", "memory", "busy cores: chat backend load others", "late, ms: load backend"),
)
COLUMNS = "{:>7} {:>5} {:<8} {:>5} {:>6} {:>6}  {:>15}  {:>21}  {:>21}  {:>9}  {:>13}  {:>36}  {:>22}"
# From here on what is measured is partly the load's own doing.
BUSY_CORES = 0.85  # of a process with one thread
BUSY_OTHERS = 0.3
LATE_SECONDS = 0.02
Guest = tuple[dict[str, str], str]  # cookies, and the conversation that the page opens


async def main(users: Sequence[int], histories: Sequence[int], seconds: float, conversations: int) -> None:
    signals_end_this(asyncio.current_task())
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
                    straight = await level_at_backend(backend_url, count, texts, seconds / 2, processes)
                    report(history, count, "straight", *straight)
                    report_difference(at_page[0], straight[0])
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
        "CHAT_TITLES": "first-words",  # one from the model is a request more for each conversation
        **NO_LIMITS_ENVIRONMENT,
    }


async def prepare(path: Path, users: Sequence[int], histories: Sequence[int]) -> dict[tuple[int, int], list[Guest]]:
    """Write the conversations of people who come back; who has none gets the cookie from the page."""
    identity = AnonymousAuthenticator(SECRET, secure=False)
    store = await SQLiteStore.open(path)
    guests: dict[tuple[int, int], list[Guest]] = {}
    for history in histories:
        for count in users:
            guests[history, count] = [({}, "")] * count
            if history:
                known = [identity.new_user() for _ in range(count)]
                ids = await asyncio.gather(*(write_conversation(store, user, history) for user, _ in known))
                cookies = [{COOKIE: cookie} for _, cookie in known]
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
) -> tuple[Talk, Cost]:
    """Let everybody open the page, then measure while they talk."""
    people = [
        PersonAtPage(url, cookies=cookies, conversation=conversation, texts=texts) for cookies, conversation in guests
    ]
    opening = asyncio.Semaphore(OPENING)

    async def open_page(person: PersonAtPage) -> None:
        async with opening:
            await person.open()

    try:
        await asyncio.gather(*(open_page(person) for person in people))
        return await level(people, seconds, processes)
    finally:
        await asyncio.gather(*(person.leave() for person in people))


async def report_memory(url: str, conversations: int, chat: psutil.Process) -> None:
    """Print the chat's memory before and after people began conversations, and after as many again."""
    seen = [chat.memory_info().rss]
    talk = Talk()
    for _ in range(2):
        people = [
            PersonAtPage(url, cookies={}, conversation="", texts=[]) for _ in range(min(MEMORY_PEOPLE, conversations))
        ]
        try:
            for person in people:
                await person.open()
            await asyncio.gather(*(person.begin(talk, conversations // len(people)) for person in people))
        finally:
            await asyncio.gather(*(person.leave() for person in people))
        seen.append(chat.memory_info().rss)
    before, after, again = (rss / 2**20 for rss in seen)
    print(
        f"\nMemory of the chat: {before:.0f} MiB, after {conversations:,} conversations {after:.0f} MiB, after as many "
        f"again {again:.0f} MiB ({talk.turns:,} turns, {len(talk.errors)} errors)"
    )


async def level_at_backend(
    url: str, count: int, texts: list[str], seconds: float, processes: dict[str, psutil.Process]
) -> tuple[Talk, Cost]:
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        return await level([PersonAtBackend(url, http, texts=texts) for _ in range(count)], seconds, processes)


async def level(people: Sequence[Person], seconds: float, processes: dict[str, psutil.Process]) -> tuple[Talk, Cost]:
    """Let people talk until no turn begins any more and the last one has ended."""
    talk = Talk()
    async with measured(processes) as cost, asyncio.timeout(seconds + SPREAD_SECONDS + 2 * LONGEST_TURN_SECONDS):
        until = time.monotonic() + seconds
        delays = [SPREAD_SECONDS * i / len(people) for i in range(len(people))]
        await asyncio.gather(
            *(person.talk(talk, delay=delay, until=until) for person, delay in zip(people, delays, strict=True))
        )
    return talk, cost


def report(history: int, count: int, where: str, talk: Talk, cost: Cost) -> None:
    chat = where == "chat"
    per_token = f"{cost.cpu_seconds['chat'] / talk.tokens * 1e6:.0f} µs" if chat and talk.tokens else ""
    memory = f"{cost.memory_mib['chat']:.0f} {cost.growth_mib['chat']:+.0f} MiB" if chat else ""
    cores = [cost.cores(name) for name in ("chat", "backend", "load")]
    others = max(0.0, cost.machine * (os.cpu_count() or 1) - sum(cores))
    lates = percentile(cost.lates, 95), percentile(talk.lates, 95)
    print(
        COLUMNS.format(
            *(history, count, where, talk.turns, talk.tokens, len(talk.errors)),
            *(milliseconds(talk.waits, 50, 95), milliseconds(talk.added, 50, 95), milliseconds(talk.lags, 50, 95, 99)),
            *(per_token, memory),
            " ".join(f"{busy:.2f}" for busy in (*cores, others)),
            " ".join(f"{late * 1000:.1f}" for late in lates),
        ),
        flush=True,
    )
    for error, times in Counter(talk.errors).most_common(3):
        print(f"        {times} x {error}")
    if max(cores[1:]) > BUSY_CORES or max(lates) > LATE_SECONDS:
        print("        The load or the backend was at its own limit: these times are upper bounds.")
    if others > BUSY_OTHERS:
        print(f"        Other programs kept {others:.1f} cores busy: these times are upper bounds.")
    if cores[0] > BUSY_CORES:
        print("        The chat had all that one core gives: more people would only wait longer.")


def report_difference(chat: Talk, straight: Talk) -> None:
    """Say what the chat adds to the same load straight at the backend."""
    if not (chat.turns and straight.turns):
        return
    differences = []
    pairs = (("first words", chat.waits, straight.waits), ("token lag", chat.lags, straight.lags))
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


def signals_end_this(task: asyncio.Task | None) -> None:
    """Let SIGTERM end everything in order, as Ctrl-C does."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def allow_many_connections() -> None:
    """Lift the limit of open files, which the chat inherits: 200 people are about 600 connections, macOS allows 256."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def arguments() -> argparse.Namespace:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__.partition("\n")[0])
    parser.add_argument("--users", type=numbers, default=USERS, help="people at once, one level each: 1,20,100,200")
    parser.add_argument("--history", type=numbers, default=HISTORIES, help="messages before, one round each: 0,100")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long turns begin at each level: 12")
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS, help="for the memory: 1000; 0: without")
    return parser.parse_args()


if __name__ == "__main__":
    chosen = arguments()
    try:
        asyncio.run(main(chosen.users, chosen.history, chosen.seconds, chosen.conversations))
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise SystemExit("Interrupted; every process of this run has been ended.") from None
