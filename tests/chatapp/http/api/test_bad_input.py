"""What the API does when somebody sends it what no page would."""

import json
import math

import aiohttp
import pytest

from tests.page_client import PARAMETERS, SAME_ORIGIN, Refused, open_page, texts

pytestmark = pytest.mark.slow  # a page opened for each: all together seconds


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Write a message"),
        (" \n\t ", "Write a message"),
        (None, "Write a message"),
        (7, "Write a message"),
        ("x" * 1_000_000, "1,000,000 characters; at most 5,000"),
    ],
)
async def test_text_that_cannot_be_sent_is_refused_in_words(page, text, words):
    with pytest.raises(Refused, match=words):
        await page.send(text, model="gemma")
    assert await page.listed() == []


@pytest.mark.parametrize("text", ["a\0b", "half \ud83d", "\udc00 other half"])
async def test_characters_that_are_not_text_are_replaced(page, text):
    conversation = await page.send(text, model="gemma")
    shown = texts(await page.messages(conversation))[0]
    assert "\ufffd" in shown
    assert shown.encode()


@pytest.mark.parametrize(
    "text", ["שלום, מה שלומך?", "مرحبا بالعالم", "🏴‍☠️👨‍👩‍👧‍👦", "\u202eevil\u202c", "<script>alert(1)</script>"]
)
async def test_any_text_is_stored_as_it_is(page, text):
    conversation = await page.send(text, model="gemma")
    assert texts(await page.messages(conversation))[0] == text


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("temperature", 3, "Temperature must be a number from 0.1 to 1.0"),
        ("temperature", -1, "Temperature"),
        ("temperature", math.nan, "Temperature"),
        ("temperature", math.inf, "Temperature"),
        ("temperature", None, "Temperature"),
        ("temperature", "<b>hot</b>", "'<b>hot</b>'"),
        ("top_p", 0, "Top-p"),
        ("top_p", 1.5, "Top-p"),
        ("max_tokens", 0, "Max tokens must be a whole number from 1 to 65536"),
        ("max_tokens", -1, "Max tokens"),
        ("max_tokens", 65_537, "Max tokens"),
        ("max_tokens", 10.5, "Max tokens"),
        ("max_tokens", True, "Max tokens"),
        ("max_tokens", 10**400, "Max tokens"),
        ("system_prompt", "x" * 1_000_000, "Instructions must be text of at most 20,000 characters"),
        ("system_prompt", {"a": 1}, "Instructions"),
    ],
)
async def test_a_parameter_out_of_its_range_is_refused_in_words(page, parameter, value, words):
    with pytest.raises(Refused, match=words):
        await page.send("Hi", model="gemma", **{parameter: value})
    assert await page.listed() == []


@pytest.mark.parametrize("model", ["gpt-5", "", None, ["gemma"], {"a": 1}])
async def test_an_unknown_model_is_refused_in_words(page, model):
    with pytest.raises(Refused, match="is not in the list"):
        await page.send("Hi", model=model)
    assert await page.listed() == []


async def test_nobody_reads_continues_or_deletes_what_is_somebody_elses(page, other_page):
    conversation = await page.send("my secret", model="gemma")
    await page.messages(conversation)
    for call in (
        other_page.messages(conversation),
        other_page.send("let me in", conversation=conversation, model="gemma"),
        other_page.go_on(conversation, page.entries[-1]["id"], model="gemma"),
        other_page.stop(conversation),
        other_page.change(conversation, title="mine now"),
        other_page.delete(conversation),
        other_page.restore(conversation),
        other_page.get(f"conversations/{conversation}/messages"),
    ):
        with pytest.raises(Refused, match="does not exist") as refusal:
            await call
        assert refusal.value.status == 404
    assert texts(await page.messages(conversation)) == ["my secret", "Hello from Gemma."]
    assert await other_page.listed() == []


@pytest.mark.parametrize("conversation", ["nobody", "' OR 1=1 --", "\0", "\ud800", "x" * 10_000, 7, {"a": 1}, ["x"]])
async def test_an_id_that_is_no_conversation_is_refused_in_words(page, conversation):
    for call in (
        page.messages(conversation),
        page.send("Hi", conversation=conversation, model="gemma"),
        page.go_on(conversation, "x", model="gemma"),
        page.stop(conversation),
        page.change(conversation, pinned=True),
        page.delete(conversation),
        page.restore(conversation),
    ):
        with pytest.raises(Refused, match="does not exist") as refusal:
            await call
        assert refusal.value.status == 404
    assert await page.listed() == []


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b"[" * 100_000, b'"text"', b"\xff\xfe", b'{"text": "\\ud800']
)
async def test_a_body_that_is_no_object_is_refused_in_words(chat_url, body):
    headers = {**SAME_ORIGIN, "content-type": "application/json"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{chat_url}/conversations", data=body, headers=headers) as response,
    ):
        assert (response.status, "sent an invalid request" in await response.text()) == (422, True)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
async def test_what_a_form_of_another_site_could_send_is_refused(chat_url, kind):
    question = json.dumps({"text": "Hi", "model": "gemma", **PARAMETERS})
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{chat_url}/conversations", data=question, headers={**SAME_ORIGIN, "content-type": kind}
        ) as response,
    ):
        assert response.status == 422


@pytest.mark.parametrize("cookie", ["", "forged", "anonymous-0.c2lnbmF0dXJl", "x" * 5000])
async def test_a_forged_cookie_makes_a_new_user(page, chat_url, cookie):
    conversation = await page.send("mine", model="gemma")
    async with open_page(chat_url, cookies={"chat_user": cookie}) as forger:
        with pytest.raises(Refused, match="does not exist"):
            await forger.messages(conversation)
