"""Decodes images in child processes: one process for each, with limits on its memory and time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import sys
from pathlib import Path
from typing import Any

from chatapp.domain.conversation import Image, new_id
from chatapp.domain.errors import ImageTooLarge, InvalidMessage, LimitReached
from chatapp.domain.sentences import Sentence
from chatapp.images.header import MAX_PIXELS, Header, read_header, unsupported_kind
from chatapp.limits.lanes import Lane, LaneLimits, LaneName

MAX_FILE_BYTES = 10_000_000
MAX_HELD_BYTES = 64_000_000  # files of all users that wait or are being decoded
SMALL_PIXELS = 4_000_000  # the page sends no larger ones
WAITING_PER_USER = 16
SECONDS = 30.0  # the child limits its own CPU time; the machine may be busy
RETRY_SECONDS = 5

CHILD = Path(__file__).with_name("child.py")
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")  # what Python needs to start; never a key of the chat

_DAMAGED = Sentence(
    "An image cannot be read. JPEG, PNG, WebP and GIF are supported; the file may be damaged. Save it again as JPEG or "
    "PNG, then add it again."
)
_UNSUPPORTED = Sentence("{kind} files are not supported. Save the image as JPEG or PNG, then add it again.")
_TOO_MANY_PIXELS = Sentence(
    "A {kind} image can have at most {most} million pixels, and this one has {number}. Scale it down, then add it "
    "again."
)
_TOO_LARGE_TO_DECODE = Sentence("An image is too large to be read. Scale it down, then add it again.")
_TOO_DETAILED = Sentence("An image has too much detail to be sent. Send a part of it.")
_BUSY = Sentence("Many images are being read right now. Try again in a moment; your images are still in the box.")


class ImageDecoder:
    """Decodes images: a large one at a time, and small ones beside it, so that they never wait for a large one.

    Of the images that wait, one of each user is next. A large one takes up to 240 MB for a moment, a small one 70 MB.
    """

    def __init__(self) -> None:
        self._large, self._small = (
            Lane(LaneName.IMAGE, LaneLimits(at_once=at_once, per_user=1, waiting_per_user=WAITING_PER_USER))
            for at_once in (1, 2)
        )
        self._held_bytes = 0

    async def decoded(self, user: str, file: bytes) -> Image:
        """Return the image of a file, scaled down and encoded again, under a new id.

        Raises:
            InvalidMessage: it is no image, is damaged, or is too large.
            LimitReached: too many images are being decoded.
        """
        header = checked_header(file)
        if self._held_bytes + len(file) > MAX_HELD_BYTES:
            raise LimitReached(_BUSY, retry_after=RETRY_SECONDS, detail="bytes of images that are being decoded")
        lane = self._small if header.pixels <= SMALL_PIXELS else self._large
        lane.admit(user)
        self._held_bytes += len(file)
        try:
            await lane.enter(user)
            try:
                head, jpeg = await _run_child(file, MAX_PIXELS[header.kind])
            finally:
                lane.leave(user)
        except OSError as error:  # the system starts no more processes
            raise LimitReached(_BUSY, retry_after=RETRY_SECONDS, detail=type(error).__name__) from None
        finally:
            self._held_bytes -= len(file)
        if "refused" in head:
            sentences = {"large": _TOO_LARGE_TO_DECODE, "detailed": _TOO_DETAILED}
            raise InvalidMessage(sentences.get(head["refused"], _DAMAGED), detail=head.get("detail", ""))
        return Image(id=new_id(), media_type="image/jpeg", width=head["width"], height=head["height"], data=jpeg)


def checked_header(file: bytes) -> Header:
    """Return the header of an image that may be decoded.

    Raises:
        ImageTooLarge: it has too many bytes.
        InvalidMessage: it is no image, or has too many pixels.
    """
    if len(file) > MAX_FILE_BYTES:
        raise ImageTooLarge
    header = read_header(file)
    if header is None:
        if kind := unsupported_kind(file):
            raise InvalidMessage(_UNSUPPORTED.filled(kind=kind))
        raise InvalidMessage(_DAMAGED, detail="header")
    most = MAX_PIXELS[header.kind]
    if header.pixels > most:
        raise InvalidMessage(
            _TOO_MANY_PIXELS.filled(kind=header.kind, most=most // 1_000_000, number=-(-header.pixels // 1_000_000))
        )
    return header


def file_of(data: str) -> bytes:
    """Return the file in a base64 text or ``data:`` URL.

    Raises:
        ImageTooLarge: it has too many bytes.
        InvalidMessage: it is no base64.
    """
    if data.startswith("data:"):
        data = data.partition(",")[2]
    if len(data) > MAX_FILE_BYTES * 4 // 3 + 4:
        raise ImageTooLarge
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidMessage(_DAMAGED, detail="base64") from None


async def _run_child(file: bytes, max_pixels: int) -> tuple[dict[str, Any], bytes]:
    """Return the reply of a child process to a file; one that ends without a reply counts as too large an image."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        str(CHILD),
        str(max_pixels),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
    )
    try:
        async with asyncio.timeout(SECONDS):
            reply, _ = await process.communicate(file)
    except TimeoutError:
        return {"refused": "large", "detail": "time"}, b""
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    head, _, jpeg = reply.partition(b"\n")
    if process.returncode != 0 or not head:
        return {"refused": "large", "detail": f"exit status {process.returncode}"}, b""
    parsed: dict[str, Any] = json.loads(head)
    return parsed, jpeg
