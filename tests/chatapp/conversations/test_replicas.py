"""Two replicas before one cloud: a conversation never forks by itself, and no change undoes another."""

import asyncio
import contextlib
import itertools
import shutil
from types import SimpleNamespace
from unittest.mock import AsyncMock

import pytest

from chatapp.conversations import catch_up, service
from chatapp.conversations.catch_up import Seen
from chatapp.conversations.library import Library
from chatapp.conversations.service import Conversations
from chatapp.domain.conversation import (
    Document,
    Feedback,
    FinishReason,
    GenerationParameters,
    MessageStatus,
    Profile,
    new_id,
    now_ms,
)
from chatapp.domain.errors import (
    ContinuedElsewhere,
    ConversationBusy,
    ConversationNotFound,
    LibraryEntryNotFound,
    NotCaughtUp,
    NothingToContinue,
)
from chatapp.domain.message_tree import MessageTree
from chatapp.generation import generator
from chatapp.generation.runner import TurnRunner
from chatapp.generation.titles import Titles
from chatapp.http.api.schemas.profile import ProfileChange
from chatapp.http.api.state import change_profile
from chatapp.http.api.stream import ConversationEvents
from chatapp.limits import NoLimits
from chatapp.models import Finish, TextDelta
from chatapp.models.catalog import Catalog
from chatapp.store import Consistency
from chatapp.store.journal.store import JournaledStore
from tests.chatapp.generation.running import answer_request, ended, turn_request
from tests.fakes.models import ReadyModel
from tests.fakes.shared_cloud import SharedCloud
from tests.page_client import apply_event

ANN = "ann"


class Model(ReadyModel):
    """Answers with its pieces, and waits for the gate after the first one.

    Attributes:
        prompt: the texts of the last one.
    """

    def __init__(self, *pieces):
        self.pieces = pieces
        self.gate = asyncio.Event()
        self.gate.set()

    async def stream(self, messages, parameters):
        self.prompt = [message.content for message in messages]
        for number, piece in enumerate(self.pieces):
            if number:
                await self.gate.wait()
            yield TextDelta(piece)
        yield Finish(FinishReason.STOP)


class Replica:
    """One chat: its runner and its conversations, with a journal of its own."""

    def __init__(self, client, store, model):
        self.client = client
        self.store = store
        self.model = model
        self.catalog = Catalog([model])
        self.turns = TurnRunner(store, self.catalog, batch_seconds=0, checkpoint_seconds=0.01)
        self.conversations = Conversations(store, self.turns.updates, self.turns, self.turns.catch_up)

    async def ask(self, text, conversation="", **options):
        """Ask, and return the id of the conversation once the answer is complete."""
        conversation = (await self.turns.start(ANN, turn_request(text, conversation, **options))).id
        await ended(self.turns, ANN, conversation)
        return conversation

    async def delivered(self, conversation):
        """Wait until the cloud has everything."""
        async with asyncio.timeout(60):
            while self.store.pending(ANN, conversation):
                await asyncio.sleep(0.005)

    async def shown(self, conversation):
        """Return the messages that a page shows."""
        messages = await self.store.messages(ANN, conversation)
        stored = await self.store.conversation(ANN, conversation)
        return [message for message, _ in MessageTree(messages).shown(stored.branch)]

    async def texts(self, conversation):
        return [message.content for message in await self.shown(conversation)]

    async def last(self, conversation):
        """Return what a page names as the last messages that it shows."""
        *earlier, message = await self.shown(conversation)
        return Seen(message.id, message.revision, tuple(one.id for one in earlier[-6:]))

    async def aclose(self):
        self.client.down = False
        await self.turns.aclose()
        await self.conversations.aclose()
        await self.store.aclose()


@pytest.fixture
async def replicas(tmp_path, monkeypatch):
    """Two replicas before one cloud; the model of each answers with the replica's name."""
    monkeypatch.setattr(generator, "LOOK_EVERY_SECONDS", 0.0)
    cloud = SharedCloud()
    async with contextlib.AsyncExitStack() as stack:
        made = []
        for name in ("A", "B"):
            client = cloud.client()
            store = await JournaledStore.open(tmp_path / f"{name}.db", client, destination="the cloud")
            replica = Replica(client, store, Model(f"of {name}"))
            await replica.catalog.check()
            stack.push_async_callback(replica.aclose)
            made.append(replica)
        yield made


@pytest.fixture
def impatient(monkeypatch):
    """Let requests wait for other replicas for a moment only."""
    monkeypatch.setattr(catch_up, "SEEN_S", 0.3)
    monkeypatch.setattr(catch_up, "EXISTS_S", 0.1)


@pytest.mark.slow
async def test_a_request_waits_until_the_replica_has_what_its_page_shows(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.ask("two", conversation, seen=await a.last(conversation))  # b has it cached from here on
    await b.delivered(conversation)
    await a.store.messages(ANN, conversation)
    a.client.down = True
    await a.ask("three", conversation, seen=await a.last(conversation))
    seen = await a.last(conversation)
    asking = asyncio.create_task(b.ask("four", conversation, seen=seen))
    await asyncio.sleep(0.2)
    assert not asking.done()
    a.client.down = False
    async with asyncio.timeout(60):
        await asking
    await b.delivered(conversation)
    expected = ["one", "of A", "two", "of B", "three", "of A", "four", "of B"]
    assert await b.texts(conversation) == await a.texts(conversation) == expected


async def test_a_model_is_told_all_that_its_page_shows_where_both_replicas_wrote_at_once(replicas, monkeypatch):
    a, b = replicas
    monkeypatch.setattr(catch_up, "CURRENT_S", 1e9)
    conversation = await a.ask("one")
    await a.delivered(conversation)
    before = await b.last(conversation)
    await b.turns.catch_up.messages(ANN, conversation, before)
    await a.ask("two", conversation, seen=before)
    await b.ask("two at once", conversation, seen=before)
    await a.delivered(conversation)
    await b.delivered(conversation)
    seen = await a.last(conversation)
    shown = await a.texts(conversation)
    await b.ask("three", conversation, seen=seen)
    assert shown[:2] == ["one", "of A"]
    assert sorted(shown[2::2]) == ["two", "two at once"]
    assert b.model.prompt == [*shown, "three"]


async def test_a_read_that_ends_after_a_later_one_takes_nothing_back(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    seen, late, legs = await a.last(conversation), asyncio.Event(), []

    async def first_reply_is_late(name):
        legs.append(name)
        if name == "messages" and legs.count(name) == 2:
            await late.wait()

    a.client._travel = first_reply_is_late
    reading = asyncio.create_task(a.store.messages(ANN, conversation))
    async with asyncio.timeout(60):
        while legs.count("messages") < 2:
            await asyncio.sleep(0.001)
    await b.ask("two", conversation, seen=seen)
    await b.delivered(conversation)
    assert len(await a.store.messages(ANN, conversation)) == 4
    late.set()
    await reading
    assert len(await a.store.messages(ANN, conversation, consistency=Consistency.CACHED)) == 4


async def test_a_request_whose_page_shows_more_than_ever_arrives_is_refused_and_stores_nothing(replicas, impatient):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    with pytest.raises(NotCaughtUp, match="still in the box"):
        await b.ask("two", conversation, seen=Seen("never"))
    assert await b.texts(conversation) == ["one", "of A"]


async def test_a_request_that_the_replica_can_serve_reads_nothing(replicas):
    a, _ = replicas
    conversation = await a.ask("one")
    await a.ask("two", conversation, seen=await a.last(conversation))  # compares with the cloud
    seen = await a.last(conversation)
    await a.delivered(conversation)
    before = a.client._cloud.calls.copy()
    await a.ask("three", conversation, seen=seen)
    await a.delivered(conversation)
    assert (a.client._cloud.calls - before).keys() <= {"append", "update", "message"}  # message: at checkpoints


async def test_a_conversation_that_went_on_elsewhere_is_not_continued_from_an_older_message(replicas, monkeypatch):
    monkeypatch.setattr(catch_up, "CHECK_S", 20.0)  # on a busy machine the cloud takes long to answer
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    old = await b.last(conversation)
    await a.ask("two", conversation, seen=old)
    await a.delivered(conversation)
    for request in (
        b.ask("mine", conversation, seen=old),
        b.ask("edited", conversation, follows="", seen=old),
        b.turns.regenerate(ANN, conversation, (await a.shown(conversation))[0].id, answer_request(seen=old)),
        b.turns.continue_answer(ANN, conversation, old.message_id, answer_request(seen=old)),
    ):
        with pytest.raises(ContinuedElsewhere, match="still in the box"):
            await request
    await b.ask("mine", conversation, seen=await b.last(conversation))
    await b.delivered(conversation)
    assert await a.texts(conversation) == ["one", "of A", "two", "of A", "mine", "of B"]


async def test_a_request_waits_for_no_comparison_while_the_cloud_is_slow(replicas, monkeypatch):
    a, b = replicas
    first, second = await a.ask("one"), await a.ask("another")
    await a.delivered(first)
    await a.delivered(second)
    seen = {conversation: await b.last(conversation) for conversation in (first, second)}
    reply = asyncio.Event()
    b.client._travel = lambda name: reply.wait() if name == "conversation" else asyncio.sleep(0)
    await b.ask("waits in vain", first, seen=seen[first])
    monkeypatch.setattr(catch_up, "CHECK_S", 1e6)
    try:
        async with asyncio.timeout(60):
            await b.ask("does not wait", second, seen=seen[second])
    finally:
        monkeypatch.setattr(catch_up, "PROMPT_S", 1e6)  # the replies count as prompt from here on
        reply.set()
    await b.delivered(first)
    seen = await a.last(first)
    await a.ask("went on", first, seen=seen)
    await a.delivered(first)
    monkeypatch.setattr(catch_up, "CURRENT_S", 0.0)
    with pytest.raises(ContinuedElsewhere):
        await b.ask("waits again", first, seen=seen)


async def test_one_read_at_a_time_finds_out_when_the_cloud_is_back(replicas, monkeypatch):
    monkeypatch.setattr(catch_up, "CURRENT_S", 0.0)
    a, b = replicas
    conversations = [await a.ask(text) for text in ("one", "two", "three")]
    for conversation in conversations:
        await a.delivered(conversation)
    seen = {conversation: await b.last(conversation) for conversation in conversations}
    b.client.down = True
    await b.ask("finds it away", conversations[0], seen=seen[conversations[0]])
    reply, reads = asyncio.Event(), []

    async def travel(name):
        if name == "conversation":
            reads.append(name)
            await reply.wait()

    b.client._travel = travel
    for conversation in conversations[1:]:
        await b.ask("goes on", conversation, seen=seen[conversation])
    assert len(reads) == 1
    reply.set()


@pytest.mark.slow
async def test_messages_that_two_replicas_append_at_the_same_time_are_all_shown(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    seen = await b.last(conversation)
    a.client.down = b.client.down = True
    await asyncio.gather(a.ask("two", conversation, seen=seen), b.ask("three", conversation, seen=seen))
    await a.ask("four", conversation, seen=await a.last(conversation))
    a.client.down = b.client.down = False
    await a.delivered(conversation)
    await b.delivered(conversation)
    shown = await a.shown(conversation)
    assert {message.content for message in shown if message.role == "user"} == {"one", "two", "three", "four"}
    assert [message.role for message in shown] == ["user", "assistant"] * 4
    assert [message.id for message in await b.shown(conversation)] == [message.id for message in shown]
    tree = MessageTree(await b.store.messages(ANN, conversation))
    assert all(len(tree.versions(message.id)) == 1 for message in shown)


@pytest.mark.slow
async def test_a_page_gets_messages_that_another_replica_inserted_before_its_last_one(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    seen = await b.last(conversation)
    a.client.down = b.client.down = True
    await a.ask("two", conversation, seen=seen)
    await b.ask("three", conversation, seen=seen)
    page = await page_of(b, conversation, [], None)
    assert [entry["text"] for entry in page] == ["one", "of A", "three", "of B"]
    a.client.down = b.client.down = False
    await a.delivered(conversation)
    await b.delivered(conversation)
    page = await page_of(b, conversation, page, len(page))
    assert [entry["text"] for entry in page] == ["one", "of A", "two", "of A", "three", "of B"]


async def test_a_quick_look_reads_one_document_where_nothing_is_new(replicas, monkeypatch):
    monkeypatch.setattr(catch_up, "UNNAMED_S", 20.0)
    monkeypatch.setattr(catch_up, "CURRENT_S", 0.0)
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    page = await page_of(b, conversation, [], None)
    before = b.client._cloud.calls.copy()
    assert await page_of(b, conversation, page, len(page), quick=True) == page
    assert b.client._cloud.calls - before == {"conversation": 1}
    await a.ask("two", conversation, seen=await a.last(conversation))
    await a.delivered(conversation)
    page = await page_of(b, conversation, page, len(page), quick=True)
    assert [entry["text"] for entry in page] == ["one", "of A", "two", "of A"]


@pytest.mark.slow
async def test_a_retry_at_another_replica_is_the_same_question_with_one_answer(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    seen = await b.last(conversation)
    a.client.down = True
    question = new_id()
    await a.ask("two", conversation, question_id=question, seen=seen)
    await b.ask("two", conversation, question_id=question, seen=seen, is_retry=True)
    a.client.down = False
    await a.delivered(conversation)
    await b.delivered(conversation)
    assert await a.texts(conversation) == await b.texts(conversation) == ["one", "of A", "two", "of B"]


async def test_a_question_that_is_stored_is_not_stored_again(replicas):
    a, _ = replicas
    question = new_id()
    conversation = await a.ask("one", question_id=question)
    assert await a.ask("one", conversation, question_id=question) == conversation
    assert await a.texts(conversation) == ["one", "of A"]


@pytest.mark.slow
async def test_changes_of_different_fields_at_two_replicas_are_both_kept(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.store.conversation(ANN, conversation)
    a.client.down = b.client.down = True
    await a.conversations.rename(ANN, conversation, "Renamed")
    await b.conversations.pin(ANN, conversation, pinned=True)
    a.client.down = b.client.down = False
    await a.delivered(conversation)
    await b.delivered(conversation)
    for replica in replicas:
        stored = await replica.store.conversation(ANN, conversation)
        assert (stored.title, stored.pinned) == ("Renamed", True)


@pytest.mark.slow
async def test_the_later_of_two_changes_stays_however_late_the_other_arrives(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.store.conversation(ANN, conversation)
    a.client.down = True
    await a.conversations.rename(ANN, conversation, "First")
    await asyncio.sleep(0.005)
    await b.conversations.rename(ANN, conversation, "Second")
    await b.delivered(conversation)
    a.client.down = False
    await a.delivered(conversation)
    assert [(await one.store.conversation(ANN, conversation)).title for one in replicas] == ["Second", "Second"]


@pytest.mark.slow
async def test_a_title_of_a_model_replaces_no_name_that_a_person_gave_at_another_replica(replicas, monkeypatch):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.shown(conversation)
    b.client.down = True
    await b.conversations.rename(ANN, conversation, "Mine")
    titles = Titles(a.turns.updates, NoLimits())
    monkeypatch.setattr(titles, "_generate", AsyncMock(return_value="Of a model"))
    stored = await a.store.conversation(ANN, conversation)
    answer = SimpleNamespace(prompt=SimpleNamespace(model=a.model))
    assert await titles._title(SimpleNamespace(user=ANN, conversation=stored), answer) == "Of a model"
    await a.delivered(conversation)
    b.client.down = False
    await b.delivered(conversation)
    assert [(await one.store.conversation(ANN, conversation)).title for one in replicas] == ["Mine", "Mine"]


async def test_of_two_profiles_saved_at_once_none_is_lost_unnoticed(replicas):
    a, b = replicas

    def personas(*names):
        made = [{"id": name, "name": name, "instructions": "Be brief."} for name in names]
        return {"personas": made, "parameters": None, "allowFallback": False}

    async def save(replica, revision, *names):
        change = ProfileChange.model_validate(personas(*names) | {"revision": revision})
        return await change_profile(change, ANN, SimpleNamespace(store=replica.store))

    assert (await save(a, 1, "one")).revision == 1
    saved = await asyncio.gather(save(a, 2, "one", "two"), save(b, 2, "one", "three"), return_exceptions=True)
    assert sorted(type(one).__name__ for one in saved) == ["ProfileBody", "ProfileChanged"]
    await save(b, 3, "one", "two", "three")
    assert [len((await one.store.profile(ANN)).personas) for one in replicas] == [3, 3]


async def test_no_collection_of_two_replicas_at_once_is_lost(replicas):
    """Also not by a change of settings that was made of an older profile, and arrives late."""
    settings = Profile(answer_with_other=True, revision=1)
    added = [Library(one.store, 100).add_collection(ANN, name) for one in replicas for name in ("one", "two")]
    await asyncio.gather(replicas[0].store.save_profile(ANN, settings), *added)
    await replicas[0].delivered("")
    for one in replicas:
        profile = await one.store.profile(ANN)
        assert profile.answer_with_other
        assert sorted(collection.name for collection in profile.collections) == ["one", "one", "two", "two"]


@pytest.mark.parametrize("first", ["adds", "deletes"])
async def test_a_document_that_is_added_while_its_collection_is_deleted_does_not_stay(replicas, first):
    """At each request of one replica to the cloud, the other one does all of its part."""
    a, b = replicas
    document = Document(id="", name="a.txt", kind="text", pages=1, size=1, data=b"x")

    async def add(collection):
        with contextlib.suppress(LibraryEntryNotFound):
            await Library(a.store, 100).add_document(ANN, collection, "content", document)

    async def delete(collection):
        await Library(b.store, 100).delete_collection(ANN, collection)

    outer, inner, client = (add, delete, a.client) if first == "adds" else (delete, add, b.client)
    leg, moments = client._leg, 0
    for moment in itertools.count():
        collection = (await Library(a.store, 100).add_collection(ANN, "Leases")).id
        legs = itertools.count()

        async def meanwhile(name, moment=moment, collection=collection, legs=legs):
            if next(legs) == moment:
                await inner(collection)

        client._leg = meanwhile
        await outer(collection)
        client._leg = leg
        if next(legs) <= moment:
            break
        moments += 1
        assert await a.store.library(ANN) == [], moment
        assert (await a.store.profile(ANN)).collections == (), moment
    assert moments >= 6


async def test_feedback_and_the_choice_of_a_version_wait_for_the_message(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.store.messages(ANN, conversation)
    await a.ask("two", conversation, seen=await a.last(conversation))
    answer = await a.last(conversation)
    await b.conversations.rate(ANN, conversation, answer.message_id, Feedback.UP)
    await b.conversations.switch(ANN, conversation, answer.message_id)
    await b.delivered(conversation)
    assert (await a.store.message(ANN, conversation, answer.message_id)).feedback is Feedback.UP


@pytest.mark.slow
async def test_of_two_ratings_at_two_replicas_the_later_one_stays_even_if_its_replica_knew_it_already(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    answer = (await a.last(conversation)).message_id
    await a.conversations.rate(ANN, conversation, answer, Feedback.UP)
    await a.delivered(conversation)
    for first, second in [(a, b), (b, a)]:  # whose rating arrives first
        await b.shown(conversation)
        a.client.down = b.client.down = True
        await b.conversations.rate(ANN, conversation, answer, Feedback.DOWN)
        await asyncio.sleep(0.002)
        await a.conversations.rate(ANN, conversation, answer, Feedback.UP)
        for replica in (first, second):
            replica.client.down = False
            await replica.delivered(conversation)
        stored = [(await one.store.message(ANN, conversation, answer)).feedback for one in replicas]
        assert stored == [Feedback.UP, Feedback.UP]


async def test_what_the_later_turn_chose_stays_even_if_its_replica_knew_it_already(replicas, monkeypatch):
    a, b = replicas
    monkeypatch.setattr(catch_up, "CURRENT_S", 1e9)  # a reads the messages of the others, but not the fields
    first, other = ([answer_request(parameters=GenerationParameters(system_prompt=text))] for text in ("X", "Y"))
    conversation = await a.ask("one", answers=first)
    await a.delivered(conversation)
    await a.turns.catch_up.messages(ANN, conversation, await a.last(conversation))
    await b.ask("two", conversation, answers=other, seen=await a.last(conversation))
    await b.delivered(conversation)
    await a.ask("three", conversation, answers=first, seen=await b.last(conversation))
    await a.delivered(conversation)
    stored = [(await one.store.conversation(ANN, conversation)).system_prompt for one in replicas]
    assert stored == ["X", "X"]


@pytest.mark.slow
async def test_feedback_waits_for_the_end_of_an_answer_that_the_page_already_shows(replicas):
    a, b = replicas
    conversation = await writing(a)
    answer = (await b.shown(conversation))[-1]
    a.client.down = True
    a.model.gate.set()
    await ended(a.turns, ANN, conversation)  # its page shows it complete
    rating = asyncio.create_task(b.conversations.rate(ANN, conversation, answer.id, Feedback.UP))
    await asyncio.sleep(0.1)
    assert not rating.done()
    a.client.down = False
    async with asyncio.timeout(60):
        await rating
    await b.delivered(conversation)
    rated = await a.store.message(ANN, conversation, answer.id)
    assert (rated.content, rated.feedback) == ("half and half", Feedback.UP)


async def test_feedback_on_an_answer_that_another_replica_writes_is_refused(replicas, impatient):
    a, b = replicas
    conversation = await writing(a)
    answer = (await b.shown(conversation))[-1]
    with pytest.raises(ConversationBusy):
        await b.conversations.rate(ANN, conversation, answer.id, Feedback.UP)
    a.model.gate.set()


@pytest.mark.slow
async def test_undo_reaches_a_deletion_that_another_replica_has_still_to_deliver(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.shown(conversation)
    a.client.down = True
    await a.conversations.delete(ANN, conversation)
    await asyncio.sleep(0.005)  # a person takes longer
    await b.conversations.restore(ANN, conversation)
    a.client.down = False
    for replica in replicas:
        await replica.delivered(conversation)
    for replica in replicas:
        assert [one.id for one in (await replica.conversations.listed(ANN)).items] == [conversation]
        await replica.conversations.open(ANN, conversation)


@pytest.mark.slow
async def test_undo_during_an_outage_is_waited_for_before_the_conversation_is_purged(replicas, monkeypatch):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.shown(conversation)
    a.client.down = b.client.down = True
    with monkeypatch.context() as patch:
        patch.setattr(service, "now_ms", lambda: now_ms() - 3_600_000)  # an hour ago
        await a.conversations.delete(ANN, conversation)
    await a.conversations.aclose()  # as if it started again
    await asyncio.sleep(0.005)
    await b.conversations.restore(ANN, conversation)
    a.client.down = False
    await a.delivered(conversation)
    assert (await a.conversations.listed(ANN)).items == []  # which looks for what has to be purged
    await asyncio.sleep(0.2)
    b.client.down = False
    await b.delivered(conversation)
    for replica in replicas:
        await replica.conversations.open(ANN, conversation)


@pytest.mark.slow
async def test_a_change_counts_although_the_replica_does_not_know_the_former_one(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    await b.shown(conversation)
    a.client.down = True
    await a.conversations.pin(ANN, conversation, pinned=True)
    await a.conversations.rename(ANN, conversation, "Renamed")
    await asyncio.sleep(0.005)
    assert not (await b.conversations.pin(ANN, conversation, pinned=False)).pinned
    a.client.down = False
    for replica in replicas:
        await replica.delivered(conversation)
    for replica in replicas:
        stored = await replica.conversations.open(ANN, conversation)
        assert (stored.pinned, stored.title) == (False, "Renamed")


@pytest.mark.parametrize("deletes", [False, True])
async def test_stop_and_delete_reach_an_answer_that_another_replica_writes(replicas, deletes):
    a, b = replicas
    conversation = await writing(a)
    b_shows = (await b.shown(conversation))[-1]
    assert b_shows.status is MessageStatus.STREAMING
    if deletes:
        await b.conversations.delete(ANN, conversation)
    else:
        assert await b.turns.stop(ANN, conversation)
    async with asyncio.timeout(60):
        await ended(a.turns, ANN, conversation)
    await a.delivered(conversation)
    answer = await b.store.message(ANN, conversation, b_shows.id)
    assert answer.status is MessageStatus.STOPPED
    assert answer.content == "half"
    if deletes:
        with pytest.raises(ConversationNotFound):
            await a.conversations.open(ANN, conversation)


async def test_an_answer_whose_last_words_are_written_at_a_stop_elsewhere_is_kept_whole(replicas):
    a, b = replicas
    conversation = await writing(a)
    a.client.down = True  # it does not notice
    await b.turns.stop(ANN, conversation)
    await b.delivered(conversation)
    a.model.gate.set()
    await ended(a.turns, ANN, conversation)
    a.client.down = False
    await a.delivered(conversation)
    assert (await b.texts(conversation))[-1] == "half and half"


async def test_an_answer_that_another_replica_took_over_is_not_overwritten(replicas):
    a, b = replicas
    conversation = await writing(a)
    answer = (await b.shown(conversation))[-1]
    await b.turns.stop(ANN, conversation)
    await b.turns.continue_answer(ANN, conversation, answer.id, answer_request())
    await ended(b.turns, ANN, conversation)
    await b.delivered(conversation)
    async with asyncio.timeout(60):
        await ended(a.turns, ANN, conversation)
    await a.delivered(conversation)
    for replica in replicas:
        assert (await replica.texts(conversation))[-1] == "halfof B"


async def interrupted(a, b):
    """Return a conversation whose answer replica ``a`` left half written, as both replicas know it."""
    conversation = await writing(a)
    await a.turns.stop(ANN, conversation)
    await a.delivered(conversation)
    await b.store.messages(ANN, conversation)
    return conversation, (await b.last(conversation)).message_id


@pytest.mark.slow
async def test_an_answer_is_continued_once_by_two_devices_at_the_same_time(replicas):
    a, b = replicas
    conversation, answer = await interrupted(a, b)
    a.model.pieces, b.model.pieces = ["A"] * 9, ["B"] * 9
    a.model.gate = b.model.gate = asyncio.Event()
    a.client.down = b.client.down = True  # neither hears of the other
    for replica in replicas:
        await replica.turns.continue_answer(ANN, conversation, answer, answer_request())
    a.client.down = b.client.down = False
    for replica in replicas:
        await replica.delivered(conversation)
    a.model.gate.set()
    pages = await asyncio.gather(*(page_of(replica, conversation, [], None) for replica in replicas))
    for replica in replicas:
        await replica.delivered(conversation)
    stored = [(await replica.texts(conversation))[-1] for replica in replicas]
    assert stored[0] == stored[1] in {"half" + "A" * 9, "half" + "B" * 9}
    assert [page[-1]["text"] for page in pages] == stored


async def test_an_answer_that_another_device_is_continuing_is_not_continued_again(replicas):
    a, b = replicas
    conversation, answer = await interrupted(a, b)
    a.model.gate.clear()
    await a.turns.continue_answer(ANN, conversation, answer, answer_request())
    await a.delivered(conversation)
    with pytest.raises(ContinuedElsewhere):
        await b.turns.continue_answer(ANN, conversation, answer, answer_request())
    a.model.gate.set()
    await ended(a.turns, ANN, conversation)


async def test_a_replica_that_died_leaves_an_answer_that_another_one_continues_once(replicas, tmp_path):
    a, b = replicas
    conversation = await writing(a)
    answer = (await b.shown(conversation))[-1].id
    a.client.down = True  # it is dead
    a.client._cloud._stale_seconds = 0.0
    assert (await b.shown(conversation))[-1].status is MessageStatus.INTERRUPTED
    await b.turns.continue_answer(ANN, conversation, answer, answer_request())
    await ended(b.turns, ANN, conversation)
    await b.delivered(conversation)
    shutil.copy(tmp_path / "A.db", tmp_path / "restarted.db")
    shutil.copy(tmp_path / "A.db-wal", tmp_path / "restarted.db-wal")
    restarted = await JournaledStore.open(
        tmp_path / "restarted.db", a.client._cloud.client(), destination="the cloud", drain_seconds=20
    )
    await restarted.aclose()  # once all is delivered
    assert (await b.texts(conversation))[-1] == "halfof B"
    with pytest.raises(NothingToContinue):
        await b.turns.continue_answer(ANN, conversation, answer, answer_request())
    a.model.gate.set()


@pytest.mark.slow
async def test_a_page_never_gets_messages_without_those_before_them(replicas):
    a, b = replicas
    conversation = await a.ask("one")
    await a.delivered(conversation)
    seen = await b.last(conversation)
    a.client.down = True  # so that b does not know of the question that a takes
    question = new_id()
    await a.ask("two", conversation, question_id=question, seen=seen)
    page = await page_of(a, conversation, [], None)
    await b.ask("between", conversation, seen=seen)
    b.model.pieces, b.model.gate = ["half", " and half"], asyncio.Event()
    await b.turns.start(ANN, turn_request("two", conversation, question_id=question, is_retry=True))
    a.client.down = False
    b.model.gate.set()
    page = await page_of(b, conversation, page[:3], 3)
    assert [entry["text"] for entry in page] == ["one", "of A", "between", "of B", "two", "half and half"]


async def writing(replica):
    """Begin an answer that waits after its first half until the model's gate is set; the cloud has that half."""
    replica.model.pieces, replica.model.gate = ["half", " and half"], asyncio.Event()
    conversation = (await replica.turns.start(ANN, turn_request("one"))).id
    async with asyncio.timeout(60):
        while not await has_half(replica, conversation):
            await asyncio.sleep(0.005)
    return conversation


async def has_half(replica, conversation):
    try:
        return (await replica.client.messages(ANN, conversation))[-1].content == "half"
    except ConversationNotFound:
        return False


async def page_of(replica, conversation, entries, shown, **options):
    """Return the messages of a page after it has read on at a replica."""
    chat = SimpleNamespace(
        turns=replica.turns, conversations=replica.conversations, store=replica.store, catalog=replica.catalog
    )
    after = entries[-1]["id"] if entries else ""
    follow = ConversationEvents(chat).follow(ANN, conversation, after, shown, **options)
    async with contextlib.aclosing(follow) as events:
        async for event in events:
            body = event.model_dump(mode="json", by_alias=True) if event else {}
            if "end" in body:
                return entries
            entries = apply_event(entries, body)
    return entries
