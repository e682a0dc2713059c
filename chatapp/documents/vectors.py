"""Vectors of the passages of documents: in a byte a dimension, the nearest to a question, and as stores keep them.

A vector is stored as whole numbers from -127 to 127, since only its direction counts. That halves what 2-byte floats
take, and changes no place of a passage that the evaluation sees (docs/documents.md).

numpy is imported where it is used: a chat without embeddings does without, which saves 0.1 s.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from chatapp.documents.index import CANDIDATES, Passage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.int8]
    """A row for each passage of a document, in order."""


def quantised(rows: Sequence[Sequence[float]]) -> Vectors:
    """Return the directions of vectors, which all have the same length."""
    import numpy as np  # noqa: PLC0415

    array = np.asarray(rows, dtype=np.float32).reshape(len(rows), -1)
    largest = np.abs(array).max(axis=1, keepdims=True)
    return np.rint(array * (127 / np.where(largest > 0, largest, 1))).astype(np.int8)


def nearest(documents: Mapping[str, Vectors], question: Sequence[float]) -> list[Passage]:
    """Return the passages of documents nearest to the vector of a question, by the ids of the documents."""
    import numpy as np  # noqa: PLC0415

    asked = np.asarray(question, dtype=np.float32)
    scored: list[tuple[float, Passage]] = []
    for document, vectors in documents.items():
        if vectors.shape[1] == len(asked):  # else of another model, where the setting changed
            rows = vectors.astype(np.float32)
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
            scores = rows @ asked / np.where(lengths > 0, lengths, 1)
            best = np.argsort(-scores)[:CANDIDATES]
            scored += [(float(scores[place]), Passage(document, int(place))) for place in best]
    return [passage for _, passage in sorted(scored, key=lambda one: -one[0])[:CANDIDATES]]


def packed_vectors(vectors: Vectors, *, model: str, texts: Sequence[str]) -> bytes:
    """Return vectors as stores keep them: a line of JSON, then the rows.

    The line says which model made them, how many dimensions a row has, and of which texts they are.
    """
    return _head(model, vectors.shape[1], texts) + vectors.tobytes()


def unpacked_vectors(data: bytes, *, model: str, texts: Sequence[str], dimensions: int = 0) -> Vectors | None:
    """Return packed vectors; None if they are not of this model, these texts and these dimensions (0: of any)."""
    import numpy as np  # noqa: PLC0415

    head, _, rows = data.partition(b"\n")
    there = len(rows) // len(texts) if texts else 0
    if not there or (dimensions and there != dimensions) or head + b"\n" != _head(model, there, texts):
        return None
    if len(rows) != there * len(texts):
        return None
    return np.frombuffer(rows, dtype=np.int8).reshape(len(texts), there)


def _head(model: str, dimensions: int, texts: Sequence[str]) -> bytes:
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()
    return json.dumps({"model": model, "dimensions": dimensions, "texts": digest}).encode() + b"\n"
