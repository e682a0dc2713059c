"""What the page's endpoints do, called as a browser calls them."""

import asyncio
import json

import aiohttp
import pytest

from tests.fakes.openai_server import Reply
from tests.page_client import Refused, facts, open_page, texts

CODE = "Look:\n\n```python\ndef f():\n    if True:\n        return 1\n```"


async def ready(page):
    """Wait until the page shows that Gemma is ready."""
    async with asyncio.timeout(5):
        while True:
            model = (await page.call("look_at_models", "gemma", ""))[0]
            if "Gemma3 12b it · ready" in str(model["choices"]):
                return
            await asyncio.sleep(0.05)


async def test_a_question_is_answered_and_both_are_shown(page):
    conversation = await page.send("Hi there", model="gemma")
    messages = await page.messages(conversation)
    assert texts(messages) == ["Hi there", "Hello from Gemma."]
    assert [message["role"] for message in messages] == ["user", "assistant"]
    assert "Gemma3 12b it" in facts(messages[1])
    assert "tokens" in facts(messages[1])


async def test_the_answer_grows_and_its_update_costs_no_more_in_a_long_conversation(page, model_server):
    conversation = await page.send("first", model="gemma")
    await page.messages(conversation)
    model_server.answer = ["a", "b", "c", "d", "e", "f"]
    model_server.tokens_per_second = 12
    await page.send("second", conversation=conversation, model="gemma")
    seen = [messages async for messages in page.follow(conversation)]
    assert len(seen) > 2
    assert texts(seen[-1]) == ["first", "Hello from Gemma.", "second", "abcdef"]
    growing = [messages[3]["content"][0]["text"] for messages in seen if len(messages[3]["content"]) > 1]
    assert growing == sorted(growing, key=len)


async def test_the_model_gets_the_parameters_and_the_system_prompt_of_the_page(page, model_server):
    conversation = await page.send(
        "Hi", model="gemma", temperature=0.3, top_p=0.5, max_tokens=77, system_prompt="You are a pirate."
    )
    await page.messages(conversation)
    request = model_server.chats[0]
    assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.3, 0.5, 77)
    assert request["messages"][0] == {"role": "system", "content": "You are a pirate."}


async def test_opening_a_conversation_brings_back_its_messages_model_and_system_prompt(page):
    conversation = await page.send("Hi", model="gemma", system_prompt="Be brief.")
    await page.messages(conversation)
    await page.call("new", 50)
    opened, _, model, system_prompt = await page.call("open", conversation)
    assert (opened, model["value"], system_prompt) == (conversation, "gemma", "Be brief.")
    assert texts(await page.messages(conversation)) == ["Hi", "Hello from Gemma."]


async def test_code_keeps_its_indentation(page, model_server):
    model_server.answer = [CODE]
    conversation = await page.send(CODE, model="gemma")
    assert texts(await page.messages(conversation)) == [CODE, CODE]


async def test_two_equal_pieces_in_a_row_are_both_shown(page, model_server):
    model_server.answer = ["ha", "ha", "ha", "ha"]
    model_server.tokens_per_second = 8
    conversation = await page.send("laugh", model="gemma")
    assert texts(await page.messages(conversation))[1] == "hahahaha"


async def test_stop_keeps_what_was_written_and_ends_the_request(page, model_server):
    model_server.answer = ["word "] * 500
    model_server.tokens_per_second = 50
    conversation = await page.send("write a lot", model="gemma")
    await page.watch_until(conversation, lambda messages: "word word" in texts(messages)[1])
    await page.call("stop", conversation)
    messages = await page.messages(conversation)
    assert texts(messages)[1].startswith("word word")
    assert "stopped" in facts(messages[1])
    async with asyncio.timeout(2):
        while not model_server.disconnects:
            await asyncio.sleep(0.02)


async def test_an_answer_is_still_streaming_for_a_page_that_comes_back(page, model_server):
    model_server.answer = ["one ", "two ", "three"]
    model_server.tokens_per_second = 5
    conversation = await page.send("count", model="gemma")
    await page.watch_until(conversation, lambda messages: len(messages) == 2)
    again = await page.second_tab()
    assert texts(await again.messages(conversation))[1] == "one two three"


async def test_a_conversation_is_deleted_and_gone(page):
    conversation = await page.send("forget me", model="gemma")
    await page.messages(conversation)
    assert await page.listed() == ["forget me"]
    await page.call("delete", conversation, 50)
    assert await page.listed() == []
    with pytest.raises(Refused, match="does not exist"):
        await page.messages(conversation)


async def test_saying_no_to_the_question_deletes_nothing(page):
    conversation = await page.send("keep me", model="gemma")
    await page.messages(conversation)
    await page.call("delete", "", 50)
    assert await page.listed() == ["keep me"]


async def test_more_conversations_than_fit_are_listed_on_demand(page, monkeypatch):
    monkeypatch.setattr("chatapp.ui.page.CONVERSATIONS_SHOWN", 3)
    for number in range(5):
        await page.messages(await page.send(f"chat {number}", model="gemma"))
    conversations, older = (await page.call("new", 3))[4:6]
    assert ([title for title, _ in conversations["choices"]], older["visible"]) == (
        ["chat 4", "chat 3", "chat 2"],
        True,
    )
    conversations, older, length = await page.call("list_older", "", 3)
    assert (len(conversations["choices"]), older["visible"], length) == (5, False, 6)


async def test_a_model_failure_stands_under_the_message_in_words(page, model_server):
    await ready(page)
    model_server.script = [Reply(pieces=["Half an"], ending="error")]
    conversation = await page.send("go", model="gemma")
    messages = await page.messages(conversation)
    assert texts(messages)[1] == "Half an"
    assert "answer-note" in facts(messages[1])
    assert "Traceback" not in facts(messages[1])


async def test_models_show_their_state_and_what_would_change_it(page):
    await ready(page)
    model, notice, shown = await page.call("look_at_models", "gemini", "")
    assert ("○ Gemini · not set up", "gemini") in [tuple(choice) for choice in model["choices"]]
    assert "GOOGLE_CLOUD_PROJECT" in notice
    unchanged = await page.call("look_at_models", "gemini", shown)
    assert unchanged == [{"__type__": "update"}] * 3


async def test_of_two_sends_at_once_one_is_refused_and_nothing_is_doubled(page, model_server):
    conversation = await page.send("one", model="gemma")
    await page.messages(conversation)
    model_server.tokens_per_second = 5
    second = await page.second_tab()
    results = await asyncio.gather(
        *(p.send(f"two {n}", conversation=conversation, model="gemma") for n, p in enumerate((page, second))),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, Refused)]
    assert len(refused) == 1
    assert "still being written" in str(refused[0])
    assert len(await page.messages(conversation)) == 4


async def test_a_fault_of_our_own_shows_a_number_and_no_traceback(page):
    with pytest.raises(Refused, match=r"In the log: [0-9a-f]{8}") as refusal:
        await page.call("list_older", "", {"not": "a number"})
    assert "Traceback" not in str(refusal.value)
    assert "TypeError" not in str(refusal.value)


async def test_an_open_page_goes_on_after_a_restart(serve, settings):
    async with serve(settings) as url, aiohttp.ClientSession() as http:
        async with open_page(url) as page:
            conversation = await page.send("before", model="gemma")
            await page.messages(conversation)
            cookies = {cookie.key: cookie.value for cookie in page._http.cookie_jar}
        del http
    async with serve(settings) as url, open_page(url, cookies=cookies) as page:
        await page.send("after", conversation=conversation, model="gemma")
        assert texts(await page.messages(conversation))[::2] == ["before", "after"]


async def test_a_conversation_longer_than_the_context_goes_on_and_says_so(page, model_server):
    model_server.context_tokens = 400
    conversation = ""
    for number in range(8):
        conversation = await page.send(
            f"{number} " + "word " * 60, conversation=conversation, model="gemma", max_tokens=50
        )
        messages = await page.messages(conversation)
    assert "were not sent" in facts(messages[-1])
    assert len(messages) == 16


async def test_forged_forwarding_headers_change_nothing(chat_url):
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"}
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}/config", headers=forged) as response:
        assert "evil" not in await response.text()
        assert json.loads(await response.text())["root"] == chat_url


async def test_behind_a_proxy_the_address_is_the_setting(serve, settings):
    behind = settings.model_copy(update={"root_url": "https://chat.example.org"})
    async with serve(behind) as url, aiohttp.ClientSession() as http, http.get(f"{url}/config") as response:
        assert (await response.json())["root"] == "https://chat.example.org"
        assert "Secure" in response.headers["set-cookie"]


async def test_streams_must_not_be_buffered_or_cached(chat_url):
    async with aiohttp.ClientSession() as http:
        parameters = {"session_hash": "nobody"}
        async with http.get(f"{chat_url}/gradio_api/queue/data", params=parameters) as stream:
            assert stream.headers["x-accel-buffering"] == "no"
            assert "no-cache" in stream.headers["cache-control"]


@pytest.mark.parametrize("path", ["/monitoring", "/monitoring/summary", "/docs", "/redoc", "/gradio_api/runs"])
async def test_what_the_chat_does_not_need_is_closed(chat_url, path):
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}{path}") as response:
        assert response.status in {403, 404}


async def test_no_handler_is_offered_as_a_public_api(chat_url):
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}/gradio_api/info") as response:
        assert await response.json() == {"named_endpoints": {}, "unnamed_endpoints": {}}


@pytest.mark.slow
async def test_more_people_than_gradio_has_threads_get_their_first_words_at_once(chat_url, model_server):
    """Gradio's default of 40 threads also caps async handlers: the 41st person would wait for a whole answer."""
    model_server.answer = ["first ", "last"]
    model_server.tokens_per_second = 0.2

    async def first_words():
        async with open_page(chat_url) as page:
            conversation = await page.send("Hi", model="gemma")
            await page.watch_until(conversation, lambda messages: texts(messages)[1] == "first ")
            seen.append(len(seen))
            await all_seen.wait()
            await page.call("stop", conversation)

    seen, all_seen = [], asyncio.Event()
    people = [asyncio.create_task(first_words()) for _ in range(42)]
    async with asyncio.timeout(20):
        while len(seen) < len(people):
            await asyncio.sleep(0.05)
    assert model_server.running == len(people)  # nobody's answer had to end for another's to begin
    all_seen.set()
    await asyncio.gather(*people)
