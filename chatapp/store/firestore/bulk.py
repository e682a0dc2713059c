"""Several conversations at once, for imports: which ones share a commit, and revisions without texts."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from chatapp.store.firestore.client import READ_ATTEMPT_S, fetched, fetched_all
from chatapp.store.firestore.documents import is_expired, is_part
from chatapp.store.firestore.schema import EXPIRY_FIELD, MESSAGES, ORDER_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.store.firestore.client import Snapshot
    from chatapp.store.firestore.firestore_compat import Client
    from chatapp.store.firestore.revisions import New

# Documents and bytes of text in a commit of several conversations: far below what Firestore takes (see
# `chatapp.store.values.WRITE_BYTES`), and quick to send again.
COMMIT_WRITES, COMMIT_BYTES = 300, 1_000_000
READS_AT_ONCE = 8
MESSAGES_AT_ONCE = 300  # documents per request, of about 2 KB


def commits(new: Iterable[New]) -> Iterator[list[New]]:
    """Yield new conversations in groups for one commit each; a larger one is alone."""
    group: list[New] = []
    writes = size = 0
    for one in new:
        writes, size = writes + one.writes, size + one.size
        if group and (writes > COMMIT_WRITES or size > COMMIT_BYTES):
            yield group
            group, writes, size = [], one.writes, one.size
        group.append(one)
    if group:
        yield group


async def revisions(client: Client, references: Sequence[AsyncDocumentReference]) -> dict[str, dict[str, int]]:
    """Return the revision of each message by id, by the ids of those conversations that exist and have not expired."""
    if not references:
        return {}
    fetched_now = await fetched_all(client, list(references), EXPIRY_FIELD, seconds=READ_ATTEMPT_S)
    conversations = [one for one in fetched_now if not is_expired(one.fields, one.read_time)]
    at_once = asyncio.Semaphore(READS_AT_ONCE)

    async def of_messages(conversation: Snapshot) -> dict[str, int]:
        async with at_once:
            documents = await message_documents_of(conversation, "rev", EXPIRY_FIELD)
        shown = (one for one in documents if not is_part(one.id) and not is_expired(one.fields, one.read_time))
        return {one.id: one.fields["rev"] for one in shown}

    of_each = await asyncio.gather(*map(of_messages, conversations))
    return {one.id: of_one for one, of_one in zip(conversations, of_each, strict=True)}


async def message_documents_of(conversation: Snapshot, *fields: str) -> list[Snapshot]:
    """Return some fields, or all, of the documents of a conversation's messages, as of when it was read."""
    documents: list[Snapshot] = []
    order = ORDER_FIELDS[MESSAGES]
    query = conversation.reference.collection(MESSAGES).order_by(order).order_by("__name__").limit(MESSAGES_AT_ONCE)
    if fields:
        query = query.select([order, *fields])
    while page := await fetched(query, at=conversation.read_time, seconds=READ_ATTEMPT_S):
        documents += page
        if len(page) < MESSAGES_AT_ONCE:
            break
        last = page[-1]
        query = query.start_after({order: last.fields[order], "__name__": last.id})
    return documents
