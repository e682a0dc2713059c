"""Connections to the chat: how long each may keep it waiting, and how many there may be.

uvicorn waits for a request, and for whoever reads a response, without an end: some hundreds of connections that send a
byte now and then (slow loris) would use up all that a process may have.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol

from chatapp.domain.sentences import Sentence, as_json
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from starlette.types import Receive, Scope, Send

MOST_CONNECTIONS = 4_096
SPARE_CONNECTIONS = 256  # beyond the bound, so that there is somebody who is told that there is no room
REFUSALS_LOGGED_SECONDS = 60.0

log = structlog.get_logger(__name__)


class BoundedProtocol(H11Protocol):
    """One connection.

    What waits longest for a request, or sends its head, is closed where there would be too many: nobody misses it, as
    browsers and load balancers open another.

    Attributes:
        most_connections: how many there may be at once.
        head_seconds: from a request's first byte to the end of its head.
        body_seconds: what its body may take in any case.
        body_bytes_per_second: the least that a body comes at beyond that.
        reader_seconds: how long whoever gets a response may take nothing of it.
        unread_bytes: what may come of a body that was refused, so that who sends it gets to read that.
    """

    most_connections = MOST_CONNECTIONS
    head_seconds = 20.0
    body_seconds = 30.0
    body_bytes_per_second = 8_000  # a slow phone's, and less
    reader_seconds = 60.0
    unread_bytes = 16_000_000

    _logged_at = -REFUSALS_LOGGED_SECONDS
    _timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _phase: object = None
    _phase_began = 0.0
    _body_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn's own
        """Take the connection in if there is room, or room can be made."""
        super().connection_made(transport)
        self._phase_began = self.loop.time()
        # A browser opens some before it needs them; uvicorn would let them be for good.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if len(self.connections) > self.most_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of it."""
        self._unset_keepalive_if_required()
        self._set_timer(None)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take in a part of a request, and see how long the rest may take."""
        if self.conn.their_state is h11.SEND_BODY:
            self._body_bytes += len(data)
            if self._body_bytes > self.unread_bytes and self.cycle.response_complete:
                self.transport.abort()
                return
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """Go on to the next request, of which something may be there."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """Wait for the reader, but not without an end."""
        super().pause_writing()
        if self._reader_timer is None:
            self._reader_timer = self.loop.call_later(self.reader_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on: the reader took something."""
        super().resume_writing()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _should_upgrade(self) -> bool:
        return False  # nothing here talks over a websocket; uvicorn would log whoever asks for one

    def _look(self) -> None:
        """See what the connection is waiting for, and until when."""
        if self.transport.is_closing():
            self._set_timer(None)
            return
        phase: object = self.conn.their_state
        if phase is h11.IDLE and not self.conn.trailing_data[0]:
            phase = None  # between two requests
        if phase is self._phase:
            return
        self._phase, self._phase_began, self._body_bytes = phase, self.loop.time(), 0
        if phase is h11.IDLE:
            self._set_timer(self.head_seconds, self._too_slow)
        elif phase is h11.SEND_BODY:
            self._set_timer(self.body_seconds, self._look_at_body)
        else:
            self._set_timer(None)

    def _look_at_body(self) -> None:
        """Close the connection if the body comes too slowly; what the chat itself has not taken yet does not count."""
        due = self._phase_began + self.body_seconds + self._body_bytes / self.body_bytes_per_second - self.loop.time()
        if due > 0 or self.flow.read_paused:
            self._set_timer(max(due, 1.0), self._look_at_body)
        else:
            self._too_slow()

    def _too_slow(self) -> None:
        """Close the connection, with words where no response has begun."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE} or self.transport.is_closing():
            self.transport.abort()
            return
        if self.cycle is not None and not self.cycle.response_complete:  # the app waits for the rest
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        sentence = Sentence("The request took too long to arrive. Check your connection and try again.")
        body = json.dumps({"error": as_json(sentence)}).encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=408, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _set_timer(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then) if seconds is not None and then is not None else None

    def _make_room(self) -> None:
        """Close the connection that has waited longest; if all are at work, say on this one that there is no room."""
        waiting = (one for one in self.connections if isinstance(one, BoundedProtocol) and one.is_waiting)
        longest = min(waiting, key=lambda one: one._phase_began, default=self)  # noqa: SLF001  # its own kind
        self._log_refusal(at_work=longest is self)
        if longest is not self:
            longest.transport.abort()
            self.connections.discard(longest)  # now, and not only when the loop comes round
        elif len(self.connections) > self.most_connections + SPARE_CONNECTIONS:
            self.transport.abort()
        else:
            self.app = _no_room

    @property
    def is_waiting(self) -> bool:
        """Whether no request is being answered on it, and none is whole."""
        return self.conn.their_state is h11.IDLE and not self.transport.is_closing()

    def _log_refusal(self, *, at_work: bool) -> None:
        if (now := time.monotonic()) - BoundedProtocol._logged_at >= REFUSALS_LOGGED_SECONDS:
            BoundedProtocol._logged_at = now
            log.warning("too_many_connections", most=self.most_connections, all_at_work=at_work)


async def _no_room(scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(scope, 503, Sentence("The chat has too many connections. Try again in a moment."))
    response.headers["connection"] = "close"
    await response(scope, receive, send)


def bounded(most_connections: int) -> type[BoundedProtocol]:
    """Return the protocol with this bound."""
    return type("Bounded", (BoundedProtocol,), {"most_connections": most_connections})
