"""Finds the passages of documents that a question is about: SQLite FTS5 with trigrams, in memory.

The index holds folded text (`chatapp.store.folding`). A question's stems are found anywhere in a word, which serves the
prefixes and endings of Hebrew and Arabic; besides, passages that share many trigrams with the question are found, which
serves other forms of a word and typing mistakes. The two lists are joined by reciprocal rank, as is a further one of
vectors where there are any.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple, Self

from chatapp.documents.stems import stems
from chatapp.store.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from chatapp.documents.chunks import Chunk

MOST_STEMS = 32
MOST_TRIGRAMS = 96
CANDIDATES = 30  # of each list
RANK_CONSTANT = 60  # Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion" (2009)
HEADING_WEIGHT = 0.7  # of words in the headings above a passage, against those in it


class Passage(NamedTuple):
    """A chunk of one of the documents.

    Attributes:
        document: its key.
        place: of the chunk within the document, from 0.
    """

    document: str
    place: int


class PassageIndex:
    """An index of chunks, bounded by what is added to it. Close it at the end, or use it in a ``with``."""

    def __init__(self) -> None:
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            "CREATE VIRTUAL TABLE passages USING fts5(headings, text, document UNINDEXED, place UNINDEXED,"
            " tokenize = 'trigram')"
        )

    def __enter__(self) -> Self:
        """Return it, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def __del__(self) -> None:
        """Close it, where a cache was the last to hold it."""
        self.close()

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    @property
    def size(self) -> int:
        """The bytes that it takes."""
        rows = self._database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(rows.fetchone()[0])

    def add(self, document: str, chunks: Iterable[Chunk]) -> None:
        """Add the chunks of a document under its key, in place of those that it had."""
        self.remove(document)
        with self._database:
            self._database.executemany(
                "INSERT INTO passages (headings, text, document, place) VALUES (?, ?, ?, ?)",
                ((fold(chunk.headings), fold(chunk.text), document, place) for place, chunk in enumerate(chunks)),
            )

    def remove(self, document: str) -> None:
        """Forget a document, if it is here."""
        with self._database:
            self._database.execute("DELETE FROM passages WHERE document = ?", (document,))

    def search(self, question: str, limit: int = 5) -> list[Passage]:
        """Return the passages that fit a question best, the best first; none if no word of it is anywhere."""
        terms = stems(question)[:MOST_STEMS]
        trigrams = list(dict.fromkeys(three for term in terms for three in _trigrams(term)))[:MOST_TRIGRAMS]
        return joined([self._ranked(terms), self._ranked(trigrams)])[:limit]

    def _ranked(self, terms: Sequence[str]) -> list[Passage]:
        quoted = ['"' + term.replace('"', '""') + '"' for term in terms if len(term) >= 3]
        if not quoted:
            return []
        rows = self._database.execute(
            "SELECT document, place FROM passages WHERE passages MATCH ?"
            " ORDER BY bm25(passages, ?, 1.0), rowid LIMIT ?",
            (" OR ".join(quoted), HEADING_WEIGHT, CANDIDATES),
        )
        with closing(rows):
            return [Passage(document, place) for document, place in rows]


def joined(lists: Iterable[Sequence[Passage]]) -> list[Passage]:
    """Return the passages of several ranked lists, by the sum of their reciprocal ranks."""
    scores: dict[Passage, float] = {}
    for ranked in lists:
        for rank, passage in enumerate(ranked, 1):
            scores[passage] = scores.get(passage, 0) + 1 / (RANK_CONSTANT + rank)
    return sorted(scores, key=lambda passage: -scores[passage])


def _trigrams(term: str) -> list[str]:
    return [term[at : at + 3] for at in range(len(term) - 2)]
