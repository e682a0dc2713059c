"""Cuts documents into chunks for finding passages: along headings, pages, paragraphs and rows of tables.

A chunk never crosses a page, so that its page can be named. It carries the headings above it, and a chunk of rows the
header of their table: "Costs > Rent" and "Month | Sum" are what its words are asked for by.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from chatapp.documents.extraction.shape import ROWS, BlockKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chatapp.documents.extraction.shape import Page

TARGET = 1_000  # characters; some 250 tokens of English, 400 of Hebrew
MOST = 1_600
MAX_HEADINGS = 300  # characters of the headings above a chunk
MAX_HEADER = 400  # characters of a table's header that are repeated

_SENTENCE_END = re.compile(r"(?<=[.!?؟…。])[\"'”»)\]]?\s+|\n+")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document.

    Attributes:
        page: its page's number.
        headings: those above it, the highest first, joined by " > "; may be empty.
        text: what the page has; a chunk of rows begins with their header.
    """

    page: int
    headings: str
    text: str


@dataclass(slots=True)
class _Cutter:
    headings: list[tuple[int, str]] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)
    header: str = ""
    length: int = 0

    def cut(self, page: Page) -> Iterator[Chunk]:
        self.header = ""
        for block in page.blocks:
            if block.kind not in ROWS:
                yield from self._leave_table(page)
            if block.kind == BlockKind.HEADING:
                yield from self._end(page)
                self.headings = [above for above in self.headings if above[0] < block.level]
                self.headings.append((block.level, block.text))
                self._add(block.text)
            elif block.kind == BlockKind.HEADER_ROW:
                yield from self._leave_table(page)
                self.header = block.text[:MAX_HEADER]
                yield from self._place(page, block.text)
            else:
                yield from self._place(page, block.text)
        yield from self._end(page)

    def _leave_table(self, page: Page) -> Iterator[Chunk]:
        if self.header:
            self.header = ""
            if self.length >= TARGET / 2:
                yield from self._end(page)

    def _place(self, page: Page, text: str) -> Iterator[Chunk]:
        for part in _parts(text):
            if self.length and self.length + len(part) > (MOST if self.length < TARGET / 2 else TARGET):
                yield from self._end(page)
                if self.header and self.header != part:
                    self._add(self.header)
            self._add(part)

    def _add(self, text: str) -> None:
        self.pieces.append(text)
        self.length += len(text) + 1

    def _end(self, page: Page) -> Iterator[Chunk]:
        text = "\n".join(self.pieces)
        self.pieces, self.length = [], 0
        above = " > ".join(text for _, text in self.headings)
        if text.strip():
            yield Chunk(page.number, above[:MAX_HEADINGS], text)


def chunks_of(pages: Iterable[Page]) -> list[Chunk]:
    """Return the chunks of a document, in its order; their texts together have every block of it."""
    cutter = _Cutter()
    made: list[Chunk] = []
    for page in pages:
        if page.name:  # of a sheet
            cutter.headings = [(0, page.name)]
        made += cutter.cut(page)
    return _with_lone_headings(made)


def _with_lone_headings(chunks: list[Chunk]) -> list[Chunk]:
    """Join chunks that are a heading alone with the next one of the page: "Chapter 1" and its first section."""
    joined: list[Chunk] = []
    for chunk in chunks:
        last = joined[-1] if joined else None
        if last and last.page == chunk.page and last.headings.endswith(last.text) and len(last.text) < TARGET / 4:
            joined[-1] = Chunk(chunk.page, chunk.headings, f"{last.text}\n{chunk.text}")
        else:
            joined.append(chunk)
    return joined


def _parts(text: str) -> Iterator[str]:
    """Yield a text in parts of at most `MOST` characters, cut behind sentences, else behind words."""
    while len(text) > MOST:
        ends = [match.end() for match in _SENTENCE_END.finditer(text, TARGET // 2, MOST)]
        end = ends[-1] if ends else text.rfind(" ", TARGET // 2, MOST) + 1 or MOST
        yield text[:end].rstrip()
        text = text[end:]
    if text.strip():
        yield text
