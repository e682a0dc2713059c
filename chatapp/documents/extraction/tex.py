"""PDFs of XeTeX and LuaTeX, written so that pdf-inspector 1.25.2 finds the words of their Hebrew and Arabic.

XeTeX moves the pen within Arabic words, which pdf-inspector takes for spaces. LuaTeX draws each line letter by letter
from the right to the left: a move of the pen goes back over two letters, and where a word ends also over a space, which
pdf-inspector does not see. Here the letters of such a line are put from the left to the right, and only the moves
between words are left.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from .streams import has_right_to_left, is_written_by, rewritten, streams, with_moves

WORD_GAP = 130  # thousandths of the font's size: moves within words of Amiri have 82, spaces at least 200
_USUAL_WIDTH = 1_000.0  # of a glyph whose width a PDF does not tell
_FONT_OR_TEXT = re.compile(rb"/(F\d+) [\d.]+ Tf|\[((?:<(?:[0-9A-Fa-f]{4})*+>|[-\d.\s]++)*+)\]TJ")
_CODES_OR_MOVE = re.compile(rb"<([0-9A-Fa-f]*+)>|(-?\d+\.?\d*)")
_HEADER = re.compile(rb"[\d\s]+")
_FONT = re.compile(rb"/(F\d+) (\d+) 0 R")
_DESCENDANT = re.compile(rb"/DescendantFonts \[ (\d+) 0 R \]")
_WIDTHS = re.compile(rb"/W (\d+) 0 R")
_RUN = re.compile(rb"(\d+) \[([\d. ]*+)\]")

Widths = dict[int, float]


class _Glyph(NamedTuple):
    x: float  # in thousandths of the font's size, from the beginning of the text
    code: int
    marks: tuple[tuple[float, int], ...] = ()  # drawn upon it


def mended(file: bytes) -> bytes:
    """Return a PDF of one of these programs with Hebrew or Arabic in it with its words apart, another one as it is."""
    if is_written_by(file, b"xdvipdfmx") and has_right_to_left(file):
        return rewritten(file, b"]TJ", _without_small_moves)
    if is_written_by(file, b"LuaTeX") and has_right_to_left(file):
        fonts = _fonts(file)
        return rewritten(file, b"]TJ", lambda text: _from_left_to_right(text, fonts))
    return file


def _without_small_moves(text: bytes) -> bytes:
    """Return a page's drawing without the moves of the pen within words."""
    return with_moves(text, lambda move: b"%g " % move if abs(move) >= WORD_GAP else b"")


def _from_left_to_right(text: bytes, fonts: dict[bytes, Widths]) -> bytes:
    """Return a page's drawing with the letters of lines from the left to the right."""
    widths: Widths = {}

    def put(found: re.Match[bytes]) -> bytes:
        nonlocal widths
        if found[1] is not None:
            widths = fonts.get(found[1], {})
            return found[0]
        glyphs = _glyphs(found[2], widths)
        is_forward = all(one.x <= other.x for one, other in pairwise(glyphs))
        return found[0] if is_forward else b"[%b]TJ" % _drawn(sorted(glyphs), widths)

    return _FONT_OR_TEXT.sub(put, text)


def _glyphs(drawn: bytes, widths: Widths) -> list[_Glyph]:
    """Return the glyphs of a text with their places; a mark has no width, and is drawn after its letter."""
    glyphs: list[_Glyph] = []
    x = 0.0
    for codes, move in _CODES_OR_MOVE.findall(drawn):
        if move:
            x -= float(move)
        for at in range(0, len(codes), 4):
            code = int(codes[at : at + 4], 16)
            width = widths.get(code, _USUAL_WIDTH)
            if width or not glyphs:
                glyphs.append(_Glyph(x, code))
            else:
                glyphs[-1] = glyphs[-1]._replace(marks=(*glyphs[-1].marks, (x, code)))
            x += width
    return glyphs


def _drawn(glyphs: list[_Glyph], widths: Widths) -> bytes:
    """Return what draws glyphs in their order, each after its marks, as text from right to left is turned when read."""
    made, x = b"", 0.0
    for glyph in glyphs:
        codes = b"".join(b"%04x" % code for _, code in reversed(glyph.marks)) + b"%04x" % glyph.code
        gap = glyph.x - x
        if abs(gap) >= WORD_GAP or not made:
            made += b"%d<%b>" % (round(-gap), codes)
            x = glyph.x
        else:
            made = made.removesuffix(b">") + codes + b">"
        x += widths.get(glyph.code, _USUAL_WIDTH)
    return made


def _fonts(file: bytes) -> dict[bytes, Widths]:
    """Return the widths of the glyphs of each font by its name on pages: LuaTeX gives each another name."""
    objects: dict[bytes, bytes] = {}
    for _, _, text in streams(file, b"", kind=b"/ObjStm"):
        header = _HEADER.match(text)
        numbers = header[0].split() if header else []
        places = [*map(int, numbers[1::2]), len(text)]
        for number, (start, end) in zip(numbers[::2], pairwise(places), strict=False):
            objects[number] = text[len(header[0]) + start : len(header[0]) + end] if header else b""
    fonts = {}
    for text in list(objects.values()):
        for name, number in _FONT.findall(text):
            descendant = _DESCENDANT.search(objects.get(number, b""))
            listed = _WIDTHS.search(objects.get(descendant[1], b"")) if descendant else None
            if listed:
                runs = _RUN.findall(objects.get(listed[1], b""))
                fonts[name] = {int(first) + at: float(one) for first, run in runs for at, one in enumerate(run.split())}
    return fonts
