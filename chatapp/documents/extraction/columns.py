"""The two columns of a page whose text runs from right to left."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .drawn_backwards import Piece

STEPS = 60  # places between the columns that are tried
MIDDLE = 0.3  # of the width of a page: what is nearer to its sides divides no columns
MOST_ACROSS = 0.15  # of the pieces: titles, and lines above and below the columns
LEAST = 0.25  # of the pieces, in each column


def in_columns(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """Return the pieces in the order of their columns, the right one first; none where there are no two columns.

    What goes across both columns divides them: the columns above it come before it, those below after it.
    """
    start, end = min(piece.x for piece in pieces), max(piece.x + piece.width for piece in pieces)
    tried = [start + (end - start) * (MIDDLE + (1 - 2 * MIDDLE) * step / STEPS) for step in range(STEPS + 1)]
    across = [sum(_is_across(piece, x) for piece in pieces) for x in tried]
    fewest = [x for x, number in zip(tried, across, strict=True) if number == min(across)]
    middle = fewest[len(fewest) // 2]
    dividing = sorted((piece for piece in pieces if _is_across(piece, middle)), key=lambda one: -one.y)
    right = [piece for piece in pieces if piece.x >= middle]
    left = [piece for piece in pieces if piece.x + piece.width <= middle]
    if len(dividing) > MOST_ACROSS * len(pieces) or min(len(right), len(left)) < LEAST * len(pieces):
        return []
    groups: list[list[Piece]] = []
    for number in range(len(dividing) + 1):
        groups += [[piece for piece in side if _above(piece, dividing) == number] for side in (right, left)]
        groups.append(dividing[number : number + 1])
    return [group for group in groups if group]


def _is_across(piece: Piece, x: float) -> bool:
    return piece.x < x < piece.x + piece.width


def _above(piece: Piece, dividing: Sequence[Piece]) -> int:
    """Return how many of the dividing pieces are above a piece."""
    return sum(other.y > piece.y for other in dividing)
