"""The texts of a conversation's documents: loaded, indexed, and kept for a while.

What takes long is done one after the other in one thread, which starts with the first document.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from chatapp.documents.packing import InvalidPacking, unpacked
from chatapp.documents.passages import IndexedDocument
from chatapp.domain.errors import ConversationNotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from chatapp.documents.extraction.shape import Page
    from chatapp.domain.conversation import Document
    from chatapp.generation.final_save import Key
    from chatapp.store import ConversationStore

    DocumentKey = tuple[str, str, str]  # user, conversation id, document id

KEEP_SECONDS = 600.0
MAX_BYTES = 48_000_000  # of all indexes; one of the longest text takes 30 MB
PACKED_BYTES = 8_000_000  # of compressed texts; one has at most 0.9 MB
MOST_SIZES = 10_000

T = TypeVar("T")
Kept = OrderedDict["DocumentKey", tuple[T, int, float]]
"""A value, its bytes, and when it was last used, by the monotonic clock; the last used last."""

_WORK = ThreadPoolExecutor(1, "documents")

log = structlog.get_logger(__name__)


async def in_thread(work: Callable[..., T], *arguments: Any) -> T:  # noqa: ANN401  # those of the function
    """Return what a function returns, which holds up no answer meanwhile."""
    return await asyncio.get_running_loop().run_in_executor(_WORK, work, *arguments)


class DocumentTexts:
    """Loads and indexes documents, and keeps both for `KEEP_SECONDS` after their last use.

    Indexes have up to `MAX_BYTES`, compressed texts `PACKED_BYTES`: a conversation goes on with its documents while the
    store is unavailable.
    """

    def __init__(self, store: ConversationStore) -> None:
        self._store = store
        self._indexed: Kept[IndexedDocument] = OrderedDict()
        self._packed: Kept[bytes] = OrderedDict()
        self._sizes: OrderedDict[DocumentKey, int] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    async def pages(self, key: Key, document: Document) -> tuple[Page, ...]:
        """Return the pages of a document of a conversation; none if it is deleted, or is damaged.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        document_key = (*key, document.id)
        data = document.data or _used(self._packed, document_key)
        if not data:
            try:
                data = (await self._store.document(*key, document.id)).data
            except ConversationNotFound:
                return ()
        try:
            pages = await in_thread(unpacked, data)
        except InvalidPacking as error:
            log.warning("document_damaged", conversation=key[1], document=document.id, detail=str(error))
            return ()
        _keep(self._packed, document_key, data, len(data), most=PACKED_BYTES)
        self._sweep_later(KEEP_SECONDS)
        if document_key not in self._sizes:  # of many characters, it takes milliseconds
            self._sizes[document_key] = await in_thread(text_bytes, pages)
        self._sizes.move_to_end(document_key)
        while len(self._sizes) > MOST_SIZES:
            self._sizes.popitem(last=False)
        return pages

    def known_size(self, key: Key, document: Document) -> int:
        """Return the bytes of a document's text, as UTF-8; 0 if they are not known yet."""
        return self._sizes.get((*key, document.id), 0)

    async def indexed(self, key: Key, document: Document) -> IndexedDocument:
        """Return the index of a document.

        Raises:
            StoreUnavailable: it cannot be read now.
        """
        document_key = (*key, document.id)
        if (indexed := _used(self._indexed, document_key)) is None:
            indexed = await in_thread(IndexedDocument.of, await self.pages(key, document))
        _keep(self._indexed, document_key, indexed, indexed.size, most=MAX_BYTES)
        self._sweep_later(KEEP_SECONDS)
        return indexed

    def forget(self, key: Key) -> None:
        """Forget the documents of a conversation, which is deleted."""
        for kept in (self._indexed, self._packed, self._sizes):
            for document_key in [one for one in kept if one[:2] == key]:
                del kept[document_key]

    def close(self) -> None:
        """Forget everything."""
        if self._timer is not None:
            self._timer.cancel()
        self._indexed.clear()
        self._packed.clear()

    def _sweep(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        for kept in (self._indexed, self._packed):
            for document_key in [one for one, (_, _, used_at) in kept.items() if used_at <= oldest]:
                del kept[document_key]
        self._timer = None
        if self._indexed or self._packed:
            self._sweep_later(KEEP_SECONDS / 10)

    def _sweep_later(self, seconds: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._sweep)


def _used(kept: Kept[T], document_key: DocumentKey) -> T | None:
    """Return a value that is to be kept again, None if there is none."""
    value, _, _ = kept.get(document_key, (None, 0, 0.0))
    return value


def _keep(kept: Kept[T], document_key: DocumentKey, value: T, size: int, *, most: int) -> None:
    """Keep a value as the last used one, and drop others beyond ``most`` bytes."""
    kept[document_key] = value, size, time.monotonic()
    kept.move_to_end(document_key)
    while len(kept) > 1 and sum(one for _, one, _ in kept.values()) > most:
        kept.popitem(last=False)


def text_bytes(pages: tuple[Page, ...]) -> int:
    """Return the bytes of a text, as UTF-8."""
    return sum(len(block.text.encode()) + 1 for page in pages for block in page.blocks)
