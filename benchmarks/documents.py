"""Evaluation of retrieval: in how many of the questions the passage that answers it is among the first five, or first.

Run: ``python -m benchmarks.documents [questions.json]``. The file has, for each language, passages of a heading and a
text, each with a question about it, worded otherwise than the passage. Each language is a document, and all of them are
searched together, as the chat does it. ``--failed`` prints the questions whose passage is not among the first five.
After that: what a question about a document of 200 pages costs, of which the model gets passages.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from chatapp.documents.chunks import Chunk
from chatapp.documents.citations import places, spans
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.index import PassageIndex
from chatapp.documents.packing import packed, unpacked
from chatapp.documents.passages import IndexedDocument, chosen, ranked

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

QUESTIONS = Path(__file__).parent / "document_parts" / "questions.json"
FIRST = 5


class Result(NamedTuple):
    """How a language did: questions, and how many had their passage among the first five, and first."""

    questions: int
    recalled: int
    first: int
    failed: tuple[str, ...]

    @property
    def recall(self) -> float:
        """The part of the questions whose passage is among the first five."""
        return self.recalled / self.questions


def evaluated(file: Path = QUESTIONS) -> dict[str, Result]:
    """Return the results by language."""
    documents = json.loads(file.read_text(encoding="utf-8"))
    indexed, results = {}, {}
    for language, passages in documents.items():
        chunks = [Chunk(1, each["heading"], f"{each['heading']}\n{each['text']}") for each in passages]
        index = PassageIndex()
        index.add("", chunks)
        indexed[language] = IndexedDocument(chunks, index, index.size)
    for language, passages in documents.items():
        ranks = []
        for place, each in enumerate(passages):
            questions = [each["question"]]
            first = list(ranked({name: one.candidates(questions) for name, one in indexed.items()}, questions))[:FIRST]
            ranks.append(first.index((language, place)) if (language, place) in first else -1)
        failed = tuple(each["question"] for each, rank in zip(passages, ranks, strict=True) if rank < 0)
        results[language] = Result(len(ranks), sum(rank >= 0 for rank in ranks), ranks.count(0), failed)
    return results


def costs() -> dict[str, float]:
    """Return the seconds of CPU of each step of a question about 200 pages of 4,000 characters."""
    chooser = random.Random(20)
    words = ["".join(chooser.choices("abcdefghijklmnopqrstuvwxyz", k=chooser.randint(2, 9))) for _ in range(20_000)]
    pages = tuple(
        Page(number, tuple(Block(BlockKind.TEXT, " ".join(chooser.choices(words, k=60))) for _ in range(11)))
        for number in range(1, 201)
    )
    question, answer = " ".join(words[:8]), f'It says "{pages[99].text[:300]}".'
    steps = {}

    def measured(name: str, step: Callable[[], T]) -> T:
        started = time.process_time()
        result = step()
        steps[name] = time.process_time() - started
        return result

    data = measured("pack", lambda: packed(pages))
    measured("unpack", lambda: unpacked(data))
    indexed = measured("index", lambda: IndexedDocument.of(pages))
    measured("choose passages", lambda: chosen({"": indexed.candidates([question])}, [question], 10_000))
    measured("check a quote", lambda: places(answer, spans(answer), pages))
    return steps


def main() -> None:
    files = [Path(argument) for argument in sys.argv[1:] if not argument.startswith("-")]
    started = time.process_time()
    results = evaluated(*files)
    seconds = time.process_time() - started
    print("| language | questions | recall@5 | first |\n|---|---|---|---|")
    for language, result in results.items():
        print(
            f"| {language} | {result.questions} | {result.recall:.2f} | {result.first / result.questions:.2f} |",
        )
    questions = sum(result.questions for result in results.values())
    recalled = sum(result.recalled for result in results.values())
    print(f"| all | {questions} | {recalled / questions:.2f} | |\n")
    print(f"{1000 * seconds / questions:.1f} ms of CPU a question")
    print("\n| step, 200 pages | s of CPU |\n|---|---|")
    for name, taken in costs().items():
        print(f"| {name} | {taken:.3f} |")
    if "--failed" in sys.argv:
        for result in results.values():
            print(*result.failed, sep="\n")


if __name__ == "__main__":
    main()
