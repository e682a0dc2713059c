"""Simulated users: they send, read, stop, continue and leave answers, and retry when a response is lost."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import aiohttp

from benchmarks.fault_parts.answers import FIRST_CHARS, document_of, sent_at
from benchmarks.fault_parts.processes import SECRET
from benchmarks.fault_parts.record import Sending, Talk, Turn
from benchmarks.fault_parts.shelves import TIMEOUT_SECONDS, Shelf
from chatapp.auth.anonymous import AnonymousAuthenticator
from chatapp.domain.errors import FilesMissing
from chatapp.http.middleware.error_boundary import RESTARTING
from tests.page_client import PARAMETERS, SAME_ORIGIN, NotInWords, Refused, apply_event, events, open_page

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from benchmarks.fault_parts.pace import Pace
    from benchmarks.fault_parts.processes import Chat
    from benchmarks.fault_parts.record import Book
    from tests.page_client import PageClient

COOKIE = "chat_user"  # of a guest over http: see `chatapp.auth.anonymous`
MODEL = "gemma"
TABS = 2
MAX_TURNS = 14  # of a conversation
LONG_ANSWER_SECONDS = 6.0
# Actions per 100 turns. "read" reads the answer in the response to the question, as the page does.
ACTIONS = {"read": 48, "reopen": 30, "stop": 4, "continue": 4, "leave": 6, "close": 8}
LONG_ACTIONS = {"stop", "continue", "leave"}
LONG_SHARE = 0.1  # of the other turns
RETRY_SHARE = 0.7  # of the questions whose response was lost; the page always retries, an old version never
MAX_RETRIES = 5
SHELF_EVERY = 12  # questions of all users: before it, a document is added to a collection, or removed
DOCUMENT_SHARE = 0.04  # of the questions; each is read in a process of its own
_UPLOAD_MISSING = str(FilesMissing(()))  # the chat was killed after the upload
NOT_SAVED = "is not saved yet"  # text of `chatapp.generation.generator`: this answer may be lost


class User:
    """A browser with two tabs, each with its own conversations.

    Attributes:
        user: the user id in the store.
        cookies: the guest session.
        errors: number of errors by message while an answer was read; its end is then unknown.
        not_in_words: responses to questions that were errors in plain text.
        shelf: the documents of this user's collection.
    """

    def __init__(self, chat: Chat, book: Book, pace: Pace, chance: random.Random) -> None:
        identity = AnonymousAuthenticator(SECRET, secure=False)
        self.user, cookie = identity.new_user()
        self.cookies = {COOKIE: cookie}
        self.errors: Counter[str] = Counter()
        self.not_in_words: list[str] = []
        self.chat = chat
        self.book = book
        self.pace = pace
        self.chance = chance
        self.shelf = Shelf(f"{chance.getrandbits(128):032x}", chance)

    async def run(self) -> None:
        """Run turns until the last phase ends."""
        async with (
            AsyncExitStack() as stack,
            aiohttp.ClientSession(cookies=self.cookies, headers=SAME_ORIGIN, read_bufsize=1 << 24) as http,
        ):
            page = await self._open_when_served(
                lambda: stack.enter_async_context(open_page(self.chat.url, cookies=self.cookies))
            )
            with suppress(aiohttp.ClientError, Refused):  # while the chat is down
                await page.listed()  # as the page does when it opens
            pages = [page, *[await self._open_when_served(page.second_tab) for _ in range(TABS - 1)]]
            await asyncio.gather(*(_Tab(self, page, http).run() for page in pages))

    async def _open_when_served(self, opens: Callable[[], Awaitable[PageClient]]) -> PageClient:
        """Open a page; retry while the chat is down."""
        while True:
            await self.chat.serving.wait()
            with suppress(aiohttp.ClientConnectionError, Refused):  # while it ends or starts
                return await opens()
            await asyncio.sleep(0.1)


class _Tab:
    """An open page with conversations that no other tab uses."""

    def __init__(self, person: User, page: PageClient, http: aiohttp.ClientSession) -> None:
        self._person = person
        self._page = page
        self._http = http
        self._chance = person.chance
        self._talks: list[Talk] = []

    async def run(self) -> None:
        while (phase := await self._person.pace.begin()) is not None:
            talk = self._choose()
            (action,) = self._chance.choices(list(ACTIONS), list(ACTIONS.values()))
            is_long = action in LONG_ACTIONS or self._chance.random() < LONG_SHARE
            if talk.id and talk.turns and talk.turns[-1].shown is None:
                await self._look(talk.turns[-1], "reopen")  # a returning user sees the answer first
            turn = self._person.book.begin(talk, phase, is_long=is_long)
            if len(self._person.book.turns) % SHELF_EVERY == 0:
                await self._person.shelf.visit(self._page, self._person.chat, phase)
            talk.busy_until = time.monotonic() + (LONG_ANSWER_SECONDS if is_long else 1.0)
            await self._send(turn, reads=action == "read")
            if turn.sending is Sending.UNKNOWN and not talk.id:
                self._talks.remove(talk)  # this tab does not know the id of the conversation
            elif turn.sending is Sending.ACKNOWLEDGED and turn.shown is None:
                await self._look(turn, action)
            if turn.shown is not None:
                talk.busy_until = 0.0

    def _choose(self) -> Talk:
        """Return the last conversation (60%), an older one (25%) or a new one (15%)."""
        now = time.monotonic()
        idle = [talk for talk in self._talks if len(talk.turns) < MAX_TURNS and talk.busy_until < now]
        if idle and self._chance.random() < 0.85:
            return idle[-1] if self._chance.random() < 0.7 else self._chance.choice(idle)
        self._talks.append(Talk(self._person.user))
        return self._talks[-1]

    async def _send(self, turn: Turn, *, reads: bool) -> None:
        """Send a question; if the response is lost, most often retry it with the same id."""
        repeats = MAX_RETRIES if self._chance.random() < RETRY_SHARE else 0
        name: dict[str, object] = {"question": f"{self._chance.getrandbits(128):032x}", "after": turn.talk.last}
        if self._chance.random() < DOCUMENT_SHARE and (document := await self._upload(document_of(turn.name))):
            turn.document = document_of(turn.name)
            name["documents"] = [{"id": document}]
        await self._send_once(turn, name, reads=reads)
        if turn.refusal == _UPLOAD_MISSING and (document := await self._upload(turn.document)):  # as the page does
            turn.sending, turn.refusal, name["documents"] = Sending.BEGUN, "", [{"id": document}]
            await self._send_once(turn, name, reads=reads)
        while turn.sending is Sending.UNKNOWN and turn.repeats < repeats:
            turn.repeats += 1
            await asyncio.sleep(self._chance.random())
            await self._send_once(turn, name | {"retry": True}, reads=reads)

    async def _upload(self, text: str) -> str:
        """Upload a document and return its id; "" if that fails, and the question is sent without it."""
        await self._person.chat.serving.wait()
        address = f"{self._person.chat.url}/documents?name=keeper.txt"
        with suppress(aiohttp.ClientError, TimeoutError):
            async with asyncio.timeout(TIMEOUT_SECONDS), self._http.post(address, data=text.encode()) as response:
                if response.status == 200:
                    return str((await response.json())["id"])
                self._person.errors[f"upload: {response.status} {(await response.text())[:80]}"] += 1
        return ""

    async def _send_once(self, turn: Turn, name: dict[str, object], *, reads: bool) -> None:
        await self._person.chat.serving.wait()
        began = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if reads:
                    await self._send_and_read(turn, name, began)
                else:
                    conversation = await self._page.send(turn.question, conversation=turn.talk.id, model=MODEL, **name)
                    self._record_acknowledged(turn, conversation, began)
        except Refused as refusal:
            # After a lost response the first attempt may have been successful; so may a request that was cancelled.
            is_unknown = turn.repeats or str(refusal) == RESTARTING
            turn.sending, turn.refusal = Sending.UNKNOWN if is_unknown else Sending.REFUSED, str(refusal)
        except NotInWords as error:
            self._person.not_in_words.append(str(error))
            turn.sending, turn.refusal = Sending.UNKNOWN, type(error).__name__
        except Exception as error:  # noqa: BLE001  # a chat that ends can end a response in many ways
            if turn.sending is Sending.ACKNOWLEDGED:  # only the end of the answer is unknown
                self._person.errors[f"{type(error).__name__} {error}"[:100]] += 1
            else:
                turn.sending, turn.refusal = Sending.UNKNOWN, type(error).__name__

    async def _send_and_read(self, turn: Turn, name: dict[str, object], began: float) -> None:
        path = f"conversations/{turn.talk.id}/turns" if turn.talk.id else "conversations"
        body = {"text": turn.question, "model": MODEL, **PARAMETERS, **name}
        entries: list[dict] = []
        async with self._http.post(f"{self._person.chat.url}/{path}", json=body) as stream:
            if stream.status != 200 and stream.content_type != "application/json":
                raise NotInWords(f"{stream.status} {(await stream.text())[:100]}")
            if stream.status != 200:
                raise Refused((await stream.json())["error"], stream.status)
            async for event in events(stream):
                if "started" in event:
                    self._record_acknowledged(turn, event["started"]["conversation"]["id"], began)
                elif "end" in event:
                    _record_end(entries, turn)
                    return
                elif "error" in event:
                    raise ConnectionError(event["error"]["text"])
                else:
                    # The stream has only what follows the last message; the messages before it are not needed here.
                    event["after"] = "" if "after" in event else None
                    entries = apply_event(entries, event)
                    _record_first_words(entries, turn)
        raise ConnectionError("the stream ended before the answer did")

    def _record_acknowledged(self, turn: Turn, conversation: str, began: float) -> None:
        if turn.sending is not Sending.ACKNOWLEDGED and not turn.repeats:
            turn.send_seconds = time.monotonic() - began
        turn.sending = Sending.ACKNOWLEDGED
        if turn.talk.id not in {"", conversation}:
            self._person.errors["the page moved to another conversation"] += 1
        turn.talk.id = conversation

    async def _look(self, turn: Turn, action: str) -> None:
        """Read the answer in a new stream."""
        page, conversation = self._page, turn.talk.id
        if action == "close":
            return
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                if action in LONG_ACTIONS:
                    await page.watch_until(conversation, lambda messages: _has_begun(messages, turn))
                if action == "leave":
                    return
                if action in {"stop", "continue"}:
                    await page.stop(conversation)
                await page.messages(conversation)
                turn.talk.last = page.entries[-1]["id"]
                _record_end(page.entries, turn)
                if action == "continue" and page.entries[-1]["canContinue"]:
                    turn.continued = True
                    await page.go_on(conversation, page.entries[-1]["id"], model=MODEL)
                    await page.messages(conversation)
                    _record_end(page.entries, turn)
                    turn.continued = False  # its end is known
        except Exception as error:  # noqa: BLE001  # as above; an answer without a known end is not acknowledged
            self._person.errors[f"{type(error).__name__} {error}"[:100]] += 1


def _answer_to(entries: list[dict], question: str) -> dict | None:
    """Return the message that the page shows as the answer to a question."""
    for message, following in itertools.pairwise(entries):
        if message["role"] == "user" and message["text"] == question and following["role"] == "assistant":
            return following
    return None


def _has_begun(entries: list[dict], turn: Turn) -> bool:
    answer = _answer_to(entries, turn.question)
    return answer is not None and len(answer["text"]) >= FIRST_CHARS


def _record_first_words(entries: list[dict], turn: Turn) -> None:
    """Record the time from the backend's first token, which contains its time, to the page."""
    if turn.word_seconds is None and not turn.repeats and entries and entries[-1]["role"] == "assistant":
        text = entries[-1]["text"]
        if len(text) >= FIRST_CHARS:
            turn.word_seconds = time.monotonic() - sent_at(text)


def _record_end(entries: list[dict], turn: Turn) -> None:
    answer = _answer_to(entries, turn.question)
    if answer is None:
        return
    if answer is entries[-1]:
        turn.talk.last = answer["id"]
        if answer["writing"]:
            return
    turn.shown = answer["text"]
    turn.promised = NOT_SAVED not in str(answer["error"])
