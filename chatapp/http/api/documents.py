"""Documents: the upload of one, those that a question names, and the text of one by its pages.

A document is uploaded by itself, and a message names it by its id, as it names its images.
"""

import asyncio
import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from chatapp.documents.packing import InvalidPacking, unpacked
from chatapp.domain.conversation import Document, new_id
from chatapp.domain.errors import InvalidMessage, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.http.api.files import document_file
from chatapp.http.api.question_files import NamedFiles
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, Services, UserId
from chatapp.http.api.schemas.base import Text
from chatapp.http.api.schemas.documents import DocumentText, PageText, UploadedDocument
from chatapp.http.api.schemas.turns import QuestionDocument

MAX_NAME = 1000  # characters of a name in a request, which is shortened

router = APIRouter(route_class=ApiRoute, responses=ERRORS)

FILE = {"requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}
FILE_RESPONSE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {"content": {"application/pdf": {}, "application/octet-stream": {}}},
        206: {"description": "The part that the header Range asks for"},
        416: {"description": "The file ends before the part that is asked for"},
    },
}


@router.post("/documents", openapi_extra=FILE)
async def upload_document(
    request: Request,
    user: UserId,
    chat: Chat,
    name: Annotated[Text, Query(max_length=MAX_NAME)] = "",
    model: str = "",
    *,
    temporary: bool = False,
) -> UploadedDocument:
    """Read a document, and keep it until a message names it by the id in the response, for half an hour at most.

    The body is the file, with any content type; ``name`` is its name. With ``temporary``, the file is not written to
    the disk: a temporary conversation keeps the text alone. Upload one after the other: the bodies of a user's requests
    are bounded together. A message that another replica gets, or that comes too late, is refused with
    409 and the ids in ``missing``: upload these again.
    """
    if not chat.settings.max_documents:
        raise InvalidMessage(Sentence("Documents are turned off in this chat. Send the message without documents."))
    if model:
        chat.catalog.get(model)
    upload_id, document = await chat.documents.add(user, await request.body(), name, keeps_file=not temporary)
    return UploadedDocument(
        id=upload_id,
        name=document.name,
        kind=document.kind,
        pages=document.pages,
        size=document.size,
        stored=len(document.data),
    )


@router.get(
    "/conversations/{conversation_id}/documents/{document_id}",
    response_class=Response,
    responses={200: {"model": DocumentText}},
)
async def read_document(conversation_id: str, document_id: str, user: UserId, chat: Chat) -> Response:
    """Return the text of a document of a question."""
    return await text_response(await chat.conversations.document(user, conversation_id, document_id))


@router.get("/conversations/{conversation_id}/documents/{document_id}/file", **FILE_RESPONSE)
async def read_document_file(
    conversation_id: str, document_id: str, request: Request, user: UserId, chat: Chat
) -> Response:
    """Return the file of a document of a question, where it is kept (``has_file`` of its text)."""
    document = await chat.conversations.document(user, conversation_id, document_id)
    part = partial(chat.store.document_file_part, user, conversation_id, document_id)
    return await document_file(document, part, request.headers)


async def text_response(document: Document) -> Response:
    """Return the text of a document by its pages, as a `DocumentText`."""
    # Of four million characters, in half a second.
    return Response(await asyncio.to_thread(_text, document), media_type="application/json")


def _text(document: Document) -> bytes:
    try:
        pages = unpacked(document.data)
    except InvalidPacking as error:
        raise StoreUnavailable(
            Sentence("The text of this document is damaged in the history and cannot be shown. Add the file again."),
            detail=str(error),
        ) from None
    body = DocumentText(
        name=document.name,
        kind=document.kind,
        has_file=bool(document.file),
        pages=[PageText(number=page.number, name=page.name, text=page.text) for page in pages],
    )
    return body.model_dump_json().encode()


class DocumentsOfRequest:
    """The documents that a question names: a `chatapp.generation.requests.QuestionFiles`.

    Raises:
        InvalidMessage: there are too many.
    """

    def __init__(self, chat: Services, user: str, documents: Sequence[QuestionDocument]) -> None:
        if len(documents) > (most := chat.settings.max_documents):
            raise InvalidMessage(Sentence("A message can have at most {most} documents. Nothing was sent.", most=most))
        self._ids = list(dict.fromkeys(document.id for document in documents))
        self._named = NamedFiles(chat.documents, user, partial(chat.store.document, user))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._ids)

    async def find(self, conversation_id: str) -> Sequence[str]:
        """Find them; return the ids of those that are not here."""
        return await self._named.find(self._ids, conversation_id)

    async def load(self) -> tuple[Document, ...]:
        """Return them, each under a new id."""
        return tuple(dataclasses.replace(self._named.by_id[one], id=new_id()) for one in self._ids)

    def drop_uploads(self) -> None:
        """Forget the uploads, which the question has now."""
        self._named.drop_uploads()
