"""Requests as no page makes them, by hypothesis and by the thousand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import hypothesis.strategies as st

from tests.security.doors import OWN, SIGN_IN, TABLE
from tests.security.raw_http import request

if TYPE_CHECKING:
    from random import Random

NAMES = [
    *("text", "images", "model", "temperature", "top_p", "max_tokens", "system_prompt", "persona", "question", "retry"),
    *(
        "after",
        "follows",
        "allowFallback",
        "compareWith",
        "temporary",
        "message",
        "answer",
        "title",
        "pinned",
        "archived",
    ),
    *("archived", "branch", "feedback", "personas", "parameters", "revision", "id", "name", "instructions"),
    *("data", "conversation", "cursor", "limit", "q", "before", "confirm", "next", "state", "code", "error"),
]
ODD_TEXTS = [
    *("", "gemma", "up", "/", "//", "..", "%00", "\0", "\ud800", "\r\nset-cookie: a=b", "x" * 6000, "שלום", "\u202e"),
    *("null", "true", "-1", "1e400", "9" * 400, "' OR 1=1 --", "{{7*7}}", "${7*7}", "<script>", "a" * 32, "%s%n"),
]
# Nine of ten are the chat's own; Gradio's, most of which are closed, would else be most of all.
DOORS = [*sorted(OWN | SIGN_IN) * 20, *sorted(TABLE)]
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X" * 40]
HEADER_NAMES = [
    *("content-type", "accept", "accept-encoding", "accept-language", "cookie", "origin", "referer", "range"),
    *("sec-fetch-site", "authorization", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "if-none-match"),
    *("x-goog-iap-jwt-assertion", "x-goog-authenticated-user-email", "upgrade", "te", "forwarded", "host"),
    *("x-gradio-server", "x-gradio-user", "x-http-method-override", "priority", "sec-websocket-key"),
]
HEADER_VALUES = [
    *("application/json", "application/json; charset=x-nothing", "multipart/form-data; boundary=x", "text/html", "*/*"),
    *("gzip;q=x, br;;q=", "bytes=0-,-1,9-1", "same-origin", "cross-site", "null", "http://localhost", "websocket"),
    *("Bearer a.b.c", "Basic !", "eyJhbGciOiJub25lIn0.e30.", "chat_user=x", "chat_session=x; chat_flow="),
    *("a=b; c; =; ;;", "for=1;by=_;", "\x80\xff", "x" * 3000, "-1", "chunked", "q" * 10, ""),
]

TEXTS = st.sampled_from(ODD_TEXTS) | st.text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(NAMES), some, max_size=4),
    max_leaves=8,
)
QUESTION = {"text": "Hi", "model": "gemma", "temperature": 0.9, "top_p": 0.95, "max_tokens": 100, "system_prompt": ""}
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6)
BODIES = (
    (OBJECTS | OBJECTS.map(lambda changes: QUESTION | changes) | VALUES).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
    | st.sampled_from([b"{", b"[" * 5000, b"\xff\xfe{}", b'{"a":' * 2000, b'{"text": "\\ud800"}', b"a=b&c=%zz"])
)
CONTENT_TYPES = st.sampled_from(["application/json"] * 4 + ["application/x-www-form-urlencoded", "text/plain", ""])


@st.composite
def requests(draw: st.DrawFn, ids: list[str]) -> bytes:
    """Draw the bytes of a request to an address that is there, or nearly; half of the ids are the sender's own."""
    some = st.sampled_from(ids) | TEXTS
    method, path = door = draw(st.sampled_from(DOORS))
    path = _filled(path, lambda: draw(some))
    if draw(st.integers(0, 4)) == 0:
        path = draw(st.sampled_from(["/" + path, path + "/", path + "/..", path.upper(), path + "%", path[:-1] or "/"]))
    query = draw(st.dictionaries(st.sampled_from(_parameters(door)), TEXTS, max_size=3))
    method = draw(st.sampled_from([method] * 9 + METHODS))
    body = draw(st.just(b"") | BODIES)
    headers = [("content-type", draw(CONTENT_TYPES)), ("sec-fetch-site", "same-origin")]
    extra = st.tuples(st.sampled_from(HEADER_NAMES), st.sampled_from(HEADER_VALUES) | st.text(max_size=20))
    headers += [(name, _line(value)) for name, value in draw(st.lists(extra, max_size=3))]
    return request(method, _target(path, query), headers, body)


def any_request(random: Random, ids: list[str]) -> bytes:
    """Return one of as many requests as anybody wants, soon."""
    method, path = door = random.choice(DOORS)
    path = _filled(path, lambda: random.choice(ids) if random.random() < 0.5 else _odd(random))
    query = {random.choice(_parameters(door)): _odd(random) for _ in range(random.randrange(3))}
    method = random.choice(METHODS) if random.random() < 0.1 else method
    body = random.choice([b"", _json(random), random.randbytes(random.randrange(2000))])
    headers = [("sec-fetch-site", "same-origin"), ("content-type", "application/json")]
    headers += [(random.choice(HEADER_NAMES), _line(random.choice(HEADER_VALUES))) for _ in range(random.randrange(3))]
    return request(method, _target(path, query), headers, body)


def _parameters(door: tuple[str, str]) -> list[str]:
    """Return names of query parameters, of which the address's own are half."""
    own = [pair.partition("=")[0] for pair in TABLE[door].query.split("&") if pair]
    return NAMES + own * (len(NAMES) // len(own)) if own else NAMES


def _odd(random: Random) -> str:
    return random.choice(ODD_TEXTS) if random.random() < 0.5 else "".join(map(chr, random.choices(range(1, 900), k=9)))


def _json(random: Random) -> bytes:
    odd: list[Any] = [None, True, -1, 1e308, [], {}, [[]], {"id": 1}, *ODD_TEXTS]
    asked = {random.choice(NAMES): random.choice(odd) for _ in range(random.randrange(6))}
    return json.dumps(QUESTION | asked if random.random() < 0.5 else asked).encode()


def _filled(path: str, value: Any) -> str:
    pieces = path.replace("{", "\0{").split("\0")
    filled = [
        quote(value(), safe="", errors="surrogatepass") + piece.partition("}")[2] if piece.startswith("{") else piece
        for piece in pieces
    ]
    return "".join(filled)


def _target(path: str, query: dict[str, str]) -> str:
    asked = "&".join(f"{name}={quote(value, safe='', errors='surrogatepass')}" for name, value in query.items())
    return f"{path}?{asked}" if asked else path


def _line(text: str) -> bytes:
    """Return a header's value, which has no line end: those are for the tests of raw requests."""
    return text.encode("latin-1", "replace").translate(None, b"\r\n\0")
