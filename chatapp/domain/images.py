"""Uploaded images, re-encoded for storage and models: small, upright, and without metadata.

An image is decoded and encoded again, which removes everything else in its file (location, author, hidden programs).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import warnings
from contextlib import suppress
from typing import TYPE_CHECKING

from PIL import Image as Picture
from PIL import ImageOps, UnidentifiedImageError

from chatapp.domain.conversation import Image, new_id
from chatapp.domain.errors import InvalidMessage
from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST_SIDE = 1536  # pixels; models scale what is larger down themselves
MOST_BYTES = 900_000  # stored, see `chatapp.store.values.IMAGE_BYTES`
MOST_SENT_BYTES = 10_000_000
MOST_PIXELS = 50_000_000  # as large as telephones make them; decoded, four bytes each
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUALITIES = (88, 75, 60, 40)


class ImageDecoder:
    """Decodes images one at a time: each may need 200 MB for a moment.

    Args:
        most: how many a message may have.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._one_at_a_time = asyncio.Semaphore(1)

    async def decoded(self, sent: Sequence[str]) -> tuple[Image, ...]:
        """Return the images of these base64-encoded files.

        Raises:
            InvalidMessage: there are too many, or one is invalid or too large.
        """
        if len(sent) > self.most:
            raise InvalidMessage(
                Sentence("A message can have at most {most} images. Nothing was sent.", most=self.most)
            )
        images = []
        for data in sent:
            async with self._one_at_a_time:
                images.append(await asyncio.to_thread(decoded, data))
        return tuple(images)


def decoded(data: str) -> Image:
    """Return the image of a base64-encoded file.

    Raises:
        InvalidMessage: it is invalid or too large.
    """
    if len(data) > MOST_SENT_BYTES * 4 // 3 + 4:
        raise InvalidMessage(
            Sentence("An image can be at most {most} MB. Nothing was sent.", most=MOST_SENT_BYTES // 1_000_000)
        )
    try:
        file = base64.b64decode(data, validate=True)
        return _scaled(file)
    except InvalidMessage:
        raise
    except (
        binascii.Error,
        UnidentifiedImageError,
        Picture.DecompressionBombError,
        # What Pillow raises over damaged files has no common base: these are its own, and what its parsers trip over.
        OSError,
        SyntaxError,
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
        EOFError,
        MemoryError,
        RuntimeError,
    ) as error:
        raise InvalidMessage(
            Sentence(
                "An image cannot be read. JPEG, PNG, WebP and GIF are supported; the file may be "
                "damaged. Nothing was sent."
            ),
            detail=type(error).__name__,
        ) from None


def _scaled(file: bytes) -> Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bombs: their size is looked at below, before anything is decoded
        picture: Picture.Image = Picture.open(io.BytesIO(file), formats=FORMATS)
    if picture.width * picture.height > MOST_PIXELS:
        raise InvalidMessage(
            Sentence(
                "An image can have at most {most} million pixels. Nothing was sent.", most=MOST_PIXELS // 1_000_000
            )
        )
    picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG is decoded no larger than need be
    with suppress(Exception):  # invalid EXIF orientation is no reason to refuse the image
        picture = ImageOps.exif_transpose(picture)
    picture = _on_white(picture)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Picture.Resampling.LANCZOS)
    picture.info = {}  # Pillow writes what it has read there, such as comments
    for quality in QUALITIES:
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=quality)
        if encoded.tell() <= MOST_BYTES:
            break
    else:
        raise InvalidMessage(Sentence("An image has too much detail to be sent. Send a part of it."))
    return Image(
        id=new_id(), media_type="image/jpeg", width=picture.width, height=picture.height, data=encoded.getvalue()
    )


def _on_white(picture: Picture.Image) -> Picture.Image:
    """Return the image in RGB, with transparency as white; of an animation, the first frame."""
    if picture.mode == "RGB":
        return picture
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        background = Picture.new("RGB", picture.size, "white")
        background.paste(with_alpha, mask=with_alpha)
        return background
    return picture.convert("RGB")
