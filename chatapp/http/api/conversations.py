"""Conversations besides what is written in them.

GET    /conversations?cursor=&archived=0|1&limit=50        a page of the list
PATCH  /conversations/{id}                                 title, pinned, archived, branch
DELETE /conversations/{id}                                 which can be undone for a moment:
POST   /conversations/{id}/restore
GET    /conversations/{id}/messages?before={message}       those before what a stream began with
PUT    /conversations/{id}/messages/{message}/feedback     what the person thinks of an answer
GET    /conversations/{id}/images/{image}                  a picture
GET    /search?q=&cursor=                                  conversations by their words
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from chatapp.auth import audit, current_user_id
from chatapp.auth.audit import Action
from chatapp.domain.conversation import Feedback
from chatapp.http.api import facts, requests
from chatapp.http.errors import ApiRoute
from chatapp.store.values import MAX_PAGE

if TYPE_CHECKING:
    from chatapp.conversations.service import Conversations
    from chatapp.domain.conversation import Conversation
    from chatapp.generation.runner import TurnRunner
    from chatapp.http.api.stream import Streams

LISTED = 50
LONGEST_SEARCH = 500  # characters
PICTURES = {"image/jpeg", "image/png", "image/webp"}
_PICTURE_HEADERS = {
    "cache-control": "private, max-age=31536000, immutable",  # a picture never changes under its id
    "content-security-policy": "default-src 'none'; sandbox",
    "cross-origin-resource-policy": "same-origin",
}


class ConversationRoutes:
    """The routes."""

    def __init__(self, conversations: Conversations, turns: TurnRunner, streams: Streams) -> None:
        self._conversations = conversations
        self._turns = turns
        self._streams = streams

    def router(self) -> APIRouter:
        """Return them, for the app."""
        routes = APIRouter(include_in_schema=False, route_class=ApiRoute)
        one = "/conversations/{conversation_id}"
        routes.add_api_route("/conversations", self.listed, methods=["GET"], response_model=None)
        routes.add_api_route(one, self.change, methods=["PATCH"], response_model=None)
        routes.add_api_route(one, self.delete, methods=["DELETE"], response_model=None)
        routes.add_api_route(f"{one}/restore", self.restore, methods=["POST"], response_model=None)
        routes.add_api_route(f"{one}/messages", self.messages, methods=["GET"], response_model=None)
        rate = f"{one}/messages/{{message_id}}/feedback"
        routes.add_api_route(rate, self.rate, methods=["PUT"], response_model=None)
        routes.add_api_route(f"{one}/images/{{image_id}}", self.image, methods=["GET"], response_model=None)
        routes.add_api_route("/search", self.search, methods=["GET"], response_model=None)
        return routes

    async def listed(self, request: Request) -> Response:
        """Return a page of the list."""
        asked = request.query_params
        limit = asked.get("limit", "")
        listed = await page(
            self._conversations,
            self._turns,
            current_user_id(request),
            cursor=asked.get("cursor") or None,
            limit=min(max(int(limit), 1), MAX_PAGE) if re.fullmatch("[0-9]{1,4}", limit) else LISTED,
            archived=asked.get("archived") == "1",
        )
        return JSONResponse(listed)

    async def change(self, request: Request, conversation_id: str) -> Response:
        """Rename, pin or archive, or show another branch."""
        asked, user, changed = await requests.sent(request), current_user_id(request), None
        for key, value in asked.items():
            match key, value:
                case "title", str():
                    changed = await self._conversations.rename(user, conversation_id, value)
                case "pinned", bool():
                    changed = await self._conversations.pin(user, conversation_id, pinned=value)
                case "archived", bool():
                    changed = await self._conversations.archive(user, conversation_id, archived=value)
                case "branch", str():
                    changed = await self._conversations.switch(user, conversation_id, value)
                case _:
                    raise requests.not_understood()
        if changed is None:
            raise requests.not_understood()
        return JSONResponse(self._item(user, changed))

    async def delete(self, request: Request, conversation_id: str) -> Response:
        """Delete, and say for how long that can be undone."""
        await self._conversations.delete(current_user_id(request), conversation_id)
        audit.record(Action.DELETE, current_user_id(request))
        return JSONResponse({"undoSeconds": self._conversations.undo_seconds})

    async def restore(self, request: Request, conversation_id: str) -> Response:
        """Undo a deletion."""
        await requests.sent(request)
        user = current_user_id(request)
        return JSONResponse(self._item(user, await self._conversations.restore(user, conversation_id)))

    async def messages(self, request: Request, conversation_id: str, before: str = "") -> Response:
        """Return the messages before those that are shown."""
        return JSONResponse(await self._streams.before(current_user_id(request), conversation_id, before))

    async def rate(self, request: Request, conversation_id: str, message_id: str) -> Response:
        """Keep what the person thinks of an answer."""
        feedback = (await requests.sent(request)).get("feedback")
        if not isinstance(feedback, str) or feedback not in set(Feedback):
            raise requests.not_understood()
        await self._conversations.rate(current_user_id(request), conversation_id, message_id, Feedback(feedback))
        return JSONResponse({})

    async def image(self, request: Request, conversation_id: str, image_id: str) -> Response:
        """Return a picture."""
        found = await self._conversations.image(current_user_id(request), conversation_id, image_id)
        media_type = found.media_type if found.media_type in PICTURES else "application/octet-stream"
        return Response(found.data, headers=_PICTURE_HEADERS, media_type=media_type)

    async def search(self, request: Request, q: str = "", cursor: str = "") -> Response:
        """Find conversations by their words."""
        user = current_user_id(request)
        found = await self._conversations.search(user, q[:LONGEST_SEARCH], cursor=cursor or None)
        hits = [
            {
                "conversation": self._item(user, hit.conversation),
                "message": hit.message_id,
                "before": hit.before,
                "match": hit.match,
                "after": hit.after,
            }
            for hit in found.items
        ]
        return JSONResponse({"hits": hits, "cursor": found.cursor})

    def _item(self, user: str, conversation: Conversation) -> dict[str, Any]:
        return facts.item(conversation, writing=self._turns.is_busy(user, conversation.id))


async def page(
    conversations: Conversations,
    turns: TurnRunner,
    user: str,
    *,
    cursor: str | None = None,
    limit: int = LISTED,
    archived: bool = False,
) -> dict[str, Any]:
    """Return a page of the list; the pinned ones come with the first."""
    pinned = [] if cursor or archived else await conversations.pinned(user)
    found = await conversations.listed(user, cursor=cursor, limit=limit, archived=archived)

    def items(some: list[Conversation]) -> list[dict[str, Any]]:
        return [facts.item(one, writing=turns.is_busy(user, one.id)) for one in some]

    return {"pinned": items(pinned), "items": items(list(found.items)), "cursor": found.cursor}
