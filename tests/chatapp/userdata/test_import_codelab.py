"""The command that imports what the codelab's app wrote, as that app writes it, from Firestore's emulator."""

import asyncio
import datetime
import re
from dataclasses import replace

import pytest
from google.api_core.exceptions import Forbidden, InvalidArgument, NotFound, RetryError
from google.auth.exceptions import DefaultCredentialsError
from google.cloud import firestore

from chatapp.config.settings import load_settings
from chatapp.domain.conversation import new_id
from chatapp.store.firestore.store import FirestoreStore
from chatapp.store.journal.store import JournaledStore
from chatapp.userdata import import_codelab as command
from chatapp.userdata.import_codelab import main
from tests.chatapp.store.conftest import a_message
from tests.firestore_emulator import PROJECT
from tests.serving import free_port

pytestmark = pytest.mark.slow

ANONYMOUS = f"anonymous-{new_id()}"


class Codelab:
    """What the app of the codelab does with Firestore (its ``inference_interface`` and ``save_chat_history``)."""

    def __init__(self):
        self.database = f"codelab-{new_id()}"
        self._db = firestore.Client(project=PROJECT, database=self.database)
        self._now = datetime.datetime(2026, 3, 1, 12, 0, 0, 123_456)  # as there

    def write(self, document_id, fields):
        self._db.collection("chat_sessions").document(document_id).set(fields, retry=None, timeout=30)

    def chat(self, session_hash, message, model_name, output, *, seconds=10.0):
        """Store a question and its answer, some seconds after the one before."""
        document = self._db.collection("chat_sessions").document(f"session-{session_hash}")
        if not document.get(retry=None, timeout=30).exists:
            document.set({"Session start": self._now}, retry=None, timeout=30)
        self._now += datetime.timedelta(seconds=seconds)
        document.update({str(self._now): {"user": message, model_name: output}}, retry=None, timeout=30)

    def close(self):
        self._db.close()


@pytest.fixture
def codelab(firestore_emulator):
    codelab = Codelab()
    yield codelab
    codelab.close()


@pytest.fixture
def run(codelab):
    """Return a function that runs the command on what the codelab's app wrote, and returns its exit status."""
    return lambda *arguments: main(["--project", PROJECT, "--database", codelab.database, *arguments])


def contents(conversations):
    return {one.title: [message.content for message in messages] for one, messages in conversations}


def test_every_session_becomes_a_conversation_with_its_times(codelab, run, chat, capsys):
    codelab.write("initialize", {})
    codelab.chat("abc", "Hi there", "Gemma3 12b it", "Hello.")
    codelab.chat("abc", "שלום", "Gemini", "שלום וברכה.")
    codelab.chat("def", "Another page", "Gemini", "Yes.", seconds=3600)
    assert run() == 0
    conversations = chat.everything()
    assert contents(conversations) == {
        "Hi there": ["Hi there", "Hello.", "שלום", "שלום וברכה."],
        "Another page": ["Another page", "Yes."],
    }
    (first, messages), _ = conversations
    assert first.created_ms == 1_772_366_400_123
    assert [message.created_ms - first.created_ms for message in messages] == [10_000, 10_001, 20_000, 20_001]
    assert [message.model for message in messages] == ["", "gemma", "", "gemini"]
    assert "2 new conversations, 6 new messages." in capsys.readouterr().out


def test_second_run_adds_only_later_sessions_and_messages(codelab, run, chat, capsys):
    codelab.chat("abc", "Hi", "Gemini", "Hello.")
    run()
    before = chat.everything()
    assert run() == 0
    assert chat.everything() == before
    codelab.chat("abc", "More", "Gemini", "Of course.", seconds=0.5)
    codelab.chat("def", "New", "Gemini", "Yes.")
    assert run() == 0
    assert contents(chat.everything()) == {"Hi": ["Hi", "Hello.", "More", "Of course."], "New": ["New", "Yes."]}
    assert "1 new conversations, 4 new messages; 2 messages were already stored." in capsys.readouterr().out


def test_later_messages_and_changes_in_the_chat_stay(codelab, run, chat):
    codelab.chat("abc", "Hi", "Gemini", "Hello.")
    run()
    ((imported, _),) = chat.everything()
    here = a_message("said here", imported.updated_ms + 5)
    chat.do(lambda store: store.update("local", replace(imported, title="My title")))
    chat.do(lambda store: store.append("local", imported.id, here))
    assert run() == 0
    assert contents(chat.everything()) == {"My title": ["Hi", "Hello.", "said here"]}


def test_documents_of_other_versions_of_the_app_are_read_too(codelab, run, chat):
    exchange = {"123456+00:00": {"user": "On Cloud Run", "Gemma": "Yes."}}
    codelab.write("session-20260301-120000-abc", {"2026-03-01T12:00:10": exchange})
    exchange = {"123456": {"user": "Long ago", "Gemini": "Yes."}}
    codelab.write("2025-09-01-12:00:00-session-0f3a", {"2025-09-01 12:00:10": exchange})
    assert run() == 0
    assert contents(chat.everything()) == {"Long ago": ["Long ago", "Yes."], "On Cloud Run": ["On Cloud Run", "Yes."]}


def test_more_sessions_than_one_request_brings_are_all_read(codelab, run, chat):
    for number in range(45):
        codelab.write(f"session-{number:03}", {"2026-03-01 12:00:10": {f"{number}": {"user": f"{number}"}}})
    assert run() == 0
    assert len(chat.everything()) == 45


def test_unreadable_documents_are_reported_and_set_the_exit_status(codelab, run, chat, capsys):
    codelab.chat("abc", "Hi", "Gemini", "Hello.")
    codelab.write("session-odd", {"colour": "red"})
    codelab.write("session-empty", {"Session start": datetime.datetime.now(datetime.UTC)})
    assert run() == 1
    assert contents(chat.everything()) == {"Hi": ["Hi", "Hello."]}
    output = capsys.readouterr().out
    assert "session-odd: The field 'colour' is not from the codelab and was skipped." in output
    assert "1 sessions, and 2 empty ones. Problems listed above: 1." in output


def test_single_sessions_can_be_chosen(codelab, run, chat, capsys):
    for name in ("abc", "def", "ghi"):
        codelab.chat(name, name, "Gemini", "Yes.")
    assert run("--session", "session-abc", "--session", "session-ghi", "--session", "session-xyz") == 1
    assert sorted(contents(chat.everything())) == ["abc", "ghi"]
    assert "session-xyz: There is no such document." in capsys.readouterr().out


def test_a_dry_run_lists_the_sessions_and_changes_nothing(codelab, run, chat, tmp_path, capsys):
    codelab.chat("abc", "SECRET", "Gemini", "SECRET")
    assert run("--dry-run") == 0
    output = capsys.readouterr().out
    assert "session-abc: 2026-03-01T12:00:00.123Z, 2 messages." in output
    assert "Nothing was changed." in output
    assert "SECRET" not in output
    assert not (tmp_path / "data").exists()


def test_a_history_in_firestore_takes_it_for_one_browser(codelab, run, cloud_chat):
    codelab.chat("abc", "Hi", "Gemini", "Hello.")
    for _ in range(2):
        assert run("--user", ANONYMOUS) == 0
    assert contents(cloud_chat.everything(ANONYMOUS)) == {"Hi": ["Hi", "Hello."]}


async def test_running_chat_continues_and_shows_imported_conversations(codelab, run, cloud_chat, tmp_path):
    settings = load_settings()
    cloud = FirestoreStore(settings.google_cloud_project, settings.firestore_database)
    running = await JournaledStore.open(tmp_path / "data" / "journal.db", cloud, destination="the cloud")
    assert (await running.conversations(ANONYMOUS)).items == []
    codelab.chat("abc", "Hi", "Gemini", "Hello.")
    assert await asyncio.to_thread(run, "--user", ANONYMOUS) == 0
    assert [one.title for one in (await running.conversations(ANONYMOUS)).items] == ["Hi"]
    await running.aclose()


def test_the_history_may_be_in_the_database_that_the_codelab_used(codelab, run, cloud_chat):
    cloud_chat.set(CHAT_FIRESTORE_DATABASE=codelab.database)
    codelab.chat("abc", "Hi", "Gemini", "Hello.")
    for _ in range(2):
        assert run("--user", ANONYMOUS) == 0
    assert contents(cloud_chat.everything(ANONYMOUS)) == {"Hi": ["Hi", "Hello."]}


def test_an_empty_collection_names_the_other_database(run, chat, capsys):
    assert run() == 1
    assert "Older versions of the codelab wrote to --database='(default)'." in capsys.readouterr().out


def test_user_option_is_required_with_several_users(run, cloud_chat, capsys):
    assert run() == 2
    assert "--user names the user who gets the history" in capsys.readouterr().err


def test_failed_import_is_reported_and_continues_at_the_next_run(codelab, run, chat, capsys):
    for number in range(25):  # more than one request brings
        codelab.write(f"session-{number:03}", {"2026-03-01 12:00:10": {f"{number}": {"user": f"{number}"}}})
    with pytest.MonkeyPatch.context() as network:
        _fail(network, NotFound("gone"), after=1)
        assert run() == 2
    output = capsys.readouterr().out
    assert f"The import failed: There is no Firestore database {codelab.database} in project {PROJECT}." in output
    assert "Imported so far: 20 new conversations, 20 new messages." in output
    assert run() == 0
    assert len(chat.everything()) == 25


def test_a_firestore_that_does_not_answer_ends_the_command_in_words(chat, monkeypatch, capsys):
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    assert main(["--project", PROJECT]) == 2
    assert f"Firestore of project {PROJECT} cannot be reached. Try again." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DefaultCredentialsError("none"), "no Google credentials. Run gcloud auth application-default login"),
        (
            Forbidden("no"),
            "No permission to read Firestore of project demo-chat: the account needs roles/datastore.viewer.",
        ),
        (RetryError("again", cause=Forbidden("no")), "No permission to read"),
        (
            InvalidArgument("bad name"),
            "Firestore rejected the query of collection chat_sessions of database .*: bad name",
        ),
    ],
)
def test_a_firestore_error_is_reported_with_a_sentence(run, chat, monkeypatch, capsys, error, words):
    _fail(monkeypatch, error, after=0)
    assert run() == 2
    assert re.search(words, capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [["--collection", "a/b"], ["--project", ""]])
def test_invalid_collection_name_is_rejected(run, chat, capsys, arguments):
    assert run(*arguments) == 2
    assert capsys.readouterr().err


def _fail(patch, error, *, after):
    page, pages = command._page, []

    async def failing(query):
        if len(pages) == after:
            raise error
        pages.append(query)
        return await page(query)

    patch.setattr(command, "_page", failing)
