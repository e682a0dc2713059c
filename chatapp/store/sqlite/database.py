"""An open SQLite file: concurrent reads, one writer thread, and errors as sentences."""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store.calls import CLOSED
from chatapp.store.sqlite.file import explained
from chatapp.store.sqlite.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from chatapp.store.sqlite.file import SQLiteFile

T = TypeVar("T")


class SQLiteDatabase:
    """Runs queries and changes on a file, which it closes at the end; ``busy_timeout`` is in seconds.

    Raises (`read` and `write`):
        StoreUnavailable: the file cannot be read or written now, or is closed.
        ConversationNotFound: an id is not valid Unicode.
    """

    def __init__(self, file: SQLiteFile, busy_timeout: float) -> None:
        self._file = file
        self._writer = Writer(file.writer, busy_timeout)
        self._idle_readers: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()
        for reader in file.readers:
            self._idle_readers.put(reader)
        self._reader_threads = ThreadPoolExecutor(len(file.readers), "sqlite-reader")
        self._closing = False
        self._close_once = threading.Lock()

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of a query on one snapshot."""

        def run() -> T:
            connection = self._idle_readers.get()
            try:
                connection.execute("BEGIN")  # one snapshot for all of the query
                with connection:
                    return query(connection)
            finally:
                self._idle_readers.put(connection)

        with self._errors_explained():
            return await asyncio.get_running_loop().run_in_executor(self._reader_threads, run)

    async def write(
        self, change: Callable[[sqlite3.Connection], None], *, erase_within: float | None = None, durable: bool = True
    ) -> None:
        """Make an atomic change; ``erase_within`` and ``durable``: as in `Writer.submit`."""
        with self._errors_explained():
            await asyncio.wrap_future(self._writer.submit(change, erase_within=erase_within, durable=durable))

    def accept(
        self,
        change: Callable[[sqlite3.Connection], None],
        then: Callable[[], None],
        *,
        erase_within: float | None = None,
        durable: bool = True,
    ) -> asyncio.Future[None]:
        """Make an atomic change that its caller cannot cancel any more, and call ``then`` once it is made.

        That is called in the event loop before the future has its result, and also where the future was cancelled.
        Without a task, which would take three more turns of the loop.
        """
        with self._errors_explained():
            written = self._writer.submit(change, erase_within=erase_within, durable=durable)
        loop = asyncio.get_running_loop()
        accepted = loop.create_future()

        def settle() -> None:
            try:
                with self._errors_explained(is_over=True):
                    written.result()
                then()
            except Exception as error:  # noqa: BLE001  # the caller's
                if not accepted.cancelled():
                    accepted.set_exception(error)
            else:
                if not accepted.cancelled():
                    accepted.set_result(None)

        def note(_written: Future[None]) -> None:
            with suppress(RuntimeError):  # the loop is closed: a process that ends abruptly
                loop.call_soon_threadsafe(settle)

        written.add_done_callback(note)
        return accepted

    async def aclose(self) -> None:
        """Finish the accepted writes, clean up, and close the file and its lock; idempotent."""
        self._closing = True
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._close_once:
            self._writer.stop()
            self._reader_threads.shutdown()
            self._file.close()

    @contextmanager
    def _errors_explained(self, *, is_over: bool = False) -> Iterator[None]:
        if self._closing and not is_over:
            raise StoreUnavailable(CLOSED)
        try:
            yield
        except sqlite3.Error as error:
            raise explained(error) from error
        except UnicodeEncodeError as error:  # an id that cannot be stored was never stored
            raise ConversationNotFound(detail="an id is not valid Unicode") from error
