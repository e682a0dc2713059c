"""Changing the fields of a conversation in Firestore, without transactions: the later change of each field wins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.api_core.exceptions import FailedPrecondition, NotFound

from chatapp.domain.conversation import changed
from chatapp.domain.errors import ConversationNotFound
from chatapp.store.firestore.client import committed, fetched_one
from chatapp.store.firestore.documents import conversation_document, conversation_of
from chatapp.store.firestore.revisions import ROUNDS, contended

if TYPE_CHECKING:
    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.domain.conversation import Conversation
    from chatapp.store.firestore.firestore_compat import Client


async def put_fields(
    client: Client, reference: AsyncDocumentReference, conversation: Conversation, touched: dict[str, Any]
) -> None:
    """Write the fields that ``conversation`` changed later than what is stored, together with ``touched``.

    One read and one write, under the precondition that the document has not changed in between; else again.

    Raises:
        ConversationNotFound: there is no such conversation.
        StoreUnavailable: other writers interfered in each of `ROUNDS`; nothing was changed.
    """
    for _ in range(ROUNDS):
        stored = await fetched_one(reference)
        if stored is None:
            raise ConversationNotFound
        document = conversation_document(changed(conversation_of(stored.id, stored.fields), conversation))
        document |= {name: "" for name in ("collection", "folder") if name in stored.fields and name not in document}
        new = {name: value for name, value in document.items() if stored.fields.get(name) != value}
        batch = client.batch()
        batch.update(reference, new | touched, option=client.write_option(last_update_time=stored.update_time))
        try:
            await committed(batch)
        except (FailedPrecondition, NotFound):
            continue  # an append, or a change of another replica; or the reply to this one was lost
        return
    raise contended()
