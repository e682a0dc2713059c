"""Store benchmark: durable appends of SQLite with ``synchronous`` FULL (as in the chat) and NORMAL, and of the journal.

Run: ``python -m benchmarks.store [folder]``; the folder should be on the disk that will hold the history.
A turn is two appends: the question with the empty answer, then the answer's end (2 KB).
The cloud behind the journal responds at once, or after 5 s.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from chatapp.domain.conversation import Conversation, Message, MessageStatus, Role, new_id, now_ms
from chatapp.store.journal.store import JournaledStore
from chatapp.store.sqlite import file as sqlite_file
from chatapp.store.sqlite.store import SQLiteStore
from tests.fakes.stores import FakeCloud

if TYPE_CHECKING:
    from chatapp.store import Store

ROUNDS = 5  # the modes alternate, so that other load on the machine affects both
TURNS = 640  # per round
CONCURRENCY = (1, 32)  # concurrent conversations
STALLS_S = (0.0, 5.0)  # of the cloud, per call
ANSWER = "x" * 2000


async def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"{'at once':>7}  {'synchronous':<11}  {'turns/s':>8}  {'p50 ms':>7}  {'p99 ms':>7}  {'FULL/NORMAL':>11}")
    for at_once in CONCURRENCY:
        rates: dict[str, list[float]] = {"NORMAL": [], "FULL": []}
        appends_ms: dict[str, list[float]] = {"NORMAL": [], "FULL": []}
        for _ in range(ROUNDS):
            for mode, measured in rates.items():
                rate, append_times_ms = await measure(mode, at_once, folder)
                measured.append(rate)
                appends_ms[mode] += append_times_ms
        for mode, measured in rates.items():
            rate, percentiles = statistics.median(measured), statistics.quantiles(appends_ms[mode], n=100)
            ratio = f"{rate / statistics.median(rates['NORMAL']):.2f}"
            print(
                f"{at_once:>7}  {mode:<11}  {rate:>8.0f}  {percentiles[49]:>7.2f}  {percentiles[98]:>7.2f}  {ratio:>11}"
            )
    print(f"\n{'at once':>7}  {'cloud':<11}  {'turns/s':>8}  {'p50 ms':>7}  {'p99 ms':>7}  {'max ms':>7}")
    for at_once in CONCURRENCY:
        for stall_s in STALLS_S:
            rate, append_times_ms = await measure_journal(stall_s, at_once, folder)
            percentiles = statistics.quantiles(append_times_ms, n=100)
            print(
                f"{at_once:>7}  {f'{stall_s:.0f} s a call':<11}  {rate:>8.0f}  {percentiles[49]:>7.2f}"
                f"  {percentiles[98]:>7.2f}  {max(append_times_ms):>7.2f}"
            )


async def measure_journal(stall_s: float, at_once: int, folder: str | None) -> tuple[float, list[float]]:
    """Return the turns per second and the milliseconds of each append, with a cloud that stalls."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cloud = FakeCloud(Path(place) / "cloud")
        cloud.latency = stall_s / 2  # before a call and before its reply
        path = Path(place) / "journal.db"
        store = await JournaledStore.open(path, cloud, destination="the benchmark", drain_seconds=0)
        start = time.perf_counter()
        append_times_ms = await asyncio.gather(*(talk(store, TURNS // at_once) for _ in range(at_once)))
        rate = TURNS / (time.perf_counter() - start)
        with mock.patch("chatapp.store.journal.store.log"):  # no warning about pending writes
            await store.aclose()
    return rate, [append_ms for one in append_times_ms for append_ms in one]


async def measure(mode: str, at_once: int, folder: str | None) -> tuple[float, list[float]]:
    """Return the turns per second and the milliseconds of each append."""
    with tempfile.TemporaryDirectory(dir=folder) as place, mock.patch.object(sqlite_file, "SYNCHRONOUS", mode):
        store = await SQLiteStore.open(Path(place) / "benchmark.sqlite3")
        start = time.perf_counter()
        append_times_ms = await asyncio.gather(*(talk(store, TURNS // at_once) for _ in range(at_once)))
        rate = TURNS / (time.perf_counter() - start)
        await store.aclose()
    return rate, [append_ms for one in append_times_ms for append_ms in one]


async def talk(store: Store, turns: int) -> list[float]:
    """Return the milliseconds of each append to a conversation."""
    append_times_ms = []
    conversation = Conversation(id=new_id(), title="Benchmark", created_ms=now_ms(), updated_ms=now_ms())
    await store.create("user", conversation)
    for _ in range(turns):
        for messages in turn():
            start = time.perf_counter()
            await store.append("user", conversation.id, *messages)
            append_times_ms.append((time.perf_counter() - start) * 1000)
    return append_times_ms


def turn() -> tuple[tuple[Message, ...], ...]:
    """Return the messages of the two appends of a turn."""
    turn_id, answer_id, created_ms = new_id(), new_id(), now_ms()
    question = Message(id=new_id(), turn_id=turn_id, role=Role.USER, content=ANSWER[:300], created_ms=created_ms)

    def answer(status: MessageStatus, content: str, revision: int) -> Message:
        return Message(
            id=answer_id,
            turn_id=turn_id,
            role=Role.ASSISTANT,
            content=content,
            created_ms=created_ms + 1,
            status=status,
            revision=revision,
        )

    return (question, answer(MessageStatus.STREAMING, "", 0)), (answer(MessageStatus.COMPLETE, ANSWER, 1),)


if __name__ == "__main__":
    asyncio.run(main())
