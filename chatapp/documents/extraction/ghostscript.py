"""PDFs of Ghostscript, written so that pdf-inspector 1.25.2 reads their ligatures, Hebrew and Arabic.

Ghostscript 10.00 names the letters of a ligature wrongly ("لا", "ffi"), and in a form that pdf-inspector does not know
for several letters. It draws the cells of a row as one text with long moves of the pen, which
pdf-inspector takes for one word; so it takes the words of Arabic headings. Here such a text becomes several. Each
stream keeps its place and its length in the file: what is shorter is filled up, what is longer stays as it was.
"""

from __future__ import annotations

import re
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_STREAM = 8_000_000  # bytes, unpacked: a page of text has thousands
_NAME = b"GPL Ghostscript"
_PIECE = 65_536
_STREAM = re.compile(rb"(?<!end)stream\r?\n")
_RIGHT_TO_LEFT = re.compile(rb"<0[5-8][0-9a-f]{2}>")
_TWO_LETTERS = re.compile(rb"<([0-9a-f]{8})>(?=\n)")
_RANGES = re.compile(rb"beginbfrange\n([^e]*+(?:e(?!ndbfrange)[^e]*+)*+)endbfrange")
_RANGE = re.compile(rb"<([0-9a-f]+)><([0-9a-f]+)>(<[0-9a-f]+>)\n")
_STRING = rb"\((?:[^()\\]|\\.)*+\)|<[0-9A-Fa-f]*+>"
_TEXT = re.compile(rb"\[((?:%b|[-\d.\s]++)*+)\]TJ" % _STRING, re.DOTALL)
_STRING_OR_MOVE = re.compile(rb"(%b)|(-?\d+\.?\d*)" % _STRING, re.DOTALL)
_LETTERS = range(ord("a"), ord("z") + 1)
_WORD_GAP, _CELL_GAP = -200, 1_000  # thousandths of the font's size: to the right, and back to the left


def is_by_ghostscript(file: bytes) -> bool:
    """Return whether Ghostscript wrote a PDF."""
    return _NAME in file


def mended(file: bytes) -> bytes:
    """Return the PDF with its letters named rightly and, where it has Hebrew or Arabic, its words and cells apart."""
    maps = [text for _, _, text in _streams(file, b"beginbf")]
    made = _rewritten(file, b"beginbf", _mended_map)
    if any(map(_RIGHT_TO_LEFT.search, maps)):
        made = _rewritten(made, b"]TJ", _mended_text)
    return made


def _rewritten(file: bytes, sign: bytes, rewrite: Callable[[bytes], bytes]) -> bytes:
    made = bytearray(file)
    for start, size, text in _streams(file, sign):
        packer = zlib.compressobj(9, memLevel=9)
        packed = packer.compress(rewrite(text)) + packer.flush()
        if len(packed) <= size:
            made[start : start + size] = packed.ljust(size, b"\0")
    return bytes(made)


def _streams(file: bytes, sign: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield the start, the size and the text of each packed stream with a sign in it."""
    for found in _STREAM.finditer(file):
        start = at = found.end()
        unpacker, text = zlib.decompressobj(), b""
        try:
            while not unpacker.eof and at < len(file) and len(text) <= MAX_STREAM:
                text += unpacker.decompress(unpacker.unconsumed_tail + file[at : at + _PIECE], MAX_STREAM)
                at += _PIECE
        except zlib.error:  # not packed so, as images are
            continue
        if unpacker.eof and sign in text:
            yield start, min(at, len(file)) - len(unpacker.unused_data) - start, text


def _mended_map(text: bytes) -> bytes:
    """Return a map of signs to letters with right letters, and with lists in place of ranges of one sign each."""
    return _RANGES.sub(_listed, _TWO_LETTERS.sub(_named, text))


def _named(found: re.Match[bytes]) -> bytes:
    """Return the letters of a ligature, as UTF-16 in hexadecimal digits."""
    first, second, third, fourth = bytes.fromhex(found[1].decode())
    if third == second:  # "لا" is 0644 0627, and was written as 0644 4427
        return b"<%02x%02x%02x%02x>" % (first, second, first, fourth)
    if second == fourth == 0 and first in _LETTERS:  # "fi" as 6600 6900, and "ffi" as 6600 with the sum of f and i
        letters = [first, third] if third in _LETTERS else [first, first, third - first]
        if letters[-1] in _LETTERS:
            return b"<%b>" % b"".join(b"%04x" % letter for letter in letters)
    return found[0]


def _listed(found: re.Match[bytes]) -> bytes:
    ranges = _RANGE.findall(found[1])
    if any(first != last for first, last, _ in ranges) or len(ranges) != found[1].count(b"\n"):
        return found[0]
    return b"beginbfchar\n%bendbfchar" % b"".join(b"<%b>%b\n" % (sign, letters) for sign, _, letters in ranges)


def _mended_text(text: bytes) -> bytes:
    return _TEXT.sub(lambda found: b"[%b]TJ" % _STRING_OR_MOVE.sub(_moved, found[1]), text)


def _moved(found: re.Match[bytes]) -> bytes:
    """Return a string as it is, and a move of the pen in whole thousandths, after the end of a text if it is long."""
    if found[1] is not None:
        return found[1]
    move = round(float(found[2]))
    return b"%b%d " % (b"" if _WORD_GAP <= move <= _CELL_GAP else b"]TJ[", move) if move else b""
