"""People: they ask, read to the end, press Stop, go on, leave in mid-answer, and ask again when a reply was lost."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.fault_parts.answers import FIRST_CHARS, sent_at
from benchmarks.fault_parts.record import Sending, Talk, Turn
from chatapp.auth.anonymous import COOKIE, AnonymousAuthenticator
from tests.page_client import PARAMETERS, SAME_ORIGIN, Refused, events, open_page, taken

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from benchmarks.fault_parts.pace import Pace
    from benchmarks.fault_parts.processes import Chat
    from benchmarks.fault_parts.record import Book
    from tests.page_client import PageClient

SECRET = "faults-faults-faults"
MODEL = "gemma"
TABS = 2
LONGEST_TALK = 14  # turns; then something new is begun
PATIENCE_SECONDS = 60.0  # for what a page is asked
LONG_ANSWER_SECONDS = 6.0
# Of 100 turns. "read" does what the page does: what was sent and its answer come in one stream.
WAYS = {"read": 48, "look back": 30, "stop": 4, "go on": 4, "leave": 6, "look away": 8}
LONG_WAYS = {"stop", "go on", "leave"}
LONG_SHARE = 0.1  # of the others
SENT_AGAIN = 0.7  # of the questions whose reply was lost; the page does so always, an older one never
MOST_REPEATS = 5
NOT_SAVED = "is not saved yet"  # words of `chatapp.generation.generator`: the page does not promise to keep this answer


class Person:
    """One browser, with two tabs that talk in conversations of their own.

    Attributes:
        user: as the store knows them.
        cookies: what makes a browser theirs.
        troubles: what went wrong while an answer was watched, counted; its end was then not seen.
    """

    def __init__(self, chat: Chat, book: Book, pace: Pace, chance: random.Random) -> None:
        identity = AnonymousAuthenticator(SECRET, secure=False)
        self.user, cookie = identity.new_user()
        self.cookies = {COOKIE: cookie}
        self.troubles: Counter[str] = Counter()
        self.chat = chat
        self.book = book
        self.pace = pace
        self.chance = chance

    async def live(self) -> None:
        """Talk until nothing more is to be asked."""
        async with (
            AsyncExitStack() as stack,
            aiohttp.ClientSession(cookies=self.cookies, headers=SAME_ORIGIN, read_bufsize=1 << 24) as http,
        ):
            page = await self._once_served(
                lambda: stack.enter_async_context(open_page(self.chat.url, cookies=self.cookies))
            )
            with suppress(aiohttp.ClientError, Refused):  # the chat may just be down
                await page.listed()  # as a page does when it is opened
            pages = [page, *[await self._once_served(page.second_tab) for _ in range(TABS - 1)]]
            await asyncio.gather(*(_Tab(self, page, http).talk() for page in pages))

    async def _once_served(self, opens: Callable[[], Awaitable[PageClient]]) -> PageClient:
        """Open a page, again while the chat is down."""
        while True:
            await self.chat.serving.wait()
            with suppress(aiohttp.ClientConnectionError):
                return await opens()
            await asyncio.sleep(0.1)


class _Tab:
    """One open page of a person, who talks in conversations that no other tab knows."""

    def __init__(self, person: Person, page: PageClient, http: aiohttp.ClientSession) -> None:
        self._person = person
        self._page = page
        self._http = http
        self._chance = person.chance
        self._talks: list[Talk] = []

    async def talk(self) -> None:
        while (phase := await self._person.pace.begin()) is not None:
            talk = self._choose()
            (way,) = self._chance.choices(list(WAYS), list(WAYS.values()))
            is_long = way in LONG_WAYS or self._chance.random() < LONG_SHARE
            if talk.turns and talk.turns[-1].shown is None:
                await self._look(talk.turns[-1], "look back")  # whoever comes back sees first what is there
            turn = self._person.book.begin(talk, phase, is_long=is_long)
            talk.busy_until = time.monotonic() + (LONG_ANSWER_SECONDS if is_long else 1.0)
            await self._send(turn, reads=way == "read")
            if turn.sending is Sending.UNKNOWN and not talk.id:
                self._talks.remove(talk)  # whatever became of it, this tab does not know its address
            elif turn.sending is Sending.ACKNOWLEDGED and turn.shown is None:
                await self._look(turn, way)
            if turn.shown is not None:
                talk.busy_until = 0.0

    def _choose(self) -> Talk:
        """Return the last conversation most often, an older one now and then, or a new one."""
        now = time.monotonic()
        known = [talk for talk in self._talks if len(talk.turns) < LONGEST_TALK and talk.busy_until < now]
        if known and self._chance.random() < 0.85:
            return known[-1] if self._chance.random() < 0.7 else self._chance.choice(known)
        self._talks.append(Talk(self._person.user))
        return self._talks[-1]

    async def _send(self, turn: Turn, *, reads: bool) -> None:
        """Send a question and, where its reply is lost, send it again under its own name, most often."""
        repeats = MOST_REPEATS if self._chance.random() < SENT_AGAIN else 0
        name = {"question": f"{self._chance.getrandbits(128):032x}", "after": turn.talk.last}
        await self._send_once(turn, name, reads=reads)
        while turn.sending is Sending.UNKNOWN and turn.repeats < repeats:
            turn.repeats += 1
            await asyncio.sleep(self._chance.random())
            await self._send_once(turn, name | {"retry": True}, reads=reads)

    async def _send_once(self, turn: Turn, name: dict[str, object], *, reads: bool) -> None:
        await self._person.chat.serving.wait()
        began = time.monotonic()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if reads:
                    await self._send_and_read(turn, name, began)
                else:
                    found = await self._page.send(turn.question, conversation=turn.talk.id, model=MODEL, **name)
                    self._note_taken(turn, found, began)
        except Refused as refusal:
            # Refused after an attempt without a reply: that one may have been taken.
            turn.sending, turn.refusal = Sending.UNKNOWN if turn.repeats else Sending.REFUSED, str(refusal)
        except Exception as error:  # noqa: BLE001  # a chat that ends can end a response in many ways
            if turn.sending is Sending.ACKNOWLEDGED:  # its answer was not seen to its end, that is all
                self._person.troubles[f"{type(error).__name__} {error}"[:100]] += 1
            else:
                turn.sending, turn.refusal = Sending.UNKNOWN, type(error).__name__

    async def _send_and_read(self, turn: Turn, name: dict[str, object], began: float) -> None:
        path = f"conversations/{turn.talk.id}/turns" if turn.talk.id else "conversations"
        asked = {"text": turn.question, "model": MODEL, **PARAMETERS, **name}
        entries: list[dict] = []
        async with self._http.post(f"{self._person.chat.url}/{path}", json=asked) as stream:
            if stream.status != 200:
                raise Refused((await stream.json())["error"], stream.status)
            async for event in events(stream):
                if "started" in event:
                    self._note_taken(turn, event["started"]["conversation"]["id"], began)
                elif "end" in event:
                    _note_end(entries, turn)
                    return
                elif "error" in event:
                    raise ConnectionError(event["error"]["text"])
                else:
                    # Only what follows the last message is sent; what is kept of before does not matter here.
                    event["after"] = "" if "after" in event else None
                    entries = taken(entries, event)
                    _note_word(entries, turn)
        raise ConnectionError("the stream ended before the answer did")

    def _note_taken(self, turn: Turn, conversation: str, began: float) -> None:
        if turn.sending is not Sending.ACKNOWLEDGED and not turn.repeats:
            turn.send_seconds = time.monotonic() - began
        turn.sending = Sending.ACKNOWLEDGED
        if turn.talk.id not in {"", conversation}:
            self._person.troubles["the page moved to another conversation"] += 1
        turn.talk.id = conversation

    async def _look(self, turn: Turn, way: str) -> None:
        """Look at the answer in another stream than that in which it was asked for."""
        page, conversation = self._page, turn.talk.id
        if way == "look away":
            return
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                if way in LONG_WAYS:
                    await page.watch_until(conversation, lambda messages: _has_begun(messages, turn))
                if way == "leave":
                    return
                if way in {"stop", "go on"}:
                    await page.stop(conversation)
                await page.messages(conversation)
                turn.talk.last = page.entries[-1]["id"]
                _note_end(page.entries, turn)
                if way == "go on" and page.entries[-1]["canContinue"]:
                    turn.went_on = True
                    await page.go_on(conversation, page.entries[-1]["id"], model=MODEL)
                    await page.messages(conversation)
                    _note_end(page.entries, turn)
                    turn.went_on = False  # its end was seen, and is what is kept
        except Exception as error:  # noqa: BLE001  # as above; what was not seen is not acknowledged
            self._person.troubles[f"{type(error).__name__} {error}"[:100]] += 1


def _answer_to(entries: list[dict], question: str) -> dict | None:
    """Return what the page shows as the answer to a question."""
    for shown, following in itertools.pairwise(entries):
        if shown["role"] == "user" and shown["text"] == question and following["role"] == "assistant":
            return following
    return None


def _has_begun(entries: list[dict], turn: Turn) -> bool:
    answer = _answer_to(entries, turn.question)
    return answer is not None and len(answer["text"]) >= FIRST_CHARS


def _note_word(entries: list[dict], turn: Turn) -> None:
    """Note when the first words were there: what the page shows and the backend's own time in it tell."""
    if turn.word_seconds is None and not turn.repeats and entries and entries[-1]["role"] == "assistant":
        text = entries[-1]["text"]
        if len(text) >= FIRST_CHARS:
            turn.word_seconds = time.monotonic() - sent_at(text)


def _note_end(entries: list[dict], turn: Turn) -> None:
    answer = _answer_to(entries, turn.question)
    if answer is None:
        return
    if answer is entries[-1]:
        turn.talk.last = answer["id"]
        if answer["writing"]:
            return
    turn.shown = answer["text"]
    turn.promised = NOT_SAVED not in str(answer["error"])
