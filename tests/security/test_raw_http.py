"""Invalid HTTP gets a valid error or no response, and smuggles no second request."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.security.raw_http import exchange
from tests.serving import NO_LIMITS_ENVIRONMENT, running_chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

CLOSE = b"Connection: close\r\n"
HOST = b"Host: localhost\r\n"
SAME_ORIGIN = b"Sec-Fetch-Site: same-origin\r\n"
JSON = b"Content-Type: application/json\r\n"
# The request that an attacker hides in another one; a 404 for it means that the server read it as a request.
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    (folder / "secret.txt").write_text("TOP SECRET")
    async with running_chat(
        folder, CHAT_IDENTITY="anonymous", CHAT_EMBEDDED_MODEL="false", CHAT_LOG_FORMAT="json", **NO_LIMITS_ENVIRONMENT
    ) as running:
        yield running
    assert not [line[:3000] for line in running.output.splitlines() if "Traceback" in line or "handler_failed" in line]


def get(target, extra=b""):
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + SAME_ORIGIN + CLOSE + extra + b"\r\n"


def post(head, body=b""):
    return b"POST /conversations/x/stop HTTP/1.1\r\n" + HOST + SAME_ORIGIN + JSON + head + b"\r\n" + body


async def responses_to(chat, sent, seconds=2):
    responses = await exchange(chat.port, sent, seconds=seconds)
    for response in responses:
        assert response.status < 500 or response.status == 501, (sent[:200], response)
        assert not response.leaks, (sent[:200], response)
        assert b"TOP SECRET" not in response.body
        assert b"root:" not in response.body
    return responses


INVALID_HTTP = {
    "an empty request": b"\r\n\r\n",
    "all byte values": bytes(range(256)) * 8,
    "a TLS handshake": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 500,
    "an HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP 0.9": b"GET /\r\n\r\n",
    "a future version": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
    "no version": b"GET /state\r\n" + HOST + b"\r\n",
    "no method": b" / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method with a space": b"GE T / HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target with a space": b"GET /st ate HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    "bare line feeds": b"GET /state HTTP/1.1\nHost: localhost\nConnection: close\n\n",
    "bare carriage returns": b"GET /state HTTP/1.1\rHost: localhost\r\r",
    "a header without a colon": get(b"/healthz", b"nothing here\r\n"),
    "a header without a name": get(b"/healthz", b": value\r\n"),
    "a header's name with a space": get(b"/healthz", b"X Y: value\r\n"),
    "a folded header": get(b"/healthz", b"X: a\r\n b\r\n"),
    "a NUL in a header": get(b"/healthz", b"X: a\0b\r\n"),
    "a NUL in the target": get(b"/stat\0e"),
    "non-ASCII characters in the target": get("/שלום".encode()),
    "a fragment": get(b"/healthz#frag"),
    "no host": b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"\r\n",
    "two hosts": get(b"/healthz", b"Host: evil.example\r\n"),
    "an endless line": b"GET /" + b"a" * 300_000,
    "an endless header": get(b"/healthz", b"X: " + b"a" * 300_000 + b"\r\n"),
    "20,000 headers": get(b"/healthz", b"".join(b"X-%d: y\r\n" % n for n in range(20_000))),
    "a proxy's request": get(b"http://evil.example/state"),
    "a tunnel": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    "an expectation": post(CLOSE + b"Expect: 200-maybe\r\nContent-Length: 2\r\n", b"{}"),
    "an upgrade to HTTP/2": get(b"/healthz", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
}


@pytest.mark.parametrize("sent", INVALID_HTTP.values(), ids=INVALID_HTTP)
async def test_invalid_http_is_rejected_or_ignored(chat, sent):
    for response in await responses_to(chat, sent):
        assert response.status in {200, 204, 307, 400, 401, 403, 404, 405, 413, 414, 417, 421, 422, 426, 431, 501, 505}


LENGTHS = {
    "a negative length": b"Content-Length: -1\r\n",
    "a length in words": b"Content-Length: two\r\n",
    "a length with a sign": b"Content-Length: +2\r\n",
    "a huge length": b"Content-Length: 99999999999999999999999\r\n",
    "a length in hex": b"Content-Length: 0x2\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 40\r\n",
    "a list of lengths": b"Content-Length: 2, 40\r\n",
    "an unknown coding": b"Transfer-Encoding: nonsense\r\n",
}


@pytest.mark.parametrize("head", LENGTHS.values(), ids=LENGTHS)
async def test_invalid_content_length_smuggles_no_request(chat, head):
    responses = await responses_to(chat, post(head, b"{}" + SMUGGLED))
    assert len([response for response in responses if response.status == 404]) <= 1, responses
    assert responses == [] or responses[-1].status in {400, 404, 501}


CHUNKS = {
    "length and chunks": (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "an unknown coding and a length": (
        b"Transfer-Encoding: xchunked\r\nContent-Length: 7\r\n",
        b"2\r\n{}\r\n0\r\n\r\n",
    ),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "a space before the colon": (b"Transfer-Encoding : chunked\r\nContent-Length: 7\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "a tab before the coding": (b"Transfer-Encoding:\tchunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "an invalid chunk size": (b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
    "a negative chunk size": (b"Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n"),
    "a huge chunk size": (b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "a chunk extension": (b"Transfer-Encoding: chunked\r\n", b"2;a=" + b"b" * 20_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than its size": (b"Transfer-Encoding: chunked\r\n", b"1\r\n{}{}{}\r\n0\r\n\r\n"),
    "a chunk without an end": (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}0\r\n\r\n"),
    "5,000 trailers": (
        b"Transfer-Encoding: chunked\r\n",
        b"2\r\n{}\r\n0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
    ),
}


@pytest.mark.parametrize(("head", "body"), CHUNKS.values(), ids=CHUNKS)
async def test_conflicting_body_lengths_smuggle_no_request(chat, head, body):
    responses = await responses_to(chat, post(head, body + SMUGGLED))
    # Either the first request is rejected, or both get responses in order; never the smuggled one alone or first.
    first, *later = responses or [None]
    assert len(later) <= 1, responses
    if later:
        # Both are 404: the conversation of the first does not exist either, which the API reports as JSON.
        assert b"does not exist" in first.body, responses


async def test_pipelined_requests_are_answered_in_order_and_invalid_bytes_after_them_rejected(chat):
    many = b"".join(b"GET /nowhere/%d HTTP/1.1\r\n" % n + HOST + b"\r\n" for n in range(50))
    sent = many + b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n" + bytes(range(200)) + SMUGGLED
    responses = await responses_to(chat, sent, seconds=60)
    assert [response.status for response in responses[:51]] == [404] * 50 + [200]
    assert [response.status for response in responses[51:]] in ([], [400])


ABOVE = ("..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "..%c0%af", "%c0%ae%c0%ae", "....//", "..;", "\\..", "%00..")
ROOTS = ("/page/0/", "/page/../", "/static/", "/assets/", "/svelte/", "/gradio_api/file=", "/gradio_api/file/", "/c/")
TARGETS = ("etc/passwd", "secret.txt", "data/session-secret", "data/chat.db", "chatapp/app.py", "proc/self/environ")


@pytest.mark.parametrize("root", [*ROOTS, "/", "//", "/export/", "/conversations/", "/gradio_api/proxy="])
async def test_path_traversal_reads_no_file(chat, root):
    secret = (chat.folder / "data/session-secret").read_bytes()
    targets = [f"{root}/{target}" for target in ("/etc/passwd", str(chat.folder / "secret.txt"), "file:///etc/passwd")]
    targets += [root + f"{above}/" * 8 + target for above in ABOVE for target in TARGETS]
    for target in targets:
        for response in await responses_to(chat, get(target.encode())):
            assert secret not in response.body, target
            assert b"SQLite format" not in response.body, target
            assert response.status in {200, 307, 400, 401, 403, 404, 405}, (target, response)
            assert response.status != 200 or b"text/html" in response.head, (target, response)


@pytest.mark.parametrize("path", ["/page/0/{}", "/assets/{}", "/static/{}", "/svelte/{}", "/c/{}", "/export/{}.json"])
@pytest.mark.parametrize("name", ["a" * 300, "a" * 6000, "%00", "%ff", "%", "%zz", "a/" * 500, "%e2%80%ae", "con", " "])
async def test_odd_file_name_is_no_server_error(chat, path, name):
    await responses_to(chat, get(path.format(name.replace(" ", "%20")).encode()))
