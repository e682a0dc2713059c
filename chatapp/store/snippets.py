"""Snippets of search results: the text around the first match."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, NamedTuple

from chatapp.store.folding import fold, unfolded
from chatapp.store.values import storable

if TYPE_CHECKING:
    from collections.abc import Sequence

AROUND = 60  # characters on each side
MOST_WORDS = 16
MOST_LETTERS = 200
_JOINER = "\u200d"


class Snippet(NamedTuple):
    """A part of a text as it was written, with "…" where the text continues."""

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


def first_match(texts: Sequence[tuple[str, str]], words: list[str]) -> int:
    """Return which of the parts of a message, each with its folded text, shows best why it matches.

    The first part that has all the words, else the first that has any.
    """
    for has in (has_all, _has_any):
        for number, (_, folded) in enumerate(texts):
            if has(folded, words):
                return number
    return 0


def _has_any(folded: str, words: list[str]) -> bool:
    return any(word in folded for word in words)


def snippet(text: str, words: list[str]) -> Snippet:
    """Return the text around the first match of any of the words, cut between graphemes."""
    folded = fold(text)
    matches = [(index, -len(word)) for word in words if (index := folded.find(word)) >= 0]
    index, length = min(matches, default=(0, 0))
    start = unfolded(text, index)
    end = unfolded(text, index - length - 1) + 1 if length else start
    start, end = _back(text, start), _on(text, min(end, len(text)))
    first, last = _on(text, max(start - AROUND, 0)), _back(text, min(end + AROUND, len(text)))
    before, after = text[first:start], text[end:last]
    return Snippet("…" * (first > 0) + before, text[start:end], after + "…" * (last < len(text)))


def _back(text: str, index: int) -> int:
    """Return the index of the last grapheme that begins at or before this one."""
    while 0 < index < len(text) and not _begins(text, index):
        index -= 1
    return index


def _on(text: str, index: int) -> int:
    """Return the index of the first grapheme that begins at or after this one."""
    while 0 < index < len(text) and not _begins(text, index):
        index += 1
    return index


def _begins(text: str, index: int) -> bool:
    """Return whether a grapheme begins here: the common rules of Unicode's annex 29, without its tables."""
    last, this = text[index - 1], text[index]
    if last == "\r" and this == "\n":
        return False
    if unicodedata.category(this) in ("Mn", "Mc", "Me") or this == _JOINER or "\U0001f3fb" <= this <= "\U0001f3ff":
        return False
    if "\U000e0020" <= this <= "\U000e007f":  # the letters of a flag such as Scotland's
        return False
    if _is_region(this):
        flags = 0
        while flags < index and _is_region(text[index - 1 - flags]):
            flags += 1
        return flags % 2 == 0
    if "\u1160" <= this <= "\u11ff":  # Korean vowels and final consonants that are written apart
        return False
    return last != _JOINER


def _is_region(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
