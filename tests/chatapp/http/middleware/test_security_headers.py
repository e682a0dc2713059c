"""The headers of every response, and what the page's security policy lets run."""

import re

import aiohttp
import brotli
import pytest

from chatapp.http import assets as page_files
from chatapp.http.middleware.security_headers import policy
from chatapp.ui.document import completed, hashes

EXPECTED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


def directives(headers):
    parts = (part.split() for part in headers["content-security-policy"].split(";"))
    return {name: set(sources) for name, *sources in parts}


@pytest.mark.parametrize("path", ["/", "/state", "/healthz", "/nothing", "/export/nothing.json"])
async def test_every_response_has_the_headers(page, chat_url, path):
    async with page._http.get(chat_url + path) as response:
        assert EXPECTED.items() <= {name.lower(): value for name, value in response.headers.items()}.items()
        assert "camera=()" in response.headers["permissions-policy"]
        found = directives(response.headers)
    assert (found["default-src"], found["connect-src"], found["frame-ancestors"]) == (
        {"'none'"},
        {"'self'"},
        {"'none'"},
    )
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "data:", "blob:"} & found["script-src"]


async def test_a_script_a_style_sheet_and_a_font_have_what_counts_for_them(page, chat_url):
    version = page_files.version()
    for path in (f"/page/{version}/js/main.js", f"/page/{version}/page.css", "/theme.css"):
        async with page._http.get(chat_url + path) as response:
            assert response.status == 200
            found = {name.lower(): value for name, value in response.headers.items()}
        assert found["x-content-type-options"] == "nosniff"
        assert found["cross-origin-resource-policy"] == "same-origin"
        assert "content-security-policy" not in found
    async with page._http.get(f"{chat_url}/page/{version}/icon.svg") as response:  # which can be opened as a page
        assert "default-src 'none'" in response.headers["content-security-policy"]


async def test_refusals_have_them_too(chat_url):
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{chat_url}/conversations") as refused:
            assert (refused.status, refused.headers["x-content-type-options"]) == (403, "nosniff")
        async with http.get(chat_url, headers={"host": "a b"}) as refused:
            assert (refused.status, refused.headers["x-content-type-options"]) == (400, "nosniff")


async def test_what_is_somebodys_own_is_kept_nowhere_on_the_way(page, chat_url):
    for path in ("/", "/state", "/conversations", "/models"):
        async with page._http.get(chat_url + path) as response:
            assert response.headers["cache-control"] == "no-store", path


async def test_browsers_are_told_to_come_by_https_where_people_do(serve, settings):
    behind = settings.model_copy(update={"root_url": "https://chat.example.org"})
    async with serve(behind) as url, aiohttp.ClientSession() as http, http.get(url) as response:
        assert response.headers["strict-transport-security"] == "max-age=31536000"


async def test_and_not_where_they_do_not(chat_url):
    async with aiohttp.ClientSession() as http, http.get(chat_url) as response:
        assert "strict-transport-security" not in response.headers


async def test_the_pages_own_scripts_may_run_and_no_others(chat_url):
    async with aiohttp.ClientSession() as http, http.get(chat_url) as response:
        html = await response.text()
        allowed = directives(response.headers)["script-src"]
    assert allowed == {"'self'", *hashes(html)}
    inline = re.findall(r"<script(?![^>]*src)", html)
    assert len(inline) == len(hashes(html)) > 2
    assert not re.search(r"\son\w+\s*=", re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL))
    assert "iframeResizer.contentWindow" not in html
    assert "manifest" not in html


def test_a_hash_is_of_what_stands_between_the_tags():
    html = "<script>alert(1)</script><script type=module src=x></script><script data-x>\nlet a\n</script>"
    first, second = hashes(html)
    # echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64
    assert first == "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    assert second != first


def test_only_what_frames_and_describes_the_page_is_left_out():
    html = "<head><script>a</script><script>b/iframeResizer.contentWindow.min.js</script><script>c</script></head>"
    found = completed(html)
    assert "iframeResizer" not in found
    assert "<script>a</script><script>c</script>" in found


async def test_the_page_is_zipped_for_who_takes_that(chat_url):
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        async with http.get(chat_url, headers={"accept-encoding": "gzip, br"}) as response:
            zipped = await response.read()
            assert (response.headers["content-encoding"], "accept-encoding" in response.headers["vary"]) == ("br", True)
        async with http.get(chat_url, headers={"accept-encoding": "identity"}) as response:
            assert brotli.decompress(zipped) == await response.read()
            assert "content-encoding" not in response.headers
    assert len(zipped) < 15_000


def test_a_policy_names_what_is_added_to_it():
    assert "script-src 'self' 'sha256-x';" in policy(scripts=("'sha256-x'",))
    assert "style-src 'self';" in policy()
