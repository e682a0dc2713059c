"""Who talks: people at the page, and the same talk straight at the backend."""

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

LONGEST_TURN_SECONDS = 40.0  # an answer takes 2 to 4
SHOWN_AT_LEAST = 50  # messages, of a long conversation


@dataclass
class Talk:
    """What people saw at one level; times in seconds.

    Attributes:
        turns: whole answers, every character of them right.
        tokens: of these answers.
        errors: a sentence for each turn that was not; whoever met one went home.
        waits: from Send to the first words.
        added: from the backend's first token to the first words.
        lags: from the backend's sending of a token to its arrival.
        lates: for each token, by how much the backend was behind its own speed.
    """

    turns: int = 0
    tokens: int = 0
    errors: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    added: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    lates: list[float] = field(default_factory=list)

    def add(self, answer: Answer, asked: float) -> None:
        """Count a turn that ended well."""
        self.turns += 1
        self.tokens += answer.tokens
        self.waits.append(answer.seen - asked)
        self.added.append(answer.seen - answer.sent)
        self.lags += answer.lags
        self.lates += answer.lates


class Person(ABC):
    """Asks, reads the answer to its end, and asks again; ``texts`` is the conversation so far."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)

    async def talk(self, talk: Talk, *, delay: float, until: float) -> None:
        """Start after ``delay`` seconds, with at least one turn, and begin none after ``until``."""
        await asyncio.sleep(delay)
        first = True
        while first or time.monotonic() < until:
            first = False
            question = f"{secrets.token_hex(4)} is the name of this question. What do you know about lighthouses?"
            answer = Answer(question, len(self.texts) + 1, TOKENS_PER_SECOND)
            asked = time.monotonic()
            try:
                async with asyncio.timeout(LONGEST_TURN_SECONDS):
                    await self.ask(question, answer)
                answer.check()
            except TimeoutError:
                talk.errors.append(f"no whole answer after {LONGEST_TURN_SECONDS:.0f} s, {answer.tokens} tokens")
                return
            except (Refused, WrongAnswer, aiohttp.ClientError, OSError) as error:
                talk.errors.append(f"{type(error).__name__}: {error}")
                return
            self.texts += [question, answer.text]
            talk.add(answer, asked)

    @abstractmethod
    async def ask(self, question: str, answer: Answer) -> None:
        """Ask and let the answer grow to its end."""


class PersonAtPage(Person):
    """Somebody with the page open in a browser."""

    def __init__(self, url: str, *, cookies: dict[str, str], conversation: str, texts: Sequence[str]) -> None:
        super().__init__(texts)
        jar = aiohttp.CookieJar(unsafe=True)  # keeps cookies of an address, as browsers do
        timeout = aiohttp.ClientTimeout(total=None)
        self._http = aiohttp.ClientSession(cookie_jar=jar, cookies=cookies, headers=SAME_ORIGIN, timeout=timeout)
        self._page = Page(self._http, url, "gemma")
        self._conversation = conversation

    async def open(self) -> None:
        """Open the page and see the conversation as it was left."""
        self._compare(await self._page.open(self._conversation), self.texts)

    async def ask(self, question: str, answer: Answer) -> None:
        """Send, and watch the answer, as the page does."""
        entries: list[dict] = []
        async for entries, at in self._page.ask(question, self._conversation):
            if len(entries) > 1 and entries[-2]["text"] == question:  # it was shown with its answer
                answer.grow(entries[-1]["text"], at)
        self._conversation = self._page.conversation
        self._compare(entries, [*self.texts, question, answer.text])

    async def begin(self, talk: Talk, conversations: int) -> None:
        """Begin so many conversations, one after the other, of one turn each."""
        for _ in range(conversations):
            self.texts, self._conversation = [], ""
            self._page.begin_anew()
            await self.talk(talk, delay=0, until=0)

    async def leave(self) -> None:
        """Close the page."""
        await self._page.close()
        await self._http.close()

    @staticmethod
    def _compare(entries: list[dict], texts: list[str]) -> None:
        """Compare what is shown, which is the end of a long conversation, with what was written."""
        shown = [entry["text"] for entry in entries]
        if shown != texts[-len(shown) :] or len(shown) < min(len(texts), SHOWN_AT_LEAST):
            raise WrongAnswer(f"{len(shown)} messages are shown that are not the last of {len(texts)} written ones")


class PersonAtBackend(Person):
    """The same without the chat: what the machine, the backend and this client cost by themselves."""

    def __init__(self, url: str, http: aiohttp.ClientSession, *, texts: Sequence[str]) -> None:
        super().__init__(texts)
        self._url = url
        self._http = http

    async def ask(self, question: str, answer: Answer) -> None:
        """Post the conversation, and read the stream."""
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
