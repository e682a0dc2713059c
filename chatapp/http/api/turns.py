"""Routes that start, stop and follow turns: a question, another answer to one, or the rest of an answer.

All but Stop respond with a stream of events: see `chatapp.http.api.stream`.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from chatapp.domain.conversation import Conversation
from chatapp.domain.errors import ContinuedElsewhere
from chatapp.generation.requests import TurnRequest
from chatapp.http.api.documents import DocumentsOfRequest
from chatapp.http.api.event_stream import EventStream
from chatapp.http.api.images import ImagesOfRequest
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, Services, UserId
from chatapp.http.api.schemas.base import Done, Empty
from chatapp.http.api.schemas.events import Event, Started, StartedConversation
from chatapp.http.api.schemas.turns import AnswerOptions, Continuation, NewAnswer, NewQuestion
from chatapp.http.api.stream import ConversationEvents
from chatapp.http.errors import error_json, sentence_of

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

router = APIRouter(prefix="/conversations", route_class=ApiRoute, responses=ERRORS)
questions = APIRouter(route_class=ApiRoute, responses=ERRORS)


@questions.post("/conversations", **STREAM)
async def start_conversation(question: NewQuestion, user: UserId, chat: Chat) -> Response:
    """Accept a question in a new conversation, and stream its answers."""
    return await _ask(chat, user, "", question)


@questions.post("/conversations/{conversation_id}/turns", **STREAM)
async def ask_question(conversation_id: str, question: NewQuestion, user: UserId, chat: Chat) -> Response:
    """Accept a question, and stream its answers."""
    return await _ask(chat, user, conversation_id, question)


@router.post("/{conversation_id}/answers", **STREAM)
async def regenerate(conversation_id: str, body: NewAnswer, user: UserId, chat: Chat) -> Response:
    """Have a question answered once more, and stream that answer."""
    try:
        conversation = await chat.turns.regenerate(
            user,
            conversation_id,
            body.question,
            body.answer(),
            answer_id=body.answer_id or "",
            is_retry=bool(body.answer_id) and body.retry,
        )
    except ContinuedElsewhere as error:
        return await _continued(chat, user, conversation_id, body, error)
    return await _started(chat, user, conversation, body)


@router.post("/{conversation_id}/continuations", **STREAM)
async def continue_answer(conversation_id: str, body: Continuation, user: UserId, chat: Chat) -> Response:
    """Continue an answer that ended early, and stream it."""
    try:
        conversation = await chat.turns.continue_answer(user, conversation_id, body.message, body.answer())
    except ContinuedElsewhere as error:
        return await _continued(chat, user, conversation_id, body, error)
    return await _started(chat, user, conversation, body)


@router.post("/{conversation_id}/stop")
async def stop(conversation_id: str, _body: Empty, user: UserId, chat: Chat) -> Done:
    """Stop the turn that is running; its streams end by themselves."""
    if not await chat.turns.stop(user, conversation_id):
        await chat.conversations.open(user, conversation_id)
    return Done()


@router.get("/{conversation_id}/events", **STREAM)
async def follow(
    conversation_id: str,
    user: UserId,
    chat: Chat,
    after: str = "",
    shown: Annotated[int | None, Query(ge=0)] = None,
    quick: bool = False,  # noqa: FBT001, FBT002  # a query parameter
) -> EventStream:
    """Stream a conversation from the message that follows ``after``, and the turn that is running in it.

    ``shown`` is how many messages the page has up to that one, with the earlier ones; another replica may have inserted
    some. A ``quick`` look is for while the person types: it costs nothing where nothing is new.
    """
    return await EventStream.start(ConversationEvents(chat).follow(user, conversation_id, after, shown, quick=quick))


async def _ask(chat: Services, user: str, conversation_id: str, question: NewQuestion) -> Response:
    answers = question.answers()
    images = ImagesOfRequest(chat, user, question.images or ())
    documents = DocumentsOfRequest(chat, user, question.documents or ())
    request = TurnRequest(
        text=question.text,
        answers=answers,
        conversation_id=conversation_id,
        question_id=question.question_id or "",
        is_retry=bool(question.question_id) and question.retry,
        follows=question.follows,
        seen=question.seen_message(),
        images=images,
        documents=documents,
        persona=question.persona,
        collection=question.collection,
        folder=question.folder,
        is_temporary=question.temporary,
    )
    try:
        conversation = await chat.turns.start(user, request)
    except ContinuedElsewhere as error:
        return await _continued(chat, user, conversation_id, question, error)
    images.drop_uploads()
    documents.drop_uploads()
    return await _started(chat, user, conversation, question)


async def _started(chat: Services, user: str, conversation: Conversation, body: AnswerOptions) -> EventStream:
    started = Started(started=StartedConversation(conversation=chat.opened(user, conversation)))
    events = ConversationEvents(chat).follow(user, conversation.id, body.after, body.shown)
    return await EventStream.start(events, started)


async def _continued(
    chat: Services, user: str, conversation_id: str, body: AnswerOptions, error: ContinuedElsewhere
) -> Response:
    """Refuse a request whose page does not show the newest messages, and send it those messages."""
    event = await ConversationEvents(chat).newer_messages(user, conversation_id, body.after)
    return error_json(409, sentence_of(error), **event.model_dump(mode="json", by_alias=True))
