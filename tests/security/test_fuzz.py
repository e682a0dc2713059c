"""A chat that gets thousands of malformed requests answers in words, leaks nothing of itself and does not grow.

``FUZZ_EXAMPLES=10000 make long`` tries more requests than the tests do, and others each time.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter

import hypothesis.strategies as st
import psutil
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings

from tests.fakes.openai_server import FakeOpenAIServer
from tests.page_client import open_page
from tests.security.conftest import NO_LIMITS
from tests.security.nonsense import any_request, requests
from tests.security.raw_http import exchange, request
from tests.serving import running_chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

# Guests come in, and the addresses to sign in at are there too; nothing listens where that leads.
SIGN_IN = {
    "CHAT_IDENTITY": "google",
    "CHAT_GUESTS": "true",
    "CHAT_OIDC_ISSUER": "http://127.0.0.1:9",
    "CHAT_OIDC_CLIENT_ID": "chat",
    "CHAT_OIDC_CLIENT_SECRET": "known to the provider",
    "CHAT_ALLOWED_PEOPLE": "example.org",
}
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "0"))
SHORT, LONG = (
    settings(
        max_examples=examples,
        derandomize=not EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    for examples in (75, EXAMPLES or 750)
)
AT_ONCE = 24
MOST_GROWTH = 24_000_000  # bytes; of 10,000 requests, a leak of 2.4 kB for each


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat(tmp_path_factory):
    async with FakeOpenAIServer(answer=["Hello", " from", " Gemma", "."]) as model:
        limits = {f"CHAT_{name.upper()}": str(value) for name, value in NO_LIMITS.items()}
        async with running_chat(
            tmp_path_factory.mktemp("chat"),
            **SIGN_IN,
            CHAT_GEMMA_URL=model.url,
            CHAT_EMBEDDED_MODEL="false",
            CHAT_TITLES="first-words",
            CHAT_LOG_FORMAT="json",
            **limits,
        ) as running:
            yield running
    failures = [line[:3000] for line in running.output.splitlines() if "Traceback" in line or "handler_failed" in line]
    assert not failures, failures[:3]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def person(chat):
    """Somebody with a conversation: the cookie, and what may stand for an id."""
    async with open_page(chat.url) as page:
        conversation = await page.send("Hi", model="gemma")
        question, answer = await page.messages(conversation)
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in page._http.cookie_jar)
        yield cookies, [conversation, question["id"], answer["id"]]


@pytest_asyncio.fixture(loop_scope="module")
async def still_answers(chat):
    """After the test somebody else can talk."""
    yield
    async with open_page(chat.url) as page:
        conversation = await page.send("Still there?", model="gemma")
        assert (await page.messages(conversation))[-1]["text"] == "Hello from Gemma."


def wrong(sent, responses):
    """Return what is wrong with the responses to a request, "" if nothing is."""
    for response in responses:
        # 501 is what a server says of a method or a coding it does not know; 503, in words, that nobody can sign in.
        if response.status == 503 and b" /sign-in" in sent and b"sign-in service is unreachable" in response.body:
            continue
        if response.status >= 500 and response.status != 501:
            return f"{response.status} for {sent[:300]!r}: {response.body[:120]!r}"
        if response.leaks:
            return f"{response.leaks[:3]} in the answer to {sent[:300]!r}: {response.body[:120]!r}"
    return ""


def with_cookies(sent, cookies):
    return sent.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\ncookie: " + cookies.encode() + b"\r\n", 1)


@SHORT
@given(data=st.data())
async def test_malformed_requests_are_answered_in_words(chat, person, data):
    await answers_in_words(chat, person, data)


@pytest.mark.long
@LONG
@given(data=st.data())
async def test_many_malformed_requests_are_answered_in_words(chat, person, data):
    await answers_in_words(chat, person, data)


async def answers_in_words(chat, person, data):
    """Send one malformed request and check its responses."""
    cookies, ids = person
    sent = data.draw(requests(ids))
    if data.draw(st.booleans()):
        sent = with_cookies(sent, cookies)
    assert not wrong(sent, await exchange(chat.port, sent))


@pytest.mark.usefixtures("still_answers")
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long)])
async def test_malformed_requests_do_not_make_the_chat_grow(chat, person, count):
    cookies, ids = person
    choose = random.Random(7)  # the same requests each time
    process, statuses, failures = psutil.Process(chat.pid), Counter(), []

    async def ask(count):
        waiting = iter([with_cookies(any_request(choose, ids), cookies) for _ in range(count)])

        async def keep_asking():
            for sent in waiting:
                responses = await exchange(chat.port, sent, seconds=10)
                statuses.update([response.status for response in responses] or [None])
                failures.extend(filter(None, [wrong(sent, responses)]))

        await asyncio.gather(*(keep_asking() for _ in range(AT_ONCE)))

    warm_up = count * 3 // 10
    await ask(warm_up)
    before = process.memory_info().rss
    await ask(count - warm_up)
    growth = process.memory_info().rss - before
    assert not failures, "\n".join(failures[:20])
    assert statuses[None] < count / 50, f"too many were not answered: {statuses}"
    assert growth < MOST_GROWTH, f"{before / 1e6:.0f} MB grew by {growth / 1e6:.1f} MB"


@pytest.mark.usefixtures("still_answers")
async def test_a_websocket_leads_nowhere(chat, person):
    cookies, _ = person
    handshake = [
        *(("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    odd = [[], handshake, handshake[:-1], [*handshake[:2], ("sec-websocket-version", "99"), handshake[3]]]
    for path in ("/", "/state", "/conversations", "/c/x", "/gradio_api/queue/join", "/gradio_api/ws", "/nowhere"):
        for headers in odd[1:]:
            sent = with_cookies(request("GET", path, [*headers, ("origin", "http://evil.example")]), cookies)
            responses = await exchange(chat.port, sent, until_end=False)
            assert responses, (path, headers)
            assert responses[0].status != 101
            assert not wrong(sent, responses)
