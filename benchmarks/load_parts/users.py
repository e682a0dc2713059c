"""Simulated users: of the chat's page, and for comparison of the model backend itself."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.load_parts.answers import Answer, WrongAnswer
from benchmarks.load_parts.backend import TOKENS_PER_SECOND
from benchmarks.load_parts.browser import Page
from benchmarks.load_parts.openai_server import MODEL
from tests.page_client import SAME_ORIGIN, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

TURN_TIMEOUT_SECONDS = 40.0  # an answer takes 2 to 4
MIN_SHOWN = 50  # messages, of a long conversation


@dataclass
class Results:
    """The measurements of all users at one level; times in seconds.

    Attributes:
        turns: complete answers without a wrong character.
        tokens: of these answers.
        errors: a message for each other turn, after which its user stops.
        waits: from sending a question to the first words of the answer.
        added: from the backend's first token to the first words.
        lags: from the backend's sending of a token to its arrival.
        lates: delay of the backend against its own schedule, for each token.
    """

    turns: int = 0
    tokens: int = 0
    errors: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    lates: list[float] = field(default_factory=list)

    def add(self, answer: Answer, sent: float) -> None:
        """Count a complete turn."""
        self.turns += 1
        self.tokens += answer.tokens
        self.waits.append(answer.seen - sent)
        self.added.append(answer.seen - answer.sent)
        self.lags += answer.lags
        self.lates += answer.lates


class User(ABC):
    """Sends questions one by one and reads each answer to its end; ``texts`` is the conversation so far."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    async def run(self, results: Results, *, delay: float, until: float) -> None:
        """Start after ``delay`` seconds; run at least one turn, and start none after ``until``."""
        await asyncio.sleep(delay)
        first = True
        while first or time.monotonic() < until:
            first = False
            question = f"{secrets.token_hex(4)} is the name of this question. What do you know about lighthouses?"
            answer = Answer(question, len(self.texts) + 1, TOKENS_PER_SECOND)
            sent = time.monotonic()
            try:
                async with asyncio.timeout(TURN_TIMEOUT_SECONDS):
                    await self.ask(question, answer)
                answer.check()
            except TimeoutError:
                results.errors.append(f"no complete answer after {TURN_TIMEOUT_SECONDS:.0f} s, {answer.tokens} tokens")
                return
            except (Refused, WrongAnswer, aiohttp.ClientError, OSError) as error:
                results.errors.append(f"{type(error).__name__}: {error}")
                return
            self.texts += [question, answer.text]
            results.add(answer, sent)

    @abstractmethod
    async def ask(self, question: str, answer: Answer) -> None:
        """Send a question and update the answer to its end."""


class PageUser(User):
    """A user with the page open in a browser."""

    def __init__(self, url: str, *, cookies: dict[str, str], conversation: str, texts: Sequence[str]) -> None:
        super().__init__(texts)
        jar = aiohttp.CookieJar(unsafe=True)  # keeps cookies of IP addresses, as browsers do
        timeout = aiohttp.ClientTimeout(total=None)
        self._http = aiohttp.ClientSession(cookie_jar=jar, cookies=cookies, headers=SAME_ORIGIN, timeout=timeout)
        self._page = Page(self._http, url, "gemma")
        self._conversation = conversation

    async def open(self) -> None:
        """Open the page and check the stored conversation."""
        self._compare(await self._page.open(self._conversation), self.texts)

    async def ask(self, question: str, answer: Answer) -> None:
        """Send a question and read the stream, as the page does."""
        entries: list[dict] = []
        async for entries, at in self._page.ask(question, self._conversation):
            if len(entries) > 1 and entries[-2]["text"] == question:  # the question and its answer are shown
                answer.grow(entries[-1]["text"], at)
        self._conversation = self._page.conversation
        self._compare(entries, [*self.texts, question, answer.text])

    async def start_conversations(self, results: Results, count: int) -> None:
        """Start conversations of one turn, one by one."""
        for _ in range(count):
            self.texts, self._conversation = [], ""
            self._page.clear()
            await self.run(results, delay=0, until=0)

    async def close(self) -> None:
        """Close the page."""
        await self._page.close()
        await self._http.close()

    @staticmethod
    def _compare(entries: list[dict], texts: list[str]) -> None:
        """Compare the shown messages, the last ones of a long conversation, with the written ones."""
        shown = [entry["text"] for entry in entries]
        if shown != texts[-len(shown) :] or len(shown) < min(len(texts), MIN_SHOWN):
            raise WrongAnswer(f"the {len(shown)} shown messages are not the last of the {len(texts)} written ones")


class BackendUser(User):
    """The same load without the chat: the cost of the machine, the backend and this client."""

    def __init__(self, url: str, http: aiohttp.ClientSession, *, texts: Sequence[str]) -> None:
        super().__init__(texts)
        self._url = url
        self._http = http

    async def ask(self, question: str, answer: Answer) -> None:
        """Send the conversation and read the stream."""
        roles = ("user", "assistant")
        messages = [{"role": roles[i % 2], "content": text} for i, text in enumerate([*self.texts, question])]
        body = {"model": MODEL, "messages": messages, "stream": True}
        async with self._http.post(f"{self._url}/v1/chat/completions", json=body) as response:
            rest = b""
            async for chunk in response.content.iter_any():
                at = time.monotonic()
                *lines, rest = (rest + chunk if rest else chunk).split(b"\n\n")
                for line in lines:
                    if line.startswith(b"data: {"):
                        for choice in json.loads(line[6:])["choices"]:
                            answer.grow(answer.text + choice["delta"].get("content", ""), at)
