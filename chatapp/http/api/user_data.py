"""Routes of all data of a user: export and deletion.

An export of everything that cannot be finished breaks off, so that a part is not taken for the whole. Exports are POST
requests: a model's answer can have the page request an address as a picture or as a link, but only with GET.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from chatapp.auth import audit
from chatapp.auth.audit import Action
from chatapp.domain.conversation import now_ms
from chatapp.domain.sentences import Sentence, translated
from chatapp.http import assets
from chatapp.http.api.files import Download, disposition
from chatapp.http.api.recent_sign_in import SIGN_IN_AGAIN, has_signed_in_recently, sign_in_again_url
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, ConfirmedRoute, CurrentUser, NotConfirmed, UserId
from chatapp.http.api.schemas.account import Confirmation, Deleted
from chatapp.http.api.schemas.base import Empty
from chatapp.http.errors import error_json
from chatapp.http.pages.rendering import RIGHT_TO_LEFT, language_of
from chatapp.userdata import export as exports
from chatapp.userdata import json_export, markdown, queries
from chatapp.userdata.json_export import moment

JSON, MARKDOWN, ZIP = "application/json", "text/markdown; charset=utf-8", "application/zip"


async def _language(request: Request) -> markdown.Language:
    """Return the reader's language, for the words of an export."""
    name = language_of(request)
    catalogue = assets.translations(name)
    return markdown.Language(lambda sentence: translated(sentence, catalogue), name in RIGHT_TO_LEFT)


ReaderLanguage = Annotated[markdown.Language, Depends(_language)]


def _file(media_type: str) -> dict[str, Any]:
    return {"response_class": Response, "responses": {200: {"content": {media_type: {}}}}}


router = APIRouter(route_class=ApiRoute, responses=ERRORS)
confirmed = APIRouter(route_class=ConfirmedRoute, responses=ERRORS)


@router.post("/export/everything.json", **_file(JSON))
async def export_everything_as_json(_body: Empty, user: UserId, chat: Chat, language: ReaderLanguage) -> Response:
    """Return all conversations: `chatapp.userdata.json_export` describes the document."""
    audit.record(Action.EXPORT, user)
    name = f"{_today(language)}.json"
    return await _stream(name, JSON, exports.as_json(chat.store, user))


@router.post("/export/everything.md.zip", **_file(ZIP))
async def export_everything_as_markdown(_body: Empty, user: UserId, chat: Chat, language: ReaderLanguage) -> Response:
    """Return all conversations, a Markdown file for each."""
    audit.record(Action.EXPORT, user)
    pieces = exports.as_zip(chat.store, user, chat.catalog.label, language)
    return await _stream(f"{_today(language)}.zip", ZIP, pieces)


@router.post("/export/{conversation_id}.json", **_file(JSON))
async def export_conversation_as_json(
    conversation_id: str, _body: Empty, user: UserId, chat: Chat, language: ReaderLanguage
) -> Response:
    """Return one conversation, in the same format as all."""
    conversation, messages = await queries.whole_conversation(chat.store, user, conversation_id)
    audit.record(Action.EXPORT, user)
    encoded = await asyncio.to_thread(json_export.encode, conversation, messages)
    content = json_export.header(user) + encoded + json_export.FOOTER
    return Response(content, headers=_headers(markdown.file_name(conversation, ".json", language)), media_type=JSON)


@router.post("/export/{conversation_id}.md", **_file("text/markdown"))
async def export_conversation_as_markdown(
    conversation_id: str, _body: Empty, user: UserId, chat: Chat, language: ReaderLanguage
) -> Response:
    """Return one conversation as a Markdown file."""
    conversation, messages = await queries.whole_conversation(chat.store, user, conversation_id)
    audit.record(Action.EXPORT, user)
    content = await asyncio.to_thread(markdown.document, conversation, messages, chat.catalog.label, language=language)
    name = markdown.file_name(conversation, ".md", language)
    return Response(content, headers=_headers(name), media_type=MARKDOWN)


@confirmed.post("/delete-everything", response_model=Deleted)
async def delete_everything(confirmation: Confirmation, user: CurrentUser, chat: Chat) -> Deleted | Response:
    """Delete all conversations, their files and the profile of the user, who has signed in a short time ago."""
    if not confirmation.confirm:
        raise NotConfirmed
    if not has_signed_in_recently(user):
        return error_json(403, SIGN_IN_AGAIN, signIn=sign_in_again_url(chat.settings.root_url))
    audit.record(Action.DELETE_EVERYTHING, user.id)
    chat.uploads.drop_all(user.id)
    chat.documents.drop_all(user.id)
    try:
        return Deleted(deleted=await queries.delete_everything(chat.store, chat.turns, user.id))
    except queries.NotAllDeleted as error:
        return error_json(503, error.sentence, deleted=error.deleted)


async def _stream(name: str, media_type: str, pieces: AsyncGenerator[bytes]) -> Response:
    first = await anext(pieces)  # an error before the first piece has a status of its own

    async def content() -> AsyncGenerator[bytes]:
        yield first
        async for piece in pieces:
            yield piece

    return Download(content(), headers=_headers(name), media_type=media_type)


def _headers(name: str) -> dict[str, str]:
    """Return the headers of a file to be saved under this name."""
    return {
        "content-disposition": disposition(name),
        "cache-control": "no-store",
        "cross-origin-resource-policy": "same-origin",
    }


def _today(language: markdown.Language) -> str:
    return f"{language.translate(Sentence('Hybrid chat'))} {moment(now_ms()):%Y-%m-%d}"
