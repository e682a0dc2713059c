"""Bounds on requests: their size, the memory of all bodies together, and open streams.

`chatapp.server.uvicorn_compat` bounds the time that a request takes to arrive, and the number of connections.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from chatapp.auth import USER_KEY, current_user_id
from chatapp.domain.errors import DocumentTooLarge, ImageTooLarge, ImportTooLarge, LimitReached, TooLong
from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response, response_to
from chatapp.http.middleware.shutdown import STREAM_PATHS
from chatapp.http.request_rules import Body, rule_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from chatapp.http.request_rules import BodyLimits

MAX_HEAD_BYTES = 32_768  # the request target and all headers; the chat's cookies have less than 4 kB
STREAMS_PER_USER = 32  # more tabs than a person reads; a browser opens 6 without HTTP/2
STREAMS_IN_TOTAL = 2_000
MAX_LENGTH_DIGITS = 15  # of the header Content-Length
SMALL_BYTES = 65_536  # uvicorn's buffer of a connection
BODY_RETRY_SECONDS = 5


class RequestSizeMiddleware:
    """Refuses requests that are larger than any that the page sends, before they are read.

    Args:
        app: the app behind it.
        limits: the largest bodies.
        on_refused: called with the status of each refusal.
    """

    def __init__(
        self, app: ASGIApp, *, limits: BodyLimits, on_refused: Callable[[int], None] = lambda _status: None
    ) -> None:
        self._app = app
        self._limits = limits
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; refuse it as soon as it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(k) + len(v) for k, v in scope["headers"])
        if head > MAX_HEAD_BYTES:
            self._on_refused(431)
            sentence = Sentence("The address or the cookies of this request are too long. Delete this site's cookies.")
            await error_response(scope, 431, sentence)(scope, receive, send)
            return
        most = self._limits.most(scope["path"])
        too_long = self._limits.too_large(scope["path"])
        declared = Headers(scope=scope).get("content-length", "0")
        # A length of 30 digits is a number that no client means; of 5,000 digits Python makes none.
        if not declared.isdecimal() or len(declared) > MAX_LENGTH_DIGITS or int(declared) > most:
            self._on_refused(413)
            await error_response(scope, 413, too_long.sentence)(scope, receive, send)
            return
        received = 0

        def count(size: int) -> None:
            nonlocal received
            received += size
            if received > most:
                self._on_refused(413)
                raise too_long

        await _pass_on(self._app, scope, receive, send, count)


class BodyMemoryMiddleware:
    """Bounds the memory that the bodies of requests take together, for each user and for all.

    A body is in memory from its first byte until the response starts. Bodies up to `SMALL_BYTES`, such as a usual
    message, are not counted: the server buffers as much of each connection anyway.

    Args:
        app: the app behind it.
        limits: how much all bodies may take together.
    """

    def __init__(self, app: ASGIApp, *, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits
        self._held: Counter[str] = Counter()  # bytes by user
        self._total = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; refuse it when the bodies take too much memory."""
        if scope["type"] != "http" or USER_KEY not in scope or rule_of(scope["path"]).body is Body.IMPORT:
            await self._app(scope, receive, send)
            return
        user = current_user_id(HTTPConnection(scope))
        received = held = 0

        def hold(size: int) -> None:
            nonlocal received, held
            received += size
            more = received - SMALL_BYTES - held
            if more <= 0:
                return
            if self._held[user] + more > self._limits.per_user:
                raise LimitReached(_TOO_MUCH, retry_after=BODY_RETRY_SECONDS, detail="body bytes of a user")
            if self._total + more > self._limits.in_total:
                raise LimitReached(_BUSY, retry_after=BODY_RETRY_SECONDS, detail="body bytes of all users")
            held += more
            self._held[user] += more
            self._total += more

        def release() -> None:
            nonlocal held
            if not held:
                return
            self._held[user] -= held
            self._total -= held
            held = 0
            if not self._held[user]:
                del self._held[user]

        async def send_released(message: Message) -> None:
            release()
            await send(message)

        try:
            await _pass_on(self._app, scope, receive, send_released, hold)
        finally:
            release()


_TOO_MUCH = Sentence("You are already sending several files. Wait a moment and send again.")
_BUSY = Sentence("The chat is receiving too much at once. Wait a moment and send again.")


async def _pass_on(app: ASGIApp, scope: Scope, receive: Receive, send: Send, on_bytes: Callable[[int], None]) -> None:
    """Run the app, call ``on_bytes`` with the size of each part of the body, and respond if it raises a `ChatError`."""
    has_started = False

    async def receive_counted() -> Message:
        message = await receive()
        if body := message.get("body"):
            on_bytes(len(body))
        return message

    async def send_noted(message: Message) -> None:
        nonlocal has_started
        has_started = True
        await send(message)

    try:
        await app(scope, receive_counted, send_noted)
    except (TooLong, ImageTooLarge, DocumentTooLarge, ImportTooLarge, LimitReached) as error:
        if has_started:
            raise
        await response_to(scope, error)(scope, receive, send)


class StreamLimitMiddleware:
    """Bounds how many streams are open, per user and in total.

    Args:
        app: the app behind it.
        per_user: the bound for one user, over all tabs and devices, at this replica.
        in_total: the bound for all users together.
    """

    def __init__(self, app: ASGIApp, *, per_user: int = STREAMS_PER_USER, in_total: int = STREAMS_IN_TOTAL) -> None:
        self._app = app
        self._per_user = per_user
        self._in_total = in_total
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless it may open a stream and too many are open."""
        if scope["type"] != "http" or not scope["path"].startswith(STREAM_PATHS):
            await self._app(scope, receive, send)
            return
        user = current_user_id(HTTPConnection(scope))
        if self._open[user] >= self._per_user:
            sentence = Sentence("You have too many answers open. Close some of this chat's tabs and try again.")
            await error_response(scope, 429, sentence)(scope, receive, send)
        elif self._open.total() >= self._in_total:
            sentence = Sentence("The chat has too many open answers. Try again in a moment.")
            await error_response(scope, 503, sentence)(scope, receive, send)
        else:
            with _counted(self._open, user):
                await self._app(scope, receive, send)


@contextmanager
def _counted(counts: Counter[str], user: str) -> Iterator[Callable[[], None]]:
    """Count one for a user within the block; the yielded function ends that early."""
    counts[user] += 1
    ended = False

    def end() -> None:
        nonlocal ended
        if not ended:
            ended = True
            counts[user] -= 1
            if not counts[user]:
                del counts[user]

    try:
        yield end
    finally:
        end()
