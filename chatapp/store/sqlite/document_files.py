"""The files of documents of a history: their rows (`files`) and their bytes (`file_folder`), kept in step."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from chatapp.domain.conversation import new_id
from chatapp.store.sqlite import files as rows
from chatapp.store.sqlite.file import explained_disk

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterator

    from chatapp.store.sqlite.database import SQLiteDatabase
    from chatapp.store.sqlite.file_folder import FileFolder


class DocumentFiles:
    """Adds, reads and erases files.

    The bytes are on the disk before the row, and are erased after it. So a row always has its bytes; what has no row
    was left by an ended process, and is erased when the history is opened.

    Raises (all calls):
        StoreUnavailable: the history, or the disk, cannot be read or written now.
    """

    def __init__(self, database: SQLiteDatabase, folder: FileFolder) -> None:
        self._database = database
        self._folder = folder

    async def add(self, user: str, content: bytes) -> str:
        """Keep a file, and return its id."""
        file = new_id()
        try:
            with _disk_explained():
                await asyncio.to_thread(self._folder.write, file, content)
            await self._database.write(lambda connection: rows.add_file(connection, user, file))
        except BaseException:
            with suppress(OSError):
                await asyncio.to_thread(self._folder.erase, [file])
            raise
        return file

    async def part(self, file_of: Callable[[sqlite3.Connection], str], number: int) -> bytes:
        """Return a part of the file whose id ``file_of`` returns; b"" behind its end."""
        file = await self._database.read(file_of)
        with _disk_explained():
            part = await asyncio.to_thread(self._folder.part, file, number)
        await self._database.read(file_of)  # it was not erased while it was read
        return part

    async def hand_over(self, user: str, to: str, files: Collection[str]) -> None:
        """Give files of a user to another user."""
        if files:
            await self._database.write(lambda connection: rows.hand_over(connection, user, to, files))

    async def discard(self, user: str, files: Collection[str] | None) -> None:
        """Delete those files of a user that no document names: of these, or of all (None)."""
        if left := await self._database.read(lambda connection: rows.waiting(connection, user, files)):
            await self._database.write(lambda connection: rows.discard(connection, left))
            await self.erase_deleted()

    async def erase_deleted(self) -> None:
        """Erase the bytes of the files whose rows are deleted."""
        if deleted := await self._database.read(rows.deleted_files):
            with _disk_explained():
                await asyncio.to_thread(self._folder.erase, deleted)
            await self._database.write(lambda connection: rows.forget(connection, deleted))

    async def delete_left(self) -> None:
        """Delete what an ended process left: files that no document names, and bytes without a row."""
        await self._database.write(rows.delete_left)
        await self.erase_deleted()
        known = await self._database.read(rows.all_files)
        with _disk_explained():
            await asyncio.to_thread(self._folder.keep_only, known)


@contextmanager
def _disk_explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise explained_disk(error) from error
