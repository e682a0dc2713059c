"""What Gradio serves of the page, and what it does not."""

import itertools
import json
import re

import aiohttp
import httpx
import pytest

from chatapp.app import create_app
from chatapp.ui.gradio_allowlist import OPEN, Doors


def config(html):
    """Return what Gradio's page is told of itself."""
    return json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", html, re.DOTALL)[1])


async def test_forged_forwarding_headers_change_nothing(chat_url):
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"}
    async with aiohttp.ClientSession() as http, http.get(chat_url, headers=forged) as response:
        html = await response.text()
    assert "evil" not in html
    assert config(html)["root"] == chat_url


async def test_behind_a_proxy_the_address_is_the_setting(serve, settings):
    behind = settings.model_copy(update={"root_url": "https://chat.example.org"})
    async with serve(behind, with_page=True) as url, aiohttp.ClientSession() as http, http.get(url) as response:
        assert config(await response.text())["root"] == "https://chat.example.org"
        assert "Secure" in response.headers["set-cookie"]


async def test_streams_must_not_be_buffered_or_cached(page, chat_url):
    conversation = await page.send("Hi", model="gemma")
    async with page._http.get(f"{chat_url}/conversations/{conversation}/events") as stream:
        assert stream.headers["x-accel-buffering"] == "no"
        assert "no-cache" in stream.headers["cache-control"]


def _routes(routes):
    for route in routes:
        yield from _routes(getattr(getattr(route, "original_router", route), "routes", None) or [])
        if hasattr(route, "path"):
            yield route


async def test_of_gradios_own_addresses_only_what_the_page_asks_for_is_open(settings):
    app = await create_app(settings)
    doors = app.routes[-1].app
    assert isinstance(doors, Doors)
    open_to, closed = set(), 0
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(doors), base_url="http://localhost") as http,
    ):
        for route in _routes(doors.app.routes):
            path = re.sub(r"\{[^}]*\}", "x", route.path)
            for method, address in itertools.product(route.methods or (), (path, f"/gradio_api{path}")):
                response = await http.request(method, address)
                # A response to HEAD has no words.
                is_closed = response.status_code == 404 and (method == "HEAD" or "nothing at" in response.text)
                closed += is_closed
                open_to |= set() if is_closed else {f"{method} {address}"}
    assert closed > 40
    assert open_to == {"GET /", "HEAD /", "GET /theme.css", "GET /assets/x"}


@pytest.mark.parametrize(
    "path",
    [
        "/config",
        "/gradio_api/upload",
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/heartbeat/x",
        "/gradio_api/queue/data?session_hash=x",
        "/gradio_api/info",
        "/static/js/iframeResizer.contentWindow.min.js",
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "/assets/a/b",
        "//config",
        "/theme.css/",
        "/monitoring",
        "/docs",
        "/openapi.json",
    ],
)
async def test_other_addresses_are_closed_in_words(chat_url, path):
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}{path}") as response:
        assert response.status == 404
        assert "There is nothing at this address." in await response.text()


async def test_gradio_sees_no_query(chat_url):
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}/?deep_link=nothing&view=api") as response:
        assert config(await response.text())["deep_link_state"] == "none"


@pytest.mark.parametrize(
    "path", ["/assets/", "/assets", "/config", "/assets/x/y", "/assets/x%2fy", "/\n", "/theme.css\n"]
)
def test_the_pattern_is_of_whole_addresses(path):
    assert not OPEN.fullmatch(path)
