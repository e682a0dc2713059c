"""PDFs of Ghostscript, written so that pdf-inspector 1.25.2 reads their ligatures, Hebrew and Arabic.

Ghostscript 10.00 names the letters of a ligature wrongly ("لا", "ffi"), and in a form that pdf-inspector does not know
for several letters. It draws the cells of a row as one text with long moves of the pen, which pdf-inspector takes for
one word; so it takes the words of Arabic headings. Here such a text becomes several.
"""

from __future__ import annotations

import re

from .streams import has_right_to_left, is_written_by, rewritten, with_moves

_NAME = b"GPL Ghostscript"
_TWO_LETTERS = re.compile(rb"<([0-9a-f]{8})>(?=\n)")
_RANGES = re.compile(rb"beginbfrange\n([^e]*+(?:e(?!ndbfrange)[^e]*+)*+)endbfrange")
_RANGE = re.compile(rb"<([0-9a-f]+)><([0-9a-f]+)>(<[0-9a-f]+>)\n")
_LETTERS = range(ord("a"), ord("z") + 1)
_LAM, _ALEFS = 0x44, (0x22, 0x23, 0x25, 0x27)
_WORD_GAP, _CELL_GAP = -200, 1_000  # thousandths of the font's size: to the right, and back to the left


def mended(file: bytes) -> bytes:
    """Return a PDF of Ghostscript with its letters named rightly, another one as it is.

    Where it has Hebrew or Arabic, its words and cells are apart.
    """
    if not is_written_by(file, _NAME):
        return file
    made = rewritten(file, b"beginbf", _mended_map)
    return rewritten(made, b"]TJ", _mended_text) if has_right_to_left(file) else made


def _mended_map(text: bytes) -> bytes:
    """Return a map of signs to letters with right letters, and with lists in place of ranges of one sign each."""
    return _RANGES.sub(_listed, _TWO_LETTERS.sub(_named, text))


def _named(found: re.Match[bytes]) -> bytes:
    """Return the letters of a ligature, as UTF-16 in hexadecimal digits; of three letters two are written as a sum."""
    first, second, third, fourth = bytes.fromhex(found[1].decode())
    if third == second:  # "لا" is 0644 0627, and was written as 0644 4427
        letters = (
            [_LAM, fourth - _LAM] if fourth - _LAM in _ALEFS else [second, fourth]
        )  # a mark before "لا" is left out
        return b"<%b>" % b"".join(b"%02x%02x" % (first, letter) for letter in letters)
    if second == fourth == 0 and first in _LETTERS:  # "fi" as 6600 6900, and "ffi" as 6600 with the sum of f and i
        letters = [first, third] if third in _LETTERS else [first, first, third - first]
        if letters[-1] in _LETTERS:
            return b"<%b>" % b"".join(b"%04x" % letter for letter in letters)
    return found[0]


def _listed(found: re.Match[bytes]) -> bytes:
    """Return a list of the signs that have a range each, and the ranges of several signs after it."""
    ranges = _RANGE.findall(found[1])
    if len(ranges) != found[1].count(b"\n"):
        return found[0]
    signs = b"".join(b"<%b>%b\n" % (first, letters) for first, last, letters in ranges if first == last)
    longer = b"".join(b"<%b><%b>%b\n" % one for one in ranges if one[0] != one[1])
    return b"beginbfchar\n%bendbfchar" % signs + (b"\n1 beginbfrange\n%bendbfrange" % longer if longer else b"")


def _mended_text(text: bytes) -> bytes:
    return with_moves(text, _moved)


def _moved(move: float) -> bytes:
    """Return a move in whole thousandths, after the end of a text if it is long."""
    whole = round(move)
    return b"%b%d " % (b"" if _WORD_GAP <= whole <= _CELL_GAP else b"]TJ[", whole) if whole else b""
