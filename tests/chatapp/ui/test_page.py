"""What Gradio serves of the page, and what it does not."""

import json

import aiohttp


async def test_forged_forwarding_headers_change_nothing(chat_url):
    forged = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/evil"}
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}/config", headers=forged) as response:
        assert "evil" not in await response.text()
        assert json.loads(await response.text())["root"] == chat_url


async def test_behind_a_proxy_the_address_is_the_setting(serve, settings):
    behind = settings.model_copy(update={"root_url": "https://chat.example.org"})
    async with serve(behind) as url, aiohttp.ClientSession() as http, http.get(f"{url}/config") as response:
        assert (await response.json())["root"] == "https://chat.example.org"
        assert "Secure" in response.headers["set-cookie"]


async def test_streams_must_not_be_buffered_or_cached(chat_url):
    async with aiohttp.ClientSession() as http:
        parameters = {"session_hash": "nobody"}
        async with http.get(f"{chat_url}/gradio_api/queue/data", params=parameters) as stream:
            assert stream.headers["x-accel-buffering"] == "no"
            assert "no-cache" in stream.headers["cache-control"]


async def test_what_the_chat_does_not_need_is_closed(chat_url):
    async with aiohttp.ClientSession() as http:
        for path in ("/monitoring", "/monitoring/summary", "/docs", "/redoc", "/gradio_api/runs"):
            async with http.get(f"{chat_url}{path}") as response:
                assert response.status in {403, 404}, path


async def test_no_handler_is_offered_as_a_public_api(chat_url):
    async with aiohttp.ClientSession() as http, http.get(f"{chat_url}/gradio_api/info") as response:
        assert await response.json() == {"named_endpoints": {}, "unnamed_endpoints": {}}
