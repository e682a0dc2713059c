"""Passages by meaning: vectors of the chunks of documents, and the nearest ones to a question.

Documents are embedded when they are first asked about, and their vectors are stored with them: after a restart, or at
another replica, a question reads them. What is not done within `WAIT_SECONDS` goes on in the background, and the
question is answered without it: by words alone, as where embeddings fail.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog

from chatapp.documents.vectors import nearest, packed_vectors, quantised, unpacked_vectors
from chatapp.domain.conversation import Place
from chatapp.domain.errors import ChatError, ConversationNotFound, DocumentNotFound, StoreUnavailable
from chatapp.generation.document_texts import Source, in_thread, is_of
from chatapp.models.embeddings import NoEmbeddings

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from chatapp.documents.index import Passage
    from chatapp.documents.vectors import Vectors
    from chatapp.domain.conversation import Document
    from chatapp.generation.document_texts import DocumentTexts
    from chatapp.models.embeddings import Embedder
    from chatapp.store import VectorStore

WAIT_SECONDS = 4.0  # of a question for its vector, and for documents that are new
PAUSE_SECONDS = 60.0  # without embeddings after a failure
KEEP_SECONDS = 12 * 3600.0  # after the last use
MAX_BYTES = 32_000_000  # of all vectors in memory: 40,000 passages with 768 dimensions
READ_DOCUMENTS = 10  # whose stored vectors are read at once, of 300 kB each with 50 pages
REQUESTS_AT_ONCE = 4  # of a document
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)  # before a document's request is repeated: quotas are by the minute
MAX_CHARS = 2_000  # of a passage or a question

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddingPolicy:
    """Which embeddings are used, and for which models.

    Attributes:
        same_server: ids of the models that run on the server of the embeddings.
        elsewhere: texts may go to the embeddings whatever model answers.
    """

    embedder: Embedder
    same_server: frozenset[str] = frozenset()
    elsewhere: bool = False

    def allows(self, model_id: str, place: Place) -> bool:
        """Return whether the text of a document that this model gets may go to the embeddings."""
        is_same_place = place is self.embedder.place and place not in {Place.OTHER_SERVER, Place.UNKNOWN}
        return self.elsewhere or is_same_place or model_id in self.same_server


class DocumentVectors:
    """Embeds documents, stores their vectors, and keeps those in memory that questions used.

    Vectors are stored only with the name of their model, since others are compared with the question's in vain.
    """

    def __init__(self, texts: DocumentTexts, store: VectorStore, policy: EmbeddingPolicy | None) -> None:
        self._texts = texts
        self._store = store
        self._policy = policy
        self._vectors: OrderedDict[tuple[str, str, str], tuple[Vectors, float]] = OrderedDict()
        self._running: dict[Source, asyncio.Task[None]] = {}
        self._paused_until = 0.0
        self._dimensions = 0  # of the last question's vector

    @property
    def place(self) -> Place:
        """Where the text of documents goes whatever model answers; unknown where it does not."""
        return self._policy.embedder.place if self._policy and self._policy.elsewhere else Place.UNKNOWN

    def are_allowed(self, model_id: str, place: Place) -> bool:
        """Return whether the documents of a question to this model may be embedded."""
        return self._policy is not None and self._policy.allows(model_id, place)

    async def nearest(self, documents: Mapping[str, tuple[Source, Document]], question: str) -> list[Passage]:
        """Return the passages nearest to a question, the best first; fewer or none where there are no vectors yet."""
        if self._policy is None or time.monotonic() < self._paused_until:
            return []
        self._drop_old()
        asking = asyncio.create_task(self._policy.embedder.embed([question[:MAX_CHARS]], are_questions=True))
        running = {self._embedding(source, documents) for source in {one for one, _ in documents.values()}}
        until = time.monotonic() + WAIT_SECONDS
        try:
            await asyncio.wait({asking}, timeout=WAIT_SECONDS)
        finally:
            if not asking.done():
                asking.cancel()
        if not asking.done() or asking.cancelled():
            return []
        if asking.exception() is None:
            await asyncio.wait(running, timeout=max(0.0, until - time.monotonic()))
        try:
            (vector,) = asking.result()
        except NoEmbeddings as error:
            self._pause(error)
            return []
        except Exception:
            log.exception("embedding_failed")
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            return []
        self._dimensions = len(vector)
        there: dict[str, Vectors] = {}
        for source, document in documents.values():
            key = (source.user, source.id, document.id)
            if key in self._vectors and self._vectors[key][0].shape[1] != self._dimensions:
                del self._vectors[key]  # the next question embeds the document again
            if key in self._vectors:
                there[document.id] = self._vectors[key][0]
                self._vectors[key] = there[document.id], time.monotonic()
                self._vectors.move_to_end(key)
        return await in_thread(nearest, there, vector)

    def forget(self, user: str, source_id: str, document_ids: Collection[str] | None = None) -> None:
        """Forget some documents of a conversation or collection, or all (None), which are deleted."""
        for source in [one for one in self._running if (one.user, one.id) == (user, source_id)]:
            self._running.pop(source).cancel()
        for key in [one for one in self._vectors if is_of(one, user, source_id, document_ids)]:
            del self._vectors[key]

    async def aclose(self) -> None:
        """Forget everything, and close the connections."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._vectors.clear()
        if self._policy is not None:
            await self._policy.embedder.aclose()

    def _embedding(self, source: Source, documents: Mapping[str, tuple[Source, Document]]) -> asyncio.Task[None]:
        """Return the task that embeds the documents of a source."""
        task = self._running.get(source)
        if task is None:
            of_source = [document for one, document in documents.values() if one == source]
            task = self._running[source] = asyncio.create_task(self._embed(source, of_source))
            task.add_done_callback(lambda ended: self._running.pop(source, None) if not ended.cancelled() else None)
        return task

    async def _embed(self, source: Source, documents: Sequence[Document]) -> None:
        try:
            new = [one for one in documents if (source.user, source.id, one.id) not in self._vectors]
            for start in range(0, len(new), READ_DOCUMENTS):
                some = new[start : start + READ_DOCUMENTS]
                stored = await self._stored(source, some)
                for document in some:
                    if not await self._keep(source, document, stored.pop(document.id, b"")):
                        log.warning("not_all_embedded", source=source.id, documents=len(documents))
                        return
        except (NoEmbeddings, ChatError) as error:
            self._pause(error)
        except Exception:
            log.exception("embedding_failed")
            self._paused_until = time.monotonic() + PAUSE_SECONDS

    async def _keep(self, source: Source, document: Document, stored: bytes) -> bool:
        """Take the stored vectors of a document, or embed it; return False if there is no room for it."""
        assert self._policy is not None  # noqa: S101  # for the type checker
        chunks = await self._texts.chunks(source, document)
        texts = [f"{one.headings}\n{one.text}"[:MAX_CHARS] for one in chunks]
        if not texts:  # it was deleted just now
            return True
        if self._bytes_of(source) + len(texts) * self._dimensions > MAX_BYTES:
            return False
        model = self._policy.embedder.model
        unpack = partial(unpacked_vectors, stored, model=model, texts=texts, dimensions=self._dimensions)
        vectors = await in_thread(unpack) if stored else None
        if vectors is None:
            vectors = await self._embedded(texts)
            if model:
                packed = await in_thread(partial(packed_vectors, vectors, model=model, texts=texts))
                await self._save(source, document, packed)
        if self._bytes_of(source) + vectors.nbytes > MAX_BYTES:
            return False
        self._vectors[source.user, source.id, document.id] = vectors, time.monotonic()
        while self._bytes() > MAX_BYTES:
            self._vectors.popitem(last=False)
        return True

    async def _stored(self, source: Source, documents: Sequence[Document]) -> dict[str, bytes]:
        """Return the stored vectors of documents; none while they cannot be read."""
        if not (self._policy and self._policy.embedder.model):
            return {}
        ids = [one.id for one in documents]
        try:
            return await self._store.vectors(source.user, source.conversation_id, ids)
        except StoreUnavailable as error:
            log.warning("no_stored_vectors", source=source.id, detail=error.detail)
            return {}

    async def _save(self, source: Source, document: Document, vectors: bytes) -> None:
        """Store vectors; where that fails, the next start embeds the document again."""
        try:
            await self._store.save_vectors(source.user, source.conversation_id, document.id, vectors)
        except (ConversationNotFound, DocumentNotFound):  # it was deleted meanwhile
            pass
        except StoreUnavailable as error:
            log.warning("vectors_not_stored", source=source.id, detail=error.detail)

    async def _embedded(self, texts: Sequence[str]) -> Vectors:
        assert self._policy is not None  # noqa: S101  # for the type checker
        embedder, rows = self._policy.embedder, list[list[float]]()
        batches = [texts[start : start + embedder.batch] for start in range(0, len(texts), embedder.batch)]
        for start in range(0, len(batches), REQUESTS_AT_ONCE):
            some = batches[start : start + REQUESTS_AT_ONCE]
            for vectors in await asyncio.gather(*(_embedded(embedder, one) for one in some)):
                rows += vectors
        return await in_thread(quantised, rows)

    def _bytes(self) -> int:
        return sum(vectors.nbytes for vectors, _ in self._vectors.values())

    def _bytes_of(self, source: Source) -> int:
        return sum(one.nbytes for key, (one, _) in self._vectors.items() if key[:2] == (source.user, source.id))

    def _drop_old(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        for key in [one for one, (_, used_at) in self._vectors.items() if used_at <= oldest]:
            del self._vectors[key]

    def _pause(self, error: Exception) -> None:
        log.warning("no_embeddings", error=type(error).__name__, detail=getattr(error, "detail", str(error)))
        self._paused_until = time.monotonic() + PAUSE_SECONDS


async def _embedded(embedder: Embedder, texts: Sequence[str]) -> list[list[float]]:
    """Return the vectors of passages; a request that fails for a while is repeated.

    Raises:
        NoEmbeddings: it fails for good, or for longer.
    """
    for seconds in RETRY_SECONDS:
        try:
            return await embedder.embed(texts, are_questions=False)
        except NoEmbeddings as error:
            if not error.is_transient:
                raise
        await asyncio.sleep(seconds)
    return await embedder.embed(texts, are_questions=False)
