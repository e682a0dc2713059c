"""The pictures of imported messages: found in the archive or in place, and decoded."""

from __future__ import annotations

import asyncio
import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from chatapp.domain.errors import InvalidMessage, LimitReached
from chatapp.images.decoder import MAX_FILE_BYTES
from chatapp.imports.assembly import identifier
from chatapp.imports.parsed import Skipped
from chatapp.store.values import WRITE_BYTES

if TYPE_CHECKING:
    from collections import Counter

    from chatapp.domain.conversation import Image
    from chatapp.imports.archive import Archive
    from chatapp.imports.parsed import PictureRef

MAX_PICTURE_BYTES = WRITE_BYTES - 3_200_000  # of a message's pictures beside its longest text, in one write
WAIT_SECONDS = 120.0


class Decoder(Protocol):
    """The part of `chatapp.images.decoder.ImageDecoder` that an import needs."""

    async def decoded(self, user: str, file: bytes) -> Image:
        """Return the image of a file, scaled down and encoded again."""


class Pictures:
    """Reads the pictures of one file for one user."""

    def __init__(self, images: Decoder, archive: Archive, user: str) -> None:
        self._images = images
        self._archive = archive
        self._user = user

    async def of(
        self, conversation_id: str, message_id: str, refs: tuple[PictureRef, ...], skipped: Counter[Skipped]
    ) -> tuple[Image, ...]:
        """Return the pictures of a message, and count in ``skipped`` those that are missing or unreadable."""
        images: list[Image] = []
        size = 0
        for number, ref in enumerate(refs):
            file = await asyncio.to_thread(self._file, ref)
            image = await self._decoded(file) if file else None
            if image is not None and size + len(image.data) <= MAX_PICTURE_BYTES:
                size += len(image.data)
                images.append(replace(image, id=identifier("image", conversation_id, message_id, str(number))))
            elif file is None:
                skipped[Skipped.PICTURES] += 1
            else:
                skipped[Skipped.UNREADABLE_PICTURES] += 1
        return tuple(images)

    def _file(self, ref: PictureRef) -> bytes | None:
        """Return the file of a picture; None if there is none, b"" if it cannot be read."""
        if not ref.data:
            return self._archive.picture(ref.names)
        data = ref.data.partition(",")[2] if ref.data.startswith("data:") else ref.data
        if len(data) > MAX_FILE_BYTES * 4 // 3 + 4:
            return b""
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            return b""

    async def _decoded(self, file: bytes) -> Image | None:
        """Return the image; None if it cannot be read. Waits while other images are being decoded."""
        deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
        while True:
            try:
                return await self._images.decoded(self._user, file)
            except InvalidMessage:
                return None
            except LimitReached:
                if asyncio.get_running_loop().time() > deadline:
                    return None
                await asyncio.sleep(0.2)
