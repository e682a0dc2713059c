"""The packed streams of a PDF: found without its table of objects, and written anew in their places.

pdf-inspector takes a file alone. So what it is to read otherwise is changed in the file. A stream keeps its place and
its length: what is shorter is filled up, and what would be longer stays as it was.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_STREAM = 8_000_000  # bytes, unpacked: a page of text has thousands
MAX_BYTES = 150_000_000  # of all streams, each counted with what finding it costs
_FIRST_PIECE, _PIECE = 1_024, 65_536
_PACKED = b"\x18\x28\x38\x48\x58\x68\x78"  # the first byte, by the size of the packer's window
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_DICTIONARY = 300  # bytes before a stream in which its type stands
_STRING = rb"\((?:[^()\\]|\\.)*+\)|<[0-9A-Fa-f]*+>"
_TEXT = re.compile(rb"\[((?:%b|[-\d.\s]++)*+)\]TJ" % _STRING, re.DOTALL)
_STRING_OR_MOVE = re.compile(rb"(%b)|(-?\d+\.?\d*)" % _STRING, re.DOTALL)
_RIGHT_TO_LEFT = re.compile(rb"<0[5-8][0-9A-Fa-f]{2}>")


def is_written_by(file: bytes, name: bytes) -> bool:
    """Return whether a program's name stands in a PDF or in its packed objects."""
    return name in file or any(name in text for _, _, text in streams(file, b"", kind=b"/ObjStm"))


def has_right_to_left(file: bytes) -> bool:
    """Return whether a font of a PDF has Hebrew or Arabic letters."""
    return any(_RIGHT_TO_LEFT.search(text) for _, _, text in streams(file, b"beginbf"))


def rewritten(file: bytes, sign: bytes, rewrite: Callable[[bytes], bytes]) -> bytes:
    """Return a PDF whose packed streams with a sign in them are written anew, as far as they fit."""
    made = bytearray(file)
    for start, size, text in streams(file, sign):
        packer = zlib.compressobj(9, memLevel=9)
        packed = packer.compress(rewrite(text)) + packer.flush()
        if len(packed) <= size:
            made[start : start + size] = packed.ljust(size, b"\0")
    return bytes(made)


def streams(file: bytes, sign: bytes, *, kind: bytes = b"") -> Iterator[tuple[int, int, bytes]]:
    """Yield the start, the size and the text of each packed stream with a sign in it, and a kind before it.

    What follows after `MAX_BYTES` is left out.
    """
    left = MAX_BYTES
    for found in _STREAM.finditer(file):
        start = at = found.end()
        left -= _FIRST_PIECE
        if left < 0:
            return
        if file[start : start + 1] not in _PACKED or (kind and kind not in file[max(start - _DICTIONARY, 0) : start]):
            continue
        unpacker, text, piece = zlib.decompressobj(), b"", _FIRST_PIECE
        try:
            while not unpacker.eof and at < len(file) and len(text) <= MAX_STREAM:
                text += unpacker.decompress(unpacker.unconsumed_tail + file[at : at + piece], MAX_STREAM)
                at, piece = at + piece, _PIECE
        except zlib.error:  # not packed so, as images are
            continue
        finally:
            left -= len(text)
        if unpacker.eof and sign in text:
            yield start, min(at, len(file)) - len(unpacker.unused_data) - start, text


def with_moves(text: bytes, moved: Callable[[float], bytes]) -> bytes:
    """Return a page's drawing with other moves of the pen between the letters of its texts.

    Args:
        text: the drawing.
        moved: what to write for a move, in thousandths of the font's size to the left.
    """

    def one(found: re.Match[bytes]) -> bytes:
        return found[0] if found[1] is not None else moved(float(found[2]))

    return _TEXT.sub(lambda found: b"[%b]TJ" % _STRING_OR_MOVE.sub(one, found[1]), text)
