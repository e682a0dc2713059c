"""The disks of the simulated replicas: SQLite in memory, which outlives a crash, and no threads.

A run opens hundreds of files. Making each one anew, on a real disk, took three quarters of its time.
"""

from __future__ import annotations

import asyncio
import contextvars
import sqlite3
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol
from unittest import mock

from chatapp.store.sqlite.database import SQLiteDatabase
from chatapp.store.sqlite.file import Schema, SQLiteFile, _bring_up_to_date

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Computer(Protocol):
    """What a disk belongs to.

    Attributes:
        life: counts the starts.
    """

    life: int

    async def pause(self, low: float, high: float) -> None:
        """Wait some seconds, or die."""

    def belongs(self, task: asyncio.Task[Any]) -> None:
        """Remember a task, which ends with it."""


# The one that the running code belongs to.
REPLICA: contextvars.ContextVar[Computer | None] = contextvars.ContextVar("replica", default=None)
_EMPTY: dict[int, bytes] = {}  # an empty file by the application id of its schema


class Disks:
    """The files of all replicas of a run, by path."""

    def __init__(self) -> None:
        self._files: dict[Path, sqlite3.Connection] = {}

    def open(self, path: Path, schema: Schema, **_options: Any) -> SQLiteFile:
        """Open a file, or make it: `SQLiteFile.open`."""
        if (connection := self._files.get(path)) is None:
            connection = self._files[path] = _made(path, schema)
        return SQLiteFile(ExitStack(), connection, [connection])

    def close(self) -> None:
        """Discard all files."""
        for connection in self._files.values():
            connection.close()


def _made(path: Path, schema: Schema) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    for name, function in schema.functions.items():
        connection.create_function(name, 1, function, deterministic=True)
    if schema.application_id not in _EMPTY:
        _bring_up_to_date(connection, path, schema)
        _EMPTY[schema.application_id] = connection.serialize()
    else:
        connection.deserialize(_EMPTY[schema.application_id])
    return connection


class _InlineDatabase:
    """The methods of a `SQLiteDatabase` without threads: each call takes virtual time before and after."""

    def __init__(self, file: SQLiteFile, busy_timeout: float) -> None:
        del busy_timeout
        computer = REPLICA.get()
        assert computer is not None
        self._file, self._computer = file, computer
        self._life, self._is_closed = self._computer.life, False
        self._order = asyncio.Lock()  # one writer

    async def read(self, query: Callable[[sqlite3.Connection], Any]) -> Any:
        """Return the result of a query."""
        await self._step()
        result = query(self._file.writer)
        await self._step()
        return result

    async def write(
        self, change: Callable[[sqlite3.Connection], None], *, erase_within: float | None = None, durable: bool = True
    ) -> None:
        """Make a change; a crash comes before it, or after it was committed."""
        del erase_within, durable
        async with self._order:
            await self._step()
            self._file.writer.execute("BEGIN IMMEDIATE")
            try:
                change(self._file.writer)
            except BaseException:
                self._file.writer.execute("ROLLBACK")
                raise
            self._file.writer.execute("COMMIT")
        await self._step()

    def accept(
        self, change: Callable[[sqlite3.Connection], None], then: Callable[[], None], **options: Any
    ) -> asyncio.Future[None]:
        """Make a change that no caller can cancel."""
        accepted = asyncio.get_running_loop().create_future()

        async def make() -> None:
            try:
                await self.write(change, **options)
                then()
            except asyncio.CancelledError:  # the replica has crashed
                accepted.cancel()
                raise
            except Exception as error:  # noqa: BLE001  # the caller's
                if not accepted.cancelled():
                    accepted.set_exception(error)
            else:
                if not accepted.cancelled():
                    accepted.set_result(None)

        asyncio.get_running_loop().create_task(make())
        return accepted

    async def aclose(self) -> None:
        """Accept no more calls."""
        self._is_closed = True

    async def _step(self) -> None:
        if self._life != self._computer.life or self._is_closed:
            raise asyncio.CancelledError
        await self._computer.pause(0.0002, 0.004)


@contextmanager
def in_memory(disks: Disks) -> Iterator[None]:
    """Keep all SQLite files in memory, and run their calls without threads."""
    names = ("__init__", "read", "write", "accept", "aclose", "_step")
    methods = {name: getattr(_InlineDatabase, name) for name in names}
    with (
        mock.patch.object(SQLiteFile, "open", disks.open),
        mock.patch.multiple(SQLiteDatabase, create=True, **methods),
    ):
        yield
