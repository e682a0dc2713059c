"""Whatever is sent to whichever address of the API: words come back, and never a failure of its own."""

import aiohttp
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.page_client import PARAMETERS, path_of

pytestmark = pytest.mark.slow

ADDRESSES = [
    ("GET", "state"),
    ("GET", "models"),
    ("GET", "conversations"),
    ("GET", "search"),
    ("PUT", "profile"),
    ("POST", "conversations"),
    *(
        (method, f"conversations/{{id}}{rest}")
        for method, rest in (
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/restore"),
            ("POST", "/turns"),
            ("POST", "/answers"),
            ("POST", "/continuations"),
            ("POST", "/stop"),
            ("GET", "/events"),
            ("GET", "/messages"),
            ("GET", "/images/{message}"),
            ("PUT", "/messages/{message}/feedback"),
        )
    ),
]
NAMES = [
    *("text", "images", "model", "temperature", "top_p", "max_tokens", "system_prompt", "persona", "question", "retry"),
    *(
        "after",
        "follows",
        "allowFallback",
        "compareWith",
        "temporary",
        "message",
        "answer",
        "title",
        "pinned",
        "archived",
    ),
    *("archived", "branch", "feedback", "personas", "parameters", "revision", "id", "name", "instructions"),
    *("data", "conversation", "cursor", "limit", "q", "before"),
]
TEXTS = st.sampled_from(["gemma", "up", "a" * 32, "\0", "\ud800", "../..", "שלום", "x" * 6000, ""]) | st.text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(NAMES), some, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)
OPTIONS = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.mark.parametrize(("method", "address"), ADDRESSES)
@settings(max_examples=15, **OPTIONS)
@given(data=st.data())
async def test_nonsense_is_answered_in_words(page, chat_url, method, address, data):
    conversation = await page.send("Hi", model="gemma")
    question, answer = await page.messages(conversation)
    ids = st.sampled_from([question["id"], answer["id"]]) | TEXTS
    chosen = path_of(data.draw(st.just(conversation) | TEXTS)).removeprefix("conversations/")
    message = path_of(data.draw(ids)).removeprefix("conversations/")
    body = data.draw(BODIES)
    for name in ("follows", "message", "question", "branch"):
        if data.draw(st.booleans()):
            body[name] = data.draw(ids)
    if data.draw(st.booleans()):  # or nothing would get past the first checks
        body = {"text": "Hi", "model": "gemma", **PARAMETERS, **body}
    query = {name: str(value).encode("utf-8", "replace").decode() for name, value in body.items()}
    url = f"{chat_url}/{address.format(id=chosen or '%20', message=message or '%20')}"
    options = {"params": query} if method == "GET" else {"json": body}
    if len(str(options)) > 8000:  # no address is so long
        options.pop("params", None)
    async with page._http.request(method, url, **options) as response:
        said = await response.read()
        assert response.status < 500, (response.status, said[:500])
        if response.status >= 400 and response.content_type == "application/json":
            found = await response.json()
            assert found.get("error", {}).get("text") or found.get("detail")
        assert b"Traceback" not in said


async def test_a_method_or_an_address_that_is_not_there_is_no_failure(chat_url):
    async with aiohttp.ClientSession() as http:
        for method, path in (("DELETE", "state"), ("PUT", "conversations"), ("POST", "conversations/x/nothing")):
            async with http.request(method, f"{chat_url}/{path}") as response:
                assert 400 <= response.status < 500
