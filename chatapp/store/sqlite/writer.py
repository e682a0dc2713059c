"""The one thread that writes to the SQLite file: group commits, and erasing deleted text."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

QUIET_S = 5.0  # without a write, before the file is rebuilt after a delete
# Until deleted text leaves the log where no caller waits for that. Emptying the log syncs the disk twice and holds up
# the writes behind it, and the next commit costs half as much again, since the log grows anew. At 9 turns a second the
# log grows by 160 pages a second: in a longer time it would reach the 1,000 at which a commit itself moves it.
ERASE_SOON_S = 5.0
EMPTY_AGAIN_S = 1.0  # until the next attempt to empty a log that a reader still needed


class Writer:
    """The one thread that changes the file; it commits all queued changes together, so that they share one sync."""

    def __init__(self, connection: sqlite3.Connection, busy_timeout: float) -> None:
        self._connection = connection
        self._busy_timeout_ms = int(busy_timeout * 1000)
        (self._synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        self._is_durable = True
        self._queue: queue.SimpleQueue[_Write | None] = queue.SimpleQueue()
        self._log_due: float | None = None  # when the log has to be emptied, by the monotonic clock
        self._slack_holds_deleted = False
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(
        self, change: Callable[[sqlite3.Connection], None], *, erase_within: float | None = None, durable: bool = True
    ) -> Future[None]:
        """Queue a change; until it has begun it can be cancelled.

        Args:
            change: is made in a transaction, with others.
            erase_within: seconds until the text that it deletes has left the file; 0: before the change counts as
                done. None: it deletes none.
            durable: whether it is on the disk when it counts as done. Else a power cut may undo it, as long as no
                durable change was made after it; the end of the process does not.
        """
        write = _Write(change, erase_within, durable)
        self._queue.put(write)
        return write.done

    def stop(self) -> None:
        """Finish the queue and wait for the thread; a second time does nothing."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        stopping = False
        while not stopping:
            try:
                waiting = [self._queue.get(timeout=self._pause)]
            except queue.Empty:
                if self._log_due is None:
                    self._tidy()
                else:
                    self._empty_log()
                continue
            waiting += [self._queue.get() for _ in range(self._queue.qsize())]
            stopping = None in waiting
            batch = [write for write in waiting if write and write.done.set_running_or_notify_cancel()]
            self._commit(batch)
            for write in batch:
                self._note_deleted(write.erase_within)
            if any(write.erase_within == 0 for write in batch):
                self._empty_log()
            for write in batch:
                write.settle()
            if self._log_due is not None and time.monotonic() >= self._log_due:
                self._empty_log()
        self._tidy()

    @property
    def _pause(self) -> float | None:
        """How long to wait for a write, in seconds; None: until there is one."""
        if self._log_due is not None:
            return max(0.0, self._log_due - time.monotonic())
        return QUIET_S if self._slack_holds_deleted else None

    def _note_deleted(self, erase_within: float | None) -> None:
        if erase_within is not None:
            self._slack_holds_deleted = True
            due = time.monotonic() + erase_within
            self._log_due = due if self._log_due is None else min(due, self._log_due)

    def _commit(self, batch: list[_Write]) -> None:
        if not batch:
            return
        try:
            self._sync(is_durable=any(write.durable for write in batch))
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            for write in batch:
                write.error = error
            return
        try:
            if len(batch) == 1:
                batch[0].error = None
                batch[0].change(self._connection)
            else:
                for write in batch:
                    self._apply(write)
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # the caller gets it; the thread must go on
            with suppress(sqlite3.Error):  # SQLite may have rolled back by itself
                self._connection.execute("ROLLBACK")
            if len(batch) == 1:
                batch[0].error = error
                return
            for write in batch:  # no change is committed; one at a time, the changes that were not the cause succeed
                self._commit([write])

    def _sync(self, *, is_durable: bool) -> None:
        """Have the next commits sync the log, or leave that to the next one that does: it is one file."""
        if is_durable != self._is_durable:
            self._connection.execute(f"PRAGMA synchronous = {self._synchronous if is_durable else 'NORMAL'}")
            self._is_durable = is_durable

    def _apply(self, write: _Write) -> None:
        """Make the change, or note why it was undone; its neighbours in the transaction stay.

        Raises:
            sqlite3.Error: SQLite undid the whole transaction, as it may when the disk is full or fails.
        """
        write.error = None
        self._connection.execute("SAVEPOINT change")
        try:
            write.change(self._connection)
        except Exception as error:  # the caller gets it; the thread must go on
            if not self._connection.in_transaction:
                raise
            self._connection.execute("ROLLBACK TO change")
            write.error = error
        self._connection.execute("RELEASE change")

    def _tidy(self) -> None:
        """Rebuild the file after a delete, which leaves no trace of the text in it, and empty the log."""
        if self._slack_holds_deleted:
            self._slack_holds_deleted = False  # should it fail, as it may on a full disk, the next delete tries again
            with suppress(sqlite3.Error):
                self._connection.execute("PRAGMA temp_store = FILE")  # the copy may be larger than the memory
                self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA temp_store = MEMORY")
            self._log_due = 0.0
        if self._log_due is not None:
            self._empty_log()

    def _empty_log(self) -> None:
        """Move the write-ahead log into the file and cut it to nothing; later, while a reader still needs it."""
        self._log_due = time.monotonic() + EMPTY_AGAIN_S
        self._connection.execute("PRAGMA busy_timeout = 20")  # ms: writes wait meanwhile
        with suppress(sqlite3.Error):
            busy, _, _ = self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                self._log_due = None
        self._connection.execute(f"PRAGMA busy_timeout = {self._busy_timeout_ms}")


@dataclass(slots=True, eq=False)
class _Write:
    """A queued change."""

    change: Callable[[sqlite3.Connection], None]
    erase_within: float | None
    durable: bool
    done: Future[None] = field(default_factory=Future)
    error: Exception | None = None

    def settle(self) -> None:
        if self.error:
            self.done.set_exception(self.error)
        else:
            self.done.set_result(None)
