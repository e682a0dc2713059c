"""How much anybody may ask for at once: the size of a request, those that are large, and the streams that are open.

How long a request may take to come, and how many connections there are, is up to `chatapp.server.protocol`.
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
from chatapp.http.middleware.shutdown import ENDLESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_HEAD_BYTES = 32_768  # the target and all headers; ours are cookies of less than 4 kB
STREAMS_OF_ONE = 32  # more tabs than anybody reads in; a browser opens 6 without HTTP/2
STREAMS_OF_ALL = 2_000
LARGE_BYTES = 1_000_000  # such a body has pictures; it is in memory until it has come whole
LARGE_OF_ONE = 3


class RequestSizeMiddleware:
    """Refuses requests that are larger than any that the page sends, before anything reads them.

    Args:
        most_bytes: of a body.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on as long as it is not too large."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        head = len(scope["raw_path"]) + len(scope["query_string"]) + sum(len(k) + len(v) for k, v in scope["headers"])
        if head > MOST_HEAD_BYTES:
            sentence = Sentence("The address or the cookies of this request are too long. Delete this site's cookies.")
            await error_response(scope, 431, sentence)(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._most_bytes:
            await error_response(scope, 413, TooLong().sentence)(scope, receive, send)
            return
        taken, has_started = 0, False

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._most_bytes:
                raise TooLong
            return message

        async def noted(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except TooLong as error:
            if has_started:
                raise
            await error_response(scope, 413, error.sentence)(scope, receive, send)


class LargeRequestsMiddleware:
    """Bounds how many large requests of one person may be on their way at once: each is held in memory.

    Args:
        most: of one person.
        large_bytes: from where on a request is large; one that does not say its length is, too.
    """

    def __init__(self, app: ASGIApp, *, most: int = LARGE_OF_ONE, large_bytes: int = LARGE_BYTES) -> None:
        self._app = app
        self._most = most
        self._large_bytes = large_bytes
        self._coming: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on unless too many large ones are on their way."""
        if scope["type"] != "http" or USER_KEY not in scope or not self._is_large(Headers(scope=scope)):
            await self._app(scope, receive, send)
            return
        user = current_user_id(HTTPConnection(scope))
        if self._coming[user] >= self._most:
            sentence = Sentence("You are already sending several images. Wait a moment and send again.")
            await error_response(scope, 429, sentence)(scope, receive, send)
            return
        with _counted(self._coming, user) as came:

            async def noted(message: Message) -> None:
                came()  # what is answered is not held any more, however long the answer takes
                await send(message)

            await self._app(scope, receive, noted)

    def _is_large(self, headers: Headers) -> bool:
        if "transfer-encoding" in headers:
            return True
        return int(headers.get("content-length", "0")) >= self._large_bytes


class StreamLimitMiddleware:
    """Bounds how many streams are open, for one person and in all.

    Args:
        most_of_one: of one person, in all tabs and on all devices, at this copy of the chat.
        most_of_all: of everybody.
    """

    def __init__(self, app: ASGIApp, *, most_of_one: int = STREAMS_OF_ONE, most_of_all: int = STREAMS_OF_ALL) -> None:
        self._app = app
        self._most_of_one = most_of_one
        self._most_of_all = most_of_all
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; if it may ask for a stream, unless too many are open."""
        if scope["type"] != "http" or not scope["path"].startswith(ENDLESS):
            await self._app(scope, receive, send)
            return
        user = current_user_id(HTTPConnection(scope))
        if self._open[user] >= self._most_of_one:
            sentence = Sentence("You have too many answers open. Close some of this chat's tabs and try again.")
            await error_response(scope, 429, sentence)(scope, receive, send)
        elif self._open.total() >= self._most_of_all:
            sentence = Sentence("The chat has too many open answers. Try again in a moment.")
            await error_response(scope, 503, sentence)(scope, receive, send)
        else:
            with _counted(self._open, user):
                await self._app(scope, receive, send)


@contextmanager
def _counted(counts: Counter[str], user: str) -> Iterator[Callable[[], None]]:
    """Count one of a user's within the block, or up to when what it gives is called."""
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
