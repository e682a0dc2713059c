"""Bounds on the size of requests, on the memory of their bodies together, and on open streams."""

import asyncio
import contextlib
import http.client
import itertools
import json
from urllib.parse import urlsplit

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from chatapp.auth import USER_KEY, User
from chatapp.config.settings import Settings
from chatapp.domain.errors import TooLong
from chatapp.http.middleware.limits import (
    MAX_HEAD_BYTES,
    SMALL_BYTES,
    BodyMemoryMiddleware,
    RequestSizeMiddleware,
    StreamLimitMiddleware,
)
from chatapp.http.request_rules import BodyLimits
from tests.page_client import SAME_ORIGIN

SMALL = BodyLimits(json=1000, file=5000)


async def reading(scope, receive, send):
    await PlainTextResponse(f"{len(await Request(scope, receive).body())} bytes")(scope, receive, send)


def client(app):
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat")


async def pieces(count, size=100):
    for _ in range(count):
        yield b"x" * size


async def test_body_up_to_the_limit_is_accepted():
    async with client(RequestSizeMiddleware(reading, limits=SMALL)) as http:
        assert (await http.post("/", content=b"x" * 1000)).text == "1000 bytes"
        assert (await http.post("/", content=pieces(10))).text == "1000 bytes"


async def test_longer_body_is_refused_before_it_is_read():
    read = []

    async def app(scope, receive, send):
        read.append(True)
        await reading(scope, receive, send)

    async with client(RequestSizeMiddleware(app, limits=SMALL)) as http:
        refused = await http.post("/", content=b"x" * 1001)
        assert (refused.status_code, refused.json()["error"]["text"]) == (413, str(TooLong()))
        assert read == []
        refused = await http.post("/", content=pieces(11))  # which nobody announced
        assert (refused.status_code, refused.json()["error"]["text"]) == (413, str(TooLong()))


async def test_only_an_upload_may_have_the_size_of_an_image():
    async with client(RequestSizeMiddleware(reading, limits=SMALL)) as http:
        for path, status in (("/images", 200), ("/conversations", 413), ("/conversations/x/turns", 413), ("/x", 413)):
            assert (await http.post(path, content=b"x" * 4000)).status_code == status
        for content in (b"x" * 5001, pieces(51)):
            refused = await http.post("/images", content=content)
            assert refused.status_code == 413
            assert "An image can be at most 10 MB. Scale it down" in refused.json()["error"]["text"]


@pytest.mark.parametrize("length", ["-1", "1e3", "x", "", "9" * 30, "9" * 6000])
async def test_invalid_content_length_is_refused(length):
    async with client(RequestSizeMiddleware(reading, limits=SMALL)) as http:
        assert (await http.post("/", headers={"content-length": length})).status_code == 413


async def test_head_is_bounded():
    async with client(RequestSizeMiddleware(reading, limits=SMALL)) as http:
        assert (await http.get("/", headers={"cookie": "x" * 16_000})).status_code == 200
        for request in ({"headers": {"cookie": "x" * MAX_HEAD_BYTES}}, {"params": {"q": "x" * MAX_HEAD_BYTES}}):
            refused = await http.get("/", **request)
            assert refused.status_code == 431
            assert "too long" in refused.json()["error"]["text"]


@pytest.mark.parametrize("announced", [{"content-length": "70000000"}, {}], ids=["announced", "not announced"])
@pytest.mark.parametrize("path", ["/conversations", "/profile", "/nothing"])
async def test_limits_apply_to_all_routes_of_the_chat(chat_url, path, announced):
    headers = {**SAME_ORIGIN, "content-type": "application/json", **announced}

    def answered():
        with contextlib.closing(http.client.HTTPConnection(urlsplit(chat_url).netloc)) as connection:
            with contextlib.suppress(ConnectionError):  # the chat did not wait for the rest
                connection.request("POST", path, itertools.repeat(b" " * 1_000_000, 70), headers)
                return connection.getresponse().status
            return None

    assert await asyncio.to_thread(answered) in {413, None}


class Streams:
    """An app whose streams end when they are told to."""

    def __init__(self, **bounds):
        self.end = asyncio.Event()
        self._begun = 0
        self.app = StreamLimitMiddleware(self._stream, **bounds)

    async def _stream(self, scope, receive, send):
        self._begun += 1
        await self.end.wait()
        await PlainTextResponse("done")(scope, receive, send)

    async def are_open(self, count):
        async with asyncio.timeout(60):
            while self._begun < count:
                await asyncio.sleep(0.01)

    def ask(self, user, path="/conversations/x/events", **request):
        async def app(scope, receive, send):
            await self.app(scope | {USER_KEY: User(id=user, kind="local")}, receive, send)

        async def asked():
            async with client(app) as http:
                return await http.request("POST", path, **request)

        return asyncio.create_task(asked())


async def test_streams_per_user_are_bounded():
    streams = Streams(per_user=3)
    mine = [streams.ask("ana") for _ in range(3)]
    await streams.are_open(3)
    refused = await streams.ask("ana")
    assert refused.status_code == 429
    assert "Close some of this chat's tabs" in refused.json()["error"]["text"]
    theirs = streams.ask("ben")
    mine[0].cancel()  # a tab that is closed
    await asyncio.wait({mine[0]})
    again = streams.ask("ana")
    streams.end.set()
    assert [response.status_code for response in await asyncio.gather(*mine[1:], theirs, again)] == [200] * 4
    assert streams.app._open == {}


async def test_streams_in_total_are_bounded():
    streams = Streams(per_user=2, in_total=3)
    opened = [streams.ask(user) for user in ("ana", "ana", "ben")]
    await streams.are_open(3)
    refused = await streams.ask("cleo")
    assert refused.status_code == 503
    assert "too many open answers" in json.loads(refused.content)["error"]["text"]
    elsewhere = streams.ask("cleo", "/state")  # what is no stream is answered
    streams.end.set()
    assert (await elsewhere).status_code == 200
    await asyncio.gather(*opened)


class Bodies:
    """An app that reads bodies and responds when it is told to."""

    def __init__(self, **limits):
        self.read = self._begun = 0
        self.end = asyncio.Event()
        self.app = BodyMemoryMiddleware(self._read, limits=BodyLimits(**limits))

    async def _read(self, scope, receive, send):
        body = await Request(scope, receive).body()
        self.read += 1
        await self.end.wait()
        await PlainTextResponse(f"{len(body)} bytes")(scope, receive, send)

    def post(self, user, size):
        async def app(scope, receive, send):
            await self.app(scope | {USER_KEY: User(id=user, kind="local")}, receive, send)

        async def posted():
            async with client(app) as http:
                return await http.post("/profile", content=b"x" * size)

        return asyncio.create_task(posted())

    async def have_read(self, count):
        async with asyncio.timeout(60):
            while self.read < count:
                await asyncio.sleep(0.01)

    async def statuses(self, *tasks):
        self.end.set()
        return [response.status_code for response in await asyncio.gather(*tasks)]


async def test_bodies_of_one_user_together_are_bounded():
    bodies = Bodies(per_user=500_000)
    first = [bodies.post("ana", 300_000), bodies.post("ana", 300_000)]
    await bodies.have_read(2)
    refused = await bodies.post("ana", 300_000)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    assert "already sending several files" in refused.json()["error"]["text"]
    others = [bodies.post("ana", SMALL_BYTES), bodies.post("ben", 300_000)]
    await bodies.have_read(4)
    assert await bodies.statuses(*first, *others) == [200] * 4
    assert (bodies.app._held, bodies.app._total) == ({}, 0)


@pytest.mark.parametrize("megabytes", [1, 20, 50])
def test_the_largest_document_fits_into_what_one_user_may_send(megabytes):
    limits = BodyLimits.of(Settings(_env_file=None, document_megabytes=megabytes))
    assert limits.most("/documents") == megabytes * 1_000_000 < limits.per_user < limits.in_total
    assert limits.most("/images") == 10_000_000
    assert str(megabytes) in str(limits.too_large("/documents"))


async def test_bodies_of_all_users_together_are_bounded():
    bodies = Bodies(in_total=500_000)
    first = [bodies.post("ana", 300_000), bodies.post("ben", 300_000)]
    await bodies.have_read(2)
    refused = await bodies.post("cleo", 300_000)
    assert (refused.status_code, "receiving too much" in refused.json()["error"]["text"]) == (429, True)
    usual = bodies.post("cleo", SMALL_BYTES)  # a message as people write them
    await bodies.have_read(3)
    assert await bodies.statuses(*first, usual) == [200] * 3
    assert await bodies.statuses(bodies.post("cleo", 300_000)) == [200]
    assert (bodies.app._held, bodies.app._total) == ({}, 0)


async def test_body_counts_only_until_its_response_begins():
    answered, end = asyncio.Event(), asyncio.Event()

    async def app(scope, receive, send):
        await Request(scope, receive).body()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        answered.set()
        await end.wait()
        await send({"type": "http.response.body", "body": b""})

    bodies = Bodies(per_user=500_000)
    bodies.app._app = app
    first = bodies.post("ana", 500_000)
    await answered.wait()
    second = bodies.post("ana", 500_000)
    end.set()
    assert [(await one).status_code for one in (first, second)] == [200, 200]
