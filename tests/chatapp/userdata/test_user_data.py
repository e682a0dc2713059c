"""What is a person's own over HTTP: taken along as JSON and Markdown, and deleted for good."""

import asyncio
import io
import json
import zipfile
from dataclasses import replace

import aiohttp
import pytest
from fastapi import FastAPI
from structlog.testing import capture_logs

from chatapp.auth import AuthenticationMiddleware, AuthResult, User
from chatapp.conversations.library import Library
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.documents.uploads import DocumentUploads
from chatapp.domain.conversation import Document, Image, Persona, Profile
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.library import Collection, Folder, LibraryDocument
from chatapp.generation.runner import TurnRunner
from chatapp.http import api
from chatapp.http.api.routing import Services
from chatapp.http.errors import add_exception_handlers
from chatapp.http.routes import add_routes
from chatapp.images.uploads import Uploads
from chatapp.imports.places import ImportPlaces
from chatapp.models.catalog import Catalog
from chatapp.store.journal.store import JournaledStore
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.router import StoreRouter
from chatapp.userdata import export, json_export
from chatapp.userdata.queries import everything
from tests import own_export
from tests.chatapp.generation.running import turn_request
from tests.chatapp.store.conftest import a_conversation, a_message
from tests.fakes.models import ScriptedModel
from tests.fakes.stores import FakeCloud
from tests.page_client import Refused, texts
from tests.serving import serving
from tests.waiting import until

pytestmark = pytest.mark.slow  # a chat over HTTP for each


CONFIRMED = {"confirm": True}
PICTURES = (
    Image(id="one", media_type="image/png", width=3, height=2, data=b"\x89PNG\xff"),
    Image(id="two", media_type="image/jpeg", width=5, height=4, data=b"JPEG"),
)

TEXT = packed((Page(1, (Block(BlockKind.TEXT, "So much rain"),)),))
REPORT = Document(id="report", name="report *1*.pdf", kind="PDF", pages=1, size=9, data=TEXT)


class NamedAuthenticator:
    """The user is whom the request names."""

    async def authenticate(self, request):
        return AuthResult(user=User(id=request.headers.get("x-user", "ana"), kind="local"))


class Chat:
    """A chat that is only what these tests need: a store, a model, and the routes, served."""

    def __init__(self, store, model):
        self.store = store
        self.catalog = Catalog([model])
        self.turns = TurnRunner(store, self.catalog)
        self.url = ""
        self.http = None

    def app(self):
        app = FastAPI()
        app.state.closing = asyncio.Event()
        add_exception_handlers(app)
        add_routes(app, api.router)
        app.state.services = Services(
            settings=None,
            store=self.store,
            catalog=self.catalog,
            turns=self.turns,
            conversations=None,
            shares=None,
            library=Library(self.store, 100),
            images=None,
            uploads=Uploads(None),
            documents=DocumentUploads(None),
            imports=ImportPlaces(),
        )
        app.add_middleware(AuthenticationMiddleware, authenticator=NamedAuthenticator(), refuse=None)
        return app

    async def get(self, path, user="ana", **headers):
        """Return the response with its body read."""
        headers = {"x-user": user, **headers}
        async with self.http.post(f"{self.url}/export/{path}", json={}, headers=headers) as response:
            response.body = await response.read()
            return response

    async def everything(self, user="ana"):
        """Return the conversations in an export as JSON."""
        return own_export.read((await self.get("everything.json", user)).body.decode())

    async def files(self, user="ana"):
        """Return the files in an export as Markdown, by their names."""
        return unzipped((await self.get("everything.md.zip", user)).body)

    async def delete_everything(self, user="ana", body=CONFIRMED, **options):
        headers = {"x-user": user, **options.pop("headers", {})}
        request = {"json": body, "headers": headers, **options}
        async with self.http.post(f"{self.url}/delete-everything", **request) as response:
            return response.status, await response.json()


@pytest.fixture
async def chatting():
    """Return a function that serves a chat over a store; what it made is closed at the end."""
    made = []

    async def make(store, model=None):
        chat = Chat(store, model or ScriptedModel("Hel", "lo"))
        await chat.catalog.check()
        served = serving(chat.app())
        chat.url = await served.__aenter__()
        chat.http = aiohttp.ClientSession()
        made.append((chat, served))
        return chat

    yield make
    for chat, served in made:
        await chat.http.close()
        await served.__aexit__(None, None, None)
        await chat.turns.aclose()
        await chat.catalog.aclose()
        await chat.store.aclose()


@pytest.fixture
async def chat(chatting, tmp_path):
    return await chatting(await SQLiteStore.open(tmp_path / "history" / "chat.db"))


@pytest.fixture
def cloud(tmp_path):
    return FakeCloud(tmp_path / "cloud")


@pytest.fixture
async def journaled(chatting, cloud, tmp_path):
    store = await JournaledStore.open(tmp_path / "journal" / "j.db", cloud, destination="cloud", drain_seconds=0)
    return await chatting(store)


def unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        assert file.testzip() is None
        return {name: file.read(name).decode() for name in file.namelist()}


async def created(store, title="A chat", *messages, user="ana", at=1_000):
    conversation = a_conversation(title=title, created_ms=at, updated_ms=at)
    messages = messages or (a_message(f"SECRET of {title}", at),)
    await store.create(user, conversation, *messages)
    return conversation, list(messages)


def noticing(generator, ended):
    """Return the generator, which says when it ended, in whatever way."""

    async def noticed(*arguments):
        try:
            async for item in generator(*arguments):
                yield item
        finally:
            ended.set()

    return noticed


def bytes_on_disk(folder):
    return b"".join(file.read_bytes() for file in folder.iterdir())


# Export


async def test_everything_is_exported_as_json_the_oldest_first_without_a_loss(chat):
    stored = [await created(chat.store, f"chat {number}", at=1_000 * number) for number in (3, 1, 2)]
    assert await chat.everything() == [stored[1], stored[2], stored[0]]


async def test_everything_is_exported_as_one_file_of_markdown_for_each_conversation(chat):
    await created(chat.store, "שלום", a_message("מה נשמע?", 1_793_600_130_000), at=1_793_600_130_000)
    await created(chat.store, "Recipes", at=1_793_700_000_000)
    files = await chat.files()
    assert list(files) == ["2026-11-02 06.15 שלום.md", "2026-11-03 10.00 Recipes.md"]
    assert "מה נשמע?" in files["2026-11-02 06.15 שלום.md"]


async def test_pictures_documents_and_personas_are_exported_too(chat):
    question = a_message("Look", follows="", images=PICTURES, documents=(REPORT,))
    conversation, messages = await created(chat.store, "Pictures", question)
    await created(chat.store, "The same again", a_message("Look", images=PICTURES[:1]))
    profile = Profile(personas=(Persona(id="p", name="Teacher", instructions="Explain."),), revision=2)
    await chat.store.save_profile("ana", profile)
    body = (await chat.get("everything.json")).body.decode()
    assert own_export.read(body)[0] == (conversation, messages)
    assert own_export.read_profile(body) == profile
    assert own_export.read((await chat.get(f"{conversation.id}.json")).body.decode()) == [(conversation, messages)]
    with zipfile.ZipFile(io.BytesIO((await chat.get("everything.md.zip")).body)) as file:
        assert {name: file.read(name) for name in file.namelist() if "/" in name} == {
            "pictures/one.png": b"\x89PNG\xff",
            "pictures/two.jpeg": b"JPEG",
        }
        (text,) = (file.read(name).decode() for name in file.namelist() if "Pictures" in name)
    document = "*Document: report \\*1\\*.pdf*"
    assert f"![Picture, 3 × 2](pictures/one.png)\n\n![Picture, 5 × 4](pictures/two.jpeg)\n\n{document}\n\nLook" in text
    one = (await chat.get(f"{conversation.id}.md")).body.decode()
    assert f"*Picture, 3 × 2*\n\n*Picture, 5 × 4*\n\n{document}\n\nLook" in one


async def fill_library(store, user="ana"):
    """Store a collection with two documents, and a folder; return the documents."""
    collection = Collection(id="k", name="SECRET leases")
    folder = Folder(id="f", name="SECRET home", instructions="SECRET", collection="k")
    await store.change_library(user, lambda stored: replace(stored, collections=(collection,), folders=(folder,)))
    documents = [
        LibraryDocument(collection="k", document=replace(REPORT, id=name, name=f"SECRET {name}"), added_ms=5)
        for name in ("d1", "d2")
    ]
    for document in documents:
        await store.add_library_document(user, document)
    return documents


@pytest.mark.parametrize("number", [0, 1, 2])
async def test_a_library_is_exported_after_the_conversations(chat, number):
    stored = [await created(chat.store, f"chat {one}", at=1_000 * (1 + one)) for one in range(number)]
    documents = await fill_library(chat.store)
    body = (await chat.get("everything.json")).body.decode()
    assert own_export.read(body) == stored
    assert own_export.read_library(body) == documents
    assert own_export.read_profile(body) == await chat.store.profile("ana")
    assert own_export.read_library((await chat.get("everything.json", user="ben")).body.decode()) == []


async def test_deleted_conversations_are_not_exported_while_undo_is_possible(chat):
    other = await created(chat.store, "Kept")
    deleted, _ = await created(chat.store, "Gone")
    await chat.store.update("ana", replace(deleted, deleted_ms=1))
    assert await chat.everything() == [other]
    assert [name for name in await chat.files() if "Gone" in name] == []
    for ending in ("json", "md"):
        assert (await chat.get(f"{deleted.id}.{ending}")).status == 404


async def test_a_temporary_conversation_is_not_exported_and_deleted_with_everything(chatting, tmp_path):
    chat = await chatting(StoreRouter(await SQLiteStore.open(tmp_path / "history" / "chat.db")))
    mine, theirs = a_conversation(id="temporary-1"), a_conversation(id="temporary-2")
    await chat.store.create("ana", mine, a_message("SECRET"))
    await chat.store.create("ben", theirs, a_message("SECRET"))
    assert await chat.everything() == []
    assert (await chat.get(f"{mine.id}.json")).status == 404
    assert b"SECRET" not in bytes_on_disk(tmp_path / "history")
    assert await chat.delete_everything() == (200, {"deleted": 0})
    with pytest.raises(ConversationNotFound):
        await chat.store.messages("ana", mine.id)
    assert len(await chat.store.messages("ben", theirs.id)) == 1


async def test_two_conversations_of_one_title_and_minute_are_two_files_on_every_system(chat):
    for title in ("Recipes", "recipes", "RECIPES", "caf\u00e9", "cafe\u0301"):
        await created(chat.store, title)
    assert (
        sorted(await chat.files())
        == [
            "1970-01-01 00.00 RECIPES.md",
            *sorted(["1970-01-01 00.00 Recipes (2).md", "1970-01-01 00.00 recipes (3).md"]),
        ]
        or len({name.casefold() for name in await chat.files()}) == 5
    )


async def test_no_title_is_a_path_in_the_zip(chat):
    for title in ("../../etc/passwd", "/etc/passwd", "C:\\evil", "..", "a/b"):
        await created(chat.store, title)
    assert not [name for name in await chat.files() if "/" in name or "\\" in name or name.startswith(".")]


async def test_who_has_nothing_gets_an_empty_export(chat):
    assert (await chat.everything(), await chat.files()) == ([], {})


async def test_one_conversation_is_exported_in_both_formats(chat):
    (conversation, messages), _ = await created(chat.store, "Mine"), await created(chat.store, "Another")
    as_json = await chat.get(f"{conversation.id}.json")
    assert own_export.read(as_json.body.decode()) == [(conversation, messages)]
    as_markdown = await chat.get(f"{conversation.id}.md")
    assert as_markdown.body.decode().startswith("# Mine\n")
    assert as_markdown.headers["content-type"] == "text/markdown; charset=utf-8"


async def test_an_export_contains_no_data_of_other_users(chat):
    (theirs, _), mine = await created(chat.store, "Theirs", user="ben"), await created(chat.store, "Mine")
    assert await chat.everything() == [mine]
    assert [name.split()[-1] for name in await chat.files()] == ["Mine.md"]
    for ending in ("json", "md"):
        missing, foreign = await chat.get(f"nothing.{ending}"), await chat.get(f"{theirs.id}.{ending}")
        assert (foreign.status, foreign.body) == (missing.status, missing.body)
        assert foreign.status == 404
        assert b"does not exist" in foreign.body


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (
            "{id}.md",
            "filename=\"1970-01-01 00.00 .md\"; filename*=UTF-8''1970-01-01%2000.00%20%D7%A9%D7%9C%D7%95%D7%9D.md",
        ),
        (
            "{id}.json",
            "filename=\"1970-01-01 00.00 .json\"; filename*=UTF-8''1970-01-01%2000.00%20%D7%A9%D7%9C%D7%95%D7%9D.json",
        ),
    ],
)
async def test_a_download_has_its_title_as_name_and_is_not_cached(chat, path, name):
    conversation, _ = await created(chat.store, "שלום")
    response = await chat.get(path.format(id=conversation.id))
    assert response.headers["content-disposition"] == f"attachment; {name}"
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"


async def test_downloads_of_everything_are_named_by_the_day(chat):
    for path, ending in (("everything.json", "json"), ("everything.md.zip", "zip")):
        headers = (await chat.get(path)).headers
        assert headers["content-disposition"].startswith('attachment; filename="Hybrid chat 20')
        assert headers["content-disposition"].endswith(f".{ending}")
        assert headers["cache-control"] == "no-store"


async def test_more_conversations_than_a_page_of_the_list_are_exported(chat):
    for number in range(205):
        await created(chat.store, f"{number}", at=1_000 + number)
    assert [conversation.title for conversation, _ in await chat.everything()] == [f"{n}" for n in range(205)]


async def test_pending_writes_are_exported(journaled, cloud):
    delivered = await created(journaled.store, "delivered")
    await until(lambda: not journaled.store.status().waiting_writes)
    cloud.fails = lambda name, _: StoreUnavailable("") if name in ("create", "append") else None
    waiting = await created(journaled.store, "waiting", at=2_000)
    await journaled.store.append("ana", delivered[0].id, late := a_message("late", 3_000))
    assert await journaled.everything() == [
        (replace(delivered[0], updated_ms=3_000), [*delivered[1], late]),
        waiting,
    ]


async def test_a_conversation_deleted_during_an_export_is_left_out(chat, monkeypatch):
    first, second = await created(chat.store, "first"), await created(chat.store, "second", at=2_000)
    messages = chat.store.messages

    async def deleting(user, conversation_id, **options):
        await chat.store.delete(user, second[0].id)
        return await messages(user, conversation_id, **options)

    monkeypatch.setattr(chat.store, "messages", deleting)
    assert await chat.everything() == [first]


# Export while the history cannot be read


@pytest.mark.parametrize("path", ["everything.json", "everything.md.zip", "{id}.json", "{id}.md"])
async def test_an_export_that_cannot_begin_is_a_page_in_words(journaled, cloud, path):
    conversation, _ = await created(journaled.store)
    await journaled.store.conversations("ana")  # both are known here: a page would show them
    await journaled.store.messages("ana", conversation.id)
    await until(lambda: not journaled.store.status().waiting_writes)
    cloud.down = True
    response = await journaled.get(path.format(id=conversation.id))
    assert response.status == 503
    assert b"The cloud cannot be reached." in response.body
    followed = {"accept": "text/html,*/*;q=0.8", "accept-language": "he"}
    page = await journaled.get(path.format(id=conversation.id), **followed)
    assert (page.status, page.headers["content-type"]) == (503, "text/html; charset=utf-8")
    assert '<html lang="he" dir="rtl">' in page.body.decode()


@pytest.mark.parametrize("path", ["everything.json", "everything.md.zip"])
async def test_an_export_that_fails_in_the_middle_breaks_off(chat, path, monkeypatch):
    conversations = [await created(chat.store, f"{number}", at=1_000 * number) for number in range(1, 4)]
    messages = chat.store.messages

    async def failing(user, conversation_id, **options):
        if conversation_id == conversations[1][0].id:
            raise StoreUnavailable("The disk is gone.", detail="EIO")
        return await messages(user, conversation_id, **options)

    monkeypatch.setattr(chat.store, "messages", failing)
    with capture_logs() as logs, pytest.raises(aiohttp.ClientPayloadError):
        await chat.get(path)
    assert logs[1:] == [{"event": "download_broken_off", "detail": "EIO", "log_level": "warning"}]


@pytest.mark.parametrize("path", ["everything.json", "everything.md.zip"])
async def test_export_contains_no_cached_data(journaled, cloud, path):
    conversation, _ = await created(journaled.store)
    await until(lambda: not journaled.store.status().waiting_writes)
    await journaled.store.messages("ana", conversation.id)
    cloud.requests.clear()
    cloud.fails = lambda *_: StoreUnavailable("down") if any(call[0] == "messages" for call in cloud.requests) else None
    response = await journaled.get(path)
    assert (response.status, b"down" in response.body) == (503, True)


async def test_a_disconnect_ends_the_export(chat, monkeypatch):
    for number in range(50):
        await created(chat.store, f"{number}", a_message("x" * 200_000, 1_000), at=1_000 + number)
    reads = []
    messages = chat.store.messages

    async def counted(*arguments, **options):
        reads.append(arguments)
        return await messages(*arguments, **options)

    monkeypatch.setattr(chat.store, "messages", counted)
    ended = asyncio.Event()
    monkeypatch.setattr("chatapp.userdata.export.everything", noticing(everything, ended))
    async with chat.http.post(f"{chat.url}/export/everything.json", json={}) as response:
        await response.content.read(1_000)
        response.close()
        async with asyncio.timeout(30):
            await ended.wait()
    assert len(reads) < 50  # what nobody takes is not read


# Delete everything


async def test_deleting_everything_includes_running_answers(chatting, tmp_path):
    model = ScriptedModel("SECRET ", "never", gate_at=1)
    chat = await chatting(await SQLiteStore.open(tmp_path / "history" / "chat.db"), model)
    for number in range(12):
        await created(chat.store, f"{number}")
    persona = Persona(id="p", name="SECRET", instructions="SECRET")
    await chat.store.save_profile("ana", Profile(personas=(persona,), revision=1))
    await fill_library(chat.store)
    running = await chat.turns.start("ana", turn_request("SECRET question"))
    await until(lambda: chat.turns.current("ana", running.id).answers[0].text)
    assert await chat.delete_everything() == (200, {"deleted": 13})
    assert not chat.turns.is_busy("ana", running.id)
    assert await chat.everything() == []
    assert await chat.store.profile("ana") == Profile()
    assert await chat.store.library("ana") == []
    await chat.store.aclose()
    assert b"SECRET" not in bytes_on_disk(tmp_path / "history")


async def test_deleting_everything_touches_no_other_user(chatting, tmp_path):
    model = ScriptedModel("word ", "never", gate_at=1)
    chat = await chatting(await SQLiteStore.open(tmp_path / "chat.db"), model)
    theirs = await created(chat.store, "Theirs", user="ben")
    await fill_library(chat.store, "ben")
    running = await chat.turns.start("ben", turn_request("Go on"))
    await created(chat.store, "Mine")
    assert await chat.delete_everything() == (200, {"deleted": 1})
    assert chat.turns.is_busy("ben", running.id)
    assert theirs in await chat.everything("ben")
    assert len(await chat.store.library("ben")) == 2


async def test_deleting_again_is_fine(chat):
    await created(chat.store)
    assert await chat.delete_everything() == (200, {"deleted": 1})
    assert await chat.delete_everything() == (200, {"deleted": 0})


async def test_pending_writes_are_deleted_from_the_journal_its_file_and_the_cloud(journaled, cloud, tmp_path):
    await created(journaled.store, "delivered")
    await until(lambda: not journaled.store.status().waiting_writes)
    cloud.fails = lambda name, _: StoreUnavailable("") if name in ("create", "append") else None
    await created(journaled.store, "waiting")
    assert b"SECRET of waiting" in bytes_on_disk(tmp_path / "journal")
    assert await journaled.delete_everything() == (200, {"deleted": 2})
    assert b"SECRET" not in bytes_on_disk(tmp_path / "journal")
    await until(lambda: not journaled.store.status().waiting_writes)
    assert (await cloud.conversations("ana")).items == []
    await until(lambda: b"SECRET" not in bytes_on_disk(tmp_path / "cloud"))


async def test_conversation_that_begins_during_the_deletion_is_deleted(chat, monkeypatch):
    await created(chat.store, "before")
    delete, meanwhile = chat.turns.delete, ["meanwhile"]

    async def deleting(user, conversation_id):
        if meanwhile:
            await created(chat.store, meanwhile.pop())
        await delete(user, conversation_id)

    monkeypatch.setattr(chat.turns, "delete", deleting)
    assert await chat.delete_everything() == (200, {"deleted": 2})
    assert await chat.everything() == []


async def test_a_failed_deletion_is_reported_and_succeeds_the_next_time(chat, monkeypatch):
    conversations = [await created(chat.store, f"{number}", at=1_000 * number) for number in range(1, 4)]
    delete = chat.turns.delete

    async def failing(user, conversation_id):
        if conversation_id == conversations[1][0].id:
            raise StoreUnavailable("The disk is full.")
        await delete(user, conversation_id)

    monkeypatch.setattr(chat.turns, "delete", failing)
    status, answer = await chat.delete_everything()
    assert (status, answer["deleted"]) == (503, 2)
    assert "Deleted conversations: 2. The others are not deleted yet. The disk is full." in answer["error"]["text"]
    assert await chat.everything() == [conversations[1]]
    monkeypatch.undo()
    assert await chat.delete_everything() == (200, {"deleted": 1})


async def test_nothing_is_deleted_while_the_list_is_unavailable(journaled, cloud):
    await created(journaled.store)
    await journaled.store.conversations("ana")  # which a page would go on showing
    await until(lambda: not journaled.store.status().waiting_writes)
    cloud.down = True
    status, answer = await journaled.delete_everything()
    assert (status, answer["deleted"]) == (503, 0)
    assert answer["error"]["text"].startswith("Nothing was deleted. The cloud cannot be reached.")


async def test_the_log_says_that_everything_was_deleted_and_no_word_of_it(chat):
    await created(chat.store, "SECRET title")
    with capture_logs() as logs:
        await chat.delete_everything()
    assert logs == [
        {"event": "audit", "action": "delete_everything", "user": "ana", "log_level": "info"},
        {"event": "everything_deleted", "conversations": 1, "log_level": "info"},
    ]


@pytest.mark.parametrize(
    "body",
    [{}, {"confirm": False}, {"confirm": "yes"}, {"confirm": 1}, [True], None, {"confirm": True, "x": "x" * 9_000}],
)
async def test_deleting_everything_must_be_confirmed(chat, body):
    mine = await created(chat.store)
    status, answer = await chat.delete_everything(body=body)
    assert status == 400
    assert "Confirm that everything should be deleted" in answer["error"]["text"]
    assert await chat.everything() == [mine]


async def test_a_confirmation_of_brackets_is_none(chat):
    headers = {"sec-fetch-site": "same-origin", "content-type": "application/json"}
    brackets = b"[" * 1000  # all that is read of one, and more than Python reads
    async with chat.http.post(f"{chat.url}/delete-everything", data=brackets, headers=headers) as response:
        assert (response.status, "Confirm that everything should be deleted" in await response.text()) == (400, True)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_form_of_another_site_cannot_confirm_the_deletion(chat, content_type):
    mine = await created(chat.store)
    headers = {"content-type": content_type}
    status, _ = await chat.delete_everything(body=None, data=json.dumps(CONFIRMED), headers=headers)
    assert status == 400
    assert await chat.everything() == [mine]


# In the chat as shipped


async def test_deleted_conversation_is_not_exported_while_it_can_be_restored(page, chat_url):
    conversation = await page.send("Forget me", model="gemma")
    await page.messages(conversation)
    await page.delete(conversation)
    async with page._http.post(f"{chat_url}/export/everything.json", json={}) as response:
        assert own_export.read(await response.text()) == []
    async with page._http.post(f"{chat_url}/export/{conversation}.md", json={}) as response:
        assert response.status == 404
    await page.restore(conversation)
    async with page._http.post(f"{chat_url}/export/{conversation}.md", json={}) as response:
        assert response.status == 200


async def test_deleting_everything_forgets_personas_and_temporary_chats_too(page, other_page, chat_url):
    persona = {"id": "p", "name": "Pirate", "instructions": "Arr."}
    profile = {"personas": [persona], "parameters": None, "allowFallback": True, "revision": 1}
    temporary = {}
    for client in (page, other_page):
        await client.ask("PUT", "profile", profile)
        temporary[client] = await client.send("Between us", model="gemma", temporary=True)
        await client.messages(temporary[client])
    async with page._http.post(f"{chat_url}/delete-everything", json=CONFIRMED) as response:
        assert await response.json() == {"deleted": 0}
    assert (await page.get("state"))["profile"]["personas"] == []
    assert (await other_page.get("state"))["profile"]["personas"] == [persona]
    with pytest.raises(Refused, match="does not exist"):
        await page.messages(temporary[page])
    assert texts(await other_page.messages(temporary[other_page])) == ["Between us", "Hello from Gemma."]


async def test_a_page_takes_its_conversations_along_and_deletes_them(page, other_page, chat_url):
    conversation = await page.send("Hi there", model="gemma")
    await page.messages(conversation)
    theirs = await other_page.send("Mine stays", model="gemma")
    await other_page.messages(theirs)
    async with page._http.post(f"{chat_url}/export/everything.json", json={}) as response:
        ((exported, messages),) = own_export.read(await response.text())
    assert exported.title == "Hi there"
    assert [message.content for message in messages] == ["Hi there", "Hello from Gemma."]
    async with page._http.post(f"{chat_url}/export/{conversation}.md", json={}) as response:
        assert "**Gemma3 12b it**" in await response.text()
    async with page._http.post(f"{chat_url}/delete-everything", json=CONFIRMED) as response:
        assert await response.json() == {"deleted": 1}
    assert await page.listed() == []
    assert texts(await other_page.messages(theirs)) == ["Mine stays", "Hello from Gemma."]


async def test_the_zip_has_the_files_of_documents_once_each_and_json_has_none(tmp_path):
    store = await SQLiteStore.open(tmp_path / "chat.db")
    first, second = b"%PDF" * 600_000, b"another"
    report = Document(id="d", name="../a.pdf", kind="PDF", pages=1, size=len(first), data=packed((Page(1, ()),)))
    report = replace(report, file=await store.add_file("ana", first))
    await created(store, "One", a_message(documents=(report,)))
    await created(store, "Two", a_message(documents=(report,)), at=2_000)
    other = replace(report, id="k", size=len(second), file=await store.add_file("ana", second))
    await store.add_library_document("ana", LibraryDocument(collection="c", document=other, added_ms=1))
    content = b"".join([piece async for piece in export.as_zip(store, "ana", str)])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name.startswith("files/")}
    assert files == {"files/a.pdf": first, "files/a (2).pdf": second}
    text = b"".join([piece async for piece in export.as_json(store, "ana")])
    assert report.file.encode() not in text
    # Whatever an import names as a file, it is none.
    forged = json.loads(text)["conversations"][0]
    forged["messages"][0]["documents"][0]["file"] = report.file
    _, (message,) = json_export.validated(forged, "", json_export.Room())
    assert message.documents[0].file == ""
    await store.aclose()
