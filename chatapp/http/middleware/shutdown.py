"""Ends open streams on shutdown."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STREAM_PATHS = "/conversations"


class StreamShutdownMiddleware:
    """Ends streamed responses properly once ``closing`` is set.

    A page has an open stream while it waits for an answer. Otherwise a shutdown would wait for the stream until uvicorn
    cuts it off with an error.

    Args:
        app: the app behind it.
        closing: set on shutdown.
    """

    def __init__(self, app: ASGIApp, closing: asyncio.Event) -> None:
        self._app = app
        self._closing = closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; a stream ends at shutdown."""
        if scope["type"] != "http" or not scope["path"].startswith(STREAM_PATHS):
            await self._app(scope, receive, send)
            return
        started, ended, is_over = asyncio.Event(), False, False

        async def watched_send(message: Message) -> None:
            nonlocal ended
            if is_over:
                return
            started.set()
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        responding = asyncio.ensure_future(self._app(scope, receive, watched_send))
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({responding, closing}, return_when=asyncio.FIRST_COMPLETED)
            # A message that is being accepted right now gets its response first.
            starting = asyncio.ensure_future(started.wait())
            await asyncio.wait({responding, starting}, return_when=asyncio.FIRST_COMPLETED)
            starting.cancel()
            if responding.done():
                await responding
                return
            responding.cancel()
            with suppress(asyncio.CancelledError):
                await responding
            if not ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            closing.cancel()
            is_over = True  # where this task is cancelled, an outer middleware responds, and the app may try to, too
            responding.cancel()
