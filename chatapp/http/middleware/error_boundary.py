"""Answers what no exception handler of a route sees: errors of other middleware, and requests that are cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from chatapp.domain.sentences import Sentence
from chatapp.http.errors import error_response, response_to

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RESTARTING = Sentence("The chat is restarting. Try again in a moment.")
# "unknown": what a cancelled request was to store may be stored. The page then retries it with the same id, as after a
# lost response (`postPatiently` in stream.js).
OUTCOME_HEADER = "x-request-outcome"

log = structlog.get_logger(__name__)


class ErrorBoundaryMiddleware:
    """Responds to every request with words, whatever the app raises.

    Without it, uvicorn answers "Internal Server Error" in plain text and logs a traceback. At shutdown it also cancels
    the requests that have not ended in time, and closing a store cancels what a request waits for.

    Args:
        app: the app behind it.
        closing: set on shutdown.
        root_url: the public address of the chat, for the links of pages.
    """

    def __init__(self, app: ASGIApp, *, closing: asyncio.Event, root_url: str) -> None:
        self._app = app
        self._closing = closing
        self._root_url = root_url

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and answer its error."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        progress = _Progress(send)
        try:
            await self._app(scope, receive, progress.send)
        except asyncio.CancelledError:
            if not (self._closing.is_set() or _is_from_elsewhere()):
                raise
            log.info("request_cancelled", path=scope["path"])
            response = error_response(scope, 503, RESTARTING, root_url=self._root_url, retry_after=1)
            response.headers[OUTCOME_HEADER] = "unknown"
        except Exception as error:  # noqa: BLE001  # the last one that can answer it; `response_to` logs it
            response = response_to(scope, error, root_url=self._root_url)
        else:
            return
        await progress.end(response, scope, receive)


class _Progress:
    """How much of a response is sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._has_started = self._is_stream = self._has_ended = False

    async def send(self, message: Message) -> None:
        """Send a part of the response."""
        if message["type"] == "http.response.start":
            self._has_started = True
            headers = dict(message.get("headers", ()))
            self._is_stream = headers.get(b"content-type", b"").startswith(b"text/event-stream")
        elif message["type"] == "http.response.body":
            self._has_ended = not message.get("more_body", False)
        await self._send(message)

    async def end(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Send a response if none has started; end a stream, which the page then continues.

        Of any other response the rest is missing, which the client has to notice: its connection is closed.
        """
        if not self._has_started:
            await response(scope, receive, self._send)
        elif self._is_stream and not self._has_ended:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_from_elsewhere() -> bool:
    """Return whether something that a task waits for was cancelled, and not the task itself."""
    task = asyncio.current_task()
    return task is not None and not task.cancelling()
