"""The kind and size of an image are read from its header, without decoding it."""

import io
import random

import pytest
from PIL import Image as Picture

from chatapp.images.header import Header, read_header, unsupported_kind
from tests.fakes.pictures import file_of, noise, plain, png


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("PNG", {}, "PNG"),
        ("GIF", {}, "GIF"),
        ("JPEG", {}, "JPEG"),
        ("JPEG", {"progressive": True}, "progressive JPEG"),
        ("WEBP", {}, "WebP"),
        ("WEBP", {"lossless": True}, "WebP"),
        ("WEBP", {"exif": b"Exif\0\0II*\0\x08\0\0\0\0\0\0\0\0\0"}, "WebP"),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (300, 200), (5, 3000)])
def test_kind_and_size_are_those_that_pillow_reads(kind, options, expected, size):
    file = plain(size, kind=kind, **options)
    assert read_header(file) == Header(expected, *Picture.open(io.BytesIO(file)).size) == Header(expected, *size)


def test_a_jpeg_with_large_metadata_has_a_size():
    file = plain((300, 200), kind="JPEG", comment=b"\xff\xc0" * 15_000, exif=b"Exif\0\0" + b"\xff\xc0" * 10_000)
    assert read_header(file) == Header("JPEG", 300, 200)


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBPVP8X",
        b"RIFF\0\0\0\0WEBPVP9 " + b"\0" * 40,
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 100,
        b"\xff\xd8" + b"\xff\xe1\x00\x02" * 100_000,
        png(0, 10),
        plain(kind="BMP"),
    ],
)
def test_a_file_without_a_header_has_none(file):
    assert read_header(file) is None


def test_any_bytes_are_read_or_refused():
    chosen = random.Random(1)
    for file in [file_of(noise(24, 24), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF")]:
        for _ in range(500):
            damaged = bytearray(file[: chosen.randint(0, 200)])
            for _ in range(chosen.randint(0, 8)):
                if damaged:
                    damaged[chosen.randrange(len(damaged))] = chosen.choice([0, 0xFF, 0xC0, chosen.randrange(256)])
            header = read_header(bytes(damaged))
            assert header is None or header.pixels > 0


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (b"\0\0\0\x20ftypheic", "HEIC"),
        (b"\0\0\0\x20ftypmif1", "HEIC"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"\0\0\0\x20ftypmp42", ""),
        (file_of(noise(3, 3), "TIFF"), "TIFF"),
        (plain(kind="BMP"), "BMP"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        (b'\xef\xbb\xbf<?xml version="1.0"?>\n<svg/>', "SVG"),
        (b"<?xml version='1.0'?><rss/>", ""),
        (b"%PDF-1.7", "PDF"),
        (b"hello", ""),
    ],
)
def test_well_known_kinds_that_are_not_supported_have_a_name(file, kind):
    assert (read_header(file), unsupported_kind(file)) == (None, kind)
