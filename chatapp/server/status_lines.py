"""The states of the models as lines for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.models.embeddings import NoEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chatapp.models import ModelState, ModelStatus
    from chatapp.models.catalog import Catalog
    from chatapp.models.embeddings import Embedder


def lines(catalog: Catalog, statuses: Mapping[str, ModelStatus]) -> Iterator[str]:
    """Yield a line for each model: its label, its state, why it is not ready and what to do."""
    width = max(len(model.label) for model in catalog)
    for model in catalog:
        status = statuses[model.id]
        why = _why(status.state, status.reason, status.fix)
        yield f"  {model.label:{width}}  {status.state.value:12}  {why}"


async def embeddings_line(embedder: Embedder) -> str:
    """Return a line for the embeddings of documents: whether a word gets a vector, and of how many dimensions."""
    try:
        [vector] = await embedder.embed(["word"], are_questions=True)
    except NoEmbeddings as error:
        return f"  Embeddings  unavailable  {error}. Documents are searched by words alone."
    return f"  Embeddings  ready  {len(vector)} dimensions, made at: {embedder.place.value}"


def _why(state: ModelState, reason: str, fix: str) -> str:
    words = "" if reason == state.value else reason
    return ". ".join(part[:1].upper() + part[1:] for part in (words, fix) if part)
