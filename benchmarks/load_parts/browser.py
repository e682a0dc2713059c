"""The page as a browser has it open: the stream of its conversation, and its look at the models every few seconds.

`tests.page_client` does the same for one reader at a time; this one is light enough for hundreds, and notes when each
change arrived.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING

from tests.page_client import PARAMETERS, Refused, taken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp

LOOK_SECONDS = 10.0  # the page's timer


class Page:
    """One open page; ``http`` is its browser, with the browser's cookies."""

    def __init__(self, http: aiohttp.ClientSession, url: str, model: str) -> None:
        self._http = http
        self._url = url
        self._model = model
        self._entries: list[dict] = []
        self._looking: asyncio.Task | None = None
        self.conversation = ""

    async def open(self, conversation: str = "") -> list[dict]:
        """Load the page and return the messages of the conversation that its address names, as far as it shows them."""
        await self._get("")
        await self._get(f"state?conversation={conversation}")
        if conversation:
            async with self._http.get(f"{self._url}/conversations/{conversation}/events") as response:
                async for entries, _ in self._changes(response):
                    self._entries = entries
        self._looking = asyncio.create_task(self._look_at_models())
        return self._entries

    def begin_anew(self) -> None:
        """Show an empty conversation."""
        self._entries, self.conversation = [], ""

    async def ask(self, text: str, conversation: str) -> AsyncGenerator[tuple[list[dict], float]]:
        """Send a message with the parameters that the page begins with; yield all messages as they change, and when.

        Raises:
            Refused: it was not taken, or the answer broke off.
        """
        after = self._entries[-1]["id"] if self._entries else ""
        asked = {"text": text, "model": self._model, "after": after, **PARAMETERS}
        path = f"conversations/{conversation}/turns" if conversation else "conversations"
        async with self._http.post(f"{self._url}/{path}", json=asked) as response:
            async for entries, at in self._changes(response):
                self._entries = entries
                yield entries, at

    async def close(self) -> None:
        """Leave the page."""
        if self._looking:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

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
                    entries = taken(entries, event)
            yield entries, at
        raise Refused("the stream ended before the answer did")

    async def _look_at_models(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._get("models")

    async def _get(self, path: str) -> None:
        async with self._http.get(f"{self._url}/{path}") as response:
            await response.read()
            if response.status != 200:
                raise Refused(f"{response.status} for /{path}")
