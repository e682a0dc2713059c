"""A full disk for the chat's data: a small file system of its own or, without the right to mount one, a limit."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.fault_parts.processes import Chat

SIZE = "8m"
FILL_BYTES = 65_536
FILE_LIMIT_BYTES = 4096  # nothing behind this can be written: SQLite's log begins there


class SmallDisk:
    """A tmpfs of 8 MB; a context manager. ``fill`` takes all that is free, and what becomes free."""

    how = f"a tmpfs of {SIZE}B, filled by another file"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filling: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.folder)], check=True, capture_output=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._filling:
            self._filling.cancel()
        subprocess.run(["umount", str(self.folder)], check=True, capture_output=True)

    async def fill(self) -> None:
        """Leave no room."""
        self._fill()
        self._filling = asyncio.create_task(self._go_on_filling())

    async def free(self) -> None:
        """Make room again."""
        if self._filling:
            self._filling.cancel()
            await asyncio.wait({self._filling})
            self._filling = None
        (self.folder / "ballast").unlink(missing_ok=True)

    async def _go_on_filling(self) -> None:
        while True:
            await asyncio.sleep(0.02)
            self._fill()

    def _fill(self) -> None:
        with (self.folder / "ballast").open("ab", buffering=0) as ballast:
            for size in (FILL_BYTES, 1):
                with contextlib.suppress(OSError):
                    while ballast.write(bytes(size)):
                        pass


class LimitedFiles:
    """A limit of the size of the files that the chat writes, which can be set while it runs (on Linux)."""

    how = f"a limit of {FILE_LIMIT_BYTES} bytes for each file that the chat writes (there is no right to mount)"

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._soft, self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def fill(self) -> None:
        """Let no file grow."""
        self._set(FILE_LIMIT_BYTES)

    async def free(self) -> None:
        """Let files grow again."""
        self._set(self._soft)

    def _set(self, limit: int) -> None:
        resource.prlimit(self._chat.pid, resource.RLIMIT_FSIZE, (limit, self._hard))


def can_mount(folder: Path) -> bool:
    """Return whether a small disk can be had here."""
    if not sys.platform.startswith("linux"):
        return False
    place = folder / "tried"
    place.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    try:
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return False
        subprocess.run(["umount", str(place)], check=True, capture_output=True)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        return False
    return True
