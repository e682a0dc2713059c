"""What the page gets of the streams of many servers: the reported cases, each with a fake of its own."""

import asyncio
import json

import pytest

from tests.chatapp.conftest import settings_of
from tests.fakes.openai_server import FakeOpenAIServer, Reply
from tests.page_client import open_page, texts

pytestmark = pytest.mark.slow  # a whole chat for each, which takes half a second


def chunk(content=None, finish=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": finish}]}


def reply(*chunks, done=True):
    raw = [chunk if isinstance(chunk, bytes) else f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]
    return Reply(raw=[*raw, b"data: [DONE]\n\n"] if done else raw)


async def answer(page, model_server, *replies, text="What is it?", conversation="", **parameters):
    model_server.script, model_server.script_for = list(replies), text  # a probe takes no reply of the script
    async with asyncio.timeout(60):
        while (await page.models())["gemma"]["state"] != "ready":
            await asyncio.sleep(0.02)
    conversation = await page.send(text, model="gemma", conversation=conversation, **parameters)
    return (await page.messages(conversation))[-1], conversation


async def test_finish_reason_in_every_chunk_leaves_the_answer_whole(page, model_server):
    words = ["The ", "answer ", "has ", "five ", "words."]
    shown, _ = await answer(page, model_server, reply(*(chunk(word, "stop") for word in words)))
    assert (shown["text"], shown["status"], shown["finish"]) == ("The answer has five words.", "complete", "stop")


async def test_content_as_a_list_of_parts_is_text_and_thinking(page, model_server):
    parts = [
        chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "First I "}]}]),
        chunk([{"type": "thinking", "thinking": [{"type": "text", "text": "think."}]}]),
        chunk([{"type": "text", "text": "It is "}]),
        chunk("Tuesday."),
        chunk("", "stop"),
    ]
    shown, _ = await answer(page, model_server, reply(*parts))
    assert (shown["text"], shown["thinking"], shown["status"]) == ("It is Tuesday.", "First I think.", "complete")


@pytest.mark.parametrize(
    "pieces",
    [
        ["<think>\nThe person asks. ", "I recall Paris.\n</think>\n\n", "Paris."],
        ["The person asks. ", "I recall Paris.\n</think>\n\n", "Paris."],  # the template opens the thinking
        ["<thi", "nk>The person asks. I recall Paris.</th", "ink>", "\n\nPar", "is."],
    ],
)
async def test_think_tags_are_folded_kept_and_not_sent_back(page, model_server, pieces):
    shown, conversation = await answer(page, model_server, reply(*map(chunk, pieces), chunk("", "stop")))
    assert (shown["text"], shown["thinking"].strip()) == ("Paris.", "The person asks. I recall Paris.")
    await answer(page, model_server, reply(chunk("Yes."), chunk("", "stop")), text="Sure?", conversation=conversation)
    assert [message["content"] for message in model_server.chats[-1]["messages"]] == ["What is it?", "Paris.", "Sure?"]
    assert texts(await page.messages(conversation)) == ["What is it?", "Paris.", "Sure?", "Yes."]
    reloaded = await (await page.second_tab()).messages(conversation)
    assert reloaded[1]["thinking"].strip() == "The person asks. I recall Paris."
    assert (await page.get("search", q="recall"))["hits"] == []
    (hit,) = (await page.get("search", q="recall", thinking="true"))["hits"]
    assert (hit["match"], hit["inThinking"]) == ("recall", True)
    async with page._http.post(f"{page._url}/export/{conversation}.md", json={}) as response:
        markdown = await response.text()
    assert "<details><summary>Thinking</summary>" in markdown
    assert "I recall Paris." in markdown


OVERFLOW = (
    "Trying to keep the first {n} tokens when context the overflows. However, the model is loaded with context length "
    "of only 600 tokens, which is not enough."
)


@pytest.mark.parametrize("code", [None, "context_length_exceeded", "400", 400])
async def test_overflow_inside_of_the_stream_shortens_the_prompt(page, model_server, code):
    model_server.models_reply = Reply(body={"data": [{"id": "gemma"}]})  # without its context
    conversation = ""
    for _ in range(2):
        _, conversation = await answer(page, model_server, text="word " * 300, conversation=conversation, max_tokens=50)
    error = {"message": OVERFLOW.format(n=900)} | ({"code": code} if code else {})
    refusal = reply(b"event: error\ndata: " + json.dumps({"error": error}).encode() + b"\n\n", done=False)
    shown, _ = await answer(page, model_server, refusal, text="And now?", conversation=conversation, max_tokens=50)
    assert (shown["text"], shown["status"]) == ("Hello from Gemma.", "complete")
    assert shown["omitted"] > 0


async def test_picture_in_the_stream_is_named_where_it_cannot_be_shown(page, model_server):
    picture = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 2_000_000}}]}
    shown, _ = await answer(
        page, model_server, reply(chunk("Here is the cat:"), chunk("", **picture), chunk("", "stop"))
    )
    assert (shown["text"], shown["status"], shown["unshownPictures"]) == ("Here is the cat:", "complete", 1)


async def test_model_that_thinks_longer_gets_as_many_tokens_as_it_needs(serve, tmp_path):
    async with (
        FakeOpenAIServer(context_tokens=16_384) as model_server,
        serve(settings_of(tmp_path, model_server)) as url,
        open_page(url) as page,
    ):
        await thinks_longer(page, model_server)


async def thinks_longer(page, model_server):
    thinks = [chunk(None, reasoning_content="hm " * 50) for _ in range(20)]
    shown, _ = await answer(page, model_server, reply(*thinks, chunk("", "length")))
    assert (shown["text"], shown["status"]) == ("", "error")
    most = (await page.models())["gemma"]["maxAnswerTokens"]
    assert shown["error"]["values"]["next"]["values"] == {"most": most}
    shown, _ = await answer(
        page, model_server, reply(*thinks, chunk("The answer."), chunk("", "stop")), max_tokens=most
    )
    assert (shown["text"], shown["status"]) == ("The answer.", "complete")
    assert model_server.chats[-1]["max_tokens"] > 6000


async def test_json_in_place_of_a_stream_is_an_answer(page, model_server):
    body = {"choices": [{"message": {"role": "assistant", "content": "It is."}, "finish_reason": "stop"}]}
    shown, _ = await answer(page, model_server, Reply(body=body))
    assert (shown["text"], shown["status"]) == ("It is.", "complete")


async def test_parameter_refused_inside_of_the_stream_is_omitted(page, model_server):
    error = {"message": "Unsupported", "param": "temperature", "code": "unsupported_value"}
    shown, _ = await answer(page, model_server, reply({"error": error}, done=False))
    assert (shown["text"], shown["status"]) == ("Hello from Gemma.", "complete")
    assert "temperature" not in model_server.chats[-1]


async def test_longest_answer_of_a_server_is_learned_from_its_refusal(page, model_server):
    words = (
        "max_tokens is too large: 1024. This model supports at most 512 completion tokens, whereas you provided 1024."
    )
    refusal = Reply(status=400, body={"error": {"message": words, "param": "max_tokens", "code": "invalid_value"}})
    shown, _ = await answer(page, model_server, refusal)
    assert shown["text"] == "Hello from Gemma."
    assert model_server.chats[-1]["max_tokens"] == 512
    assert (await page.models())["gemma"]["maxAnswerTokens"] == 512


CALL = [{"index": 0, "function": {"name": "search", "arguments": "{}"}}]
PICTURE = {"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}
# How an answer can end: its chunks, whether the stream has an end, and the status and the words that are shown.
ENDS = {
    "at Max tokens": ([chunk("Half"), chunk("", "length")], True, "complete", "The answer stopped at Max tokens."),
    "filtered": ([chunk("Half"), chunk("", "content_filter")], True, "error", "safety filter stopped it"),
    "cancelled": ([chunk("Half"), chunk("", "abort")], True, "error", "the server cancelled it"),
    "broken": ([chunk("Half")], False, "error", "the connection was lost"),
    "an error": ([chunk("Half"), {"error": {"message": "died"}}], False, "error", "stopped in the middle"),
    "a tool": ([chunk("Half"), chunk(None, "tool_calls", tool_calls=CALL)], True, "error", "tried to use a tool"),
    "a tool alone": ([chunk(None, "tool_calls", tool_calls=CALL)], True, "error", "tried to use a tool"),
    "nothing": ([chunk("", "stop")], True, "error", "returned an empty answer"),
    "thinking alone": ([chunk(None, reasoning_content="hm"), chunk("", "stop")], True, "error", "an empty answer"),
    "a picture alone": ([chunk(None, **PICTURE), chunk("", "stop")], True, "complete", "Pictures that were not shown"),
}


async def test_each_end_of_an_answer_is_told_alike_by_the_page_its_reload_and_the_exports(page, model_server):
    away = Reply(status=503, body={"error": {"message": "no healthy upstream"}})
    for name, (chunks, has_end, status, words) in ENDS.items():
        # No other server goes on with a lost answer.
        shown, conversation = await answer(page, model_server, reply(*chunks, done=has_end), away, away, away)
        assert (shown["status"], shown["text"]) == (status, "Half" if chunks[0] == chunk("Half") else ""), name
        reloaded = (await (await page.second_tab()).messages(conversation))[-1]
        told = ("text", "status", "finish", "error", "unshownPictures", "thinking")
        assert {key: reloaded[key] for key in told} == {key: shown[key] for key in told}, name
        texts = {}
        for ending in ("md", "json"):
            async with page._http.post(f"{page._url}/export/{conversation}.{ending}", json={}) as response:
                texts[ending] = await response.text()
        assert words in texts["md"], name
        exported = json.loads(texts["json"])["conversations"][0]["messages"][-1]
        assert (exported["status"], exported["content"]) == (shown["status"], shown["text"]), name
        assert exported["error"] == (shown["error"]["text"] if shown["error"] else ""), name
        assert exported.get("finish_reason") == shown["finish"], name
