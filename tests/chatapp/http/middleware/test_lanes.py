"""Requests run in the lanes of their routes: one user's searches do not hold up another user."""

import asyncio

import httpx
import pytest

from chatapp.app import create_app
from chatapp.auth import USER_KEY, User
from chatapp.http.middleware.lanes import LanesMiddleware
from chatapp.limits.lanes import Lane, LaneLimits, LaneName
from chatapp.store.sqlite.store import SQLiteStore
from tests.page_client import open_page
from tests.serving import serving


class Served:
    """An app behind lanes for one request at once; its responses have parts that are sent when they are told to."""

    def __init__(self):
        limits = LaneLimits(at_once=1, per_user=1, waiting_per_user=1)
        self.lanes = {name: Lane(name, limits) for name in LaneName}
        self.middleware = LanesMiddleware(self._app, lanes=self.lanes)
        self.working, self.go_on = [], asyncio.Event()

    async def _app(self, scope, receive, send):
        self.working.append(scope["path"])
        await self.go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    def request(self, path, method="GET", user="ana"):
        async def app(scope, receive, send):
            await self.middleware(scope | {USER_KEY: User(id=user, kind="local")}, receive, send)

        async def requested():
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://chat") as http:
                return await http.request(method, path)

        return asyncio.create_task(requested())

    async def works_on(self, *paths):
        async with asyncio.timeout(60):
            while sorted(self.working) != sorted(paths):
                await asyncio.sleep(0.01)


async def test_requests_of_different_lanes_run_beside_each_other():
    served = Served()
    one = "/conversations/x"
    paths = ["/search", "/state", f"{one}/events", f"{one}/images/y", f"{one}/documents/y"]
    tasks = [served.request(path) for path in paths]
    await served.works_on(*paths)
    waiting = served.request("/search", user="ben")
    other = served.request("/healthz")
    await served.works_on(*paths, "/healthz")
    second = served.request("/search")
    await asyncio.sleep(0.01)
    refused = await served.request("/search")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "2")
    served.go_on.set()
    assert {(await task).status_code for task in [*tasks, waiting, other, second]} == {200}
    assert all(lane.is_idle for lane in served.lanes.values())


async def test_a_change_has_no_lane_but_an_export_has_one():
    served = Served()
    tasks = [served.request("/profile", "PUT"), served.request("/profile", "PUT")]
    tasks += [served.request("/export/x.md", "POST"), served.request("/export/x.md", "POST")]
    await served.works_on("/profile", "/profile", "/export/x.md")
    served.go_on.set()
    assert {(await task).status_code for task in tasks} == {200}


async def test_an_export_has_a_place_while_it_works_and_none_while_the_client_reads():
    limits = LaneLimits(at_once=1, per_user=1, waiting_per_user=1)
    lane, states = Lane(LaneName.EXPORT, limits), []

    async def app(scope, receive, send):
        for message in (
            {"type": "http.response.start", "status": 200, "headers": []},
            {"type": "http.response.body", "body": b"a", "more_body": True},
            {"type": "http.response.body", "body": b"b"},
        ):
            states.append(("works", lane.is_idle))
            await send(message)

    async def send(_message):
        states.append(("sends", lane.is_idle))

    scope = {"type": "http", "method": "POST", "path": "/export/x.md", USER_KEY: User(id="ana", kind="local")}
    await LanesMiddleware(app, lanes={LaneName.EXPORT: lane})(scope, None, send)
    assert states == [("works", False), ("sends", True)] * 3
    assert lane.is_idle


@pytest.fixture
def limited(settings):
    return settings.model_copy(update={"searches_per_minute": 5, "exports_per_minute": 2})


@pytest.mark.slow
async def test_a_request_beyond_the_rate_is_refused_in_words(limited):
    async with serving(await create_app(limited, with_page=False)) as url, open_page(url) as page:
        for _ in range(5):
            await page.get("search", q="x")
        async with page._http.get(f"{url}/search?q=x") as response:
            assert (response.status, int(response.headers["retry-after"]) > 0) == (429, True)
            assert "You searched too often" in await response.text()
        for status in (200, 200, 429):
            async with page._http.post(f"{url}/export/everything.json", json={}) as response:
                assert response.status == status


@pytest.mark.slow
async def test_searches_of_one_user_leave_the_store_free_for_others(settings, monkeypatch):
    """120 searches at once: one runs, and as many wait as one user may have; all others are refused at once."""
    running = most = 0
    ended = asyncio.Event()

    async def slow(self, *_arguments, **_options):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await ended.wait()
        running -= 1
        return await search(self, *_arguments, **_options)

    search = SQLiteStore.search
    monkeypatch.setattr(SQLiteStore, "search", slow)
    unlimited = settings.model_copy(update={"searches_per_minute": 0})
    async with (
        serving(await create_app(unlimited, with_page=False)) as url,
        open_page(url) as page,
        open_page(url) as other,
    ):

        async def status():
            async with page._http.get(f"{url}/search?q=x") as response:
                return response.status

        searches = [asyncio.create_task(status()) for _ in range(120)]
        async with asyncio.timeout(60):
            while sum(task.done() for task in searches) < 115:
                await asyncio.sleep(0.01)
        theirs = asyncio.create_task(other.get("search", q="x"))
        assert await other.listed() == []
        async with asyncio.timeout(60):
            while running < 2:
                await asyncio.sleep(0.01)
        ended.set()
        statuses = [await task for task in searches]
        await theirs
    assert (statuses.count(200), statuses.count(429)) == (5, 115)
    assert most == 2
