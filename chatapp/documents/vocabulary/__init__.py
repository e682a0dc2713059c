"""Words of three languages that the search in documents knows: common ones, and those that mean the same.

Read at the first use. A passage that says "theft" is found by a question about something stolen, in any of the three
languages. No dictionary is meant: names, terms of a trade and rare words are found by their letters.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent


@cache
def common_words() -> frozenset[str]:
    """Return the words that are left out of questions, as they are written."""
    return frozenset(" ".join(_lines("common_words.txt")).split())


@cache
def concepts() -> tuple[tuple[str, ...], ...]:
    """Return words that mean about the same, concept by concept, as they are written."""
    return tuple(tuple(line.replace("|", " ").split()) for line in _lines("concepts.txt"))


def _lines(name: str) -> list[str]:
    text = (_FOLDER / name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]
