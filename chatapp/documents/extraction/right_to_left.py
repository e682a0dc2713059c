"""Better blocks for the pages of a PDF whose text runs from right to left, from the pieces of text on them."""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING

from .drawn_backwards import Joints, Piece, backwards_fonts, is_drawn_backwards, respelled, widened
from .positions import Spaces, blocks_of, in_lines, runs_right_to_left, untangled
from .shape import ROWS, Block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pdf_inspector import TextItem

KEPT = 0.7  # of the letters of a page, below which it has lost text
FOREIGN = 0.01  # of its words, above which they are joined or mixed
LONG = 12  # letters of a piece whose place is looked for


class RightToLeft:
    """The pieces of text of a PDF.

    Args:
        items: of all its pages.
        plain: its plain text, which has the spaces that pieces have lost.
    """

    def __init__(self, items: Iterable[TextItem], plain: str) -> None:
        self._pieces: dict[int, list[Piece]] = {}
        for each in items:
            if each.item_type == "text" and (text := each.text.strip()):
                piece = Piece(each.x, each.y, each.width, each.font_size or 10, text, each.font)
                self._pieces.setdefault(each.page, []).append(piece)
        self._spaces = Spaces(plain)
        self._joints = Joints(plain) if is_drawn_backwards(chain(*self._pieces.values())) else None
        self._backwards = backwards_fonts(chain(*self._pieces.values()))

    def better_blocks(self, number: int, blocks: list[Block]) -> list[Block]:
        """Return better blocks of a page; none where there are none better, or it runs from left to right."""
        given = self._pieces.get(number, [])
        pieces = [piece._replace(text=self._spaces.restored(piece.text)) for piece in given]
        if not self._joints and not self._backwards:
            pieces = untangled(pieces, self._spaces)
            return better_blocks(blocks, pieces, {piece.text for piece in pieces} - {piece.text for piece in given})
        if not _runs_right_to_left(pieces):
            return []
        pieces = respelled(pieces, self._backwards, by_words=bool(self._joints))
        return blocks_of(self._joints.mended(widened(pieces)) if self._joints else pieces, self._joints)


def better_blocks(blocks: list[Block], pieces: list[Piece], mended: Iterable[str] = ()) -> list[Block]:
    """Return better blocks of a page whose words are drawn in their order, none where there are none better.

    That is where some of its text is missing or in another order, where it has a table, or where words of it are in no
    piece of text: then the Markdown has joined some, or mixed the letters of two lines.

    Args:
        blocks: those of the Markdown.
        pieces: all of the page.
        mended: texts of pieces that have got their spaces or their letters back.
    """
    if not _runs_right_to_left(pieces):
        return []
    text = " ".join(piece.text for piece in pieces)
    shown = " ".join(block.text for block in blocks)
    has_table = any(block.kind in ROWS for block in blocks)
    words, there = set(re.findall(r"\w+", text)), re.findall(r"\w+", shown)
    foreign = sum(word not in words for word in there)
    is_lacking = has_table or len(shown) < KEPT * len(text) or foreign > FOREIGN * len(there)
    if is_lacking or not _are_in_order(pieces, shown) or any(text not in shown for text in mended):
        return blocks_of(pieces)
    return []


def _runs_right_to_left(pieces: list[Piece]) -> bool:
    return runs_right_to_left(" ".join(piece.text for piece in pieces))


def _are_in_order(pieces: list[Piece], shown: str) -> bool:
    """Return whether a text has the longer pieces from the top to the bottom, and from the right to the left."""
    ordered = chain(*(sorted(line, key=lambda one: -(one.x + one.width)) for line in in_lines(pieces)))
    places = [shown.find(one.text) for one in ordered if len(one.text) >= LONG and shown.count(one.text) == 1]
    return places == sorted(places)
