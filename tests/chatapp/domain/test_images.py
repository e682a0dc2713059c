"""Images are re-encoded small, upright and without metadata; an invalid file is refused with a sentence."""

import asyncio
import base64
import contextlib
import io
import random
import struct
import threading
import zlib

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from PIL import Image as Picture

from chatapp.domain import images as pictures
from chatapp.domain.errors import InvalidMessage
from chatapp.store.values import IMAGE_BYTES


def file_of(picture, kind="PNG", **options):
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def noise(width, height):
    return Picture.frombytes("RGB", (width, height), random.Random(1).randbytes(width * height * 3))


async def decoded(*files, most=4):
    return await pictures.ImageDecoder(most).decoded([base64.b64encode(file).decode() for file in files])


def shown(image):
    return Picture.open(io.BytesIO(image.data))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_picture_of_every_kind_becomes_a_jpeg_of_its_own_size(kind):
    (image,) = await decoded(file_of(Picture.new("RGB", (300, 200), "red"), kind))
    assert (image.media_type, image.width, image.height) == ("image/jpeg", 300, 200)
    assert (shown(image).format, shown(image).size) == ("JPEG", (300, 200))
    red, green, blue = shown(image).getpixel((5, 5))
    assert (red > 240, green < 20, blue < 20) == (True, True, True)


async def test_a_large_picture_is_made_smaller_and_no_file_is_larger_than_the_history_takes():
    (image,) = await decoded(file_of(noise(3000, 2000), "JPEG", quality=95))
    assert (image.width, image.height) == (1536, 1024)
    assert len(image.data) <= IMAGE_BYTES == pictures.MOST_BYTES


async def test_image_metadata_is_removed():
    exif = Picture.Exif()
    exif[0x010E] = "SECRET"  # a description
    exif.get_ifd(0x8825)[2] = (52.0, 31.0, 0.0)  # where
    file = file_of(Picture.new("RGB", (30, 20), "red"), "JPEG", exif=exif, comment=b"SECRET") + b"SECRET program"
    assert b"SECRET" in file
    (image,) = await decoded(file)
    assert b"SECRET" not in image.data
    assert not dict(shown(image).getexif())


async def test_a_picture_stands_as_the_camera_was_held():
    exif = Picture.Exif()
    exif[0x0112] = 6  # turned to the right
    (image,) = await decoded(file_of(Picture.new("RGB", (300, 200), "red"), "JPEG", exif=exif))
    assert (image.width, image.height) == (200, 300)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
async def test_transparent_pixels_become_white(mode):
    see_through = Picture.new("RGBA", (30, 20), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": 0} if mode == "P" else {}
    (image,) = await decoded(file_of(see_through, **options))
    assert min(shown(image).getpixel((5, 5))) > 240


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "I;16", "F"])
async def test_colours_of_every_kind_are_taken(mode):
    kind = "TIFF" if mode == "F" else "JPEG" if mode in {"CMYK", "YCbCr"} else "PNG"
    file = file_of(Picture.new(mode, (30, 20)), kind)
    if kind == "TIFF":
        with pytest.raises(InvalidMessage, match="JPEG, PNG, WebP and GIF"):
            await decoded(file)
    else:
        assert (await decoded(file))[0].width == 30


def bomb(width, height):
    """Return a PNG of a few bytes that says that it is this large."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
async def test_a_bomb_is_refused_before_it_is_decoded(size):
    with pytest.raises(InvalidMessage, match=r"million pixels|cannot be read"):
        await decoded(bomb(*size))


async def test_a_file_that_is_too_large_is_refused_before_it_is_looked_at():
    with pytest.raises(InvalidMessage, match="10 MB"):
        await pictures.ImageDecoder(1).decoded(["A" * 15_000_000])


async def test_more_pictures_than_a_message_may_have_are_refused():
    file = file_of(Picture.new("RGB", (3, 2)))
    assert len(await decoded(file, file, most=2)) == 2
    with pytest.raises(InvalidMessage, match="at most"):
        await decoded(file, file, file, most=2)


WHOLE = [file_of(noise(24, 24), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
@given(st.sampled_from(WHOLE), st.data())
def test_a_damaged_file_is_taken_or_refused_in_words(file, data):
    damaged = bytearray(file[: data.draw(st.integers(0, len(file)))])
    for _ in range(data.draw(st.integers(0, 8))):
        if damaged:
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InvalidMessage):
        assert pictures.decoded(base64.b64encode(bytes(damaged)).decode()).width <= pictures.LONGEST_SIDE


async def test_the_event_loop_keeps_running_while_an_image_is_decoded(monkeypatch):
    decode, release = pictures._scaled, threading.Event()
    monkeypatch.setattr(pictures, "_scaled", lambda file: release.wait(60) and decode(file))
    decoding = asyncio.create_task(decoded(file_of(noise(24, 24))))
    for _ in range(10):
        await asyncio.sleep(0.001)  # a blocked loop would not get here before the decoder gives up
    assert not decoding.done()
    release.set()
    assert (await decoding)[0].width == 24
