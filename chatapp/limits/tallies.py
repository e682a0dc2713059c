"""The tallies of the day in a file, so that a restart forgives nothing."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Self

import structlog

from chatapp.domain.errors import StoreUnavailable
from chatapp.limits.windows import Windows
from chatapp.store.sqlite.database import SQLiteDatabase
from chatapp.store.sqlite.file import Schema, SQLiteFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

SAVE_SECONDS = 1.0  # what a killed chat forgets at most
BUSY_TIMEOUT_S = 5.0

_TALLIES = """
    CREATE TABLE tallies (
        key TEXT NOT NULL PRIMARY KEY,
        ends_s INTEGER NOT NULL,
        amount INTEGER NOT NULL
    );
    CREATE INDEX tallies_by_end ON tallies (ends_s);
    """

TALLIES = Schema(
    application_id=0x484C494D,  # "HLIM"
    migrations=(_TALLIES,),
    foreign="The file at {path} does not hold the chat's tallies, so it was left alone.",
    newer="The chat's tallies at {path} were made by a newer version of this chat, so they were left alone.",
)

log = structlog.get_logger(__name__)


class KeptWindows(Windows):
    """Windows whose fixed ones are in a SQLite file too, a moment later: no message waits for it.

    Where the file does not work, it counts on in memory: a limit is no reason to be away.
    """

    def __init__(self, database: SQLiteDatabase | None, clock: Callable[[], float] = time.time) -> None:
        super().__init__(clock)
        self._database = database
        self._changed: set[str] = set()
        self._saving: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], float] = time.time) -> Self:
        """Return windows with what the file holds of today; the file is made if there is none."""

        def opened() -> SQLiteFile:
            return SQLiteFile.open(path, TALLIES, readers=1, busy_timeout=BUSY_TIMEOUT_S)

        try:
            database = SQLiteDatabase(await asyncio.to_thread(opened), BUSY_TIMEOUT_S)
        except StoreUnavailable as error:
            log.warning("tallies_not_kept", error=str(error), detail=error.detail)
            return cls(None, clock)
        windows = cls(database, clock)
        try:
            windows._counts = await database.read(lambda connection: _rows(connection, int(clock())))
        except StoreUnavailable as error:
            log.warning("tallies_not_read", error=str(error), detail=error.detail)
        return windows

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to what is counted in this window, which is soon in the file."""
        total = super().incr(key, expiry, amount)
        if self._database is not None:
            self._changed.add(key)
            if self._saving is None or self._saving.done():
                self._saving = asyncio.create_task(self._save_soon())
        return total

    async def aclose(self) -> None:
        """Save what is counted, and close the file."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        if self._database is not None:
            await self._save()
            await self._database.aclose()

    async def _save_soon(self) -> None:
        while self._changed:
            await asyncio.sleep(SAVE_SECONDS)
            if not await self._save():
                return  # with what is counted next

    async def _save(self) -> bool:
        assert self._database is not None  # noqa: S101  # for the type checker
        now, changed = int(self.clock()), self._changed
        self._changed = set()
        # Sums, not what was added: it does no harm to write one twice.
        rows = [(key, *self._counts[key]) for key in changed if key in self._counts]
        try:
            await self._database.write(lambda connection: _write(connection, rows, now))
        except StoreUnavailable as error:
            log.warning("tallies_not_saved", error=str(error), detail=error.detail)
            self._changed |= changed
            return False
        except asyncio.CancelledError:
            self._changed |= changed
            raise
        return True


def _rows(connection: sqlite3.Connection, now: int) -> dict[str, tuple[int, int]]:
    rows = connection.execute("SELECT key, ends_s, amount FROM tallies WHERE ends_s > ?", (now,))
    return {row["key"]: (row["ends_s"], row["amount"]) for row in rows}


def _write(connection: sqlite3.Connection, rows: list[tuple[str, int, int]], now: int) -> None:
    connection.execute("DELETE FROM tallies WHERE ends_s <= ?", (now,))
    connection.executemany("INSERT OR REPLACE INTO tallies VALUES (?, ?, ?)", rows)
