"""The security headers of every response, and what the page's policy allows."""

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


async def test_subresources_have_only_the_headers_that_apply_to_them(page, chat_url):
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


async def test_refusals_have_the_headers(chat_url):
    async with aiohttp.ClientSession() as http:
        async with http.post(f"{chat_url}/conversations") as refused:
            assert (refused.status, refused.headers["x-content-type-options"]) == (403, "nosniff")
        async with http.get(chat_url, headers={"host": "a b"}) as refused:
            assert (refused.status, refused.headers["x-content-type-options"]) == (400, "nosniff")


async def test_responses_with_user_data_are_not_cached(page, chat_url):
    for path in ("/", "/state", "/conversations", "/models"):
        async with page._http.get(chat_url + path) as response:
            assert response.headers["cache-control"] == "no-store", path


@pytest.mark.slow
async def test_hsts_is_sent_over_https(serve, settings):
    for subdomains, value in ((False, "max-age=31536000"), (True, "max-age=31536000; includeSubDomains")):
        behind = settings.model_copy(
            update={"root_url": "https://chat.example.org", "hsts_subdomains": subdomains, "embedded_model": False}
        )
        async with serve(behind) as url, aiohttp.ClientSession() as http, http.get(url) as response:
            assert response.headers["strict-transport-security"] == value


async def test_hsts_is_not_sent_over_http(chat_url):
    async with aiohttp.ClientSession() as http, http.get(chat_url) as response:
        assert "strict-transport-security" not in response.headers


async def test_only_the_pages_own_inline_scripts_may_run(chat_url):
    async with aiohttp.ClientSession() as http, http.get(chat_url) as response:
        html = await response.text()
        allowed = directives(response.headers)["script-src"]
    assert allowed == {"'self'", *hashes(html)}
    inline = re.findall(r"<script(?![^>]*src)", html)
    assert len(inline) == len(hashes(html)) > 2
    assert not re.search(r"\son\w+\s*=", re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL))
    assert "iframeResizer.contentWindow" not in html
    assert "manifest" not in html


def test_hash_covers_the_content_between_the_tags():
    html = "<script>alert(1)</script><script type=module src=x></script><script data-x>\nlet a\n</script>"
    first, second = hashes(html)
    # echo -n 'alert(1)' | openssl dgst -sha256 -binary | base64
    assert first == "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='"
    assert second != first


def test_only_framing_and_metadata_are_removed():
    html = "<head><script>a</script><script>b/iframeResizer.contentWindow.min.js</script><script>c</script></head>"
    found = completed(html)
    assert "iframeResizer" not in found
    assert "<script>a</script><script>c</script>" in found


async def test_page_is_compressed_if_the_client_accepts_it(chat_url):
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        async with http.get(chat_url, headers={"accept-encoding": "gzip, br"}) as response:
            zipped = await response.read()
            assert (response.headers["content-encoding"], "accept-encoding" in response.headers["vary"]) == ("br", True)
        async with http.get(chat_url, headers={"accept-encoding": "identity"}) as response:
            assert brotli.decompress(zipped) == await response.read()
            assert "content-encoding" not in response.headers
    assert len(zipped) < 15_000


def test_policy_names_its_additional_sources():
    assert "script-src 'self' 'sha256-x';" in policy(scripts=("'sha256-x'",))
    assert "style-src 'self';" in policy()
