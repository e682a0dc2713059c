"""Copies a repository into a bucket.

What is there is skipped, what is interrupted goes on, and a file with a wrong checksum never exists in the bucket.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from chatapp.weights.bucket import UNIT, StoredObject
from chatapp.weights.errors import CopyFailed, Interrupted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.weights.bucket import Bucket, Upload
    from chatapp.weights.hub import Repository, WeightsFile

PIECE: Final = 64 * UNIT
"""16 MiB: what is in memory, and what is sent again after a lost connection."""
ATTEMPTS: Final = 8
_Result = TypeVar("_Result")


@dataclass
class Copier:
    """Copies one repository.

    Attributes:
        repository: from where.
        bucket: to where; names of objects are ``OWNER/MODEL/REVISION/PATH``.
        report: gets a line of progress.
        sleep: waits some seconds.
        piece: bytes that are sent at once, a multiple of `UNIT`.
    """

    repository: Repository
    bucket: Bucket
    report: Callable[[str], None] = lambda _: None
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    piece: int = PIECE
    _reported: int = field(default=-1, init=False)

    async def copy(self) -> int:
        """Copy what is missing, and return the number of files that were copied.

        Raises:
            CopyFailed: for good, or after `ATTEMPTS` tries of one step.
        """
        prefix = f"{self.repository.name}/{self.repository.revision}/"
        files = await self._patiently(self.repository.files)
        there = await self._patiently(lambda: self.bucket.objects(prefix))
        missing = [file for file in files if there.get(prefix + file.path) != StoredObject(file.size, file.checksum)]
        total, done = sum(file.size for file in missing), 0
        self.report(f"{len(files) - len(missing)} of {len(files)} files are there; {total / 1e9:.2f} GB to copy")
        for file in missing:
            await self._copy(prefix + file.path, file, done, total)
            done += file.size
        self.report(f"complete: gs://{self.bucket.name}/{prefix}")
        return len(missing)

    async def _copy(self, name: str, file: WeightsFile, done: int, total: int) -> None:
        for _ in range(2):
            upload = await self._patiently(lambda: self.bucket.start(name, file.size, file.checksum))
            if await self._transfer(file, upload, done, total):
                return
            # The last piece is held back until the checksum is known: the object never existed.
            await self._patiently(upload.cancel)
            self.report(f"{file.path}: wrong checksum, once more")
        raise CopyFailed(
            f"{file.path} arrives with another checksum than {file.checksum}: the hub, or a proxy before it, sends "
            "another file."
        )

    async def _transfer(self, file: WeightsFile, upload: Upload, done: int, total: int) -> bool:
        """Send a file, and return whether its checksum is right."""
        hasher, received, failures = file.hasher(), 0, 0
        waiting = bytearray()
        while received < file.size:
            before = received
            try:
                async with self.repository.read(file, received) as pieces:
                    async for piece in pieces:
                        hasher.update(piece)
                        received += len(piece)
                        waiting += piece
                        while len(waiting) > self.piece:
                            await self._send(upload, bytes(waiting[: self.piece]))
                            del waiting[: self.piece]
                            self._progress(done + upload.stored, total)
            except Interrupted as error:
                lost = error
            else:
                lost = Interrupted(f"{file.path} ends after {received} of {file.size} bytes")
            if received < file.size:
                # Not counted while it gets on: a large file may lose its connection often.
                failures = 1 if received > before else failures + 1
                await self._wait(failures, lost)
        if received != file.size or not file.has_digest(hasher.hexdigest()):
            return False
        await self._send(upload, bytes(waiting))
        self._progress(done + file.size, total)
        return True

    async def _send(self, upload: Upload, piece: bytes) -> None:
        start, failures = upload.stored, 0
        while True:
            try:
                if failures:
                    await upload.look()
                sent = upload.stored - start
                if not 0 <= sent <= len(piece):
                    raise CopyFailed(f"The bucket {self.bucket.name} forgot a part of an upload.")
                if sent == len(piece) and (piece or failures):
                    return
                await upload.send(piece[sent:])
                if upload.stored - start == len(piece):
                    return
            except Interrupted as error:
                failures += 1
                await self._wait(failures, error)

    async def _patiently(self, step: Callable[[], Awaitable[_Result]]) -> _Result:
        failures = 0
        while True:
            try:
                return await step()
            except Interrupted as error:
                failures += 1
                await self._wait(failures, error)

    async def _wait(self, failures: int, error: Interrupted) -> None:
        if failures >= ATTEMPTS:
            raise CopyFailed(f"{error} (given up after {failures} tries; the Job tries again)") from error
        self.report(f"{error}; try {failures + 1} of {ATTEMPTS}")
        await self.sleep(min(60.0, 2.0**failures))

    def _progress(self, done: int, total: int) -> None:
        percent = done * 100 // total if total else 100
        if percent // 5 != self._reported:
            self._reported = percent // 5
            self.report(f"{percent} %")
