"""Deletes conversations in Firestore, which does not cascade to subcollections: first hidden, then removed.

A document in ``users/{uid}/deletions`` exists from the first step to the last, so that an
interrupted deletion resumes.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog
from google.cloud.firestore import SERVER_TIMESTAMP

from chatapp.domain.errors import StoreUnavailable
from chatapp.store.firestore.client import committed, fetched, fetched_one
from chatapp.store.firestore.documents import VERSION
from chatapp.store.firestore.schema import CONVERSATIONS, DELETIONS, OF_CONVERSATION, USERS
from chatapp.store.firestore.shares import delete_shares_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from chatapp.store.firestore.firestore_compat import Client

DOCUMENTS_AT_ONCE = 300  # in one commit, which has `chatapp.store.firestore.client.ATTEMPT_S`
DELETIONS_AT_ONCE = 100  # of one user, resumed at a time
RESUME_INTERVAL_S = 3600.0  # between two checks of the same user, of one read each
USERS_REMEMBERED = 10_000  # whose last check is remembered

log = structlog.get_logger(__name__)


class Deletions:
    """Finishes deletions: immediately, or later those that were interrupted here or in another replica.

    Args:
        call: opens a client for one call, and raises StoreUnavailable for every error in it.
    """

    def __init__(self, call: Callable[[], AbstractAsyncContextManager[Client]]) -> None:
        self._call = call
        self._checked_at: OrderedDict[str, float] = OrderedDict()  # uid: when, by the monotonic clock
        self._closing = False
        self.tasks: set[asyncio.Task[None]] = set()

    async def finish(self, uid: str, conversation_id: str) -> None:
        """Delete the messages and attachments of a deleted conversation; `resume_interrupted` retries a failure."""
        try:
            async with self._call() as client:
                await _finish(client, uid, conversation_id)
        except StoreUnavailable as error:
            self._failed(uid, error)

    def resume_interrupted(self, uid: str) -> None:
        """Finish the user's interrupted deletions in the background, at most once per `RESUME_INTERVAL_S`."""
        last, now = self._checked_at.get(uid), time.monotonic()
        if self._closing or (last is not None and now - last < RESUME_INTERVAL_S):
            return
        self._checked_at[uid] = now
        self._checked_at.move_to_end(uid)
        if len(self._checked_at) > USERS_REMEMBERED:
            self._checked_at.popitem(last=False)
        task = asyncio.create_task(self._resume(uid))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def aclose(self) -> None:
        """Cancel the running deletions; their documents stay, so that they resume."""
        self._closing = True
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _resume(self, uid: str) -> None:
        try:
            async with self._call() as client:
                deletions = client.collection(USERS, uid, DELETIONS).limit(DELETIONS_AT_ONCE)
                for deletion in await fetched(deletions):
                    await _finish(client, uid, deletion.id)
        except StoreUnavailable as error:
            self._failed(uid, error)

    def _failed(self, uid: str, error: StoreUnavailable) -> None:
        self._checked_at.pop(uid, None)
        log.warning("deletion_unfinished", detail=error.detail)


async def begin_deletion(client: Client, uid: str, conversation_id: str) -> None:
    """Delete the conversation's document and record that its messages are left, in one commit."""
    batch = client.batch()
    batch.delete(client.document(USERS, uid, CONVERSATIONS, conversation_id))
    document = {"v": VERSION, "requestedAt": SERVER_TIMESTAMP}
    batch.set(client.document(USERS, uid, DELETIONS, conversation_id), document)
    await committed(batch)


async def _finish(client: Client, uid: str, conversation_id: str) -> None:
    conversation = client.document(USERS, uid, CONVERSATIONS, conversation_id)
    if await fetched_one(conversation) is None:  # else it was created again, with messages that must stay
        await delete_shares_of(client, uid, conversation_id)
        for collection in OF_CONVERSATION:
            query = conversation.collection(collection).select([]).limit(DOCUMENTS_AT_ONCE)
            while documents := await fetched(query):
                batch = client.batch()
                for document in documents:
                    batch.delete(document.reference)
                await committed(batch)
    batch = client.batch()
    batch.delete(client.document(USERS, uid, DELETIONS, conversation_id))
    await committed(batch)
