"""Generates malformed requests: by hypothesis, and by a fast random generator."""

from __future__ import annotations

import functools
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import hypothesis.strategies as st

from tests.any_text import any_text
from tests.api_schema import query_parameters, request_fields
from tests.security.authorization_matrix import API_ROUTES, GRADIO_ROUTES, OTHER_ROUTES
from tests.security.raw_http import request

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

ODD_TEXTS = [
    *("", "gemma", "up", "/", "//", "..", "%00", "\0", "\ud800", "\r\nset-cookie: a=b", "x" * 6000, "שלום", "\u202e"),
    *("null", "true", "-1", "1e400", "9" * 400, "' OR 1=1 --", "{{7*7}}", "${7*7}", "<script>", "a" * 32, "%s%n"),
]
# The chat's own routes 20 times as often as Gradio's.
ROUTES = [*sorted(API_ROUTES.keys() | OTHER_ROUTES.keys()) * 20, *sorted(GRADIO_ROUTES)]
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


@functools.cache
def names() -> list[str]:
    """Return the names of fields of the API, and of the sign-in pages, which its schema leaves out.

    Not when a module is imported: the schema takes a second of CPU, in each process that collects tests.
    """
    return sorted(request_fields() | {"code", "error", "next", "state"})


NAMES = st.deferred(lambda: st.sampled_from(names()))
TEXTS = st.sampled_from(ODD_TEXTS) | any_text(max_size=40)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=4),
    max_leaves=8,
)
QUESTION = {"text": "Hi", "model": "gemma", "temperature": 0.9, "top_p": 0.95, "max_tokens": 100, "system_prompt": ""}
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=6)
BODIES = (
    (OBJECTS | OBJECTS.map(lambda changes: QUESTION | changes) | VALUES).map(lambda value: json.dumps(value).encode())
    | st.binary(max_size=60)
    | st.sampled_from([b"{", b"[" * 5000, b"\xff\xfe{}", b'{"a":' * 2000, b'{"text": "\\ud800"}', b"a=b&c=%zz"])
)
CONTENT_TYPES = st.sampled_from(["application/json"] * 4 + ["application/x-www-form-urlencoded", "text/plain", ""])


@st.composite
def requests(draw: st.DrawFn, ids: list[str]) -> bytes:
    """Draw the bytes of a request to a route, or to an address close to one; half of the ids are valid."""
    parameters = st.sampled_from(ids) | TEXTS
    method, path = route = draw(st.sampled_from(ROUTES))
    path = _fill(path, lambda: draw(parameters))
    if draw(st.integers(0, 4)) == 0:
        path = draw(st.sampled_from(["/" + path, path + "/", path + "/..", path.upper(), path + "%", path[:-1] or "/"]))
    query = draw(st.dictionaries(st.sampled_from(_query_names(route)), TEXTS, max_size=3))
    method = draw(st.sampled_from([method] * 9 + METHODS))
    body = draw(st.just(b"") | BODIES)
    headers = [("content-type", draw(CONTENT_TYPES)), ("sec-fetch-site", "same-origin")]
    extra = st.tuples(st.sampled_from(HEADER_NAMES), st.sampled_from(HEADER_VALUES) | any_text(max_size=20))
    headers += [(name, _header_value(value)) for name, value in draw(st.lists(extra, max_size=3))]
    return request(method, _target(path, query), headers, body)


def random_request(random: Random, ids: list[str]) -> bytes:
    """Return the bytes of a request, in microseconds instead of the milliseconds of `requests`."""
    method, path = route = random.choice(ROUTES)
    path = _fill(path, lambda: random.choice(ids) if random.random() < 0.5 else _odd_text(random))
    query = {random.choice(_query_names(route)): _odd_text(random) for _ in range(random.randrange(3))}
    method = random.choice(METHODS) if random.random() < 0.1 else method
    body = random.choice([b"", _json(random), random.randbytes(random.randrange(2000))])
    headers = [("sec-fetch-site", "same-origin"), ("content-type", "application/json")]
    headers += [
        (random.choice(HEADER_NAMES), _header_value(random.choice(HEADER_VALUES))) for _ in range(random.randrange(3))
    ]
    return request(method, _target(path, query), headers, body)


def _query_names(route: tuple[str, str]) -> list[str]:
    """Return names of query parameters; half of them are the route's own."""
    own = query_parameters(*route)
    if route in OTHER_ROUTES:
        own = re.findall(r"(\w+)=", OTHER_ROUTES[route].query)
    return names() + own * (len(names()) // len(own)) if own else names()


def _odd_text(random: Random) -> str:
    return random.choice(ODD_TEXTS) if random.random() < 0.5 else "".join(map(chr, random.choices(range(1, 900), k=9)))


def _json(random: Random) -> bytes:
    odd: list[Any] = [None, True, -1, 1e308, [], {}, [[]], {"id": 1}, *ODD_TEXTS]
    fields = {random.choice(names()): random.choice(odd) for _ in range(random.randrange(6))}
    return json.dumps(QUESTION | fields if random.random() < 0.5 else fields).encode()


def _fill(path: str, parameter: Callable[[], str]) -> str:
    return re.sub(r"{[^}]*}", lambda _: quote(parameter(), safe="", errors="surrogatepass"), path)


def _target(path: str, query: dict[str, str]) -> str:
    encoded = "&".join(f"{name}={quote(value, safe='', errors='surrogatepass')}" for name, value in query.items())
    return f"{path}?{encoded}" if encoded else path


def _header_value(text: str) -> bytes:
    """Return the text as a header value without line ends: `test_raw_http` has those."""
    return text.encode("latin-1", "replace").translate(None, b"\r\n\0")
