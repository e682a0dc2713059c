"""Talking by way of the API, as the page does."""

import asyncio

import pytest

from tests.fakes.gate import Gate
from tests.fakes.openai_server import Reply
from tests.page_client import Refused, open_page, texts

pytestmark = pytest.mark.slow  # a whole chat for each, which takes half a second

CODE = "Look:\n\n```python\ndef f():\n    if True:\n        return 1\n```"


async def ready(page):
    """Wait until the page shows that Gemma is ready."""
    async with asyncio.timeout(60):
        while (await page.models())["gemma"]["state"] != "ready":
            await asyncio.sleep(0.05)


async def test_a_question_is_answered_and_both_are_shown(page):
    conversation = await page.send("Hi there", model="gemma")
    question, answer = await page.messages(conversation)
    assert (question["role"], question["text"]) == ("user", "Hi there")
    assert (answer["role"], answer["text"], answer["label"]) == ("assistant", "Hello from Gemma.", "Gemma3 12b it")
    assert (answer["status"], answer["writing"], answer["finish"], answer["error"]) == ("complete", False, "stop", None)
    assert answer["tokensOut"] > 0
    assert answer["secondsToFirstToken"] >= 0


async def test_the_stream_that_answers_a_question_begins_with_its_conversation_and_ends_with_its_answer(page):
    seen = [
        entries
        async for entries in page.send_and_read("conversations", {"text": "Hi", "model": "gemma", "temperature": 0.5})
    ]
    assert texts(seen[-1]) == ["Hi", "Hello from Gemma."]
    after = page.entries[-1]["id"]
    (item,) = (await page.get("conversations"))["items"]
    assert (item["title"], item["model"], item["writing"], item["temporary"]) == ("Hi", "gemma", False, False)
    more = {"text": "More", "model": "gemma", "after": after}
    async for entries in page.send_and_read(f"conversations/{item['id']}/turns", more):
        last = entries
    assert texts(last) == ["Hi", "Hello from Gemma.", "More", "Hello from Gemma."]


async def test_the_answer_grows_and_its_update_costs_no_more_in_a_long_conversation(page, model_server):
    conversation = await page.send("first", model="gemma")
    await page.messages(conversation)
    model_server.answer = ["a", "b", "c", "d", "e", "f"]
    model_server.gate = Gate(1)
    await page.send("second", conversation=conversation, model="gemma")
    seen = []
    async for messages in page.follow(conversation):
        seen.append(messages)
        model_server.gate.release()
    assert len(seen) > 4
    assert texts(seen[-1]) == ["first", "Hello from Gemma.", "second", "abcdef"]
    growing = [messages[3]["text"] for messages in seen]
    assert growing == sorted(growing, key=len)
    assert all("abcdef".startswith(text) for text in growing)


async def test_the_model_gets_the_parameters_and_the_system_prompt_of_the_page(page, model_server):
    conversation = await page.send(
        "Hi", model="gemma", temperature=0.3, top_p=0.5, max_tokens=77, system_prompt="You are a pirate."
    )
    await page.messages(conversation)
    request = model_server.chats[0]
    assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.3, 0.5, 77)
    assert request["messages"][0] == {"role": "system", "content": "You are a pirate."}


async def test_code_keeps_its_indentation(page, model_server):
    model_server.answer = [CODE]
    conversation = await page.send(CODE, model="gemma")
    assert texts(await page.messages(conversation)) == [CODE, CODE]


async def test_two_equal_pieces_in_a_row_are_both_shown(page, model_server):
    model_server.answer = ["ha", "ha", "ha", "ha"]
    model_server.gate = Gate(1)
    conversation = await page.send("laugh", model="gemma")
    for shown in ("ha", "haha", "hahaha"):
        await page.watch_until(conversation, lambda messages, shown=shown: texts(messages)[1] == shown)
        model_server.gate.release()
    assert texts(await page.messages(conversation))[1] == "hahahaha"


async def test_stop_keeps_what_was_written_and_ends_the_request(page, model_server):
    model_server.answer = ["word "] * 500
    model_server.gate = Gate(3)
    conversation = await page.send("write a lot", model="gemma")
    await page.watch_until(conversation, lambda messages: "word word" in texts(messages)[1])
    await page.stop(conversation)
    answer = (await page.messages(conversation))[1]
    assert answer["text"].startswith("word word")
    assert (answer["status"], answer["canContinue"]) == ("stopped", True)
    async with asyncio.timeout(60):
        while not model_server.disconnects:
            await asyncio.sleep(0.02)


async def test_an_answer_is_still_streaming_for_a_page_that_comes_back(page, model_server):
    model_server.answer = ["one ", "two ", "three"]
    model_server.gate = Gate(1)
    conversation = await page.send("count", model="gemma")
    await page.watch_until(conversation, lambda messages: len(messages) == 2)
    again = await page.second_tab()
    await again.watch_until(conversation, lambda messages: texts(messages)[1] == "one ")
    model_server.gate.open()
    assert texts(await again.messages(conversation))[1] == "one two three"


async def test_a_model_failure_stands_under_the_message_in_words(page, model_server):
    await ready(page)
    model_server.script = [Reply(pieces=["Half an"], ending="error")]
    conversation = await page.send("go", model="gemma")
    answer = (await page.messages(conversation))[1]
    assert (answer["text"], answer["status"]) == ("Half an", "error")
    assert answer["error"]["text"]
    assert "Traceback" not in answer["error"]["text"]


async def test_of_two_sends_at_once_one_is_refused_and_nothing_is_doubled(page, model_server):
    conversation = await page.send("one", model="gemma")
    await page.messages(conversation)
    model_server.gate = Gate()
    second = await page.second_tab()
    results = await asyncio.gather(
        *(p.send(f"two {n}", conversation=conversation, model="gemma") for n, p in enumerate((page, second))),
        return_exceptions=True,
    )
    (refused,) = [result for result in results if isinstance(result, Refused)]
    assert (refused.status, "still being written" in str(refused)) == (409, True)
    model_server.gate.open()
    assert len(await page.messages(conversation)) == 4


async def test_an_open_page_goes_on_after_a_restart(serve, settings):
    async with serve(settings) as url, open_page(url) as page:
        conversation = await page.send("before", model="gemma")
        await page.messages(conversation)
        cookies = {cookie.key: cookie.value for cookie in page._http.cookie_jar}
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
    assert messages[-1]["omitted"] > 0
    assert len(messages) == 16


async def test_of_a_long_conversation_the_end_is_shown_first_and_what_is_before_on_demand(page, monkeypatch):
    monkeypatch.setattr("chatapp.http.api.stream.MESSAGES_AT_ONCE", 4)
    conversation = ""
    for number in range(5):
        conversation = await page.send(f"{number}", conversation=conversation, model="gemma")
        shown = await page.messages(conversation)
    assert (texts(shown)[::2], page.earlier) == (["3", "4"], 6)
    before = await page.get(f"conversations/{conversation}/messages", before=shown[0]["id"])
    assert (texts(before["messages"])[::2], before["earlier"]) == (["1", "2"], 2)
    before = await page.get(f"conversations/{conversation}/messages", before=before["messages"][0]["id"])
    assert (texts(before["messages"])[::2], before["earlier"]) == (["0"], 0)


async def test_a_page_that_knows_the_beginning_gets_what_follows(page, chat_url):
    conversation = await page.send("one", model="gemma")
    first = await page.messages(conversation)
    await page.send("two", conversation=conversation, model="gemma")
    await page.messages(conversation)
    async with page._http.get(f"{chat_url}/conversations/{conversation}/events?after={first[-1]['id']}") as stream:
        body = await stream.text()
    assert '"one"' not in body
    assert '"two"' in body


async def test_many_people_get_their_first_words_at_once(chat_url, model_server):
    model_server.answer = ["first ", "last"]
    model_server.gate = Gate(1)

    async def first_words():
        async with open_page(chat_url) as page:
            conversation = await page.send("Hi", model="gemma")
            await page.watch_until(conversation, lambda messages: texts(messages)[1] == "first ")
            seen.append(len(seen))
            await all_seen.wait()
            await page.stop(conversation)

    seen, all_seen = [], asyncio.Event()
    people = [asyncio.create_task(first_words()) for _ in range(42)]
    async with asyncio.timeout(60):
        while len(seen) < len(people):
            await asyncio.sleep(0.05)
    assert model_server.running == len(people)  # nobody's answer had to end for another's to begin
    all_seen.set()
    await asyncio.gather(*people)
