"""What an image file is and how large its bitmap is, read from its first bytes without decoding anything.

Every check that needs no decoder is made here, in microseconds: a file of some kilobytes can hold a bitmap of
gigabytes. The child process checks the size again with Pillow.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_SEGMENTS = 1_000  # before the size in a JPEG; cameras write about 20

# Pixels, by what decoding takes: a JPEG is scaled down while it is decoded, but a progressive one has coefficients of
# up to 6 bytes per pixel; a PNG takes 4 and a GIF 1; WebP has four full copies. The child process has 230 MB at
# most with these (Pillow 12.3). Telephones make JPEGs of up to 200 megapixels.
MAX_PIXELS = {
    "JPEG": 200_000_000,
    "progressive JPEG": 40_000_000,
    "PNG": 40_000_000,
    "GIF": 40_000_000,
    "WebP": 12_000_000,
}

_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
}


@dataclass(frozen=True, slots=True)
class Header:
    """The kind and size of an image.

    Attributes:
        kind: a key of `MAX_PIXELS`.
        width: pixels, as ``height``.
    """

    kind: str
    width: int
    height: int

    @property
    def pixels(self) -> int:
        """The size of the bitmap."""
        return self.width * self.height


def read_header(file: bytes) -> Header | None:
    """Return the header of a supported image file; None if it is none, or is damaged."""
    try:
        size = _size(file)
    except (struct.error, IndexError):  # it ends within its header
        return None
    return size if size is not None and size.width > 0 and size.height > 0 else None


def unsupported_kind(file: bytes) -> str:
    """Return the name of a well-known kind of image that is not supported, "" for any other file."""
    if file[4:8] == b"ftyp":
        return _BRANDS.get(file[8:12], "")
    if file[:4] in {b"II*\0", b"MM\0*"}:
        return "TIFF"
    if file[:2] == b"BM":
        return "BMP"
    if file[:5] == b"%PDF-":
        return "PDF"
    start = file[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return "SVG" if start.startswith((b"<svg", b"<?xml", b"<!doctype svg", b"<!--")) and b"<svg" in start else ""


def _size(file: bytes) -> Header | None:
    if file[:8] == b"\x89PNG\r\n\x1a\n" and file[12:16] == b"IHDR":
        return Header("PNG", *struct.unpack_from(">II", file, 16))
    if file[:6] in {b"GIF87a", b"GIF89a"}:
        return Header("GIF", *struct.unpack_from("<HH", file, 6))
    if file[:4] == b"RIFF" and file[8:12] == b"WEBP":
        return _webp(file)
    return _jpeg(file) if file[:3] == b"\xff\xd8\xff" else None


def _webp(file: bytes) -> Header | None:
    """Read a WebP header (RFC 9649)."""
    kind = file[12:16]
    if kind == b"VP8X" and len(file) >= 30:
        width, height = (int.from_bytes(file[at : at + 3], "little") + 1 for at in (24, 27))
        return Header("WebP", width, height)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", file, 21)
        return Header("WebP", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", file, 26)
        return Header("WebP", width & 0x3FFF, height & 0x3FFF)
    return None


def _jpeg(file: bytes) -> Header | None:
    """Find the first frame of a JPEG."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        at = file.find(b"\xff", at)
        if at < 0:
            return None
        while file[at] == 0xFF:  # any number of fill bytes
            at += 1
        marker = file[at]
        at += 1
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", file, at + 3)
            return Header("progressive JPEG" if marker in _PROGRESSIVE else "JPEG", width, height)
        if marker in {0x00, 0x01} or 0xD0 <= marker <= 0xD8:  # without a length
            continue
        (length,) = struct.unpack_from(">H", file, at)
        at += max(length, 2)
    return None
