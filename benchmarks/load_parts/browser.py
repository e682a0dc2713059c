"""The page as a browser has it open: the stream of its conversation, Gradio's events, its heartbeat and its timer.

`tests.page_client` does the same for one reader at a time; this one is light enough for hundreds, and notes when each
change arrived.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tests.page_client import PARAMETERS, Refused, edited, taken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import aiohttp

LOOK_SECONDS = 10.0  # the page's timer
LISTED = 50


async def handlers(http: aiohttp.ClientSession, url: str) -> dict[str, int]:
    """Return the number of each of the page's handlers by its name; they are the same for everybody."""
    async with http.get(f"{url}/config") as response:
        return {one["api_name"]: one["id"] for one in (await response.json())["dependencies"]}


class Page:
    """One open page; ``http`` is its browser, with the browser's cookies."""

    def __init__(self, http: aiohttp.ClientSession, url: str, numbers: dict[str, int], model: str) -> None:
        self._http = http
        self._url = url
        self._numbers = numbers
        self._model = model
        self._session = secrets.token_hex(6)
        self._inboxes: defaultdict[str, asyncio.Queue] = defaultdict(asyncio.Queue)
        self._pending: set[str] = set()
        self._completed: set[str] = set()
        self._reading: asyncio.Task | None = None
        self._entries: list[dict] = []
        self.conversation = ""
        self._background: list[asyncio.Task] = []

    async def open(self, conversation: str = "") -> list[dict]:
        """Load the page and return the messages of the conversation that its address names."""
        async with self._http.get(f"{self._url}/") as response:
            await response.read()
            if response.status != 200:
                raise Refused(f"{response.status} for the page")
        self._background.append(asyncio.create_task(self._heartbeat()))
        loaded = await self.call("load", conversation, LISTED, "")
        if loaded[0]:
            async with self._http.get(f"{self._url}/conversations/{loaded[0]}/events") as response:
                async for entries, _ in self._changes(response):
                    self._entries = entries
        shown = (await self.call("look_at_models", self._model, ""))[2]
        self._background.append(asyncio.create_task(self._look_at_models(shown)))
        return [entry["shown"] for entry in self._entries]

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
                yield [entry["shown"] for entry in entries], at

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
                    self.conversation = event["started"]["conversation"]
                else:
                    entries = taken(entries, event)
            yield entries, at
        raise Refused("the stream ended before the answer did")

    async def call(self, handler: str, *values: object) -> list[Any]:
        """Return a handler's last outputs."""
        outputs: list[Any] = []
        async for last, _ in self.updates(handler, *values):
            outputs = last
        return outputs

    async def updates(self, handler: str, *values: object) -> AsyncGenerator[tuple[list[Any], float]]:
        """Yield a handler's outputs, the same objects again and again, and when they arrived.

        Raises:
            Refused: it ended with an error.
        """
        event = await self._join(handler, values)
        inbox, outputs = self._inboxes[event], None
        try:
            while True:
                message, at = await inbox.get()
                if message["msg"] not in {"process_generating", "process_completed"}:
                    continue
                if not message["success"]:
                    raise Refused(f"{handler}: {message['output'].get('error')}")
                changes = message["output"]["data"]
                if outputs is None or message["msg"] == "process_completed":  # the end comes whole
                    outputs = changes
                else:
                    outputs = [edited(old, edits) for old, edits in zip(outputs, changes, strict=True)]
                yield outputs, at
                if message["msg"] == "process_completed":
                    return
        finally:
            del self._inboxes[event]

    async def close(self) -> None:
        """Leave the page."""
        tasks = [task for task in (*self._background, self._reading) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _join(self, handler: str, values: tuple[object, ...]) -> str:
        body = {"data": values, "event_data": None, "fn_index": self._numbers[handler], "trigger_id": None}
        url = f"{self._url}/gradio_api/queue/join"
        async with self._http.post(url, json={**body, "session_hash": self._session}) as response:
            if response.status != 200:
                raise Refused(f"{response.status} {(await response.text())[:200]}")
            event = (await response.json())["event_id"]
        if event not in self._completed:  # a stream that was open already may have been quicker than this reply
            self._pending.add(event)
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
        return event

    async def _read(self) -> None:
        """Read the page's stream for as long as an event is to come; Gradio closes it when it knows of none."""
        try:
            while self._pending:
                parameters = {"session_hash": self._session}
                async with self._http.get(f"{self._url}/gradio_api/queue/data", params=parameters) as response:
                    rest = b""
                    async for chunk in response.content.iter_any():
                        at = time.monotonic()
                        *lines, rest = (rest + chunk if rest else chunk).split(b"\n\n")
                        for line in lines:
                            self._receive(json.loads(line.removeprefix(b"data: ")), at)
        except Exception as error:  # noqa: BLE001  # whoever waits for an event has to know
            self._lost(f"the page's stream broke: {error!r}")

    def _receive(self, message: dict[str, Any], at: float) -> None:
        event = message.get("event_id")
        if event:
            if message["msg"] == "process_completed":
                self._pending.discard(event)
                self._completed.add(event)
            self._inboxes[event].put_nowait((message, at))
        elif message["msg"] == "unexpected_error":
            self._lost(f"the page's stream ended: {message.get('message')}")

    def _lost(self, why: str) -> None:
        message = {"msg": "process_completed", "success": False, "output": {"error": why}}
        for event in self._pending:
            self._inboxes[event].put_nowait((message, time.monotonic()))
        self._pending.clear()

    async def _heartbeat(self) -> None:
        async with self._http.get(f"{self._url}/gradio_api/heartbeat/{self._session}") as response:
            async for _ in response.content.iter_any():
                pass

    async def _look_at_models(self, shown: str) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            looked = await self.call("look_at_models", self._model, shown)
            shown = looked[2] if isinstance(looked[2], str) else shown
