"""Malformed requests to every route of the API get a client error with a message, never a server error."""

import contextlib
import re

import aiohttp
import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from tests.any_text import any_text
from tests.api_schema import request_fields
from tests.page_client import PARAMETERS, Refused, path_of
from tests.security.authorization_matrix import API_ROUTES

pytestmark = pytest.mark.slow

NAMES = st.deferred(lambda: st.sampled_from(sorted(request_fields())))  # the schema takes a second of CPU
TEXTS = st.sampled_from(["gemma", "up", "a" * 32, "\0", "\ud800", "../..", "שלום", "x" * 6000, ""]) | any_text()
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=4),
    max_leaves=8,
)
BODIES = st.dictionaries(NAMES, VALUES, max_size=8)
OPTIONS = {"deadline": None, "database": None, "derandomize": True, "suppress_health_check": list(HealthCheck)}


@pytest.mark.parametrize(("method", "path"), sorted(API_ROUTES))
@settings(max_examples=5, **OPTIONS)
@given(data=st.data())
async def test_malformed_request_gets_a_message_and_no_server_error(page, chat_url, method, path, data):
    await check_malformed_request(page, chat_url, method, path, data)


@pytest.mark.long
@pytest.mark.parametrize(("method", "path"), sorted(API_ROUTES))
@settings(max_examples=30, **OPTIONS)
@given(data=st.data())
async def test_many_malformed_requests_get_a_message_and_no_server_error(page, chat_url, method, path, data):
    await check_malformed_request(page, chat_url, method, path, data)


async def check_malformed_request(page, chat_url, method, path, data):
    conversation, messages = await conversation_of(page)
    question, answer = messages[:2]
    ids = st.sampled_from([question["id"], answer["id"]]) | TEXTS
    parameters = {
        "conversation_id": path_of(data.draw(st.just(conversation) | TEXTS)).removeprefix("conversations/"),
        "message_id": path_of(data.draw(ids)).removeprefix("conversations/"),
    }
    others = ("image_id", "document_id", "session_id", "model_id", "share_id")
    library = ("collection_id", "folder_id", "library_document_id")
    parameters |= dict.fromkeys((*others, *library), parameters["message_id"])
    body = data.draw(BODIES)
    for name in ("follows", "message", "question", "branch"):
        if data.draw(st.booleans()):
            body[name] = data.draw(ids)
    if data.draw(st.booleans()):  # otherwise nothing passes the first checks
        body = {"text": "Hi", "model": "gemma", **PARAMETERS, **body}
    query = {name: str(value).encode("utf-8", "replace").decode() for name, value in body.items()}
    url = chat_url + re.sub(r"{(\w+)}", lambda match: parameters[match[1]] or "%20", path)
    options = {"params": query} if method == "GET" else {"json": body}
    if len(str(options)) > 8000:  # longer than an address may be
        options.pop("params", None)
    async with page._http.request(method, url, **options) as response:
        content = await response.read()
        assert response.status < 500, (response.status, content[:500])
        if response.status >= 400 and response.content_type == "application/json":
            error = await response.json()
            assert error.get("error", {}).get("text") or error.get("detail")
        assert b"Traceback" not in content


async def conversation_of(page):
    """Return a conversation of the page and its messages, a new one only if an earlier request deleted the last."""
    conversation = vars(page).get("malformed")
    with contextlib.suppress(Refused):
        if conversation and len(messages := await page.messages(conversation)) >= 2:
            return conversation, messages
    page.malformed = await page.send("Hi", model="gemma")
    return page.malformed, await page.messages(page.malformed)


async def test_a_method_or_an_address_that_is_not_there_is_no_failure(chat_url):
    async with aiohttp.ClientSession() as http:
        for method, path in (("DELETE", "state"), ("PUT", "conversations"), ("POST", "conversations/x/nothing")):
            async with http.request(method, f"{chat_url}/{path}") as response:
                assert 400 <= response.status < 500
