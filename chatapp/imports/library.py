"""Stores the collections, folders and documents of an export of this chat."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing
from typing import TYPE_CHECKING

from chatapp.imports.reading import read_library
from chatapp.store.library import library_bytes
from chatapp.userdata.insert import add_library

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chatapp.domain.library import LibraryDocument
    from chatapp.imports.archive import Archive
    from chatapp.imports.reading import Reading
    from chatapp.imports.report import Report
    from chatapp.store import UserStore


async def store_library(store: UserStore, user: str, archive: Archive, reading: Reading, report: Report) -> None:
    """Store what is new of the library that was read to the end, and count it in ``report``.

    A document whose collection the export does not have is left out: no collection would show it.

    Raises:
        StorageFull: there is no room for a document; those before stay.
        StoreUnavailable: the store is unavailable; what was stored stays.
    """
    if reading.profile is None:
        return
    report.collections, report.folders = await add_library(store, user, reading.profile)
    if not reading.library_bytes:
        return
    collections = {one.id for one in reading.profile.collections}
    async with aclosing(_new_documents(store, user, archive)) as documents:
        async for document in documents:
            if document.collection in collections:
                await store.add_library_document(user, document)
                report.documents += 1


async def new_library_bytes(store: UserStore, user: str, archive: Archive) -> int:
    """Return about how many bytes the documents of collections take that are not stored yet."""
    async with aclosing(_new_documents(store, user, archive)) as documents:
        return sum([library_bytes(document) async for document in documents])


async def _new_documents(store: UserStore, user: str, archive: Archive) -> AsyncGenerator[LibraryDocument]:
    there = {one.document.id for one in await store.library(user)}
    with closing(read_library(archive)) as documents:
        while document := await asyncio.to_thread(next, documents, None):
            if document.document.id not in there:
                yield document
