"""The targets of the faults: the chat, its connection to Firestore, the emulator, the clock and the disk."""

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

DRAIN_SECONDS = 90.0  # timeout for the delivery of all pending writes without faults


class Rig:
    """All targets, with the state of the current phase.

    Attributes:
        done: number of faults by kind.
        longest_end: longest shutdown after SIGTERM, in seconds.
        disk: None where no disk can be filled.
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
        """End the faults of this phase."""
        self._over.set()

    async def continues(self, least: float, most: float) -> bool:
        """Wait for a random time or for the end of the phase; return whether the phase continues."""
        try:
            async with asyncio.timeout(self.chance.uniform(least, most)):
                await self._over.wait()
        except TimeoutError:
            return True
        return False

    def set_clock(self, seconds: float) -> None:
        """Set the offset of the chat's clock."""
        with self._clock.open("r+b") as clock:  # in place: the chat maps the file
            clock.write(struct.pack("q", round(seconds * 1e9)))
        self.done["the clock was set"] += 1

    async def restart_chat(self, *, gently: bool, away: float = 0.3) -> None:
        """Restart the chat on the same data, after SIGTERM or SIGKILL."""
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

    async def drain(self) -> int:
        """Remove the faults and wait until the journal is empty; return the number of remaining writes."""
        await self.proxy.set(PASS)
        deadline = time.monotonic() + DRAIN_SECONDS
        while (pending := pending_writes(self.chat.data_folder)) and time.monotonic() < deadline:  # noqa: ASYNC110  # a file
            await asyncio.sleep(0.1)
        return pending


def pending_writes(data_folder: Path) -> int:
    """Return the number of pending writes in the journal."""
    path = data_folder / "journal.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as journal:
        (pending,) = journal.execute("SELECT count(*) FROM writes").fetchone()
    return pending
