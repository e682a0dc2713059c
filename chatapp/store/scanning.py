"""Search for stores without full-text search: reads a bounded number of messages per call and caches them."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from chatapp.domain.errors import ConversationNotFound
from chatapp.store import Consistency, Hit, Page
from chatapp.store.folding import fold
from chatapp.store.snippets import first_match, has_all, snippet, words_of
from chatapp.store.values import MAX_HITS, MAX_PAGE, cursor_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chatapp.domain.conversation import Conversation, Message

MOST_MESSAGES = 2_000  # read in one call; the last conversation is read to its end
MOST_SECONDS = 3.0
LIST_SECONDS = 1.5  # how long a page of the list is cached: the delay until other replicas' writes are found
TEXT_SECONDS = 600.0  # how long texts are cached: another replica may change them without moving the conversation
CACHE_BYTES = 32_000_000
_KINDS = ("messages", "messages with thinking")  # of cached texts
IN_THREAD_CHARS = 50_000  # from which a conversation is searched off the event loop: 0.1 ms


class Readable(Protocol):
    """The part of `chatapp.store.Store` that a search needs."""

    async def conversations(self, user: str, *, limit: int = 50, cursor: str | None = None) -> Page[Conversation]:
        """List the user's conversations, the last updated first."""

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Sequence[Message]:
        """Return all messages of a conversation."""


class _Text(NamedTuple):
    """The searchable parts of a message, each with its folded text.

    These are its text, its thinking ("" where that is not searched), and the names of its documents and of
    those that it cites from a collection.
    """

    message_id: str
    parts: tuple[tuple[str, str], ...]

    @property
    def characters(self) -> int:
        return sum(len(text) for text, _ in self.parts)

    def hit(self, conversation: Conversation, words: list[str]) -> Hit | None:
        """Return where it matches; None if it does not."""
        if not has_all("\n".join(folded for _, folded in self.parts if folded), words):
            return None
        part = first_match(self.parts, words)
        return Hit(conversation, self.message_id, *snippet(self.parts[part][0], words), in_thinking=part == 1)


class _CacheEntry(NamedTuple):
    """Texts of a conversation, the newest first, or a page of a list."""

    read_at: float  # by the monotonic clock
    version: int  # updated_ms of a conversation
    size: int
    value: Sequence[_Text] | Page[Conversation]


@dataclass(eq=False, slots=True)
class _Reading:
    """A read in progress; ``is_current`` until this process writes the same data."""

    name: tuple[str, ...]
    is_current: bool = True


class Scan:
    """Searches by reading conversations, the last updated first, until a page of hits is full or a limit is reached.

    Reads are cached, so that a search with one more letter reads nothing. A call that has read `MOST_MESSAGES` or taken
    `MOST_SECONDS` returns its hits with a cursor that continues the search.

    Args:
        store: the store to search; it reports its writes with `wrote`.
        most_bytes: approximate size of the cache.
    """

    def __init__(self, store: Readable, *, most_bytes: int = CACHE_BYTES) -> None:
        self._store = store
        self._most_bytes = most_bytes
        self._bytes = 0
        self._cache: OrderedDict[tuple[str, ...], _CacheEntry] = OrderedDict()
        self._reads: set[_Reading] = set()

    def wrote(self, user: str, conversation_id: str) -> None:
        """Drop cached reads after a conversation was written or deleted, which also changes the order of the list."""
        texts, lists = {(kind, user, conversation_id) for kind in _KINDS}, ("list", user)
        for one in texts:
            self._drop(one)
        for name in [name for name in self._cache if name[:2] == lists]:
            self._drop(name)
        for reading in self._reads:
            if reading.name in texts or reading.name[:2] == lists:
                reading.is_current = False

    async def search(
        self, user: str, text: str, *, limit: int = 20, cursor: str | None = None, thinking: bool = False
    ) -> Page[Hit]:
        """Return a page of `chatapp.store.ConversationStore.search`."""
        words = words_of(text)
        limit = min(max(limit, 1), MAX_HITS)
        ends_at = time.monotonic() + MOST_SECONDS
        hits: list[Hit] = []
        looked_at = read = 0
        while words:
            page = await self._list(user, cursor)
            for conversation in page.items:
                is_enough = len(hits) == limit or read >= MOST_MESSAGES or time.monotonic() > ends_at
                if looked_at and is_enough:
                    return Page(hits, cursor)
                cursor = cursor_after(conversation)
                looked_at += 1
                if not conversation.deleted_ms:
                    texts, count = await self._texts(user, conversation, thinking=thinking)
                    read += count
                    hits += await _found(conversation, texts, words)
            if page.cursor is None:
                break
            cursor = page.cursor
        return Page(hits, None)

    async def _list(self, user: str, cursor: str | None) -> Page[Conversation]:
        name = "list", user, cursor or ""
        if (cached := self._cached(name, 0, LIST_SECONDS)) and isinstance(cached.value, Page):
            return cached.value
        with self._reading(name) as reading:
            page = await self._store.conversations(user, limit=MAX_PAGE, cursor=cursor)
        if reading.is_current:
            self._put(name, 0, 600 * (1 + len(page.items)), page)
        return page

    async def _texts(self, user: str, conversation: Conversation, *, thinking: bool) -> tuple[Sequence[_Text], int]:
        """Return the texts of a conversation, the newest first, and how many messages were read for it."""
        name = _KINDS[thinking], user, conversation.id
        cached = self._cached(name, conversation.updated_ms, TEXT_SECONDS)
        if cached and not isinstance(cached.value, Page):
            return cached.value, 0
        with self._reading(name) as reading:
            try:
                messages = await self._store.messages(user, conversation.id, consistency=Consistency.CACHED)
            except ConversationNotFound:  # deleted meanwhile
                return [], 1
            texts = await asyncio.to_thread(_folded, messages, thinking=thinking)
        # An answer that is being generated changes without moving its conversation.
        if reading.is_current and not any(message.status == "streaming" for message in messages):
            size = 600 + sum(200 + 4 * one.characters for one in texts)
            self._put(name, conversation.updated_ms, size, texts)
        return texts, len(messages)

    @contextmanager
    def _reading(self, name: tuple[str, ...]) -> Iterator[_Reading]:
        reading = _Reading(name)
        self._reads.add(reading)
        try:
            yield reading
        finally:
            self._reads.discard(reading)

    def _cached(self, name: tuple[str, ...], version: int, seconds: float) -> _CacheEntry | None:
        cached = self._cache.get(name)
        if cached is None or cached.version != version or time.monotonic() - cached.read_at > seconds:
            return None
        self._cache.move_to_end(name)
        return cached

    def _put(self, name: tuple[str, ...], version: int, size: int, value: Sequence[_Text] | Page[Conversation]) -> None:
        self._drop(name)
        self._cache[name] = _CacheEntry(time.monotonic(), version, size, value)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop(next(iter(self._cache)))

    def _drop(self, name: tuple[str, ...]) -> None:
        if cached := self._cache.pop(name, None):
            self._bytes -= cached.size


def _folded(messages: Iterable[Message], *, thinking: bool) -> list[_Text]:
    newest_first = sorted(messages, key=lambda message: (message.created_ms, message.id), reverse=True)
    return [_text(message, thinking=thinking) for message in newest_first]


def _text(message: Message, *, thinking: bool) -> _Text:
    cited = dict.fromkeys(citation.name for citation in message.citations if citation.name)
    names = "\n".join([*(document.name for document in message.documents), *cited])
    texts = message.content, message.thinking if thinking else "", names
    return _Text(message.id, tuple((text, fold(text)) for text in texts))


async def _found(conversation: Conversation, texts: Sequence[_Text], words: list[str]) -> list[Hit]:
    """Return the one hit in a conversation, if there is one; a long one is searched in a thread."""
    if sum(one.characters for one in texts) < IN_THREAD_CHARS:
        return _hits(conversation, texts, words)
    return await asyncio.to_thread(_hits, conversation, texts, words)


def _hits(conversation: Conversation, texts: Sequence[_Text], words: list[str]) -> list[Hit]:
    """Return the one hit in a conversation, if there is one."""
    for text in texts:
        if (hit := text.hit(conversation, words)) is not None:
            return [hit]
    if has_all(fold(conversation.title), words):
        return [Hit(conversation, "", *snippet(conversation.title, words))]
    return []
