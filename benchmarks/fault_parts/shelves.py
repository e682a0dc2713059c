"""Collections of documents: users add to them and remove from them, and what was acknowledged must be so at the end.

An upload is written to the cloud before it is acknowledged. One whose response was lost, or that was refused because
the cloud is unavailable, may be there or not, once.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.fault_parts.answers import document_of
from benchmarks.fault_parts.record import Sending
from chatapp.documents.packing import unpacked
from chatapp.store.firestore.store import FirestoreStore
from tests.firestore_emulator import PROJECT
from tests.page_client import NotInWords, Refused

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterable

    from benchmarks.fault_parts.audit import Findings
    from benchmarks.fault_parts.processes import Chat
    from benchmarks.fault_parts.users import User
    from tests.page_client import PageClient

REMOVED_SHARE = 0.25  # of the visits that remove a document
ATTEMPTS = 6  # of an upload, as the page makes them while the chat restarts
TIMEOUT_SECONDS = 60.0  # of a request
UNAVAILABLE = 500  # and higher: it is not known what the chat has done

Libraries = dict[str, tuple[set[str], list[tuple[str, str]]]]


@dataclass(slots=True, eq=False)
class Upload:
    """A document that a user added to a collection.

    Attributes:
        name: of its file, which no other upload has; its text follows from it.
        phase: the name of the fault while it was added.
        id: of the document; "" until it was acknowledged.
        removing: None if it was never removed.
    """

    name: str
    phase: str
    adding: Sending = Sending.BEGUN
    id: str = ""
    removing: Sending | None = None


@dataclass(slots=True, eq=False)
class Shelf:
    """The collection of a user.

    Attributes:
        id: of the collection.
        making: of the collection itself.
        uploads: all of them, in their order.
        not_in_words: responses that were errors in plain text.
    """

    id: str
    chance: random.Random
    making: Sending = Sending.BEGUN
    uploads: list[Upload] = field(default_factory=list)
    not_in_words: list[str] = field(default_factory=list)

    async def visit(self, page: PageClient, chat: Chat, phase: str) -> None:
        """Add a document, or remove one; the first time, make the collection."""
        if self.making is not Sending.ACKNOWLEDGED:
            new = {"name": "Lighthouse", "id": self.id}
            self.making, _ = await self._tried(chat, lambda: page.ask("POST", "collections", new))
            if self.making is not Sending.ACKNOWLEDGED:
                return
        there = [one for one in self.uploads if one.id and one.removing is None]
        if there and self.chance.random() < REMOVED_SHARE:
            gone = self.chance.choice(there)
            gone.removing = Sending.BEGUN
            path = f"collections/{self.id}/documents/{gone.id}"
            gone.removing, _ = await self._tried(chat, lambda: page.ask("DELETE", path))
            return
        upload = Upload(f"{self.id[:8]}-{len(self.uploads)}.txt", phase)
        self.uploads.append(upload)
        text = document_of(upload.name)
        upload.adding, added = await self._tried(
            chat, lambda: page.upload_document(text, upload.name, collection=self.id)
        )
        upload.id = added.get("id", "")

    async def _tried(self, chat: Chat, request: Callable[[], Awaitable[dict]]) -> tuple[Sending, dict]:
        """Send a request until its response is known; return that."""
        outcome = Sending.BEGUN
        for _ in range(ATTEMPTS):
            await chat.serving.wait()
            try:
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    return Sending.ACKNOWLEDGED, await request()
            except Refused as refusal:
                if refusal.status < UNAVAILABLE:  # for good; an attempt before it may have been successful
                    return Sending.REFUSED if outcome is Sending.BEGUN else outcome, {}
                outcome = Sending.UNKNOWN
            except NotInWords as error:
                self.not_in_words.append(str(error))
                outcome = Sending.UNKNOWN
            except Exception:  # noqa: BLE001  # a chat that ends can end a response in many ways
                outcome = Sending.UNKNOWN
            await asyncio.sleep(self.chance.random())
        return outcome, {}


async def read_libraries(people: Iterable[User]) -> Libraries:
    """Return of each user the ids of the collections, and the name and text of each document, from the emulator."""
    store = FirestoreStore(PROJECT, "(default)")

    async def text_of(user: str, document_id: str) -> str:
        document = (await store.library_document(user, document_id)).document
        return "\n".join(page.text for page in unpacked(document.data))

    libraries: Libraries = {}
    try:
        for person in people:
            collections = {one.id for one in (await store.profile(person.user)).collections}
            documents = [one.document for one in await store.library(person.user) if one.collection in collections]
            texts = [(one.name, await text_of(person.user, one.id)) for one in documents]
            libraries[person.user] = collections, texts
    finally:
        await store.aclose()
    return libraries


def audit_shelves(people: Iterable[User], libraries: Libraries, findings: Findings) -> None:
    """Compare the documents of collections in Firestore with what the users were told."""
    for person in people:
        shelf = person.shelf
        collections, documents = libraries[person.user]
        if shelf.making is Sending.ACKNOWLEDGED and shelf.id not in collections:
            findings.add("lost", None, f"The collection {shelf.id} is not there.")
        texts: defaultdict[str, list[str]] = defaultdict(list)
        for name, text in documents:
            texts[name].append(text)
        for upload in shelf.uploads:
            _check(upload, texts.pop(upload.name, []), findings)
        for name in texts:
            findings.add("wrong", None, f"Nobody added {name} to a collection, and it is there.")


def _check(upload: Upload, texts: list[str], findings: Findings) -> None:
    is_kept = upload.removing in {None, Sending.REFUSED}  # as one is that the chat did not find
    if upload.adding is Sending.ACKNOWLEDGED and is_kept and not texts:
        findings.add("lost", upload, f"{upload.name} of a collection is not there.")
    if upload.adding is Sending.REFUSED and texts:
        findings.add("kept though refused", upload, f"{upload.name} is in its collection.")
    if upload.removing is Sending.ACKNOWLEDGED and texts:
        findings.add("wrong", upload, f"{upload.name} was removed from its collection, and is there.")
    if len(texts) > 1:
        findings.add("doubled", upload, f"{upload.name} is {len(texts)} times in its collection.")
    if any(text != document_of(upload.name) for text in texts):
        findings.add("wrong", upload, f"{upload.name} of a collection has the text {texts[0][:60]!r}.")


async def audit_listed(page: PageClient, user: str, libraries: Libraries, findings: Findings) -> None:
    """Compare what the dialog "Knowledge" lists with Firestore."""
    listed = (await page.get("library"))["collections"]
    shown = sorted(document["name"] for collection in listed for document in collection["documents"])
    if shown != sorted(name for name, _ in libraries[user][1]):
        findings.add("wrong", None, f"The page lists {shown} in the collections of {user}.")


def counts_of(people: Iterable[User]) -> Counter[str]:
    """Return how many documents were added and removed, by what the users know of it."""
    uploads = [upload for person in people for upload in person.shelf.uploads]
    added = Counter(f"added: {upload.adding}" for upload in uploads)
    return added + Counter(f"removed: {upload.removing}" for upload in uploads if upload.removing)
