"""The page's HTML and files, as a browser gets them."""

import gzip
import re
from html.parser import HTMLParser

import aiohttp
import brotli
import pytest

from chatapp.http import assets as page_files


class _Head(HTMLParser):
    def __init__(self):
        super().__init__()
        self.base, self.files, self.metas = [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "base":
            self.base.append(attributes["href"])
        if tag in {"script", "link"}:
            self.files += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "meta":
            self.metas.append(attributes)


async def _get(url, **headers):
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.get(url, headers={"accept-encoding": "identity", **headers}) as response,
    ):
        return response, await response.read()


@pytest.mark.slow
@pytest.mark.parametrize(("path", "up"), [("/", "./"), ("/c/0123456789abcdef0123456789abcdef", "../")])
async def test_the_page_is_the_same_at_its_root_and_at_a_conversations_address(chat_url, path, up):
    response, content = await _get(f"{chat_url}{path}")
    head = _Head()
    head.feed(content.decode())
    assert response.status == 200
    assert int(response.headers["content-length"]) == len(content)
    assert head.base[0] == up
    assert f"page/{page_files.version()}/js/main.js" in head.files


async def test_what_can_be_no_conversation_has_no_page(chat_url):
    for path in ("/c/", "/c/a/b", "/c/<script>", "/c/" + "a" * 200, "/c/..%2f..%2fetc"):
        response, _ = await _get(f"{chat_url}{path}")
        assert response.status in {404, 307}, path


async def test_the_page_names_no_other_site(chat_url):
    _, content = await _get(f"{chat_url}/")
    head = _Head()
    head.feed(content.decode())
    assert not [name for name in head.files if re.match("(?:https?:)?//", name)]
    assert not [meta for meta in head.metas if "://" in meta.get("content", "")]


async def test_files_are_kept_for_good_under_the_name_of_their_version(chat_url):
    response, content = await _get(f"{chat_url}/page/{page_files.version()}/page.css", **{"accept-encoding": "gzip"})
    assert "immutable" in response.headers["cache-control"]
    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(content) == page_files.contents()["page.css"]
    response, content = await _get(
        f"{chat_url}/page/{page_files.version()}/page.css", **{"accept-encoding": "gzip, br"}
    )
    assert response.headers["content-encoding"] == "br"
    assert brotli.decompress(content) == page_files.contents()["page.css"]
    response, content = await _get(f"{chat_url}/page/an-older-one/page.css", **{"accept-encoding": "identity"})
    assert response.headers["cache-control"] == "no-store"
    assert content == page_files.contents()["page.css"]


async def test_nothing_but_the_pages_files_is_served(chat_url):
    for path in ("nothing.js", "../page.py", "js/../../page.py", "%2e%2e/page.py", ""):
        response, content = await _get(f"{chat_url}/page/{page_files.version()}/{path}")
        assert response.status == 404, path
        assert b"import" not in content, path


async def test_scripts_are_served_as_scripts(chat_url):
    response, _ = await _get(f"{chat_url}/page/{page_files.version()}/js/main.js")
    assert response.headers["content-type"].startswith("text/javascript")


async def test_streams_must_not_be_buffered_or_cached(page, chat_url):
    conversation = await page.send("Hi", model="gemma")
    async with page._http.get(f"{chat_url}/conversations/{conversation}/events") as stream:
        assert stream.headers["x-accel-buffering"] == "no"
        assert "no-cache" in stream.headers["cache-control"]
