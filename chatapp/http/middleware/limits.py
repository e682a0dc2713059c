"""Bounds on requests: their size, large ones at the same time, and open streams.

`chatapp.server.uvicorn_compat` bounds the time that a request takes to arrive, and the number of connections.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection

from chatapp.auth import USER_KEY, current_user_id
from chatapp.domain.errors import TooLong
from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response
from chatapp.http.middleware.shutdown import STREAM_PATHS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_HEAD_BYTES = 32_768  # the request target and all headers; the chat's cookies have less than 4 kB
STREAMS_PER_USER = 32  # more tabs than a person reads; a browser opens 6 without HTTP/2
STREAMS_IN_TOTAL = 2_000
LARGE_BYTES = 1_000_000  # a body with images; it is in memory until it is complete
LARGE_REQUESTS_PER_USER = 3


class RequestSizeMiddleware:
    """Refuses requests that are larger than any that the page sends, before they are read.

    Args:
        app: the app behind it.
        max_bytes: the largest body.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; refuse it as soon as it is too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(k) + len(v) for k, v in scope["headers"])
        if head > MAX_HEAD_BYTES:
            sentence = Sentence("The address or the cookies of this request are too long. Delete this site's cookies.")
            await error_response(scope, 431, sentence)(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_bytes:
            await error_response(scope, 413, TooLong().sentence)(scope, receive, send)
            return
        received, has_started = 0, False

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise TooLong
            return message

        async def send_noted(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, receive_counted, send_noted)
        except TooLong as error:
            if has_started:
                raise
            await error_response(scope, 413, error.sentence)(scope, receive, send)


class LargeRequestsMiddleware:
    """Bounds how many large requests one user sends at the same time, because each is held in memory.

    Args:
        app: the app behind it.
        per_user: the bound for one user.
        large_bytes: the size from which a request is large; one without a declared length is, too.
    """

    def __init__(
        self, app: ASGIApp, *, per_user: int = LARGE_REQUESTS_PER_USER, large_bytes: int = LARGE_BYTES
    ) -> None:
        self._app = app
        self._per_user = per_user
        self._large_bytes = large_bytes
        self._arriving: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, unless too many large ones are arriving."""
        if scope["type"] != "http" or USER_KEY not in scope or not self._is_large(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        user = current_user_id(HTTPConnection(scope))
        if self._arriving[user] >= self._per_user:
            sentence = Sentence("You are already sending several images. Wait a moment and send again.")
            await error_response(scope, 429, sentence)(scope, receive, send)
            return
        with _counted(self._arriving, user) as arrived:

            async def send_noted(message: Message) -> None:
                arrived()  # its body is not in memory any more, however long the response takes
                await send(message)

            await self._app(scope, receive, send_noted)

    def _is_large(self, headers: Headers) -> bool:
        if "transfer-encoding" in headers:
            return True
        return int(headers.get("content-length", "0")) >= self._large_bytes


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
