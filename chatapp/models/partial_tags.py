"""Tags of models that a stream cuts in two."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def before_partial_tag(text: str, tags: Sequence[str], *, longest: int) -> int:
    """Return where the beginning of one of the tags stands at the end of a text; its length if none does.

    Args:
        text: in any case.
        tags: in lower case.
        longest: the length of the longest of them, or more.
    """
    for start in range(max(0, len(text) - longest + 1), len(text)):
        # In lower case one letter may be two, so an index into the whole text in lower case would be another.
        if any(tag.startswith(text[start:].lower()) for tag in tags):
            return start
    return len(text)
