"""Finds the passages of documents that a question is about: SQLite FTS5 over the forms of their words.

The index has no texts. What does not fit into its cache is in a temporary file, which has no name and is gone with the
process: so the documents of a large collection take little memory. A word of a question that no passage has, such as
one with a typing mistake, is replaced by words that resemble it.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_right
from contextlib import closing
from difflib import get_close_matches
from typing import TYPE_CHECKING, NamedTuple, Self

from chatapp.documents.stems import forms, indexed, query_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import TracebackType

    from chatapp.documents.chunks import Chunk

MAX_WORDS = 32  # of a question
CANDIDATES = 40
RANK_CONSTANT = 60  # Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion" (2009)
HEADING_WEIGHT = 0.5  # of words in the headings above a passage, against those in it
CACHE_BYTES = 8_000_000  # of an index in memory
MIN_RESEMBLING = 5  # letters of a word that is replaced by others
MAX_RESEMBLING = 3
RESEMBLANCE = 0.75  # of `difflib`; one wrong letter of five is 0.8


class Passage(NamedTuple):
    """A chunk of one of the documents.

    Attributes:
        document: its key.
        place: of the chunk within the document, from 0.
    """

    document: str
    place: int


class PassageIndex:
    """An index of the chunks of documents. Close it at the end, or use it in a ``with``."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", check_same_thread=False)  # in memory, then in a temporary file
        self._database.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}")
        self._database.execute("PRAGMA journal_mode = OFF")
        self._database.execute("PRAGMA synchronous = OFF")
        self._database.execute(
            "CREATE VIRTUAL TABLE passages USING fts5(headings, text, content = '', tokenize = 'porter unicode61')"
        )
        self._database.execute("CREATE VIRTUAL TABLE vocabulary USING fts5vocab(passages, row)")
        self._documents: list[str] = []
        self._first: list[int] = []  # row of each document, from 1
        self._next = 1

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
    def documents(self) -> frozenset[str]:
        """The keys of its documents."""
        return frozenset(self._documents)

    @property
    def size(self) -> int:
        """The bytes that it takes in memory and in its file."""
        rows = self._database.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        return int(rows.fetchone()[0])

    def add(self, document: str, chunks: Iterable[Chunk]) -> None:
        """Add the chunks of a document, which cannot be removed again; one with its key stays as it is."""
        if document in self._documents:
            return
        rows = [(row, indexed(chunk.headings), indexed(chunk.text)) for row, chunk in enumerate(chunks, self._next)]
        with self._database:
            self._database.executemany("INSERT INTO passages (rowid, headings, text) VALUES (?, ?, ?)", rows)
        self._documents.append(document)
        self._first.append(self._next)
        self._next += len(rows)

    def search(self, question: str, limit: int = 5) -> list[Passage]:
        """Return the passages that fit a question best, the best first; none if no word of it is anywhere."""
        terms = dict.fromkeys(term for word in query_words(question)[:MAX_WORDS] for term in self._terms(word))
        if not terms:
            return []
        rows = self._database.execute(
            "SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY bm25(passages, ?, 1.0), rowid LIMIT ?",
            (_any(terms), HEADING_WEIGHT, limit),
        )
        with closing(rows):
            return [self._passage(row) for (row,) in rows]

    def _passage(self, row: int) -> Passage:
        number = bisect_right(self._first, row) - 1
        return Passage(self._documents[number], row - self._first[number])

    def _terms(self, word: str) -> Sequence[str]:
        terms = forms(word)
        if len(word) < MIN_RESEMBLING or self._has(terms):
            return terms
        rows = self._database.execute(
            "SELECT term FROM vocabulary WHERE instr(term, ?1)"
            " OR substr(term, 1, 1) = substr(?1, 1, 1) AND length(term) BETWEEN length(?1) - 2 AND length(?1) + 2",
            (word,),
        )
        with closing(rows):
            candidates = [term for (term,) in rows]
        containing = sorted((term for term in candidates if word in term), key=len)[:MAX_RESEMBLING]
        return [*containing, *get_close_matches(word, candidates, MAX_RESEMBLING, RESEMBLANCE)]

    def _has(self, terms: Iterable[str]) -> bool:
        rows = self._database.execute("SELECT 1 FROM passages WHERE passages MATCH ? LIMIT 1", (_any(terms),))
        with closing(rows):
            return rows.fetchone() is not None


def _any(terms: Iterable[str]) -> str:
    """Return a query that any of some terms fits; they have no quotation marks."""
    return " OR ".join(f'"{term}"' for term in terms)


def joined(lists: Iterable[tuple[float, Sequence[Passage]]]) -> list[Passage]:
    """Return the passages of several ranked lists, by the weighted sum of their reciprocal ranks.

    Args:
        lists: each with its weight.
    """
    scores: dict[Passage, float] = {}
    for weight, ranked in lists:
        for rank, passage in enumerate(ranked, 1):
            scores[passage] = scores.get(passage, 0) + weight / (RANK_CONSTANT + rank)
    return sorted(scores, key=lambda passage: -scores[passage])
