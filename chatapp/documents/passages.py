"""The passages of several documents that a question is about.

Indexes give candidates. Their texts are ranked once more: by the words of all of them together, since what two indexes
say of two documents cannot be compared, and by shared trigrams, which serves other forms of a word.
"""

from __future__ import annotations

import dataclasses
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from chatapp.documents.index import CANDIDATES, Passage, PassageIndex, joined
from chatapp.documents.stems import query_words
from chatapp.store.folding import fold

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chatapp.documents.chunks import Chunk

MOST = 16  # passages in a prompt
BEGINNINGS = 8  # the first passages of a document, for questions about all of it
WORDS_WEIGHT = 2.0  # of the rank by words, against that by trigrams
MAX_TRIGRAMS = 96
_OVERHEAD = 40  # bytes of the line above a passage, without its headings


def candidates(index: PassageIndex, questions: Sequence[str]) -> list[Passage]:
    """Return the passages of an index that may be shown for questions, the best first."""
    return joined((1.0, index.search(question, CANDIDATES)) for question in questions)[:CANDIDATES]


def ranked(
    lists: Sequence[Sequence[Passage]], chunks: Mapping[Passage, Chunk], questions: Sequence[str]
) -> list[Passage]:
    """Return the candidates of all indexes, the best first.

    Args:
        lists: the candidates of each.
        chunks: of all candidates; those that are not here are left out.
        questions: of which the first weighs most.
    """
    lists = [[passage for passage in one if passage in chunks] for one in lists]
    every = list(dict.fromkeys(passage for one in lists for passage in one))
    by_words = lists[0] if len(lists) == 1 else _by_words(every, chunks, questions)
    by_trigrams = [(1.0 / len(questions), _by_trigrams(every, chunks, question)) for question in questions]
    return joined([(WORDS_WEIGHT, by_words), *by_trigrams])


def beginnings(places: Mapping[str, int]) -> Iterator[Passage]:
    """Yield the first passages of documents: the first of each, then the second of each ...

    Args:
        places: how many passages each document has.
    """
    for place in range(BEGINNINGS):
        yield from (Passage(document, place) for document, number in places.items() if place < number)


def chosen(passages: Iterable[Passage], chunks: Mapping[Passage, Chunk], most: int) -> dict[str, dict[int, Chunk]]:
    """Return the passages to show, by the id of their document and their place; at least one.

    Args:
        passages: the best first.
        chunks: theirs.
        most: bytes that they may take; the last one is cut to fit.
    """
    shown: dict[str, dict[int, Chunk]] = {}
    left, number = most, 0
    for passage in dict.fromkeys(passages):
        chunk = chunks[passage]
        size = bytes_of(chunk) + _OVERHEAD
        if number and (size > left or number == MOST):
            break
        if size > left:
            text = chunk.text.encode()[: max(left - size + len(chunk.text.encode()), 200)].decode(errors="ignore")
            chunk = dataclasses.replace(chunk, text=text)
        shown.setdefault(passage.document, {})[passage.place] = chunk
        left, number = left - size, number + 1
    return shown


def bytes_of(chunk: Chunk) -> int:
    """Return the bytes of a chunk with its headings, as UTF-8."""
    return len(chunk.text.encode()) + len(chunk.headings.encode())


def _by_words(passages: Sequence[Passage], chunks: Mapping[Passage, Chunk], questions: Sequence[str]) -> list[Passage]:
    with PassageIndex() as index:
        index.add("", [chunks[passage] for passage in passages])
        return [passages[place] for _, place in candidates(index, questions)]


def _by_trigrams(passages: Sequence[Passage], chunks: Mapping[Passage, Chunk], question: str) -> list[Passage]:
    trigrams = dict.fromkeys(three for word in query_words(question) for three in _trigrams(word))
    if not trigrams:
        return []
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE VIRTUAL TABLE passages USING fts5(text, tokenize = 'trigram')")
        database.executemany(
            "INSERT INTO passages (rowid, text) VALUES (?, ?)",
            (
                (place, fold(f"{chunks[passage].headings}\n{chunks[passage].text}"))
                for place, passage in enumerate(passages)
            ),
        )
        quoted = " OR ".join('"' + three.replace('"', '""') + '"' for three in list(trigrams)[:MAX_TRIGRAMS])
        rows = database.execute("SELECT rowid FROM passages WHERE passages MATCH ? ORDER BY rank, rowid", (quoted,))
        return [passages[place] for (place,) in rows]


def _trigrams(word: str) -> list[str]:
    return [word[at : at + 3] for at in range(len(word) - 2)]
