"""Text that a producer draws letter by letter from right to left, as Cairo with Pango and MuPDF do.

The pen goes back over each letter. Of such a piece of text pdf-inspector 1.25.2 gives the box without its first and
its last letter, so that gaps between pieces say nothing about words; it divides words at ligatures, and spells those
backwards whose letters have the code points of their shapes. Its plain text tells where words end: there it writes
two spaces or more, and one where a word only was divided.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import chain, pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NARROW = {2: 0.1, 3: 0.5}  # font sizes: a piece of two or three letters that is narrower lacks the outer two
MIN_NARROW, MOST_NARROW = 3, 0.4  # of such pieces of a document, and the part of them that are so narrow
MIN_BACKWARDS = 3  # words of a font that begin as none does
_LETTER = "\u05d0-\u05f4\u0620-\u064a\u066e-\u06d3\ufffd"
_LETTERS = re.compile(f"[{_LETTER}]")
_LAM_ALEF = re.compile("\u0644[\u064b-\u0652]*[\u0622\u0623\u0625\u0627]")
_WORD = re.compile(f"[{_LETTER}]{{2,}}")
_LEFT_TO_RIGHT = re.compile(r"[\dA-Za-z](?:[\dA-Za-z.,:/@_+-]*[\dA-Za-z%])?")
_ONLY_LAST = frozenset("ךםןףץةى")  # letters that stand at the ends of words alone
_MARK = "[\u0591-\u05bd\u05bf-\u05c7\u064b-\u065f\u0670]+"
_MARKS = re.compile(_MARK)
_ALONE = re.compile(f" {_MARK} (?! )")  # between two letters of a word, or at its end
_THE = re.compile(r"(?<!\w)ا\ufffd(?=\w)")
_NAMED_THE = re.compile(r"(?<!\w)ال(?=\w)")
MIN_THE = 5  # words with an article whose lam has no Unicode


class Piece(NamedTuple):
    """A piece of text: ``x`` and ``y`` in points from the left and from the bottom, the size and name of its font."""

    x: float
    y: float
    width: float
    size: float
    text: str
    font: str = ""


def is_drawn_backwards(pieces: Iterable[Piece]) -> bool:
    """Return whether the boxes of a document's Hebrew and Arabic pieces lack their first and last letters."""
    short = [piece.width < NARROW[length] * piece.size for piece in pieces if (length := _length(piece)) in NARROW]
    return sum(short) >= max(MIN_NARROW, MOST_NARROW * len(short))


def widened(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces of a page of such a document with their boxes widened by two letters of middle width."""
    inner = [(piece.width / piece.size, length - 2) for piece in pieces if (length := _length(piece)) > 3]
    usual = sum(width for width, _ in inner) / max(sum(length for _, length in inner), 1)
    return [
        piece._replace(x=piece.x - usual * piece.size, width=piece.width + 2 * usual * piece.size)
        if _length(piece) > 3 or piece.width / piece.size < usual * (_length(piece) - 1)
        else piece
        for piece in pieces
    ]


def _length(piece: Piece) -> int:
    """Return how many letters are drawn; a lam and alef are one."""
    return len(_LETTERS.findall(_LAM_ALEF.sub("\u0644", piece.text)))


class Joints:
    """Where words end, and where they only were divided, by the plain text.

    Args:
        plain: of a document, with the letters of each word in the order in which they are read.
    """

    def __init__(self, plain: str) -> None:
        self._ends: set[str] = set()
        self._within: set[str] = set()
        divided = [
            [word.split(" ") for word in re.split(r" {2,}|\n", _bare(run)) if word.strip()]
            for run in _ALONE.split(plain)
        ]
        for run in divided:
            self._ends |= {_place("".join(word), "".join(following)) for word, following in pairwise(run)}
        for parts in chain(*divided):
            for at in range(1, len(parts)):  # one space also stands between two lines
                self._within |= _places("".join(parts[:at]), "".join(parts[at:])) - self._ends
            for part in parts:
                for at in range(1, len(part)):
                    self._within |= _places(part[:at], part[at:])

    def are_words(self, before: str, after: str) -> bool | None:
        """Return whether a word ends between two pieces; None where the plain text does not tell."""
        word, following = _bare(before).rpartition(" ")[2], _bare(after).partition(" ")[0]
        if not word or not following:
            return False if after and not following else None  # a mark belongs to its letter
        place = _place(word, following)
        is_number = word[-1].isdigit() or following[0].isdigit()
        is_end, is_within = place in self._ends, place in self._within and not is_number
        return None if is_end == is_within else is_end

    def mended(self, pieces: Iterable[Piece]) -> list[Piece]:
        """Return the pieces without the spaces that stand within a word."""
        return [piece._replace(text=self._joined(piece.text)) if " " in piece.text else piece for piece in pieces]

    def _joined(self, text: str) -> str:
        first, *others = text.split(" ")
        for part in others:
            first += part if self.are_words(first, part) is False else f" {part}"
        return first


def _place(before: str, after: str) -> str:
    return f"{before[-3:]} {after[:2]}"


def _places(before: str, after: str) -> set[str]:
    """Return a place within a word, for a next piece of one letter and for a longer one."""
    return {_place(before, after), _place(before, after[:1])}


def _bare(text: str) -> str:
    """Return a text without marks, and with the letters that its shapes stand for."""
    return _MARKS.sub("", unicodedata.normalize("NFKC", text))


def backwards_fonts(pieces: Iterable[Piece]) -> set[str]:
    """Return the fonts whose words are spelled backwards: many more begin than end with a letter that ends words."""
    texts: dict[str, list[str]] = {}
    for piece in pieces:
        texts.setdefault(piece.font, []).append(piece.text)
    return {font for font, of_font in texts.items() if _is_backwards(" ".join(of_font))}


def _is_backwards(text: str) -> bool:
    words = _WORD.findall(text)
    starts, ends = (sum(word[at] in _ONLY_LAST for word in words) for at in (0, -1))
    return starts >= MIN_BACKWARDS and starts > 2 * ends


def respelled(pieces: Sequence[Piece], fonts: set[str], *, by_words: bool) -> list[Piece]:
    """Return the pieces, those of such fonts in the order in which they are read; numbers and Latin words stay.

    Args:
        pieces: of a page.
        fonts: those that `backwards_fonts` returned.
        by_words: the words of a piece stand in their order, and only the letters of each are backwards.
    """
    return [
        piece._replace(text=" ".join(map(_turned, piece.text.split(" "))) if by_words else _turned(piece.text))
        if piece.font in fonts
        else piece
        for piece in pieces
    ]


def _turned(text: str) -> str:
    return _LEFT_TO_RIGHT.sub(lambda run: run[0][::-1], text)[::-1] if _LETTERS.search(text) else text


def unnamed_letters(text: str) -> str:
    """Return what U+FFFD stands for in an Arabic document: lam and alef, or the lam of its articles."""
    unnamed = len(_THE.findall(text))
    return "\u0644" if unnamed >= MIN_THE and unnamed > 10 * len(_NAMED_THE.findall(text)) else "\u0644\u0627"
