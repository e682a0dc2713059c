"""Image files for tests."""

import io
import random
import struct
import zlib

from PIL import Image as Picture


def file_of(picture, kind="PNG", **options):
    """Return the file of a picture."""
    written = io.BytesIO()
    picture.save(written, kind, **options)
    return written.getvalue()


def plain(size=(30, 20), color="red", kind="PNG", **options):
    """Return the file of a picture of one color."""
    return file_of(Picture.new("RGB", size, color), kind, **options)


def noise(width, height, mode="RGB"):
    """Return a picture that no encoder makes small."""
    count = width * height * len(Picture.new(mode, (1, 1)).getbands())
    return Picture.frombytes(mode, (width, height), random.Random(1).randbytes(count))


def png(width, height, *, depth=8, color_type=2, rows=b"", chunks=()):
    """Return a PNG with this header and these compressed rows, whatever they are."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def white_png(width, height):
    """Return a PNG of a few kilobytes that is white, and as large as it says when it is decoded."""
    compress = zlib.compressobj(9)
    row = b"\0" + b"\xff" * (3 * width)
    rows = b"".join([*(compress.compress(row) for _ in range(height)), compress.flush()])

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def shown(image):
    """Return the picture of a `chatapp.domain.conversation.Image`, or of anything else with ``data``."""
    return Picture.open(io.BytesIO(image.data))
