"""Lines at the top and the bottom of most pages of a PDF, with the page's number or without: one page keeps them.

Every passage beside them would be found by their words. pdf-inspector returns them as a block of their own, or as words
of the first or the last paragraph.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from .shape import Block, BlockKind, Page

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_PAGES = 4
MOST = 0.6  # of the pages have the same words there
MAX_WORDS = 24  # of a line
MAX_LINES = 3  # at the top, and at the bottom
_KINDS = (BlockKind.TEXT, BlockKind.HEADING)
_NUMBER = re.compile(r"\d+")


def without_running_lines(pages: Sequence[Page]) -> list[Page]:
    """Return the pages without the lines that most of them begin or end with, which the first one of these keeps."""
    made = list(pages)
    for end in (0, -1):
        for _ in range(MAX_LINES):
            line = _running_line(made, end)
            having = [at for at, page in enumerate(made) if line and _words(page, end)[: len(line)] == line]
            for at in having[1:]:
                made[at] = _without(made[at], end, len(line))
    return made


def _running_line(pages: Sequence[Page], end: int) -> tuple[str, ...]:
    """Return the longest line of words that most pages have at an end; () for none, and for a single word."""
    if len(pages) < MIN_PAGES:
        return ()
    words = [_words(page, end) for page in pages]
    for length in range(MAX_WORDS, 1, -1):
        lines = Counter(one[:length] for one in words if len(one) >= length)
        if lines and lines.most_common(1)[0][1] >= MOST * len(pages):
            return lines.most_common(1)[0][0]
    return ()


def _words(page: Page, end: int) -> tuple[str, ...]:
    """Return the words of a page's first text from its beginning, or of its last (-1) from its end.

    The page's number stands as "#", but in a heading: "Question 3" on the third page is none of these lines.
    """
    if not page.blocks or page.blocks[end].kind not in _KINDS:
        return ()
    number = str(page.number) if page.blocks[end].kind == BlockKind.TEXT else ""
    words = page.blocks[end].text.split()
    words = words[: -MAX_WORDS - 1 : -1] if end else words[:MAX_WORDS]
    return tuple(_NUMBER.sub(lambda found: "#" if found[0] == number else found[0], word) for word in words)


def _without(page: Page, end: int, words: int) -> Page:
    """Return a page without the first words of its first text, or the last of its last one."""
    block = page.blocks[end]
    left = block.text.split()[:-words] if end else block.text.split()[words:]
    kept = (Block(block.kind, " ".join(left), block.level),) if left else ()
    return Page(page.number, (*page.blocks[:-1], *kept) if end else (*kept, *page.blocks[1:]), page.name)
