"""Documents of collections in Firestore: one document each, beneath the user."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api_core.exceptions import AlreadyExists
from google.cloud.firestore import FieldFilter

from chatapp.domain.errors import DocumentNotFound
from chatapp.store.firestore.client import READ_ATTEMPT_S, committed, fetched, fetched_all
from chatapp.store.firestore.documents import is_id, library_document_of, library_fields
from chatapp.store.firestore.schema import COLLECTION_FIELD, LIBRARY, SIZE_FIELD, USERS
from chatapp.store.library import in_library_order

if TYPE_CHECKING:
    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.domain.library import LibraryDocument
    from chatapp.store.firestore.firestore_compat import Client

# All but the data, which a list does not need.
_LISTED = ("name", "kind", "pages", "size", "addedMs", COLLECTION_FIELD, SIZE_FIELD)


async def put_library_document(client: Client, uid: str, document: LibraryDocument) -> None:
    """Add a document, unless one with its id is there."""
    batch = client.batch()
    batch.create(_reference(client, uid, document.document.id), library_fields(document))
    try:
        await committed(batch)
    except AlreadyExists:
        return


async def library_of(client: Client, uid: str, collection: str) -> list[LibraryDocument]:
    """Return a user's documents of a collection, or of all (""), by collection and name, without data."""
    query = client.collection(USERS, uid, LIBRARY).select(_LISTED)
    if collection:
        query = query.where(filter=FieldFilter(COLLECTION_FIELD, "==", collection))
    documents = await fetched(query, seconds=READ_ATTEMPT_S)
    return in_library_order(library_document_of(one.id, one.fields) for one in documents)


async def library_document(client: Client, uid: str, document_id: str) -> LibraryDocument:
    """Return a document of a user, with its data.

    Raises:
        DocumentNotFound: there is none.
    """
    references = [_reference(client, uid, document_id)] if is_id(document_id) else []
    documents = await fetched_all(client, references, seconds=READ_ATTEMPT_S) if references else []
    if not documents:
        raise DocumentNotFound
    return library_document_of(document_id, documents[0].fields)


async def delete_library_document(client: Client, uid: str, document_id: str) -> None:
    """Delete a document of a user."""
    if is_id(document_id):
        batch = client.batch()
        batch.delete(_reference(client, uid, document_id))
        await committed(batch)


def _reference(client: Client, uid: str, document_id: str) -> AsyncDocumentReference:
    return client.document(USERS, uid, LIBRARY, document_id)
