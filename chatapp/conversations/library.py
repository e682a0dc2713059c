"""Use cases on a user's library: collections with their documents, and folders."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Protocol, TypeVar

from chatapp.domain.conversation import new_id, now_ms
from chatapp.domain.errors import DocumentNotFound, InvalidMessage, InvalidParameters, LibraryEntryNotFound
from chatapp.domain.library import (
    MAX_COLLECTIONS,
    MAX_FOLDERS,
    Collection,
    Folder,
    LibraryDocument,
    library_document_id,
)
from chatapp.domain.sentences import Sentence
from chatapp.store import Consistency, LibraryStore, ProfileStore
from chatapp.store.values import MAX_REMOVED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chatapp.domain.conversation import Document, Profile

    OnRemoved = Callable[[str, str, Sequence[str]], None]

EntryT = TypeVar("EntryT", Collection, Folder)


class LibraryStores(LibraryStore, ProfileStore, Protocol):
    """The part of a `chatapp.store.UserStore` that a library needs."""


class Library:
    """Changes a user's library.

    Args:
        store: where it is.
        most_documents: of a collection; 0: nothing can be added to collections.
        on_removed: called with the user, the id of a collection and the ids of its documents that were removed: what is
            kept in memory of them is to be forgotten.
    """

    def __init__(
        self,
        store: LibraryStores,
        most_documents: int,
        on_removed: OnRemoved = lambda _user, _collection, _documents: None,
    ) -> None:
        self._store = store
        self._most_documents = most_documents
        self._on_removed = on_removed

    async def content(self, user: str) -> tuple[Profile, list[LibraryDocument]]:
        """Return the profile with the collections and folders, and all documents, without data."""
        return await asyncio.gather(self._store.profile(user), self._store.library(user))

    async def refuse_missing(self, user: str, *, collection: str = "", folder: str = "") -> None:
        """Refuse the id of a collection or a folder that the user does not have; "" is none.

        Raises:
            LibraryEntryNotFound: as said.
        """
        if collection or folder:
            profile = await self._store.profile(user)
            _refuse_missing(profile.collections, collection)
            _refuse_missing(profile.folders, folder)

    async def add_collection(self, user: str, name: str, collection_id: str = "") -> Collection:
        """Add a collection; of one that is there, with the id that the page made, return what is there.

        Raises:
            InvalidMessage: collections are turned off.
            InvalidParameters: there are too many.
        """
        self.refuse_if_off()
        new = Collection(id=collection_id or new_id(), name=name)
        full = Sentence("There can be {most} collections at most. Delete one first.", most=MAX_COLLECTIONS)

        def change(profile: Profile) -> Profile:
            return replace(profile, collections=_with(profile.collections, new, MAX_COLLECTIONS, full))

        return _entry((await self._store.change_library(user, change)).collections, new.id)

    async def rename_collection(self, user: str, collection_id: str, name: str) -> Collection:
        """Give a collection another name.

        Raises:
            LibraryEntryNotFound: there is none.
        """

        def change(profile: Profile) -> Profile:
            return replace(profile, collections=_changed(profile.collections, collection_id, {"name": name}))

        return _entry((await self._store.change_library(user, change)).collections, collection_id)

    async def delete_collection(self, user: str, collection_id: str) -> None:
        """Delete a collection with its documents; folders and conversations that name it then have none.

        What an interruption leaves of a collection is deleted by the next attempt, or with the next collection. An
        upload that ends meanwhile removes its document itself: see `add_document`.

        Raises:
            LibraryEntryNotFound: there is none.
        """
        profile, listed = await self.content(user)
        documents = [one for one in listed if one.collection == collection_id]
        if not documents:
            _entry(profile.collections, collection_id)
        await self._remove(user, documents)

        def change(profile: Profile) -> Profile:
            folders = (
                replace(one, collection="") if one.collection == collection_id else one for one in profile.folders
            )
            kept = (one for one in profile.collections if one.id != collection_id)
            return replace(profile, collections=tuple(kept), folders=tuple(folders))

        # A collection is stored before its documents: one that is missing now, and whose document was listed before,
        # was deleted in between.
        there = {one.id for one in (await self._store.change_library(user, change)).collections}
        left = [one for one in listed if one.collection not in {collection_id, *there}]
        await self._remove(user, [*left, *await self._store.library(user, collection_id)])

    async def add_folder(self, user: str, folder: Folder) -> Folder:
        """Add a folder, with an id if it has none; of one with an id that is there, return what is there.

        Raises:
            InvalidParameters: there are too many.
            LibraryEntryNotFound: there is no such collection.
        """
        new = replace(folder, id=folder.id or new_id())
        full = Sentence("There can be {most} folders at most. Delete one first.", most=MAX_FOLDERS)

        def change(profile: Profile) -> Profile:
            folders = _with(profile.folders, new, MAX_FOLDERS, full)
            if folders is not profile.folders:
                _refuse_missing(profile.collections, new.collection)
            return replace(profile, folders=folders)

        return _entry((await self._store.change_library(user, change)).folders, new.id)

    async def change_folder(self, user: str, folder_id: str, fields: Mapping[str, str]) -> Folder:
        """Change the name, the instructions or the collection of a folder.

        Raises:
            LibraryEntryNotFound: there is no such folder or collection.
        """

        def change(profile: Profile) -> Profile:
            _refuse_missing(profile.collections, fields.get("collection", ""))
            return replace(profile, folders=_changed(profile.folders, folder_id, fields))

        return _entry((await self._store.change_library(user, change)).folders, folder_id)

    async def delete_folder(self, user: str, folder_id: str) -> None:
        """Delete a folder; its conversations stay, in none.

        Raises:
            LibraryEntryNotFound: there is none.
        """
        _entry((await self._store.profile(user)).folders, folder_id)

        def change(profile: Profile) -> Profile:
            return replace(profile, folders=tuple(one for one in profile.folders if one.id != folder_id))

        await self._store.change_library(user, change)

    async def add_document(self, user: str, collection_id: str, content: str, document: Document) -> LibraryDocument:
        """Add a document to a collection; it replaces those of the same name.

        Args:
            user: whose it is.
            collection_id: of the collection.
            content: digest of the file and its name: the same again is the same document.
            document: what was read of it; its id does not count.

        Raises:
            LibraryEntryNotFound: there is no such collection, or it is being deleted.
            InvalidMessage: it is full.
            StorageFull: there is no room for it.
        """
        new = LibraryDocument(
            collection=collection_id,
            document=replace(document, id=library_document_id(collection_id, content)),
            added_ms=now_ms(),
        )
        listed = await self._store.library(user, collection_id)
        others = [one for one in listed if one.document.id != new.document.id]
        former = [one for one in others if one.document.name == document.name]
        if len(others) - len(former) >= self._most_documents:
            raise InvalidMessage(
                Sentence(
                    "A collection can have {most} documents at most, so {name} was not added. Remove one first, or "
                    "add it to another collection.",
                    most=self._most_documents,
                    name=document.name,
                )
            )
        is_there = [one for one in listed if one.document.id == new.document.id]
        if not is_there or (document.file and not is_there[0].document.file):
            await self._store.add_library_document(user, new)
        await self._remove(user, former)
        profile = await self._store.profile(user, consistency=Consistency.STRICT)
        if not any(one.id == collection_id for one in profile.collections):  # it was deleted meanwhile
            await self._remove(user, [new])
            raise LibraryEntryNotFound
        return next((one for one in listed if one.document.id == new.document.id), new)

    async def document(self, user: str, collection_id: str, document_id: str) -> LibraryDocument:
        """Return a document of a collection, with its data.

        Raises:
            DocumentNotFound: there is none.
        """
        document = await self._store.library_document(user, document_id)
        if document.collection != collection_id:
            raise DocumentNotFound(detail="of another collection")
        return document

    async def remove_document(self, user: str, collection_id: str, document_id: str) -> None:
        """Remove a document from a collection.

        Raises:
            DocumentNotFound: there is none.
        """
        listed = await self._store.library(user, collection_id)
        removed = [one for one in listed if one.document.id == document_id]
        if not removed:
            raise DocumentNotFound
        await self._remove(user, removed)

    def refuse_if_off(self) -> None:
        """Refuse a new collection or document where collections are turned off.

        Raises:
            InvalidMessage: they are.
        """
        if not self._most_documents:
            raise InvalidMessage(
                Sentence("Collections are turned off in this chat. Add the documents to a message instead.")
            )

    async def _remove(self, user: str, documents: Sequence[LibraryDocument]) -> None:
        await remove_documents(self._store, user, documents, self._on_removed)


async def remove_documents(
    store: LibraryStore, user: str, documents: Sequence[LibraryDocument], on_removed: OnRemoved
) -> None:
    """Delete documents of collections for good, `MAX_REMOVED` at once; missing ones are no error.

    Args:
        store: where they are.
        user: whose they are.
        documents: of any collections.
        on_removed: as in `Library`.
    """
    for start in range(0, len(documents), MAX_REMOVED):
        some = documents[start : start + MAX_REMOVED]
        await store.remove_library_documents(user, [one.document.id for one in some])
        for collection in {one.collection for one in some}:
            on_removed(user, collection, [one.document.id for one in some if one.collection == collection])


def _entry(entries: Sequence[EntryT], entry_id: str) -> EntryT:
    for one in entries:
        if one.id == entry_id:
            return one
    raise LibraryEntryNotFound


def _with(entries: tuple[EntryT, ...], new: EntryT, most: int, full: Sentence) -> tuple[EntryT, ...]:
    """Return entries with a new one; the same ones if one with its id is there.

    Raises:
        InvalidParameters: there are ``most`` already, as ``full`` says.
    """
    if any(one.id == new.id for one in entries):
        return entries
    if len(entries) >= most:
        raise InvalidParameters(full)
    return tuple(chain(entries, (new,)))


def _refuse_missing(entries: Sequence[Collection] | Sequence[Folder], entry_id: str) -> None:
    if entry_id and not any(one.id == entry_id for one in entries):
        raise LibraryEntryNotFound


def _changed(entries: Sequence[EntryT], entry_id: str, fields: Mapping[str, str]) -> tuple[EntryT, ...]:
    _entry(entries, entry_id)
    return tuple(replace(one, **fields) if one.id == entry_id else one for one in entries)
