"""Retrieval with embeddings: questions in each language, of documents in each language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.document_parts.questions import FIRST, LANGUAGES, corpus
from chatapp.documents.index import Passage, PassageIndex, joined
from chatapp.documents.passages import candidates, ranked
from chatapp.documents.vectors import nearest, quantised
from chatapp.domain.conversation import Place
from chatapp.models.embeddings import ServerEmbedder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.document_parts.questions import Question, Text
    from chatapp.documents.vectors import Vectors


async def with_embeddings(url: str, model: str) -> dict[str, tuple[int, float, float, float]]:
    """Return the number of questions, and recall@5 by words, by meaning and by both, of each pair of languages.

    Args:
        url: of a server with ``/v1/embeddings``.
        model: its name there.
    """
    texts, questions = corpus()
    embedder = ServerEmbedder(url, model=model, place=Place.THIS_COMPUTER)
    try:
        vectors = {key: quantised(await _embedded(embedder, text)) for key, text in texts.items()}
        asked = {one: (await embedder.embed([one.text], are_questions=True))[0] for one in questions}
    finally:
        await embedder.aclose()
    results = {}
    for language in LANGUAGES:
        of_language = [one for one in questions if one.language == language]
        for other in LANGUAGES:
            there = [text for text in texts.values() if other in {language, text.language}]
            chosen = [one for one in of_language if f"{one.document}.{other}" in texts]
            results[f"{language} -> {other}"] = _recall(chosen, there, other, vectors, asked)
    return results


async def _embedded(embedder: ServerEmbedder, text: Text) -> list[list[float]]:
    passages = [f"{chunk.headings}\n{chunk.text}" for chunk in text.chunks]
    rows: list[list[float]] = []
    for start in range(0, len(passages), embedder.batch):
        rows += await embedder.embed(passages[start : start + embedder.batch], are_questions=False)
    return rows


def _recall(
    questions: Sequence[Question],
    texts: Sequence[Text],
    language: str,
    vectors: dict[str, Vectors],
    asked: dict[Question, list[float]],
) -> tuple[int, float, float, float]:
    by_key = {text.key: text for text in texts}
    chunks = {Passage(text.key, place): chunk for text in texts for place, chunk in enumerate(text.chunks)}
    there = {key: vectors[key] for key in by_key}
    hits = [0, 0, 0]
    with PassageIndex() as index:
        for text in texts:
            index.add(text.key, text.chunks)
        for question in questions:
            key = f"{question.document}.{language}"
            answer = Passage(key, by_key[key].places[question.section])
            by_words = ranked([candidates(index, [question.text])], chunks, [question.text])
            by_meaning = nearest(there, asked[question])
            lists = by_words, by_meaning, joined([(1.0, by_words), (1.0, by_meaning)])
            hits = [hit + (answer in one[:FIRST]) for hit, one in zip(hits, lists, strict=True)]
    number = len(questions)
    return number, hits[0] / number, hits[1] / number, hits[2] / number
