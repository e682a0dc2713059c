"""Links to copies of conversations: what they show, to whom, for how long, and what search engines are told."""

import re
from base64 import b64encode
from contextlib import AsyncExitStack
from dataclasses import replace

import aiohttp
import pytest

from chatapp.app import create_app
from chatapp.conversations import shares
from chatapp.conversations.shares import DAY_MS
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.domain.conversation import Citation, Document, Role, now_ms
from chatapp.domain.library import LibraryDocument
from tests.chatapp.conftest import settings_of
from tests.chatapp.http.api.test_conversations import said
from tests.chatapp.store.conftest import a_conversation, a_message
from tests.fakes.pictures import plain
from tests.page_client import SAME_ORIGIN, Refused, open_page
from tests.serving import serving

UNKNOWN = f"shared/{'A' * 43}"


@pytest.fixture
async def own_chat(tmp_path, model_server):
    """Return a function that serves a chat with these settings."""
    async with AsyncExitStack() as stack:

        async def serve(**changes):
            settings = settings_of(tmp_path / "data", model_server)
            settings = settings.model_copy(update={"gemma_images": True, "share_links": "anyone"} | changes)
            app = await create_app(settings, with_page=False)
            url = await stack.enter_async_context(serving(app))
            return app, url, await stack.enter_async_context(open_page(url))

        yield serve


@pytest.fixture
async def reader():
    """Someone without any cookie."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:

        async def read(url, **headers):
            async with http.get(url, headers=headers) as response:
                return response.status, response.headers.copy(), (await response.read()).decode(errors="replace")

        yield read


async def shared(page, conversation, **options):
    return await page.ask("POST", f"conversations/{conversation}/shares", {"days": 7} | options)


@pytest.mark.slow
async def test_link_shows_the_conversation_as_it_was_without_its_owner_and_is_not_indexed(own_chat, reader):
    _, url, page = await own_chat()
    conversation = await page.send("Tell <b>me</b>", model="gemma", system_prompt="INSTRUCTIONS")
    await page.messages(conversation)
    link = await shared(page, conversation)
    await page.send("Later", conversation=conversation, model="gemma")
    await page.messages(conversation)
    status, headers, html = await reader(f"{url}/{link['path']}")
    assert status == 200
    assert "Tell &lt;b&gt;me&lt;/b&gt;" in html
    assert "Hello from Gemma." in html
    assert "Later" not in html.replace("What was written later", "")
    assert "INSTRUCTIONS" not in html
    assert "noindex" in headers["x-robots-tag"]
    assert re.search(r'<meta name="robots" content="noindex', html)
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert "set-cookie" not in headers
    scripts = re.search(r"script-src ([^;]*)", headers["content-security-policy"])[1]
    assert scripts == "'self'"
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=", html)
    assert (await reader(f"{url}/robots.txt"))[2] == "User-agent: *\nDisallow: /\n"
    for language, word in (("he", "שאלה"), ("ar", "سؤال")):
        _, _, html = await reader(f"{url}/{link['path']}", **{"accept-language": language})
        assert f'<html lang="{language}" dir="rtl">' in html
        assert word in html


async def test_name_of_the_demo_model_is_in_the_readers_language(own_chat, reader):
    _, url, page = await own_chat(gemma_label="SmolLM2 (small demo)")
    conversation = await page.send("Hi", model="gemma")
    await page.messages(conversation)
    link = await shared(page, conversation)
    for language, name in (("en", "SmolLM2 (small demo)"), ("he", "הדגמה קטנה (SmolLM2)")):
        _, _, html = await reader(f"{url}/{link['path']}", **{"accept-language": language})
        assert f"<bdi>{name}</bdi>" in html


@pytest.mark.slow
async def test_only_the_shown_branch_is_shared(own_chat, reader, model_server):
    _, url, page = await own_chat()
    conversation = await page.send("First version", model="gemma")
    await page.messages(conversation)
    question = page.entries[0]["id"]
    await page.send("Second version", conversation=conversation, model="gemma", follows="")
    await page.messages(conversation)
    link = await shared(page, conversation)
    await page.ask("PATCH", f"conversations/{conversation}", {"branch": question})
    other = await shared(page, conversation)
    shown = [(await reader(f"{url}/{one['path']}"))[2] for one in (link, other)]
    assert [(">First version</div>" in html, ">Second version</div>" in html) for html in shown] == [
        (False, True),
        (True, False),
    ]


async def test_unknown_ended_and_expired_links_and_those_of_deleted_conversations_are_answered_alike(
    own_chat, reader, monkeypatch
):
    _, url, page = await own_chat()
    first, second, third = await said(page, "One", "Two", "Three")
    ended, deleted, expired = [await shared(page, one) for one in (first, second, third)]
    await page.ask("DELETE", f"shares/{ended['share']['id']}")
    await page.ask("DELETE", f"conversations/{second}")
    listed = (await page.get("shares"))["shares"]
    assert [one["title"] for one in listed] == ["Three"]
    assert listed[0]["expires"] - listed[0]["created"] == 7 * DAY_MS
    later = now_ms() + 8 * DAY_MS
    monkeypatch.setattr("chatapp.store.sqlite.shares.now_ms", lambda: later)
    answers = [
        await reader(f"{url}/{path}", accept="text/html")
        for path in (UNKNOWN, "shared/x", ended["path"], deleted["path"], expired["path"])
    ]
    for status, headers, html in answers:
        assert (status, html) == (404, answers[0][2])
        assert "This link does not work" in html
        assert "noindex" in headers["x-robots-tag"]
    assert (await page.get("shares"))["shares"] == []
    monkeypatch.undo()
    await page.ask("POST", f"conversations/{second}/restore", {})
    assert (await reader(f"{url}/{deleted['path']}"))[0] == 200


@pytest.mark.slow
async def test_pictures_are_part_of_the_copy_and_no_others_are(own_chat, reader):
    _, url, page = await own_chat()
    conversation = await page.send("Look", model="gemma", images=[{"data": b64encode(plain()).decode()}])
    await page.messages(conversation)
    link = await shared(page, conversation)
    (image,) = page.entries[0]["images"]
    _, _, html = await reader(f"{url}/{link['path']}")
    (address,) = re.findall(r'<img src="(shared/[^"]*)"', html)
    assert address == f"{link['path']}/images/{image['id']}"
    status, headers, _ = await reader(f"{url}/{address}", **SAME_ORIGIN, **{"sec-fetch-dest": "image"})
    assert (status, headers["content-type"], headers["cache-control"]) == (200, "image/jpeg", "no-store")
    other = await shared(page, (await said(page, "No picture"))[0])
    assert (await reader(f"{url}/{other['path']}/images/{image['id']}"))[0] == 404
    assert (await reader(f"{url}/{link['path']}/images/text-0"))[0] == 404
    framed = {"sec-fetch-site": "same-origin", "sec-fetch-dest": "iframe", "sec-fetch-mode": "navigate"}
    assert (await reader(f"{url}/{link['path']}", **framed))[0] == 403


async def test_documents_are_named_with_the_words_that_answers_quote_and_without_their_text(own_chat, reader):
    app, url, page = await own_chat(identity="local")
    text = packed((Page(1, ()), Page(2, (Block(BlockKind.TEXT, "\U0001f327 So much <rain> fell. SECRET"),))))
    report = Document(id="report", name="דוח <1>.pdf", kind="PDF", pages=2, size=9, data=text)
    question = a_message("Rain?", id="q", follows="", documents=(report,))
    cited = [
        Citation(end=22, document="report", page=2, page_start=3, page_end=17),
        Citation(end=22, document="report", page=3, page_start=0, page_end=9),  # there is no such page
        Citation(end=22, document="other", page=1, page_start=0, page_end=9),
        Citation(end=22, document="report", page=2, page_start=3, page_end=7, collection="k", name="kept.pdf"),
        Citation(end=22, document="removed", page=2, page_start=3, page_end=7, collection="k", name="old.pdf"),
        Citation(end=22, document="removed", page=4, page_start=3, page_end=7, collection="k", name="z", quote="So <m"),
    ]
    answer = a_message("“So much <rain>”", 2_000, role=Role.ASSISTANT, follows="q", citations=tuple(cited))
    conversation = a_conversation()
    await app.state.services.store.create("local", conversation, question, answer)
    kept = LibraryDocument(collection="k", document=replace(report, name="kept.pdf"), added_ms=1)
    await app.state.services.store.add_library_document("local", kept)
    link = await shared(page, conversation.id)
    _, _, html = await reader(f"{url}/{link['path']}")
    assert '<li><q dir="auto">So m</q><span class="place">\u2068kept.pdf\u2069, page 2</span></li>' in html
    assert '<p class="document quiet">Document: \u2068דוח &lt;1&gt;\u200e.pdf\u2069</p>' in html
    place = '<span class="place">\u2068דוח &lt;1&gt;\u200e.pdf\u2069, page 2</span>'
    assert f'<li><q dir="auto">So much &lt;rain&gt;</q>{place}</li>' in html
    assert '<li><q dir="auto">So &lt;m</q><span class="place">\u2068z\u2069, page 4</span></li>' in html
    assert html.count("<li>") == 3
    assert "SECRET" not in html
    assert b"SECRET" not in await app.state.services.store.shared_piece(link["share"]["id"], "text-0")


async def test_only_a_digest_of_the_secret_is_stored(own_chat, tmp_path):
    _, _, page = await own_chat()
    link = await shared(page, (await said(page, "Mine"))[0])
    secret = link["path"].removeprefix("shared/").encode()
    assert len(secret) == 43
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert files
    assert not any(secret in path.read_bytes() for path in files)


@pytest.mark.slow
async def test_what_cannot_be_shared_is_refused_in_words(own_chat, monkeypatch):
    _, _, page = await own_chat()
    (conversation,) = await said(page, "Hi")
    temporary = await page.send("Hi", model="gemma", temporary=True)
    await page.messages(temporary)
    for one, options, status in (
        (temporary, {}, 404),
        ("missing", {}, 404),
        (conversation, {"days": 2}, 422),
        (conversation, {"days": True}, 422),
        (conversation, {"days": 365}, 422),
    ):
        with pytest.raises(Refused) as refused:
            await shared(page, one, **options)
        assert refused.value.status == status
    monkeypatch.setattr(shares, "SHARE_BYTES", 10)
    with pytest.raises(Refused, match="too large to share"):
        await shared(page, conversation)
    monkeypatch.undo()
    monkeypatch.setattr(shares, "MAX_SHARES", 1)
    await shared(page, conversation)
    with pytest.raises(Refused, match="that is the limit"):
        await shared(page, conversation)
    monkeypatch.setattr(shares, "SHARES_PER_HOUR", 1)
    with pytest.raises(Refused, match="many links") as refused:
        await shared(page, conversation)
    assert refused.value.status == 429


@pytest.mark.slow
async def test_readers_are_limited_by_network(own_chat, reader, monkeypatch):
    monkeypatch.setattr(shares, "READS_PER_NETWORK", 3)
    _, url, _ = await own_chat()
    statuses = [(await reader(f"{url}/{UNKNOWN}"))[0] for _ in range(5)]
    assert statuses == [404, 404, 404, 429, 429]


async def test_without_the_setting_there_are_no_links(own_chat, reader):
    _, url, page = await own_chat(share_links="off")
    (conversation,) = await said(page, "Hi")
    assert page.state["shareLinks"] == "off"
    with pytest.raises(Refused) as refused:
        await shared(page, conversation)
    assert refused.value.status in {404, 405}
    status, _, html = await reader(f"{url}/{UNKNOWN}", accept="text/html")
    assert (status, "This link does not work" in html) == (404, False)


async def test_copy_is_kept_no_longer_than_the_retention_period_of_its_messages(own_chat):
    _, _, page = await own_chat(retention_days=2)
    link = (await shared(page, (await said(page, "Hi"))[0]))["share"]
    assert link["expires"] - link["created"] <= 2 * DAY_MS


@pytest.mark.slow
async def test_deleting_everything_ends_all_links(own_chat, reader):
    _, url, page = await own_chat()
    link = await shared(page, (await said(page, "Hi"))[0])
    await page.ask("POST", "delete-everything", {"confirm": True})
    assert (await reader(f"{url}/{link['path']}"))[0] == 404
    assert (await page.get("shares"))["shares"] == []
