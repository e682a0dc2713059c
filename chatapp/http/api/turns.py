"""Routes that start, stop and follow turns: a question, another answer to one, or the rest of an answer.

All but Stop respond with a stream of events: see `chatapp.http.api.stream`.
"""

from typing import Any

from fastapi import APIRouter

from chatapp.domain.conversation import Conversation, MessageStatus
from chatapp.domain.errors import WrittenElsewhere
from chatapp.generation.requests import TurnRequest
from chatapp.http.api.event_stream import EventStream
from chatapp.http.api.routing import ApiRoute, Chat, Services, UserId
from chatapp.http.api.schemas.base import Done, Empty
from chatapp.http.api.schemas.events import Event, Started, StartedConversation
from chatapp.http.api.schemas.turns import Continuation, NewAnswer, NewQuestion
from chatapp.http.api.stream import ConversationEvents

_ERROR = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorBody"}}}}
STREAM: dict[str, Any] = {
    "status_code": 200,
    "response_class": EventStream,
    "responses": {
        200: {"model": Event, "content": {"text/event-stream": {"schema": {"type": "object"}}}},
        "4XX": _ERROR,
        "5XX": _ERROR,
    },
}

router = APIRouter(prefix="/conversations", route_class=ApiRoute)
questions = APIRouter(route_class=ApiRoute)


@questions.post("/conversations", **STREAM)
async def start_conversation(question: NewQuestion, user: UserId, chat: Chat) -> EventStream:
    """Accept a question in a new conversation, and stream its answers."""
    return await _ask(chat, user, "", question)


@questions.post("/conversations/{conversation_id}/turns", **STREAM)
async def ask_question(conversation_id: str, question: NewQuestion, user: UserId, chat: Chat) -> EventStream:
    """Accept a question, and stream its answers."""
    return await _ask(chat, user, conversation_id, question)


@router.post("/{conversation_id}/answers", **STREAM)
async def regenerate(conversation_id: str, body: NewAnswer, user: UserId, chat: Chat) -> EventStream:
    """Have a question answered once more, and stream that answer."""
    conversation = await chat.turns.regenerate(
        user,
        conversation_id,
        body.question,
        body.answer(),
        answer_id=body.answer_id or "",
        is_retry=bool(body.answer_id) and body.retry,
    )
    return await _started(chat, user, conversation, body.after)


@router.post("/{conversation_id}/continuations", **STREAM)
async def continue_answer(conversation_id: str, body: Continuation, user: UserId, chat: Chat) -> EventStream:
    """Continue an answer that ended early, and stream it."""
    conversation = await chat.turns.continue_answer(user, conversation_id, body.message, body.answer())
    return await _started(chat, user, conversation, body.after)


@router.post("/{conversation_id}/stop")
async def stop(conversation_id: str, _body: Empty, user: UserId, chat: Chat) -> Done:
    """Stop the turn that is running; its streams end by themselves."""
    if not await chat.turns.stop(user, conversation_id):
        await chat.conversations.open(user, conversation_id)
        messages = await chat.store.messages(user, conversation_id)
        if any(message.status is MessageStatus.STREAMING for message in messages):
            raise WrittenElsewhere
    return Done()


@router.get("/{conversation_id}/events", **STREAM)
async def follow(conversation_id: str, user: UserId, chat: Chat, after: str = "") -> EventStream:
    """Stream a conversation from the message that follows ``after``, and the turn that is running in it."""
    return await EventStream.start(ConversationEvents(chat).follow(user, conversation_id, after))


async def _ask(chat: Services, user: str, conversation_id: str, question: NewQuestion) -> EventStream:
    answers = question.answers()
    request = TurnRequest(
        text=question.text,
        answers=answers,
        conversation_id=conversation_id,
        question_id=question.question_id or "",
        is_retry=bool(question.question_id) and question.retry,
        follows=question.follows,
        images=await chat.images.decoded([image.data for image in question.images or ()]),
        persona=question.persona,
        is_temporary=question.temporary,
    )
    return await _started(chat, user, await chat.turns.start(user, request), question.after)


async def _started(chat: Services, user: str, conversation: Conversation, after: str) -> EventStream:
    started = Started(started=StartedConversation(conversation=chat.opened(user, conversation)))
    return await EventStream.start(ConversationEvents(chat).follow(user, conversation.id, after), started)
