"""Backup benchmark: seconds to back up and restore a SQLite history of some MB while a chat writes it.

Run: ``python -m benchmarks.backup [megabytes] [folder]``; the folder needs four times as much. The commands run as
processes of their own, as `make backup` and `make restore` do.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from chatapp.domain.conversation import Conversation, Image, Message, Role, new_id, now_ms
from chatapp.store.sqlite.store import SQLiteStore

MEGABYTES = 1000
WORDS = [f"{syllable}{number}" for syllable in ("ra", "me", "לו", "سا") for number in range(2000)]
MESSAGES, IMAGE_BYTES = 20, 300_000  # of a conversation, which takes about 1 MB


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else MEGABYTES
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        data, backup = Path(folder) / "data", Path(folder) / "backup.zip"
        environment = os.environ | {"CHAT_DATA_DIR": str(data), "CHAT_IDENTITY": "local", "CHAT_STORE": "sqlite"}
        slowest = asyncio.run(_measure(data / "chat.db", megabytes, backup, environment))
        size, packed = (path.stat().st_size / 1e6 for path in (data / "chat.db", backup))
        print(f"history {size:,.0f} MB, backup {packed:,.0f} MB; the slowest write meanwhile took {slowest:.2f} s")
        print(f"restore: {_run('restore', backup, environment):.1f} s")


async def _measure(database: Path, megabytes: int, backup: Path, environment: dict[str, str]) -> float:
    """Fill a history, and return how long the slowest write took during its backup."""
    store = await SQLiteStore.open(database)
    rng = random.Random(1)  # the same at each run
    try:
        while _size(database) < megabytes * 1_000_000:
            await _add_conversation(store, rng)
        running = asyncio.ensure_future(asyncio.to_thread(_run, "__main__", backup, environment))
        slowest, written = 0.0, 0
        while not running.done():
            began = time.perf_counter()
            await _add_conversation(store, rng)
            slowest, written = max(slowest, time.perf_counter() - began), written + 1
            await asyncio.sleep(0.2)
        print(f"backup: {await running:.1f} s, while {written} conversations of 1 MB were written")
        return slowest
    finally:
        await store.aclose()


def _size(path: Path) -> int:
    return path.stat().st_size


def _run(command: str, backup: Path, environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", f"chatapp.backup.{command}", str(backup)],
        check=True,
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    return time.perf_counter() - began


async def _add_conversation(store: SQLiteStore, rng: random.Random) -> None:
    at = now_ms()
    image = Image(id=new_id(), media_type="image/jpeg", width=1, height=1, data=rng.randbytes(IMAGE_BYTES))
    messages = [
        Message(
            id=new_id(),
            turn_id=new_id(),
            role=Role.ASSISTANT if number % 2 else Role.USER,
            content=" ".join(rng.choices(WORDS, k=2500)),
            created_ms=at + number,
            images=() if number else (image,),
        )
        for number in range(MESSAGES)
    ]
    conversation = Conversation(id=new_id(), title="A conversation", created_ms=at, updated_ms=at + MESSAGES)
    await store.create("local", conversation, *messages)


if __name__ == "__main__":
    main()
