"""Decodes an image and encodes it again: small, upright, in RGB, and without metadata.

Decoding and encoding again removes everything else in a file (location, author, hidden programs). One full copy of the
bitmap is in memory; the rest is done strip by strip. Run by `child`, which imports this file alone: it may import
nothing of the chat.
"""

from __future__ import annotations

import io
import warnings
from contextlib import suppress
from typing import NamedTuple, cast

from PIL import Image as Picture
from PIL import ImageChops

LONGEST_SIDE = 1536  # pixels; models scale what is larger down themselves
MAX_BYTES = 900_000  # stored, see `chatapp.store.values.IMAGE_BYTES`
FORMATS = ("JPEG", "PNG", "WEBP", "GIF")
QUALITIES = (88, 75, 60, 40)
STRIP_PIXELS = 1_000_000

_ORIENTATION = 0x0112  # of EXIF
_UPRIGHT = {
    2: Picture.Transpose.FLIP_LEFT_RIGHT,
    3: Picture.Transpose.ROTATE_180,
    4: Picture.Transpose.FLIP_TOP_BOTTOM,
    5: Picture.Transpose.TRANSPOSE,
    6: Picture.Transpose.ROTATE_270,
    7: Picture.Transpose.TRANSVERSE,
    8: Picture.Transpose.ROTATE_90,
}


class TooDetailed(Exception):
    """The image takes more than `MAX_BYTES` even at the lowest quality."""


class Scaled(NamedTuple):
    """A JPEG file, and its width and height in pixels."""

    width: int
    height: int
    data: bytes


def scaled(file: bytes, max_pixels: int) -> Scaled:
    """Return an image as a JPEG whose longest side is at most `LONGEST_SIDE`; of an animation, the first frame.

    Raises:
        TooDetailed: it cannot be made small enough.
        Exception: of any kind, where it is damaged.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bombs: the size is checked in the next line, before anything is decoded
        picture: Picture.Image = Picture.open(io.BytesIO(file), formats=FORMATS)
    if picture.width * picture.height > max_pixels:
        raise MemoryError
    picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))  # a JPEG is decoded no larger than need be
    orientation = 1
    with suppress(Exception):  # invalid EXIF data are no reason to refuse the image
        orientation = picture.getexif().get(_ORIENTATION, 1)
    picture = _small(picture)
    if orientation in _UPRIGHT:
        picture = picture.transpose(_UPRIGHT[orientation])
    for quality in QUALITIES:
        encoded = io.BytesIO()
        picture.save(encoded, "JPEG", quality=quality)
        if encoded.tell() <= MAX_BYTES:
            return Scaled(picture.width, picture.height, encoded.getvalue())
    raise TooDetailed


def _small(picture: Picture.Image) -> Picture.Image:
    """Return the image in RGB, scaled down; strips of it are converted and reduced, one after the other."""
    picture.load()
    if picture.mode in {"I", "F"}:  # by the range of the whole image
        picture = _from_32_bits(picture)
    scale = min(1, LONGEST_SIDE / max(picture.size))
    width, height = (max(1, round(side * scale)) for side in picture.size)
    # Reduced by a whole number to 1.5 times the size or more, then resampled: hardly less exact than resampling alone.
    x, y = max(1, 2 * picture.width // (3 * width)), max(1, 2 * picture.height // (3 * height))
    reduced = Picture.new("RGB", (-(-picture.width // x), -(-picture.height // y)))
    rows = y * max(1, STRIP_PIXELS // (picture.width * y))
    for top in range(0, picture.height, rows):
        strip = picture.crop((0, top, picture.width, min(top + rows, picture.height)))
        reduced.paste(in_rgb(strip).reduce((x, y)), (0, top // y))
    if reduced.size == (width, height):
        return reduced
    box = (0, 0, picture.width / x, picture.height / y)
    return reduced.resize((width, height), Picture.Resampling.LANCZOS, box)


def in_rgb(picture: Picture.Image) -> Picture.Image:
    """Return an image of any mode in 8-bit RGB, with transparency as white, as browsers show it."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):
        return _from_16_bits(picture)
    if picture.mode in {"I", "F"}:
        return _from_32_bits(picture).convert("RGB")
    if picture.mode == "RGB":
        return _without_color(picture, picture.info["transparency"])
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        background = Picture.new("RGB", picture.size, "white")
        background.paste(with_alpha, mask=with_alpha)
        return background
    return picture.convert("RGB")


def _from_16_bits(picture: Picture.Image) -> Picture.Image:
    """Return 16-bit grey in RGB: Pillow's own conversion takes what is over 255 as white (Pillow#3011)."""
    pixels = picture.tobytes()
    high, low = (1, 0) if picture.mode != "I;16B" else (0, 1)
    grey = Picture.frombytes("L", picture.size, pixels[high::2])
    result = Picture.merge("RGB", (grey, grey, grey))
    key = picture.info.get("transparency")
    if isinstance(key, int):
        same = ImageChops.multiply(
            _equal(grey, key >> 8), _equal(Picture.frombytes("L", picture.size, pixels[low::2]), key & 0xFF)
        )
        result.paste("white", mask=same)
    return result


def _from_32_bits(picture: Picture.Image) -> Picture.Image:
    """Return 32-bit grey as 8-bit grey: black is 0 or the lowest value, white 1, 255, 65,535 or the highest value."""
    low, high = (float(value) for value in cast("tuple[float, float]", picture.getextrema()))
    low = min(low, 0.0)
    ends = (1.0, 255.0, 65_535.0) if picture.mode == "F" else (255.0, 65_535.0)
    top = next((end for end in ends if high <= end), high)
    scale = 255.0 / (top - low)
    return picture.convert("F").point(lambda value: value * scale - low * scale).convert("L")


def _without_color(picture: Picture.Image, key: object) -> Picture.Image:
    """Return RGB with one transparent color in white."""
    if not isinstance(key, tuple) or len(key) != 3:
        return picture
    # Of 16 bits, Pillow keeps the high byte of each pixel, and the whole key.
    bands = [
        _equal(band, value >> 8 if max(key) > 255 else value) for band, value in zip(picture.split(), key, strict=True)
    ]
    result = picture.copy()
    result.paste("white", mask=ImageChops.multiply(ImageChops.multiply(bands[0], bands[1]), bands[2]))
    return result


def _equal(band: Picture.Image, value: int) -> Picture.Image:
    """Return a mask: 255 where a band has this value, else 0."""
    return band.point([255 if number == value else 0 for number in range(256)])
