"""Files of documents in SQLite: they come with their document and go with the last one that names them."""

from __future__ import annotations

import asyncio
import errno
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chatapp.domain.conversation import Document, now_ms
from chatapp.domain.errors import ConversationNotFound, DocumentNotFound, StoreUnavailable
from chatapp.domain.library import LibraryDocument
from chatapp.store.sqlite import retention
from chatapp.store.sqlite.file_folder import folder_of
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.memory import MemoryStore
from chatapp.store.values import FILE_PART_BYTES
from tests.chatapp.store.conftest import a_conversation, a_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from chatapp.store import Store

FILE = bytes(range(256)) * 8_000 + b"the end"  # of three parts
REPORT = Document(id="d", name="דוח.pdf", kind="PDF", pages=2, size=len(FILE), data=b"\x1f\x8b")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteStore]:
    store = await SQLiteStore.open(path)
    yield store
    await store.aclose()


def files_to_erase(path: Path) -> int:
    """Return how many deleted files of a history may still be in its folder."""
    with closing(sqlite3.connect(path)) as connection:
        (files,) = connection.execute("SELECT count(*) FROM deleted_files").fetchone()
    return files


def files_in(path: Path) -> int:
    """Return how many files a history has, in its table and in its folder."""
    with closing(sqlite3.connect(path)) as connection:
        (files,) = connection.execute("SELECT count(*) FROM files").fetchone()
    assert files_to_erase(path) == 0
    assert len(list(folder_of(path).glob("*"))) == files
    return files


async def file_of(store: Store, user: str, conversation_id: str, document_id: str = "d") -> bytes:
    parts = range(-(-len(FILE) // FILE_PART_BYTES))
    return b"".join([await store.document_file_part(user, conversation_id, document_id, part) for part in parts])


async def with_file(store: Store, user: str = "ana", conversation_id: str = "c") -> Document:
    """Store a conversation whose question has a document with a file; return the document."""
    document = replace(REPORT, file=await store.add_file(user, FILE))
    await store.create(user, a_conversation(id=conversation_id), a_message(id="q", documents=(document,)))
    return document


async def in_collection(store: Store, file: str, document_id: str = "k") -> LibraryDocument:
    document = LibraryDocument(collection="all", document=replace(REPORT, id=document_id, file=file), added_ms=1)
    await store.add_library_document("ana", document)
    return document


async def test_a_file_is_read_in_parts_with_its_document_also_after_the_store_is_opened_again(store, path):
    document = await with_file(store)
    assert await file_of(store, "ana", "c") == FILE
    assert await store.document("ana", "c", "d") == document
    (question,) = await store.messages("ana", "c")
    assert question.documents == (replace(document, data=b""),)
    assert await store.document_file_part("ana", "c", "d", 3) == b""
    await store.aclose()
    again = await SQLiteStore.open(path)
    assert await file_of(again, "ana", "c") == FILE
    await again.aclose()


async def test_a_file_of_another_user_is_neither_read_nor_named(store):
    document = await with_file(store)
    await in_collection(store, document.file)
    for read in (
        store.document_file_part("ben", "c", "d", 0),
        store.library_file_part("ben", "k", 0),
        store.document_file_part("ana", "c", document.file, 0),
    ):
        with pytest.raises((ConversationNotFound, DocumentNotFound)):
            await read
    await store.create("ben", a_conversation(id="bens"), a_message(documents=(document,)))
    await store.add_library_document("ben", LibraryDocument(collection="all", document=document, added_ms=1))
    assert (await store.document("ben", "bens", "d")).file == ""
    assert (await store.library_document("ben", "d")).document.file == ""
    assert (await store.messages("ben", "bens"))[0].documents[0].file == ""
    await store.discard_files("ben", [document.file])
    await store.discard_files("ben")
    assert await file_of(store, "ana", "c") == FILE


async def test_a_file_that_two_documents_name_goes_with_the_second(store, path):
    document = await with_file(store)
    again = replace(document, id="again")  # the question is edited, or asked once more in another conversation
    await store.append("ana", "c", a_message(id="edited", documents=(again,)))
    await store.create("ana", a_conversation(id="other"), a_message(documents=(document,)))
    await in_collection(store, document.file)
    await store.delete("ana", "c")
    assert await file_of(store, "ana", "other") == FILE
    await store.delete("ana", "other")
    assert await store.library_file_part("ana", "k", 2) == FILE[2 * FILE_PART_BYTES :]
    await store.remove_library_documents("ana", ["k"])
    assert files_in(path) == 0


async def test_the_bytes_of_a_deleted_file_are_overwritten_on_the_disk(store, path):
    document = await with_file(store)
    (folder_of(path) / document.file).rename(path.parent / "seen")
    (folder_of(path) / document.file).hardlink_to(path.parent / "seen")
    await store.delete("ana", "c")
    assert (path.parent / "seen").read_bytes() == bytes(len(FILE))
    assert files_in(path) == 0


async def test_files_can_be_read_by_the_owner_of_the_process_alone(store, path):
    document = await with_file(store)
    modes = [one.stat().st_mode & 0o777 for one in (folder_of(path), folder_of(path) / document.file)]
    assert modes == [0o700, 0o600]


async def test_a_file_counts_with_each_document_that_names_it(store):
    document = await with_file(store)
    one = await store.stored_bytes("ana")
    assert one > len(FILE)
    await in_collection(store, document.file)
    assert await store.stored_bytes("ana") - one > len(FILE)
    await store.remove_library_documents("ana", ["k"])
    assert await store.stored_bytes("ana") == one
    await store.delete("ana", "c")
    assert await store.stored_bytes() == 0


async def test_a_document_of_a_collection_that_has_no_file_gets_one(store, path):
    await in_collection(store, "")
    before = await store.stored_bytes("ana")
    file, later = await store.add_file("ana", FILE), await store.add_file("ana", b"another")
    await in_collection(store, file)
    await in_collection(store, later)  # one that has a file keeps it
    await in_collection(store, "")
    assert [one.document.file for one in await store.library("ana")] == [file]
    assert await store.stored_bytes("ana") == before + len(FILE)
    await store.discard_files("ana")
    assert files_in(path) == 1


async def test_a_waiting_file_is_discarded_and_one_that_a_document_names_is_not(store, path):
    document = await with_file(store)
    waiting, other = await store.add_file("ana", FILE), await store.add_file("ana", b"x")
    await store.discard_files("ana", [document.file, waiting])
    assert files_in(path) == 2
    await store.discard_files("ana")
    assert files_in(path) == 1
    await store.append("ana", "c", a_message(documents=(replace(REPORT, id="late", file=other),)))
    assert (await store.document("ana", "c", "late")).file == ""  # it was discarded before its message came
    assert await file_of(store, "ana", "c") == FILE


async def test_what_an_ended_process_left_waiting_is_deleted_at_the_next_start(store, path):
    document = await with_file(store)
    await store.add_file("ana", FILE)
    await store.aclose()
    again = await SQLiteStore.open(path)
    assert files_in(path) == 1
    assert await file_of(again, "ana", "c") == FILE
    assert (await again.document("ana", "c", "d")).file == document.file
    await again.aclose()


async def test_a_file_for_which_the_disk_has_no_room_is_refused_and_leaves_nothing(store, path, monkeypatch):
    def full(_descriptor):
        monkeypatch.undo()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("chatapp.store.sqlite.file_folder.os.fsync", full)
    with pytest.raises(StoreUnavailable, match=r"disk .* is full"):
        await store.add_file("ana", FILE)
    assert files_in(path) == 0


async def test_bytes_that_a_crash_left_are_erased_at_the_next_start(store, path):
    """Those of a file that was written without a row, and of one whose row was deleted."""
    document = await with_file(store)
    await store.aclose()
    (folder_of(path) / "half").write_bytes(FILE[:1000])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("DELETE FROM conversations")
    assert (folder_of(path) / document.file).exists()
    again = await SQLiteStore.open(path)
    assert files_in(path) == 0
    await again.aclose()


async def test_files_that_are_handed_over_are_named_by_the_other_user_and_kept_by_the_first(store, path):
    document = await with_file(store, "guest")
    await store.hand_over_files("ana", "ben", [document.file])  # not hers
    await store.hand_over_files("guest", "ana", [document.file])
    await store.create("ana", a_conversation(id="moved"), a_message(documents=(document,)))
    assert await file_of(store, "guest", "c") == FILE
    await store.delete("guest", "c")
    assert await file_of(store, "ana", "moved") == FILE
    assert files_in(path) == 1


async def test_a_file_expires_with_its_message(path, monkeypatch):
    store = await SQLiteStore.open(path)
    old = now_ms() - 3 * retention.DAY_MS
    document = replace(REPORT, file=await store.add_file("ana", FILE))
    await store.create(
        "ana", a_conversation(id="c", updated_ms=now_ms()), a_message(id="q", created_ms=old, documents=(document,))
    )
    await store.append("ana", "c", a_message(created_ms=now_ms()))
    await store.aclose()
    monkeypatch.setattr(retention, "_expired", lambda _connection, _oldest_ms: (0, 0))  # before the sweep
    again = await SQLiteStore.open(path, retention_days=1)
    with pytest.raises(ConversationNotFound):
        await again.document_file_part("ana", "c", "d", 0)
    await again.aclose()
    monkeypatch.undo()
    again = await SQLiteStore.open(path, retention_days=1)
    async with asyncio.timeout(60):
        while (folder_of(path) / document.file).exists() or files_to_erase(path):
            await asyncio.sleep(0.01)
    await again.aclose()
    assert files_in(path) == 0


async def test_a_temporary_conversation_keeps_no_file():
    store = MemoryStore()
    assert await store.add_file("ana", FILE) == ""
    await store.create("ana", a_conversation(id="c"), a_message(documents=(replace(REPORT, file="f"),)))
    assert (await store.document("ana", "c", "d")).file == ""
    with pytest.raises(ConversationNotFound):
        await store.document_file_part("ana", "c", "d", 0)
