"""Reads documents in child processes: one process for each, with limits on its memory, time and output."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatapp.documents.extraction.shape import MAX_BLOCKS, MAX_CHARACTERS, Block, BlockKind, Kind, Page, Reason
from chatapp.documents.refusals import BUSY, MAX_FILE_BYTES, refusal, too_large
from chatapp.domain.errors import LimitReached
from chatapp.limits.lanes import DOCUMENT_LIMITS, Lane, LaneName

MAX_HELD_BYTES = 64_000_000  # files of all users that wait or are being read
SECONDS = 90.0  # the child limits its own CPU time; the machine may be busy
RETRY_SECONDS = 5
# A character of JSON takes up to six bytes ("\\u0001"), a block some 25 more.
MAX_REPLY_BYTES = 6 * MAX_CHARACTERS + 25 * MAX_BLOCKS + 1_000_000

CHILD = Path(__file__).with_name("child.py")
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # what Python needs to start; never a key of the chat
# One thread and one heap: pdf-inspector starts a thread for each core, and glibc reserves 64 MB of addresses for each.
_FIXED = {"RAYON_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read.

    Attributes:
        name: of its file.
        pages: at least one; the number of a page is its place, from 1.
    """

    name: str
    kind: Kind
    pages: tuple[Page, ...]

    @property
    def characters(self) -> int:
        """The length of the text."""
        return sum(len(block.text) for page in self.pages for block in page.blocks)


class DocumentReader:
    """Reads one document at a time; of those that wait, one of each user is next.

    A child takes up to 500 MB for a moment, and 40 MB for most files.

    Args:
        lane: admits the files.
        max_file_bytes: the largest file.
    """

    def __init__(self, lane: Lane | None = None, *, max_file_bytes: int = MAX_FILE_BYTES) -> None:
        self._lane = lane or Lane(LaneName.DOCUMENT, DOCUMENT_LIMITS)
        self._max_file_bytes = max_file_bytes
        self._held_bytes = 0

    async def read(self, user: str, file: bytes, name: str) -> Document:
        """Return the document of a file.

        Args:
            user: whose turn it is.
            file: its bytes.
            name: as the person's computer calls it; chooses between kinds of text.

        Raises:
            InvalidDocument: it cannot be read.
            LimitReached: too many documents are being read.
        """
        if len(file) > self._max_file_bytes:
            raise too_large(name, len(file), self._max_file_bytes)
        if not file:
            raise refusal(name, Reason.EMPTY)
        if self._held_bytes + len(file) > MAX_HELD_BYTES:
            raise LimitReached(BUSY, retry_after=RETRY_SECONDS, detail="bytes of documents that are being read")
        self._lane.admit(user)
        self._held_bytes += len(file)
        try:
            await self._lane.enter(user)
            try:
                reply = await _run_child(file, name)
            finally:
                self._lane.leave(user)
        except OSError as error:  # the system starts no more processes
            raise LimitReached(BUSY, retry_after=RETRY_SECONDS, detail=type(error).__name__) from None
        finally:
            self._held_bytes -= len(file)
        if "refused" in reply:
            raise refusal(name, reply["refused"], reply.get("facts"), reply.get("detail", ""))
        return Document(name, Kind(reply["kind"]), tuple(map(_page, reply["pages"])))


def _page(value: list[Any]) -> Page:
    number, name, blocks = value
    return Page(number, tuple(Block(BlockKind(kind), text, level) for kind, text, level in blocks), name)


async def _run_child(file: bytes, name: str) -> dict[str, Any]:
    """Return the reply of a child process; for one that ends without a reply, a refusal by how it ended."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(CHILD),
        _argument(name),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | _FIXED,
    )
    try:
        async with asyncio.timeout(SECONDS):
            _, reply = await asyncio.gather(_send(process, file), _received(process))
            await process.wait()
    except TimeoutError:
        return {"refused": Reason.TIME, "detail": "time"}
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if len(reply) > MAX_REPLY_BYTES:
        return {"refused": Reason.TEXT, "detail": "bytes of the reply"}
    if process.returncode != 0 or not reply:
        reason = _REASONS.get(process.returncode or 0, Reason.DAMAGED)
        return {"refused": reason, "detail": f"exit status {process.returncode}"}
    parsed: dict[str, Any] = await asyncio.to_thread(json.loads, reply)
    return parsed


async def _send(process: asyncio.subprocess.Process, file: bytes) -> None:
    assert process.stdin is not None  # noqa: S101  # a pipe was asked for
    with suppress(BrokenPipeError, ConnectionResetError):  # the child ended early; its exit status says why
        process.stdin.write(file)
        await process.stdin.drain()
    process.stdin.close()


async def _received(process: asyncio.subprocess.Process) -> bytes:
    """Return the output; of one that is too long, a part that is too long as well."""
    assert process.stdout is not None  # noqa: S101  # a pipe was asked for
    pieces, size = [], 0
    while size <= MAX_REPLY_BYTES and (piece := await process.stdout.read(1_000_000)):
        pieces.append(piece)
        size += len(piece)
    if size > MAX_REPLY_BYTES:
        process.kill()
    return b"".join(pieces)


def _argument(name: str) -> str:
    """Return the name as an argument of a program: its end, in which NUL and lone surrogates have no place."""
    return name[-200:].encode("utf-8", "ignore").decode().replace("\0", "")


# By the signal that ended a child: Rust's and C++'s own when there is no memory, the system's for want of memory, and
# that of the CPU time. Windows has none of them. A library that crashes otherwise met a damaged file.
_REASONS = {-6: Reason.MEMORY, -9: Reason.MEMORY, -24: Reason.TIME}
