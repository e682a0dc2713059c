"""A client with the requests of an open page: the stream of its conversation, and the models every few seconds.

`tests.page_client` is for a few pages; this client costs little enough for hundreds, and records when each change
arrives.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from tests.page_client import PARAMETERS, Refused, apply_event

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp

POLL_SECONDS = 10.0  # as the page


class Page:
    """An open page; ``http`` has the cookies of its browser."""

    def __init__(self, http: aiohttp.ClientSession, url: str, model: str) -> None:
        self._http = http
        self._url = url
        self._model = model
        self._entries: list[dict] = []
        self._polling: asyncio.Task | None = None
        self.conversation = ""

    async def open(self, conversation: str = "") -> list[dict]:
        """Load the page and return the messages that it shows of a conversation."""
        await self._get("")
        await self._get(f"state?conversation={conversation}")
        if conversation:
            async with self._http.get(f"{self._url}/conversations/{conversation}/events") as response:
                async for entries, _ in self._changes(response):
                    self._entries = entries
        self._polling = asyncio.create_task(self._poll_models())
        return self._entries

    def clear(self) -> None:
        """Show an empty conversation."""
        self._entries, self.conversation = [], ""

    async def ask(self, text: str, conversation: str) -> AsyncGenerator[tuple[list[dict], float]]:
        """Send a message with default parameters; yield all messages after each change, and the time.

        Raises:
            Refused: the message was rejected, or the answer failed.
        """
        after = self._entries[-1]["id"] if self._entries else ""
        body = {"text": text, "model": self._model, "after": after, **PARAMETERS}
        path = f"conversations/{conversation}/turns" if conversation else "conversations"
        async with self._http.post(f"{self._url}/{path}", json=body) as response:
            async for entries, at in self._changes(response):
                self._entries = entries
                yield entries, at

    async def close(self) -> None:
        """Close the page."""
        if self._polling:
            self._polling.cancel()
            await asyncio.gather(self._polling, return_exceptions=True)

    async def _changes(self, response: aiohttp.ClientResponse) -> AsyncGenerator[tuple[list[dict], float]]:
        if response.status != 200:
            raise Refused(f"{response.status} {(await response.text())[:200]}")
        entries, rest = self._entries, b""
        async for chunk in response.content.iter_any():
            at = time.monotonic()
            *lines, rest = (rest + chunk if rest else chunk).split(b"\n\n")
            for line in lines:
                if not line.startswith(b"data: "):
                    continue
                event = json.loads(line[6:])
                if "end" in event:
                    yield entries, at
                    return
                if "error" in event:
                    raise Refused(event["error"])
                if "started" in event:
                    self.conversation = event["started"]["conversation"]["id"]
                else:
                    entries = apply_event(entries, event)
            yield entries, at
        raise Refused("the stream ended before the answer did")

    async def _poll_models(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._get("models")

    async def _get(self, path: str) -> None:
        async with self._http.get(f"{self._url}/{path}") as response:
            await response.read()
            if response.status != 200:
                raise Refused(f"{response.status} for /{path}")
