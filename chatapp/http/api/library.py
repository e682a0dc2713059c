"""Routes of the library: collections with their documents, and folders."""

from collections import defaultdict
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from chatapp.auth import audit
from chatapp.auth.audit import Action
from chatapp.domain.library import Folder, LibraryDocument
from chatapp.http.api.documents import FILE, FILE_RESPONSE, MAX_NAME, text_response
from chatapp.http.api.files import document_file
from chatapp.http.api.routing import ERRORS, ApiRoute, Chat, UserId
from chatapp.http.api.schemas.base import Done, Text
from chatapp.http.api.schemas.documents import DocumentText
from chatapp.http.api.schemas.library import (
    CollectionBody,
    CollectionChange,
    CollectionName,
    FolderBody,
    FolderChange,
    LibraryBody,
    LibraryDocumentInfo,
    NewCollection,
    NewFolder,
)

router = APIRouter(route_class=ApiRoute, responses=ERRORS)


@router.get("/library")
async def read_library(user: UserId, chat: Chat) -> LibraryBody:
    """Return the collections with their documents, and the folders."""
    profile, documents = await chat.library.content(user)
    by_collection: defaultdict[str, list[LibraryDocumentInfo]] = defaultdict(list)
    for one in documents:
        by_collection[one.collection].append(_info(one))
    return LibraryBody(
        collections=[
            CollectionBody(id=one.id, name=one.name, documents=by_collection[one.id]) for one in profile.collections
        ],
        folders=[FolderBody.model_validate(one) for one in profile.folders],
    )


@router.post("/collections")
async def add_collection(new: NewCollection, user: UserId, chat: Chat) -> CollectionName:
    """Add a collection."""
    return CollectionName.model_validate(await chat.library.add_collection(user, new.name, new.id or ""))


@router.patch("/collections/{collection_id}")
async def rename_collection(collection_id: str, change: CollectionChange, user: UserId, chat: Chat) -> CollectionName:
    """Give a collection another name."""
    return CollectionName.model_validate(await chat.library.rename_collection(user, collection_id, change.name))


@router.delete("/collections/{collection_id}")
async def delete_collection(collection_id: str, user: UserId, chat: Chat) -> Done:
    """Delete a collection with its documents, for good."""
    await chat.library.delete_collection(user, collection_id)
    audit.record(Action.DELETE, user)
    return Done()


@router.post("/collections/{collection_id}/documents", openapi_extra=FILE)
async def add_document(
    collection_id: str,
    request: Request,
    user: UserId,
    chat: Chat,
    name: Annotated[Text, Query(max_length=MAX_NAME)] = "",
) -> LibraryDocumentInfo:
    """Read a document, and add it to a collection; it replaces one of the same name.

    The body is the file, with any content type; ``name`` is its name. Upload one after the other: the bodies of a
    user's requests are bounded together.
    """
    chat.library.refuse_if_off()
    await chat.library.refuse_missing(user, collection=collection_id)
    upload_id, document = await chat.documents.add(user, await request.body(), name)
    added = await chat.library.add_document(user, collection_id, upload_id, document)
    chat.documents.drop(user, [upload_id])
    return _info(added)


@router.get(
    "/collections/{collection_id}/documents/{library_document_id}",
    response_class=Response,
    responses={200: {"model": DocumentText}},
)
async def read_document(collection_id: str, library_document_id: str, user: UserId, chat: Chat) -> Response:
    """Return the text of a document of a collection."""
    return await text_response((await chat.library.document(user, collection_id, library_document_id)).document)


@router.get("/collections/{collection_id}/documents/{library_document_id}/file", **FILE_RESPONSE)
async def read_document_file(
    collection_id: str, library_document_id: str, request: Request, user: UserId, chat: Chat
) -> Response:
    """Return the file of a document of a collection, where it is kept (``has_file`` of its text)."""
    document = (await chat.library.document(user, collection_id, library_document_id)).document
    part = partial(chat.store.library_file_part, user, library_document_id)
    return await document_file(document, part, request.headers)


@router.delete("/collections/{collection_id}/documents/{library_document_id}")
async def remove_document(collection_id: str, library_document_id: str, user: UserId, chat: Chat) -> Done:
    """Remove a document from a collection, for good."""
    await chat.library.remove_document(user, collection_id, library_document_id)
    audit.record(Action.DELETE, user)
    return Done()


@router.post("/folders")
async def add_folder(new: NewFolder, user: UserId, chat: Chat) -> FolderBody:
    """Add a folder."""
    folder = Folder(id=new.id or "", name=new.name, instructions=new.instructions, collection=new.collection)
    return FolderBody.model_validate(await chat.library.add_folder(user, folder))


@router.patch("/folders/{folder_id}")
async def change_folder(folder_id: str, change: FolderChange, user: UserId, chat: Chat) -> FolderBody:
    """Change the name, the instructions or the collection of a folder."""
    fields = {name: getattr(change, name) for name in change.model_fields_set}
    return FolderBody.model_validate(await chat.library.change_folder(user, folder_id, fields))


@router.delete("/folders/{folder_id}")
async def delete_folder(folder_id: str, user: UserId, chat: Chat) -> Done:
    """Delete a folder; its conversations stay, in none."""
    await chat.library.delete_folder(user, folder_id)
    audit.record(Action.DELETE, user)
    return Done()


def _info(one: LibraryDocument) -> LibraryDocumentInfo:
    document = one.document
    return LibraryDocumentInfo(
        id=document.id,
        name=document.name,
        kind=document.kind,
        pages=document.pages,
        size=document.size,
        added_ms=one.added_ms,
    )
