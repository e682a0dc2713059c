"""Revoked sessions in Firestore: a document for each, which a TTL policy removes when its cookie has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.cloud.firestore import Maximum

from chatapp.store import Revocations
from chatapp.store.firestore.client import committed, fetched
from chatapp.store.firestore.documents import VERSION, is_id, timestamp
from chatapp.store.firestore.schema import EXPIRY_FIELD, REVOCATIONS, USERS

if TYPE_CHECKING:
    from chatapp.store.firestore.firestore_compat import Client

BEFORE = "before"  # the id of the document that revokes all sessions up to a time; no session has it
_BEFORE_FIELD = "beforeMs"


async def revocations_of(client: Client, uid: str) -> Revocations:
    """Return which sessions of a user are revoked; one read, and one more per revocation."""
    documents = await fetched(client.collection(USERS, uid, REVOCATIONS))
    return Revocations(
        before_ms=max((document.fields.get(_BEFORE_FIELD, 0) for document in documents), default=0),
        sessions=frozenset(document.id for document in documents if document.id != BEFORE),
    )


async def put_revocation(client: Client, uid: str, session: str, before_ms: int, until_ms: int) -> None:
    """Revoke a session, or all that began up to ``before_ms``, with one commit and no read.

    Raises:
        ValueError: the session's id is invalid.
    """
    if session and (not is_id(session) or session == BEFORE):
        raise ValueError(f"{session!r} cannot be the id of a session")
    every: dict[str, Any] = {"v": VERSION, EXPIRY_FIELD: timestamp(until_ms)}
    batch = client.batch()
    if session:
        batch.set(client.document(USERS, uid, REVOCATIONS, session), every)
    if before_ms:
        all_before = client.document(USERS, uid, REVOCATIONS, BEFORE)
        batch.set(all_before, every | {_BEFORE_FIELD: Maximum(before_ms)}, merge=True)
    await committed(batch)
