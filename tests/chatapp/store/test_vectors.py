"""Vectors of documents, in every store: they come after their document, are read by its user alone, and go with it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from chatapp.domain.conversation import Document, now_ms
from chatapp.domain.errors import ConversationNotFound, DocumentNotFound, StoreUnavailable
from chatapp.domain.library import LibraryDocument
from chatapp.store.sqlite import retention
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.router import PREFIX, StoreRouter
from chatapp.store.values import VECTORS_BYTES
from tests.chatapp.store.conftest import a_conversation, a_message

if TYPE_CHECKING:
    from pathlib import Path

    from chatapp.store import Store

REPORT = Document(id="d", name="report.pdf", kind="PDF", pages=2, size=9, data=b"\x1f\x8b")
VECTORS = b'{"model": "e5"}\n' + bytes(range(256))
LARGEST = VECTORS * (VECTORS_BYTES // len(VECTORS))  # of four documents of Firestore


async def with_documents(store: Store, user: str, *ids: str, conversation_id: str = "c") -> None:
    """Store a conversation whose question has documents, and the same documents in a collection."""
    documents = tuple(replace(REPORT, id=id_) for id_ in ids)
    await store.create(user, a_conversation(id=conversation_id), a_message(documents=documents))
    for one in documents:
        await store.add_library_document(user, LibraryDocument(collection="k", document=one, added_ms=1))


async def test_vectors_are_read_with_their_document_and_replaced_also_after_reopening(place):
    store = await place.open()
    await with_documents(store, "ana", "d", "e", "f")
    for where in ("c", ""):
        assert await store.vectors("ana", where, ["d", "e"]) == {}
        await store.save_vectors("ana", where, "d", LARGEST)
        await store.save_vectors("ana", where, "e", LARGEST)
        await store.save_vectors("ana", where, "e", VECTORS)
    before = await store.library_document("ana", "d")
    await store.aclose()
    store = await place.open()
    for where in ("c", ""):
        assert await store.vectors("ana", where, ["d", "e", "f", "none", "not an id"]) == {"d": LARGEST, "e": VECTORS}
        assert await store.vectors("ana", where, ["d"]) == {"d": LARGEST}
    assert await store.document("ana", "c", "d") == REPORT
    assert await store.library_document("ana", "d") == before
    assert [one.document.id for one in await store.library("ana")] == ["d", "e", "f"]
    await store.aclose()


async def test_vectors_of_another_user_are_neither_read_nor_written(store):
    await with_documents(store, "ana", "d")
    for where in ("c", ""):
        await store.save_vectors("ana", where, "d", VECTORS)
        assert await store.vectors("ben", where, ["d"]) == {}
        with pytest.raises((ConversationNotFound, DocumentNotFound)):
            await store.save_vectors("ben", where, "d", b"bens")
        assert await store.vectors("ana", where, ["d"]) == {"d": VECTORS}


async def test_vectors_go_with_their_document_and_are_not_stored_after_it(store):
    await with_documents(store, "ana", "d", "e")
    for where in ("c", ""):
        for document in "de":
            await store.save_vectors("ana", where, document, VECTORS)
    await store.remove_library_documents("ana", ["d"])
    assert await store.vectors("ana", "", ["d", "e"]) == {"e": VECTORS}
    await store.delete("ana", "c")
    assert await store.vectors("ana", "c", ["d", "e"]) == {}
    for where, error in (("c", ConversationNotFound), ("", DocumentNotFound)):
        with pytest.raises(error):
            await store.save_vectors("ana", where, "d", VECTORS)
    await store.add_library_document("ana", LibraryDocument(collection="k", document=REPORT, added_ms=1))
    assert await store.vectors("ana", "", ["d"]) == {}


async def test_too_large_vectors_are_refused_and_count_towards_no_quota(store):
    await with_documents(store, "ana", "d")
    before = await store.stored_bytes("ana")
    for where in ("c", ""):
        with pytest.raises(StoreUnavailable):
            await store.save_vectors("ana", where, "d", b"x" * (VECTORS_BYTES + 1))
        await store.save_vectors("ana", where, "d", VECTORS)
    assert await store.stored_bytes("ana") == before


async def test_a_sqlite_file_has_no_byte_of_deleted_or_expired_vectors(tmp_path: Path, monkeypatch):
    path = tmp_path / "chat.db"
    store = await SQLiteStore.open(path)
    await with_documents(store, "ana", "d")
    old = now_ms() - 3 * retention.DAY_MS
    await store.create("ana", a_conversation(id="old", updated_ms=now_ms()), a_message(created_ms=1, id="m"))
    await store.append("ana", "old", a_message(created_ms=old, documents=(replace(REPORT, id="x"),)))
    secret = b"of a deleted text" * 1000
    for where, document in (("c", "d"), ("", "d"), ("old", "x")):
        await store.save_vectors("ana", where, document, secret)
    await store.delete("ana", "c")
    await store.remove_library_documents("ana", ["d"])
    await store.aclose()
    monkeypatch.setattr(retention, "_expired", lambda _connection, _oldest_ms: (0, 0))  # before the sweep
    store = await SQLiteStore.open(path, retention_days=1)
    assert await store.vectors("ana", "old", ["x"]) == {}
    await store.aclose()
    store = await SQLiteStore.open(path)
    assert await store.vectors("ana", "old", ["x"]) == {"x": secret}
    await store._database.write(lambda connection: retention._delete(connection, now_ms()), erase_within=0)
    await store.aclose()
    assert b"deleted text" not in path.read_bytes()


async def test_those_of_a_temporary_chat_are_not_stored(tmp_path: Path):
    router = StoreRouter(await SQLiteStore.open(tmp_path / "chat.db"))
    await router.create("ana", a_conversation(id=f"{PREFIX}1"), a_message(documents=(REPORT,)))
    await router.save_vectors("ana", f"{PREFIX}1", "d", VECTORS)
    assert await router.vectors("ana", f"{PREFIX}1", ["d"]) == {}
    await router.aclose()
