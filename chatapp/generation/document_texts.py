"""The texts of documents, of conversations and of collections: loaded, indexed, and kept for a while.

What takes long is done one after the other in one thread, which starts with the first document.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import structlog

from chatapp.documents.chunks import chunks_of
from chatapp.documents.index import CACHE_BYTES, PassageIndex
from chatapp.documents.packing import InvalidPacking, unpacked
from chatapp.documents.passages import bytes_of
from chatapp.domain.errors import ConversationNotFound, DocumentNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from chatapp.documents.chunks import Chunk
    from chatapp.documents.extraction.shape import Page
    from chatapp.domain.conversation import Document
    from chatapp.store import UserStore

    DocumentKey = tuple[str, str, str]  # user, id of the conversation or collection, document id

KEEP_SECONDS = 600.0
MAX_INDEX_BYTES = 48_000_000  # of all indexes in memory
MAX_FILE_BYTES = 1_000_000_000  # of all indexes, with what of them is in temporary files
MAX_CHUNK_BYTES = 16_000_000  # of the passages that questions hit; those of the longest text take 8 MB
PACKED_BYTES = 16_000_000  # of compressed texts: 100 documents of 50 pages take 6 MB, one document at most 0.9
MOST_SIZES = 10_000
READS_AT_ONCE = 4  # of documents that are indexed, which may be in the cloud
CHUNK_BYTES = 400  # of the objects of one in memory

T = TypeVar("T")
K = TypeVar("K")
Kept = OrderedDict[K, tuple[T, int, float]]
"""A value, its bytes, and when it was last used, by the monotonic clock; the last used last."""

_WORK = ThreadPoolExecutor(1, "documents")

log = structlog.get_logger(__name__)


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401  # those of the function
    """Return what a function returns, which holds up no answer meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(_WORK, work, *arguments)


class Source(NamedTuple):
    """Where documents are from: a conversation or a collection of a user."""

    user: str
    id: str
    is_collection: bool = False

    @property
    def conversation_id(self) -> str:
        """The conversation's id; "" for a collection, whose vectors are stored by document alone."""
        return "" if self.is_collection else self.id


class DocumentTexts:
    """Loads and indexes documents, and keeps all of it for `KEEP_SECONDS` after its last use, within bounds.

    A conversation goes on with its documents while the store is unavailable.
    """

    def __init__(self, store: UserStore) -> None:
        self._store = store
        self._indexes: Kept[Source, PassageIndex] = OrderedDict()
        self._building: WeakValueDictionary[Source, asyncio.Lock] = WeakValueDictionary()
        self._chunks: Kept[DocumentKey, Sequence[Chunk]] = OrderedDict()
        self._packed: Kept[DocumentKey, bytes] = OrderedDict()
        self._sizes: OrderedDict[DocumentKey, int] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def pages(self, source: Source, document: Document) -> tuple[Page, ...]:
        """Return the pages of a document; none if it is deleted, or is damaged.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        key = _key(source, document)
        data = document.data or _used(self._packed, key)
        if not data:
            try:
                data = await self._read(source, document)
            except (ConversationNotFound, DocumentNotFound):
                return ()
        try:
            pages = await in_thread(unpacked, data)
        except InvalidPacking as error:
            log.warning("document_damaged", source=source.id, document=document.id, detail=str(error))
            return ()
        _keep(self._packed, key, data, len(data), most=PACKED_BYTES)
        self._sweep_later(KEEP_SECONDS)
        if key not in self._sizes:  # of many characters, it takes milliseconds
            self._sizes[key] = await in_thread(text_bytes, pages)
        self._sizes.move_to_end(key)
        while len(self._sizes) > MOST_SIZES:
            self._sizes.popitem(last=False)
        return pages

    def known_size(self, source: Source, document: Document) -> int:
        """Return the bytes of a document's text, as UTF-8; 0 if they are not known yet."""
        return self._sizes.get(_key(source, document), 0)

    async def chunks(self, source: Source, document: Document) -> Sequence[Chunk]:
        """Return the chunks of a document.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        key = _key(source, document)
        chunks = _used(self._chunks, key)
        if chunks is None:
            chunks = await in_thread(chunks_of, await self.pages(source, document))
        size = sum(bytes_of(chunk) + CHUNK_BYTES for chunk in chunks)
        _keep(self._chunks, key, chunks, size, most=MAX_CHUNK_BYTES)
        self._sweep_later(KEEP_SECONDS)
        return chunks

    async def index(self, source: Source, documents: Iterable[Document]) -> PassageIndex:
        """Return an index with some documents of a source; it may have others of it.

        One of a collection has no others: what is removed from a collection is in no index after its next question.

        Raises:
            StoreUnavailable: a document cannot be read now.
        """
        by_id = {document.id: document for document in documents}
        async with self._building.setdefault(source, asyncio.Lock()):
            index = _used(self._indexes, source)
            if index is None or (source.is_collection and index.documents - by_id.keys()):
                index = PassageIndex()
            self._keep_index(source, index)
            missing = [document for document in by_id.values() if document.id not in index.documents]
            for start in range(0, len(missing), READS_AT_ONCE):
                some = missing[start : start + READS_AT_ONCE]
                texts = await asyncio.gather(*(self.pages(source, document) for document in some))
                for document, pages in zip(some, texts, strict=True):
                    chunks = await in_thread(chunks_of, pages)
                    await in_thread(index.add, document.id, chunks)
            if _used(self._indexes, source) is index:  # else it was forgotten meanwhile
                self._keep_index(source, index)
        self._sweep_later(KEEP_SECONDS)
        return index

    def forget(self, user: str, source_id: str, document_ids: Collection[str] | None = None) -> None:
        """Forget some documents of a conversation or collection, or all (None), which are deleted."""
        for source in [one for one in self._indexes if (one.user, one.id) == (user, source_id)]:
            del self._indexes[source]
        for kept in (self._chunks, self._packed, self._sizes):
            for key in [one for one in kept if is_of(one, user, source_id, document_ids)]:
                del kept[key]

    def close(self) -> None:
        """Forget everything."""
        if self._timer is not None:
            self._timer.cancel()
        self._indexes.clear()
        self._chunks.clear()
        self._packed.clear()

    async def _read(self, source: Source, document: Document) -> bytes:
        if source.is_collection:
            return (await self._store.library_document(source.user, document.id)).document.data
        return (await self._store.document(source.user, source.id, document.id)).data

    def _keep_index(self, source: Source, index: PassageIndex) -> None:
        _keep(self._indexes, source, index, min(index.size, CACHE_BYTES), most=MAX_INDEX_BYTES)
        while len(self._indexes) > 1 and sum(one.size for one, _, _ in self._indexes.values()) > MAX_FILE_BYTES:
            self._indexes.popitem(last=False)

    def _sweep(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        _drop_old(self._indexes, oldest)
        _drop_old(self._chunks, oldest)
        _drop_old(self._packed, oldest)
        self._timer = None
        if self._indexes or self._chunks or self._packed:
            self._sweep_later(KEEP_SECONDS / 10)

    def _sweep_later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._sweep)


def is_of(key: DocumentKey, user: str, source_id: str, document_ids: Collection[str] | None) -> bool:
    """Return whether a key is of a document of a source, and of one of some documents (None: of any)."""
    return key[:2] == (user, source_id) and (document_ids is None or key[2] in document_ids)


def _key(source: Source, document: Document) -> DocumentKey:
    return source.user, source.id, document.id


def _used(kept: Kept[K, T], key: K) -> T | None:
    """Return a value that is to be kept again, None if there is none."""
    value, _, _ = kept.get(key, (None, 0, 0.0))
    return value


def _keep(kept: Kept[K, T], key: K, value: T, size: int, *, most: int) -> None:
    """Keep a value as the last used one, and drop others beyond ``most`` bytes."""
    kept[key] = value, size, time.monotonic()
    kept.move_to_end(key)
    while len(kept) > 1 and sum(one for _, one, _ in kept.values()) > most:
        kept.popitem(last=False)


def _drop_old(kept: Kept[K, T], oldest: float) -> None:
    for key in [one for one, (_, _, used_at) in kept.items() if used_at <= oldest]:
        del kept[key]


def text_bytes(pages: tuple[Page, ...]) -> int:
    """Return the bytes of a text, as UTF-8."""
    return sum(len(block.text.encode()) + 1 for page in pages for block in page.blocks)
