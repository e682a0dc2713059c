"""The response that streams events."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect

from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.http.api.event_stream import EventStream
from chatapp.http.api.schemas.events import EndEvent, TextDelta


class Events:
    """A generator of events that knows whether it was closed."""

    def __init__(self, *events):
        self.is_closed = False
        self.generator = self._generate(events)

    async def _generate(self, events):
        try:
            for event in events:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.is_closed = True


async def waiting():
    await asyncio.Event().wait()


async def lost(_message):
    raise OSError("connection lost")


async def body_of(response):
    sent = []

    async def send(message):
        sent.append(message.get("body", b""))

    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, waiting, send)
    return b"".join(sent)


async def test_events_are_sent_in_order_and_a_ping_for_none():
    events = Events(None, TextDelta(id="a", text="x\n"), EndEvent())
    response = await EventStream.start(events.generator, TextDelta(id="a", text="before"))
    assert await body_of(response) == (
        b'data: {"id":"a","text":"before"}\n\n: nothing new\n\ndata: {"id":"a","text":"x\\n"}\n\ndata: {"end":true}\n\n'
    )
    assert events.is_closed


async def test_a_request_that_was_carried_out_is_not_refused_because_its_first_event_fails():
    events = Events(StoreUnavailable(Sentence("The history cannot be read.")))
    response = await EventStream.start(events.generator, TextDelta(id="a", text="stored"))
    assert response.status_code == 200
    stored, failed = (await body_of(response)).decode().strip().split("\n\n")
    assert stored == 'data: {"id":"a","text":"stored"}'
    assert failed.startswith('data: {"error":')
    assert "The history cannot be read." in failed
    events = Events(StoreUnavailable(Sentence("The history cannot be read.")))
    with pytest.raises(StoreUnavailable):
        await EventStream.start(events.generator)


async def test_a_client_that_left_before_the_body_was_read_closes_the_generator():
    async def disconnected():
        return {"type": "http.disconnect"}

    async def never_sent(_message):
        await waiting()

    events = Events(EndEvent(), EndEvent())
    response = await EventStream.start(events.generator)
    await response({"type": "http", "asgi": {"spec_version": "2.3"}}, disconnected, never_sent)
    assert events.is_closed


async def test_a_connection_lost_at_the_first_byte_closes_the_generator():
    events = Events(EndEvent(), EndEvent())
    response = await EventStream.start(events.generator)
    with pytest.raises(ClientDisconnect):
        await response({"type": "http", "asgi": {"spec_version": "2.4"}}, waiting, lost)
    assert events.is_closed


async def test_an_error_before_the_first_event_is_raised_and_one_after_it_is_an_event():
    with pytest.raises(ConversationNotFound):
        await EventStream.start(Events(ConversationNotFound()).generator)
    error = ConversationNotFound()
    error.sentence = Sentence("Gone {where}.", where="away")
    body = await body_of(await EventStream.start(Events(EndEvent(), error).generator))
    assert body.endswith(
        b'data: {"error":{"text":"Gone away.","template":"Gone {where}.","values":{"where":{"text":"away"}}}}\n\n'
    )
