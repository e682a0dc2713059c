"""A backup is consistent while the chat writes; a restore is whole or changes nothing."""

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.backup import sqlite
from chatapp.backup.__main__ import main as back_up
from chatapp.backup.package import MANIFEST
from chatapp.backup.restore import main as restore
from chatapp.domain.conversation import Document, Image, Persona, Profile, Role, new_id
from chatapp.domain.library import Collection, LibraryDocument
from chatapp.store.sqlite.file import HISTORY
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.userdata.queries import everything
from tests.chatapp.store.conftest import a_conversation, a_message
from tests.chatapp.userdata.conftest import chat as local_chat
from tests.chatapp.userdata.conftest import cloud_chat as chat_in_the_cloud
from tests.firestore_emulator import firestore_emulator as emulator

pytestmark = pytest.mark.slow  # each writes and reads files and histories

chat, cloud_chat, firestore_emulator = local_chat, chat_in_the_cloud, emulator  # fixtures
ROOT = Path(__file__).parents[3]
USERS = ("local", "anonymous-" + "a" * 32)


def environment():
    """Return the environment of a process that finds the chat, whatever its folder."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def fill(chat, conversations=3, users=USERS, text="Hello"):
    """Store conversations with images, documents and a profile for each user."""

    collection = Collection(id="k", name=text)

    async def work(store):
        for user in users:
            for number in range(conversations):
                conversation = a_conversation(title=f"{text} {number}")
                image = Image(id=new_id(), media_type="image/png", width=1, height=1, data=os.urandom(5000))
                kept = await store.add_file(user, f"%PDF {text} {user} {number}".encode())
                report = Document(id=new_id(), name="דוח.pdf", kind="PDF", pages=1, size=9, data=b"\x1f", file=kept)
                question = a_message(f"{text} {user} {number} שלום", images=(image,), documents=(report,))
                answer = a_message("Answer" * 500, 2_000, role=Role.ASSISTANT, thinking="So.")
                await store.create(user, conversation, question, answer)
                await store.save_vectors(user, conversation.id, report.id, os.urandom(1000))
            profile = Profile(personas=(Persona(id="p", name="Pirate", instructions="Arr"),), revision=1)
            await store.save_profile(user, profile)
            await store.change_library(user, lambda stored: replace(stored, collections=(collection,)))
            report = Document(id=new_id(), name="דוח.pdf", kind="PDF", pages=1, size=9, data=os.urandom(5000))
            await store.add_library_document(user, LibraryDocument(collection="k", document=report, added_ms=5))
            await store.save_vectors(user, "", report.id, os.urandom(1000))

    chat.do(work)


def digests(chat, users=USERS):
    """Return a digest of each conversation with its messages, images and documents, and of each profile, by user."""

    async def work(store):
        return {key: digest for user in users async for key, digest in digests_of(store, user)}

    return chat.do(work)


async def digests_of(store, user):
    async for conversation, messages in everything(store, user):
        data = [one.data for message in messages for one in message.attachments]  # which `repr` leaves out
        ids = [one.id for message in messages for one in message.documents]
        data.append(await store.vectors(user, conversation.id, ids))
        assert len(data[-1]) == len(ids)
        for one in (one for message in messages for one in message.documents if one.file):
            part = await store.document_file_part(user, conversation.id, one.id, 0)
            assert part.startswith(b"%PDF")
            yield (user, one.id), part
        yield (user, conversation.id), hashlib.sha256(repr((conversation, messages, data)).encode()).hexdigest()
    yield (user, "profile"), repr(await store.profile(user))
    for one in await store.library(user):
        whole = await store.library_document(user, one.document.id)
        vectors = await store.vectors(user, "", [one.document.id])
        yield (user, one.document.id), hashlib.sha256(whole.document.data + vectors[one.document.id]).hexdigest()


@pytest.fixture
def file(tmp_path):
    return tmp_path / "backup.zip"


def test_every_conversation_is_restored_as_it_was(chat, file, tmp_path, capsys):
    fill(chat)
    before = digests(chat)
    assert len(before) == 16
    assert back_up([str(file)]) == 0
    fill(chat, text="Later")
    assert restore([str(file)]) == 0
    assert digests(chat) == before
    assert "is kept as" in capsys.readouterr().out
    kept = {one.read_bytes() for one in (tmp_path / "data" / "chat.db.before-restore.files").iterdir()}
    assert {b"%PDF Later local 0", b"%PDF Hello local 0"} < kept
    assert len(list((tmp_path / "data" / "chat.db.files").iterdir())) == 6


def test_backup_while_the_chat_writes_has_all_that_was_acknowledged_before(chat, file, tmp_path):
    path = tmp_path / "data" / "chat.db"

    async def work():
        store = await SQLiteStore.open(path)
        conversation = a_conversation()
        await store.create("local", conversation, a_message("0"))
        acknowledged, stop = [0], asyncio.Event()

        async def write():
            while not stop.is_set():
                await store.append("local", conversation.id, a_message("x" * 2000, 1_000 + acknowledged[0]))
                acknowledged[0] += 1

        writing = asyncio.create_task(write())
        counts = []
        try:
            for number in range(2):
                await asyncio.sleep(0.05)
                before = acknowledged[0]
                # In a process of its own, as the command is: closing a file drops this process's locks on it.
                backup = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "chatapp.backup",
                    f"{file}{number}",
                    stdout=subprocess.DEVNULL,
                    env=environment(),
                )
                assert await backup.wait() == 0
                counts.append((before, acknowledged[0]))
        finally:
            stop.set()
            await writing
            await store.aclose()
        return counts

    counts = asyncio.run(work())
    assert counts[0][1] > counts[0][0], "nothing was written meanwhile"
    for number, (before, after) in enumerate(counts):
        assert restore([f"{file}{number}"]) == 0
        [(_, messages)] = chat.everything()
        assert before <= len(messages) - 1 <= after + 1
        assert all(message.content in {"0", "x" * 2000} for message in messages)


def test_secrets_are_left_out_unless_asked_for(chat, file, tmp_path):
    fill(chat, 1)
    secret = tmp_path / "data" / "session-secret"
    secret.write_text("quince-key")
    assert back_up([str(file)]) == 0
    assert back_up([f"{file}2", "--with-secrets"]) == 0
    names = []
    for path in (file, f"{file}2"):
        with zipfile.ZipFile(path) as archive:
            names.append({one for one in archive.namelist() if not one.startswith("files/")})
    assert names == [{"chat.db", MANIFEST}, {"chat.db", MANIFEST, "session-secret"}]
    assert file.stat().st_mode & 0o777 == 0o600
    secret.write_text("another")
    assert restore([f"{file}2"]) == 0
    assert secret.read_text() == "quince-key"


def changed(file, **changes):
    """Write a backup again with other files, and return it."""
    with zipfile.ZipFile(file) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, change in changes.items():
        path = name.replace("__", ".")
        files[path] = change(files[path])
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def with_manifest(**values):
    return lambda content: json.dumps(json.loads(content) | values).encode()


DAMAGE = {
    "cut": (lambda file: file.write_bytes(file.read_bytes()[:-200]), "damaged"),
    "empty": (lambda file: file.write_bytes(b""), "damaged"),
    "other": (lambda file: file.write_bytes(b"SQLite format 3\0" * 100), "damaged"),
    "a bit": (
        lambda file: changed(file, chat__db=lambda data: data[:5000] + bytes([data[5000] ^ 1]) + data[5001:]),
        "checksum",
    ),
    "a newer format": (lambda file: changed(file, manifest__json=with_manifest(version=2)), "newer version"),
    "a newer schema": (lambda file: changed(file, manifest__json=with_manifest(schema=99)), "newer version"),
    "another store": (lambda file: changed(file, manifest__json=with_manifest(store="firestore")), "CHAT_STORE"),
    "no manifest": (lambda file: changed(file, manifest__json=lambda _data: b"[]"), "damaged"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_or_newer_backup_is_refused_and_the_history_stays(chat, file, capsys, name):
    fill(chat, 1)
    assert back_up([str(file)]) == 0
    before = digests(chat)
    damage, words = DAMAGE[name]
    damage(file)
    assert restore([str(file)]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Nothing was changed" in error
    assert digests(chat) == before


def test_history_of_a_newer_program_within_a_backup_is_refused(chat, file, tmp_path, capsys):
    fill(chat, 1)
    database = tmp_path / "data" / "chat.db"
    version = len(HISTORY.migrations) + 1
    with closing(sqlite3.connect(database)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    content = database.read_bytes()
    assert back_up([str(file)]) == 2
    assert "newer version" in capsys.readouterr().err
    assert not file.exists()
    assert database.read_bytes() == content


def test_restore_while_the_chat_runs_is_refused(chat, file, tmp_path, capsys):
    fill(chat, 1)
    assert back_up([str(file)]) == 0
    with sqlite.only_chat_at(tmp_path / "data" / "chat.db"):
        assert restore([str(file)]) == 2
    assert "running chat" in capsys.readouterr().err


def test_an_existing_file_is_not_overwritten(chat, file, capsys):
    fill(chat, 1)
    file.write_bytes(b"mine")
    assert back_up([str(file)]) == 2
    assert file.read_bytes() == b"mine"
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize("step", ["_write", "_checked_schema", "_put_aside", "sync_folder", "_keep_files"])
def test_restore_that_is_killed_leaves_a_whole_history(chat, file, tmp_path, step):
    """Killed right before a step: the old history is whole; after the exchange, the new one."""
    fill(chat, 2)
    saved = digests(chat)
    assert back_up([str(file)]) == 0
    fill(chat, 1, text="Later")
    now = digests(chat)
    real = getattr(sqlite, step)

    def kill(*args, **options):
        if step != "sync_folder" or args == (tmp_path / "data",):  # the folder of documents' files comes first
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **options)

    process = os.fork()
    if not process:
        try:
            setattr(sqlite, step, kill)
            restore([str(file)])
        finally:
            os._exit(1)  # it was not killed
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL
    assert digests(chat) == (saved if step in {"sync_folder", "_keep_files"} else now)
    assert restore([str(file)]) == 0
    assert digests(chat) == saved


def test_damaged_history_can_be_replaced_and_is_kept(chat, file, tmp_path):
    fill(chat, 1)
    saved = digests(chat)
    assert back_up([str(file)]) == 0
    database = tmp_path / "data" / "chat.db"
    database.write_bytes(b"broken" * 1000)
    assert restore([str(file)]) == 0
    assert digests(chat) == saved
    assert (tmp_path / "data" / "chat.db.before-restore").read_bytes() == b"broken" * 1000


def test_firestore_is_restored_into_an_empty_database_only(cloud_chat, file, capsys):
    users = USERS[1:]
    fill(cloud_chat, 2, users)
    before = digests(cloud_chat, users)
    assert back_up([str(file)]) == 0
    assert restore([str(file)]) == 2
    assert "has a history. Nothing was changed" in capsys.readouterr().err
    cloud_chat.set(CHAT_FIRESTORE_DATABASE=f"chat-{new_id()}")
    assert restore([str(file)]) == 0
    assert digests(cloud_chat, users) == before
    changed(file, documents__jsonl=lambda data: data.replace(b"Answer", b"Hacked", 1))
    cloud_chat.set(CHAT_FIRESTORE_DATABASE=f"chat-{new_id()}")
    assert restore([str(file)]) == 2
    assert "checksum" in capsys.readouterr().err
    assert digests(cloud_chat, users) == {(users[0], "profile"): repr(Profile())}
