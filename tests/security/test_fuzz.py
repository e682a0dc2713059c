"""Malformed requests get a client error without internals, and the memory of the chat does not grow.

``FUZZ_EXAMPLES=10000 make long`` sends more requests, and other ones in each run.
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
from tests.security.malformed_requests import random_request, requests
from tests.security.raw_http import exchange, request
from tests.serving import NO_LIMITS_ENVIRONMENT, running_chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

# With guests and the routes to sign in; nothing listens at the issuer.
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
CONCURRENCY = 24
MAX_GROWTH = 24_000_000  # bytes; for 10,000 requests, a leak of 2.4 kB each


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat(tmp_path_factory):
    async with (
        FakeOpenAIServer(answer=["Hello", " from", " Gemma", "."]) as model,
        running_chat(
            tmp_path_factory.mktemp("chat"),
            **SIGN_IN,
            CHAT_GEMMA_URL=model.url,
            CHAT_EMBEDDED_MODEL="false",
            CHAT_TITLES="first-words",
            CHAT_LOG_FORMAT="json",
            **NO_LIMITS_ENVIRONMENT,
        ) as running,
    ):
        yield running
    failures = [line[:3000] for line in running.output.splitlines() if "Traceback" in line or "handler_failed" in line]
    assert not failures, failures[:3]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def user(chat):
    """The cookies and the ids of a user with a conversation."""
    async with open_page(chat.url) as page:
        conversation = await page.send("Hi", model="gemma")
        question, answer = await page.messages(conversation)
        cookies = "; ".join(f"{cookie.key}={cookie.value}" for cookie in page._http.cookie_jar)
        yield cookies, [conversation, question["id"], answer["id"]]


@pytest_asyncio.fixture(loop_scope="module")
async def still_serves(chat):
    """After the test another user gets an answer of the model."""
    yield
    async with open_page(chat.url) as page:
        conversation = await page.send("Still there?", model="gemma")
        assert (await page.messages(conversation))[-1]["text"] == "Hello from Gemma."


def failure(sent, responses):
    """Return a description of a server error or a leak in the responses, "" if there is none."""
    for response in responses:
        # 501 is for an unknown method or coding; 503 is correct where the identity provider is down.
        if response.status == 503 and b" /sign-in" in sent and b"sign-in service is unreachable" in response.body:
            continue
        if response.status >= 500 and response.status != 501:
            return f"{response.status} for {sent[:300]!r}: {response.body[:120]!r}"
        if response.leaks:
            return f"{response.leaks[:3]} in the response to {sent[:300]!r}: {response.body[:120]!r}"
    return ""


def with_cookies(sent, cookies):
    return sent.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\ncookie: " + cookies.encode() + b"\r\n", 1)


@SHORT
@given(data=st.data())
async def test_malformed_request_gets_a_client_error(chat, user, data):
    await sends_a_malformed_request(chat, user, data)


@pytest.mark.long
@LONG
@given(data=st.data())
async def test_many_malformed_requests_get_client_errors(chat, user, data):
    await sends_a_malformed_request(chat, user, data)


async def sends_a_malformed_request(chat, user, data):
    """Send one request and check its responses."""
    cookies, ids = user
    sent = data.draw(requests(ids))
    if data.draw(st.booleans()):
        sent = with_cookies(sent, cookies)
    assert not failure(sent, await exchange(chat.port, sent))


@pytest.mark.usefixtures("still_serves")
@pytest.mark.parametrize("count", [1_000, pytest.param(10_000, marks=pytest.mark.long(seconds=45))])
async def test_malformed_requests_leak_no_memory(chat, user, count):
    cookies, ids = user
    generator = random.Random(7)  # the same requests in each run
    process, statuses, failures = psutil.Process(chat.pid), Counter(), []

    async def send(count):
        queue = iter([with_cookies(random_request(generator, ids), cookies) for _ in range(count)])

        async def send_one_by_one():
            for sent in queue:
                responses = await exchange(chat.port, sent, seconds=60)
                statuses.update([response.status for response in responses] or [None])
                failures.extend(filter(None, [failure(sent, responses)]))

        await asyncio.gather(*(send_one_by_one() for _ in range(CONCURRENCY)))

    warm_up = count * 3 // 10
    await send(warm_up)
    before = process.memory_info().rss
    await send(count - warm_up)
    growth = process.memory_info().rss - before
    assert not failures, "\n".join(failures[:20])
    assert statuses[None] < count / 50, f"too many requests without a response: {statuses}"
    assert growth < MAX_GROWTH, f"{before / 1e6:.0f} MB grew by {growth / 1e6:.1f} MB"


@pytest.mark.usefixtures("still_serves")
async def test_websocket_handshake_is_refused(chat, user):
    cookies, _ = user
    handshake = [
        *(("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-version", "13")),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ]
    handshakes = [handshake, handshake[:-1], [*handshake[:2], ("sec-websocket-version", "99"), handshake[3]]]
    for path in ("/", "/state", "/conversations", "/c/x", "/gradio_api/queue/join", "/gradio_api/ws", "/nowhere"):
        for headers in handshakes:
            sent = with_cookies(request("GET", path, [*headers, ("origin", "http://evil.example")]), cookies)
            responses = await exchange(chat.port, sent, until_end=False)
            assert responses, (path, headers)
            assert responses[0].status != 101
            assert not failure(sent, responses)
