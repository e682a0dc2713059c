"""What is no HTTP, or nearly, gets an answer that is, or none; and never what belongs to another request."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.security.conftest import NO_LIMITS
from tests.security.raw_http import exchange
from tests.serving import running_chat

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]

CLOSE = b"Connection: close\r\n"
HOST = b"Host: localhost\r\n"
OWN_PAGE = b"Sec-Fetch-Site: same-origin\r\n"
JSON = b"Content-Type: application/json\r\n"
# The request that a smuggler hides in another one: whoever is answered 404 for this has been taken in.
HIDDEN = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chat(tmp_path_factory):
    limits = {f"CHAT_{name.upper()}": str(value) for name, value in NO_LIMITS.items()}
    folder = tmp_path_factory.mktemp("chat")
    (folder / "secret.txt").write_text("TOP SECRET")
    async with running_chat(
        folder, CHAT_IDENTITY="anonymous", CHAT_EMBEDDED_MODEL="false", CHAT_LOG_FORMAT="json", **limits
    ) as running:
        yield running
    assert not [line[:3000] for line in running.output.splitlines() if "Traceback" in line or "handler_failed" in line]


def get(target, extra=b""):
    return b"GET " + target + b" HTTP/1.1\r\n" + HOST + OWN_PAGE + CLOSE + extra + b"\r\n"


def post(head, body=b""):
    return b"POST /conversations/x/stop HTTP/1.1\r\n" + HOST + OWN_PAGE + JSON + head + b"\r\n" + body


async def answers(chat, sent, seconds=2):
    responses = await exchange(chat.port, sent, seconds=seconds)
    for response in responses:
        assert response.status < 500 or response.status == 501, (sent[:200], response)
        assert not response.leaks, (sent[:200], response)
        assert b"TOP SECRET" not in response.body
        assert b"root:" not in response.body
    return responses


NO_HTTP = {
    "nothing": b"\r\n\r\n",
    "noise": bytes(range(256)) * 8,
    "a handshake of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x5a" * 500,
    "a preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP 0.9": b"GET /\r\n\r\n",
    "a version to come": b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
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
    "letters beyond ASCII in the target": get("/שלום".encode()),
    "a fragment": get(b"/healthz#frag"),
    "no host": b"GET /healthz HTTP/1.1\r\n" + CLOSE + b"\r\n",
    "two hosts": get(b"/healthz", b"Host: evil.example\r\n"),
    "an endless line": b"GET /" + b"a" * 300_000,
    "an endless header": get(b"/healthz", b"X: " + b"a" * 300_000 + b"\r\n"),
    "headers by the thousand": get(b"/healthz", b"".join(b"X-%d: y\r\n" % n for n in range(20_000))),
    "a proxy's request": get(b"http://evil.example/state"),
    "a tunnel": b"CONNECT 169.254.169.254:80 HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    "a star": b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n",
    "an expectation": post(CLOSE + b"Expect: 200-maybe\r\nContent-Length: 2\r\n", b"{}"),
    "an upgrade to HTTP/2": get(b"/healthz", b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
}


@pytest.mark.parametrize("sent", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_is_refused_or_ignored(chat, sent):
    for response in await answers(chat, sent):
        assert response.status in {200, 204, 307, 400, 401, 403, 404, 405, 413, 414, 417, 421, 422, 426, 431, 501, 505}


LENGTHS = {
    "a negative length": b"Content-Length: -1\r\n",
    "a length of words": b"Content-Length: two\r\n",
    "a length with a sign": b"Content-Length: +2\r\n",
    "a length beyond numbers": b"Content-Length: 99999999999999999999999\r\n",
    "a length in hex": b"Content-Length: 0x2\r\n",
    "two lengths": b"Content-Length: 2\r\nContent-Length: 40\r\n",
    "a list of lengths": b"Content-Length: 2, 40\r\n",
    "a coding nobody knows": b"Transfer-Encoding: nonsense\r\n",
}


@pytest.mark.parametrize("head", LENGTHS.values(), ids=LENGTHS)
async def test_a_length_that_is_none_hides_no_second_request(chat, head):
    responses = await answers(chat, post(head, b"{}" + HIDDEN))
    assert len([one for one in responses if one.status == 404]) <= 1, responses
    assert responses == [] or responses[-1].status in {400, 404, 501}


CHUNKS = {
    "length and chunks": (b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks and length": (b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks, hidden": (b"Transfer-Encoding: xchunked\r\nContent-Length: 7\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks, twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks behind a space": (b"Transfer-Encoding : chunked\r\nContent-Length: 7\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "chunks behind a tab": (b"Transfer-Encoding:\tchunked\r\n", b"2\r\n{}\r\n0\r\n\r\n"),
    "a size that is none": (b"Transfer-Encoding: chunked\r\n", b"zz\r\n{}\r\n0\r\n\r\n"),
    "a size below nothing": (b"Transfer-Encoding: chunked\r\n", b"-2\r\n{}\r\n0\r\n\r\n"),
    "a size beyond numbers": (b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffffff\r\n{}\r\n0\r\n\r\n"),
    "a size with an extension": (b"Transfer-Encoding: chunked\r\n", b"2;a=" + b"b" * 20_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than it says": (b"Transfer-Encoding: chunked\r\n", b"1\r\n{}{}{}\r\n0\r\n\r\n"),
    "no end of a chunk": (b"Transfer-Encoding: chunked\r\n", b"2\r\n{}0\r\n\r\n"),
    "trailers by the thousand": (
        b"Transfer-Encoding: chunked\r\n",
        b"2\r\n{}\r\n0\r\n" + b"".join(b"X-%d: y\r\n" % n for n in range(5000)) + b"\r\n",
    ),
}


@pytest.mark.parametrize(("head", "body"), CHUNKS.values(), ids=CHUNKS)
async def test_of_two_ways_to_say_where_a_request_ends_none_hides_a_second_request(chat, head, body):
    responses = await answers(chat, post(head, body + HIDDEN))
    # One request was refused, or it and the next one were answered one by one: never the hidden one alone or first.
    first, *later = responses or [None]
    assert len(later) <= 1, responses
    if later:
        # Both say 404: the conversation of the first does not exist either, which it says in JSON of our own.
        assert b"does not exist" in first.body, responses


async def test_requests_one_behind_the_other_are_answered_in_order_and_then_noise_is_refused(chat):
    many = b"".join(b"GET /nowhere/%d HTTP/1.1\r\n" % n + HOST + b"\r\n" for n in range(50))
    sent = many + b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n" + bytes(range(200)) + HIDDEN
    responses = await answers(chat, sent, seconds=60)
    assert [one.status for one in responses[:51]] == [404] * 50 + [200]
    assert [one.status for one in responses[51:]] in ([], [400])


ABOVE = ("..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "..%c0%af", "%c0%ae%c0%ae", "....//", "..;", "\\..", "%00..")
ROOTS = ("/page/0/", "/page/../", "/static/", "/assets/", "/svelte/", "/gradio_api/file=", "/gradio_api/file/", "/c/")
TARGETS = ("etc/passwd", "secret.txt", "data/session-secret", "data/chat.db", "chatapp/app.py", "proc/self/environ")


@pytest.mark.parametrize("root", [*ROOTS, "/", "//", "/export/", "/conversations/", "/gradio_api/proxy="])
async def test_no_path_leads_out_of_its_folder(chat, root):
    secret = (chat.folder / "data/session-secret").read_bytes()
    tried = [f"{root}/{target}" for target in ("/etc/passwd", str(chat.folder / "secret.txt"), "file:///etc/passwd")]
    tried += [root + f"{above}/" * 8 + target for above in ABOVE for target in TARGETS]
    for target in tried:
        for response in await answers(chat, get(target.encode())):
            assert secret not in response.body, target
            assert b"SQLite format" not in response.body, target
            assert response.status in {200, 307, 400, 401, 403, 404, 405}, (target, response)
            assert response.status != 200 or b"text/html" in response.head, (target, response)


@pytest.mark.parametrize("path", ["/page/0/{}", "/assets/{}", "/static/{}", "/svelte/{}", "/c/{}", "/export/{}.json"])
@pytest.mark.parametrize("name", ["a" * 300, "a" * 6000, "%00", "%ff", "%", "%zz", "a/" * 500, "%e2%80%ae", "con", " "])
async def test_no_name_of_a_file_is_a_failure(chat, path, name):
    await answers(chat, get(path.format(name.replace(" ", "%20")).encode()))
