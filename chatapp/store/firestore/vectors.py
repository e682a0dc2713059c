"""Vectors of documents in Firestore: up to four documents for each, written only while their document is there.

Those of a conversation's document are beside it, where a deletion of the conversation and Firestore's TTL find them.
Those of a collection's document are in `LIBRARY_VECTORS`, and are deleted in the commit that deletes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api_core.exceptions import NotFound

from chatapp.domain.errors import ConversationNotFound, DocumentNotFound
from chatapp.store.firestore.client import READ_ATTEMPT_S, committed, fetched_all
from chatapp.store.firestore.documents import VERSION, is_expired, is_id, part_id
from chatapp.store.firestore.schema import CONVERSATIONS, DOCUMENTS, EXPIRY_FIELD, LIBRARY, LIBRARY_VECTORS, USERS
from chatapp.store.values import VECTORS_BYTES

if TYPE_CHECKING:
    from collections.abc import Collection

    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.store.firestore.firestore_compat import Client

PART_BYTES = 900_000
MAX_PARTS = -(-VECTORS_BYTES // PART_BYTES)


async def vectors_of(client: Client, uid: str, conversation_id: str, document_ids: Collection[str]) -> dict[str, bytes]:
    """Return the vectors of documents of a conversation, or of collections (""), by document.

    It costs a read for each document and one for the conversation, and one for each further part.
    """
    ids = {vector_reference(client, uid, conversation_id, one, 0): one for one in document_ids if is_id(one)}
    conversation = client.document(USERS, uid, CONVERSATIONS, conversation_id) if is_id(conversation_id) else None
    if not ids or (conversation_id and conversation is None):
        return {}
    references = [*ids, *([conversation] if conversation else ())]
    fetched = await fetched_all(client, references, seconds=READ_ATTEMPT_S)
    there = {one.reference: one for one in fetched if not is_expired(one.fields, one.read_time)}
    if conversation and there.pop(conversation, None) is None:  # a deletion that is not finished
        return {}
    parts = {(ids[reference], 0): one.fields["data"] for reference, one in there.items()}
    further = {
        vector_reference(client, uid, conversation_id, ids[reference], number): (ids[reference], number)
        for reference, one in there.items()
        for number in range(1, one.fields["parts"])
    }
    if further:
        at = fetched[0].read_time
        for one in await fetched_all(client, list(further), at=at, seconds=READ_ATTEMPT_S):
            parts[further[one.reference]] = one.fields["data"]
    return {
        ids[reference]: b"".join(bytes(parts[ids[reference], number]) for number in range(one.fields["parts"]))
        for reference, one in there.items()
    }


async def put_vectors(client: Client, uid: str, conversation_id: str, document_id: str, vectors: bytes) -> None:
    """Add or replace the vectors of a document of a conversation, or of a collection ("").

    Raises:
        ConversationNotFound: there is no such document in the conversation.
        DocumentNotFound: there is none in a collection.
    """
    missing = ConversationNotFound(detail="no such document") if conversation_id else DocumentNotFound()
    if not is_id(document_id) or (conversation_id and not is_id(conversation_id)):
        raise missing
    document, expires = client.document(USERS, uid, LIBRARY, document_id), {}
    if conversation_id:
        conversation = client.document(USERS, uid, CONVERSATIONS, conversation_id)
        document = conversation.collection(DOCUMENTS).document(document_id)
        both = await fetched_all(client, [conversation, document], EXPIRY_FIELD)
        if len(both) < 2 or any(is_expired(one.fields, one.read_time) for one in both):
            raise missing
        expires = next(one.fields for one in both if one.reference == document)
    starts = range(0, max(len(vectors), 1), PART_BYTES)
    batch = client.batch()
    batch.update(document, {"vectors": len(starts)})  # it fails where the document was deleted meanwhile
    for number, start in enumerate(starts):
        fields = {"v": VERSION, "parts": len(starts), "data": vectors[start : start + PART_BYTES]} | expires
        batch.set(vector_reference(client, uid, conversation_id, document_id, number), fields)
    for number in range(len(starts), MAX_PARTS):  # of former ones
        batch.delete(vector_reference(client, uid, conversation_id, document_id, number))
    try:
        await committed(batch)
    except NotFound:
        raise missing from None


def vector_reference(
    client: Client, uid: str, conversation_id: str, document_id: str, number: int
) -> AsyncDocumentReference:
    """Return where a part of the vectors of a document of a conversation, or of a collection (""), is."""
    name = part_id(document_id, number)
    if conversation_id:
        return client.document(USERS, uid, CONVERSATIONS, conversation_id, DOCUMENTS, name)
    return client.document(USERS, uid, LIBRARY_VECTORS, name)
