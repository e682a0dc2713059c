"""Shares in Firestore, each in two documents and its pieces; a TTL policy removes them all when it has expired.

The document in ``shares``, by which a link is found, is written last and deleted first: a link works only while all of
its pieces are there. The document beneath the user, by which the user lists the share, is written first and deleted
last: what is interrupted can be deleted again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chatapp.domain.conversation import now_ms
from chatapp.domain.errors import ConversationNotFound, ShareNotFound
from chatapp.domain.share import Share
from chatapp.store.firestore.client import READ_ATTEMPT_S, committed, fetched, fetched_all, fetched_one
from chatapp.store.firestore.documents import VERSION, is_expired, is_id, timestamp
from chatapp.store.firestore.schema import CONVERSATIONS, EXPIRY_FIELD, PIECES, SHARES, SIZE_FIELD, USERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.store.firestore.client import Snapshot
    from chatapp.store.firestore.firestore_compat import Client

BATCH_BYTES = 3_000_000  # of pieces in one commit, of which the emulator takes 4 MiB
PIECES_DELETED_AT_ONCE = 300
_UID_FIELD = "uid"


async def put_share(client: Client, uid: str, share: Share, pieces: Mapping[str, bytes]) -> None:
    """Add a share, its document in ``shares`` last.

    Raises:
        ConversationNotFound: the user has no such conversation.
    """
    conversation = client.document(USERS, uid, CONVERSATIONS, _checked(share.conversation_id))
    if not _is_there(await fetched_one(conversation)):
        raise ConversationNotFound
    common: dict[str, Any] = {
        "v": VERSION,
        "conversationId": share.conversation_id,
        "title": share.title,
        "createdMs": share.created_ms,
        "expiresMs": share.expires_ms,
        "texts": share.texts,
        EXPIRY_FIELD: timestamp(share.expires_ms),
    }
    batch = client.batch()
    batch.set(_listed(client, uid, share.id), common | {SIZE_FIELD: share.size})
    size = 0
    for name, data in pieces.items():
        if size and size + len(data) > BATCH_BYTES:
            await committed(batch)
            batch, size = client.batch(), 0
        document = {"v": VERSION, "data": data, EXPIRY_FIELD: timestamp(share.expires_ms)}
        batch.set(_open(client, share.id).collection(PIECES).document(_checked(name)), document)
        size += len(data)
    await committed(batch)
    batch = client.batch()
    # Without the size, which would count twice: both collections are one group.
    batch.set(_open(client, share.id), common | {_UID_FIELD: uid})
    await committed(batch)


async def shares_of(client: Client, uid: str) -> list[Share]:
    """Return the shares of a user whose conversations are there, the latest first; two reads for each."""
    now = timestamp(now_ms())
    documents = await fetched(client.collection(USERS, uid, SHARES))
    shares = [_share(one.id, one.fields) for one in documents if one.fields[EXPIRY_FIELD] > now]
    ids = sorted({one.conversation_id for one in shares})
    references = [client.document(USERS, uid, CONVERSATIONS, one) for one in ids]
    conversations = await fetched_all(client, references, "deletedMs", EXPIRY_FIELD) if references else []
    there = {one.id for one in conversations if _is_there(one)}
    return sorted((one for one in shares if one.conversation_id in there), key=lambda one: (-one.created_ms, one.id))


async def delete_share(client: Client, uid: str, share_id: str) -> None:
    """Delete a share of a user, unless there is none."""
    if is_id(share_id) and await fetched_one(_listed(client, uid, share_id)):
        await _delete(client, uid, share_id)


async def delete_shares_of(client: Client, uid: str, conversation_id: str) -> None:
    """Delete the shares of a conversation."""
    for one in await fetched(client.collection(USERS, uid, SHARES)):
        if one.fields["conversationId"] == conversation_id:
            await _delete(client, uid, one.id)


async def shared(client: Client, share_id: str) -> Share:
    """Return a share, with two reads.

    Raises:
        ShareNotFound: there is none that is open.
    """
    document = await fetched_one(_open(client, share_id)) if is_id(share_id) else None
    if document is None or is_expired(document.fields, document.read_time):
        raise ShareNotFound
    share = _share(share_id, document.fields)
    conversation = client.document(USERS, document.fields[_UID_FIELD], CONVERSATIONS, share.conversation_id)
    if not _is_there(await fetched_one(conversation)):
        raise ShareNotFound(detail="its conversation is deleted")
    return share


async def shared_piece(client: Client, share_id: str, name: str) -> bytes:
    """Return a piece of a share.

    Raises:
        ShareNotFound: there is none that is open, or it has no such piece.
    """
    await shared(client, share_id)
    reference = _open(client, share_id).collection(PIECES).document(name) if is_id(name) else None
    documents = await fetched_all(client, [reference], seconds=READ_ATTEMPT_S) if reference else []
    if not documents:
        raise ShareNotFound(detail="no such piece")
    return bytes(documents[0].fields["data"])


async def _delete(client: Client, uid: str, share_id: str) -> None:
    share = _open(client, share_id)
    batch = client.batch()
    batch.delete(share)
    await committed(batch)
    while pieces := await fetched(share.collection(PIECES).select([]).limit(PIECES_DELETED_AT_ONCE)):
        batch = client.batch()
        for piece in pieces:
            batch.delete(piece.reference)
        await committed(batch)
    batch = client.batch()
    batch.delete(_listed(client, uid, share_id))
    await committed(batch)


def _open(client: Client, share_id: str) -> AsyncDocumentReference:
    return client.document(SHARES, share_id)


def _listed(client: Client, uid: str, share_id: str) -> AsyncDocumentReference:
    return client.document(USERS, uid, SHARES, share_id)


def _is_there(conversation: Snapshot | None) -> bool:
    if conversation is None or is_expired(conversation.fields, conversation.read_time):
        return False
    return not conversation.fields.get("deletedMs")


def _share(share_id: str, fields: Mapping[str, Any]) -> Share:
    return Share(
        id=share_id,
        conversation_id=fields["conversationId"],
        title=fields["title"],
        created_ms=fields["createdMs"],
        expires_ms=fields["expiresMs"],
        texts=fields["texts"],
        size=fields.get(SIZE_FIELD, 0),
    )


def _checked(name: str) -> str:
    if not is_id(name):
        raise ConversationNotFound(detail="not a valid id")
    return name
