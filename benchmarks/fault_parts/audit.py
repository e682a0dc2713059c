"""Compares the stored conversations, in Firestore and on the page, with the responses that the users got."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.fault_parts.answers import WrongText, check, question_name
from benchmarks.fault_parts.record import Sending
from benchmarks.fault_parts.shelves import audit_listed
from chatapp.documents.packing import unpacked
from chatapp.domain.conversation import MessageStatus, Role
from chatapp.domain.errors import ConversationNotFound
from chatapp.store.firestore.store import FirestoreStore
from tests.firestore_emulator import PROJECT
from tests.page_client import open_page, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.fault_parts.record import Book, Turn
    from benchmarks.fault_parts.shelves import Libraries, Upload
    from benchmarks.fault_parts.users import User
    from chatapp.domain.conversation import Message

LISTED_AT_ONCE = 100
READERS = 8
NEVER_STALE_SECONDS = 1e9  # so that a message stored as streaming is read as streaming
KINDS = ("lost", "doubled", "out of order", "wrong", "kept though refused", "left streaming")


class Stored(NamedTuple):
    """A conversation as a store holds it."""

    user: str
    id: str
    messages: list[Message]
    documents: dict[str, str]  # texts by id


class StoredTurn(NamedTuple):
    """A stored question with its answers."""

    stored: Stored
    question: Message
    answers: list[Message]


@dataclass
class Findings:
    """The differences: their number by kind and phase, and a sentence for each."""

    counts: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in KINDS})
    sentences: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    conversations: int = 0
    messages: int = 0

    def add(self, kind: str, turn: Turn | Upload | None, sentence: str) -> None:
        """Add a difference, in the phase of the turn or the upload."""
        phase = turn.phase if turn else ""
        self.counts[kind][phase] += 1
        self.sentences[kind].append(f"{phase}: {sentence}" if turn else sentence)

    def number(self, *kinds: str) -> int:
        """Return the number of differences of these kinds."""
        return sum(self.counts[kind].total() for kind in kinds)


async def read_firestore(people: Iterable[User]) -> list[Stored]:
    """Return all conversations of these users from the emulator (``FIRESTORE_EMULATOR_HOST``)."""
    store = FirestoreStore(PROJECT, "(default)", stale_seconds=NEVER_STALE_SECONDS)
    reading = asyncio.Semaphore(READERS)

    async def stored(user: str, conversation_id: str) -> Stored:
        async with reading:
            messages = await store.messages(user, conversation_id)
            ids = [document.id for message in messages for document in message.documents]
            texts = {one: await _text(store, user, conversation_id, one) for one in ids}
            return Stored(user, conversation_id, messages, texts)

    try:
        ids = [(person.user, one) for person in people for one in await _listed(store, person.user)]
        return list(await asyncio.gather(*(stored(*one) for one in ids)))
    finally:
        await store.aclose()


async def _text(store: FirestoreStore, user: str, conversation_id: str, document_id: str) -> str:
    """Return the text of a document; "" if it is not there."""
    with suppress(ConversationNotFound):
        document = await store.document(user, conversation_id, document_id)
        return "\n".join(page.text for page in unpacked(document.data))
    return ""


async def _listed(store: FirestoreStore, user: str) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page = await store.conversations(user, limit=LISTED_AT_ONCE, cursor=cursor)
        ids += [item.id for item in page.items]
        cursor = page.cursor
        if cursor is None:
            return ids


def audit(book: Book, everything: Sequence[Stored]) -> Findings:
    """Compare the conversations in Firestore with the turns of the users."""
    findings = Findings(conversations=len(everything), messages=sum(len(stored.messages) for stored in everything))
    places: dict[str, list[StoredTurn]] = defaultdict(list)
    for stored in everything:
        for place in _stored_turns(stored, findings):
            places[question_name(place.question.content)].append(place)
        _check_order(book, stored, findings)
    for turn in book.turns.values():
        found = places.pop(turn.name, [])
        _check_question(turn, found, findings)
        for place in found[:1]:
            _check_answer(turn, place, findings)
    for name in places:
        findings.add("wrong", None, f"Nobody asked {name}, and it is there.")
    return findings


def _stored_turns(stored: Stored, findings: Findings) -> list[StoredTurn]:
    """Return the questions of a conversation, each with its answers."""
    answers: dict[str, list[Message]] = defaultdict(list)
    for message in stored.messages:
        if message.role is Role.ASSISTANT:
            answers[message.turn_id].append(message)
    found = []
    for message in stored.messages:
        if message.role is not Role.USER:
            continue
        try:
            question_name(message.content)
        except WrongText as error:
            findings.add("wrong", None, f"In {stored.id}: {error}")
        else:
            found.append(StoredTurn(stored, message, answers.pop(message.turn_id, [])))
    for turn_id in answers:
        findings.add("wrong", None, f"In {stored.id} the answer of {turn_id} has no question.")
    return found


def _check_question(turn: Turn, found: Sequence[StoredTurn], findings: Findings) -> None:
    if turn.sending is Sending.ACKNOWLEDGED and not found:
        findings.add("lost", turn, f"The question {turn.name} of conversation {turn.talk.id} is not there.")
    if len(found) > 1:
        where = ", ".join(f"{place.stored.id} at {place.question.created_ms}" for place in found)
        findings.add("doubled", turn, f"The question {turn.name} is there {len(found)} times: {where}.")
    if turn.sending is Sending.REFUSED and found:
        findings.add("kept though refused", turn, f"{turn.name} is in {found[0].stored.id}; the page: {turn.refusal}")
    for place in found:
        if place.question.content != turn.question:
            findings.add("wrong", turn, f"The question {turn.name} is there as {place.question.content!r}.")
        texts = [place.stored.documents.get(document.id, "") for document in place.question.documents]
        if texts != ([turn.document] if turn.document else []):
            kind = "lost" if len("".join(texts)) < len(turn.document) else "wrong"
            findings.add(kind, turn, f"The question {turn.name} has the documents {[text[:40] for text in texts]}.")
        if place.stored.user != turn.talk.user or (turn.talk.id and place.stored.id != turn.talk.id):
            findings.add("wrong", turn, f"The question {turn.name} is in {place.stored.id}, not in {turn.talk.id}.")


def _check_answer(turn: Turn, place: StoredTurn, findings: Findings) -> None:
    if not place.answers:
        findings.add("lost", turn, f"The question {turn.name} has no answer at all in {place.stored.id}.")
        return
    if len(place.answers) > 1:
        findings.add("doubled", turn, f"The question {turn.name} has {len(place.answers)} answers.")
    answer = place.answers[0]
    where = f"The answer to {turn.name} in {place.stored.id}, {answer.status.value}, revision {answer.revision},"
    if answer.status is MessageStatus.STREAMING:
        findings.add("left streaming", turn, f"{where} is still being written.")
    try:
        check(turn.question, answer.content, is_whole=answer.status is MessageStatus.COMPLETE)
    except WrongText as error:
        findings.add("wrong", turn, f"{where} is not what the model said: {error}")
    kept = answer.content[: len(turn.shown or "")] if turn.continued else answer.content
    if turn.promised and turn.shown is not None and kept != turn.shown:
        findings.add(
            "wrong",
            turn,
            f"{where} has {len(answer.content)} characters; the page had shown {len(turn.shown)} at its end.",
        )


def _check_order(book: Book, stored: Stored, findings: Findings) -> None:
    """Compare the order of the questions with the order in which the only writer sent them."""
    asked = []
    for message in stored.messages:
        if message.role is Role.USER:
            try:
                turn = book.turns.get(question_name(message.content))
            except WrongText:  # reported by `_stored_turns`
                continue
            if turn:
                asked.append(turn)
    for before, after in itertools.pairwise(asked):
        if after.talk is before.talk and after.place <= before.place:
            findings.add("out of order", after, f"In {stored.id} the question {after.name} comes after {before.name}.")
    roles = [message.role for message in stored.messages]
    if len(roles) % 2 or roles != [Role.USER, Role.ASSISTANT] * (len(roles) // 2):
        turn = asked[0] if asked else None
        said = " ".join(role.value for role in roles)
        findings.add("out of order", turn, f"In {stored.id} question and answer do not take turns: {said}.")


async def audit_pages(
    url: str, people: Iterable[User], everything: Sequence[Stored], libraries: Libraries, findings: Findings
) -> None:
    """Compare every conversation and collection on the page of a restarted chat with Firestore."""
    by_user: dict[str, list[Stored]] = defaultdict(list)
    for stored in everything:
        by_user[stored.user].append(stored)
    limit = asyncio.Semaphore(READERS)

    async def compare_user(person: User) -> None:
        async with limit, open_page(url, cookies=person.cookies) as page:
            await audit_listed(page, person.user, libraries, findings)
            for stored in by_user[person.user]:
                # The first event only: the stream of a streaming message stays open until that is stale.
                _compare_page(await page.watch_until(stored.id, lambda _messages: True), stored, findings)

    await asyncio.gather(*(compare_user(person) for person in people))


def _compare_page(shown: list[dict], stored: Stored, findings: Findings) -> None:
    said, kept = texts(shown), [message.content for message in stored.messages]
    if said != kept:
        findings.add("wrong", None, f"The page shows {len(said)} messages of {stored.id}, not the {len(kept)} there.")
