"""Simulated people, each with two devices that write in the same conversations, as the page does."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.fault_parts.answers import NAME_CHARS, question_of
from tests.page_client import PARAMETERS, SAME_ORIGIN, apply_event, events

if TYPE_CHECKING:
    import random

    from benchmarks.fault_parts.pace import Pace

MODEL = "gemma"
DEVICES = 2
MAX_TURNS = 30  # of a conversation, by both devices
ATTEMPTS = 60  # for one message, until it is taken
REQUEST_SECONDS = 30.0
LEAVES = 0.15  # share of answers that a device does not read to their end
RELOADS = 0.3  # share of turns before which a device looks at the conversation again


@dataclass(slots=True)
class Question:
    """A message that a device sent.

    Attributes:
        acknowledged: the stream has named its conversation.
        before: names of the questions that the device showed when it was taken.
    """

    name: str
    text: str
    device: int
    acknowledged: bool = False
    before: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(slots=True)
class Talk:
    """A conversation of a person."""

    id: str
    questions: list[Question] = field(default_factory=list)


class Person:
    """A guest with two devices; both have the guest's cookie."""

    def __init__(self, url: str, cookies: dict[str, str], pace: Pace, chance: random.Random, names: list[str]) -> None:
        self.url = url
        self.cookies = cookies
        self.pace = pace
        self.chance = chance
        self.names = names  # of questions that no device has sent yet
        self.talks: list[Talk] = []
        self.counts: Counter[str] = Counter()
        self.not_in_words: Counter[str] = Counter()

    async def run(self) -> None:
        """Send messages from both devices until the pace ends."""
        async with aiohttp.ClientSession(
            cookies=self.cookies,
            headers=SAME_ORIGIN,
            read_bufsize=1 << 24,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as http:
            await asyncio.gather(*(Device(self, number, http).run() for number in range(DEVICES)))


class Device:
    """One device: what its page shows of each conversation."""

    def __init__(self, person: Person, number: int, http: aiohttp.ClientSession) -> None:
        self._person = person
        self._number = number
        self._http = http
        self._pages: dict[str, list[dict]] = {}

    async def run(self) -> None:
        """Send messages until the pace ends."""
        while await self._person.pace.begin() is not None:
            name = self._person.names.pop()
            question = Question(name, question_of(name, is_long=self._person.chance.random() < 0.05), self._number)
            await self._ask(question)

    async def _ask(self, question: Question) -> None:
        chance, counts = self._person.chance, self._person.counts
        open_talks = [talk for talk in self._person.talks if len(talk.questions) < MAX_TURNS]
        talk = chance.choice(open_talks[-2:]) if open_talks and chance.random() < 0.93 else None
        entries = self._pages.setdefault(talk.id, []) if talk else []
        if talk and (not entries or chance.random() < RELOADS):
            await self._look(talk.id)
        question_id, is_retry, shown = f"{chance.getrandbits(128):032x}", False, list[str]()
        began = time.monotonic()
        for _ in range(ATTEMPTS):
            entries = self._pages[talk.id] if talk else []
            body = {"text": question.text, "model": MODEL, **PARAMETERS, "question": question_id, "retry": is_retry}
            if entries:
                last = entries[-1]
                body |= {"after": last["id"], "shown": len(entries)}
                earlier = [entry["id"] for entry in entries[-7:-1]]
                body["seen"] = {"id": last["id"], "revision": last.get("revision", 0), "earlier": earlier}
            path = f"conversations/{talk.id}/turns" if talk else "conversations"
            if not is_retry:  # else the first attempt may have been stored with what was shown then
                shown = [entry["text"][:NAME_CHARS] for entry in entries if entry["role"] == "user"]
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    outcome, talk = await self._post(path, body, question, talk, shown, began)
            except (aiohttp.ClientError, ConnectionError, TimeoutError):
                outcome = "response lost"
            if question.acknowledged:
                return
            counts[outcome] += 1
            if outcome == "went on elsewhere":
                continue  # the new messages are shown, and the text is still in the box
            is_retry = is_retry or outcome == "response lost"
            if talk and outcome != "response lost":
                await self._look(talk.id)
            await asyncio.sleep(chance.uniform(0.1, 0.5))
        counts["given up"] += 1

    async def _post(
        self, path: str, body: dict, question: Question, talk: Talk | None, shown: list[str], began: float
    ) -> tuple[str, Talk | None]:
        async with self._http.post(f"{self._person.url}/{path}", json=body) as stream:
            if stream.status != 200:
                return await self._refused(stream, talk), talk
            async for event in events(stream):
                if "started" in event:
                    conversation = event["started"]["conversation"]["id"]
                    if talk is None:
                        talk = Talk(conversation)
                        self._person.talks.append(talk)
                    question.acknowledged, question.before = True, shown
                    question.seconds = time.monotonic() - began
                    talk.questions.append(question)
                    self._pages.setdefault(talk.id, [])
                    if self._person.chance.random() < LEAVES:
                        break
                elif "end" in event or "error" in event:
                    break
                elif talk:
                    self._apply(talk.id, event)
        return "broke off", talk

    async def _refused(self, response: aiohttp.ClientResponse, talk: Talk | None) -> str:
        if response.content_type != "application/json":
            if response.headers.get("x-from") != "balancer":
                self._person.not_in_words[f"{response.status} {(await response.text())[:100]}"] += 1
            return "response lost"  # the replica may have taken it
        refusal = await response.json()
        if "messages" in refusal and talk:
            before = self._pages[talk.id]
            self._apply(talk.id, refusal)
            if self._pages[talk.id] == before:
                self._person.not_in_words["went on elsewhere, but nothing is new"] += 1
            return "went on elsewhere"
        return f"{response.status}: {refusal['error']['text'][:60]}"

    async def _look(self, conversation: str) -> None:
        """Read the conversation as a page does that continues after its last complete message."""
        entries = self._pages.setdefault(conversation, [])
        complete = [number for number, entry in enumerate(entries) if not entry["writing"]]
        query = {"after": entries[complete[-1]]["id"], "shown": str(complete[-1] + 1)} if complete else {}
        try:
            async with (
                asyncio.timeout(REQUEST_SECONDS),
                self._http.get(f"{self._person.url}/conversations/{conversation}/events", params=query) as stream,
            ):
                if stream.status == 200:
                    async for event in events(stream):
                        if "end" in event or "error" in event:
                            return
                        self._apply(conversation, event)
        except (aiohttp.ClientError, ConnectionError, TimeoutError):
            self._person.counts["look broke off"] += 1

    def _apply(self, conversation: str, event: dict) -> None:
        page = self._pages[conversation]
        known = {entry["id"] for entry in page}
        if event.get("after") and event["after"] not in known:
            event = event | {"after": ""}
        self._pages[conversation] = apply_event(page, event)
