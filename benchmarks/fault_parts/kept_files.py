"""Documents whose files are kept, with SQLite: the chat is killed, ended and out of disk while people upload.

What was acknowledged must be there with its file, byte for byte: a document of a collection when its upload was
answered, one of a question when its stream has named the conversation. After each start, the folder must have no file
that no document names (`chatapp.store.sqlite.document_files`).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import aiohttp

from benchmarks.fault_parts.disk import LimitedFiles
from benchmarks.fault_parts.processes import SECRET, Chat, sqlite_settings
from benchmarks.fault_parts.record import Sending
from chatapp.auth.anonymous import AnonymousAuthenticator
from chatapp.store.sqlite.file_folder import folder_of
from tests.fakes.openai_server import FakeOpenAIServer
from tests.page_client import SAME_ORIGIN, NotInWords, Refused, open_page

if TYPE_CHECKING:
    from pathlib import Path

    from tests.page_client import PageClient

API_ONLY = "benchmarks.fault_parts.api_only"
ROUNDS = 12
PEOPLE = 4
COOKIE, COLLECTION = "chat_user", "f" * 32
TO_COLLECTION, REMOVED = 0.6, 0.15  # shares of what people do; the rest are questions with a document
BEFORE = 4  # acknowledged uploads before a fault
REFUSED_BY_DISK = 3  # before there is room again
DEADLINE_SECONDS = 300.0  # for each of these
FAULTS = ("full", "killed", "ended")  # in turn; one that was full is killed, too
UNAVAILABLE = 500  # and higher: it is not known what the chat has done


@dataclass(slots=True, eq=False)
class Kept:
    """A file that a person uploaded.

    Attributes:
        name: which no other has; its bytes follow from it.
        address: of the document of a collection, or of the conversation whose question it came with; "" until that was
            acknowledged.
        removing: None if it was never removed from its collection.
    """

    name: str
    address: str = ""
    removing: Sending | None = None

    @property
    def content(self) -> bytes:
        """Text of 300 bytes to 240 kB."""
        chance = random.Random(self.name)
        lines = (
            f"{self.name} {number} {chance.getrandbits(64):x}"
            for number in range(chance.choice((10, 100, 1_000, 8_000)))
        )
        return "\n".join(lines).encode()


@dataclass(eq=False)
class Person:
    """One who uploads until the chat goes away.

    Attributes:
        files: all uploads.
        counts: what came of them.
        not_in_words: responses that were errors in plain text.
    """

    number: int
    chance: random.Random
    files: list[Kept] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    not_in_words: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        _, self.cookie = AnonymousAuthenticator(SECRET, secure=False).new_user()

    async def run(self, chat: Chat, stop: asyncio.Event) -> None:
        """Upload, one file after the other, until ``stop`` is set or the chat does not answer."""
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            async with open_page(chat.url, cookies={COOKIE: self.cookie}) as page:
                await page.ask("POST", "collections", {"name": "All", "id": COLLECTION})
                while not stop.is_set():
                    await self._act(page)

    async def _act(self, page: PageClient) -> None:
        there = [one for one in self.files if one.address.startswith("collections") and one.removing is None]
        try:
            if there and self.chance.random() < REMOVED:
                gone = self.chance.choice(there)
                gone.removing = Sending.UNKNOWN
                await page.ask("DELETE", gone.address)
                gone.removing = Sending.ACKNOWLEDGED
                self.counts["removed"] += 1
                return
            new = Kept(f"{self.number}-{len(self.files)}.txt")
            self.files.append(new)
            new.address = await self._added(page, new)
            self.counts["acknowledged"] += 1
        except Refused as refusal:
            self.counts[
                "refused" if refusal.status >= UNAVAILABLE else f"refused with {refusal.status}: {refusal}"
            ] += 1
        except NotInWords as error:
            self.not_in_words.append(str(error))

    async def _added(self, page: PageClient, new: Kept) -> str:
        """Upload a file to the collection, or with a question; return the address of its document."""
        if self.chance.random() < TO_COLLECTION:
            added = await page.upload_document(new.content, new.name, collection=COLLECTION)
            return f"collections/{COLLECTION}/documents/{added['id']}"
        added = await page.upload_document(new.content, new.name)
        conversation = await page.send("What does it say?", model="gemma", documents=[{"id": added["id"]}])
        return f"conversations/{conversation}"


async def keep_files(folder: Path, seed: int, rounds: int, *, number_of_people: int = PEOPLE) -> Outcome:
    """Run rounds of uploads, each with a fault, and read back all that was acknowledged."""
    chance = random.Random(seed)
    people = [Person(number, random.Random(f"{seed} {number}")) for number in range(number_of_people)]
    done, wrong = Counter[str](), Counter[str]()
    async with FakeOpenAIServer() as model, Chat(folder, sqlite_settings(model.url), API_ONLY) as chat:
        await chat.start()
        for number in range(rounds):
            await _round(chat, people, FAULTS[number % len(FAULTS)], chance, done)
            await chat.start()
            wrong.update(left_over(chat.data_folder / "chat.db"))
        for person in people:
            wrong.update(await missing(chat, person))
        await chat.terminate()
    uploads = sum((person.counts for person in people), Counter[str]())
    wrong["not in words"] += sum(len(person.not_in_words) for person in people)
    wrong["unexpected ends"] += len(chat.crashes)
    return Outcome(done, uploads, +wrong)


class Outcome(NamedTuple):
    """What happened, what came of the uploads, and what is wrong."""

    done: Counter[str]
    uploads: Counter[str]
    wrong: Counter[str]


async def _round(chat: Chat, people: list[Person], fault: str, chance: random.Random, done: Counter[str]) -> None:
    stop = asyncio.Event()
    running = [asyncio.create_task(person.run(chat, stop)) for person in people]
    try:
        await _until(people, running, "acknowledged", BEFORE)
        if fault == "full":
            disk = LimitedFiles(chat)
            await disk.fill()
            await _until(people, running, "refused", REFUSED_BY_DISK)
            await disk.free()
            await _until(people, running, "acknowledged", 1)
            done["disk was full"] += 1
        await asyncio.sleep(chance.uniform(0, 0.3))  # within whatever they do now
        if fault == "ended":
            await chat.terminate()
        else:
            await chat.kill()
        done["chat was ended" if fault == "ended" else "chat was killed"] += 1
    finally:
        stop.set()
        await asyncio.gather(*running)


async def _until(people: list[Person], running: list[asyncio.Task[None]], what: str, more: int) -> None:
    """Wait until so many more uploads of all people ended so; raise what ended one of the people."""

    def counted() -> int:
        return sum(person.counts[what] for person in people)

    most = counted() + more
    async with asyncio.timeout(DEADLINE_SECONDS):
        while counted() < most:
            for ended in (one for one in running if one.done()):
                ended.result()
            await asyncio.sleep(0.02)


def left_over(database: Path) -> Counter[str]:
    """Return how many files of a history no document names, and how many that one names are not there."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = {id_ for (id_,) in connection.execute("SELECT id FROM files")}
        queries = (f"SELECT file FROM {table} WHERE file != ''" for table in ("documents", "library_documents"))
        named = {id_ for query in queries for (id_,) in connection.execute(query)}
    there = {one.name for one in folder_of(database).iterdir()} if folder_of(database).exists() else set()
    return Counter({"files left over": len((there | rows) - named), "files missing": len(named - (there & rows))})


async def missing(chat: Chat, person: Person) -> Counter[str]:
    """Return how many acknowledged documents of a person are not as uploaded, and how many removed ones are there."""
    wrong = Counter[str]()
    cookies = {COOKIE: person.cookie}
    async with open_page(chat.url, cookies=cookies) as page, aiohttp.ClientSession(cookies=cookies) as http:
        for kept in person.files:
            if not kept.address or kept.removing is Sending.UNKNOWN:
                continue
            address = kept.address
            if address.startswith("conversations"):  # a question gives its documents new ids
                (question, *_) = await page.messages(address.partition("/")[2])
                address = f"{address}/documents/{question['documents'][0]['id']}"
            async with http.get(f"{chat.url}/{address}/file", headers=SAME_ORIGIN) as response:
                content = await response.read() if response.ok else None
            is_gone = kept.removing is Sending.ACKNOWLEDGED
            wrong["removed and there"] += is_gone and content is not None
            wrong["lost or different"] += not is_gone and content != kept.content
            if not is_gone and content is not None:
                text = "\n".join(page_["text"] for page_ in (await page.get(address))["pages"])
                wrong["texts that differ"] += kept.name not in text
    return wrong
