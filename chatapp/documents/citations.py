"""Which quotes of an answer are in documents, word for word: the others are no citations.

What stands between any two quotation marks of a paragraph may be a quote: Hebrew has them within words (an acronym, a
prefix before a quote), and a document has some of its own. So may the lines of a block quote, each and together, and a
sentence that the model copied without marks. Only what is found in a page counts, the longest first.
"""

from __future__ import annotations

import re
import time
from itertools import chain, islice, starmap
from typing import TYPE_CHECKING, NamedTuple

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.quotes import MAX_QUOTE, Quotation, QuoteFinder
from chatapp.documents.sentences import is_sentence, sentences
from chatapp.domain.conversation import Citation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_CITATIONS = 100
MAX_SPANS = 600  # that are looked for
ENDS_PER_QUOTE = 6  # quotation marks after one, of which each may be its end
KEPT_BYTES = 40_000  # of the quotes that are stored with an answer; Firestore has room for 120,000 beside its text
SECONDS = 2.0  # for one document, and for a quote that has begun

_MARKS = '"\u201c\u201d\u201e\u201f\u00ab\u00bb\u2039\u203a\u05f4\u275d\u275e\u300c\u300d\uff02'
_MARK = re.compile(f"[{_MARKS}]")
_OPENS_ONLY = "\u201e\u201f\u300c"
_CLOSES_ONLY = "\u300d"
_BLOCK_QUOTE = re.compile(r"^ {0,3}>.*(?:\n {0,3}>.*)*", re.MULTILINE)
_LINE = re.compile(r".+")
_LINE_START = re.compile(r"^ {0,3}> ?", re.MULTILINE)
_PARAGRAPH_END = re.compile(r"\n\s*\n")
# Bounded, since backticks may have no end: the search is linear.
_CODE = re.compile(r"^(```|~~~).*?^\1|(?<!`)(`+)(?!`).{1,1000}?(?<!`)\2(?!`)", re.DOTALL | re.MULTILINE)


class Span(NamedTuple):
    """A part of an answer that may be a quote: with its quotation marks, lines of a block quote, or a sentence."""

    start: int
    end: int

    def quote_in(self, text: str) -> str:
        """Return it without its quotation marks, or without those of its lines."""
        whole = text[self.start : self.end]
        return whole[1:-1] if whole[0] in _MARKS else _LINE_START.sub("", whole)

    def is_sentence_in(self, text: str) -> bool:
        """Return whether it has no marks of a quote."""
        return text[self.start] not in _MARKS and not _BLOCK_QUOTE.match(text, self.start)


class Place(NamedTuple):
    """Where a quote is in a document: positions in the text of the page, in UTF-16 code units; and its words there."""

    page: int
    start: int
    end: int
    words: str


def spans(text: str) -> list[Span]:
    """Return the parts of an answer that may be quotes.

    Code has none: its quotation marks mean something else.
    """
    text = _CODE.sub(lambda code: " " * len(code[0]), text)
    return list(islice(chain(_spans(text), _block_quotes(text), starmap(Span, sentences(text))), MAX_SPANS))


def _spans(text: str) -> Iterator[Span]:
    start = 0
    for end in [*(gap.start() for gap in _PARAGRAPH_END.finditer(text)), len(text)]:
        yield from _spans_between(text, [mark.start() for mark in _MARK.finditer(text, start, end)])
        start = end


def _block_quotes(text: str) -> Iterator[Span]:
    for block in _BLOCK_QUOTE.finditer(text):
        lines = [Span(*line.span()) for line in _LINE.finditer(text, *block.span())]
        whole = Span(*block.span())
        yield from (span for span in dict.fromkeys((whole, *lines)) if span.end - span.start <= MAX_QUOTE)


def _spans_between(text: str, marks: list[int]) -> Iterator[Span]:
    for number, start in enumerate(marks):
        if text[start] in _CLOSES_ONLY or text[start + 1 : start + 2].isspace():
            continue
        for end in reversed(marks[number + 1 : number + 1 + ENDS_PER_QUOTE]):
            is_end = text[end] not in _OPENS_ONLY and not text[end - 1].isspace()
            if is_end and 1 < end - start <= MAX_QUOTE:
                yield Span(start, end + 1)


def places(text: str, looked_for: Iterable[Span], pages: Iterable[Page]) -> dict[Span, Place]:
    """Return where parts of an answer are in a document, each on one page; those that are nowhere are left out.

    Args:
        text: of the answer.
        looked_for: parts of it.
        pages: of the document.
    """
    pages = list(pages)
    finder = QuoteFinder(pages)
    texts = {page.number: page.text for page in pages}
    where: dict[Span, Place] = {}
    deadline = time.monotonic() + SECONDS
    for span in looked_for:
        if time.monotonic() > deadline:
            break
        quotation = finder.find(span.quote_in(text))
        if quotation is not None and not quotation.continues:
            page = texts[quotation.page]
            if span.is_sentence_in(text) and not is_sentence(page, quotation.start, quotation.end):
                continue
            words = page[quotation.start : quotation.end]
            start = utf16_length(page[: quotation.start])
            where[span] = Place(quotation.page, start, start + utf16_length(words), words)
    return where


class Shelf(NamedTuple):
    """What a citation keeps of a collection's document, which may be removed before the answer is."""

    collection: str
    name: str


def citations(
    text: str, quotes: Mapping[str, Mapping[Span, Place]], shelves: Mapping[str, Shelf]
) -> tuple[Citation, ...]:
    """Return the citations of an answer, which do not overlap: the first quote, and of two that begin alike the longer.

    Args:
        text: of the answer.
        quotes: where they are, by the id of each document.
        shelves: of the documents that belong to a collection, by their ids.
    """
    chosen: list[Citation] = []
    at, room = 0, KEPT_BYTES
    where = {span: (document, place) for document, of_document in quotes.items() for span, place in of_document.items()}
    for span in sorted(where, key=lambda span: (span.start, -span.end)):
        if span.start >= at and len(chosen) < MAX_CITATIONS:
            at = span.end
            document, place = where[span]
            shelf = shelves.get(document)
            quote = place.words if shelf and _bytes(place.words) <= room else ""
            room -= _bytes(quote)
            chosen.append(
                Citation(
                    end=utf16_length(text[: span.end]),
                    document=document,
                    page=place.page,
                    page_start=place.start,
                    page_end=place.end,
                    collection=shelf.collection if shelf else "",
                    name=shelf.name if shelf else "",
                    quote=quote,
                )
            )
    return tuple(chosen)


def true_citations(text: str, cited: Iterable[Citation], pages: Iterable[Page]) -> set[Citation]:
    """Return those citations of a document that are as `citations` makes them, of quotes in its pages.

    Args:
        text: of the answer.
        cited: its citations of this document.
        pages: of the document.
    """
    by_end = _by_end(cited)
    looked_for = [span for span in spans(text) if utf16_length(text[: span.end]) in by_end]
    return {
        citation
        for span, place in places(text, looked_for, pages).items()
        for citation in by_end[utf16_length(text[: span.end])]
        if (citation.page, citation.page_start, citation.page_end) == place[:3]
    }


def true_quotes(text: str, cited: Iterable[Citation]) -> set[Citation]:
    """Return those citations of a collection's documents whose ``quote`` is what the answer quotes there.

    Their documents are not needed: each quote is read as a page of which the answer quotes the whole.

    Args:
        text: of the answer.
        cited: its citations of documents of a collection.
    """
    by_end = _by_end(one for one in cited if one.quote and one.page_end - one.page_start == utf16_length(one.quote))
    true: set[Citation] = set()
    room = KEPT_BYTES
    for span in spans(text):
        for citation in by_end.get(utf16_length(text[: span.end]), ()):
            whole = Quotation(1, 0, len(citation.quote))
            page = Page(1, (Block(BlockKind.TEXT, citation.quote),))
            if citation not in true and room >= 0 and QuoteFinder([page]).find(span.quote_in(text)) == whole:
                room -= _bytes(citation.quote + citation.name)
                true.add(citation)
    return true


def _by_end(cited: Iterable[Citation]) -> dict[int, list[Citation]]:
    by_end: dict[int, list[Citation]] = {}
    for citation in cited:
        by_end.setdefault(citation.end, []).append(citation)
    return by_end


def _bytes(text: str) -> int:
    return len(text.encode(errors="replace"))


def utf16_length(text: str) -> int:
    """Return the length of a text as JavaScript counts it."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
