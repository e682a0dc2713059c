"""A full disk for the chat's data: a small tmpfs or, without the right to mount one, a limit of file sizes."""

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
FILE_LIMIT_BYTES = 4096  # SQLite's log starts there, so nothing of it can be written


class SmallDisk:
    """A tmpfs of 8 MB; a context manager. ``fill`` uses all free space, also space that becomes free later."""

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
        """Fill the disk."""
        self._fill()
        self._filling = asyncio.create_task(self._keep_full())

    async def free(self) -> None:
        """Free the space."""
        if self._filling:
            self._filling.cancel()
            await asyncio.wait({self._filling})
            self._filling = None
        (self.folder / "ballast").unlink(missing_ok=True)

    async def _keep_full(self) -> None:
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
    """A limit (RLIMIT_FSIZE) of the files that the chat writes, set while it runs; Linux only."""

    how = f"a limit of {FILE_LIMIT_BYTES} bytes for each file that the chat writes (no permission to mount)"

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._soft, self._hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    async def fill(self) -> None:
        """Set the limit."""
        self._set(FILE_LIMIT_BYTES)

    async def free(self) -> None:
        """Remove the limit."""
        self._set(self._soft)

    def _set(self, limit: int) -> None:
        resource.prlimit(self._chat.pid, resource.RLIMIT_FSIZE, (limit, self._hard))


def can_mount(folder: Path) -> bool:
    """Return whether this process may mount a tmpfs."""
    if not sys.platform.startswith("linux"):
        return False
    place = folder / "mount-test"
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
