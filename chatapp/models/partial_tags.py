"""Tags of models that a stream cuts in two."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def tags_or_beginnings(tags: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern of the tags, and of the beginnings of tags at the end of a text; case does not matter."""
    return re.compile("|".join(map(_or_beginning, tags)), re.IGNORECASE | re.ASCII)


def _or_beginning(tag: str) -> str:
    first, *others = map(re.escape, tag)
    return first + "".join(rf"(?:\Z|{one}" for one in others) + ")" * len(others)


@lru_cache(maxsize=64)
def _first_characters(tags: tuple[str, ...]) -> frozenset[str]:
    return frozenset(tag[0] for tag in tags)


def before_partial_tag(text: str, tags: tuple[str, ...], *, longest: int) -> int:
    """Return where the beginning of one of the tags stands at the end of a text; its length if none does.

    Args:
        text: in any case.
        tags: in lower case.
        longest: the length of the longest of them, or more.
    """
    first_characters = _first_characters(tags)
    for start in range(max(0, len(text) - longest + 1), len(text)):
        # In lower case one letter may be two, so an index into the whole text in lower case would be another.
        if text[start].lower()[0] not in first_characters:
            continue  # almost every position: a scan of all tags costs as much as the rest of a token
        if any(tag.startswith(text[start:].lower()) for tag in tags):
            return start
    return len(text)
