"""Simulated people: two devices each, whose every request goes to any replica, and whose responses may get lost."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from chatapp.conversations.catch_up import Seen
from chatapp.conversations.library import Library
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.packing import packed
from chatapp.domain.conversation import Document, MessageStatus, Role
from chatapp.domain.errors import ChatError, ContinuedElsewhere, ConversationNotFound
from chatapp.domain.message_tree import MessageTree
from chatapp.generation.requests import LoadedFiles
from chatapp.http.api.stream import ConversationEvents
from tests.chatapp.generation.running import turn_request
from tests.page_client import apply_event
from tests.simulation.disk import REPLICA

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chatapp.domain.conversation import Conversation, Message
    from chatapp.generation.requests import TurnRequest
    from tests.simulation.world import Replica, World

DEVICES = 2
UNDO_S = 30.0  # for which a person tries to undo a deletion
PATIENCE_S = 8.0  # for a response; then the page tries again


WITH_DOCUMENT = 3  # every third question of a device


class Lost(Exception):
    """The response did not arrive; the request may have been carried out."""


@dataclass
class Sent:
    """An acknowledged question.

    Attributes:
        before: texts of the questions that its device showed.
    """

    text: str
    before: list[str]


@dataclass
class Person:
    """A user with conversations that both devices use.

    Attributes:
        deleted: those whose deletion could not be undone in time.
        collections: names of those that were acknowledged.
    """

    world: World
    name: str
    turns: int
    talks: dict[str, list[Sent]] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    collections: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Send messages from both devices."""
        await asyncio.gather(*(Device(self, number).run() for number in range(DEVICES)))


class Device:
    """One device, and what its page shows of each conversation."""

    def __init__(self, person: Person, number: int) -> None:
        self._person = person
        self._world = person.world
        self._number = number
        self._pages: dict[str, list[dict[str, Any]]] = {}

    async def run(self) -> None:
        """Send questions, with pauses of a person."""
        chance = self._world.chance
        for number in range(self._person.turns):
            await asyncio.sleep(chance.choice((0.0, 0.5, 3.0, 20.0)) * chance.random())
            talks = list(self._person.talks)
            talk = chance.choice(talks) if talks and chance.random() < 0.85 else ""
            await self._ask(talk, f"{self._person.name}{self._number}-{number}")
            if self._person.talks and chance.random() < 0.2:
                await self._meddle(chance.choice(list(self._person.talks)))

    async def _ask(self, talk: str, text: str) -> None:
        chance, is_retry = self._world.chance, False
        question, before = f"{chance.getrandbits(128):032x}", []
        documents = [_document(text)] if has_document(text) else []
        if talk and (talk not in self._pages or chance.random() < 0.3):
            await self._look(talk)
        for _ in range(60):
            page = self._pages.get(talk, [])
            last = page[-1] if page else None
            earlier = tuple(entry["id"] for entry in page[-7:-1])  # as the page does
            seen = Seen(last["id"], last["revision"], earlier) if last else None
            request = turn_request(
                text, talk, question_id=question, is_retry=is_retry, seen=seen, documents=LoadedFiles(*documents)
            )
            if not is_retry:  # else the first attempt may have been stored with what was shown then
                before = [entry["text"] for entry in page if entry["role"] == "user"]
            try:
                stored = await self._request(lambda replica: _send(replica, self._person.name, request, page))  # noqa: B023  # called at once
            except ContinuedElsewhere:
                await self._look(talk)
                continue
            except Lost:
                is_retry = True
            except ChatError:
                if talk:
                    await self._look(talk)
            else:
                self._person.talks.setdefault(stored.id, []).append(Sent(text, before))
                if chance.random() < 0.7:
                    await self._look(stored.id)
                return
            await asyncio.sleep(chance.uniform(0.2, 2.0))

    async def _meddle(self, talk: str) -> None:
        """Rename or move the conversation, stop its answer, delete it and undo that, or add a collection."""
        choice = self._world.chance.random()
        if choice < 0.2:
            await self._delete_and_undo(talk)
            return
        if choice < 0.6:
            with contextlib.suppress(ChatError, Lost):
                await self._request(lambda replica: replica.turns.stop(self._person.name, talk))
            return
        name, text = self._person.name, f"{self._world.chance.getrandbits(32)}"
        with contextlib.suppress(ChatError, Lost):
            if choice < 0.8:
                await self._request(lambda replica: replica.conversations.rename(name, talk, f"title {text}"))
            elif choice < 0.9:
                chosen = {"folder": text, "collection": text}
                await self._request(lambda replica: replica.conversations.move(name, talk, chosen))
            else:
                await self._request(lambda replica: Library(replica.store, 1).add_collection(name, text))
                self._person.collections.add(text)

    async def _delete_and_undo(self, talk: str) -> None:
        """Delete a conversation, and undo it at any replica; a page offers that once the deletion is acknowledged."""
        chance, name = self._world.chance, self._person.name
        try:
            await self._request(lambda replica: replica.conversations.delete(name, talk))
        except ChatError:
            return
        except Lost:
            pass  # it may have been carried out: the page tries again, the person undoes it
        ends_at = asyncio.get_running_loop().time() + UNDO_S
        while asyncio.get_running_loop().time() < ends_at:
            await asyncio.sleep(chance.uniform(0.3, 2.0))
            with contextlib.suppress(ChatError, Lost):
                await self._request(lambda replica: replica.conversations.restore(name, talk))
                return
        self._person.deleted.add(talk)  # too late

    async def _look(self, talk: str) -> None:
        """Follow the conversation to the end of its answers, for a while."""
        page = self._pages.setdefault(talk, [])
        complete = [number for number, entry in enumerate(page) if not entry["writing"]]
        after, shown = (page[complete[-1]]["id"], complete[-1] + 1) if complete else ("", None)

        async def follow(replica: Replica) -> None:
            chat = SimpleNamespace(
                turns=replica.turns, conversations=replica.conversations, store=replica.store, catalog=replica.catalog
            )
            events = ConversationEvents(chat).follow(self._person.name, talk, after, shown)  # type: ignore[arg-type]
            async with contextlib.aclosing(events):
                async for event in events:
                    body = event.model_dump(mode="json", by_alias=True) if event else {}
                    shown_ids = {entry["id"] for entry in self._pages[talk]}
                    assert body.get("after", "") in {"", *shown_ids}, "messages after one that the page does not show"
                    self._pages[talk] = apply_event(self._pages[talk], body)

        with contextlib.suppress(ChatError, Lost):
            await self._request(follow)

    async def _request(self, call: Callable[[Replica], Awaitable[Any]]) -> Any:
        """Send a request to any replica; its connection may break, which does not end what it began."""
        chance, world = self._world.chance, self._world
        serving = [replica for replica in world.replicas if replica.is_up]
        if not serving:
            raise Lost
        replica = chance.choice(serving)
        token = REPLICA.set(replica)
        try:
            handling = asyncio.ensure_future(call(replica))
        finally:
            REPLICA.reset(token)
        handling.add_done_callback(lambda done: done.cancelled() or done.exception())
        patience = chance.uniform(0.0, 0.3) if not world.is_calm and chance.random() < 0.08 else PATIENCE_S
        done, _ = await asyncio.wait({handling}, timeout=patience)
        if not done:
            handling.cancel()
            raise Lost
        if handling.cancelled():
            raise Lost  # the replica was killed
        return handling.result()


def has_document(text: str) -> bool:
    """Return whether a question has a document."""
    return int(text.rpartition("-")[2]) % WITH_DOCUMENT == 0


def _document(text: str) -> Document:
    """Return the document of a question, which says its text."""
    data = packed((Page(1, (Block(BlockKind.TEXT, f"document of {text}"),)),))
    return Document(id=f"document-{text}", name="d.txt", kind="text", pages=1, size=len(text), data=data)


async def _send(replica: Replica, user: str, request: TurnRequest, page: list[dict[str, Any]]) -> Conversation:
    """Send a question; from then on its replica has it with its answer, and all that the page showed before."""
    stored = await replica.turns.start(user, request)
    with contextlib.suppress(ChatError):
        messages = {message.id: message.follows for message in await replica.store.messages(user, stored.id)}
        before = [] if request.is_retry else [entry["id"] for entry in page]  # else stored with what was shown then
        missing = {request.question_id, *before} - messages.keys()
        assert not missing, f"a part as the whole: {messages} without {missing}"
        assert request.question_id in messages.values(), f"a question without its answer: {messages}"
    return stored


async def audit(world: World, people: list[Person]) -> None:
    """Compare what every replica shows with what the devices were told.

    Raises:
        AssertionError: something is missing, doubled, out of order or hidden, or the replicas differ.
    """
    for person in people:
        talks = {talk: sent for talk, sent in person.talks.items() if talk not in person.deleted}
        for talk, sent in talks.items():
            views = [await _shown(replica, person.name, talk) for replica in world.replicas]
            assert all(view == views[0] for view in views), f"{talk}: the replicas show {views}"
            _check(sent, views[0])
        listed = [await _listed(replica, person.name) for replica in world.replicas]
        assert all(one == listed[0] for one in listed), f"the lists differ: {listed}"
        assert set(talks) <= set(listed[0])
        profiles = [await replica.store.profile(person.name) for replica in world.replicas]
        assert all(one == profiles[0] for one in profiles), f"the profiles differ: {profiles}"
        assert person.collections <= {one.name for one in profiles[0].collections}, "lost: a collection"


async def _shown(replica: Replica, user: str, talk: str) -> list[tuple[str, str, str]]:
    try:
        stored, messages = await replica.store.conversation(user, talk), await replica.store.messages(user, talk)
    except ConversationNotFound as error:
        raise AssertionError(f"lost: the conversation {talk}") from error
    shown = [message for message, _ in MessageTree(messages).shown(stored.branch)]
    everything = [(one.id[:6], one.role.value, one.created_ms, one.follows, one.content) for one in messages]
    for message in messages:
        await _check_documents(replica, user, talk, message)
    hidden = {message.id[:6] for message in messages} - {message.id[:6] for message in shown}
    assert not hidden, f"hidden: {hidden}, of {everything}"
    assert all(message.status is not MessageStatus.STREAMING for message in messages), "an answer never ends"
    return [(message.id, message.role.value, message.content) for message in shown]


async def _check_documents(replica: Replica, user: str, talk: str, message: Message) -> None:
    expected = [_document(message.content)] if message.role is Role.USER and has_document(message.content) else []
    try:
        documents = [await replica.store.document(user, talk, one.id) for one in message.documents]
    except ConversationNotFound as error:
        raise AssertionError(f"lost: the document of {message.content}") from error
    assert documents == expected, f"the documents of {message.content} are {documents}"


async def _listed(replica: Replica, user: str) -> dict[str, tuple[str, str, str]]:
    try:
        return {
            one.id: (one.title, one.folder, one.collection)
            for one in (await replica.conversations.listed(user, limit=200)).items
        }
    except ConversationNotFound:
        return {}


def _check(sent: list[Sent], view: list[tuple[str, str, str]]) -> None:
    questions = [text for _, role, text in view if role == "user"]
    assert len(set(questions)) == len(questions), f"doubled: {questions}"
    assert [role for _, role, _ in view] == ["user", "assistant"] * len(questions), f"disorder: {view}"
    for one in sent:
        assert one.text in questions, f"lost: {one.text}, of {questions}"
        late = [before for before in one.before if questions.index(before) > questions.index(one.text)]
        assert not late, f"out of order: {one.text} is before {late}"
    for (_, _, question), (_, _, answer) in zip(view[::2], view[1::2], strict=True):
        words = answer.split()
        assert len(words) <= 4, f"mixed: {answer}"
        assert all(word in ("replica", "answers", question) or word.isdigit() for word in words), f"mixed: {answer}"
