"""Documents of collections in Firestore: one document each, beneath the user, and the lists of them in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from google.api_core.exceptions import AlreadyExists, NotFound
from google.cloud.firestore import FieldFilter, Increment

from chatapp.domain.errors import DocumentNotFound
from chatapp.store.firestore.client import READ_ATTEMPT_S, committed, fetched, fetched_all
from chatapp.store.firestore.documents import is_id, library_document_of, library_fields
from chatapp.store.firestore.schema import CHANGES_FIELD, COLLECTION_FIELD, LIBRARY, SIZE_FIELD, USERS
from chatapp.store.firestore.vectors import MAX_PARTS, vector_reference
from chatapp.store.library import in_library_order

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from google.cloud.firestore import AsyncDocumentReference, AsyncWriteBatch

    from chatapp.domain.library import LibraryDocument
    from chatapp.store.firestore.firestore_compat import Client

    Lists = Mapping[str, tuple[LibraryDocument, ...]]  # by collection; "": of all

LISTS_BYTES = 4_000_000  # of all users: lists of 8,000 documents
KEEP_SECONDS = 600.0  # from when a list was read: a replica of an older version, during a rollout, counts no changes
DOCUMENT_BYTES = 500  # of a document in a list

# All but the data, which a list does not need.
_LISTED = ("name", "kind", "pages", "size", "addedMs", COLLECTION_FIELD, SIZE_FIELD)


class Version(NamedTuple):
    """Which state of a user's library a list shows.

    Attributes:
        created: when the profile was created, which is deleted with everything else.
        changes: how many changes of documents are counted in it.
    """

    created: datetime
    changes: int


@dataclass(frozen=True, slots=True)
class _Known:
    version: Version
    lists: Lists
    read_at: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        return DOCUMENT_BYTES * sum(map(len, self.lists.values()))


class Libraries:
    """Reads and changes the documents of collections, and keeps lists of them in memory.

    Each change of documents counts up `CHANGES_FIELD` of the user's profile, in the same commit. A list is read again
    when that has changed, so that a call costs one read, and no list has what another replica removed. A lost reply may
    count a change twice, which only costs another read.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def add(self, client: Client, uid: str, document: LibraryDocument) -> None:
        """Add a document, unless one with its id is there."""
        document_id, fields = document.document.id, library_fields(document)
        try:
            changes = await _counted(
                client, uid, lambda batch: batch.create(_reference(client, uid, document_id), fields)
            )
        except AlreadyExists:
            return
        listed = library_document_of(document_id, {name: fields[name] for name in _LISTED})
        self._changed(uid, changes, lambda documents: (*documents, listed), document.collection)

    async def documents(self, client: Client, uid: str, collection: str) -> list[LibraryDocument]:
        """Return a user's documents of a collection, or of all (""), by collection and name, without data."""
        version = await _version(client, uid)
        known = self._known.get(uid)
        if known and (known.version != version or known.read_at < time.monotonic() - KEEP_SECONDS):
            del self._known[uid]
            known = None
        lists = known.lists if known else {}
        if "" in lists:
            self._known.move_to_end(uid)
            return [one for one in lists[""] if collection in {"", one.collection}]
        if collection not in lists:
            # Read after the version, so it is not older; if it is newer, the next version shows that.
            lists = {**lists, collection: tuple(await _documents(client, uid, collection))}
            if version:
                read_at = known.read_at if known else time.monotonic()
                self._keep(uid, _Known(version, lists, read_at))
        return list(lists[collection])

    async def remove(self, client: Client, uid: str, document_ids: Collection[str]) -> None:
        """Delete documents of a user."""
        removed = frozenset(filter(is_id, document_ids))
        if not removed:
            return

        def fill(batch: AsyncWriteBatch) -> None:
            for document_id in removed:
                batch.delete(_reference(client, uid, document_id))
                for number in range(MAX_PARTS):  # whether it has vectors or not: a replica may be storing them
                    batch.delete(vector_reference(client, uid, "", document_id, number))

        changes = await _counted(client, uid, fill)
        self._changed(uid, changes, lambda documents: tuple(one for one in documents if one.document.id not in removed))

    def _changed(
        self,
        uid: str,
        changes: int | None,
        change: Callable[[tuple[LibraryDocument, ...]], tuple[LibraryDocument, ...]],
        collection: str | None = None,
    ) -> None:
        """Change the lists as this replica changed the library, if it was the only change.

        Args:
            uid: of the user.
            changes: that are counted, with this one.
            change: of each list.
            collection: the only one that was changed; None: any.
        """
        known = self._known.get(uid)
        if known and changes == known.version.changes + 1:
            lists = {
                name: tuple(in_library_order(change(documents)))
                if collection in {None, name} or not name
                else documents
                for name, documents in known.lists.items()
            }
            self._keep(uid, replace(known, version=known.version._replace(changes=changes), lists=lists))
        else:
            self._known.pop(uid, None)

    def _keep(self, uid: str, known: _Known) -> None:
        self._known[uid] = known
        self._known.move_to_end(uid)
        while self._known and sum(one.size for one in self._known.values()) > LISTS_BYTES:
            self._known.popitem(last=False)


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


async def _documents(client: Client, uid: str, collection: str) -> list[LibraryDocument]:
    query = client.collection(USERS, uid, LIBRARY).select(_LISTED)
    if collection:
        query = query.where(filter=FieldFilter(COLLECTION_FIELD, "==", collection))
    documents = await fetched(query, seconds=READ_ATTEMPT_S)
    return in_library_order(library_document_of(one.id, one.fields) for one in documents)


async def _version(client: Client, uid: str) -> Version | None:
    """Return the version of a user's library; None if there is no profile that counts its changes."""
    profiles = await fetched_all(client, [client.document(USERS, uid)], CHANGES_FIELD)
    return Version(profiles[0].create_time, profiles[0].fields.get(CHANGES_FIELD, 0)) if profiles else None


async def _counted(client: Client, uid: str, fill: Callable[[AsyncWriteBatch], object]) -> int | None:
    """Commit a change of documents, and return how many are counted with it; None if there is no profile."""
    batch = client.batch()
    fill(batch)
    batch.update(client.document(USERS, uid), {CHANGES_FIELD: Increment(1)})
    try:
        *_, counted = await committed(batch)
    except NotFound:  # the profile: no page shows a document without its collection
        batch = client.batch()
        fill(batch)
        await committed(batch)
        return None
    return int(counted.transform_results[0].integer_value)


def _reference(client: Client, uid: str, document_id: str) -> AsyncDocumentReference:
    return client.document(USERS, uid, LIBRARY, document_id)
