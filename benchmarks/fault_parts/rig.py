"""What the faults act upon: the chat, the way to Firestore, the emulator, the clock and the disk."""

from __future__ import annotations

import asyncio
import sqlite3
import struct
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from benchmarks.fault_parts.proxy import PASS

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from benchmarks.fault_parts.disk import LimitedFiles, SmallDisk
    from benchmarks.fault_parts.processes import Chat, Emulator
    from benchmarks.fault_parts.proxy import Proxy

EMPTY_SECONDS = 90.0  # for all that waits to be delivered, once nothing is in its way


class Rig:
    """All of it, with one pace.

    Attributes:
        done: what was done to them, counted, for the report.
        longest_end: seconds that the chat took to end after SIGTERM, at most.
        disk: None where no disk can be filled here.
    """

    def __init__(
        self,
        *,
        chat: Chat,
        proxy: Proxy,
        emulator: Emulator,
        clock: Path,
        disk: SmallDisk | LimitedFiles | None,
        chance: random.Random,
    ) -> None:
        self.chat = chat
        self.proxy = proxy
        self.emulator = emulator
        self.disk = disk
        self.chance = chance
        self.done: Counter[str] = Counter()
        self.longest_end = 0.0
        self._clock = clock
        self._over = asyncio.Event()

    def begin(self) -> None:
        """Begin a phase."""
        self._over.clear()

    def end(self) -> None:
        """Let the faults of this phase come to their end."""
        self._over.set()

    async def goes_on(self, least: float, most: float) -> bool:
        """Wait for some seconds, or for the phase's end; return whether it goes on."""
        try:
            async with asyncio.timeout(self.chance.uniform(least, most)):
                await self._over.wait()
        except TimeoutError:
            return True
        return False

    def set_clock(self, seconds: float) -> None:
        """Let the chat's clock be wrong by so much."""
        with self._clock.open("r+b") as clock:  # in place: the chat has it mapped
            clock.write(struct.pack("q", round(seconds * 1e9)))
        self.done["the clock was set"] += 1

    async def restart_chat(self, *, gently: bool, away: float = 0.3) -> None:
        """End the chat, with SIGTERM or SIGKILL, and start it again on the same data."""
        if gently:
            began = time.monotonic()
            status = await self.chat.terminate()
            self.longest_end = max(self.longest_end, time.monotonic() - began)
            if status:
                self.chat.crashes.append(f"The chat ended with {status} after SIGTERM.")
        else:
            await self.chat.kill()
        self.done["the chat was ended" if gently else "the chat was killed"] += 1
        await asyncio.sleep(away)
        await self.chat.start()

    async def drained(self) -> int:
        """Let everything pass, and wait until nothing waits in the journal; return how much still does."""
        await self.proxy.set(PASS)
        deadline = time.monotonic() + EMPTY_SECONDS
        while (waiting := writes_waiting(self.chat.data_folder)) and time.monotonic() < deadline:  # noqa: ASYNC110  # a file
            await asyncio.sleep(0.1)
        return waiting


def writes_waiting(data_folder: Path) -> int:
    """Return how many writes the journal holds."""
    path = data_folder / "journal.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as journal:
        (waiting,) = journal.execute("SELECT count(*) FROM writes").fetchone()
    return waiting
