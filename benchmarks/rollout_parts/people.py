"""People who ask one question after the other and read each answer to its end, as the page does."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from tests.page_client import PARAMETERS, Refused, open_page

if TYPE_CHECKING:
    from tests.page_client import PageClient

MODEL = "gemma"
PAUSE_SECONDS = 5.0  # before the next question, where this one was not answered
RECONNECT_SECONDS = 0.5
ANSWER_SECONDS = 400.0
LOST = (aiohttp.ClientError, ConnectionError, TimeoutError)


@dataclass
class Counts:
    """What happened to the questions of a rollout.

    Attributes:
        kinds: "complete", "by another model"; "told": there was no answer, and a sentence said why; "cut": it ended
            after its first words; "continued": of these, a person let it go on, and it became complete.
        reconnected: streams that broke off or were refused, while the answer went on.
        sentences: why answers were told or cut.
    """

    kinds: Counter[str] = field(default_factory=Counter)
    reconnected: int = 0
    sentences: Counter[str] = field(default_factory=Counter)


class Person:
    """A browser.

    Args:
        url: of the chat.
        cookies: of a guest.
        counts: to add to.
        max_tokens: of an answer.
        allows_fallback: whether another model may answer.
    """

    def __init__(
        self, url: str, cookies: dict[str, str], counts: Counts, *, max_tokens: int, allows_fallback: bool
    ) -> None:
        self.reads = asyncio.Event()  # set once the first answer has begun
        self._url = url
        self._cookies = cookies
        self._counts = counts
        self._options = {"model": MODEL, "max_tokens": max_tokens, "allowFallback": allows_fallback}

    async def run(self, ended: asyncio.Event) -> None:
        """Ask until the rollout has ended."""
        async with open_page(self._url, cookies=self._cookies) as page:
            while not ended.is_set():
                async with asyncio.timeout(ANSWER_SECONDS):
                    was_answered = await self._ask(page)
                if not was_answered:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(ended.wait(), PAUSE_SECONDS)

    async def _ask(self, page: PageClient) -> bool:
        text = f"{secrets.token_hex(4)} is the name of this question. What do you know about lighthouses?"
        try:
            conversation = await self._send(page, text)
        except Refused as refusal:
            return self._told(str(refusal))
        answer = await self._read(page, conversation)
        if answer["status"] == "complete":
            self._counts.kinds["by another model" if answer["insteadOf"] else "complete"] += 1
            return True
        why = str((answer["error"] or {}).get("text") or answer["status"])
        if not answer["text"]:
            return self._told(why)
        self._counts.kinds["cut"] += 1
        self._counts.sentences[why] += 1
        if answer["canContinue"]:
            with suppress(Refused):
                await page.go_on(conversation, answer["id"], **self._options)
                if (await self._read(page, conversation))["status"] == "complete":
                    self._counts.kinds["continued"] += 1
        return True

    def _told(self, why: str) -> bool:
        self._counts.kinds["told"] += 1
        self._counts.sentences[why] += 1
        return False

    async def _send(self, page: PageClient, text: str) -> str:
        """Send a question; once more, as the same one, where the response is lost."""
        body = {**PARAMETERS, **self._options, "question": secrets.token_hex(16)}
        while True:
            try:
                return str(await page.send(text, **body))
            except LOST:
                body["retry"] = True
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _read(self, page: PageClient, conversation: str) -> dict:
        """Return the answer once it has ended."""
        while True:
            try:
                async for entries in page.follow(conversation):
                    if entries and entries[-1]["role"] == "assistant" and entries[-1]["text"]:
                        self.reads.set()
                if page.entries[-1]["role"] == "assistant" and not page.entries[-1]["writing"]:
                    return dict(page.entries[-1])
            except LOST:
                self._counts.reconnected += 1
            except Refused as refusal:  # a replica that does not have the conversation yet
                self._counts.reconnected += 1
                self._counts.sentences[f"a stream was refused: {refusal}"] += 1
            await asyncio.sleep(RECONNECT_SECONDS)
