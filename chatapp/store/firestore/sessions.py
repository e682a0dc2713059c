"""Sessions in Firestore: a document for each, which a TTL policy removes when its cookie has expired."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatapp.domain.conversation import now_ms
from chatapp.store import SessionRecord
from chatapp.store.firestore.client import committed, fetched
from chatapp.store.firestore.documents import VERSION, is_id, timestamp
from chatapp.store.firestore.schema import EXPIRY_FIELD, SESSIONS, USERS

if TYPE_CHECKING:
    from chatapp.store.firestore.firestore_compat import Client


async def sessions_of(client: Client, uid: str) -> list[SessionRecord]:
    """Return the sessions of a user, the last used first; one read for each."""
    now = timestamp(now_ms())  # Firestore deletes expired documents within a day
    documents = await fetched(client.collection(USERS, uid, SESSIONS))
    sessions = [
        SessionRecord(
            id=one.id,
            began_ms=one.fields["beganMs"],
            seen_ms=one.fields["seenMs"],
            device=one.fields["device"],
        )
        for one in documents
        if one.fields[EXPIRY_FIELD] > now
    ]
    return sorted(sessions, key=lambda one: (-one.seen_ms, one.id))


async def put_session(client: Client, uid: str, session: SessionRecord, until_ms: int) -> None:
    """Add or replace a session, with one commit and no read.

    Raises:
        ValueError: the session's id is invalid.
    """
    if not is_id(session.id):
        raise ValueError(f"{session.id!r} cannot be the id of a session")
    batch = client.batch()
    fields = {"beganMs": session.began_ms, "seenMs": session.seen_ms, "device": session.device}
    batch.set(
        client.document(USERS, uid, SESSIONS, session.id), {"v": VERSION, EXPIRY_FIELD: timestamp(until_ms), **fields}
    )
    await committed(batch)
