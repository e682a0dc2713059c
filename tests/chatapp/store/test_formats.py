"""What the chat stores keeps its format: files and documents of an earlier version are read, and are written the same.

``formats/`` holds what the code of commit b76ff19 wrote for `CONVERSATION`, `MESSAGES` and `PROFILE`: SQL dumps of the
history and the journal, Firestore documents by path, and the JSON export. ``history_5.sql`` is the history with the
sizes of December 2026, ``history_6.sql`` the one with the list of sessions, ``history_7.sql`` the one with shares, and
``history_8.sql`` the one with documents, as ``journal_4.sql`` is; ``history_9.sql`` has collections and folders,
``history_10.sql`` the file of a document, and ``history_11.sql`` vectors of documents.
``firestore_documents.json`` and ``export_documents.json`` hold `CITED`.
"""

from __future__ import annotations

import base64
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from chatapp.documents.vectors import packed_vectors, unpacked_vectors
from chatapp.domain.conversation import (
    Citation,
    Conversation,
    Document,
    Feedback,
    FinishReason,
    GenerationParameters,
    Image,
    Message,
    MessageStatus,
    Persona,
    Place,
    Profile,
    Role,
    Usage,
)
from chatapp.domain.library import Collection, Folder, LibraryDocument
from chatapp.domain.sentences import Sentence, Wait, as_json
from chatapp.domain.share import Share
from chatapp.store.firestore import documents
from chatapp.store.journal.journal import Journal
from chatapp.store.sqlite.file_folder import folder_of
from chatapp.store.sqlite.files import add_file
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.userdata import json_export
from tests import own_export

FORMATS = Path(__file__).parent / "formats"
DAY_MS = 24 * 3600 * 1000
# `chatapp.documents.packing.packed` of two pages.
PACKED = (
    "H4sIAAAAAAACA4uONtRRUtKJjlbKSE1MycxLV9JRuj7p+srrc5V0DGNjY3WijX"
    "SUgjNSU0vAikpSK4AMpeB8heJ8hdzS5AyFosTMPD0lHQOg2lgAUo4b3E0AAAA="
)

CONVERSATION = Conversation(
    id="c1",
    title='שלום "chat"',
    created_ms=1_700_000_000_001,
    updated_ms=1_700_000_005_002,
    model="gemma",
    system_prompt="Be brief.",
    persona="p1",
    pinned=True,
    archived=True,
    branch="a1",
    deleted_ms=0,
)
IMAGES = (
    Image(id="i1", media_type="image/jpeg", width=640, height=480, data=b"\xff\xd8\x00jpeg"),
    Image(id="i2", media_type="image/webp", width=1, height=2, data=b"RIFF"),
)
SHARE = Share(
    id="d1",
    conversation_id="c1",
    title="shared",
    created_ms=1_700_000_006_000,
    expires_ms=9_000_000_000_000,
    texts=1,
    size=2,
)
QUESTION = Message(
    id="q1",
    turn_id="t1",
    role=Role.USER,
    content="What is this?\n😀",
    created_ms=1_700_000_000_001,
    follows="",
    images=IMAGES,
)
ANSWER = Message(
    id="a1",
    turn_id="t1",
    role=Role.ASSISTANT,
    content="half an answer",
    created_ms=1_700_000_000_002,
    status=MessageStatus.ERROR,
    revision=7,
    model="gemma",
    usage=Usage(prompt_tokens=12, completion_tokens=None),
    seconds_to_first_token=0.1 + 0.2,
    finish_reason=FinishReason.LENGTH,
    omitted_messages=3,
    error=Sentence("{model}: {reason} {when}", model="Gemma", reason=Sentence("No {n}.", n=1200), when=Wait(90)),
    follows="q1",
    feedback=Feedback.DOWN,
    place=Place.OWN_GPUS,
    instead_of="gemini",
    temperature=0.3,
    seconds=12.5,
    cost=0.000123,
)
PLAIN = Message(
    id="a2",
    turn_id="t2",
    role=Role.ASSISTANT,
    content="",
    created_ms=1_700_000_005_002,
    status=MessageStatus.STOPPED,
    error="The server closed the connection.",
)
MESSAGES = (QUESTION, ANSWER, PLAIN)
DOCUMENT = Document(
    id="i1",  # as an image
    name="דוח.pdf",
    kind="PDF",
    pages=2,
    size=12_345,
    data=base64.b64decode(PACKED),
)
CITED = (
    replace(QUESTION, id="q2", images=(), documents=(DOCUMENT,)),
    replace(
        PLAIN,
        id="a4",
        content="It says “so much rain”.",
        citations=(Citation(end=22, document="i1", page=2, page_start=3, page_end=15),),
    ),
)
RUNNING = replace(PLAIN, id="a3", status=MessageStatus.STREAMING, error="", content="so far")
PROFILE = Profile(
    personas=(Persona(id="p1", name="מורה", instructions="Explain.\n{braces}"),),
    parameters=GenerationParameters(temperature=0.3, top_p=0.5, max_tokens=77),
    answer_with_other=True,
    revision=3,
)
# Collections and folders, and a document of a collection.
LIBRARY = Profile(
    collections=(Collection(id="k1", name="חוזים"),),
    folders=(Folder(id="f1", name="Work", instructions="Be exact.", collection="k1"),),
    library_revision=1,
)
# A document whose file is kept.
FILED = replace(QUESTION, id="q5", images=(), documents=(replace(DOCUMENT, size=5, file="f1"),))
# What `chatapp.documents.vectors.packed_vectors` made of two passages.
TEXTS = ["Leases\nThe rent", "\nחיות"]
VECTORS = (
    b'{"model": "e5", "dimensions": 2, "texts": "d93ec4c0ac33125f92bc80c4d16823f31edb8c12c28367f027156f7286afff48"}\n'
    b"\x7f\xc0\x00\x7f"
)
KEPT = LibraryDocument(collection="k1", document=replace(DOCUMENT, id="d1"), added_ms=1_700_000_000_009)


def listed(message: Message) -> Message:
    """Return a message as stores list it: the images and documents without data."""
    return message.with_attachments(replace(one, data=b"") for one in message.attachments)


def assert_same(read: list[Message], expected: list[Message]) -> None:
    assert read == expected
    assert [as_json(message.error) for message in read] == [as_json(message.error) for message in expected]


# SQLite


async def write_history(path: Path) -> None:
    store = await SQLiteStore.open(path)
    await store.create("ana", CONVERSATION, *MESSAGES)
    await store.save_profile("ana", PROFILE)
    await store.revoke("ana", session="s1", before_ms=5, until_ms=9_000_000_000_000)
    await store.save_share("ana", SHARE, {"text-0": b"[]"})
    await store.create("dan", replace(CONVERSATION, id="c3"), *CITED)
    await store.create("eve", replace(CONVERSATION, id="c4", collection="k1", folder="f1"))
    await store.change_library("eve", lambda _: LIBRARY)
    await store.add_library_document("eve", KEPT)
    await store._database.write(lambda connection: add_file(connection, "fay", "f1"))
    await store.create("fay", replace(CONVERSATION, id="c5"), FILED)
    await store.save_vectors("fay", "c5", DOCUMENT.id, VECTORS)
    await store.save_vectors("eve", "", KEPT.document.id, VECTORS)
    await store.aclose()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history.sql", *(f"history_{schema}.sql" for schema in range(5, 12))])
async def test_a_history_file_of_an_earlier_version_is_read(tmp_path, name):
    restore(FORMATS / name, tmp_path / "chat.db")
    store = await SQLiteStore.open(tmp_path / "chat.db")
    assert await store.conversation("ana", "c1") == CONVERSATION
    assert_same(await store.messages("ana", "c1"), list(map(listed, MESSAGES)))
    assert [await store.image("ana", "c1", image.id) for image in IMAGES] == list(IMAGES)
    assert await store.profile("ana") == PROFILE
    revocations = await store.revocations("ana")
    assert (revocations.before_ms, revocations.sessions) == (5, {"s1"})
    await store.delete_share("ana", SHARE.id)  # as earlier versions have none
    size = await store.stored_bytes("ana")
    await store.aclose()
    await write_history(tmp_path / "new.db")
    new = await SQLiteStore.open(tmp_path / "new.db")
    assert await new.shared("d1") == SHARE
    assert await new.shared_piece("d1", "text-0") == b"[]"
    await new.delete_share("ana", SHARE.id)
    assert await new.stored_bytes("ana") == size > 1_000
    await new.aclose()


async def test_documents_of_a_history_file_are_read(tmp_path):
    restore(FORMATS / "history_8.sql", tmp_path / "chat.db")
    store = await SQLiteStore.open(tmp_path / "chat.db")
    assert_same(await store.messages("dan", "c3"), list(map(listed, CITED)))
    assert await store.document("dan", "c3", DOCUMENT.id) == DOCUMENT
    await store.aclose()


async def test_collections_and_folders_of_a_history_file_are_read(tmp_path):
    restore(FORMATS / "history_9.sql", tmp_path / "chat.db")
    store = await SQLiteStore.open(tmp_path / "chat.db")
    assert await store.profile("eve") == LIBRARY
    assert await store.conversation("eve", "c4") == replace(CONVERSATION, id="c4", collection="k1", folder="f1")
    assert await store.library_document("eve", KEPT.document.id) == KEPT
    await store.aclose()


async def test_a_file_of_a_document_is_read_from_a_history_file(tmp_path):
    restore(FORMATS / "history_10.sql", tmp_path / "chat.db")
    store = await SQLiteStore.open(tmp_path / "chat.db")
    assert_same(await store.messages("fay", "c5"), [listed(FILED)])
    folder_of(tmp_path / "chat.db").mkdir()
    (folder_of(tmp_path / "chat.db") / "f1").write_bytes(b"%PDF-")
    assert await store.document_file_part("fay", "c5", DOCUMENT.id, 0) == b"%PDF-"
    await store.aclose()


async def test_vectors_of_documents_are_read_from_a_history_file(tmp_path):
    restore(FORMATS / "history_11.sql", tmp_path / "chat.db")
    store = await SQLiteStore.open(tmp_path / "chat.db")
    assert await store.vectors("fay", "c5", [DOCUMENT.id]) == {DOCUMENT.id: VECTORS}
    assert await store.vectors("eve", "", [KEPT.document.id]) == {KEPT.document.id: VECTORS}
    vectors = unpacked_vectors(VECTORS, model="e5", texts=TEXTS)
    assert vectors is not None
    assert vectors.tolist() == [[127, -64], [0, 127]]
    assert packed_vectors(vectors, model="e5", texts=TEXTS) == VECTORS
    await store.aclose()


async def test_a_history_file_is_written_as_before(tmp_path):
    await write_history(tmp_path / "chat.db")
    assert dumped(tmp_path / "chat.db") == (FORMATS / "history_11.sql").read_text()


# The journal


async def write_journal(path: Path) -> None:
    journal = await Journal.open(path, "the cloud")
    await journal.create(("ana", "c1"), CONVERSATION, [QUESTION, RUNNING])
    await journal.append(("ana", "c1"), [ANSWER, PLAIN], CONVERSATION, {})
    await journal.update(("ana", "c1"), CONVERSATION)
    await journal.delete(("ana", "c2"))
    await journal.save_profile("ana", PROFILE)
    await journal.delete_profile("ben")
    await journal.create(("dan", "c3"), replace(CONVERSATION, id="c3"), CITED)
    await journal.aclose()


async def test_a_journal_of_an_earlier_version_is_read(tmp_path):
    restore(FORMATS / "journal.sql", tmp_path / "journal.db")
    journal = await Journal.open(tmp_path / "journal.db", "the cloud")
    waiting = [write for key in await journal.conversations() for write in await journal.waiting(key)]
    assert [write.kind for write in waiting] == [
        *("create", "created", "created", "append", "append", "update", "delete", "profile", "no profile")
    ]
    assert [write.conversation for write in waiting if write.conversation] == [CONVERSATION] * 3
    messages = [write.message for write in waiting if write.message]
    assert_same(messages, [listed(message) for message in (QUESTION, RUNNING, ANSWER, PLAIN)])
    assert [write.profile for write in waiting if write.profile] == [PROFILE]
    assert [await journal.attachment(("ana", "c1"), Image, image.id) for image in IMAGES] == list(IMAGES)
    assert await journal.interrupt_abandoned() == 1
    await journal.aclose()


async def test_documents_of_a_journal_are_read(tmp_path):
    restore(FORMATS / "journal_4.sql", tmp_path / "journal.db")
    journal = await Journal.open(tmp_path / "journal.db", "the cloud")
    batch = await journal.next_batch(("dan", "c3"))
    assert_same([write.message for write in batch if write.message], list(CITED))
    assert await journal.attachment(("dan", "c3"), Document, DOCUMENT.id) == DOCUMENT
    await journal.aclose()


async def test_a_journal_is_written_as_before(tmp_path):
    await write_journal(tmp_path / "journal.db")
    with closing(sqlite3.connect(tmp_path / "journal.db")) as connection, connection:
        connection.execute("UPDATE writes SET accepted_ms = 0")
    assert dumped(tmp_path / "journal.db") == (FORMATS / "journal_4.sql").read_text()


# Firestore


def firestore_documents() -> dict[str, dict[str, object]]:
    written = {"conversations/c1": documents.conversation_document(CONVERSATION) | documents.expiry(0, DAY_MS)}
    return written | message_documents(MESSAGES) | {"users/ana": documents.profile_document(PROFILE)}


def message_documents(messages: tuple[Message, ...]) -> dict[str, dict[str, object]]:
    written: dict[str, dict[str, object]] = {}
    for message in messages:
        written |= {f"messages/{name}": one for name, one in documents.message_documents(message, DAY_MS).items()}
        attachments = documents.attachment_documents(message, DAY_MS)
        written |= {f"{collection}/{name}": one for (collection, name), one in attachments.items()}
    return written


def test_firestore_documents_of_an_earlier_version_are_read():
    stored = json.loads((FORMATS / "firestore.json").read_text(), object_hook=from_plain)
    assert documents.conversation_of("c1", stored["conversations/c1"]) == CONVERSATION
    messages = {path.removeprefix("messages/"): one for path, one in stored.items() if path.startswith("messages/")}
    assert_same([documents.message_of(one.id, messages) for one in MESSAGES], list(map(listed, MESSAGES)))
    images = [documents.attachment_of(Image, one.id, stored[f"images/{one.id}"]) for one in IMAGES]
    assert images == list(IMAGES)
    assert documents.profile_of(stored["users/ana"]) == PROFILE


def test_firestore_documents_are_written_as_before():
    expected = json.loads((FORMATS / "firestore.json").read_text(), object_hook=from_plain)
    assert firestore_documents() == expected


def test_uploaded_documents_are_read_from_firestore_and_written_as_before():
    stored = json.loads((FORMATS / "firestore_documents.json").read_text(), object_hook=from_plain)
    assert message_documents(CITED) == stored
    messages = {path.removeprefix("messages/"): one for path, one in stored.items() if path.startswith("messages/")}
    assert_same([documents.message_of(one.id, messages) for one in CITED], list(map(listed, CITED)))
    assert documents.attachment_of(Document, DOCUMENT.id, stored[f"documents/{DOCUMENT.id}"]) == DOCUMENT


# The JSON export


def export(messages: tuple[Message, ...] = MESSAGES) -> bytes:
    head = json_export.header("ana", PROFILE)
    before, _, after = head.partition(b'"exported": "')
    head = before + b'"exported": "' + b"2026-11-28T00:00:00.000Z" + after[24:]
    return head + json_export.encode(CONVERSATION, messages) + json_export.FOOTER


def test_a_json_export_of_an_earlier_version_is_read():
    text = (FORMATS / "export.json").read_text(encoding="utf-8")
    ((conversation, messages),) = own_export.read(text)
    assert conversation == CONVERSATION
    assert_same(list(messages), list(MESSAGES))
    assert own_export.read_profile(text) == PROFILE


def test_a_json_export_is_written_as_before():
    assert export() == (FORMATS / "export.json").read_bytes()


def test_documents_are_read_from_a_json_export_and_written_as_before():
    written = (FORMATS / "export_documents.json").read_bytes()
    assert export(CITED) == written
    ((_, messages),) = own_export.read(written.decode())
    assert_same(list(messages), list(CITED))


# Helpers


def dumped(path: Path) -> str:
    """Return a SQLite file as SQL, with the two pragmas that tell whose it is."""
    with closing(sqlite3.connect(path)) as connection:
        names = "application_id", "user_version"
        pragmas = [f"PRAGMA {name} = {connection.execute(f'PRAGMA {name}').fetchone()[0]};" for name in names]
        return "\n".join([*pragmas, *connection.iterdump()]) + "\n"


def restore(dump: Path, path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(dump.read_text())


def plain(value: object) -> object:
    """Return what JSON can hold of a time or bytes."""
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    assert isinstance(value, bytes)
    return {"bytes": base64.b64encode(value).decode()}


def from_plain(value: dict[str, str]) -> object:
    if value.keys() == {"time"}:
        return datetime.fromisoformat(value["time"])
    return base64.b64decode(value["bytes"]) if value.keys() == {"bytes"} else value
