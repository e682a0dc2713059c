"""Blocks of a PDF page from the positions of its pieces of text, for pages of Hebrew and Arabic.

pdf-inspector's Markdown merges the rows of tables that run from right to left, and leaves a page out that has letters
without Unicode. Its pieces of text are right: here they are put into lines, rows and paragraphs again.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from .blocks import rows
from .columns import in_columns
from .shape import Block, BlockKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .drawn_backwards import Joints, Piece

SAME_LINE = 0.45  # font sizes between the baselines of the pieces of a line: marks stand on another one
SAME_BASELINE = 0.2  # font sizes between those of the pieces of a line that overlap: Arabic words may by their tails
OVERLAPPING_LETTERS = 4
WORD_GAP = 0.12  # font sizes between two words
CELL_GAP = 0.9  # and between two cells of a row
PARAGRAPH_GAP = 1.75  # and between the baselines of two lines of a paragraph
MAX_SHORT = 200  # letters of a piece that may have lost its spaces: that of a cell
MIN_MARKED, DOUBLED = 6, 0.6  # letters with marks, and the part of them that stand twice
COLUMN_LINES = 0.2  # of the lines of a page have several cells
COLUMN_CHARS = 28  # of most cells of a page: then they are lines of columns
HEADING_SIZE = 1.15  # of the font of a heading, against that of most text
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc]")
_NUMBER = re.compile(r"\d[\d.,:/-]*\d|[A-Za-z]{2,}")
_UNNAMED = re.compile("(?<=[\u0621-\u0652])\ufffd|\ufffd(?=[\u0621-\u064a])")
_MARKS = re.compile("[\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670]")
_MARKED = re.compile("[\u0621-\u064a][\u064b-\u0652]+")
_TWICE = re.compile("([\u0621-\u064a][\u064b-\u0652]+)\\1")
_ALEF_LAM = re.compile("([\u0622\u0623\u0625\u0627])(\u0644)")
_LEFT_TO_RIGHT = re.compile("[A-Za-z]")


class _Line(NamedTuple):
    y: float
    size: float
    cells: tuple[str, ...]


class Spaces:
    """The spaces of lines of text in visual order.

    pdf-inspector drops the spaces of short pieces of text that run from right to left, but not in its plain text.
    """

    def __init__(self, text: str) -> None:
        self._places: dict[str, list[int]] = {}
        self._lines: dict[str, str] = {}
        for line in text.splitlines():
            if " " in line.strip() and len(line) <= MAX_SHORT and runs_right_to_left(line):
                turned = _NUMBER.sub(lambda number: number[0][::-1], line.strip()[::-1])
                logical = unicodedata.normalize("NFKC", turned)  # else Arabic letters have their shapes
                letters = logical.replace(" ", "")
                bare = _MARKS.sub("", logical)
                self._places[_key(letters)] = [at - number for number, at in enumerate(_places_of(" ", bare))]
                self._lines["".join(sorted(letters))] = " ".join(logical.split())

    def restored(self, text: str) -> str:
        """Return a piece of text with the spaces that it has lost; as it is, where it has some."""
        is_whole = " " in text or len(text) > MAX_SHORT
        places = None if is_whole else self._places.get(_key(text))
        if places is None:
            return text
        starts = [at for at, letter in enumerate(text) if not _MARKS.match(letter)]  # marks move with their letters
        inner = [starts[place] for place in places if place < len(starts)]
        return " ".join(text[start:end] for start, end in pairwise([0, *inner, len(text)]) if start < end)

    def line_of(self, pieces: Sequence[Piece]) -> str:
        """Return the line that pieces are, the longest of which is a part of it; empty if there is none."""
        texts = ["".join(piece.text.split()) for piece in pieces]
        line = self._lines.get("".join(sorted("".join(texts))), "")
        return line if max(texts, key=len) in line.replace(" ", "") else ""


def untangled(pieces: list[Piece], spaces: Spaces) -> list[Piece]:
    """Return the pieces of a page, with those that lie within another one put where the plain text has them.

    LibreOffice draws the spaces of some headings with another font, and pdf-inspector takes letters for them.
    """
    lines: dict[int, list[Piece]] = {}
    for piece in pieces:
        lines.setdefault(round(piece.y), []).append(piece)
    made: list[Piece] = []
    for line in lines.values():
        widest = max(line, key=lambda one: one.width)
        within = [one for one in line if _is_astray(one, widest)]
        if within and (text := spaces.line_of([widest, *within])):
            made += [one._replace(text=text) if one is widest else one for one in line if one not in within]
        else:
            made += line
    return made


def _is_astray(piece: Piece, other: Piece) -> bool:
    """Return whether a piece lies within another one, and is drawn with another font."""
    is_within = other.x < piece.x and piece.x + piece.width < other.x + other.width
    return is_within and piece.font != other.font


def _places_of(letter: str, text: str) -> list[int]:
    return [at for at, one in enumerate(text) if one == letter]


def _key(text: str) -> str:
    """Return a text without marks, and each lam and alef in one order: fonts name the two together in either."""
    text = _MARKS.sub("", text)
    while (sorted_text := _ALEF_LAM.sub(r"\2\1", text)) != text:
        text = sorted_text
    return text


def repaired(text: str, *, has_doubles: bool, unnamed: str = "\u0644\u0627") -> str:
    """Return a text with the letters that a font names wrongly: a lam and alef in one, and a letter with marks twice.

    Args:
        text: of a block.
        has_doubles: see `doubles_marked`.
        unnamed: what U+FFFD stands for in Arabic, see `unnamed_letters`.
    """
    text = _UNNAMED.sub(unnamed, text)
    return _TWICE.sub(r"\1", text) if has_doubles else text


def doubles_marked(text: str) -> bool:
    """Return whether a document has most letters with marks twice, as Typst's fonts name them."""
    marked = len(_MARKED.findall(text))
    return marked >= MIN_MARKED and 2 * len(_TWICE.findall(text)) > DOUBLED * marked


def runs_right_to_left(text: str) -> bool:
    """Return whether most letters of a text are Hebrew or Arabic."""
    return len(_RIGHT_TO_LEFT.findall(text)) > len(_LEFT_TO_RIGHT.findall(text))


def blocks_of(pieces: Iterable[Piece], joints: Joints | None = None) -> list[Block]:
    """Return the blocks of a page whose text runs from right to left, in the order in which it is read.

    None where the page has more than two columns.

    Args:
        pieces: all of the page.
        joints: where words end, if the gaps between pieces do not tell.
    """
    pieces = list(pieces)
    lines = _lines(pieces, joints)
    if _has_columns(lines):
        lines = [line for column in in_columns(pieces) for line in _lines(column, joints)]
    if not lines or _has_columns(lines):
        return []
    made = _Blocks(usual=median(line.size for line in lines for _ in "".join(line.cells)[::20]))
    for line in lines:
        made.add(line)
    made.end()
    return made.blocks


def _lines(pieces: list[Piece], joints: Joints | None) -> list[_Line]:
    return [line for line in (_line(group, joints) for group in in_lines(pieces)) if line.cells]


def _has_columns(lines: list[_Line]) -> bool:
    several = [line.cells for line in lines if len(line.cells) > 1]
    if len(several) <= COLUMN_LINES * len(lines):
        return False
    return median(len(cell) for cells in several for cell in cells) > COLUMN_CHARS


class _Blocks:
    """Collects the blocks of a page, line by line.

    Args:
        usual: size of the font of most text.
    """

    def __init__(self, usual: float) -> None:
        self.blocks: list[Block] = []
        self._usual = usual
        self._paragraph: list[_Line] = []
        self._table: list[_Line] = []

    def add(self, line: _Line) -> None:
        if len(line.cells) > 1:
            self._end_paragraph()
            self._table.append(line)
        elif line.size >= HEADING_SIZE * self._usual:
            self.end()
            self.blocks.append(Block(BlockKind.HEADING, line.cells[0], 1 if line.size >= 1.8 * self._usual else 2))
        else:
            last = self._paragraph[-1] if self._paragraph else None
            if last is None or last.y - line.y > PARAGRAPH_GAP * line.size:
                self.end()
            self._paragraph.append(line)

    def end(self) -> None:
        self._end_paragraph()
        if len(self._table) > 1:
            self.blocks += rows([line.cells for line in self._table])
        elif self._table:
            self.blocks.append(Block(BlockKind.TEXT, " ".join(self._table[0].cells)))
        self._table = []

    def _end_paragraph(self) -> None:
        if self._paragraph:
            self.blocks.append(Block(BlockKind.TEXT, " ".join(line.cells[0] for line in self._paragraph)))
        self._paragraph = []


def in_lines(pieces: list[Piece]) -> Iterator[list[Piece]]:
    """Yield the pieces of each line, from the top to the bottom."""
    line: list[Piece] = []
    for piece in sorted(pieces, key=lambda one: -one.y):
        is_lower = line and line[0].y - piece.y > SAME_LINE * max(piece.size, line[0].size)
        if is_lower or any(_is_under(piece, other) for other in line):
            yield line
            line = []
        line.append(piece)
    if line:
        yield line


def _is_under(piece: Piece, other: Piece) -> bool:
    """Return whether two pieces, neither of which is a mark, would stand upon each other in a line.

    Skia draws bold letters that a font does not have as pictures, whose baseline pdf-inspector takes for a lower one.
    """
    if min(len(piece.text), len(other.text)) < OVERLAPPING_LETTERS:
        return False
    common = min(piece.x + piece.width, other.x + other.width) - max(piece.x, other.x)
    return common > min(piece.width, other.width) / 2 and other.y - piece.y > SAME_BASELINE * piece.size


def _line(pieces: Sequence[Piece], joints: Joints | None) -> _Line:
    ordered = sorted(pieces, key=lambda one: -(one.x + one.width))
    cells = [ordered[0].text]
    for right, left in pairwise(ordered):
        gap = (right.x - (left.x + left.width)) / max(left.size, 1)
        are_words = joints.are_words(cells[-1], left.text) if joints else None
        if gap > (2 * CELL_GAP if are_words else CELL_GAP):
            cells.append(left.text)
        else:
            cells[-1] += (" " if (gap > WORD_GAP if are_words is None else are_words) else "") + left.text
    shown = tuple(cell for cell in (" ".join(cell.split()) for cell in cells) if cell)
    return _Line(max(one.y for one in pieces), median(one.size for one in pieces), shown)
