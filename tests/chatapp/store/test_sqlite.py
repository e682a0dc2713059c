"""What is special to the file: kills, locks, disks, versions and what deleting leaves behind."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import json
import os
import random
import re
import resource
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from chatapp.domain.conversation import (
    Conversation,
    Document,
    FinishReason,
    Image,
    MessageStatus,
    Persona,
    Profile,
    Role,
    Usage,
    now_ms,
)
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.library import Folder, LibraryDocument
from chatapp.store import Revocations
from chatapp.store.sqlite import file as sqlite_file
from chatapp.store.sqlite import store as sqlite
from chatapp.store.sqlite import writer as sqlite_writer
from chatapp.store.sqlite.store import SQLiteStore
from tests.chatapp.store.conftest import SQLitePlace, a_conversation, a_message
from tests.unprivileged import UID, unprivileged
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]


@pytest.fixture
def place(tmp_path: Path) -> SQLitePlace:
    return SQLitePlace(tmp_path)


@pytest.fixture
def path(place: SQLitePlace) -> Path:
    return place.path


def raw(path: Path) -> closing[sqlite3.Connection]:
    """Look at the file, or hold it, as another program would."""
    return closing(sqlite3.connect(path, timeout=5, isolation_level=None))


def start_python(script: str, path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, str(path)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> list[str]:
    """Kill the process and return the lines that it still had to say."""
    process.kill()
    with process:
        return process.stdout.readlines()


@contextmanager
def writer_held(store: SQLiteStore) -> Iterator[None]:
    """Keep the writer busy with a slow write, so that what is asked meanwhile waits in its queue."""
    release = threading.Event()

    def slow_change(_: sqlite3.Connection) -> None:
        release.wait(5)

    slow = store._database._writer.submit(slow_change)
    while not slow.running():
        time.sleep(0.001)
    try:
        yield
    finally:
        release.set()


def bytes_on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


# Kills

WRITE_UNTIL_KILLED = """
import asyncio, os, pathlib, sys
from chatapp.domain.conversation import Conversation, Message, Role, new_id
from chatapp.store.sqlite.store import SQLiteStore

async def talk(store, number):
    conversation = Conversation(id=new_id(), title="", created_ms=0, updated_ms=0)
    await store.create("ana", conversation)
    for turn in range(1_000_000):
        ids = new_id(), new_id()
        await store.append("ana", conversation.id, *(
            Message(id=id, turn_id="+".join(ids), role=Role.USER, content=id * (1 + turn * 7 % 300), created_ms=turn)
            for id in ids
        ))
        os.write(1, f"{conversation.id} {ids[0]} {ids[1]}\\n".encode())

async def main():
    sys.stdin.readline()
    store = await SQLiteStore.open(pathlib.Path(sys.argv[1]))
    await asyncio.gather(*(talk(store, number) for number in range(8)))

asyncio.run(main())
"""
ROUNDS = 16


@pytest.mark.slow
async def test_kill_9_in_mid_write_loses_nothing_that_was_acknowledged(place, path):
    acknowledged: set[tuple[str, str]] = set()
    chance = random.Random()
    writer = start_python(WRITE_UNTIL_KILLED, path)
    for number in range(ROUNDS):
        writer.stdin.write("go\n")
        writer.stdin.flush()
        following = start_python(WRITE_UNTIL_KILLED, path)  # imports meanwhile
        lines = []
        if number % 4:  # the others may still be opening the file, after the kill before
            lines = [await asyncio.to_thread(writer.stdout.readline) for _ in range(chance.randint(10, 150))]
        await asyncio.sleep(chance.uniform(0.0, 0.05))
        lines += await asyncio.to_thread(end, writer)
        writer = following
        for conversation_id, *ids in (line.split() for line in lines if line.endswith("\n")):
            acknowledged |= {(conversation_id, message_id) for message_id in ids}
    end(writer)

    assert len(acknowledged) > ROUNDS * 10  # or too little was tried
    with raw(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    store = await place.open()
    stored: set[tuple[str, str]] = set()
    cursor = ""
    while cursor is not None:
        page = await store.conversations("ana", limit=200, cursor=cursor)
        cursor = page.cursor
        for conversation in page.items:
            messages = await store.messages("ana", conversation.id)
            for message in messages:
                assert re.fullmatch(f"({message.id})+", message.content)  # nothing half written
                assert len(message.content) == len(message.id) * (1 + message.created_ms * 7 % 300)
            ids = {message.id for message in messages}
            assert ids == {
                both for message in messages for both in message.turn_id.split("+")
            }  # none without the other
            stored |= {(conversation.id, message_id) for message_id in ids}
    await store.aclose()
    assert acknowledged <= stored
    assert len(stored - acknowledged) <= ROUNDS * 8 * 2  # what was under way, at most


WRITE_HALF_AN_ANSWER = """
import asyncio, os, pathlib, sys
from chatapp.domain.conversation import Conversation, Message, MessageStatus, Role
from chatapp.store.sqlite.store import SQLiteStore

async def main():
    store = await SQLiteStore.open(pathlib.Path(sys.argv[1]))
    message = dict(turn_id="t", role=Role.ASSISTANT, created_ms=2)
    await store.create("ana", Conversation(id="c", title="", created_ms=0, updated_ms=0),
        Message(id="ended", content="whole", **message),
        Message(id="running", content="half", status=MessageStatus.STREAMING, revision=4, **message))
    print("written", flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


@pytest.mark.slow
async def test_running_answer_of_a_killed_chat_is_interrupted_at_the_next_start_and_can_be_continued(place, path):
    killed = start_python(WRITE_HALF_AN_ANSWER, path)
    assert await asyncio.to_thread(killed.stdout.readline) == "written\n"
    await asyncio.to_thread(end, killed)
    for _ in range(2):  # once, however often it starts
        store = await place.open()
        ended, interrupted = await store.messages("ana", "c")
        assert (ended.status, ended.revision) == (MessageStatus.COMPLETE, 0)
        assert (interrupted.status, interrupted.revision, interrupted.content) == (MessageStatus.INTERRUPTED, 5, "half")
        await store.aclose()
    store = await place.open()
    goes_on = dataclasses.replace(interrupted, status=MessageStatus.STREAMING, revision=6)
    await store.append("ana", "c", goes_on)
    assert await store.message("ana", "c", "running") == goes_on
    await store.aclose()


async def test_finding_running_answers_reads_only_those(store):
    connection = store._database._writer._connection
    plan = connection.execute("EXPLAIN QUERY PLAN SELECT 1 FROM messages WHERE status = 'streaming'").fetchall()
    assert ["messages_running" in row["detail"] for row in plan] == [True]


async def test_the_settings_that_make_a_write_durable_are_on(store):
    assert {name: store._database._writer._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in (
        "journal_mode", "synchronous", "fullfsync", "foreign_keys", "secure_delete")
    } == {"journal_mode": "wal", "synchronous": 2, "fullfsync": 1, "foreign_keys": 1, "secure_delete": 1}  # fmt: skip


async def test_writes_that_wait_share_one_sync_and_the_one_that_fails_fails_alone(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    statements: list[str] = []
    with writer_held(store):
        store._database._writer._connection.set_trace_callback(statements.append)
        appends = [
            asyncio.create_task(store.append("ana", conversation.id if n != 5 else "no", a_message(created_ms=n)))
            for n in range(10)
        ]
        await asyncio.sleep(0)  # each is in the queue
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert [n for n, outcome in enumerate(outcomes) if isinstance(outcome, ConversationNotFound)] == [5]
    assert [message.created_ms for message in await store.messages("ana", conversation.id)] == [
        0,
        1,
        2,
        3,
        4,
        6,
        7,
        8,
        9,
    ]
    assert statements.count("COMMIT") == 2  # the slow one's and theirs


# The event loop, readers and cancelled callers


async def test_a_slow_write_blocks_neither_the_event_loop_nor_readers(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    with writer_held(store):
        slow = asyncio.create_task(store.append("ana", conversation.id, a_message()))
        for _ in range(20):
            assert await store.messages("ana", conversation.id) == []
            assert len((await store.conversations("ana")).items) == 1
        assert not slow.done()
    await slow
    assert len(await store.messages("ana", conversation.id)) == 1


async def test_messages_are_read_from_one_snapshot(store, path, monkeypatch):
    conversation, message = a_conversation(), a_message()
    await store.create("ana", conversation, message)
    owned = sqlite.owned

    def owned_and_then_deleted(*arguments):
        conversation = owned(*arguments)
        with raw(path) as other:
            other.execute("DELETE FROM messages")
        return conversation

    monkeypatch.setattr(sqlite, "owned", owned_and_then_deleted)
    assert await store.messages("ana", conversation.id) == [message]


async def test_a_caller_cancelled_in_the_queue_leaves_nothing_behind(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    with writer_held(store):
        cancelled = asyncio.create_task(store.append("ana", conversation.id, a_message("not"), a_message("this")))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    await store.append("ana", conversation.id, a_message("next"))
    assert [message.content for message in await store.messages("ana", conversation.id)] == ["next"]


async def test_a_caller_cancelled_in_mid_write_leaves_the_whole_write(store, monkeypatch):
    conversation = a_conversation()
    await store.create("ana", conversation)
    half_done, cancelled = threading.Event(), threading.Event()
    put = sqlite.put

    def put_in_halves(connection, conversation_id, messages):
        put(connection, conversation_id, messages[:1])
        half_done.set()
        cancelled.wait(5)
        put(connection, conversation_id, messages[1:])

    monkeypatch.setattr(sqlite, "put", put_in_halves)
    append = asyncio.create_task(store.append("ana", conversation.id, a_message("a"), a_message("b", 2_000)))
    await asyncio.to_thread(half_done.wait, 5)
    append.cancel()
    with pytest.raises(asyncio.CancelledError):
        await append
    cancelled.set()
    await store.append("ana", conversation.id, a_message("next", 3_000))
    assert [message.content for message in await store.messages("ana", conversation.id)] == ["a", "b", "next"]


async def test_an_id_that_another_user_has_is_refused(store):
    conversation, message = a_conversation(), a_message()
    await store.create("ana", conversation, message)
    with pytest.raises(ConversationNotFound):
        await store.create("ben", conversation, a_message("Ben's"))
    assert (await store.conversations("ben")).items == []
    assert await store.messages("ana", conversation.id) == [message]


# Deleting


@pytest.mark.parametrize("size", [1, 100, 20_000])
async def test_deleted_text_is_erased_from_the_files_when_delete_returns(store, path, size):
    deleted, stored = a_conversation(title="SECRET title", system_prompt="SECRET prompt"), a_conversation()
    await store.create("ana", stored, a_message("PUBLIC " * size))
    picture = Image(id="i", media_type="image/png", width=1, height=1, data=b"SECRET pixels" * size)
    report = Document(id="i", name="SECRET name", kind="PDF", pages=1, size=1, data=b"SECRET pages" * size)
    attached = a_message("SECRET " * size, id="m", images=(picture,), documents=(report,))
    await store.create("ana", deleted, attached, a_message(error="SECRET error"))
    await store.append("ana", deleted.id, a_message("SECRET answer " * size, id="m", revision=1))
    for written in (b"SECRET", b"secret", b"SECRET pixels", b"SECRET pages"):  # as it is searched, too
        assert written in bytes_on_disk(path)
    await store.delete("ana", deleted.id)
    assert b"secret" not in bytes_on_disk(path).lower()
    assert b"PUBLIC" in bytes_on_disk(path)


async def test_deleted_profile_is_erased_from_the_files(store, path):
    persona = Persona(id="p", name="n", instructions="SECRET")
    await store.save_profile("ana", Profile(personas=(persona,), revision=1))
    assert b"SECRET" in bytes_on_disk(path)
    await store.delete_profile("ana")
    assert b"SECRET" not in bytes_on_disk(path)


@pytest.mark.slow
async def test_a_reader_that_still_needs_the_log_only_delays_its_emptying(place, path, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "QUIET_S", 0.05)
    store = await place.open()
    conversation = a_conversation()
    await store.create("ana", conversation, a_message("SECRET"))
    with raw(path) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchone()
        await store.delete("ana", conversation.id)
        assert b"SECRET" in bytes_on_disk(path)
    await until(lambda: b"SECRET" not in bytes_on_disk(path))
    await store.aclose()


async def test_the_file_is_rebuilt_once_it_is_quiet_after_a_delete(place, path, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "QUIET_S", 0.05)
    store = await place.open()
    conversation = a_conversation()
    await store.create("ana", conversation, a_message("x" * 500_000))
    await store.delete("ana", conversation.id)
    await until(lambda: path.stat().st_size < 200_000)  # an empty history has 110,000
    await store.create("ana", conversation)  # and it goes on
    await store.aclose()


@pytest.mark.slow
async def test_after_a_history_of_deletes_no_trace_is_left_at_the_end(place, path):
    chance = random.Random(4)  # with SQLite 3.40, secure_delete alone leaves a copy of <0169>
    store = await place.open()
    living: set[str] = set()
    for number in range(300):
        mark = f"<{number:04}>"
        conversation = a_conversation(id=mark[1:-1], title=mark)
        texts = [mark * chance.choice([1, 5, 30, 120, 700]) for _ in range(chance.randint(1, 3))]
        await store.create("ana", conversation, *map(a_message, texts))
        living.add(mark)
        if number % 2:
            mark = chance.choice(sorted(living))
            living.remove(mark)
            await store.delete("ana", mark[1:-1])
    await store.aclose()
    assert {mark.decode() for mark in re.findall(rb"<\d{4}>", bytes_on_disk(path))} == living


async def test_deleted_folder_and_removed_document_are_erased_from_the_files(store, path):
    secret = Folder(id="f", name="SECRET", instructions="SECRET words")
    document = Document(id="d", name="SECRET name", kind="PDF", pages=1, size=1, data=b"SECRET pages" * 9_000)
    await store.change_library("ana", lambda stored: dataclasses.replace(stored, folders=(secret,)))
    await store.add_library_document("ana", LibraryDocument(collection="k", document=document, added_ms=1))
    assert b"SECRET words" in bytes_on_disk(path)
    assert b"SECRET pages" in bytes_on_disk(path)
    await store.remove_library_documents("ana", ["d"])
    await store.change_library("ana", lambda stored: dataclasses.replace(stored, folders=()))
    assert b"SECRET" not in bytes_on_disk(path)


async def test_text_deleted_just_before_a_kill_is_erased_when_the_chat_opens_again(place, path):
    store = await place.open()
    conversation = a_conversation()
    await store.create("ana", conversation, a_message("SECRET"))
    await store.aclose()
    delete_and_die = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA secure_delete = ON'); c.execute('UPDATE messages SET id = id || 1')\n"
        "c.execute('DELETE FROM messages'); os.kill(os.getpid(), 9)"
    )
    await asyncio.to_thread(lambda: start_python(delete_and_die, path).communicate())
    assert b"SECRET" in bytes_on_disk(path)
    store = await place.open()
    assert b"SECRET" not in bytes_on_disk(path)
    await store.aclose()


# Versions


def with_migrations(*more):
    """Return the schema of a version that is yet to come."""
    return dataclasses.replace(sqlite_file.HISTORY, migrations=(*sqlite_file.HISTORY.migrations, *more))


async def test_an_older_file_is_brought_up_to_date_with_all_that_it_holds(place, path, monkeypatch):
    conversation, message = a_conversation(), a_message()
    store = await place.open()
    await store.create("ana", conversation, message)
    await store.aclose()
    later = "ALTER TABLE conversations ADD COLUMN flavour INTEGER NOT NULL DEFAULT 0; CREATE TABLE spices (id TEXT)"
    monkeypatch.setattr(sqlite, "HISTORY", with_migrations(later))
    store = await place.open()
    assert await store.conversation("ana", conversation.id) == conversation
    assert await store.messages("ana", conversation.id) == [message]
    await store.aclose()
    with raw(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(sqlite.HISTORY.migrations),)
        assert connection.execute("SELECT flavour FROM conversations").fetchall() == [(0,)]
    await (await place.open()).aclose()  # nothing is applied twice


async def test_history_from_before_versions_and_images_is_read_and_searched(place, path, monkeypatch):
    """The rows are as that version wrote them."""
    old = dataclasses.replace(sqlite_file.HISTORY, migrations=sqlite_file.HISTORY.migrations[:2], functions={})
    with monkeypatch.context() as patch:
        patch.setattr(sqlite, "HISTORY", old)
        await (await place.open()).aclose()
    details = {"model": "gemma", "usage": {"prompt_tokens": 3, "completion_tokens": None}, "finish_reason": "stop"}
    details |= {"seconds_to_first_token": 0.5, "omitted_messages": 0, "error": "Broken {off}."}
    with raw(path) as connection:
        connection.execute("INSERT INTO conversations VALUES ('c', 'ana', 'Old', 1, 2, 'gemma', 'Be brief.')")
        row = ("c", "m", "t", "assistant", "error", "SHALOM שָׁלוֹם", 2, 7, json.dumps(details))
        connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    store = await place.open()
    conversation = Conversation(
        id="c", title="Old", created_ms=1, updated_ms=2, model="gemma", system_prompt="Be brief."
    )
    message = a_message(
        "SHALOM שָׁלוֹם",
        2,
        id="m",
        turn_id="t",
        role=Role.ASSISTANT,
        status=MessageStatus.ERROR,
        revision=7,
        model="gemma",
        usage=Usage(prompt_tokens=3),
        seconds_to_first_token=0.5,
        finish_reason=FinishReason.STOP,
        error="Broken {off}.",
    )
    assert await store.messages("ana", "c") == [message]
    assert await store.conversation("ana", "c") == conversation
    assert await store.pinned("ana") == []
    (hit,) = (await store.search("ana", "שלום shalom")).items
    assert (hit.message_id, hit.match) == ("m", "SHALOM")
    await store.aclose()


async def test_a_migration_that_fails_changes_nothing_and_the_ones_before_stay(place, path, monkeypatch):
    await (await place.open()).aclose()
    fine, broken = "CREATE TABLE fine (id TEXT)", "CREATE TABLE half (id TEXT); INSERT INTO missing VALUES (1)"
    monkeypatch.setattr(sqlite, "HISTORY", with_migrations(fine, broken))
    with pytest.raises(StoreUnavailable):
        await place.open()
    with raw(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (len(sqlite.HISTORY.migrations) - 1,)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert "fine" in tables
    assert "half" not in tables


async def test_a_file_of_a_newer_version_is_refused_and_left_alone(place, path):
    await (await place.open()).aclose()
    with raw(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    await refused_and_unchanged(place, path, "newer version")


async def test_the_file_of_another_program_is_refused_and_left_alone(place, path):
    path.parent.mkdir()
    with raw(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    await refused_and_unchanged(place, path, "belongs to another program")


async def test_a_file_that_is_no_database_is_refused_and_left_alone(place, path):
    path.parent.mkdir()
    path.write_bytes(b"Dear diary,\n" * 1_000)
    await refused_and_unchanged(place, path, "is not a chat history")


async def test_a_damaged_file_is_refused(place, path):
    store = await place.open()
    await store.create("ana", a_conversation(), *(a_message("x" * 9_000) for _ in range(50)))
    await store.aclose()
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * 4_000)  # the rest of the first page, which holds the schema
    await refused_and_unchanged(place, path, "damaged")


async def refused_and_unchanged(place: SQLitePlace, path: Path, why: str) -> None:
    before = bytes_on_disk(path)
    with pytest.raises(StoreUnavailable, match=why) as refused:
        await place.open()
    assert str(path) in str(refused.value)
    assert bytes_on_disk(path) == before
    assert {file.name for file in path.parent.iterdir()} <= {path.name, f"{path.name}.lock"}


# Folders, disks and locks


async def test_the_folder_and_every_file_are_for_their_owner_only(place, path):
    before = os.umask(0)
    try:
        store = await place.open()
        await store.create("ana", a_conversation())
    finally:
        os.umask(before)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes) == {path.name + suffix for suffix in ("", "-wal", "-shm", ".lock")}
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.aclose()


async def test_an_invalid_path_is_refused_with_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "chat.sqlite3", tmp_path / "file" / "deeper" / "chat.sqlite3"):
        with pytest.raises(StoreUnavailable, match=r"cannot be used: (Not a directory|File exists)"):
            await SQLiteStore.open(path)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        await SQLiteStore.open(tmp_path / "folder")


OPEN_AND_SAY = """
import asyncio, pathlib, sys
from chatapp.domain.errors import StoreUnavailable
from chatapp.store.sqlite.store import SQLiteStore

async def main():
    try:
        store = await SQLiteStore.open(pathlib.Path(sys.argv[1]))
    except StoreUnavailable as refused:
        print("refused:", refused)
    else:
        await store.aclose()
        print("opened")

asyncio.run(main())
"""


def open_unprivileged(path: Path) -> str:
    """Open the history in a process that file modes bind, also when the tests run as root, and return what it says."""
    command = [*unprivileged(), sys.executable, "-c", OPEN_AND_SAY, path]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout


@pytest.mark.slow
def test_a_read_only_folder_or_file_is_refused_with_a_sentence():
    # Not in tmp_path: above it is a folder that only root may enter.
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() == 0:
            os.chown(folder, UID, UID)
        path = Path(folder) / "history" / "chat.sqlite3"
        assert open_unprivileged(path) == "opened\n"
        path.chmod(0o400)
        assert re.match("refused: .*is read-only", open_unprivileged(path))
        path.parent.chmod(0o500)
        assert re.match("refused: .*cannot be used: Permission", open_unprivileged(path.with_name("other.sqlite3")))
        path.parent.chmod(0o700)


async def test_a_file_that_sqlite_opens_read_only_is_refused_with_a_sentence(place, path, monkeypatch):
    await (await place.open()).aclose()
    connect = sqlite3.connect

    def connect_read_only(path: Path, **options: object) -> sqlite3.Connection:
        return connect(f"{path.as_uri()}?mode=ro", uri=True, **options)  # as it does by itself; root may always write

    monkeypatch.setattr(sqlite_file.sqlite3, "connect", connect_read_only)
    with pytest.raises(StoreUnavailable, match="is read-only"):
        await place.open()


async def test_a_full_disk_at_the_start_is_reported_with_a_sentence(place, monkeypatch):
    def no_space(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sqlite_file.os, "open", no_space)
    with pytest.raises(StoreUnavailable, match="is full"):
        await place.open()


@pytest.fixture
async def conversation(store: SQLiteStore) -> Conversation:
    conversation = a_conversation()
    await store.create("ana", conversation, a_message("before"))
    return conversation


async def texts(store: SQLiteStore, conversation: Conversation) -> list[str]:
    return [message.content for message in await store.messages("ana", conversation.id)]


async def test_full_disk_rejects_writes_that_do_not_fit_and_stores_those_that_fit(store, conversation):
    connection = store._database._writer._connection
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    with writer_held(store):  # so that they share a transaction, which SQLite gives up as a whole
        appends = [
            asyncio.create_task(store.append("ana", conversation.id, a_message(text, created_ms)))
            for created_ms, text in [(2_000, "small"), (2_000, "x" * 100_000), (3_000, "also small")]
        ]
        await asyncio.sleep(0)  # each is in the queue
    outcomes = await asyncio.gather(*appends, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), StoreUnavailable, type(None)]
    assert "is full" in str(outcomes[1])
    assert await texts(store, conversation) == ["before", "small", "also small"]
    connection.execute("PRAGMA max_page_count = 1000000")
    await store.append("ana", conversation.id, a_message("after", 4_000))
    assert await texts(store, conversation) == ["before", "small", "also small", "after"]


async def test_a_disk_error_is_reported_with_a_sentence_and_changes_nothing(store, conversation):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))  # writing beyond is an error, as on a bad disk
    try:
        with pytest.raises(StoreUnavailable, match="reports an error") as failed:
            await store.append("ana", conversation.id, a_message("x" * 1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert failed.value.detail.startswith("SQLITE_IOERR")
    assert await texts(store, conversation) == ["before"]
    await store.append("ana", conversation.id, a_message("after", 2_000))
    assert await texts(store, conversation) == ["before", "after"]


async def test_a_file_that_became_read_only_can_still_be_read(store, conversation):
    store._database._writer._connection.execute("PRAGMA query_only = ON")  # file modes do not bind root
    with pytest.raises(StoreUnavailable, match="is read-only"):
        await store.append("ana", conversation.id, a_message("no"))
    assert await texts(store, conversation) == ["before"]
    store._database._writer._connection.execute("PRAGMA query_only = OFF")


HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@pytest.mark.slow
async def test_a_lock_of_another_program_times_out_with_a_sentence(path):
    store = await SQLiteStore.open(path, busy_timeout=1.0)
    conversation = a_conversation()
    await store.create("ana", conversation, a_message("before"))
    other = start_python(HOLD_LOCK, path)
    assert await asyncio.to_thread(other.stdout.readline) == "locked\n"
    before = time.monotonic()
    outcomes = await asyncio.gather(
        *(store.append("ana", conversation.id, a_message("no")) for _ in range(20)), return_exceptions=True
    )
    assert time.monotonic() - before < 10.0  # those that wait, wait together
    assert all(isinstance(outcome, StoreUnavailable) and "locked" in str(outcome) for outcome in outcomes)
    assert str(path) not in str(outcomes[0])  # the person at the page need not know
    assert await texts(store, conversation) == ["before"]
    await asyncio.to_thread(end, other)
    await store.append("ana", conversation.id, a_message("after", 2_000))
    assert await texts(store, conversation) == ["before", "after"]
    await store.aclose()


OPEN_AND_WAIT = """
import asyncio, pathlib, sys
from chatapp.store.sqlite.store import SQLiteStore

async def main():
    store = await SQLiteStore.open(pathlib.Path(sys.argv[1]))  # held: with it goes its lock
    print("open", flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""


async def test_second_chat_on_the_same_file_is_rejected_until_the_first_has_ended(place, path):
    first = start_python(OPEN_AND_WAIT, path)
    assert await asyncio.to_thread(first.stdout.readline) == "open\n"
    with pytest.raises(StoreUnavailable, match="Another running chat already uses"):
        await place.open()
    await asyncio.to_thread(end, first)
    store = await place.open()
    with pytest.raises(StoreUnavailable, match="Another running chat already uses"):
        await place.open()
    await store.aclose()
    await (await place.open()).aclose()


# Retention


DAY_MS = 24 * 3600 * 1000


async def test_expired_data_is_neither_returned_nor_in_the_file(place, path):
    store = await place.open()
    old, mixed = a_conversation(updated_ms=now_ms() - 3 * DAY_MS), a_conversation(updated_ms=now_ms())
    await store.create("ana", old, a_message("an old secret", now_ms() - 3 * DAY_MS))
    picture = Image(id="i", media_type="image/png", width=1, height=1, data=b"secret pixels")
    report = Document(id="i", name="a secret", kind="PDF", pages=1, size=1, data=b"secret words")
    early = a_message("an early secret", now_ms() - 3 * DAY_MS, images=(picture,), documents=(report,))
    late = a_message("still here", now_ms())
    await store.create("ana", mixed, early, late)
    await store.aclose()
    store = await SQLiteStore.open(path, retention_days=2)
    assert [one.id for one in (await store.conversations("ana")).items] == [mixed.id]
    assert await store.messages("ana", mixed.id) == [late]
    for call in (
        store.conversation("ana", old.id),
        store.messages("ana", old.id),
        store.message("ana", mixed.id, early.id),
        store.image("ana", mixed.id, picture.id),
        store.document("ana", mixed.id, report.id),
    ):
        with pytest.raises(ConversationNotFound):
            await call
    assert (await store.search("ana", "secret")).items == []
    assert len((await store.search("ana", "still")).items) == 1
    async with asyncio.timeout(30):
        while b"secret" in b"".join(file.read_bytes() for file in path.parent.iterdir()):  # small
            await asyncio.sleep(0.02)
    await store.aclose()
    store = await place.open()
    assert [message.content for message in await store.messages("ana", mixed.id)] == ["still here"]
    await store.aclose()


async def test_data_that_expires_while_the_chat_runs_is_deleted(path, monkeypatch):
    monkeypatch.setattr("chatapp.store.sqlite.retention.SWEEP_SECONDS", 0.05)
    store = await SQLiteStore.open(path, retention_days=2)
    conversation = a_conversation(updated_ms=now_ms())
    await store.create("ana", conversation, a_message("a secret", now_ms()))
    later = now_ms() + 3 * DAY_MS
    monkeypatch.setattr("chatapp.store.sqlite.retention.now_ms", lambda: later)
    assert (await store.conversations("ana")).items == []
    async with asyncio.timeout(30):
        while b"a secret" in b"".join(file.read_bytes() for file in path.parent.iterdir()):  # small
            await asyncio.sleep(0.02)
    await store.aclose()


async def test_without_a_retention_nothing_expires(store):
    conversation = a_conversation()  # of 1970
    await store.create("ana", conversation, a_message("old"))
    assert [message.content for message in await store.messages("ana", conversation.id)] == ["old"]


async def test_an_ended_session_that_no_cookie_can_name_any_more_is_forgotten(tmp_path):
    store = await SQLiteStore.open(tmp_path / "chat.db")
    await store.revoke("ana", session="old", until_ms=now_ms() - 1)
    await store.revoke("ben", session="new", until_ms=now_ms() + 1_000_000)
    assert await store.revocations("ana") == Revocations()
    assert await store.revocations("ben") == Revocations(sessions=frozenset({"new"}))
    await store.aclose()
