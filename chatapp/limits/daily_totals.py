"""Totals per key of the current day (UTC), kept in a SQLite file so that a restart does not reset them."""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Self

import structlog

from chatapp.domain.errors import StoreUnavailable
from chatapp.store.sqlite.database import SQLiteDatabase
from chatapp.store.sqlite.file import Schema, SQLiteFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable
    from pathlib import Path

DAY_SECONDS = 86_400
SAVE_SECONDS = 1.0  # the most that a killed process loses
BUSY_TIMEOUT_SECONDS = 5.0

_TABLE = """
    CREATE TABLE tallies (
        key TEXT NOT NULL PRIMARY KEY,
        ends_s INTEGER NOT NULL,
        amount INTEGER NOT NULL
    );
    CREATE INDEX tallies_by_end ON tallies (ends_s);
    """

SCHEMA = Schema(
    application_id=0x484C494D,  # "HLIM"
    migrations=(_TABLE,),
    foreign="The file at {path} does not hold the chat's tallies, so it was left alone.",
    newer="The chat's tallies at {path} were made by a newer version of this chat, so they were left alone.",
)

log = structlog.get_logger(__name__)


class DailyTotals:
    """Adds up amounts per key until midnight UTC.

    Totals are in memory and written to the file a moment later, so no message waits for the disk. If the file fails,
    counting goes on in memory: a broken file must not stop the chat.

    Args:
        database: where totals are kept; None: in memory only.
        clock: seconds since the epoch.
    """

    def __init__(self, database: SQLiteDatabase | None = None, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self._database = database
        self._totals: dict[str, int] = {}
        self._day_ends = 0  # seconds since the epoch
        self._unsaved: set[str] = set()
        self._saving: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, path: Path, clock: Callable[[], float] = time.time) -> Self:
        """Return today's totals from a file; create the file if it does not exist."""

        def open_file() -> SQLiteFile:
            return SQLiteFile.open(path, SCHEMA, readers=1, busy_timeout=BUSY_TIMEOUT_SECONDS)

        try:
            database = SQLiteDatabase(await asyncio.to_thread(open_file), BUSY_TIMEOUT_SECONDS)
        except StoreUnavailable as error:
            log.warning("daily_totals_not_kept", error=str(error), detail=error.detail)
            return cls(None, clock)
        totals = cls(database, clock)
        totals._start_new_day()
        try:
            totals._totals = await database.read(lambda connection: _read(connection, clock()))
        except StoreUnavailable as error:
            log.warning("daily_totals_not_read", error=str(error), detail=error.detail)
        return totals

    def get(self, key: str) -> int:
        """Return today's total."""
        self._start_new_day()
        return self._totals.get(key, 0)

    def add(self, key: str, amount: int) -> None:
        """Add to today's total, and save it soon."""
        self._totals[key] = self.get(key) + amount
        if self._database is not None:
            self._unsaved.add(key)
            if self._saving is None or self._saving.done():
                self._saving = asyncio.create_task(self._save_soon())

    def seconds_left(self) -> int:
        """Return the seconds until the totals start again at 0."""
        self._start_new_day()
        return max(1, math.ceil(self._day_ends - self.clock()))

    async def aclose(self) -> None:
        """Save the totals and close the file."""
        if self._saving is not None:
            self._saving.cancel()
            await asyncio.gather(self._saving, return_exceptions=True)
        if self._database is not None:
            await self._save(self._database)
            await self._database.aclose()

    def _start_new_day(self) -> None:
        ends = (int(self.clock()) // DAY_SECONDS + 1) * DAY_SECONDS
        if ends > self._day_ends:  # if the clock was set back, the totals stay
            self._totals.clear()
        self._day_ends = ends

    async def _save_soon(self) -> None:
        while self._unsaved and self._database is not None:
            await asyncio.sleep(SAVE_SECONDS)
            if not await self._save(self._database):
                return  # the next `add` tries again

    async def _save(self, database: SQLiteDatabase) -> bool:
        """Write the changed totals; return whether that worked. Writing one twice is harmless: it is a sum."""
        keys, self._unsaved = self._unsaved, set()
        rows = [(key, self._day_ends, self._totals[key]) for key in keys if key in self._totals]
        now = int(self.clock())
        try:
            await database.write(lambda connection: _write(connection, rows, now))
        except StoreUnavailable as error:
            log.warning("daily_totals_not_saved", error=str(error), detail=error.detail)
            self._unsaved |= keys
            return False
        except asyncio.CancelledError:
            self._unsaved |= keys
            raise
        return True


def _read(connection: sqlite3.Connection, now: float) -> dict[str, int]:
    rows = connection.execute("SELECT key, amount FROM tallies WHERE ends_s > ?", (int(now),))
    return {row["key"]: row["amount"] for row in rows}


def _write(connection: sqlite3.Connection, rows: list[tuple[str, int, int]], now: int) -> None:
    connection.execute("DELETE FROM tallies WHERE ends_s <= ?", (now,))
    connection.executemany("INSERT OR REPLACE INTO tallies VALUES (?, ?, ?)", rows)
