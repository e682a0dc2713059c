"""The download of one file, which goes on where it ended: after a lost connection, a crash, or days."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from typing import TYPE_CHECKING, Final

import aiohttp
from yarl import URL

from chatapp.domain.sentences import Sentence
from chatapp.models.local.computer import GB, free_disk
from chatapp.models.local.hub import DownloadFailed, TryAgain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from chatapp.models.local.catalogue import HubFile
    from chatapp.models.local.hub import Hub, RemoteFile

RETRIES: Final = 6
"""In a row without a single new byte; with the pauses between them, about a minute."""

FIRST_PAUSE_SECONDS = 1.0  # doubled with each retry
SPARE_DISK: Final = 500_000_000
"""Bytes that have to stay free: a full disk would also stop the history."""

_BLOCK = 4 << 20  # bytes that are hashed and written at once, in a thread: 10 ms
_PART = ".part"


def part_of(target: Path, sha256: str = "*") -> str:
    """Return the name of the unfinished file; the checksum is in it, so that two revisions are never mixed."""
    return f"{target.name}.{sha256[:16]}{_PART}"


def arrived(target: Path) -> int:
    """Return the bytes of a file that are there, finished or not."""
    if target.exists():
        return target.stat().st_size
    return max((part.stat().st_size for part in target.parent.glob(part_of(target))), default=0)


async def download(hub: Hub, file: HubFile, target: Path, on_bytes: Callable[[int], None]) -> None:
    """Download a file unless it is there; what has arrived before is not downloaded again.

    Args:
        hub: where it is.
        file: which one.
        target: where it will be, complete and with the right checksum.
        on_bytes: called with the number of bytes that are there.

    Raises:
        DownloadFailed: with the reason; what has arrived is kept, unless it is damaged.
    """
    part: _Part | None = None
    try:
        if _is_finished(target):
            on_bytes(arrived(target))
            return
        failures, most = 0, arrived(target)
        async with hub.session() as session:
            while True:
                try:
                    remote = await hub.describe(session, file)
                    if part is None or part.remote != remote:
                        part = await _reopened(part, target, remote)
                    on_bytes(part.size)
                    await part.fetch(hub, session, file, on_bytes)
                    break
                except TryAgain as again:
                    now = part.size if part else 0
                    failures = 0 if now > most else failures + 1
                    most = max(most, now)
                    if failures > RETRIES:
                        raise again.failure from again
                    await _pause(max(again.wait_seconds, FIRST_PAUSE_SECONDS * 2 ** max(0, failures - 1)))
        await part.close()
        part.finish()
    except OSError as error:
        raise _disk_failure(error, target) from error
    finally:
        if part is not None:
            await part.close()


async def _pause(seconds: float) -> None:
    await asyncio.sleep(seconds)


def _is_finished(target: Path) -> bool:
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.exists()


async def _reopened(part: _Part | None, target: Path, remote: RemoteFile) -> _Part:
    """Open the unfinished file of this target and content, and read what it has.

    Raises:
        DownloadFailed: the disk has no room for the rest.
    """
    if part is not None:
        await part.close()
    opening = asyncio.ensure_future(asyncio.to_thread(_Part, target, remote))
    try:
        part = await asyncio.shield(opening)
    except asyncio.CancelledError:  # the thread goes on
        await asyncio.wait([opening])
        if opening.exception() is None:
            await opening.result().close()
        raise
    missing = remote.size - part.size
    free = free_disk(target.parent)
    if missing and missing + SPARE_DISK > free:
        await part.close()
        raise DownloadFailed(
            Sentence(
                "The download needs {needed} GB, and the disk of {folder} has {free} GB free. Free some space, or set "
                "CHAT_MODELS_DIR to a folder on another disk.",
                needed=round((missing + SPARE_DISK) / GB, 1),
                folder=str(target.parent),
                free=round(free / GB, 1),
            )
        )
    return part


class _Part:
    """The unfinished file, and the checksum of what it has."""

    def __init__(self, target: Path, remote: RemoteFile) -> None:
        self.remote = remote
        self._target = target
        self._path = target.with_name(part_of(target, remote.sha256))
        for other in target.parent.glob(part_of(target)):
            if other != self._path:  # of another revision
                other.unlink()
        self._digest = hashlib.sha256()
        self._file = self._path.open("r+b" if self._path.exists() else "w+b")
        self._writing: asyncio.Future[None] | None = None
        self.size = 0
        self._read()

    async def fetch(
        self, hub: Hub, session: aiohttp.ClientSession, file: HubFile, on_bytes: Callable[[int], None]
    ) -> None:
        """Download the rest.

        Raises:
            DownloadFailed: it is not the right file, which is removed; or the hub refuses it.
            TryAgain: the connection was lost, or the hub does not answer now.
        """
        if self.size < self.remote.size:
            headers = {"Range": f"bytes={self.size}-"} if self.size else {}
            try:
                async with session.get(URL(self.remote.url, encoded=True), headers=headers) as response:
                    hub.check_status(response.status, response.headers, file)
                    await self._receive(hub, response, on_bytes)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                raise TryAgain(hub.unreachable(error)) from error
        if self.size < self.remote.size:
            raise TryAgain(hub.unreachable(EOFError(f"{self.size} of {self.remote.size} bytes")))
        if self.size > self.remote.size or self._digest.hexdigest() != self.remote.sha256:
            self._path.unlink()
            raise DownloadFailed(
                Sentence(
                    "The file from {host} is damaged: its checksum is wrong. It was removed; download it again.",
                    host=hub.host,
                ),
                detail=f"{self.size} of {self.remote.size} bytes, sha256 {self._digest.hexdigest()}",
            )

    async def close(self) -> None:
        """Write what has arrived to the disk."""
        if self._writing:
            await asyncio.wait([self._writing])
        await asyncio.to_thread(self._close)

    def finish(self) -> None:
        """Make it the finished file."""
        self._path.replace(self._target)

    async def _receive(self, hub: Hub, response: aiohttp.ClientResponse, on_bytes: Callable[[int], None]) -> None:
        if response.status == 416 or _start_of(response) != self.size:
            await asyncio.to_thread(self._restart)  # a server that does not know ranges, or another part
            if response.status != 200:
                raise TryAgain(hub.unreachable(ValueError("a wrong range")))
        block = bytearray()
        try:
            async for chunk in response.content.iter_any():
                block += chunk
                if len(block) >= _BLOCK:
                    full, block = block, bytearray()
                    await self._write(full)
                on_bytes(self.size + len(block))
                if self.size + len(block) > self.remote.size:
                    break
        finally:
            await self._write(block)  # also of a connection that was lost, and when it is cancelled

    async def _write(self, block: bytearray) -> None:
        if self._writing:  # of a download that was cancelled meanwhile: a thread goes on
            await asyncio.wait([self._writing])
        if block:
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._write_now, bytes(block)))
            await asyncio.shield(self._writing)

    def _write_now(self, block: bytes) -> None:
        self._file.write(block)
        self._digest.update(block)
        self.size += len(block)

    def _read(self) -> None:
        while block := self._file.read(_BLOCK):
            self._digest.update(block)
            self.size += len(block)
        if self.size > self.remote.size:
            self._restart()

    def _restart(self) -> None:
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.size = 0

    def _close(self) -> None:
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def _start_of(response: aiohttp.ClientResponse) -> int:
    """Return which byte of the file a response begins with; -1 where it says something else."""
    if response.status == 200:
        return 0
    unit, _, rest = response.headers.get("Content-Range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if response.status == 206 and unit == "bytes" and start.isdigit() else -1


def not_writable(folder: Path, error: OSError) -> Sentence:
    """Return that the folder of models cannot be written, and what to do."""
    return Sentence(
        "{folder} cannot be written ({reason}). Set CHAT_MODELS_DIR to another folder.",
        folder=str(folder),
        reason=error.strerror or type(error).__name__,
    )


def _disk_failure(error: OSError, target: Path) -> DownloadFailed:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        sentence = Sentence(
            "The disk of {folder} is full. Free some space, then go on with the download.", folder=str(target.parent)
        )
    else:
        sentence = not_writable(target.parent, error)
    return DownloadFailed(sentence, detail=str(error))
