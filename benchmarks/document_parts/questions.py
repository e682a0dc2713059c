"""Retrieval: how many questions have the passage that answers them among the first five, or first.

The documents are in ``corpus/``. They are read as an upload is, and all of them are searched together, as in a
collection.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from chatapp.documents.chunks import chunks_of
from chatapp.documents.extraction.reading import read
from chatapp.documents.index import Passage, PassageIndex
from chatapp.documents.passages import candidates, ranked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chatapp.documents.chunks import Chunk

CORPUS = Path(__file__).parent / "corpus"
LANGUAGES = ("en", "he", "ar")
HELD_OUT = "reserve"  # stems and ranking were tuned without its results
FIRST = 5
_QUESTION = "? "


class Question(NamedTuple):
    """A question about a section.

    Attributes:
        document: its name, without language.
        language: of the question.
        section: number of the section that answers it, from 0: the same one in each language of the document.
    """

    text: str
    document: str
    language: str
    section: int


class Text(NamedTuple):
    """A document in one language, with the place of the chunk that has each section."""

    document: str
    language: str
    chunks: Sequence[Chunk]
    places: Sequence[int]

    @property
    def key(self) -> str:
        """The name of its file."""
        return f"{self.document}.{self.language}"


class Result(NamedTuple):
    """How some questions did.

    Attributes:
        questions: how many.
        recalled: how many had their passage among the first five.
        first: how many had it first.
        failed: those that had it neither way.
    """

    questions: int
    recalled: int
    first: int
    failed: tuple[str, ...]

    @property
    def recall(self) -> float:
        """The part of the questions whose passage is among the first five."""
        return self.recalled / self.questions


def corpus(folder: Path = CORPUS) -> tuple[dict[str, Text], list[Question]]:
    """Return the documents by key, and all questions.

    Raises:
        ValueError: a section is not in exactly one chunk.
    """
    texts, questions = {}, []
    for file in sorted(folder.glob("*.*.md")):
        name, language = file.stem.split(".")
        lines = file.read_text(encoding="utf-8").splitlines()
        _, pages = read("\n".join(line for line in lines if not line.startswith(_QUESTION)).encode(), file.name)
        chunks = chunks_of(pages)
        places: list[int] = []
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("## "):
                having = [place for place, chunk in enumerate(chunks) if following in chunk.text]
                if len(having) != 1:
                    raise ValueError(f"{file.name}: {line} is in {len(having)} chunks")
                places += having
            elif line.startswith(_QUESTION):
                questions.append(Question(line.removeprefix(_QUESTION), name, language, len(places) - 1))
        texts[f"{name}.{language}"] = Text(name, language, chunks, places)
    return texts, questions


def result(questions: Sequence[Question], texts: Sequence[Text], *, language: str = "") -> Result:
    """Return how questions do in some documents together.

    Args:
        questions: to be asked.
        texts: that are searched.
        language: of the document that answers; "": that of the question.
    """
    by_key = {text.key: text for text in texts}
    chunks = {Passage(text.key, place): chunk for text in texts for place, chunk in enumerate(text.chunks)}
    ranks = []
    with PassageIndex() as index:
        for text in texts:
            index.add(text.key, text.chunks)
        for question in questions:
            key = f"{question.document}.{language or question.language}"
            answer = Passage(key, by_key[key].places[question.section])
            found = ranked([candidates(index, [question.text])], chunks, [question.text])[:FIRST]
            ranks.append(found.index(answer) if answer in found else -1)
    failed = tuple(question.text for question, rank in zip(questions, ranks, strict=True) if rank < 0)
    return Result(len(ranks), len(ranks) - ranks.count(-1), ranks.count(0), failed)


def evaluated(*, held_out: bool | None = None) -> dict[str, Result]:
    """Return the results by language.

    Args:
        held_out: whether only the held-out document is asked, or only the others; None: all of them.
    """
    texts, questions = corpus()
    chosen = [one for one in questions if held_out is None or (one.document == HELD_OUT) is held_out]
    return {
        language: result([one for one in chosen if one.language == language], list(texts.values()))
        for language in LANGUAGES
    }
