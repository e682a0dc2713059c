"""The open conversation, live: sending a message, and following what is written in it.

Not through Gradio's queue, where each update of each page costs four times as much and the whole conversation goes
through every one of them (figures: docs/decisions.md). ``assets/chat.js`` is the other end.

A stream is server-sent events, each a JSON object with one of these keys:

    started    {"conversation": id, "listing": [updates of the list and its button]}; first, after a message was taken
    messages   [entry, ...] and ``after``: these follow the message with that id, in place of all that did; "" all
    text       what is added to the last message
    last       entry: the last message as it is now
    error      a sentence
    end        nothing more will come

An entry is {"id", "shown": Gradio's chatbot message, "writing": it is being written, "goOn": it can be continued}.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, StreamingResponse

from chatapp.conversation import GenerationParameters, Message, MessageStatus
from chatapp.errors import (
    ConversationBusy,
    ConversationNotFound,
    InvalidMessage,
    InvalidParameters,
    ModelUnavailable,
    NothingToContinue,
    StoreUnavailable,
    TooManyTurns,
    UnknownModel,
)
from chatapp.identity import user_of
from chatapp.turns import can_go_on
from chatapp.ui.refusals import words
from chatapp.ui.render import chatbot_message

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

    from starlette.responses import Response

    from chatapp.conversation import Conversation
    from chatapp.models.catalog import Catalog
    from chatapp.store import ConversationStore
    from chatapp.turn import Turn
    from chatapp.turns import TurnRunner

    Event = dict[str, Any]

POLL_SECONDS = 2.0  # how often another copy's answer is looked at; each look is one read of one document
MOST_POLLS = 900
MOST_BODY_BYTES = 8_000_000  # the longest message in any alphabet, escaped, with room
STATUSES: dict[type[Exception], int] = {
    InvalidMessage: 422,
    InvalidParameters: 422,
    UnknownModel: 422,
    ConversationNotFound: 404,
    ConversationBusy: 409,
    NothingToContinue: 409,
    TooManyTurns: 429,
    ModelUnavailable: 503,
    StoreUnavailable: 503,
}
_PING = b": nothing new\n\n"


class Live:
    """The routes of the open conversation.

    Args:
        listing: returns the updates of the sidebar's list, given the user, the open conversation and how many to list.
    """

    def __init__(
        self,
        store: ConversationStore,
        catalog: Catalog,
        turns: TurnRunner,
        listing: Callable[[str, str, int], Awaitable[list[Any]]],
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._turns = turns
        self._listing = listing

    def router(self) -> APIRouter:
        """Return the routes, for the app."""
        router = APIRouter(prefix="/conversations", include_in_schema=False)
        router.add_api_route("", self.send, methods=["POST"], response_model=None)
        router.add_api_route("/{conversation_id}/turns", self.send, methods=["POST"], response_model=None)
        router.add_api_route("/{conversation_id}/continuations", self.go_on, methods=["POST"], response_model=None)
        router.add_api_route("/{conversation_id}/events", self.events, methods=["GET"], response_model=None)
        return router

    async def send(self, request: Request, conversation_id: str = "") -> Response:
        """Take a message, in a new conversation if none is named, and stream its answer."""

        async def begin(user: str, asked: Mapping[str, Any]) -> Conversation:
            text, model, parameters = asked.get("text"), asked.get("model"), _parameters(asked)
            question_id = asked.get("question")
            if not isinstance(question_id, str) or not re.fullmatch("[0-9a-f]{32}", question_id):
                question_id = ""
            return await self._turns.start(
                user,
                conversation_id,
                text,  # type: ignore[arg-type]  # it checks, as it does the model
                model,  # type: ignore[arg-type]
                parameters,
                question_id=question_id,
                again=bool(question_id and asked.get("again")),
            )

        return await self._begin(request, begin)

    async def go_on(self, request: Request, conversation_id: str) -> Response:
        """Continue an answer that ended early, and stream it."""

        async def begin(user: str, asked: Mapping[str, Any]) -> Conversation:
            message, model, parameters = str(asked.get("message")), asked.get("model"), _parameters(asked)
            return await self._turns.go_on(user, conversation_id, message, model, parameters)  # type: ignore[arg-type]  # it checks

        return await self._begin(request, begin)

    async def events(self, request: Request, conversation_id: str, after: str = "") -> Response:
        """Stream a conversation from the message after ``after``, and the answer that is being written in it."""
        return await _streamed(self._events(user_of(request), conversation_id, after))

    async def _begin(
        self, request: Request, begin: Callable[[str, Mapping[str, Any]], Awaitable[Conversation]]
    ) -> Response:
        try:
            asked = await _json(request)
            user = user_of(request)
            conversation = await begin(user, asked)
        except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
            return _refused(error)
        try:
            listing = await self._listing(user, conversation.id, asked.get("length", 0))
        except Exception as error:  # noqa: BLE001  # the message was taken all the same
            words(error)
            listing = [{"__type__": "update"}] * 2
        started = {"started": {"conversation": conversation.id, "listing": listing}}
        return await _streamed(self._events(user, conversation.id, str(asked.get("after", ""))), started)

    async def _events(self, user: str, conversation_id: str, after: str) -> AsyncGenerator[Event | None]:
        """Yield what is to be shown, None where nothing has changed."""
        turn = self._turns.current(user, conversation_id)
        if turn is not None and turn.follows == after:  # all that is new is here
            new = _with_turn([], turn)
        else:
            messages = await self._store.messages(user, conversation_id)
            turn = self._turns.current(user, conversation_id)
            messages = _with_turn(messages, turn)
            position = next((i for i, message in enumerate(messages) if after and message.id == after), -1)
            after, new = (after if position >= 0 else ""), messages[position + 1 :]
        place = turn.place if turn else 0
        yield {"after": after, "messages": [self._entry(message, place) for message in new]}
        if turn is not None:
            answer = new[-1]
            async with aclosing(turn.watch()) as answers:
                async for now in answers:
                    yield self._change(answer, now, place, turn.place)
                    answer, place = now, turn.place
        elif new and new[-1].status is MessageStatus.STREAMING:
            async with aclosing(self._polled(user, conversation_id, new[-1])) as changes:
                async for change in changes:
                    yield change
        yield {"end": True}

    async def _polled(self, user: str, conversation_id: str, answer: Message) -> AsyncGenerator[Event | None]:
        """Yield what changes of an answer that another copy of the chat writes (or that ended just now)."""
        for _ in range(MOST_POLLS):
            now = await self._store.message(user, conversation_id, answer.id)
            yield self._change(answer, now, 0, 0)
            answer = now
            if answer.status is not MessageStatus.STREAMING:
                return
            await asyncio.sleep(POLL_SECONDS)

    def _change(self, before: Message, now: Message, place_before: int, place: int) -> Event | None:
        if now.status is not MessageStatus.STREAMING or bool(before.content) != bool(now.content):
            return {"last": self._entry(now, place)}
        if len(now.content) > len(before.content):
            return {"text": now.content[len(before.content) :]}
        return {"last": self._entry(now, place)} if place != place_before else None

    def _entry(self, message: Message, place: int) -> Event:
        shown = chatbot_message(message, self._catalog.label, place=place)
        writing = message.status is MessageStatus.STREAMING
        return {"id": message.id, "shown": shown, "writing": writing, "goOn": can_go_on(message)}


def _with_turn(messages: list[Message], turn: Turn | None) -> list[Message]:
    """Return the messages with those of the running turn as they are now."""
    if turn is None:
        return messages
    running = [message for message in (turn.question, turn.answer()) if message is not None]
    ids = {message.id for message in running}
    return [*(message for message in messages if message.id not in ids), *running]


async def _streamed(events: AsyncGenerator[Event | None], *before: Event) -> Response:
    """Return the events as a response; what is refused before the first becomes a status of its own."""
    try:
        first = await anext(events)
    except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
        return _refused(error)

    async def lines() -> AsyncGenerator[bytes]:
        for event in (*before, first):
            yield _line(event)
        try:
            async with aclosing(events):
                async for event in events:
                    yield _line(event)
        except Exception as error:  # noqa: BLE001  # nothing but words may reach the page
            yield _line({"error": words(error)})

    return StreamingResponse(lines(), media_type="text/event-stream")


def _line(event: Event | None) -> bytes:
    return _PING if event is None else b"data: %b\n\n" % json.dumps(event, ensure_ascii=False).encode()


def _refused(error: Exception) -> Response:
    status = next((code for kind, code in STATUSES.items() if isinstance(error, kind)), 500)
    return JSONResponse({"error": words(error)}, status)


async def _json(request: Request) -> dict[str, Any]:
    """Return the object that was sent.

    Raises:
        InvalidMessage: it is none. Another site's page cannot send one: a form has no such type, and a script would
            have to ask first, which is not answered.
    """
    problem = InvalidMessage("The page sent something that the chat does not understand. Reload it and send again.")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise problem
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BODY_BYTES:
            raise InvalidMessage("This is far more than can be sent at once. Shorten it; it is still in the box.")
    try:
        sent = json.loads(body)
    except (ValueError, RecursionError):
        raise problem from None
    if not isinstance(sent, dict):
        raise problem
    return sent


def _parameters(asked: Mapping[str, Any]) -> GenerationParameters:
    names = ("temperature", "top_p", "max_tokens")
    known = {name: asked[name] for name in names if name in asked}
    return GenerationParameters(**known, system_prompt=asked.get("system_prompt") or "")
