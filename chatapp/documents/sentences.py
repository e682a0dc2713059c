"""Sentences of an answer that a document has, word for word, though the model has not put them between quotation marks.

Small models copy sentences and forget the marks. A sentence counts only where it is a whole sentence of the page, too:
"pets are allowed" is no sentence of "no pets are allowed".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from chatapp.documents.quotes import MAX_QUOTE

if TYPE_CHECKING:
    from collections.abc import Iterator

LEAST_LETTERS = 20  # letters and digits: shorter ones are in many documents

_ENDS = ".!?\u061f"
# Bounded, so that the search is linear.
_END = re.compile(rf"[{_ENDS}]+(?=[*_\"')\]\u201d\u00bb]{{0,4}}(?:\s|$))")
_LEFT_OUT = re.compile(r"\u2026|\.\.")  # a quote would have words left out there
_BLOCK_QUOTE = re.compile(r" {0,3}>")
_AROUND = " \t*_`#>|\"'()[]\u200e\u200f\u201c\u201d\u201e\u00ab\u00bb\u2022-"


def sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each sentence of an answer begins and ends, with its full stop; none of a block quote, no short ones.

    Args:
        text: of the answer, with spaces in place of its code.
    """
    done = 0
    for stop in _END.finditer(text):
        start = max(done, text.rfind("\n", done, stop.start()) + 1)
        done = stop.end()
        sentence = text[start:done].lstrip(_AROUND)
        start = done - len(sentence)
        if _is_long(sentence) and not _BLOCK_QUOTE.match(text, text.rfind("\n", 0, start) + 1):
            yield start, done


def is_sentence(page: str, start: int, end: int) -> bool:
    """Return whether a part of a page's text is one or more whole sentences of it.

    A sentence begins the page, or after the end of another one, or in a line after one that is not continued: "Not
    allowed:" is.
    """
    before, after = page[max(0, start - 200) : start].rstrip(_AROUND), page[end : end + 20].lstrip(_AROUND)
    last = before.rstrip(_AROUND + "\n")[-1:]
    is_new_line = before.endswith("\n") and last not in ":,;" and not page[start].islower()
    return (last in _ENDS or is_new_line) and after[:1] != "" and after[:1] in _ENDS


def _is_long(sentence: str) -> bool:
    letters = sum(map(str.isalnum, sentence))
    return letters >= LEAST_LETTERS and len(sentence) <= MAX_QUOTE and not _LEFT_OUT.search(sentence)
