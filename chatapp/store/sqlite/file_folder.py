"""The folder beside a SQLite file that holds the files of documents, each under its id."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from chatapp.store.values import FILE_PART_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path


def folder_of(database: Path) -> Path:
    """Return the folder of the files of a database."""
    return database.with_name(f"{database.name}.files")


class FileFolder:
    """Writes, reads and erases files; it is made with the first one (mode 0700, the files 0600).

    Raises (all calls):
        OSError: the disk is full, or fails.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, file: str, content: bytes) -> None:
        """Write a new file; it is on the disk when this returns."""
        self._path.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(self._path / file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb", buffering=0) as stream:
            rest = memoryview(content)
            while rest:
                rest = rest[stream.write(rest) :]
            os.fsync(descriptor)
        sync_folder(self._path)

    def part(self, file: str, number: int) -> bytes:
        """Return a part, from 0, of `FILE_PART_BYTES`; b"" behind the end, and of a file that is missing."""
        try:
            descriptor = os.open(self._path / file, os.O_RDONLY)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(descriptor, FILE_PART_BYTES, number * FILE_PART_BYTES)
        finally:
            os.close(descriptor)

    def erase(self, files: Iterable[str]) -> None:
        """Overwrite files with zeros and remove them; missing ones are no error."""
        for file in files:
            with suppress(FileNotFoundError):
                self._erase(self._path / file)

    def keep_only(self, files: Collection[str]) -> None:
        """Erase all files but these."""
        if self._path.is_dir():
            self.erase({one.name for one in self._path.iterdir()}.difference(files))

    @staticmethod
    def _erase(path: Path) -> None:
        zeros = bytes(FILE_PART_BYTES)
        with path.open("r+b", buffering=0) as stream:
            left = os.fstat(stream.fileno()).st_size
            while left > 0:
                left -= stream.write(memoryview(zeros)[:left])
            os.fsync(stream.fileno())
        path.unlink()


def sync_folder(folder: Path) -> None:
    """Have the disk remember the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
