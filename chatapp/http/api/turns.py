"""Asking: a question in a new conversation or in one that is there, another answer, the rest of one, and Stop.

    POST /conversations                    a question; its conversation begins with it
    POST /conversations/{id}/turns         a question
    POST /conversations/{id}/answers       another answer to a question
    POST /conversations/{id}/continuations the rest of an answer that ended early
    POST /conversations/{id}/stop          end what is being written
    GET  /conversations/{id}/events        a conversation as it is, and what is written in it

All but Stop answer with a stream of events: see `chatapp.http.api.stream`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from chatapp.auth import current_user_id
from chatapp.domain.conversation import MessageStatus
from chatapp.domain.errors import WrittenElsewhere
from chatapp.domain.images import Pictures
from chatapp.generation.requests import TurnRequest
from chatapp.http.api import facts, requests
from chatapp.http.api.stream import streamed
from chatapp.http.errors import ApiRoute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from chatapp.conversations.service import Conversations
    from chatapp.domain.conversation import Conversation
    from chatapp.generation.runner import TurnRunner
    from chatapp.http.api.stream import Streams
    from chatapp.store import Store


LONGEST_PERSONA_ID = 200


class TurnRoutes:
    """The routes.

    Args:
        max_images: how many pictures a message may have.
    """

    def __init__(
        self,
        store: Store,
        turns: TurnRunner,
        streams: Streams,
        conversations: Conversations,
        *,
        max_images: int,
    ) -> None:
        self._store = store
        self._turns = turns
        self._streams = streams
        self._conversations = conversations
        self._pictures = Pictures(max_images)

    def router(self) -> APIRouter:
        """Return them, for the app."""
        routes = APIRouter(prefix="/conversations", route_class=ApiRoute, include_in_schema=False)
        routes.add_api_route("", self.send, methods=["POST"], response_model=None)
        routes.add_api_route("/{conversation_id}/turns", self.send, methods=["POST"], response_model=None)
        routes.add_api_route("/{conversation_id}/answers", self.regenerate, methods=["POST"], response_model=None)
        routes.add_api_route(
            "/{conversation_id}/continuations", self.continue_answer, methods=["POST"], response_model=None
        )
        routes.add_api_route("/{conversation_id}/stop", self.stop, methods=["POST"], response_model=None)
        routes.add_api_route("/{conversation_id}/events", self.events, methods=["GET"], response_model=None)
        return routes

    async def send(self, request: Request, conversation_id: str = "") -> Response:
        """Take a question, in a new conversation if none is named, and stream its answers."""
        asked = await requests.sent(request, most_bytes=requests.most_sent_bytes(self._pictures.most))
        answers = [requests.answer(asked)]
        if (second := requests.second_answer(asked, answers[0])) is not None:
            answers.append(second)
        question_id = requests.name(asked, "question")
        images = await self._pictures.decoded(requests.pictures(asked))
        conversation = await self._turns.start(
            current_user_id(request),
            TurnRequest(
                text=asked.get("text"),  # type: ignore[arg-type]  # the runner checks it
                answers=answers,
                conversation_id=conversation_id,
                question_id=question_id,
                is_retry=bool(question_id and asked.get("again")),
                follows=requests.optional_text(asked, "follows"),
                images=images,
                persona=requests.optional_text(asked, "persona", longest=LONGEST_PERSONA_ID),
                is_temporary=asked.get("temporary") is True,
            ),
        )
        return await self._begun(request, conversation, asked)

    async def regenerate(self, request: Request, conversation_id: str) -> Response:
        """Answer a question once more, and stream that."""
        asked = await requests.sent(request)
        answer_id = requests.name(asked, "answer")
        conversation = await self._turns.regenerate(
            current_user_id(request),
            conversation_id,
            requests.text(asked, "question"),
            requests.answer(asked),
            answer_id=answer_id,
            is_retry=bool(answer_id and asked.get("again")),
        )
        return await self._begun(request, conversation, asked)

    async def continue_answer(self, request: Request, conversation_id: str) -> Response:
        """Continue an answer that ended early, and stream it."""
        asked = await requests.sent(request)
        conversation = await self._turns.continue_answer(
            current_user_id(request), conversation_id, requests.text(asked, "message"), requests.answer(asked)
        )
        return await self._begun(request, conversation, asked)

    async def stop(self, request: Request, conversation_id: str) -> Response:
        """Stop what is being written; whoever watches it sees its end."""
        await requests.sent(request)
        user = current_user_id(request)
        if not await self._turns.stop(user, conversation_id):
            await self._conversations.open(user, conversation_id)
            messages = await self._store.messages(user, conversation_id)
            if any(message.status is MessageStatus.STREAMING for message in messages):
                raise WrittenElsewhere
        return JSONResponse({})

    async def events(self, request: Request, conversation_id: str, after: str = "") -> Response:
        """Stream a conversation from the message after ``after``, and what is being written in it."""
        return await streamed(self._streams.follow(current_user_id(request), conversation_id, after))

    async def _begun(self, request: Request, conversation: Conversation, asked: Mapping[str, Any]) -> Response:
        user = current_user_id(request)
        writing = self._turns.is_busy(user, conversation.id)
        started = {"started": {"conversation": facts.opened(conversation, writing=writing)}}
        return await streamed(self._streams.follow(user, conversation.id, requests.text(asked, "after")), started)
