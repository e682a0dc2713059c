"""What a search shows of a text: the words around the first place where it was found."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from chatapp.store.folding import fold, unfolded
from chatapp.store.values import storable

AROUND = 60  # characters on each side
MOST_WORDS = 16
MOST_LETTERS = 200
_JOINER = "\u200d"


class Snippet(NamedTuple):
    """A part of a text, as it was written; "…" stands where the text goes on."""

    before: str
    match: str
    after: str


def words_of(query: str) -> list[str]:
    """Return the words of a query, folded, each once and the longest first; none of a query without a letter."""
    words = sorted(set(fold(storable(query[:MOST_LETTERS])).split()), key=lambda word: (-len(word), word))
    return words[:MOST_WORDS]


def has_all(folded: str, words: list[str]) -> bool:
    """Return whether a folded text has all the words, anywhere in it."""
    return all(word in folded for word in words)


def snippet(text: str, words: list[str]) -> Snippet:
    """Return the surroundings of the first of the words in a text, cut between what people see as characters."""
    folded = fold(text)
    places = [(place, -len(word)) for word in words if (place := folded.find(word)) >= 0]
    place, length = min(places, default=(0, 0))
    start = unfolded(text, place)
    end = unfolded(text, place - length - 1) + 1 if length else start
    start, end = _back(text, start), _on(text, min(end, len(text)))
    first, last = _on(text, max(start - AROUND, 0)), _back(text, min(end + AROUND, len(text)))
    before, after = text[first:start], text[end:last]
    return Snippet("…" * (first > 0) + before, text[start:end], after + "…" * (last < len(text)))


def _back(text: str, place: int) -> int:
    """Return the last place before or at this one where a character begins, as people see characters."""
    while 0 < place < len(text) and not _begins(text, place):
        place -= 1
    return place


def _on(text: str, place: int) -> int:
    """Return the first place after or at this one where a character begins."""
    while 0 < place < len(text) and not _begins(text, place):
        place += 1
    return place


def _begins(text: str, place: int) -> bool:
    """Return whether a character begins here: the rules of Unicode's annex 29 that matter, without its tables."""
    last, this = text[place - 1], text[place]
    if last == "\r" and this == "\n":
        return False
    if unicodedata.category(this) in ("Mn", "Mc", "Me") or this == _JOINER or "\U0001f3fb" <= this <= "\U0001f3ff":
        return False
    if "\U000e0020" <= this <= "\U000e007f":  # the letters of a flag such as Scotland's
        return False
    if _is_region(this):
        flags = 0
        while flags < place and _is_region(text[place - 1 - flags]):
            flags += 1
        return flags % 2 == 0
    if "\u1160" <= this <= "\u11ff":  # Korean vowels and final consonants that are written apart
        return False
    return last != _JOINER


def _is_region(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
