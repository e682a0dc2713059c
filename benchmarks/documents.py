"""Evaluation of retrieval: in how many of the questions the passage that answers it is among the first five, or first.

Run: ``python -m benchmarks.documents [questions.json]``. The file has, for each language, passages of a heading and a
text, each with a question about it, worded otherwise than the passage. All passages of all languages are in one index.
``--failed`` prints the questions whose passage is not among the first five.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import NamedTuple

from chatapp.documents.chunks import Chunk
from chatapp.documents.index import Passage, PassageIndex

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
    results = {}
    with PassageIndex() as index:
        for language, passages in documents.items():
            index.add(language, [Chunk(1, each["heading"], f"{each['heading']}\n{each['text']}") for each in passages])
        for language, passages in documents.items():
            ranks = []
            for place, each in enumerate(passages):
                ranked = index.search(each["question"], FIRST)
                wanted = Passage(language, place)
                ranks.append(ranked.index(wanted) if wanted in ranked else -1)
            failed = tuple(each["question"] for each, rank in zip(passages, ranks, strict=True) if rank < 0)
            results[language] = Result(len(ranks), sum(rank >= 0 for rank in ranks), ranks.count(0), failed)
    return results


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
    if "--failed" in sys.argv:
        for result in results.values():
            print(*result.failed, sep="\n")


if __name__ == "__main__":
    main()
