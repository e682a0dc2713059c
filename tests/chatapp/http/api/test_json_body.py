"""JSON bodies are bounded in depth and number of values before any object is built, in linear time."""

import contextlib
import json
import time

import aiohttp
import pytest

from chatapp.http.api.json_body import MAX_DEPTH, MAX_TOKENS, TooComplex, parse
from tests.page_client import PARAMETERS, SAME_ORIGIN

HEADERS = {**SAME_ORIGIN, "content-type": "application/json"}


@pytest.mark.parametrize(
    "value",
    [
        {"text": "a, [b] {c}", "quote": 'she said "[[[[[[[[[[" \\', "n": [1, -2.5e3, True, None]},
        '\\"[',
        "שלום 🏴‍☠️ \ud83d",
        [[[[[[[[]]]]]]]],
        7,
        "x" * 200_000,
        ["[" * 10_000],
    ],
)
def test_json_is_parsed_as_by_the_standard_library(value):
    for text in (json.dumps(value), json.dumps(value, indent=2)):
        assert parse(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "body", [b"", b"{", b'"', b'"\\', b'{"a": "\\"', b"[1,]", b"\xff", b"[}", b'"a" "b"', b"\xef\xbb\xbf{}"]
)
def test_what_is_not_json_is_a_value_error(body):
    with pytest.raises(ValueError):  # noqa: PT011  # of any of the decoders
        parse(body)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_only_utf_8_is_json(encoding):
    with pytest.raises(ValueError):  # noqa: PT011  # of any of the decoders
        parse(json.dumps({"a": [1]}).encode(encoding))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1),
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b"[" + b"{}," * MAX_TOKENS + b"{}]",
        b"[" + b"1," * MAX_TOKENS + b"1]",
        b"{" + b",".join(b'"%d":1' % number for number in range(MAX_TOKENS)) + b"}",
        b"[" * 1_000_000,
    ],
)
def test_json_that_is_too_complex_is_refused(body):
    with pytest.raises(TooComplex):
        parse(body)


HOSTILE = {
    "strings that never end": lambda size: b'"' + b'\\"' * (size // 2),
    "strings that never end, with a last backslash": lambda size: b'"' + b'\\"' * (size // 2) + b"\\",
    "quotes": lambda size: b'"' * size,
    "backslashes": lambda size: b"\\" * size,
    "a string of backslashes": lambda size: b'"' + b"\\" * size,
    "spaces": lambda size: b" " * size,
    "digits": lambda size: b"9" * size,
    "a long fraction": lambda size: b"0." + b"3" * size,
    "escaped characters": lambda size: b'"' + b"\\u05d0" * (size // 6) + b'"',
    "half surrogates": lambda size: b'"' + b"\\ud800" * (size // 6) + b'"',
    "empty objects": lambda size: b"[" + b"{}," * (size // 3),
    "colons": lambda size: b":" * size,
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_parsing_takes_linear_time(hostile):
    def seconds(size):
        body, best = hostile(size), float("inf")
        for _ in range(3):
            before = time.process_time()
            with contextlib.suppress(ValueError):
                parse(body)
            best = min(best, time.process_time() - before)
        return best

    # Sixteen times as much would take 256 times as long in quadratic time.
    assert seconds(800_000) < 60 * max(seconds(50_000), 0.0005)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "conversations", {"text": "Hi", "model": "gemma", **PARAMETERS}),
        ("POST", "conversations/x/turns", {"text": "Hi", "model": "gemma", **PARAMETERS}),
        ("POST", "conversations/x/answers", {"question": "x", "model": "gemma"}),
        ("POST", "conversations/x/continuations", {"message": "x", "model": "gemma"}),
        ("POST", "conversations/x/stop", {}),
        ("POST", "conversations/x/restore", {}),
        ("PATCH", "conversations/x", {"title": "x"}),
        ("PUT", "conversations/x/messages/y/feedback", {"feedback": "up"}),
        ("PUT", "profile", {"personas": [], "allowFallback": True, "revision": 1}),
        ("POST", "export/everything.json", {}),
        ("POST", "export/x.md", {}),
    ],
)
async def test_unknown_keys_are_refused_on_every_route(shared_chat_url, method, path, body):
    async with aiohttp.ClientSession() as http:
        for sent in (body | {"surprise": 1}, body | {"surprise": {"a": [1]}}):
            async with http.request(method, f"{shared_chat_url}/{path}", json=sent, headers=HEADERS) as response:
                assert (response.status, "invalid request" in await response.text()) == (422, True)


@pytest.mark.parametrize("path", ["conversations", "conversations/x/turns", "profile", "conversations/x/stop"])
async def test_millions_of_values_are_refused(shared_chat_url, path):
    method = "PUT" if path == "profile" else "POST"
    body = b'{"images": [' + b"{}," * 300_000 + b"{}]}"
    async with (
        aiohttp.ClientSession() as http,
        http.request(method, f"{shared_chat_url}/{path}", data=body, headers=HEADERS) as response,
    ):
        assert (response.status, "invalid request" in await response.text()) == (422, True)
