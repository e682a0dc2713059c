"""Searching where the place itself cannot: by reading, a bounded part at a time, and remembering what was read."""

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
from chatapp.store.snippets import has_all, snippet, words_of
from chatapp.store.values import MAX_HITS, MAX_PAGE, cursor_after

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chatapp.domain.conversation import Conversation, Message

MOST_MESSAGES = 2_000  # read in one call, with those of the conversation that was begun
MOST_SECONDS = 3.0
LIST_SECONDS = 30.0  # how long a part of the list is remembered: what another copy of the chat wrote is then found too
TEXT_SECONDS = 600.0  # the same of a conversation, which another copy may change without moving it in the list
REMEMBERED_BYTES = 32_000_000


class Readable(Protocol):
    """What is searched: a part of `chatapp.store.Store`."""

    async def conversations(self, user: str, *, limit: int = 50, cursor: str | None = None) -> Page[Conversation]:
        """List the user's conversations, the last updated first."""

    async def messages(
        self, user: str, conversation_id: str, *, consistency: Consistency = Consistency.LATEST
    ) -> Sequence[Message]:
        """Return all messages of a conversation."""


class _Text(NamedTuple):
    """A message as it is searched."""

    message_id: str
    text: str
    folded: str


class _Remembered(NamedTuple):
    """What was read: texts of a conversation, the newest first, or a page of a list."""

    read_at: float  # by the monotonic clock
    version: int  # updated_ms of a conversation
    size: int
    what: Sequence[_Text] | Page[Conversation]


@dataclass(eq=False, slots=True)
class _Reading:
    """A read under way; ``is_current`` while nothing that it reads is written here."""

    name: tuple[str, ...]
    is_current: bool = True


class Scan:
    """Searches by reading conversations, the last updated first, until a page of hits is full or enough was read.

    What was read is remembered, so that the next letter of a word reads nothing. A call that has read `MOST_MESSAGES`,
    or taken `MOST_SECONDS`, returns what it has with a cursor from which the next one goes on.

    Args:
        place: what is searched; it says by `wrote` what changed here.
        most_bytes: for what is remembered, about.
    """

    def __init__(self, place: Readable, *, most_bytes: int = REMEMBERED_BYTES) -> None:
        self._place = place
        self._most_bytes = most_bytes
        self._bytes = 0
        self._remembered: OrderedDict[tuple[str, ...], _Remembered] = OrderedDict()
        self._readings: set[_Reading] = set()

    def wrote(self, user: str, conversation_id: str) -> None:
        """Forget what is not so any more: a conversation was written, or deleted, and the list has another order."""
        messages, lists = ("messages", user, conversation_id), ("list", user)
        self._forget(messages)
        for name in [name for name in self._remembered if name[:2] == lists]:
            self._forget(name)
        for reading in self._readings:
            if reading.name == messages or reading.name[:2] == lists:
                reading.is_current = False

    async def search(self, user: str, text: str, *, limit: int = 20, cursor: str | None = None) -> Page[Hit]:
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
                    texts, count = await self._texts(user, conversation)
                    read += count
                    hits += _hits(conversation, texts, words)
            if page.cursor is None:
                break
            cursor = page.cursor
        return Page(hits, None)

    async def _list(self, user: str, cursor: str | None) -> Page[Conversation]:
        name = "list", user, cursor or ""
        if (known := self._known(name, 0, LIST_SECONDS)) and isinstance(known.what, Page):
            return known.what
        with self._reading(name) as reading:
            page = await self._place.conversations(user, limit=MAX_PAGE, cursor=cursor)
        if reading.is_current:
            self._remember(name, 0, 600 * (1 + len(page.items)), page)
        return page

    async def _texts(self, user: str, conversation: Conversation) -> tuple[Sequence[_Text], int]:
        """Return the texts of a conversation, the newest first, and how many had to be read."""
        name = "messages", user, conversation.id
        known = self._known(name, conversation.updated_ms, TEXT_SECONDS)
        if known and not isinstance(known.what, Page):
            return known.what, 0
        with self._reading(name) as reading:
            try:
                messages = await self._place.messages(user, conversation.id, consistency=Consistency.CACHED)
            except ConversationNotFound:  # deleted meanwhile
                return [], 1
            texts = await asyncio.to_thread(_folded, messages)
        # An answer that is being written changes without moving its conversation.
        if reading.is_current and not any(message.status == "streaming" for message in messages):
            size = 600 + sum(200 + 2 * len(one.text) + 2 * len(one.folded) for one in texts)
            self._remember(name, conversation.updated_ms, size, texts)
        return texts, len(messages)

    @contextmanager
    def _reading(self, name: tuple[str, ...]) -> Iterator[_Reading]:
        reading = _Reading(name)
        self._readings.add(reading)
        try:
            yield reading
        finally:
            self._readings.discard(reading)

    def _known(self, name: tuple[str, ...], version: int, seconds: float) -> _Remembered | None:
        known = self._remembered.get(name)
        if known is None or known.version != version or time.monotonic() - known.read_at > seconds:
            return None
        self._remembered.move_to_end(name)
        return known

    def _remember(
        self, name: tuple[str, ...], version: int, size: int, what: Sequence[_Text] | Page[Conversation]
    ) -> None:
        self._forget(name)
        self._remembered[name] = _Remembered(time.monotonic(), version, size, what)
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._remembered)))

    def _forget(self, name: tuple[str, ...]) -> None:
        if known := self._remembered.pop(name, None):
            self._bytes -= known.size


def _folded(messages: Iterable[Message]) -> list[_Text]:
    newest_first = sorted(messages, key=lambda message: (message.created_ms, message.id), reverse=True)
    return [_Text(message.id, message.content, fold(message.content)) for message in newest_first]


def _hits(conversation: Conversation, texts: Sequence[_Text], words: list[str]) -> list[Hit]:
    """Return the one hit in a conversation, if there is one."""
    for message_id, text, folded in texts:
        if has_all(folded, words):
            return [Hit(conversation, message_id, *snippet(text, words))]
    if has_all(fold(conversation.title), words):
        return [Hit(conversation, "", *snippet(conversation.title, words))]
    return []
