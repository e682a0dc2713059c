"""The cost of a request grows no faster than its input: every route, with every input grown up to its limit.

Costs are processor time of the whole process, so neither other processes nor waiting count, and only ratios decide: for
sixteen times the input at most `MOST_GROWTH` times the cost, where a quadratic route needs 256 times as much.
``make long`` tries every pattern and more sizes.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import re
import time
from dataclasses import dataclass, field, replace
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
import pytest_asyncio

from chatapp.app import create_app
from chatapp.auth.local import LOCAL
from chatapp.config.settings import Settings
from chatapp.domain.conversation import Conversation, Message, MessageStatus, Role, new_id
from chatapp.http.request_rules import MAX_JSON_BYTES
from chatapp.userdata import queries
from tests.api_schema import openapi, operations
from tests.fakes.openai_server import FakeOpenAIServer
from tests.page_client import SAME_ORIGIN
from tests.security.authorization_matrix import API_ROUTES, MATRIX, OTHER_ROUTES
from tests.security.user_data import create_user_data
from tests.serving import NO_LIMITS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from fastapi import FastAPI

    from tests.security.user_data import UserData

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

GROWTH = 16
MOST_GROWTH = 48  # three times the growth of the input
LEAST_SECONDS = 0.010  # a cost below this is never too much
HEAD_BYTES = 30_000  # less than `chatapp.http.middleware.limits.MAX_HEAD_BYTES`
STORED_CHARS = 400_000
STORED_MESSAGES = 2_000
# What parsers, regular expressions and escapes trip over.
PATTERNS = [
    "x",
    "[a](<",
    "**a ",
    "<a ",
    "`",
    "> ",
    "\\[",
    "\u05d0\u0301",
    '"',
    "\n- ",
    "| a ",
    "<textarea>",
    "![](x 'a",
    "- ```\n[a](b 'c ",
]
SHORT_PATTERNS = PATTERNS[:4]
# Nothing listens at the issuer.
SIGN_IN = {
    "identity": "google",
    "oidc_issuer": "http://127.0.0.1:9",
    "oidc_client_id": "chat",
    "oidc_client_secret": "secret",
    "allowed_people": "example.org",
}
# Not these: they delete what the other requests need.
LEFT_OUT = {("POST", "/delete-everything"), ("DELETE", "/conversations/{conversation_id}")}
ROUTES = sorted((API_ROUTES.keys() | OTHER_ROUTES.keys()) - LEFT_OUT)


@dataclass(frozen=True)
class Request:
    """A request as an ASGI server gets it, before its path is decoded.

    Attributes:
        path: percent-encoded, without the query.
        query: percent-encoded.
    """

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Chat:
    """The app, called in this process without an HTTP client: its processor time would count.

    Attributes:
        cookies: that the app has set.
    """

    app: FastAPI
    data: UserData
    cookies: SimpleCookie = field(default_factory=SimpleCookie)

    async def cost(self, request: Request) -> float:
        """Return the processor time of a request, in seconds."""
        status, body, seconds = await self.send(request)
        assert status < 500 or status == 503, (request.method, request.path[:300], body[:300])
        return seconds

    async def send(self, request: Request) -> tuple[int, bytes, float]:
        """Return the status and the body of the response, and the processor time in seconds."""
        cookies = "; ".join(f"{name}={one.value}" for name, one in self.cookies.items())
        headers = {"host": "localhost", **request.headers, **({"cookie": cookies} if cookies else {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": unquote(request.path),
            "raw_path": request.path.encode(),
            "query_string": request.query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 123),
            "root_path": "",
        }
        parts, is_complete = [{"type": "http.request", "body": request.body}], asyncio.Event()
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            if parts:
                return parts.pop()
            await is_complete.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            messages.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                is_complete.set()

        before = time.process_time()
        await self.app(scope, receive, send)
        seconds = time.process_time() - before
        assert is_complete.is_set(), request
        for name, value in messages[0]["headers"]:
            if name.lower() == b"set-cookie":
                self.cookies.load(value.decode())
        return messages[0]["status"], b"".join(one.get("body", b"") for one in messages[1:]), seconds

    async def renew_data(self) -> None:
        """Replace all that is stored: what earlier requests added would be part of a later request's cost."""
        services = self.app.state.services
        await queries.delete_everything(services.store, services.turns, LOCAL.id)
        self.data = await create_user_data(LOCAL.id, services.store)

    def request(self, method: str, path: str, query: str = "", body: object = None) -> Request:
        """Return a request of the page, to a percent-encoded path with a percent-encoded query."""
        is_file = isinstance(body, bytes)
        if body is None:
            return Request(method, path, query, SAME_ORIGIN, b"")
        content = body if is_file else json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        kind = "application/octet-stream" if is_file else "application/json"
        headers = SAME_ORIGIN | {"content-type": kind, "content-length": str(len(content))}
        return Request(method, path, query, headers, content)


@contextlib.asynccontextmanager
async def running(**changes: object) -> AsyncIterator[Chat]:
    settings = Settings(_env_file=None, **NO_LIMITS, embedded_model=False, titles="first-words", **changes)
    app = await create_app(settings, with_page=False)
    async with app.router.lifespan_context(app):
        yield Chat(app, await create_user_data(LOCAL.id, app.state.services.store))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat(tmp_path_factory):
    async with (
        FakeOpenAIServer(answer=["Hello."]) as model,
        running(data_dir=tmp_path_factory.mktemp("data"), identity="local", gemma_url=model.url) as chat,
    ):
        yield chat


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat_of(chat, tmp_path_factory):
    """Return a function that returns the chat with a route: with sign-in for its routes."""
    async with running(data_dir=tmp_path_factory.mktemp("data"), **SIGN_IN) as with_sign_in:
        yield lambda route: with_sign_in if route[1].startswith("/sign-") else chat


async def check(chat: Chat, grown: Callable[[int], Request], most: int, *, sizes: int = 1) -> str:
    """Return why an input costs too much, "" if it does not.

    Args:
        chat: the app.
        grown: returns the request with an input of a size.
        most: the largest size.
        sizes: how many pairs of sizes are compared, each a quarter of the one before.
    """
    for step in range(sizes):
        small, large = (most // 4**step // GROWTH, most // 4**step)
        long = grown(large)
        if (first := await chat.cost(long)) < LEAST_SECONDS:
            continue
        # The least of three, so that one collection of garbage is no failure.
        short = grown(small)
        costs = [min([await chat.cost(short) for _ in range(3)]), min([first, *[await chat.cost(long) for _ in "23"]])]
        if costs[1] >= max(LEAST_SECONDS, MOST_GROWTH * costs[0]):
            return f"{small} takes {costs[0] * 1e3:.1f} ms, {large} takes {costs[1] * 1e3:.1f} ms"
    return ""


def parameters(path: str) -> list[str]:
    return re.findall(r"{(\w+)(?::\w+)?}", path)


def filled(chat: Chat, template: str, /, **encoded: str) -> str:
    """Return a path with a value for each parameter; those that are passed are percent-encoded already."""
    values = {"requested_version": "0", "path": "js/main.js", **chat.data.ids}
    encoded = {name: quote(value) for name, value in values.items()} | encoded
    return re.sub(r"{(\w+)(?::\w+)?}", lambda match: encoded.get(match[1], "x"), template)


def grown_addresses(chat: Chat, route: tuple[str, str], pattern: str) -> Iterator[tuple[str, Any, int]]:
    """Yield the name of each parameter of a path and query, a function that grows it, and its largest size."""
    method, path = route
    rule = MATRIX[route]
    body = chat.data.fill(rule.body)
    # Encoding a pattern once is quicker than what is made of it.
    encoded, in_path = quote(pattern), quote(pattern.replace("/", "_"))
    in_head = HEAD_BYTES // len(encoded)
    for name in parameters(path):
        yield (
            f"{{{name}}}",
            lambda size, name=name: chat.request(method, filled(chat, path, **{name: in_path * size}), body=body),
            in_head,
        )
    described = operations().get(route, {}).get("parameters", ())
    for name in {one["name"] for one in described if one["in"] == "query"} | {"surprise"}:
        yield (
            f"?{name}",
            lambda size, name=name: chat.request(method, filled(chat, path), f"{name}={encoded * size}", body),
            in_head,
        )


def properties(schema: Any) -> dict[str, Any]:
    while "$ref" in schema:
        schema = openapi()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    for part in schema.get("anyOf", ()):
        if found := properties(part):
            return found
    return schema.get("properties", {})


def body_schema(route: tuple[str, str]) -> Any:
    body = operations().get(route, {}).get("requestBody")
    return body and body["content"].get("application/json", {}).get("schema")


def grown_bodies(chat: Chat, route: tuple[str, str], pattern: str) -> Iterator[tuple[str, Any, int]]:
    """Yield the name of each field of a body, nested ones too, a function that grows it, and its largest size."""
    method, path = route
    base = chat.data.fill(copy.deepcopy(dict(MATRIX[route].body or {})))
    most = MAX_JSON_BYTES * 3 // 4 // len(json.dumps(pattern, ensure_ascii=False)[1:-1].encode())

    def field(name: str, value: Callable[[int], Any]) -> tuple[str, Any, int]:
        def request(size: int) -> Request:
            return chat.request(method, filled(chat, path), body={**base, name: value(size)})

        return f".{name}", request, most

    for name, schema in properties(body_schema(route)).items():
        yield field(name, lambda size: pattern * size)
        for nested in properties(schema.get("items", schema) if "anyOf" not in schema else schema):
            yield field(name, lambda size, nested=nested: [{nested: pattern * size}])
        yield field(name, lambda size: [pattern] * (size // 1000))
    yield field("surprise", lambda size: pattern * size)
    yield field(pattern * 1000, lambda size: pattern * size)


async def failures_of(chat: Chat, route: tuple[str, str], patterns: list[str], sizes: int = 1) -> list[str]:
    failures = []
    for pattern in patterns:
        await chat.renew_data()
        inputs = list(grown_addresses(chat, route, pattern))
        if body_schema(route):
            inputs += grown_bodies(chat, route, pattern)
        for name, grown, most in inputs:
            if why := await check(chat, grown, most, sizes=sizes):
                failures.append(f"{route} {name}, {pattern!r}: {why}")
    return failures


@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_cost_of_a_request_grows_no_faster_than_its_input(chat_of, route):
    assert not await failures_of(chat_of(route), route, PATTERNS[:1])


@pytest.mark.long
@pytest.mark.parametrize("route", ROUTES, ids=" ".join)
async def test_cost_of_a_request_grows_no_faster_than_any_input(chat_of, route):
    assert not await failures_of(chat_of(route), route, PATTERNS, sizes=3)


# The routes that read what is stored, each with the query that reads most.
READING = {
    ("GET", "/state"): "conversation={id}",
    ("GET", "/conversations"): "limit=200",
    ("GET", "/search"): "q=nowhere+to+be+found",
    ("GET", "/conversations/{id}/events"): "",
    ("GET", "/conversations/{id}/messages"): "before={last}",
    ("POST", "/export/{id}.json"): "",
    ("POST", "/export/{id}.md"): "",
}


class Stored:
    """Conversations of growing size, one for each size."""

    def __init__(self, chat: Chat, content: Callable[[int], list[str]]) -> None:
        self._chat = chat
        self._content = content
        self._made: dict[int, tuple[str, str]] = {}

    async def make(self, size: int) -> None:
        if size in self._made:
            return
        conversation = Conversation(id=new_id(), title="Stored", created_ms=1_000, updated_ms=1_000)
        messages, before = [], ""
        for number, text in enumerate(self._content(size)):
            role = Role.ASSISTANT if number % 2 else Role.USER
            message = Message(
                id=new_id(), turn_id="t", role=role, content=text, created_ms=1_000 + number, follows=before
            )
            messages.append(replace(message, status=MessageStatus.COMPLETE))
            before = message.id
        await self._chat.app.state.services.store.create(LOCAL.id, conversation, *messages)
        self._made[size] = conversation.id, before

    def request(self, route: tuple[str, str], size: int) -> Request:
        method, path = route
        conversation, last = self._made[size]
        query = READING[route].format(id=conversation, last=last)
        return self._chat.request(method, path.format(id=conversation), query, {} if method == "POST" else None)

    async def forget(self) -> None:
        for conversation, _ in self._made.values():
            await self._chat.app.state.services.store.delete(LOCAL.id, conversation)


@contextlib.asynccontextmanager
async def stored(chat: Chat, content: Callable[[int], list[str]], sizes: list[int]):
    conversations = Stored(chat, content)
    for size in sizes:
        await conversations.make(size)
    try:
        yield conversations
    finally:
        await conversations.forget()


async def reading_failures(chat: Chat, content: Callable[[int], list[str]], most: int, name: str) -> list[str]:
    """Return the routes whose cost grows faster than what they read."""
    failures = []
    async with stored(chat, content, [most // GROWTH, most]) as conversations:
        for route in READING:
            why = await check(chat, lambda size, route=route: conversations.request(route, size), most)
            if why:
                failures.append(f"{route}, {name}: {why}")
    return failures


@pytest.mark.parametrize("pattern", [*SHORT_PATTERNS, *(pytest.param(p, marks=pytest.mark.long) for p in PATTERNS[4:])])
async def test_cost_of_reading_grows_no_faster_than_the_text(chat, pattern):
    def content(size: int) -> list[str]:
        return ["Hi", pattern * (size // len(pattern))]

    assert not await reading_failures(chat, content, STORED_CHARS, repr(pattern))


async def test_cost_of_reading_grows_no_faster_than_the_number_of_messages(chat):
    assert not await reading_failures(chat, lambda size: ["Hi there"] * size, STORED_MESSAGES, "messages")


async def test_quadratic_cost_is_found(chat):
    """The measure itself: a route that takes quadratic time fails it, and one that takes linear time does not."""

    async def cost(self, request):
        size = int(request.query.removeprefix("size="))
        before = time.process_time()
        for _ in range(size * size // 4_000 if "quadratic" in request.path else size):
            pass
        return time.process_time() - before

    def grown(name: str) -> Callable[[int], Request]:
        return lambda size: chat.request("GET", f"/{name}", f"size={size}")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Chat, "cost", cost)
        assert "takes" in await check(chat, grown("quadratic"), 400_000)
        assert not await check(chat, grown("linear"), 4_000_000)
