"""The passages of several documents that a question is about.

Each document has an index of its own, so that it is kept or dropped by itself. The best passages of each are ranked
once more, in one index: what two indexes say of two documents cannot be compared.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.documents.chunks import chunks_of
from chatapp.documents.index import CANDIDATES, Passage, PassageIndex, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chatapp.documents.chunks import Chunk
    from chatapp.documents.extraction.shape import Page

MOST = 16  # passages in a prompt
BEGINNINGS = 8  # the first passages of a document, for questions about all of it
_OVERHEAD = 40  # bytes of the line above a passage, without its headings
_CHUNK_BYTES = 400  # of its objects in memory


@dataclass(frozen=True, slots=True)
class Candidates:
    """The passages of a document that may be shown.

    Attributes:
        best: places of those that fit the question, the best first.
        chunks: these and the first ones, by their places.
    """

    best: Sequence[int]
    chunks: Mapping[int, Chunk]


@dataclass(frozen=True, slots=True)
class IndexedDocument:
    """A document that can be searched.

    Attributes:
        size: bytes in memory.
    """

    chunks: Sequence[Chunk]
    index: PassageIndex
    size: int

    @classmethod
    def of(cls, pages: Iterable[Page]) -> IndexedDocument:
        """Return the document with these pages; one of 800,000 characters takes half a second."""
        chunks, index = chunks_of(pages), PassageIndex()
        index.add("", chunks)
        text = sum(_bytes_of(chunk) for chunk in chunks)
        return cls(chunks, index, index.size + text + _CHUNK_BYTES * len(chunks))

    def candidates(self, questions: Sequence[str]) -> Candidates:
        """Return the passages that may be shown for questions, of which the first weighs most."""
        best = [passage.place for passage in _ranked(self.index, questions)][:CANDIDATES]
        first = range(min(BEGINNINGS, len(self.chunks)))
        return Candidates(best, {place: self.chunks[place] for place in (*best, *first)})


def chosen(documents: Mapping[str, Candidates], questions: Sequence[str], most: int) -> dict[str, dict[int, Chunk]]:
    """Return the passages to show, by the id of their document and their place; at least one.

    Args:
        documents: their candidates.
        questions: of which the first weighs most.
        most: bytes that they may take; the last one is cut to fit.
    """
    shown: dict[str, dict[int, Chunk]] = {}
    left, number = most, 0
    for document, place in dict.fromkeys((*ranked(documents, questions), *_beginnings(documents))):
        chunk = documents[document].chunks[place]
        size = _bytes_of(chunk) + _OVERHEAD
        if number and (size > left or number == MOST):
            break
        if size > left:
            text = chunk.text.encode()[: max(left - size + len(chunk.text.encode()), 200)].decode(errors="ignore")
            chunk = dataclasses.replace(chunk, text=text)
        shown.setdefault(document, {})[place] = chunk
        left, number = left - size, number + 1
    return shown


def ranked(documents: Mapping[str, Candidates], questions: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Yield the best passages of all documents, the best first: their document's id and their place in it."""
    if len(documents) == 1:
        for document, candidates in documents.items():
            yield from ((document, place) for place in candidates.best)
        return
    with PassageIndex() as index:
        for document, candidates in documents.items():
            index.add(document, [candidates.chunks[place] for place in candidates.best])
        for passage in _ranked(index, questions):
            yield passage.document, documents[passage.document].best[passage.place]


def _beginnings(documents: Mapping[str, Candidates]) -> Iterator[tuple[str, int]]:
    for place in range(BEGINNINGS):
        yield from ((document, place) for document in documents if place in documents[document].chunks)


def _ranked(index: PassageIndex, questions: Sequence[str]) -> list[Passage]:
    return joined([index.search(question, CANDIDATES) for question in questions])


def _bytes_of(chunk: Chunk) -> int:
    return len(chunk.text.encode()) + len(chunk.headings.encode())
