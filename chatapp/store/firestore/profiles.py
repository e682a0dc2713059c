"""Writes a profile so that the highest revision wins, without a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, NotFound

from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.store.firestore.client import committed, fetched_one

if TYPE_CHECKING:
    from google.cloud.firestore import AsyncDocumentReference

    from chatapp.store.firestore.documents import Document
    from chatapp.store.firestore.firestore_compat import Client

ROUNDS = 5  # attempts when other writers interfere


async def put_profile(client: Client, reference: AsyncDocumentReference, document: Document) -> None:
    """Write a profile, unless one of the same or a higher revision is stored.

    Raises:
        StoreUnavailable: other writers interfered in each of `ROUNDS`; nothing was changed.
    """
    for _ in range(ROUNDS):
        stored = await fetched_one(reference)
        if stored and stored.fields["rev"] >= document["rev"]:
            return
        batch = client.batch()
        if stored:
            unchanged = client.write_option(last_update_time=stored.update_time)
            batch.update(reference, document, option=unchanged)
        else:
            batch.create(reference, document)
        try:
            await committed(batch)
        except (AlreadyExists, FailedPrecondition, NotFound):
            continue  # another writer was faster, or the write succeeded and its reply was lost
        return
    raise StoreUnavailable(
        Sentence("Your settings are being changed in several places at once. Try again in a moment.")
    )
