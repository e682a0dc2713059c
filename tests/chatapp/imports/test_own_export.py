"""The command that imports a file, with what this chat exported as JSON: nothing of it is lost."""

import asyncio
import gzip
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.domain.conversation import (
    Document,
    GenerationParameters,
    Image,
    MessageStatus,
    Persona,
    Profile,
    Role,
    new_id,
)
from chatapp.domain.errors import StoreUnavailable
from chatapp.domain.library import Collection, Folder, LibraryDocument
from chatapp.images.decoder import checked_header
from chatapp.imports.__main__ import main
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.userdata import json_export
from tests.chatapp.imports.exports import JPEG
from tests.chatapp.store.conftest import a_conversation, a_message
from tests.chatapp.userdata.conftest import chat as a_chat
from tests.chatapp.userdata.conftest import cloud_chat as a_cloud_chat
from tests.firestore_emulator import firestore_emulator  # noqa: F401  # a fixture

chat, cloud_chat = a_chat, a_cloud_chat  # fixtures

TEXT = packed((Page(1, (Block(BlockKind.TEXT, "So much rain"),)),))
ANONYMOUS = f"anonymous-{new_id()}"


def conversation(*messages, title="A chat", at=1_000, **fields):
    messages = messages or (a_message("question", at), a_message("answer", at + 1, role=Role.ASSISTANT, model="gemma"))
    updated_ms = max(message.created_ms for message in messages)
    return a_conversation(title=title, created_ms=at, updated_ms=updated_ms, **fields), list(messages)


@pytest.fixture
def exported(tmp_path):
    """Return a function that writes an export of conversations and returns its path."""

    def write(*conversations, profile=None, library=()):
        path = tmp_path / "export.json"
        lines = b",\n".join(json_export.encode(*one) for one in conversations)
        documents = b",\n".join(map(json_export.encode_library_document, library))
        kept = json_export.LIBRARY + documents if library else b""
        path.write_bytes(json_export.header("ann", profile) + lines + kept + json_export.FOOTER)
        return str(path)

    return write


def test_import_restores_everything_exported(chat, exported, capsys):
    conversations = [conversation(title="one", system_prompt="Be brief."), conversation(title="two", at=2_000)]
    assert main([exported(*conversations)]) == 0
    assert chat.everything() == conversations
    assert "New conversations: 2\nNew messages: 4\n" in capsys.readouterr().out


def test_a_second_import_changes_nothing(chat, exported, capsys):
    conversations = [conversation(), conversation(at=2_000)]
    file = exported(*conversations)
    main([file])
    assert main([file]) == 0
    assert chat.everything() == conversations
    output = capsys.readouterr().out
    assert "New conversations: 0\nNew messages: 0\nConversations that were here already: 2\n" in output


def test_versions_pictures_and_documents_arrive_and_a_second_time_change_nothing(chat, exported, capsys):
    header = checked_header(JPEG)
    picture = Image(id="i", media_type="image/jpeg", width=header.width, height=header.height, data=JPEG)
    report = Document(id="i", name="דוח.pdf", kind="PDF", pages=1, size=9, data=TEXT)
    question = a_message("question", follows="", images=(picture,), documents=(report,))
    versions = [
        a_message(f"answer {number}", 2_000 + number, role=Role.ASSISTANT, follows=question.id) for number in range(2)
    ]
    original = conversation(question, *versions, branch=versions[0].id, pinned=True, persona="p", archived=True)
    for count in (1, 0):
        assert main([exported(original)]) == 0
        assert chat.everything() == [original]
        assert ("New images: 1\nNew documents: 1\n" in capsys.readouterr().out) == (count == 1)


@pytest.mark.slow
def test_a_document_that_unpacks_to_too_much_is_refused_in_words_and_nothing_is_stored(chat, exported, capsys):
    bomb = Document(id="d", name="r.pdf", kind="PDF", pages=1, size=9, data=gzip.compress(b"[" + b"[]," * 15_000_000))
    assert len(bomb.data) < 100_000
    assert main([exported(conversation(), conversation(a_message("question", documents=(bomb,))))]) == 2
    assert chat.everything() == []
    output = "".join(capsys.readouterr())
    assert re.search(r"This file is damaged.*messages\[0\]\.documents\[0\]\.data.*Nothing was imported", output)


def test_documents_that_one_write_cannot_have_are_left_out_and_counted(chat, exported, capsys, monkeypatch):
    monkeypatch.setattr("chatapp.imports.storing.WRITE_BYTES", 4 * len(TEXT) + 20)
    report = Document(id="d", name="r.pdf", kind="PDF", pages=1, size=9, data=TEXT)
    reports = tuple(replace(report, id=f"d{number}") for number in range(5))
    original, (question,) = conversation(a_message("question", documents=reports))
    assert main([exported((original, [question]))]) == 0
    assert chat.everything() == [(original, [replace(question, documents=reports[:4])])]
    assert "Documents that are too large for their message: 1\n" in capsys.readouterr().out


def test_personas_are_added_to_the_stored_ones_once(chat, exported, capsys):
    mine, same, new = (Persona(id=name, name=name, instructions=name) for name in ("mine", "same", "new"))
    changed = replace(same, name="renamed there")
    parameters = GenerationParameters(temperature=0.4)
    theirs = Profile(personas=(changed, new), parameters=parameters, answer_with_other=True, revision=7)
    file = exported(profile=theirs)
    chat.do(lambda store: store.save_profile("local", Profile(personas=(mine, same), revision=2)))
    for count in (1, 0):
        assert main([file]) == 0
        assert ("New personas: 1\n" in capsys.readouterr().out) == (count == 1)
        assert chat.do(lambda store: store.profile("local")) == Profile(personas=(mine, same, new), revision=3)
    chat.do(lambda store: store.delete_profile("local"))
    assert main([file]) == 0
    assert chat.do(lambda store: store.profile("local")) == replace(theirs, revision=1)


LIBRARY = Profile(
    collections=(Collection(id="k", name="Leases"),),
    folders=(Folder(id="f", name="Home", instructions="Be brief.", collection="k"),),
    library_revision=7,
)


def kept(document_id, collection="k"):
    document = Document(id=document_id, name="דוח.pdf", kind="PDF", pages=1, size=9, data=TEXT)
    return LibraryDocument(collection=collection, document=document, added_ms=5)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_library_arrives_with_its_documents_and_a_second_time_changes_nothing(chat, exported, capsys, number):
    conversations = [conversation(folder="f", collection="k") for _ in range(number)]
    own = Collection(id="own", name="Own")
    chat.do(lambda store: store.change_library("local", lambda stored: replace(stored, collections=(own,))))
    documents = [kept("d1"), kept("d2")]
    file = exported(*conversations, profile=LIBRARY, library=[*documents, kept("d3", "deleted")])
    assert main([file]) == 0
    output = capsys.readouterr().out
    assert "New documents: 2\n" in output
    assert "New collections: 1\nNew folders: 1\n" in output
    for _ in range(2):
        profile = chat.do(lambda store: store.profile("local"))
        assert (profile.collections, profile.folders) == ((own, *LIBRARY.collections), LIBRARY.folders)
        listed = chat.do(lambda store: store.library("local"))
        assert [chat.do(lambda store, one=one: store.library_document("local", one.document.id)) for one in listed] == (
            documents
        )
        assert chat.everything() == conversations
        assert main([file]) == 0
    assert "New documents" not in capsys.readouterr().out


def test_a_library_with_a_wrong_document_is_refused_and_nothing_is_stored(chat, exported, capsys):
    wrong = replace(kept("d2"), document=replace(kept("d2").document, kind="exe"))
    assert main([exported(conversation(), profile=LIBRARY, library=[kept("d1"), wrong])]) == 2
    assert "library[1].kind: 'exe'" in capsys.readouterr().err
    assert chat.everything() == []
    assert chat.do(lambda store: store.library("local")) == []
    assert chat.do(lambda store: store.profile("local")) == Profile()


def test_a_list_of_another_program_with_the_name_of_the_library_is_no_library(chat, tmp_path, capsys):
    (tmp_path / "other.json").write_text('{"library": [{"id": "x"}], "conversations": []}')
    assert main([str(tmp_path / "other.json")]) == 2
    assert chat.do(lambda store: store.library("local")) == []


def test_later_export_adds_only_new_messages(chat, exported):
    before, messages = conversation(title="as exported")
    main([exported((before, messages))])
    renamed = replace(before, title="renamed here")
    chat.do(lambda store: store.update("local", renamed))
    more = [replace(messages[1], content="the whole answer", revision=3), a_message("and more", 5_000)]
    later = replace(before, updated_ms=5_000), [messages[0], *more]
    assert main([exported(later)]) == 0
    assert chat.everything() == [(replace(renamed, updated_ms=5_000), [messages[0], *more])]


def test_an_older_export_undoes_nothing(chat, exported):
    original, (question, answer) = conversation()
    newer = replace(answer, content="newer", revision=5)
    main([exported((original, [question, newer]))])
    assert main([exported((original, [question, answer]))]) == 0
    assert chat.everything() == [(original, [question, newer])]


def test_an_answer_that_was_being_written_is_interrupted_until_its_end_comes(chat, exported):
    answer = a_message("half", 2_000, role=Role.ASSISTANT, status=MessageStatus.STREAMING, revision=2)
    original, messages = conversation(a_message("question", 1_000), answer)
    main([exported((original, messages))])
    assert chat.everything() == [(original, [messages[0], replace(answer, status=MessageStatus.INTERRUPTED)])]
    whole = replace(answer, content="whole", status=MessageStatus.COMPLETE, revision=3)
    main([exported((original, [messages[0], whole]))])
    assert chat.everything() == [(original, [messages[0], whole])]


@pytest.mark.slow
def test_a_long_conversation_arrives_whole_and_in_parts(chat, exported, monkeypatch):
    written = []
    append = SQLiteStore.append

    async def noting(store, user, conversation_id, *messages):
        written.append(sum(len(message.content) for message in messages))
        await append(store, user, conversation_id, *messages)

    monkeypatch.setattr(SQLiteStore, "append", noting)
    messages = [a_message("x" * 30_000, 1_000 + number) for number in range(250)]
    conversations = [conversation(*messages)]
    main([exported(*conversations)])
    assert chat.everything() == conversations
    assert len(written) > 5
    assert max(written) <= 1_000_000


def test_failed_import_reports_its_progress_and_continues_at_the_next_run(chat, exported, capsys, monkeypatch):
    conversations = [conversation(at=1_000 * number) for number in range(1, 5)]
    create_all = SQLiteStore.create_all
    monkeypatch.setattr("chatapp.userdata.insert.BATCH_CONVERSATIONS", 2)

    async def failing(store, user, new):
        if any(one == conversations[2][0] for one, _ in new):
            raise StoreUnavailable("The disk is full.")
        return await create_all(store, user, new)

    file = exported(*conversations)
    with pytest.MonkeyPatch.context() as disk:
        disk.setattr(SQLiteStore, "create_all", failing)
        assert main([file]) == 2
    assert chat.everything() == conversations[:2]
    output = capsys.readouterr().out
    assert "The import failed: The disk is full.\nRun the same command again to continue." in output
    assert main([file]) == 0
    assert chat.everything() == conversations


@pytest.mark.slow
def test_a_wrong_file_changes_nothing(chat, exported, capsys):
    path = Path(exported(conversation(), conversation()))
    path.write_bytes(path.read_bytes()[:-20])
    assert main([str(path)]) == 2
    output = capsys.readouterr().err
    assert output.startswith(f"{path}: This file is damaged, or its download was interrupted")
    assert "Nothing was imported." in output
    assert chat.everything() == []


@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot be read: No such file"), (b"\xff\xfe\x00", "There are no conversations in this file")],
)
def test_an_unreadable_file_is_reported_with_a_sentence(chat, tmp_path, capsys, content, why):
    path = tmp_path / "export.json"
    if content:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    output = capsys.readouterr().err
    assert output.startswith(str(path))
    assert why in output


def test_dry_run_lists_the_conversations_and_changes_nothing(chat, exported, tmp_path, capsys):
    assert main([exported(conversation(), conversation()), "--dry-run"]) == 0
    output = capsys.readouterr().out
    assert "New conversations: 2\nNew messages: 4\n" in output
    history = f"the history of local in {tmp_path / 'data' / 'chat.db'}"
    assert f"Nothing was changed. Without --dry-run, this is added to {history}" in output
    assert not (tmp_path / "data").exists()


async def test_a_chat_that_runs_is_to_be_stopped_first(chat, exported, tmp_path, capsys):
    running = await SQLiteStore.open(tmp_path / "data" / "chat.db")
    assert await asyncio.to_thread(main, [exported(conversation())]) == 2
    await running.aclose()
    output = capsys.readouterr().err
    assert output.startswith("Another running chat already uses the history")
    assert output.endswith("Nothing was imported.\n")


def test_with_one_user_another_user_id_is_refused(chat, exported, capsys):
    assert main([exported(conversation()), "--user", "ana"]) == 2
    assert "the only user is 'local', so a history of 'ana' would be invisible" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--user", "ana"], ["--user", f"{ANONYMOUS}.signature"]])
def test_anonymous_mode_explains_how_to_find_the_user_id(chat, exported, capsys, arguments):
    chat.set(CHAT_IDENTITY="anonymous")
    assert main([exported(conversation()), *arguments]) == 2
    assert 'copy "user" from the first line' in capsys.readouterr().err


def test_an_export_becomes_the_history_of_whom_it_is_imported_for(chat, exported):
    chat.set(CHAT_IDENTITY="anonymous")
    mine = conversation()
    assert main([exported(mine), "--user", ANONYMOUS]) == 0
    assert (chat.everything(ANONYMOUS), chat.everything()) == ([mine], [])


def test_a_conversation_whose_id_another_user_has_becomes_a_copy(chat, exported):
    chat.set(CHAT_IDENTITY="anonymous")
    theirs, mine = conversation(), conversation(at=2_000)
    other = f"anonymous-{new_id()}"
    main([exported(theirs), "--user", other])
    assert main([exported(theirs, mine), "--user", ANONYMOUS]) == 0
    assert chat.everything(other) == [theirs]
    (copy, messages), last = chat.everything(ANONYMOUS)
    assert last == mine
    assert copy.id != theirs[0].id
    assert (replace(copy, id=theirs[0].id), messages) == theirs


@pytest.mark.slow
def test_history_moves_to_the_cloud_without_messages_past_its_retention(cloud_chat, exported, capsys):
    cloud_chat.set(CHAT_RETENTION_DAYS="30")
    now = time.time_ns() // 1_000_000
    day = 24 * 3600 * 1000
    old, (question, answer) = conversation(
        a_message("old", now - 40 * day), a_message("new", now - day), at=now - 40 * day
    )
    expired = conversation(at=now - 50 * day)
    file = exported((old, [question, answer]), expired)
    for already in (0, 1):
        assert main([file, "--user", ANONYMOUS]) == 0
        assert cloud_chat.everything(ANONYMOUS) == [(old, [answer])]
        output = capsys.readouterr().out
        assert f"New conversations: {1 - already}\nNew messages: {1 - already}\n" in output
        assert "Messages older than this chat keeps: 3" in output
