"""The open conversation as a stream of events: what is there, and what is written in it, by whomever.

Not through Gradio's queue, where each update of each page costs four times as much and the whole conversation goes
through every one of them (figures: docs/decisions.md). Server-sent events, each a JSON object with one of these keys:

    started       {"conversation": `facts.opened`}; first, after a message was taken
    messages      [entry, ...] and ``after``: these follow the message with that id, in place of all that did; "" all,
                  of which ``earlier`` come before the first and are not sent, with ``conversation``: `facts.opened`
    id            of the message that ``text`` is added to
    entry         that message as it is now
    title         the conversation's, once a model gave it one
    error         a sentence
    end           nothing more will come
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi.responses import StreamingResponse

from chatapp.domain.conversation import Message, MessageStatus
from chatapp.domain.message_tree import MessageTree
from chatapp.domain.sentences import as_json
from chatapp.http.api import facts
from chatapp.http.errors import sentence_of
from chatapp.store import Consistency

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from starlette.responses import Response

    from chatapp.conversations.service import Conversations
    from chatapp.domain.conversation import Conversation
    from chatapp.generation.runner import TurnRunner
    from chatapp.generation.turn import RunningAnswer, Turn
    from chatapp.models.catalog import Catalog
    from chatapp.store import Store

    Event = dict[str, Any]

MESSAGES_AT_ONCE = 50
POLL_SECONDS = 2.0  # how often another copy's answer is looked at; each look is one read of one document
MOST_POLLS = 900
_PING = b": nothing new\n\n"


class Streams:
    """Makes the streams of open conversations."""

    def __init__(self, store: Store, catalog: Catalog, turns: TurnRunner, conversations: Conversations) -> None:
        self._store = store
        self._catalog = catalog
        self._turns = turns
        self._conversations = conversations

    async def follow(self, user: str, conversation_id: str, after: str) -> AsyncGenerator[Event | None]:
        """Yield what a page that shows all up to ``after`` is to show, None where nothing has changed."""
        turn = self._turns.current(user, conversation_id)
        if turn is not None and (turn.follows in {"", after} or turn.branches.is_beneath(after, turn.follows)):
            seen = _seen(turn)
            # All that the page has not is here.
            yield self._what_is_new(turn) | _opened(turn.conversation, after, writing=True)
        else:
            shown = await self._shown(user, conversation_id)
            turn = self._turns.current(user, conversation_id)
            seen = _seen(turn) if turn else {}
            opened = _opened(shown.conversation, after, writing=turn is not None)
            yield self._what_follows(shown, after, turn) | opened
            if turn is None:
                async with aclosing(self._written_elsewhere(user, conversation_id, shown)) as changes:
                    async for change in changes:
                        yield change
        if turn is not None:
            async with aclosing(self._written(turn, seen)) as changes:
                async for change in changes:
                    yield change
        yield {"end": True}

    async def before(self, user: str, conversation_id: str, message_id: str) -> Event:
        """Return the messages before one of a conversation."""
        shown = await self._shown(user, conversation_id)
        path = shown.path
        if all(message.id != message_id for message, _ in path):
            path = [(message, 0) for message in shown.branches.path_to(message_id)]
        position = next((i for i, (message, _) in enumerate(path) if message.id == message_id), 0)
        first = max(0, position - MESSAGES_AT_ONCE)
        return {"messages": [self._entry(shown.branches, one) for one, _ in path[first:position]], "earlier": first}

    async def _shown(self, user: str, conversation_id: str) -> _Shown:
        conversation = await self._conversations.open(user, conversation_id, consistency=Consistency.CACHED)
        messages = await self._store.messages(user, conversation_id)
        if (turn := self._turns.current(user, conversation_id)) is not None:
            conversation, messages = turn.conversation, _with_turn(messages, turn)
        branches = MessageTree(messages)
        return _Shown(conversation, branches, branches.shown(conversation.branch))

    def _what_is_new(self, turn: Turn) -> Event:
        """Return the event with the messages of a turn, for a page that shows what they follow."""
        new, after, branches = turn.messages(), turn.follows, turn.branches
        if branches.experiment(after):  # the page shows two columns, of which one is followed now
            new, after = [branches.messages[after], *new], branches.before(after)
        entries = [self._entry(branches, message, turn.column(message.id), turn) for message in new]
        return {"messages": entries, "after": after, "earlier": 0}

    def _what_follows(self, shown: _Shown, after: str, turn: Turn | None) -> Event:
        """Return the event with the messages after one, or with the last of all if that is not shown any more."""
        branches, path = shown.branches, shown.path
        if after in branches.messages and branches.experiment(after):
            after = branches.before(after)  # how it is shown may have changed
        position = next((i for i, (message, _) in enumerate(path) if message.id == after), -1)
        new = path[position + 1 :]
        earlier = 0 if position >= 0 else max(0, len(new) - MESSAGES_AT_ONCE)
        entries = [self._entry(branches, message, column, turn) for message, column in new[earlier:]]
        return {"messages": entries, "after": after if position >= 0 else "", "earlier": earlier}

    async def _written(self, turn: Turn, seen: dict[str, _Seen]) -> AsyncGenerator[Event | None]:
        """Yield what changes of the answers of a turn; at the end, the conversation's title if it got one."""
        async with aclosing(turn.watch()) as changes:
            async for _ in changes:
                quiet = True
                for answer in turn.answers:
                    before, now = seen[answer.id], _Seen(answer)
                    seen[answer.id] = now  # before the yield, in which more may be written
                    if now.state != before.state:
                        quiet = False
                        entry = self._entry(turn.branches, answer.message(), turn.column(answer.id), turn)
                        yield {"entry": entry}
                    elif now.length > before.length:
                        quiet = False
                        yield {"id": answer.id, "text": answer.text[before.length :]}
                if quiet:
                    yield None
        if turn.title is not None:
            await asyncio.wait({turn.title})
            if not turn.title.cancelled() and (title := turn.title.result()):
                yield {"title": title}

    async def _written_elsewhere(self, user: str, conversation_id: str, shown: _Shown) -> AsyncGenerator[Event | None]:
        """Yield what changes of answers that another copy of the chat writes (or that ended just now)."""
        running = {m.id: (m, column) for m, column in shown.path if m.status is MessageStatus.STREAMING}
        for _ in range(MOST_POLLS):
            if not running:
                return
            for before, column in list(running.values()):
                now = await self._store.message(user, conversation_id, before.id)
                ended = now.status is not MessageStatus.STREAMING
                if ended or bool(before.content) != bool(now.content):
                    yield {"entry": self._entry(shown.branches, now, column)}
                elif len(now.content) > len(before.content):
                    yield {"id": now.id, "text": now.content[len(before.content) :]}
                else:
                    yield None
                running[now.id] = now, column
                if ended:
                    del running[now.id]
            await asyncio.sleep(POLL_SECONDS)

    def _entry(self, branches: MessageTree, message: Message, column: int = 0, turn: Turn | None = None) -> Event:
        waits = next((answer.queue_position for answer in turn.answers if answer.id == message.id), 0) if turn else 0
        versions = branches.versions(message.id)
        return facts.entry(message, self._catalog.label, waits=waits, versions=versions, column=column)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A conversation, and what is shown of it: each message with its column."""

    conversation: Conversation
    branches: MessageTree
    path: Sequence[tuple[Message, int]]


class _Seen:
    """What a page was told of an answer: how much of its text, and whatever else makes it be sent whole again."""

    __slots__ = ("length", "state")

    def __init__(self, answer: RunningAnswer) -> None:
        self.length = len(answer.text)
        self.state = bool(answer.text), answer.queue_position, answer.has_ended


def _seen(turn: Turn) -> dict[str, _Seen]:
    return {answer.id: _Seen(answer) for answer in turn.answers}


def _with_turn(messages: Sequence[Message], turn: Turn) -> list[Message]:
    """Return the messages with those of the running turn as they are now."""
    running = turn.messages()
    ids = {message.id for message in running}
    return [*(message for message in messages if message.id not in ids), *running]


def _opened(conversation: Conversation, after: str, *, writing: bool) -> Event:
    """Return what a page that knows nothing yet is told of the conversation itself."""
    return {} if after else {"conversation": facts.opened(conversation, writing=writing)}


async def streamed(events: AsyncGenerator[Event | None], *before: Event) -> Response:
    """Return the events as a response; what is refused before the first becomes a status of its own."""
    first = await anext(events)

    async def lines() -> AsyncGenerator[bytes]:
        for event in (*before, first):
            yield _line(event)
        try:
            async with aclosing(events):
                async for event in events:
                    yield _line(event)
        except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
            yield _line({"error": as_json(sentence_of(error))})

    return StreamingResponse(lines(), media_type="text/event-stream")


def _line(event: Event | None) -> bytes:
    return _PING if event is None else b"data: %b\n\n" % json.dumps(event, ensure_ascii=False).encode()
