"""Every request gets an answer in words, whatever the app or its end raises, and no traceback of the server."""

import asyncio
import json

import pytest

from chatapp.domain.errors import StoreUnavailable
from chatapp.http.middleware.error_boundary import ErrorBoundaryMiddleware

NAVIGATION = [(b"sec-fetch-mode", b"navigate"), (b"accept", b"text/html")]


async def ask(app, *, closing=False, headers=()):
    """Return the messages of a response."""
    sent, event = [], asyncio.Event()
    if closing:
        event.set()

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"}

    scope = {"type": "http", "method": "GET", "path": "/", "headers": list(headers), "query_string": b""}
    await ErrorBoundaryMiddleware(app, closing=event, root_url="")(scope, receive, send)
    return sent


def raising(error, *, content_type=b""):
    """Return an app that raises, before its response or in the middle of it."""

    async def app(_scope, _receive, send):
        if content_type:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
            await send({"type": "http.response.body", "body": b"first", "more_body": True})
        raise error

    return app


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (StoreUnavailable("The history is away."), 503, "The history is away."),
        (RuntimeError("hunter2"), 500, "An internal error occurred."),
        (asyncio.CancelledError(), 503, "The chat is restarting."),  # of something that the request waits for
    ],
)
async def test_an_error_of_any_layer_is_answered_in_words(error, status, words):
    start, body = await ask(raising(error))
    assert start["status"] == status
    text = json.loads(body["body"])["error"]["text"]
    assert text.startswith(words)
    assert "hunter2" not in text
    # A cancelled request may have stored its message: the page retries it with the same id.
    is_unknown = (b"x-request-outcome", b"unknown") in start["headers"]
    assert is_unknown == isinstance(error, asyncio.CancelledError)


async def test_a_browser_gets_a_page():
    start, body = await ask(raising(StoreUnavailable("The history is away.")), headers=NAVIGATION)
    assert start["status"] == 503
    assert b"<html" in body["body"]
    assert b"The history is away." in body["body"]


@pytest.mark.parametrize("error", [RuntimeError(), asyncio.CancelledError()])
async def test_a_stream_that_has_begun_ends_properly(error):
    sent = await ask(raising(error, content_type=b"text/event-stream; charset=utf-8"))
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_file_that_has_begun_is_not_passed_off_as_complete():
    sent = await ask(raising(RuntimeError(), content_type=b"application/zip"))
    assert [message.get("more_body") for message in sent] == [None, True]


@pytest.mark.parametrize("closing", [False, True])
async def test_a_request_that_is_cancelled_is_answered_during_shutdown_alone(closing):
    async def app(*_):
        await asyncio.Event().wait()

    request = asyncio.create_task(ask(app, closing=closing))
    await asyncio.sleep(0)
    request.cancel()
    if closing:
        assert (await request)[0]["status"] == 503
    else:
        with pytest.raises(asyncio.CancelledError):
            await request
