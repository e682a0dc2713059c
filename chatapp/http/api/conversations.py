"""Routes of conversations: list, search, changes, earlier messages, feedback and images."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from chatapp.auth import audit
from chatapp.auth.audit import Action
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, Services, UserId
from chatapp.http.api.schemas.base import Done, Empty
from chatapp.http.api.schemas.conversations import (
    ConversationChange,
    ConversationItem,
    ConversationPage,
    SearchHit,
    SearchPage,
    Undo,
)
from chatapp.http.api.schemas.messages import FeedbackChange, MessagePage
from chatapp.http.api.stream import ConversationEvents
from chatapp.store.values import MAX_PAGE

PAGE_SIZE = 50
MAX_SEARCH_CHARS = 500
IMAGE_TYPES = {"image/jpeg", "image/png", "image/webp"}
IMAGE_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",  # an image never changes under its id
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
}

router = APIRouter(route_class=ApiRoute, responses=ERRORS)


@router.get("/conversations")
async def list_conversations(
    user: UserId,
    chat: Chat,
    cursor: str = "",
    archived: bool = False,  # noqa: FBT001, FBT002  # a query parameter
    folder: str = "",
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE_SIZE,
) -> ConversationPage:
    """Return a page of the list, or all of a folder, up to 500."""
    if folder:
        listed = await chat.conversations.in_folder(user, folder, archived=archived)
        return ConversationPage(pinned=[], items=[chat.item(user, one) for one in listed], cursor=None)
    return await conversation_page(chat, user, cursor=cursor or None, archived=archived, limit=limit)


@router.patch("/conversations/{conversation_id}")
async def change_conversation(
    conversation_id: str, change: ConversationChange, user: UserId, chat: Chat
) -> ConversationItem:
    """Rename, pin, archive or move a conversation, choose its collection, or show another version of a message."""
    conversations, changed = chat.conversations, change.model_fields_set
    if "title" in changed:
        conversation = await conversations.rename(user, conversation_id, change.title)
    if "pinned" in changed:
        conversation = await conversations.pin(user, conversation_id, pinned=change.pinned)
    if "archived" in changed:
        conversation = await conversations.archive(user, conversation_id, archived=change.archived)
    moved: dict[str, str] = {name: getattr(change, name) for name in ("collection", "folder") if name in changed}
    if moved:
        await chat.library.refuse_missing(user, **moved)
        conversation = await conversations.move(user, conversation_id, moved)
    if "branch" in changed:
        conversation = await conversations.switch(user, conversation_id, change.branch)
    return chat.item(user, conversation)


@router.delete("/conversations/{conversation_id}")
async def delete_conversation(conversation_id: str, user: UserId, chat: Chat) -> Undo:
    """Delete a conversation, which can be undone for a moment."""
    await chat.conversations.delete(user, conversation_id)
    audit.record(Action.DELETE, user)
    return Undo(undo_seconds=chat.conversations.undo_seconds)


@router.post("/conversations/{conversation_id}/restore")
async def restore_conversation(conversation_id: str, _body: Empty, user: UserId, chat: Chat) -> ConversationItem:
    """Undo a deletion."""
    return chat.item(user, await chat.conversations.restore(user, conversation_id))


@router.get("/conversations/{conversation_id}/messages")
async def list_earlier_messages(conversation_id: str, user: UserId, chat: Chat, before: str = "") -> MessagePage:
    """Return the messages before those that are shown."""
    return await ConversationEvents(chat).earlier_messages(user, conversation_id, before)


@router.put("/conversations/{conversation_id}/messages/{message_id}/feedback")
async def change_feedback(
    conversation_id: str, message_id: str, change: FeedbackChange, user: UserId, chat: Chat
) -> Done:
    """Store the user's feedback on an answer."""
    await chat.conversations.rate(user, conversation_id, message_id, change.feedback)
    return Done()


@router.get(
    "/conversations/{conversation_id}/images/{image_id}",
    response_class=Response,
    responses={200: {"content": {media_type: {} for media_type in sorted(IMAGE_TYPES)}}},
)
async def read_image(conversation_id: str, image_id: str, user: UserId, chat: Chat) -> Response:
    """Return an image of a question."""
    image = await chat.conversations.image(user, conversation_id, image_id)
    media_type = image.media_type if image.media_type in IMAGE_TYPES else "application/octet-stream"
    return Response(image.data, headers=IMAGE_HEADERS, media_type=media_type)


@router.get("/search")
async def search(
    user: UserId,
    chat: Chat,
    q: str = "",
    cursor: str = "",
    thinking: bool = False,  # noqa: FBT001, FBT002  # a query parameter
) -> SearchPage:
    """Search the conversations; with ``thinking``, also what the models thought."""
    page = await chat.conversations.search(user, q[:MAX_SEARCH_CHARS], cursor=cursor or None, thinking=thinking)
    hits = [
        SearchHit(
            conversation=chat.item(user, hit.conversation),
            message_id=hit.message_id,
            before=hit.before,
            match=hit.match,
            after=hit.after,
            in_thinking=hit.in_thinking,
        )
        for hit in page.items
    ]
    return SearchPage(hits=hits, cursor=page.cursor)


async def conversation_page(
    chat: Services, user: str, *, cursor: str | None = None, limit: int = PAGE_SIZE, archived: bool = False
) -> ConversationPage:
    """Return a page of the list; the pinned conversations come with the first."""
    pinned = [] if cursor or archived else await chat.conversations.pinned(user)
    page = await chat.conversations.listed(user, cursor=cursor, limit=limit, archived=archived)
    return ConversationPage(
        pinned=[chat.item(user, conversation) for conversation in pinned],
        items=[chat.item(user, conversation) for conversation in page.items],
        cursor=page.cursor,
    )
