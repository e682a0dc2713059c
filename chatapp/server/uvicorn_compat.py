"""The parts of uvicorn that are not public: its HTTP protocol with timeouts and a bound, and its server with hooks.

Written for uvicorn 0.54.0 and h11 0.16.0; tests/chatapp/server/test_uvicorn_compat.py names the attributes used.

`BoundedProtocol`: uvicorn has no timeout for receiving a request or sending a response, so some hundreds of connections
that send a byte now and then (slow loris) would use up the connections of a process. It can go when uvicorn has these
timeouts: https://github.com/encode/uvicorn/issues/157.

`_LingeringTransport`: uvicorn closes a connection while parts of a refused request are unread or on their way. The
system then resets the connection, and the client may lose the response. RFC 9112, section 9.6, asks for a half-close.

`Server`: uvicorn has no hook between the signal and the end of connections, and sends the signal again after a clean
end, which shows as a traceback or an error status. It can go when uvicorn offers both:
https://github.com/encode/uvicorn/issues/1579.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from typing import TYPE_CHECKING, Any, cast

import h11
import structlog
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from chatapp.domain.sentences import Sentence, as_json
from chatapp.http.errors import error_response

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from starlette.types import Receive, Scope, Send

SPARE_CONNECTIONS = 256  # beyond the bound, to answer 503 on
REFUSAL_LOG_SECONDS = 60.0

log = structlog.get_logger(__name__)


class BoundedProtocol(H11Protocol):
    """One connection, with timeouts.

    If there are too many connections, the one that has waited longest for a request, or for the head of one, is closed:
    browsers and load balancers simply open another.

    Attributes:
        max_connections: the bound on open connections.
        head_seconds: timeout from the first byte of a request to the end of its head.
        body_seconds: timeout of a body, whatever its size.
        body_bytes_per_second: the slowest transfer of a body after that.
        reader_seconds: how long a client may read nothing of its response.
        unread_bytes: how much of a refused body is received, so that the client gets to read the refusal.
        linger_seconds: for how long it is received after the response, on a connection that is being closed.
    """

    max_connections = 4_096
    head_seconds = 20.0
    body_seconds = 30.0
    body_bytes_per_second = 8_000  # less than a slow phone's
    reader_seconds = 60.0
    unread_bytes = 16_000_000
    linger_seconds = 2.0

    _logged_at = -REFUSAL_LOG_SECONDS
    _timer: asyncio.TimerHandle | None = None
    _reader_timer: asyncio.TimerHandle | None = None
    _phase: object = None
    _phase_began = 0.0
    _body_bytes = 0
    _is_lingering = False
    _is_lost = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Accept the connection if there is room, or room can be made."""
        super().connection_made(cast("asyncio.Transport", _LingeringTransport(transport, self._linger)))
        self._phase_began = self.loop.time()
        # Browsers open spare connections in advance; uvicorn has a timeout only after the first request.
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        if len(self.connections) > self.max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timers."""
        self._is_lost = True
        self._unset_keepalive_if_required()
        self._set_timer(None)
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive a part of a request, and set the timer for the rest."""
        if self._is_lingering:
            self._body_bytes += len(data)
            if self._body_bytes > self.unread_bytes:
                self.transport.abort()
            return
        if self.conn.their_state is h11.SEND_BODY:
            self._body_bytes += len(data)
            if self._body_bytes > self.unread_bytes and self.cycle.response_complete:
                self.transport.abort()
                return
        super().data_received(data)
        self._update_timer()

    def on_response_complete(self) -> None:
        """Continue with the next request, of which a part may have arrived."""
        super().on_response_complete()
        self._update_timer()

    def pause_writing(self) -> None:
        """Wait for the client to read, with a timeout."""
        super().pause_writing()
        if self._reader_timer is None:
            self._reader_timer = self.loop.call_later(self.reader_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer: the client has read something."""
        super().resume_writing()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _should_upgrade(self) -> bool:
        return False  # the chat has no WebSockets; uvicorn would log each attempt

    def _update_timer(self) -> None:
        """Set the timer for the phase that the connection is in."""
        if self._is_lingering:
            return
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
            self._set_timer(self.head_seconds, self._time_out)
        elif phase is h11.SEND_BODY:
            self._set_timer(self.body_seconds, self._check_body)
        else:
            self._set_timer(None)

    def _check_body(self) -> None:
        """Close the connection if the body arrives too slowly; time in which the app reads nothing does not count."""
        due = self._phase_began + self.body_seconds + self._body_bytes / self.body_bytes_per_second - self.loop.time()
        if due > 0 or self.flow.read_paused:
            self._set_timer(max(due, 1.0), self._check_body)
        else:
            self._time_out()

    def _time_out(self) -> None:
        """Close the connection, with status 408 if no response has begun."""
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

    def _linger(self) -> bool:
        """Close the sending half of the connection and receive the rest for a moment; False if there is no rest.

        Closing both halves with unread bytes would reset the connection, and the client could lose the response.
        """
        has_rest = self.conn.their_state in {h11.SEND_BODY, h11.ERROR} or bool(self.conn.trailing_data[0])
        if self._is_lost or self._is_lingering or not has_rest:
            return self._is_lingering
        self._is_lingering = True
        self._body_bytes = 0
        self._unset_keepalive_if_required()
        self._set_timer(self.linger_seconds, self.transport.abort)
        self.transport.write_eof()  # after what is still to be written
        self.transport.resume_reading()
        return True

    def _set_timer(self, seconds: float | None, then: Callable[[], None] | None = None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then) if seconds is not None and then is not None else None

    def _make_room(self) -> None:
        """Close the connection that has waited longest; if all have a request in progress, answer 503 on this one."""
        waiting = (one for one in self.connections if isinstance(one, BoundedProtocol) and one.is_waiting)
        longest = min(waiting, key=lambda one: one._phase_began, default=self)  # noqa: SLF001  # same class
        self._log_refusal(all_busy=longest is self)
        if longest is not self:
            longest.transport.abort()
            self.connections.discard(longest)  # at once, not in the next iteration of the loop
        elif len(self.connections) > self.max_connections + SPARE_CONNECTIONS:
            self.transport.abort()
        else:
            self.app = _refuse_connection

    @property
    def is_waiting(self) -> bool:
        """Whether it has no complete request, or is only kept so that the client reads its response."""
        return self._is_lingering or (self.conn.their_state is h11.IDLE and not self.transport.is_closing())

    def _log_refusal(self, *, all_busy: bool) -> None:
        if (now := time.monotonic()) - BoundedProtocol._logged_at >= REFUSAL_LOG_SECONDS:
            BoundedProtocol._logged_at = now
            log.warning("too_many_connections", limit=self.max_connections, all_busy=all_busy)


class _LingeringTransport:
    """A transport that is closed with its protocol's consent.

    Args:
        transport: the connection's.
        linger: starts to receive the rest of a request; returns False if the connection can be closed at once.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool]) -> None:
        self._transport = transport
        self._linger = linger
        self._is_closing = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # any attribute of the transport
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        """Return whether it is closed, or will be."""
        return self._is_closing or self._transport.is_closing()

    def close(self) -> None:
        """Close it, now or once the rest of the request is received."""
        self._is_closing = True
        if not self._linger():
            self._transport.close()


async def _refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    response = error_response(scope, 503, Sentence("The chat has too many connections. Try again in a moment."))
    response.headers["connection"] = "close"
    await response(scope, receive, send)


class Server(uvicorn.Server):
    """Calls back after the start and before the shutdown, and ends without a traceback.

    Args:
        config: uvicorn's configuration.
        on_started: runs in the background from the start to the shutdown.
        before_shutdown: runs while requests are still served; a second Ctrl-C cancels it.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        on_started: Callable[[], Awaitable[None]],
        before_shutdown: Callable[[], Awaitable[None]],
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._before_shutdown = before_shutdown
        self._background: asyncio.Future[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and run ``on_started``."""
        await super().startup(sockets)
        if self.started:
            self._background = asyncio.ensure_future(self._on_started())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Run ``before_shutdown``, then end all connections."""
        finishing = asyncio.ensure_future(self._before_shutdown())
        while not finishing.done():
            await asyncio.wait({finishing}, timeout=0.1)
            if self.force_exit:
                break
        finishing.cancel()
        if self._background:
            self._background.cancel()
        await asyncio.wait({finishing})
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Shut down on SIGINT and SIGTERM, without sending the signal again afterwards."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield


def bounded_protocol(max_connections: int) -> type[BoundedProtocol]:
    """Return `BoundedProtocol` with this bound."""
    return type("Bounded", (BoundedProtocol,), {"max_connections": max_connections})
