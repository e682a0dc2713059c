"""The quota of storage: per user and in total, in words, before anything is stored."""

import asyncio

import aiohttp
import pytest
from prometheus_client import generate_latest

from chatapp.app import create_app
from chatapp.domain.conversation import Document, MessageStatus, Role
from chatapp.domain.errors import StorageFull
from chatapp.domain.library import LibraryDocument
from chatapp.server.metrics import Metrics
from chatapp.store.quota import StorageLimits, StorageQuota
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.router import StoreRouter
from tests.chatapp.store.conftest import a_conversation, a_message
from tests.page_client import PARAMETERS, Refused, open_page
from tests.serving import serving

MEGABYTE = "x" * 1_000_000


@pytest.fixture
async def store(tmp_path):
    refused = []
    persistent = await SQLiteStore.open(tmp_path / "chat.db")
    quota = StorageQuota(persistent, StorageLimits(per_user=2_500_000, in_total=4_000_000), refused.append)
    store = StoreRouter(persistent, quota=quota)
    store.refused, store.quota = refused, quota
    yield store
    await store.aclose()


async def test_message_beyond_the_quota_of_a_user_is_refused_and_not_stored(store):
    await store.create("ana", a_conversation(id="a"), a_message(MEGABYTE))
    await store.append("ana", "a", a_message(MEGABYTE, 2_000))
    for refused in (
        store.append("ana", "a", a_message(MEGABYTE, 3_000)),
        store.create("ana", a_conversation(id="b"), a_message(MEGABYTE)),
    ):
        with pytest.raises(StorageFull, match=r"full: 2\.0 of 2\.5 MB"):
            await refused
    assert [one.id for one in (await store.conversations("ana")).items] == ["a"]
    assert len(await store.messages("ana", "a")) == 2
    assert store.refused == ["storage", "storage"]
    await store.create("ben", a_conversation(id="c"), a_message(MEGABYTE))


async def test_deleting_makes_room(store):
    for name in "ab":
        await store.create("ana", a_conversation(id=name), a_message(MEGABYTE))
    await store.delete("ana", "a")
    await store.create("ana", a_conversation(id="c"), a_message(MEGABYTE))


async def test_messages_of_all_users_together_are_bounded(store):
    for user in ("ana", "ben", "cleo"):
        await store.create(user, a_conversation(id=user), a_message(MEGABYTE))
    with pytest.raises(StorageFull, match="storage of this chat is full"):
        await store.create("dora", a_conversation(id="dora"), a_message(MEGABYTE))
    assert store.refused == ["all_storage"]
    assert await store.stored_bytes("dora") == 0
    assert 3_000_000 < store.quota.last_total < 3_010_000


async def test_documents_of_collections_count_and_are_refused_in_their_own_words(store):
    def kept(name):
        document = Document(id=name, name=name, kind="text", pages=1, size=9, data=b"x" * 800_000)
        return LibraryDocument(collection="k", document=document, added_ms=1)

    for name in "abc":
        await store.add_library_document("ana", kept(name))
    with pytest.raises(StorageFull, match=r"full: 2\.4 of 2\.5 MB\. The document was not added"):
        await store.add_library_document("ana", kept("d"))
    with pytest.raises(StorageFull, match=r"full: 2\.4 of 2\.5 MB\. Nothing was sent"):
        await store.create("ana", a_conversation(), a_message(MEGABYTE))
    await store.remove_library_documents("ana", ["a"])
    await store.add_library_document("ana", kept("d"))
    await store.add_library_document("ben", kept("a"))
    with pytest.raises(StorageFull, match=r"storage of this chat is full\. The document was not added"):
        await store.add_library_document("cleo", kept("a"))
    assert store.refused == ["storage", "storage", "all_storage"]
    assert await store.library("cleo") == []


async def test_what_was_begun_is_finished_and_temporary_chats_are_not_counted(store):
    answer = a_message("", 2_000, role=Role.ASSISTANT, status=MessageStatus.STREAMING)
    await store.create("ana", a_conversation(id="a"), a_message("x" * 2_400_000), answer)
    ended = a_message(MEGABYTE, 2_000, id=answer.id, role=Role.ASSISTANT, revision=1)
    await store.append("ana", "a", ended)
    await store.update("ana", a_conversation(id="a", title="renamed"))
    again = a_message("", 3_000, role=Role.ASSISTANT, status=MessageStatus.STREAMING)
    with pytest.raises(StorageFull):
        await store.append("ana", "a", again)
    await store.create("ana", a_conversation(id="temporary-1"), a_message(MEGABYTE))


async def test_several_conversations_that_do_not_fit_together_are_refused_together(store):
    new = [(a_conversation(id=f"{number}"), [a_message(MEGABYTE)]) for number in range(3)]
    with pytest.raises(StorageFull, match=r"Your storage is full: 0\.0 of 2\.5 MB"):
        await store.create_all("ana", new)
    assert await store.stored_bytes("ana") == 0
    temporary = (a_conversation(id="temporary-1"), [a_message(MEGABYTE)])
    assert await store.create_all("ana", [*new[:2], temporary]) == set()
    assert 2_000_000 < await store.stored_bytes("ana") < 2_010_000
    expected = {id_: {messages[0].id: 0} for id_, messages in (("0", new[0][1]), ("temporary-1", temporary[1]))}
    assert await store.revisions("ana", ["0", "temporary-1", "2", "temporary-2"]) == expected


async def test_metrics_show_what_all_users_store(store):
    metrics = Metrics(["gemma"], running=lambda: 0, waiting=lambda: 0)
    metrics.watch_storage(store.quota)
    await store.create("ana", a_conversation(id="a"), a_message(MEGABYTE))
    generate_latest(metrics.registry)  # which has the size read again, for the next time
    async with asyncio.timeout(60):
        while not store.quota.last_total:
            await asyncio.sleep(0.01)
    shown = generate_latest(metrics.registry).decode()
    assert "hybrid_chat_stored_bytes 1.00" in shown
    assert "hybrid_chat_stored_bytes_limit 4e+06" in shown


@pytest.mark.slow
async def test_page_shows_what_is_stored_and_the_refusal_in_words(settings):
    limited = settings.model_copy(update={"storage_megabytes": 1, "max_message_chars": 900_000})
    async with serving(await create_app(limited, with_page=False)) as url, open_page(url) as page:
        assert (await page.get("me"))["storage"] == {"used": 0, "limit": 1_000_000}
        first = await page.send("x" * 700_000, model="gemma")
        await page.messages(first)
        assert 700_000 < (await page.get("me"))["storage"]["used"] < 710_000
        for conversation in ("", first):
            with pytest.raises(Refused, match=r"Your storage is full: 0\.7 of 1\.0 MB") as refusal:
                await page.send("x" * 400_000, conversation=conversation, model="gemma")
            assert refusal.value.status == 507
        assert len(await page.messages(first)) == 2
        assert len(await page.listed()) == 1


async def test_local_user_has_no_quota_unless_it_is_set(settings):
    local = settings.model_copy(update={"identity": "local"})
    assert local.storage_limits == StorageLimits()
    assert local.model_copy(update={"storage_megabytes": 3}).storage_limits.per_user == 3_000_000
    assert settings.storage_limits == StorageLimits(per_user=500_000_000, in_total=20_000_000_000)
    async with serving(await create_app(local, with_page=False)) as url, aiohttp.ClientSession() as http:
        async with http.get(f"{url}/me") as response:
            assert (await response.json())["storage"] == {"used": 0, "limit": None}
        body = {"text": "Hi", "model": "gemma", **PARAMETERS}
        async with http.post(f"{url}/conversations", json=body, headers={"sec-fetch-site": "same-origin"}) as response:
            assert response.status == 200
