"""What a durable append costs: SQLite with ``synchronous`` FULL (what the chat uses) against NORMAL, and the journal.

Run: ``python -m benchmarks.store [folder]``; the folder should be on the disk that will hold the history.
A turn is two appends: the question with the empty answer, then the answer's end (2 KB).
The journal is that of a chat whose cloud answers at once, or takes 5 s for each call.
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

ROUNDS = 5  # the modes take turns, so that a busy moment of the machine hits both
TURNS = 640  # per round
AT_ONCE = (1, 32)  # conversations
STALLS_S = (0.0, 5.0)  # of the journal's cloud, for each call
ANSWER = "x" * 2000


async def main() -> None:
    folder = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"{'at once':>7}  {'synchronous':<11}  {'turns/s':>8}  {'p50 ms':>7}  {'p99 ms':>7}  {'FULL/NORMAL':>11}")
    for at_once in AT_ONCE:
        rates: dict[str, list[float]] = {"NORMAL": [], "FULL": []}
        appends_ms: dict[str, list[float]] = {"NORMAL": [], "FULL": []}
        for _ in range(ROUNDS):
            for mode, measured in rates.items():
                rate, taken_ms = await measure(mode, at_once, folder)
                measured.append(rate)
                appends_ms[mode] += taken_ms
        for mode, measured in rates.items():
            rate, percentiles = statistics.median(measured), statistics.quantiles(appends_ms[mode], n=100)
            ratio = f"{rate / statistics.median(rates['NORMAL']):.2f}"
            print(
                f"{at_once:>7}  {mode:<11}  {rate:>8.0f}  {percentiles[49]:>7.2f}  {percentiles[98]:>7.2f}  {ratio:>11}"
            )
    print(f"\n{'at once':>7}  {'cloud':<11}  {'turns/s':>8}  {'p50 ms':>7}  {'p99 ms':>7}  {'max ms':>7}")
    for at_once in AT_ONCE:
        for stall_s in STALLS_S:
            rate, taken_ms = await measure_journal(stall_s, at_once, folder)
            percentiles = statistics.quantiles(taken_ms, n=100)
            print(
                f"{at_once:>7}  {f'{stall_s:.0f} s a call':<11}  {rate:>8.0f}  {percentiles[49]:>7.2f}"
                f"  {percentiles[98]:>7.2f}  {max(taken_ms):>7.2f}"
            )


async def measure_journal(stall_s: float, at_once: int, folder: str | None) -> tuple[float, list[float]]:
    """Return the turns per second and how long each append took, in milliseconds, with a cloud that stalls."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        cloud = FakeCloud(Path(place) / "cloud")
        cloud.latency = stall_s / 2  # before a call and before its reply
        path = Path(place) / "journal.db"
        store = await JournaledStore.open(path, cloud, destination="the benchmark", drain_seconds=0)
        start = time.perf_counter()
        taken_ms = await asyncio.gather(*(talk(store, TURNS // at_once) for _ in range(at_once)))
        rate = TURNS / (time.perf_counter() - start)
        with mock.patch("chatapp.store.journal.store.log"):  # of what is left
            await store.aclose()
    return rate, [append_ms for one in taken_ms for append_ms in one]


async def measure(mode: str, at_once: int, folder: str | None) -> tuple[float, list[float]]:
    """Return the turns per second and how long each append took, in milliseconds."""
    with tempfile.TemporaryDirectory(dir=folder) as place, mock.patch.object(sqlite_file, "SYNCHRONOUS", mode):
        store = await SQLiteStore.open(Path(place) / "benchmark.sqlite3")
        start = time.perf_counter()
        taken_ms = await asyncio.gather(*(talk(store, TURNS // at_once) for _ in range(at_once)))
        rate = TURNS / (time.perf_counter() - start)
        await store.aclose()
    return rate, [append_ms for one in taken_ms for append_ms in one]


async def talk(store: Store, turns: int) -> list[float]:
    """Return how long each append of a conversation took, in milliseconds."""
    taken_ms = []
    conversation = Conversation(id=new_id(), title="Benchmark", created_ms=now_ms(), updated_ms=now_ms())
    await store.create("someone", conversation)
    for _ in range(turns):
        for messages in turn():
            start = time.perf_counter()
            await store.append("someone", conversation.id, *messages)
            taken_ms.append((time.perf_counter() - start) * 1000)
    return taken_ms


def turn() -> tuple[tuple[Message, ...], ...]:
    """Return what the two appends of a turn write."""
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
