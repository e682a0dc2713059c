"""The response that sends events of a conversation: server-sent events.

Not through Gradio's queue, where each update of each page costs four times as much and the whole conversation goes
through every one of them (figures: docs/decisions.md). Nor with FastAPI's own ``EventSourceResponse``: it sends the
status before the first event, so that no error could have one, and takes two tasks and two queues for each stream.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Self

from fastapi.responses import StreamingResponse

from chatapp.http.api.schemas.events import ErrorEvent
from chatapp.http.errors import sentence_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from starlette.types import Receive, Scope, Send

    from chatapp.http.api.schemas.base import ResponseBody

_PING = b": nothing new\n\n"


class EventStream(StreamingResponse):
    """A response that sends events, and closes their generator even if its body is never read.

    Args:
        events: in order; None shows that the connection is alive.
        first: events that are sent before those.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[ResponseBody | None], first: Sequence[ResponseBody | None] = ()) -> None:
        super().__init__(_lines(events, first))
        self._events = events

    @classmethod
    async def start(cls, events: AsyncGenerator[ResponseBody | None], *before: ResponseBody) -> Self:
        """Return the response after the first event, so that an error before it has a status of its own.

        Events ``before`` that one say that the request was carried out. They are sent at once: an error after them is
        an event, because a status of its own would say that nothing was done.
        """
        return cls(events, before or (await anext(events),))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        async with aclosing(self._events):  # the client may leave before the body is read at all
            await super().__call__(scope, receive, send)


async def _lines(
    events: AsyncGenerator[ResponseBody | None], first: Sequence[ResponseBody | None]
) -> AsyncIterator[bytes]:
    for event in first:
        yield _line(event)
    try:
        async for event in events:
            yield _line(event)
    except Exception as error:  # noqa: BLE001  # the status is sent already: the error can only be an event
        yield _line(ErrorEvent(error=sentence_of(error)))


def _line(event: ResponseBody | None) -> bytes:
    return _PING if event is None else b"data: %b\n\n" % event.model_dump_json().encode()
