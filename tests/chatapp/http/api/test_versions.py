"""Versions, two answers at once, pictures and titles by way of the API."""

import asyncio
import base64
import io

import pytest
from PIL import Image as Picture

from tests.fakes.gate import Gate
from tests.page_client import PARAMETERS, Refused, open_page, path_of, texts

pytestmark = pytest.mark.slow  # half a minute together


async def said(page, *questions, conversation="", **options):
    for question in questions:
        conversation = await page.send(question, conversation=conversation, model="gemma", **options)
        await page.messages(conversation)
    return conversation


async def read(page, path, **asked):
    """Ask and return the messages at the end of the stream that answers; what the page showed is kept as it does."""
    after = page.entries[-1]["id"] if page.entries else ""
    async for entries in page.send_and_read(path, {"model": "gemma", **PARAMETERS, "after": after, **asked}):
        last = entries
    return last


def counting(server):
    """Let the server answer each request with its number."""
    server.answer = lambda _messages: [str(len(server.chats))]


async def test_an_edited_question_replaces_what_followed_and_both_versions_are_there(page, model_server):
    counting(model_server)
    conversation = await said(page, "a", "b")
    entries = await page.messages(conversation)
    shown = await read(page, f"{path_of(conversation)}/turns", text="c", follows=entries[1]["id"])
    assert texts(shown) == ["a", "1", "c", "3"]
    assert shown[2]["versions"] == [entries[2]["id"], shown[2]["id"]]
    assert "versions" not in shown[0]
    assert shown == await page.messages(conversation)
    await page.change(conversation, branch=entries[2]["id"])
    assert texts(await page.messages(conversation)) == ["a", "1", "b", "2"]


async def test_the_first_question_is_edited(page, model_server):
    counting(model_server)
    conversation = await said(page, "a", "b")
    await page.messages(conversation)
    shown = await read(page, f"{path_of(conversation)}/turns", text="c", follows="")
    assert texts(shown) == ["c", "3"]
    assert shown == await page.messages(conversation)


async def test_an_answer_is_written_anew_in_the_place_of_the_former_one(page, model_server):
    counting(model_server)
    conversation = await said(page, "a", "b")
    entries = await page.messages(conversation)
    for question, expected in ((entries[2], ["a", "1", "b", "3"]), (entries[0], ["a", "4"])):
        shown = await read(page, f"{path_of(conversation)}/answers", question=question["id"])
        assert texts(shown) == expected
        assert shown == await page.messages(conversation)
        assert len(shown[-1]["versions"]) == 2


async def test_two_answers_stream_at_once_and_one_is_kept(page, model_server):
    model_server.answer = lambda _messages: [f"{len(model_server.chats)} ", "a ", "b"]
    model_server.gate = Gate(1)
    question = {"text": "a", "model": "gemma", **PARAMETERS, "compareWith": {"model": "gemma", "temperature": 0.1}}
    async for shown in page.send_and_read("conversations", question):
        if len(shown) == 3 and all(texts(shown)):  # both have begun
            model_server.gate.open()
    assert [(entry["column"], entry["writing"]) for entry in shown] == [(0, False), (1, False), (2, False)]
    assert sorted(texts(shown)[1:]) == ["1 a b", "2 a b"]
    assert {request["temperature"] for request in model_server.chats} == {0.1, 0.9}
    (item,) = (await page.get("conversations"))["items"]
    assert shown == await page.messages(item["id"])
    await page.change(item["id"], branch=shown[1]["id"])
    kept = await page.messages(item["id"])
    assert [entry["id"] for entry in kept] == [shown[0]["id"], shown[1]["id"]]
    assert (kept[1]["column"], kept[1]["versions"]) == (0, [shown[1]["id"], shown[2]["id"]])


@pytest.mark.parametrize("followed", [1, 2])
async def test_a_question_after_two_answers_leaves_the_followed_one(page, model_server, followed):
    counting(model_server)
    columns = await read(page, "conversations", text="a", compareWith={"model": "gemma"})
    (item,) = (await page.get("conversations"))["items"]
    shown = await read(page, f"{path_of(item['id'])}/turns", text="b", follows=columns[followed]["id"])
    assert [entry["id"] for entry in shown[:2]] == [columns[0]["id"], columns[followed]["id"]]
    assert [entry["column"] for entry in shown] == [0, 0, 0, 0]
    assert shown == await page.messages(item["id"])


async def test_two_answers_are_stopped_together(page, model_server):
    model_server.answer, model_server.gate = ["word "] * 500, Gate(2)
    conversation = await page.send("a", model="gemma", compareWith={"model": "gemma"})
    await page.watch_until(conversation, lambda entries: all("word" in text for text in texts(entries)[1:]))
    await page.stop(conversation)
    assert [entry["status"] for entry in await page.messages(conversation)] == ["complete", "stopped", "stopped"]


async def test_no_version_is_switched_to_while_an_answer_is_written(page, model_server):
    conversation = await said(page, "a")
    first = (await page.messages(conversation))[0]["id"]
    model_server.answer, model_server.gate = ["word "] * 500, Gate(2)
    await page.send("b", conversation=conversation, model="gemma")
    with pytest.raises(Refused, match="still being written"):
        await page.change(conversation, branch=first)
    await page.stop(conversation)
    with pytest.raises(Refused):
        await page.change(conversation, branch="nobody")


@pytest.mark.parametrize("again", [False, True])
async def test_a_named_answer_is_written_once_however_often_it_is_asked_for(page, again):
    conversation = await said(page, "a")
    question = (await page.messages(conversation))[0]["id"]
    name = "0" * 32
    for number in range(2):
        await page.answer_again(conversation, question, model="gemma", answer=name, retry=again or number > 0)
        await page.messages(conversation)
    assert len((await page.messages(conversation))[1]["versions"]) == 2


# Titles


async def test_a_model_gives_a_conversation_its_title_and_the_stream_tells_it(serve, settings, model_server):
    from tests.page_client import open_page

    model_server.answer = lambda messages: (
        ['Title: "A lamp', ' in winter."'] if "Write a title" in messages[-1]["content"] else ["The answer"]
    )
    async with serve(settings.model_copy(update={"titles": "model"})) as url, open_page(url) as page:
        shown = await read(page, "conversations", text="How does the lamp work?")
        assert (texts(shown)[1], page.titles) == ("The answer", ["A lamp in winter"])
        assert await page.listed() == ["A lamp in winter"]
        (item,) = (await page.get("conversations"))["items"]
        await read(page, f"{path_of(item['id'])}/turns", text="And then?")
        assert sum("Write a title" in request["messages"][-1]["content"] for request in model_server.chats) == 1


# Pictures


def file_of(size=(30, 20), kind="PNG", colour="red", **options):
    written = io.BytesIO()
    Picture.new("RGB", size, colour).save(written, kind, **options)
    return base64.b64encode(written.getvalue()).decode()


async def test_a_picture_is_refused_by_a_model_that_sees_none_and_nothing_is_kept(page):
    with pytest.raises(Refused, match="does not support images"):
        await page.send("What is it?", model="gemma", images=[{"data": file_of()}])
    assert await page.listed() == []


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([{"data": file_of(kind="PNG")}] * 5, "at most"),
        ([{"data": 7}], "sent an invalid request"),
        (["x"], "sent an invalid request"),
        ({"data": "x"}, "sent an invalid request"),
        ([{}], "sent an invalid request"),
        (7, "sent an invalid request"),
    ],
)
async def test_what_is_no_picture_is_refused_in_words(page, images, words):
    with pytest.raises(Refused, match=words) as refusal:
        await page.send("What is it?", model="gemma", images=images)
    assert refusal.value.status == 422


# Temporary chats and what else belongs to a person


async def test_what_is_remembered_of_a_person_is_kept_once_at_a_time(page, other_page):
    profile = {
        "personas": [{"id": "p1", "name": " A  pirate ", "instructions": "Arr."}],
        "parameters": {"temperature": 0.3, "top_p": 0.5, "max_tokens": 100},
        "allowFallback": True,
        "revision": 1,
    }
    kept = await page.ask("PUT", "profile", profile)
    assert kept["personas"] == [{"id": "p1", "name": "A pirate", "instructions": "Arr."}]
    assert (await page.get("state"))["profile"] == kept
    assert (await other_page.get("state"))["profile"]["personas"] == []
    for revision in (1, 3, 2**52):
        with pytest.raises(Refused, match="another page or device") as refusal:
            await page.ask("PUT", "profile", {**profile, "personas": [], "revision": revision})
        assert refusal.value.status == 409
    assert (await page.ask("PUT", "profile", {**profile, "personas": [], "revision": 2}))["personas"] == []


async def test_feedback_is_kept_with_its_answer(page, other_page):
    conversation = await said(page, "a")
    question, answer = await page.messages(conversation)
    path = f"{path_of(conversation)}/messages"
    for feedback in ("up", "down", ""):
        await page.ask("PUT", f"{path}/{answer['id']}/feedback", {"feedback": feedback})
        assert (await page.messages(conversation))[1]["feedback"] == feedback
    for nonsense in ("sideways", None, 7, ["up"]):
        with pytest.raises(Refused, match="sent an invalid request"):
            await page.ask("PUT", f"{path}/{answer['id']}/feedback", {"feedback": nonsense})
    for client, message in ((page, question["id"]), (page, "nobody"), (other_page, answer["id"])):
        with pytest.raises(Refused) as refusal:
            await client.ask("PUT", f"{path}/{message}/feedback", {"feedback": "up"})
        assert refusal.value.status == 404


async def test_conversations_are_found_by_their_words(page, other_page):
    conversation = await said(page, "Where is the lighthouse keeper?")
    await said(page, "Something else")
    (hit,) = (await page.get("search", q="LIGHTHOUSE"))["hits"]
    assert hit["conversation"]["id"] == conversation
    assert (hit["match"].lower(), hit["message"] != "") == ("lighthouse", True)
    assert (await other_page.get("search", q="lighthouse"))["hits"] == []
    assert (await page.get("search", q="  "))["hits"] == []
    await page.delete(conversation)
    assert (await page.get("search", q="lighthouse"))["hits"] == []


async def test_pinned_and_archived_conversations_have_their_own_places(page):
    conversations = {title: await said(page, title) for title in ("one", "two", "three")}
    await page.change(conversations["one"], pinned=True)
    await page.change(conversations["two"], archived=True)
    first = await page.get("conversations")
    assert [item["title"] for item in first["pinned"]] == ["one"]
    assert [item["title"] for item in first["items"]] == ["three"]
    archived = await page.get("conversations", archived=1)
    assert [item["title"] for item in archived["items"]] == ["two"]
    assert archived["pinned"] == []
    await page.change(conversations["two"], archived=False)
    assert await page.listed() == ["one", "three", "two"]


async def test_a_page_of_the_list_is_full_however_many_are_pinned_or_archived(page):
    conversations = [await said(page, f"{number}") for number in range(7)]
    await asyncio.gather(*(page.change(conversations[number], archived=True) for number in (1, 2, 5, 6)))
    first = await page.get("conversations", limit=2)
    assert [item["title"] for item in first["items"]] == ["4", "3"]
    rest = await page.get("conversations", limit=2, cursor=first["cursor"])
    assert ([item["title"] for item in rest["items"]], rest["cursor"]) == (["0"], None)


async def test_a_picture_is_shown_to_the_model_and_to_its_owner_now_and_later(serve, settings, model_server):
    sees = settings.model_copy(update={"gemma_images": True})
    async with serve(sees) as url, open_page(url) as page, open_page(url) as other_page:
        conversation = await page.send("What is it?", model="gemma", images=[{"data": file_of()}])
        question, _ = await page.messages(conversation)
        (picture,) = question["images"]
        assert (picture["width"], picture["height"]) == (30, 20)
        path = f"{url}/{path_of(conversation)}/images/{picture['id']}"
        async with page._http.get(path) as response:
            assert (response.status, response.content_type) == (200, "image/jpeg")
            assert "sandbox" in response.headers["content-security-policy"]
            assert response.headers["x-content-type-options"] == "nosniff"
            assert "private" in response.headers["cache-control"]
            seen = await response.read()
        async with other_page._http.get(path) as response:
            assert response.status == 404
        await page.send("And its colour?", conversation=conversation, model="gemma")
        await page.messages(conversation)
        for request in model_server.chats:
            (part,) = [part for part in request["messages"][0]["content"] if part["type"] == "image_url"]
            assert part["image_url"]["url"] == f"data:image/jpeg;base64,{base64.b64encode(seen).decode()}"


async def test_a_picture_needs_no_words(serve, settings):
    sees = settings.model_copy(update={"gemma_images": True})
    async with serve(sees) as url, open_page(url) as page:
        conversation = await page.send("", model="gemma", images=[{"data": file_of()}])
        assert texts(await page.messages(conversation)) == ["", "Hello from Gemma."]
        assert len(await page.listed()) == 1


async def test_a_temporary_chat_is_nowhere_but_at_its_address(page, other_page, chat_url):
    conversation = await page.send("Between us", model="gemma", temporary=True)
    assert conversation.startswith("temporary-")
    await page.messages(conversation)
    await page.send("More", conversation=conversation, model="gemma")
    assert texts(await page.messages(conversation))[::2] == ["Between us", "More"]
    assert (await page.get("state", conversation=conversation))["conversation"]["temporary"]
    assert await page.listed() == []
    assert (await page.get("search", q="between"))["hits"] == []
    async with page._http.post(f"{chat_url}/export/everything.json", json={}) as response:
        assert "Between us" not in await response.text()
    with pytest.raises(Refused, match="does not exist"):
        await other_page.messages(conversation)
    await page.delete(conversation)
    with pytest.raises(Refused, match="does not exist"):
        await page.messages(conversation)
