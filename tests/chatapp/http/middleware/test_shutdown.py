"""Streams end on shutdown; a message being accepted gets its response first."""

import asyncio

from chatapp.http.middleware.shutdown import StreamShutdownMiddleware


async def ask(path, app, closing):
    """Return the messages of a response to a request for ``path``."""
    sent = []

    async def send(message):
        sent.append(message)

    await StreamShutdownMiddleware(app, closing)({"type": "http", "path": path}, None, send)
    return sent


def streaming(before_start=0.0):
    async def app(_scope, _receive, send):
        await asyncio.sleep(before_start)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await asyncio.Event().wait()

    return app


async def test_endless_stream_is_ended_properly():
    closing = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, closing.set)
    async with asyncio.timeout(60):
        sent = await ask("/conversations/x/events", streaming(), closing)
    assert [message.get("body") for message in sent] == [None, b"first", b""]
    assert sent[-1]["more_body"] is False


async def test_message_being_accepted_gets_its_response_first():
    closing = asyncio.Event()
    closing.set()
    async with asyncio.timeout(60):
        sent = await ask("/conversations", streaming(before_start=0.05), closing)
    assert sent[0]["type"] == "http.response.start"
    assert sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_other_responses_are_left_alone():
    async def app(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"all"})

    closing = asyncio.Event()
    closing.set()
    assert len(await ask("/state", app, closing)) == 2


async def test_what_the_app_sends_after_its_request_was_cancelled_is_dropped():
    running, sent, ended = asyncio.Event(), [], asyncio.Event()

    async def app(_scope, _receive, send):
        try:
            running.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await send({"type": "http.response.start", "status": 503, "headers": []})
            ended.set()

    async def send(message):
        sent.append(message)

    respond = StreamShutdownMiddleware(app, asyncio.Event())
    request = asyncio.create_task(respond({"type": "http", "path": "/conversations"}, None, send))
    async with asyncio.timeout(60):
        await running.wait()
        request.cancel()
        await asyncio.wait({request})
        await ended.wait()
    assert sent == []
