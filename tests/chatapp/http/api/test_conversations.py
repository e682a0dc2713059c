"""Listing, renaming, pinning, archiving and deleting conversations by way of the API."""

import asyncio

import pytest

from tests.fakes.openai_server import Reply
from tests.page_client import Refused, texts


async def said(page, *titles):
    """Begin a conversation for each of these words and return their ids."""
    conversations = []
    for title in titles:
        conversations.append(await page.send(title, model="gemma"))
        await page.messages(conversations[-1])
    return conversations


async def test_a_page_that_is_opened_learns_all_at_once(page):
    (conversation,) = await said(page, "Hi")
    await page.send("More", conversation=conversation, model="gemma", system_prompt="Be brief.")
    await page.messages(conversation)
    state = await page.get("state", conversation=conversation)
    assert {model["id"] for model in state["models"]} == {"gemma", "gemini"}
    assert state["default"] == "gemma"
    assert [item["title"] for item in state["conversations"]["items"]] == ["Hi"]
    assert (state["conversation"]["model"], state["conversation"]["systemPrompt"]) == ("gemma", "Be brief.")
    assert state["profile"] == {"personas": [], "parameters": None, "allowFallback": False, "revision": 0}
    assert (state["notices"], state["store"]["reachable"], state["storeKind"]) == ([], True, "sqlite")


async def test_an_address_without_a_conversation_opens_nothing(page, other_page):
    (theirs,) = await said(other_page, "Mine")
    for conversation in ("", "nobody", theirs):
        assert (await page.get("state", conversation=conversation))["conversation"] is None


async def test_models_show_their_state_and_what_would_change_it(page):
    async with asyncio.timeout(60):
        while (models := await page.models())["gemma"]["state"] != "ready":
            await asyncio.sleep(0.05)
    assert models["gemma"]["reason"] is None
    assert models["gemini"]["state"] == "not set up"
    assert "GOOGLE_CLOUD_PROJECT" in models["gemini"]["fix"]["text"]


@pytest.mark.slow
async def test_a_model_that_stops_answering_is_shown_so_after_an_answer_failed(page, model_server):
    await said(page, "Hi")
    model_server.models_reply = Reply(status=500, body={})
    model_server.script = [Reply(status=500, body={})]
    await said(page, "Hi again")
    async with asyncio.timeout(60):
        while (await page.models())["gemma"]["state"] == "ready":
            await asyncio.sleep(0.05)


async def test_more_conversations_than_fit_are_listed_on_demand(page):
    await said(page, *(f"chat {number}" for number in range(5)))
    first = await page.get("conversations", limit=3)
    assert [item["title"] for item in first["items"]] == ["chat 4", "chat 3", "chat 2"]
    rest = await page.get("conversations", limit=3, cursor=first["cursor"])
    assert ([item["title"] for item in rest["items"]], rest["cursor"]) == (["chat 1", "chat 0"], None)


async def test_a_conversation_is_renamed(page):
    (conversation,) = await said(page, "Hi")
    assert (await page.change(conversation, title="  A better\nname "))["title"] == "A better name"
    assert await page.listed() == ["A better name"]


@pytest.mark.parametrize("title", ["", " \n ", "x" * 201])
async def test_a_title_that_cannot_be_one_is_refused(page, title):
    (conversation,) = await said(page, "Hi")
    with pytest.raises(Refused, match="title"):
        await page.change(conversation, title=title)
    assert await page.listed() == ["Hi"]


async def test_a_deleted_conversation_is_gone_at_once(page):
    (conversation,) = await said(page, "forget me")
    assert (await page.delete(conversation))["undoSeconds"] == 10
    assert await page.listed() == []
    for refused in (
        page.messages(conversation),
        page.send("more", conversation=conversation, model="gemma"),
        page.change(conversation, title="Another"),
        page.get(f"conversations/{conversation}/messages"),
        page.delete(conversation),
    ):
        with pytest.raises(Refused, match="does not exist") as refusal:
            await refused
        assert refusal.value.status == 404
    assert (await page.get("state", conversation=conversation))["conversation"] is None


async def test_a_deletion_can_be_undone(page):
    (conversation,) = await said(page, "bring me back")
    await page.delete(conversation)
    assert (await page.restore(conversation))["title"] == "bring me back"
    assert await page.listed() == ["bring me back"]
    assert texts(await page.messages(conversation)) == ["bring me back", "Hello from Gemma."]


async def test_nobody_else_undoes_a_deletion(page, other_page):
    (conversation,) = await said(page, "forget me")
    await page.delete(conversation)
    with pytest.raises(Refused, match="does not exist"):
        await other_page.restore(conversation)
    assert await page.listed() == []
