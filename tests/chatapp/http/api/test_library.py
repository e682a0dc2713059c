"""Collections with their documents, and folders of conversations."""

import asyncio
from dataclasses import replace

import pytest
from pydantic import SecretStr

from chatapp.app import create_app
from chatapp.generation import vectors
from chatapp.generation.runner import TurnRunner
from chatapp.models.gemini import model as gemini_model
from tests.fakes.files import pdf
from tests.fakes.gemini_server import GeminiServer
from tests.page_client import Refused, open_page
from tests.serving import serving

pytestmark = pytest.mark.slow

ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def served(settings):
    """The app and the address of a chat."""
    app = await create_app(settings, with_page=False)
    async with serving(app) as url:
        yield app, url


@pytest.fixture
async def page(served):
    async with open_page(served[1]) as client:
        yield client


async def add_collection(page, name="Contracts"):
    return (await page.ask("POST", "collections", {"name": name}))["id"]


async def add_folder(page, name="Work", **fields):
    return (await page.ask("POST", "folders", {"name": name, **fields}))["id"]


async def names(page, collection):
    """Return the names of a collection's documents, as the library lists them."""
    (listed,) = [one for one in (await page.get("library"))["collections"] if one["id"] == collection]
    return [one["name"] for one in listed["documents"]]


async def test_a_collection_is_made_renamed_filled_read_and_deleted(page):
    collection = await add_collection(page, "  Con\ttracts ")
    assert (await page.ask("PATCH", f"collections/{collection}", {"name": "Leases"}))["name"] == "Leases"
    file = pdf("Lease\nThe rent is 900 euros a month.", "Pets\nPets are allowed.")
    added = await page.upload_document(file, "lease.pdf", collection=collection)
    assert (added["name"], added["kind"], added["pages"], added["size"]) == ("lease.pdf", "PDF", 2, len(file))
    library = await page.get("library")
    assert library == {"collections": [{"id": collection, "name": "Leases", "documents": [added]}], "folders": []}
    assert (await page.get("state"))["library"] == {
        "collections": [{"id": collection, "name": "Leases"}],
        "folders": [],
    }
    text = await page.get(f"collections/{collection}/documents/{added['id']}")
    assert (text["name"], text["kind"]) == ("lease.pdf", "PDF")
    assert ["900 euros" in one["text"] for one in text["pages"]] == [True, False]
    await page.ask("DELETE", f"collections/{collection}")
    assert await page.get("library") == {"collections": [], "folders": []}
    with pytest.raises(Refused) as gone:
        await page.get(f"collections/{collection}/documents/{added['id']}")
    assert gone.value.status == 404
    with pytest.raises(Refused) as gone:
        await page.ask("DELETE", f"collections/{collection}")
    assert gone.value.status == 404


async def test_the_same_file_is_the_same_document_and_another_of_its_name_replaces_it(page):
    collection, other = await add_collection(page), await add_collection(page, "Other")
    first = await page.upload_document("The rent is 900.", "rent.txt", collection=collection)
    assert await page.upload_document("The rent is 900.", "rent.txt", collection=collection) == first
    in_other = await page.upload_document("The rent is 900.", "rent.txt", collection=other)
    assert in_other["id"] != first["id"]
    second = await page.upload_document("The rent is 950.", "rent.txt", collection=collection)
    assert second["id"] != first["id"]
    assert await names(page, collection) == ["rent.txt"]
    text = await page.get(f"collections/{collection}/documents/{second['id']}")
    assert "950" in text["pages"][0]["text"]
    await page.ask("DELETE", f"collections/{collection}/documents/{second['id']}")
    assert await names(page, collection) == []
    assert await names(page, other) == ["rent.txt"]
    with pytest.raises(Refused) as gone:  # by way of another collection
        await page.ask("DELETE", f"collections/{collection}/documents/{in_other['id']}")
    assert gone.value.status == 404
    assert await names(page, other) == ["rent.txt"]


async def test_a_full_collection_refuses_another_document_and_replaces_one(settings):
    app = await create_app(settings.model_copy(update={"max_collection_documents": 1}), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        assert page.state["limits"]["collectionDocuments"] == 1
        collection = await add_collection(page)
        await page.upload_document("The rent is 900.", "rent.txt", collection=collection)
        with pytest.raises(Refused, match=r"at most, so pets\.txt was not added") as full:
            await page.upload_document("Pets are allowed.", "pets.txt", collection=collection)
        assert full.value.status == 422
        await page.upload_document("The rent is 950.", "rent.txt", collection=collection)
        assert await names(page, collection) == ["rent.txt"]


@pytest.mark.parametrize("limit", ["max_collection_documents", "max_documents"])
async def test_where_collections_or_documents_are_turned_off_nothing_can_be_added(settings, limit):
    app = await create_app(settings.model_copy(update={limit: 0}), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        assert page.state["limits"]["collectionDocuments"] == 0
        with pytest.raises(Refused, match="turned off"):
            await add_collection(page)
        with pytest.raises(Refused, match="turned off"):
            await page.upload_document("The rent is 900.", collection=ID)
        assert await add_folder(page)


async def test_a_name_a_text_and_an_id_that_are_not_valid_are_refused_in_words(page):
    collection, folder = await add_collection(page), await add_folder(page)
    refused = [
        ("POST", "collections", {"name": " "}, 422, "A collection needs a name"),
        ("POST", "folders", {"name": "\n"}, 422, "A folder needs a name"),
        ("PATCH", f"collections/{collection}", {"name": "n" * 101}, 422, "100 characters"),
        ("PATCH", f"folders/{folder}", {"name": "n" * 101}, 422, "100 characters"),
        ("PATCH", f"folders/{folder}", {"instructions": "n" * 20_001}, 422, "20,000 characters"),
        ("PATCH", f"folders/{folder}", {"collection": ID}, 404, "does not exist"),
        ("PATCH", f"folders/{ID}", {"name": "x"}, 404, "does not exist"),
        ("POST", "folders", {"name": "x", "collection": ID}, 404, "does not exist"),
        ("PATCH", f"collections/{ID}", {"name": "x"}, 404, "does not exist"),
        ("PATCH", f"folders/{folder}", {}, 422, "invalid request"),
        ("DELETE", f"folders/{ID}", None, 404, "does not exist"),
        ("DELETE", f"collections/{collection}/documents/{ID}", None, 404, "not in the collection"),
    ]
    for method, path, body, status, words in refused:
        with pytest.raises(Refused, match=words) as error:
            await page.ask(method, path, body)
        assert error.value.status == status, (method, path)
    with pytest.raises(Refused, match="does not exist"):
        await page.upload_document("The rent is 900.", collection=ID)


async def test_what_is_made_twice_with_one_id_is_made_once(page):
    for path in ("collections", "folders"):
        first = await page.ask("POST", path, {"id": ID, "name": "One"})
        assert await page.ask("POST", path, {"id": ID, "name": "Two"}) == first
    library = await page.get("library")
    assert [one["name"] for one in [*library["collections"], *library["folders"]]] == ["One", "One"]


async def test_changes_at_the_same_time_lose_none(page):
    profile = {"personas": [], "allowFallback": True, "revision": 1}
    made = [add_collection(page, f"c{number}") for number in range(5)]
    made += [add_folder(page, f"f{number}") for number in range(5)]
    await asyncio.gather(page.ask("PUT", "profile", profile), *made)
    library = await page.get("library")
    assert {one["name"] for one in library["collections"]} == {f"c{number}" for number in range(5)}
    assert {one["name"] for one in library["folders"]} == {f"f{number}" for number in range(5)}
    assert (await page.get("state"))["profile"]["allowFallback"] is True


async def test_a_folder_made_again_after_its_collection_was_deleted_is_the_one_that_is_there(page):
    collection = await add_collection(page)
    folder = {"id": ID, "name": "Work", "collection": collection}
    made = await page.ask("POST", "folders", folder)
    await page.ask("DELETE", f"collections/{collection}")
    assert await page.ask("POST", "folders", folder) == {**made, "collection": ""}


async def test_at_most_100_collections_and_folders_are_made(page):
    for kind in ("collections", "folders"):
        for start in range(0, 100, 10):
            await asyncio.gather(*(page.ask("POST", kind, {"name": f"{start + one}"}) for one in range(10)))
        with pytest.raises(Refused, match="100"):
            await page.ask("POST", kind, {"name": "one more"})


async def test_a_conversation_begins_in_a_folder_moves_and_chooses_a_collection(page):
    collection = await add_collection(page)
    first, second = await add_folder(page, "First", collection=collection), await add_folder(page, "Second")
    one = await page.send("Hello", model="gemma", folder=first, collection=collection)
    await page.messages(one)
    item = (await page.get("conversations", folder=first))["items"][0]
    assert (item["id"], item["folder"], item["collection"]) == (one, first, collection)
    await page.send("And now?", model="gemma", conversation=one)  # unchanged: it names neither
    await page.messages(one)
    assert (await page.get("conversations", folder=first))["items"][0]["collection"] == collection
    moved = await page.change(one, folder=second, collection="")
    assert moved["folder"] == second
    assert "collection" not in moved
    assert (await page.get("conversations", folder=first))["items"] == []
    assert [item["id"] for item in (await page.get("conversations", folder=second))["items"]] == [one]
    await page.change(one, archived=True)
    assert (await page.get("conversations", folder=second))["items"] == []
    assert len((await page.get("conversations", folder=second, archived="true"))["items"]) == 1
    for change in ({"folder": ID}, {"collection": ID}):
        with pytest.raises(Refused, match="does not exist"):
            await page.change(one, **change)
    await page.ask("DELETE", f"folders/{second}")
    assert (await page.get("state", conversation=one))["conversation"]["folder"] == second  # and there is none of it
    assert [item["id"] for item in (await page.get("conversations", archived="true"))["items"]] == [one]


async def test_an_answer_quotes_a_collection_until_its_document_is_removed(page, model_server):
    collection = await add_collection(page)
    folder = await add_folder(page, instructions="Answer in verse.", collection=collection)
    added = await page.upload_document("The rent is 900 euros a month.", "lease.txt", collection=collection)
    model_server.answer = ['"The rent is 900 euros a month".']
    conversation = await page.send("What is the rent?", folder=folder, model="gemma")
    _, answer = await page.messages(conversation)
    assert answer["citations"] == [
        {"end": 31, "document": added["id"], "page": 1, "start": 0, "stop": 29, "collection": collection,
         "name": "lease.txt", "quote": "The rent is 900 euros a month"}
    ]  # fmt: skip
    assert {"passages", "notInDocuments"}.isdisjoint(answer)
    sent = model_server.chats[-1]["messages"]
    assert sent[0]["content"] == "Answer in verse."
    assert "The rent is 900 euros a month." in sent[1]["content"]
    model_server.answer = ["Not in your documents.\n\nParis, as far as I know."]
    await page.send("What is the capital of France?", conversation=conversation, model="gemma")
    assert (await page.messages(conversation))[-1]["notInDocuments"] is True
    await page.ask("DELETE", f"collections/{collection}/documents/{added['id']}")
    await page.send("And the rent?", conversation=conversation, model="gemma")
    assert (await page.messages(conversation))[-1].get("notInDocuments") is None
    assert not any("begin with [[" in str(message) for message in model_server.chats[-1]["messages"])


async def test_a_deleted_collection_is_taken_from_its_folders(page):
    collection = await add_collection(page)
    folder = await add_folder(page, instructions="Be brief.", collection=collection)
    changed = await page.ask("PATCH", f"folders/{folder}", {"name": "Home"})
    assert changed == {"id": folder, "name": "Home", "instructions": "Be brief.", "collection": collection}
    await page.ask("DELETE", f"collections/{collection}")
    assert (await page.get("library"))["folders"] == [changed | {"collection": ""}]


async def test_what_a_deletion_left_of_a_collection_goes_with_the_next_one(settings):
    app = await create_app(settings.model_copy(update={"identity": "local"}), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        store = app.state.services.store
        first, second = await add_collection(page, "First"), await add_collection(page, "Second")
        kept = await add_collection(page, "Kept")
        for collection in (first, kept):
            await page.upload_document("The rent is 900.", collection=collection)
        await store.change_library("local", lambda profile: without(profile, first))  # and then the chat was killed
        assert len(await store.library("local")) == 2
        await page.ask("DELETE", f"collections/{second}")
        assert [one.collection for one in await store.library("local")] == [kept]


def without(profile, collection):
    return replace(profile, collections=tuple(one for one in profile.collections if one.id != collection))


async def test_what_is_removed_or_replaced_is_forgotten_where_it_is_kept_for_answers(settings, monkeypatch):
    forgotten = []
    monkeypatch.setattr(TurnRunner, "forget_documents", lambda _self, _user, *removed: forgotten.append(removed))
    app = await create_app(settings, with_page=False)
    async with serving(app) as url, open_page(url) as page:
        collection = await add_collection(page)
        for text in ("The rent is 900.", "The rent is 900.", "Pets are allowed."):
            last = await page.upload_document(text, f"{text[:4]}.txt", collection=collection)
        listed = (await page.get("library"))["collections"][0]["documents"]
        former = next(one for one in listed if one["name"] == "The .txt")
        assert forgotten == []
        replaced = await page.upload_document("The rent is 950.", "The .txt", collection=collection)
        assert forgotten == [(collection, [former["id"]])]
        await page.ask("DELETE", f"collections/{collection}/documents/{replaced['id']}")
        await page.ask("DELETE", f"collections/{collection}")
        assert forgotten[1:] == [(collection, [replaced["id"]]), (collection, [last["id"]])]


async def test_an_uploaded_document_is_embedded_by_gemini_and_a_question_in_other_words_finds_its_passage(
    settings, monkeypatch
):
    monkeypatch.setattr(vectors, "WAIT_SECONDS", 60.0)  # let a slow machine import google-genai
    # So that it gets passages, also where its status was asked for before.
    monkeypatch.setattr(gemini_model, "DEFAULT_CONTEXT_TOKENS", 8192)
    async with GeminiServer() as gemini:
        gemini.input_token_limit = 8192
        values = {"gemini_api_key": SecretStr("key"), "gemini_base_url": gemini.url, "embeddings": "gemini"}
        app = await create_app(settings.model_copy(update=values), with_page=False)
        async with serving(app) as url, open_page(url) as page:
            collection = await add_collection(page)
            fence = "Zebras graze behind the northern fence."
            text = "\n\n".join([*(f"Nothing of interest stands here, {number}. " * 40 for number in range(60)), fence])
            await page.upload_document(text, collection=collection)
            conversation = await page.send("יש משהו עם פסים?", model="gemini", collection=collection)
            async for _ in page.follow(conversation):
                pass
        embedded = [request for request in gemini.requests if request.operation == "batchEmbedContents"]
        assert sum(len(request.body["requests"]) for request in embedded) > 60
        assert fence in str(gemini.streams()[-1].body["contents"])
        assert {request.headers["x-goog-api-key"] for request in gemini.requests} == {"key"}


async def test_the_file_of_a_collections_document_is_kept_once_and_goes_with_it(page, settings):
    collection, other = await add_collection(page), await add_collection(page, "Other")
    folder = settings.data_dir / "chat.db.files"
    for _ in range(2):
        added = await page.upload_document(pdf("The rent is 900."), "rent.pdf", collection=collection)
    address = f"collections/{collection}/documents/{added['id']}"
    async with page._http.get(f"{page._url}/{address}/file") as response:
        assert (response.status, response.headers["content-type"]) == (200, "application/pdf")
        assert await response.read() == pdf("The rent is 900.")
    async with page._http.get(f"{page._url}/{address.replace(collection, other)}/file") as response:
        assert response.status == 404
    async with asyncio.timeout(30):
        while len(list(folder.iterdir())) > 1:  # of the second upload
            await asyncio.sleep(0.01)
    await page.upload_document("The rent is 950.", "rent.pdf.txt", collection=collection)
    await page.ask("DELETE", f"collections/{collection}")
    assert list(folder.iterdir()) == []
