"""What is a person's own, over HTTP: take it with you, and delete it.

    GET  /export/everything.json    all conversations: `chatapp.userdata.json_export` describes the document
    GET  /export/everything.md.zip  all conversations, a Markdown file for each
    GET  /export/{id}.json          one conversation, in the same format
    GET  /export/{id}.md            one conversation
    POST /delete-everything         {"confirm": true} -> {"deleted": 3}

A download of everything that cannot be finished breaks off, so that nobody takes a part for the whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from chatapp.auth import audit, current_user_id
from chatapp.auth.audit import Action
from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import InvalidMessage, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.http.api import requests
from chatapp.http.errors import ApiRoute, error_json
from chatapp.userdata import export as exports
from chatapp.userdata import json_export, markdown, queries
from chatapp.userdata.json_export import moment
from chatapp.userdata.queries import NotAllDeleted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Send

    from chatapp.conversations.turns import Turns
    from chatapp.models.catalog import Catalog
    from chatapp.store import Store

JSON, MARKDOWN, ZIP = "application/json", "text/markdown; charset=utf-8", "application/zip"
MOST_BODY_BYTES = 1_000

log = structlog.get_logger(__name__)


def router(store: Store, catalog: Catalog, turns: Turns) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(include_in_schema=False, route_class=ApiRoute)

    @routes.get("/export/everything.json")
    async def everything_as_json(request: Request) -> Response:
        audit.record(Action.EXPORT, current_user_id(request))
        return await _stream(f"{_today()}.json", JSON, exports.as_json(store, current_user_id(request)))

    @routes.get("/export/everything.md.zip")
    async def everything_as_markdown(request: Request) -> Response:
        audit.record(Action.EXPORT, current_user_id(request))
        return await _stream(f"{_today()}.zip", ZIP, exports.as_zip(store, current_user_id(request), catalog.label))

    @routes.get("/export/{conversation_id}.json")
    async def one_as_json(request: Request, conversation_id: str) -> Response:
        user = current_user_id(request)
        conversation, messages = await queries.whole_conversation(store, user, conversation_id)
        audit.record(Action.EXPORT, user)
        content = json_export.header(user) + json_export.encode(conversation, messages) + json_export.FOOTER
        return Response(content, headers=_headers(markdown.file_name(conversation, ".json")), media_type=JSON)

    @routes.get("/export/{conversation_id}.md")
    async def one_as_markdown(request: Request, conversation_id: str) -> Response:
        conversation, messages = await queries.whole_conversation(store, current_user_id(request), conversation_id)
        audit.record(Action.EXPORT, current_user_id(request))
        content = markdown.document(conversation, messages, catalog.label)
        return Response(content, headers=_headers(markdown.file_name(conversation, ".md")), media_type=MARKDOWN)

    @routes.post("/delete-everything")
    async def delete_everything(request: Request) -> Response:
        if not await _is_confirmed(request):
            return error_json(400, Sentence("Confirm that everything should be deleted. Nothing was deleted."))
        audit.record(Action.DELETE_EVERYTHING, current_user_id(request))
        try:
            return JSONResponse({"deleted": await queries.delete_everything(store, turns, current_user_id(request))})
        except NotAllDeleted as error:
            return error_json(503, error.sentence, deleted=error.deleted)

    return routes


class _Download(StreamingResponse):
    """A stream that breaks off where something fails: its connection is closed before its end."""

    async def stream_response(self, send: Send) -> None:
        try:
            await super().stream_response(send)
        except StoreUnavailable as error:
            log.warning("export_broken_off", detail=error.detail)


async def _stream(name: str, media_type: str, pieces: AsyncGenerator[bytes]) -> Response:
    first = await anext(pieces)  # or what is wrong, while it can still be said

    async def content() -> AsyncGenerator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return _Download(content(), headers=_headers(name), media_type=media_type)


def _headers(name: str) -> dict[str, str]:
    """Return the headers of a file to be saved under this name (RFC 6266; the first name is for old programs)."""
    ascii_name = " ".join(name.encode("ascii", "ignore").decode().split())
    return {
        "content-disposition": f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}",
        "cache-control": "no-store",
        "cross-origin-resource-policy": "same-origin",
    }


def _today() -> str:
    return f"Hybrid chat {moment(now_ms()):%Y-%m-%d}"


async def _is_confirmed(request: Request) -> bool:
    """Return whether it was confirmed, in JSON, which no form of another site can send."""
    try:
        return (await requests.sent(request, most_bytes=MOST_BODY_BYTES)).get("confirm") is True
    except InvalidMessage:
        return False
