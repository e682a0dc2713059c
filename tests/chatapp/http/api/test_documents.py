"""Documents are uploaded by themselves, messages name them by id, and their text is read by pages."""

import asyncio
from dataclasses import replace

import pytest

from chatapp.app import create_app
from chatapp.domain.errors import LimitReached
from tests.fakes.files import encrypted_pdf, pdf, xlsx
from tests.fakes.pictures import plain
from tests.page_client import Refused, open_page, path_of
from tests.serving import serving

pytestmark = pytest.mark.slow

RENT = "The rent is 900 euros a month."


@pytest.fixture
async def served(settings):
    """The app and the address of a chat whose model supports images."""
    app = await create_app(settings.model_copy(update={"gemma_images": True}), with_page=False)
    async with serving(app) as url:
        yield app, url


@pytest.fixture
async def page(served):
    async with open_page(served[1]) as client:
        yield client


def named(*uploads):
    return [{"id": upload["id"]} for upload in uploads]


async def sent_with(page, *uploads, text="What is the rent?", **options):
    """Send a question with documents; return the conversation, and its messages once they are complete."""
    conversation = await page.send(text, model="gemma", documents=named(*uploads), **options)
    return conversation, await page.messages(conversation)


async def read(page, conversation, document_id):
    return await page.get(f"{path_of(conversation)}/documents/{document_id}")


async def test_an_uploaded_document_is_sent_with_its_message_and_read_by_its_pages(page, model_server):
    file = pdf("Lease\nThe rent is 900 euros a month.", "Pets\nPets are allowed.")
    upload = await page.upload_document(file, "lease.pdf", model="gemma")
    assert {name: upload[name] for name in ("name", "kind", "pages", "size")} == {
        "name": "lease.pdf",
        "kind": "PDF",
        "pages": 2,
        "size": len(file),
    }
    conversation, (question, answer) = await sent_with(page, upload)
    (document,) = question["documents"]
    assert 0 < upload.pop("stored") < len(file)
    assert document == upload | {"id": document["id"]}
    assert document["id"] != upload["id"]
    assert question["text"] == "What is the rent?"
    assert {"documents", "citations"}.isdisjoint(answer)
    (message,) = [one for one in model_server.chats[-1]["messages"] if one["role"] == "user"]
    assert message["content"].index("900 euros") < message["content"].index("What is the rent?")
    text = await read(page, conversation, document["id"])
    assert (text["name"], text["kind"]) == ("lease.pdf", "PDF")
    assert [(one["number"], one["name"]) for one in text["pages"]] == [(1, ""), (2, "")]
    assert "The rent is 900 euros a month." in text["pages"][0]["text"]


async def test_the_names_of_sheets_are_those_of_pages(page):
    upload = await page.upload_document(xlsx(Costs=[["Rent", 900]], Income=[["Pay", 2000]]), "money.xlsx")
    conversation, (question, _) = await sent_with(page, upload)
    text = await read(page, conversation, question["documents"][0]["id"])
    assert [one["name"] for one in text["pages"]] == ["Costs", "Income"]


async def test_a_quote_of_the_document_is_cited_and_an_invented_one_is_not(page, model_server):
    model_server.answer = ['\N{GRINNING FACE} "The rent is 900', ' euros a month" and "the deposit is 1,800 euros".']
    conversation, (question, answer) = await sent_with(page, await page.upload_document(RENT, "lease.txt"))
    (citation,) = answer["citations"]
    units = answer["text"].encode("utf-16-le")
    assert units[: 2 * citation["end"]].decode("utf-16-le").endswith('euros a month"')
    assert (citation["document"], citation["page"]) == (question["documents"][0]["id"], 1)
    (shown,) = (await read(page, conversation, citation["document"]))["pages"]
    assert shown["text"][citation["start"] : citation["stop"]] == RENT[:-1]
    assert await page.messages(conversation) == [question, answer]


async def test_the_same_file_under_the_same_name_is_one_upload_and_one_document(served, page):
    first = await page.upload_document(RENT, "lease.txt")
    assert await page.upload_document(RENT, "lease.txt") == first
    other = await page.upload_document(RENT, "copy.txt")
    assert other["id"] != first["id"]
    _, (question, _) = await sent_with(page, first, first, other)
    assert [document["name"] for document in question["documents"]] == ["lease.txt", "copy.txt"]
    assert served[0].state.services.documents.held_bytes == 0


async def test_missing_images_and_documents_are_named_together_and_nothing_is_stored(page):
    kept = await page.upload_document(RENT)
    lost, picture = "0" * 32, "1" * 32
    body = {"text": "Hi", "model": "gemma", "documents": [*named(kept), {"id": lost}], "images": [{"id": picture}]}
    async with page._http.post(f"{page._url}/conversations", json=body) as response:
        refusal = await response.json()
    assert (response.status, refusal["missing"]) == (409, [picture, lost])
    assert "no longer available. Nothing was sent" in refusal["error"]["text"]
    assert await page.listed() == []
    _, (question, _) = await sent_with(page, kept)
    assert len(question["documents"]) == 1


async def test_a_retried_message_needs_no_upload_any_more(page, model_server):
    upload = await page.upload_document(RENT)
    conversation, _ = await sent_with(page, upload, question="0" * 32)
    again, messages = await sent_with(page, upload, question="0" * 32, retry=True)
    assert (again, len(messages), len(model_server.chats)) == (conversation, 2, 1)


async def test_an_edited_question_keeps_documents_of_the_conversation_and_no_other_takes_them(page):
    conversation, (before, _) = await sent_with(page, await page.upload_document(RENT))
    _, (after, _) = await sent_with(page, *before["documents"], conversation=conversation, follows="", text="Edited")
    assert after["documents"] == [before["documents"][0] | {"id": after["documents"][0]["id"]}]
    assert after["documents"][0]["id"] != before["documents"][0]["id"]
    assert (await read(page, conversation, after["documents"][0]["id"]))["pages"][0]["text"] == RENT
    with pytest.raises(Refused, match="no longer available"):
        await sent_with(page, *before["documents"], text="Elsewhere")


async def test_documents_of_other_people_are_missing(page, served):
    upload = await page.upload_document(RENT)
    conversation, (question, _) = await sent_with(page, await page.upload_document("Other text here.", "b.txt"))
    document = question["documents"][0]
    async with open_page(served[1]) as other:
        own = await other.send("Mine", model="gemma")
        await other.messages(own)
        for one in (upload, document):
            for target in ("", own, conversation):
                with pytest.raises(Refused) as refusal:
                    await other.send("Hi", conversation=target, model="gemma", documents=named(one))
                assert refusal.value.status == 409
        for target in (own, conversation):
            with pytest.raises(Refused) as refusal:
                await read(other, target, document["id"])
            assert refusal.value.status == 404


async def test_a_temporary_chat_and_two_answers_take_documents(page, model_server):
    comparison = {"model": "gemma", "temperature": 0.2}
    conversation, (question, *answers) = await sent_with(
        page, await page.upload_document(RENT), temporary=True, compareWith=comparison
    )
    assert len(answers) == 2
    assert all(RENT in str(request["messages"]) for request in model_server.chats)
    assert (await read(page, conversation, question["documents"][0]["id"]))["pages"][0]["text"] == RENT


async def test_a_document_needs_no_text_beside_it_and_names_the_conversation(page):
    _, (question, _) = await sent_with(page, await page.upload_document(RENT, "lease.txt"), text="")
    assert question["text"] == ""
    assert await page.listed() == ["lease.txt"]


NAMES = {
    "C:\\docs\\lease.txt": "lease.txt",
    "../../etc/passwd": "passwd",
    "a\u202etxt.exe": "atxt.exe",
    "line\nbreak.txt": "linebreak.txt",
    "חוזה שכירות.txt": "חוזה שכירות.txt",
    "": "text",
    "x" * 900 + ".txt": "x" * 179 + "…" + "x" * 16 + ".txt",
}


async def test_a_name_is_shown_without_folders_and_tricks(page):
    assert {name: (await page.upload_document(RENT, name))["name"] for name in NAMES} == NAMES


UNREADABLE = (
    (b"", "a.pdf", 422, "has no text"),
    (b"%PDF-1.4 broken", "a.pdf", 422, "damaged"),
    (encrypted_pdf(), "a.pdf", 422, "password"),
    (pdf("Text"), "a.docx", 422, "its name says otherwise"),
    (plain(), "a.png", 422, "cannot be read here"),
    (b"x" * 2_000_001, "a.txt", 413, "at most 2 MB"),
)


async def test_what_cannot_be_read_is_refused_with_what_to_do(settings, serve):
    async with serve(settings.model_copy(update={"document_megabytes": 2})) as url, open_page(url) as page:
        assert page.state["limits"]["documentBytes"] == 2_000_000
        assert page.state["limits"]["attachmentBytes"] == 0  # only Firestore has such a limit
        for file, name, status, words in UNREADABLE:
            with pytest.raises(Refused, match=words) as refusal:
                await page.upload_document(file, name)
            assert refusal.value.status == status, words


async def test_more_text_than_a_store_keeps_is_refused(page, monkeypatch):
    monkeypatch.setattr("chatapp.documents.packing.MAX_PACKED_BYTES", 20)
    with pytest.raises(Refused, match="has more text than a document can have"):
        await page.upload_document(RENT)


async def test_documents_can_be_turned_off(settings, serve):
    async with serve(settings.model_copy(update={"max_documents": 0})) as url, open_page(url) as page:
        assert page.state["limits"]["documents"] == 0
        with pytest.raises(Refused, match="turned off"):
            await page.upload_document(RENT)
        with pytest.raises(Refused, match="at most 0 documents"):
            await page.send("Hi", model="gemma", documents=[{"id": "0" * 32}])


async def test_a_message_has_at_most_so_many_documents(page):
    assert page.state["limits"]["documents"] == 8
    with pytest.raises(Refused, match=r"at most 8 documents\. Nothing was sent"):
        await page.send("Hi", model="gemma", documents=[{"id": f"{number:032x}"} for number in range(9)])


async def test_an_upload_for_an_unknown_model_is_refused(page):
    with pytest.raises(Refused, match="not in the list"):
        await page.upload_document(RENT, model="nothing")


async def test_a_document_that_no_page_names_is_not_valid(page):
    for document in ({}, {"id": ""}, {"id": "../x"}, {"id": 7}, {"id": "a" * 65}, {"data": "x"}):
        with pytest.raises(Refused, match="invalid request"):
            await page.send("Hi", model="gemma", documents=[document])


async def test_uploads_per_minute_follow_the_limit_of_messages(settings, serve):
    changes = {"messages_per_minute": 1, "max_documents": 2}
    async with serve(settings.model_copy(update=changes)) as url, open_page(url) as page:
        for number in range(2):
            await page.upload_document(f"{RENT} {number}")
        with pytest.raises(Refused, match="limit of 2 documents per minute") as refusal:
            await page.upload_document(f"{RENT} 3")
        assert refusal.value.status == 429


async def test_a_reader_that_is_busy_says_when_to_try_again(page, served, monkeypatch):
    async def busy(*_):
        raise LimitReached("Many documents are being read.", retry_after=5)

    monkeypatch.setattr(served[0].state.services.documents._reader, "read", busy)
    with pytest.raises(Refused) as refusal:
        await page.upload_document(RENT)
    assert refusal.value.status == 429


async def test_a_text_that_is_damaged_in_the_history_is_an_error_in_words(page, monkeypatch):
    conversation, (question, _) = await sent_with(page, await page.upload_document(RENT))
    monkeypatch.setattr("chatapp.documents.packing.MAX_PACKED_BYTES", 20)
    with pytest.raises(Refused, match="damaged in the history") as refusal:
        await read(page, conversation, question["documents"][0]["id"])
    assert refusal.value.status == 503


async def test_deleting_forgets_uploads_and_texts(page, served):
    conversation, (question, _) = await sent_with(page, await page.upload_document(RENT))
    await page.upload_document("Waits for a message.", "b.txt")
    await page.ask("POST", "delete-everything", {"confirm": True})
    assert served[0].state.services.documents.held_bytes == 0
    with pytest.raises(Refused) as refusal:
        await read(page, conversation, question["documents"][0]["id"])
    assert refusal.value.status == 404


async def test_another_site_uploads_nothing(page, served):
    headers = {"content-type": "text/plain", "sec-fetch-site": "cross-site"}
    async with page._http.post(f"{served[1]}/documents?name=a.txt", data=RENT, headers=headers) as response:
        assert response.status == 403
    assert served[0].state.services.documents.held_bytes == 0


async def test_a_text_is_kept_by_no_cache(page):
    conversation, (question, _) = await sent_with(page, await page.upload_document(RENT))
    address = f"{page._url}/{path_of(conversation)}/documents/{question['documents'][0]['id']}"
    async with page._http.get(address) as response:
        assert response.headers["cache-control"] == "no-store"
    async with page._http.get(
        address, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    ) as foreign:
        assert foreign.status == 403


async def file_of(page, address, **headers):
    """Return the response to a request for the file of a document, and its bytes."""
    async with page._http.get(f"{page._url}/{address}/file", headers=headers) as response:
        return response, await response.read()


def address_of(conversation, document):
    return f"{path_of(conversation)}/documents/{document['id']}"


def files_on_disk(settings):
    return sorted(one.read_bytes() for one in (settings.data_dir / "chat.db.files").glob("*"))


async def test_a_viewer_gets_the_parts_of_a_file_that_it_asks_for(page):
    lease = pdf(*[RENT] * 3) + bytes(range(256)) * 10_000
    size = len(lease)
    conversation, (question, _) = await sent_with(page, await page.upload_document(lease, "lease.pdf"))
    address = address_of(conversation, question["documents"][0])
    whole, content = await file_of(page, address)
    assert (whole.status, whole.headers["accept-ranges"], content) == (200, "bytes", lease)
    for asked, start, end in (
        ("bytes=0-0", 0, 1),
        ("bytes=999990-2000009", 999_990, 2_000_010),  # of three parts of the store
        (f"bytes={size - 1}-", size - 1, size),
        ("bytes=-7", size - 7, size),
        (f"bytes=-{size + 9}", 0, size),
        (f"bytes=9-{size + 9}", 9, size),
    ):
        response, content = await file_of(page, address, range=asked)
        assert (response.status, content) == (206, lease[start:end]), asked
        assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{size}"
        assert response.headers["content-length"] == str(end - start)
        assert response.headers["content-disposition"] == whole.headers["content-disposition"]
    for asked in (f"bytes={size}-", "bytes=-0"):
        response, content = await file_of(page, address, range=asked)
        assert (response.status, response.headers["content-range"], content) == (416, f"bytes */{size}", b"")
    for headers in (
        *({"range": one} for one in ("bytes=0-1,5-6", "bytes=9-3", "bytes=-", "items=0-1", "bytes=x")),
        {"range": "bytes=0-1", "if-range": '"another"'},
    ):
        response, content = await file_of(page, address, **headers)
        assert (response.status, content) == (200, lease), headers


async def test_the_file_of_a_pdf_is_shown_by_the_browser_and_that_of_another_document_is_saved(page):
    lease, notes = pdf(*[RENT] * 3) + b"%" * 2_500_000, f"{RENT}\n".encode() * 3
    uploads = [await page.upload_document(lease, 'חוזה ";.pdf'), await page.upload_document(notes, "a.html.txt")]
    conversation, (question, _) = await sent_with(page, *uploads)
    first, second = question["documents"]
    assert (await read(page, conversation, first["id"]))["hasFile"]
    shown, content = await file_of(page, address_of(conversation, first))
    assert content == lease
    assert shown.headers["content-type"] == "application/pdf"
    assert shown.headers["content-disposition"] == (
        "inline; filename=\";.pdf\"; filename*=UTF-8''%D7%97%D7%95%D7%96%D7%94%20%22%3B.pdf"
    )
    assert "sandbox" not in shown.headers["content-security-policy"]
    saved, content = await file_of(page, address_of(conversation, second))
    assert content == notes
    assert saved.headers["content-type"] == "application/octet-stream"
    assert saved.headers["content-disposition"].startswith("attachment; ")
    assert saved.headers["content-security-policy"] == "default-src 'none'; sandbox"
    for response in (shown, saved):
        assert "script-src" not in response.headers["content-security-policy"]
        assert response.headers["cache-control"] == "private, no-store"
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_a_file_is_opened_from_the_chat_and_is_no_part_of_a_page(page):
    conversation, (question, _) = await sent_with(page, await page.upload_document(RENT, "a.txt"))
    address = address_of(conversation, question["documents"][0])
    navigation = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for headers, status in (
        ({"sec-fetch-site": "same-origin", **navigation}, 200),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 200),
        ({"sec-fetch-site": "cross-site", **navigation}, 403),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
        ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}, 403),
    ):
        assert (await file_of(page, address, **headers))[0].status == status


async def test_a_file_stays_with_an_edited_question_and_goes_with_its_conversation(page, settings):
    conversation, (question, _) = await sent_with(page, await page.upload_document(RENT, "a.txt"))
    again = [{"id": question["documents"][0]["id"]}]
    await page.send("And now?", conversation=conversation, model="gemma", follows="", documents=again)
    edited = next(one for one in await page.messages(conversation) if one["text"] == "And now?")
    assert edited["documents"][0]["id"] != question["documents"][0]["id"]
    assert (await file_of(page, address_of(conversation, edited["documents"][0])))[1] == RENT.encode()
    assert files_on_disk(settings) == [RENT.encode()]
    await page.ask("POST", "delete-everything", {"confirm": True})
    assert files_on_disk(settings) == []


async def test_the_file_of_an_upload_that_no_message_used_is_erased_with_it(page, served, settings):
    documents = served[0].state.services.documents
    await page.upload_document("Waits for a message.", "b.txt")
    await page.upload_document("Of a temporary chat.", "c.txt", temporary="true")
    assert files_on_disk(settings) == [b"Waits for a message."]
    (user,) = documents._users
    documents.drop_all(user)
    await asyncio.gather(*documents._discarding)
    assert files_on_disk(settings) == []


async def test_files_that_wait_make_room_for_new_ones(page, served, settings):
    documents = served[0].state.services.documents
    documents._disk = replace(documents._disk, per_user=50)
    await page.upload_document("x" * 30, "a.txt")
    second = await page.upload_document("y" * 30, "b.txt")
    await asyncio.gather(*documents._discarding)
    assert files_on_disk(settings) == [b"y" * 30]
    (kept,) = documents._users.values()
    assert list(kept) == [second["id"]]


async def test_a_temporary_chat_keeps_the_text_of_a_document_alone(page, served, settings):
    upload = await page.upload_document(RENT, "a.txt")  # the chat was made temporary after that
    conversation, (question, _) = await sent_with(page, upload, temporary=True)
    document = question["documents"][0]
    await asyncio.gather(*served[0].state.services.documents._discarding)
    assert files_on_disk(settings) == []
    assert not (await read(page, conversation, document["id"]))["hasFile"]
    response, body = await file_of(page, address_of(conversation, document))
    assert (response.status, "is not stored" in body.decode()) == (404, True)


async def test_a_file_that_was_lost_is_an_error_in_words_and_its_text_is_there(page, settings):
    conversation, (question, _) = await sent_with(page, await page.upload_document(RENT, "a.txt"))
    (kept,) = (settings.data_dir / "chat.db.files").glob("*")
    kept.unlink()
    response, body = await file_of(page, address_of(conversation, question["documents"][0]))
    assert (response.status, "You can still read its text" in body.decode()) == (404, True)
    assert (await read(page, conversation, question["documents"][0]["id"]))["pages"]


async def test_no_file_is_written_where_files_are_not_kept(settings):
    app = await create_app(settings.model_copy(update={"keep_document_files": False}), with_page=False)
    async with serving(app) as url, open_page(url) as page:
        conversation, (question, _) = await sent_with(page, await page.upload_document(RENT, "a.txt"))
        assert not (await read(page, conversation, question["documents"][0]["id"]))["hasFile"]
    assert not (settings.data_dir / "chat.db.files").exists()
