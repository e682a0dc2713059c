"""Retention in SQLite: expired data is not returned, and deleted soon after."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import StoreUnavailable

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable

    from chatapp.store.sqlite.database import SQLiteDatabase

DAY_MS = 24 * 3600 * 1000
SWEEP_SECONDS = 3600.0

log = structlog.get_logger(__name__)


class Retention:
    """Deletes expired data at the start and every `SWEEP_SECONDS`, and erases its text.

    A message expires ``days`` after its creation, a conversation ``days`` after its last message; None: never.
    ``on_deleted`` is called after each time that data was deleted.
    """

    def __init__(self, database: SQLiteDatabase, days: int | None, on_deleted: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._on_deleted = on_deleted
        self._keep_ms = None if days is None else days * DAY_MS
        self._sweeping: asyncio.Task[None] | None = None

    @property
    def oldest_ms(self) -> int:
        """The oldest creation time that has not expired, in milliseconds since the epoch."""
        return 0 if self._keep_ms is None else now_ms() - self._keep_ms

    def start(self) -> None:
        """Start the background task."""
        if self._keep_ms is not None:
            self._sweeping = asyncio.create_task(self._sweep())

    async def aclose(self) -> None:
        """Stop the background task."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)

    async def _sweep(self) -> None:
        while True:
            oldest_ms = self.oldest_ms
            with suppress(StoreUnavailable):  # the next time
                expired = await self._database.read(lambda connection: _expired(connection, oldest_ms))  # noqa: B023  # read at once
                if any(expired):
                    await self._database.write(lambda connection: _delete(connection, oldest_ms), erase_within=0)  # noqa: B023
                    await self._on_deleted()
                    log.info("expired", conversations=expired[0], messages=expired[1])
            await asyncio.sleep(SWEEP_SECONDS)


def _expired(connection: sqlite3.Connection, oldest_ms: int) -> tuple[int, int]:
    counts = (
        connection.execute(f"SELECT count(*) FROM {table} WHERE {column} < ?", (oldest_ms,)).fetchone()[0]  # noqa: S608  # constants
        for table, column in (("conversations", "updated_ms"), ("messages", "created_ms"))
    )
    return next(counts), next(counts)


def _delete(connection: sqlite3.Connection, oldest_ms: int) -> None:
    connection.execute("DELETE FROM conversations WHERE updated_ms < ?", (oldest_ms,))
    connection.execute("DELETE FROM messages WHERE created_ms < ?", (oldest_ms,))
