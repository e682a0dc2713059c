"""Finds what a model quotes in the document: what is not there is no citation.

White space, letter case, Hebrew points and Arabic vowels, kinds of quotation marks and hyphens, a hyphen at the end of
a line, and Markdown's marks make no difference; words, numbers and their signs do. A quote begins and ends with whole
words. "..." in a quote stands for words that were left out, on the same page.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.store.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chatapp.documents.extraction.shape import Page

MIN_LETTERS = 8  # letters and digits of a quote; of each part where words are left out
MAX_QUOTE = 2_000  # characters
MAX_GAP = 1_000  # characters that one "..." may stand for

_HYPHENS = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u05be\ufe63\uff0d"
_GAP = re.compile(r"\s*(?:\[?(?:…|\.{3,})\]?|\[…\])\s*")
_EDGES = " \t\n\r\"'“”„«»‘’‚`*_|.,;:!?؟،؛()[]"
# Of a word of plain letters, each becomes one letter. A hyphen before a digit may be a minus.
_TOKENS = re.compile(
    r"(?P<word>[A-Za-z0-9\u05d0-\u05ea\u0621-\u063a\u0641-\u064a]+)"
    rf"|(?P<broken>(?<=[^\W\d_])[{_HYPHENS}]\s+(?=[^\W\d_]))"
    rf"|(?P<space>(?:[\s|]|(?<![*`])[*`#](?=\s)|[{_HYPHENS}](?!\d))+)"
    r"|(?P<mark>\*{1,3}|`+|_{2}|^#{1,6})|(?P<letter>.)",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Quotation:
    """Where a quote is in a document.

    Attributes:
        page: the number of the page on which it begins.
        start: of it in the text of that page (`Page.text`).
        end: of it there; the length of the text if it continues on the next page.
        continues: whether it does.
    """

    page: int
    start: int
    end: int
    continues: bool = False


class QuoteFinder:
    """Finds quotes in the pages of a document.

    Args:
        pages: of the document, in their order.
    """

    def __init__(self, pages: Iterable[Page]) -> None:
        self._pages = [(page.number, page.text) for page in pages]
        self._starts: list[int] = []  # of each page in the text of all
        at = 0
        for _, text in self._pages:
            self._starts.append(at)
            at += len(text) + 1
        self._folded, self._places = _folded("\n".join(text for _, text in self._pages))

    def find(self, quote: str) -> Quotation | None:
        """Return where a quote is first, on one page if possible; None if it is nowhere, or too short to tell."""
        if len(quote) > MAX_QUOTE:
            return None
        parts = [_folded(part.strip(_EDGES))[0].strip() for part in _GAP.split(quote.strip(_EDGES))]
        parts = [part for part in parts if part]
        if not parts or any(sum(map(str.isalnum, part)) < MIN_LETTERS for part in parts):
            return None
        on_two_pages: Quotation | None = None
        for start in self._occurrences(parts[0], 0, len(self._folded)):
            end = start + len(parts[0])
            for part in parts[1:]:
                end = next((at + len(part) for at in self._occurrences(part, end, end + MAX_GAP + len(part))), -1)
                if end < 0:
                    break
            if end > 0 and (len(parts) == 1 or self._page_at(start) == self._page_at(end - 1)):
                quotation = self._quotation(start, end)
                if not quotation.continues:
                    return quotation
                on_two_pages = on_two_pages or quotation
        return on_two_pages

    def _occurrences(self, part: str, start: int, stop: int) -> Iterator[int]:
        """Yield where a part is, as whole words."""
        at = self._folded.find(part, start, stop)
        while at >= 0:
            if _is_whole(self._folded, at, at + len(part)):
                yield at
            at = self._folded.find(part, at + 1, stop)

    def _page_at(self, at: int) -> int:
        return bisect_right(self._starts, self._places[at]) - 1

    def _quotation(self, start: int, end: int) -> Quotation:
        index = self._page_at(start)
        number, text = self._pages[index]
        begins, ends = (place - self._starts[index] for place in (self._places[start], self._places[end - 1] + 1))
        return Quotation(number, begins, min(ends, len(text)), continues=ends > len(text))


def _is_whole(text: str, start: int, end: int) -> bool:
    """Return whether a part of a folded text begins and ends with whole words and numbers."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or after[:1].isalnum():
        return False
    if text[start].isdigit() and (before[-1:] == "-" or (before[-1:] in ".,/" and before[:1].isdigit())):
        return False  # "5" of "-5" and of "1.5"
    continues = after[:1] == "%" or (after[:1] in {".", ",", "/"} and after[1:2].isdigit())
    return not (text[end - 1].isdigit() and continues)  # "5" of "5%" and of "5.1"


def _folded(text: str) -> tuple[str, array[int]]:
    """Return a text as quotes are compared, and which character of it each character became."""
    letters: list[str] = []
    places = array("I")  # a list would take ten times as much
    for token in _TOKENS.finditer(text):
        if token.lastgroup == "word":
            letters.append(fold(token[0]))
            places.extend(range(*token.span()))
        elif token.lastgroup == "space":
            if letters and letters[-1] != " ":
                letters.append(" ")
                places.append(token.start())
        elif token.lastgroup == "letter":
            for letter in fold(token[0]):
                letters.append("-" if letter in _HYPHENS else letter)
                places.append(token.start())
    return "".join(letters), places
