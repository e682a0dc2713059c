"""What is special to the journal: a cloud that is slow, down or unkind, kills, full disks, bounds and the end."""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sqlite3
import subprocess
import sys
import time
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from chatapp.domain import conversation as conversations
from chatapp.domain.conversation import Document, Image, MessageStatus, Persona, Profile, Role
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store import Consistency, Revocations, StoreStatus
from chatapp.store.codec import without_data
from chatapp.store.journal import cloud_reads, journal
from chatapp.store.journal import delivery as journal_delivery
from chatapp.store.journal import file as journal_file
from chatapp.store.journal import overlay as journal_overlay
from chatapp.store.journal import rows as journal_rows
from chatapp.store.sqlite import writer as sqlite_writer
from tests.chatapp.store.conftest import JournaledPlace, a_conversation, a_message
from tests.chatapp.store.test_contract import EXAMPLES, list_all, run_any_history
from tests.fakes.stores import READS, FakeCloud, refusing
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from chatapp.store.journal.store import JournaledStore

ROOT = Path(__file__).parents[3]
DEADLINE_S = 60.0  # of what takes milliseconds: far above what a busy machine adds


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_delivery, "FIRST_RETRY_S", 0.005)
    monkeypatch.setattr(journal_delivery, "LAST_RETRY_S", 0.03)
    monkeypatch.setattr(journal, "ERASE_SOON_S", 0.05)
    monkeypatch.setattr(cloud_reads, "READ_TIMEOUT_S", DEADLINE_S)  # the fake answers, however busy it is here


@pytest.fixture
def impatient_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_reads, "READ_TIMEOUT_S", 0.05)


@pytest.fixture
def place(journaled_place: JournaledPlace) -> JournaledPlace:
    return journaled_place


@pytest.fixture
async def cloud(place: JournaledPlace) -> AsyncIterator[FakeCloud]:
    cloud = FakeCloud(place.cloud_folder)
    yield cloud
    await cloud.aclose()


@pytest.fixture
async def store(place: JournaledPlace, cloud: FakeCloud) -> AsyncIterator[JournaledStore]:
    store = await place.open(cloud, drain_seconds=0.05)
    yield store
    await store.aclose()


async def delivered(store: JournaledStore) -> None:
    await until(lambda: not store.status().waiting_writes)


@asynccontextmanager
async def no_wait_for(cloud: FakeCloud, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Have the cloud answer nothing: what waits for it, even with a fallback, waits until the deadline, and fails."""
    cloud.gate.clear()
    with monkeypatch.context() as patch:
        patch.setattr(cloud_reads, "READ_TIMEOUT_S", 1e6)
        async with asyncio.timeout(DEADLINE_S):
            yield


def answer(content: str = "", revision: int = 0, **fields: object):
    defaults = {"id": "answer", "role": Role.ASSISTANT, "status": MessageStatus.STREAMING, "revision": revision}
    return a_message(content, 2_000, **defaults | fields)


def ended(content: str, revision: int = 0):
    return answer(content, revision, status=MessageStatus.COMPLETE)


def question(name: str = "question", created_ms: int = 1_000):
    return a_message(name, created_ms, id=name)


def bytes_on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in path.parent.iterdir())


# Not waiting for the cloud


async def test_a_write_returns_while_the_cloud_has_not_answered(store, cloud, monkeypatch):
    conversation = a_conversation()
    async with no_wait_for(cloud, monkeypatch):
        await store.create("ana", conversation, question(), answer())
        await store.append("ana", conversation.id, answer("half", 1))
        await store.update("ana", replace(conversation, title="Renamed"))
    assert store.pending("ana", conversation.id)
    cloud.gate.set()
    await delivered(store)
    await until(lambda: not store.pending("ana", conversation.id))
    assert await cloud.messages("ana", conversation.id) == [question(), answer("half", 1)]
    assert (await cloud.conversation("ana", conversation.id)).title == "Renamed"


async def test_a_write_is_delivered_only_after_a_lull_so_that_its_turn_goes_on_first(place, cloud, monkeypatch):
    monkeypatch.setattr(journal_delivery, "LULL_S", 60.0)
    store = await place.open(cloud, drain_seconds=DEADLINE_S)
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    assert not await store.delivered("ana", conversation.id, "question", seconds=0.3)
    await store.aclose()  # a chat that ends does not wait for it
    assert [call for call, *_ in cloud.calls] == ["create"]


async def test_accepted_writes_sync_the_disk_and_notes_of_deliveries_do_not(store):
    statements: list[str] = []
    store._journal._database._writer._connection.set_trace_callback(statements.append)
    conversation = a_conversation()
    await store.create("ana", conversation, question(), answer())
    await delivered(store)
    await store.append("ana", conversation.id, ended("all", 1))
    await delivered(store)
    mode, synced = "", []
    for statement in statements:
        if statement.startswith("PRAGMA synchronous"):
            mode = statement.rpartition(" = ")[2]
        elif statement.startswith("INSERT INTO writes"):
            synced.append((mode in {"", "2"}, "accepted"))
        elif statement.startswith("DELETE FROM writes"):
            synced.append((mode == "NORMAL", "delivered"))
    assert set(synced) == {(True, "accepted"), (True, "delivered")}


async def test_a_message_is_undelivered_until_the_cloud_has_it(store, cloud):
    cloud.gate.clear()
    conversation, other = a_conversation(), a_conversation()
    await store.create("ana", conversation, question(), answer())
    await store.create("ana", other, question())
    assert await store.undelivered("ana", conversation.id) == {"question", "answer"}
    assert await store.undelivered("ben", conversation.id) == set()
    assert not await store.delivered("ana", conversation.id, "question", seconds=0.02)
    waiting = asyncio.create_task(store.delivered("ana", conversation.id, "question", seconds=DEADLINE_S))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    cloud.gate.set()
    assert await waiting
    assert await store.delivered("ana", other.id, "question", seconds=DEADLINE_S)
    assert await cloud.message("ana", conversation.id, "question") == question()
    cloud.fails = lambda name, _: None if name in READS else StoreUnavailable("")
    await store.append("ana", conversation.id, answer("half", 1))
    assert await store.undelivered("ana", conversation.id) == {"answer"}
    assert await store.delivered("ana", conversation.id, "question", seconds=DEADLINE_S)  # older: there
    assert not await store.delivered("ana", conversation.id, "answer", seconds=0.02)
    await store.delete("ana", conversation.id)
    assert await store.undelivered("ana", conversation.id) == set()
    assert await store.delivered("ana", conversation.id, "never written", seconds=DEADLINE_S)


async def test_cached_data_is_read_and_written_without_a_cloud_request(store, cloud, monkeypatch):
    cached, older = a_conversation(updated_ms=3_000), a_conversation()
    for conversation in (cached, older):
        await store.create("ana", conversation, question())
    await delivered(store)
    await store.conversations("ana")
    requests = len(cloud.requests)
    async with no_wait_for(cloud, monkeypatch):
        assert await store.messages("ana", cached.id, consistency=Consistency.CACHED) == [question()]
        await store.append("ana", cached.id, answer("half", 1))
        await store.append("ana", older.id, answer("half", 1))
        await store.update("ana", replace(cached, title="Renamed"))
        assert await store.messages("ana", cached.id, consistency=Consistency.CACHED) == [question(), answer("half", 1)]
        assert await store.message("ana", cached.id, "answer", consistency=Consistency.CACHED) == answer("half", 1)
        assert await store.conversation("ana", cached.id, consistency=Consistency.CACHED) == replace(
            cached, title="Renamed"
        )
        page = await store.conversations("ana", consistency=Consistency.CACHED)
    assert page.items == [replace(cached, title="Renamed"), replace(older, updated_ms=2_000)]
    await until(lambda: len(cloud.requests) == requests + 2)
    assert {name for name, *_ in cloud.requests[requests:]} == {"append"}  # deliveries, and nothing else
    cloud.gate.set()
    await delivered(store)


async def test_listed_conversation_is_known_to_exist(place, cloud, monkeypatch):
    store = await place.open(cloud)
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    await store.aclose()
    store = await place.open(cloud := FakeCloud(place.cloud_folder), drain_seconds=0)
    await store.conversations("ana")
    async with no_wait_for(cloud, monkeypatch):
        await store.append("ana", conversation.id, answer())
        assert (await store.conversation("ana", conversation.id, consistency=Consistency.CACHED)).updated_ms == 2_000
    await store.aclose()


async def test_data_that_is_not_cached_is_read_from_the_cloud_and_then_cached(place):
    store = await place.open(FakeCloud(place.cloud_folder))
    conversation = a_conversation()
    await store.create("ana", conversation, question(), ended(""))
    await store.aclose()
    store = await place.open(cloud := FakeCloud(place.cloud_folder))
    for _ in range(2):
        assert await store.message("ana", conversation.id, "answer", consistency=Consistency.CACHED) == ended("")
        assert await store.messages("ana", conversation.id, consistency=Consistency.CACHED) == [question(), ended("")]
        assert await store.conversation("ana", conversation.id, consistency=Consistency.CACHED) == conversation
        assert (await store.conversations("ana", consistency=Consistency.CACHED)).items == [conversation]
    assert [name for name, *_ in cloud.requests] == ["message", "messages", "conversation", "conversations"]
    await cloud.append("ana", conversation.id, question("of another device", 3_000))
    assert len(await store.messages("ana", conversation.id, consistency=Consistency.CACHED)) == 2
    assert len(await store.messages("ana", conversation.id)) == 3
    assert len(await store.messages("ana", conversation.id, consistency=Consistency.CACHED)) == 3
    await store.aclose()


async def test_after_a_restart_pending_creations_and_deletions_need_no_cloud_read(place, monkeypatch):
    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(cloud, drain_seconds=0)
    new, deleted = a_conversation(), a_conversation()
    await store.create("ana", deleted, question())
    await delivered(store)
    cloud.down = True
    await store.create("ana", new, question())
    await store.append("ana", new.id, ended("half", 1))
    await store.delete("ana", deleted.id)
    await store.aclose()
    store = await place.open(cloud := FakeCloud(place.cloud_folder), drain_seconds=0)
    async with no_wait_for(cloud, monkeypatch):
        assert await store.messages("ana", new.id, consistency=Consistency.CACHED) == [question(), ended("half", 1)]
        assert await store.message("ana", new.id, "answer", consistency=Consistency.CACHED) == ended("half", 1)
        assert (await store.conversation("ana", new.id, consistency=Consistency.CACHED)).updated_ms == 2_000
        await store.append("ana", new.id, ended("whole", 2))
        for consistency in (Consistency.LATEST, Consistency.CACHED):
            for read in (store.conversation, store.messages):
                with pytest.raises(ConversationNotFound):
                    await read("ana", deleted.id, consistency=consistency)
    assert not any(name in READS for name, *_ in cloud.requests)
    await store.aclose()


async def test_a_creation_that_is_made_again_while_it_waits_shows_the_first_one(place):
    cloud = FakeCloud(place.cloud_folder)
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0)
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    await store.aclose()
    cloud = FakeCloud(place.cloud_folder)
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0)
    await store.create("ana", replace(conversation, title="Other"), question("another"))
    for consistency in (Consistency.LATEST, Consistency.CACHED):
        assert await store.conversation("ana", conversation.id, consistency=consistency) == conversation
        assert await store.messages("ana", conversation.id, consistency=consistency) == [question()]
    await store.aclose()


async def test_cached_first_page_continues_at_its_cursor(store, cloud):
    talks = [a_conversation(id=f"c{number}", updated_ms=1_000 + number) for number in range(7)]
    for conversation in talks:
        await store.create("ana", conversation)
    await delivered(store)
    await store.conversations("ana", limit=3)
    await store.conversation("ana", "c1")  # is seen, and far below
    await store.delete("ana", "c5")
    first = await store.conversations("ana", limit=3, consistency=Consistency.CACHED)
    assert [one.id for one in first.items] == ["c6", "c4"]
    rest = await store.conversations("ana", limit=3, cursor=first.cursor, consistency=Consistency.CACHED)
    assert [one.id for one in rest.items] == ["c3", "c2", "c1"]
    requests = len(cloud.requests)
    assert (
        len((await store.conversations("ana", limit=5, consistency=Consistency.CACHED)).items) == 5
    )  # as much was never seen
    assert len(cloud.requests) > requests
    for conversation in talks:
        await store.delete("ana", conversation.id)
    assert (await store.conversations("ana", limit=5, consistency=Consistency.CACHED)).items == []


async def test_single_message_falls_back_to_pending_or_cached_data_in_an_outage(store, cloud, monkeypatch):
    monkeypatch.setattr(cloud_reads, "OPEN_S", 0)
    conversation = a_conversation()
    await store.create("ana", conversation, question(), answer())
    await delivered(store)
    cloud.down = True
    await store.append("ana", conversation.id, answer("half", 1))
    assert await store.message("ana", conversation.id, "answer") == answer("half", 1)
    assert await store.message("ana", conversation.id, "question") == question()
    with pytest.raises(StoreUnavailable, match="The cloud cannot be reached"):
        await store.message("ana", conversation.id, "unknown")
    cloud.down = False
    await cloud.delete("ana", conversation.id)
    with pytest.raises(ConversationNotFound):
        await store.message("ana", conversation.id, "question")


async def test_reads_include_own_writes_immediately(store, cloud):
    cached, new, deleted = (
        a_conversation(title="known"),
        a_conversation(title="new", updated_ms=3_000),
        a_conversation(),
    )
    await store.create("ana", cached, question())
    await store.create("ana", deleted, question())
    await delivered(store)
    cloud.fails = lambda name, _: None if name in READS else StoreUnavailable("")
    await store.create("ana", new, question())
    await store.append("ana", cached.id, answer("half", 1))
    await store.append("ana", cached.id, answer("whole", 2))
    await store.update("ana", replace(cached, title="renamed", updated_ms=5_000))
    await store.delete("ana", deleted.id)
    assert await store.messages("ana", cached.id) == [question(), answer("whole", 2)]
    assert [one.title for one in await list_all(store, "ana")] == ["renamed", "new"]
    assert await list_all(store, "ana", limit=1) == await list_all(store, "ana")
    assert await store.conversation("ana", cached.id) == replace(cached, title="renamed", updated_ms=5_000)
    for call in (store.messages, store.conversation):
        with pytest.raises(ConversationNotFound):
            await call("ana", deleted.id)
    with pytest.raises(ConversationNotFound):
        await store.append("ana", deleted.id, answer("late", 3))


async def test_reads_merge_writes_of_other_replicas_with_own_ones(store, cloud):
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    await delivered(store)
    cloud.fails = lambda name, _: StoreUnavailable("") if name == "append" else None
    await store.append("ana", conversation.id, answer("mine"))
    cloud.fails = lambda *_: None
    await cloud.append("ana", conversation.id, question("theirs", 1_500))
    assert [message.id for message in await store.messages("ana", conversation.id)] == ["question", "theirs", "answer"]


async def test_a_fresh_look_at_one_message_is_remembered(place):
    cloud = FakeCloud(place.cloud_folder)
    conversation = a_conversation()
    await cloud.create("ana", conversation, question(), answer("half", 1))  # by another copy of the chat
    store = await place.open(cloud)
    assert await store.messages("ana", conversation.id) == [question(), answer("half", 1)]
    await cloud.append("ana", conversation.id, ended("whole", 2))
    assert await store.message("ana", conversation.id, "answer") == ended("whole", 2)
    assert await store.messages("ana", conversation.id, consistency=Consistency.CACHED) == [
        question(),
        ended("whole", 2),
    ]
    await store.aclose()


# Several conversations at once


async def test_several_new_conversations_wait_for_no_cloud_and_arrive_there(store, cloud, monkeypatch):
    new = [(a_conversation(), [question(f"{number}"), answer("half")]) for number in range(5)]
    async with no_wait_for(cloud, monkeypatch):
        assert await store.create_all("ana", new) == set()
        for conversation, messages in new:
            assert await store.messages("ana", conversation.id, consistency=Consistency.CACHED) == messages
    assert store.status().waiting_writes == 15
    cloud.gate.set()
    await delivered(store)
    for conversation, messages in new:
        assert await cloud.messages("ana", conversation.id) == messages
    assert len(await list_all(store, "ana")) == 5


async def test_several_new_conversations_that_wait_are_delivered_after_the_next_start(place, cloud):
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0)
    new = [(a_conversation(), [question(f"{number}")]) for number in range(3)]
    await store.create_all("ana", new)
    await store.aclose()
    again = await place.open(FakeCloud(place.cloud_folder))
    await delivered(again)
    for conversation, messages in new:
        assert await again.messages("ana", conversation.id) == messages
    await again.aclose()


@pytest.mark.parametrize("is_delivered", [True, False])
async def test_revisions_are_those_of_the_cloud_and_of_the_waiting_writes(store, cloud, is_delivered):
    kept, deleted, again = (a_conversation() for _ in range(3))
    await store.create_all("ana", [(one, [question(), ended("An answer", 3)]) for one in (kept, deleted, again)])
    await delivered(store)
    if not is_delivered:
        cloud.fails = lambda name, _: None if name in READS else StoreUnavailable("The cloud cannot be reached.")
    await store.append("ana", kept.id, ended("Newer", 5), question("later", 9_000))
    await store.delete("ana", deleted.id)
    await store.delete("ana", again.id)
    await store.create("ana", again, question("other"))
    if is_delivered:
        await delivered(store)
    expected = {kept.id: {"question": 0, "answer": 5, "later": 0}, again.id: {"other": 0}}
    assert await store.revisions("ana", [kept.id, deleted.id, again.id, "never there"]) == expected


async def test_a_full_journal_refuses_several_conversations_and_keeps_none_of_them(place, cloud):
    cloud.down = True
    store = await place.open(cloud, most_writes=3, drain_seconds=0)
    first, second = ([(a_conversation(), [question(f"{number}")]) for number in range(2)] for _ in range(2))
    await store.create_all("ana", first)
    with pytest.raises(StoreUnavailable, match="queue is full"):
        await store.create_all("ana", second)
    assert store.status().waiting_writes == 4
    await store.aclose()


# Order and revisions


async def test_of_the_waiting_revisions_of_a_message_only_the_newest_is_sent(store, cloud):
    conversation = a_conversation()
    cloud.down = True
    await store.create("ana", conversation, question(), answer())
    for revision in range(1, 8):
        await store.append("ana", conversation.id, answer("x" * revision, revision))
    await store.append("ana", conversation.id, answer("late and older", 3))
    assert store.status().waiting_writes == 4  # the conversation with both messages, and the answer's newest revision
    cloud.down = False
    await delivered(store)
    assert cloud.writes == [
        ("create", conversation.id, ["question@0", "answer@0"]),  # no other replica sees one without the other
        ("append", conversation.id, ["answer@7"]),
    ]
    assert await cloud.messages("ana", conversation.id) == [question(), answer("x" * 7, 7)]


async def test_long_queue_is_delivered_in_few_ordered_batches_that_keep_calls_together(store, cloud, monkeypatch):
    monkeypatch.setattr(journal, "BATCH_MESSAGES", 5)
    conversation = a_conversation()
    cloud.down = True
    await store.create("ana", conversation)
    for number in range(8):
        await store.append("ana", conversation.id, question(f"q{number}"), question(f"a{number}"))
    cloud.down = False
    await delivered(store)
    (_, *appends) = cloud.writes
    assert [messages for _, _, messages in appends] == [
        [f"{kind}{number}@0" for number in (first, first + 1) for kind in "qa"] for first in (0, 2, 4, 6)
    ]


async def test_the_calls_of_one_conversation_never_overlap_and_those_of_several_do(place, cloud):
    store = await place.open(cloud, at_once=3)
    cloud.latency = 0.005
    one = a_conversation()
    await store.create("ana", one)
    for number in range(5):
        await store.append("ana", one.id, question(f"q{number}"))
        await asyncio.sleep(0.004)
    await delivered(store)
    assert cloud.most_at_once == 1
    sent = [message for _, _, messages in cloud.writes for message in messages]
    assert sent == [f"q{number}@0" for number in range(5)]
    cloud.gate.clear()
    for _ in range(12):
        await store.create("ana", a_conversation())
    await until(lambda: cloud.at_once == 3)
    cloud.gate.set()
    await delivered(store)
    assert cloud.most_at_once == 3
    await store.aclose()


# A cloud that fails


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["down", "loses replies", "stalls"])
async def test_after_any_trouble_of_the_cloud_it_holds_everything_once_and_in_order(store, cloud, trouble):
    cloud.down = trouble == "down"
    cloud.loses_reply = lambda _: trouble == "loses replies"
    if trouble == "stalls":
        cloud.gate.clear()
    talks = [a_conversation(title=f"talk {number}") for number in range(12)]
    for conversation in talks:
        await store.create("ana", conversation, question(), answer())
    for turn in range(3):
        for conversation in talks:
            await store.append("ana", conversation.id, question(f"q{turn}", 3_000 + turn), answer(f"{turn}", turn + 1))
    await until(lambda: len(cloud.requests) >= 8)
    assert all(store.pending("ana", conversation.id) for conversation in talks)
    cloud.down, cloud.loses_reply = False, lambda _: False
    cloud.gate.set()
    await delivered(store)
    for conversation in talks:
        expected = [question(), answer("2", 3), *(question(f"q{turn}", 3_000 + turn) for turn in range(3))]
        assert await cloud.messages("ana", conversation.id) == expected
        assert await store.messages("ana", conversation.id) == expected
    assert len(await list_all(cloud, "ana")) == 12


@pytest.mark.slow
async def test_in_an_outage_one_call_at_a_time_asks_and_ever_more_seldom(place, cloud, monkeypatch):
    monkeypatch.setattr(journal_delivery, "FIRST_RETRY_S", 0.02)
    monkeypatch.setattr(journal_delivery, "LAST_RETRY_S", 0.08)
    store = await place.open(cloud, at_once=8, drain_seconds=0)
    cloud.down = True
    for _ in range(20):
        await store.create("ana", a_conversation())
    await until(lambda: not store.status().reachable and not cloud.at_once)
    began, already = time.monotonic(), len(cloud.requests)
    cloud.most_at_once = 0
    await until(lambda: len(cloud.requests) >= already + 6)
    assert time.monotonic() - began >= 5 * 0.02  # a pause before each
    assert cloud.most_at_once == 1
    conversation_ids = [conversation_id for _, conversation_id, _ in cloud.requests]
    assert len(set(conversation_ids)) >= 5  # each time another: one alone may be the reason
    cloud.down = False
    await delivered(store)
    assert store.status().reachable
    await store.aclose()


async def test_down_at_the_start_it_opens_and_delivers_later(place, cloud):
    cloud.down = True
    store = await place.open(cloud)
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    assert await store.messages("ana", conversation.id) == [question()]
    with pytest.raises(StoreUnavailable, match="The cloud cannot be reached"):
        await store.conversations("ben")
    with pytest.raises(StoreUnavailable, match="The cloud cannot be reached"):
        await store.messages("ana", "never seen")
    with pytest.raises(StoreUnavailable, match="The cloud cannot be reached"):
        await store.append("ana", "never seen", question())
    cloud.down = False
    await delivered(store)
    await store.aclose()


async def test_in_mid_conversation_an_outage_is_not_noticed(store, cloud):
    cached, older = a_conversation(updated_ms=9_000), a_conversation()
    await store.create("ana", cached, question())
    await store.create("ana", older, question())
    await delivered(store)
    await list_all(store, "ana")
    await store.messages("ana", cached.id)
    cloud.down = True
    await store.append("ana", cached.id, question("during", 3_000))
    new = a_conversation(updated_ms=9_999)
    await store.create("ana", new, question())
    await store.delete("ana", older.id)
    assert await store.messages("ana", cached.id) == [question(), question("during", 3_000)]
    assert await list_all(store, "ana") == [new, cached]
    with pytest.raises(ConversationNotFound):
        await store.messages("ana", older.id)


@pytest.mark.usefixtures("impatient_reads")
async def test_stalled_cloud_delays_only_the_first_read_of_a_cached_conversation(store, cloud, monkeypatch):
    monkeypatch.setattr(cloud_reads, "OPEN_S", 1e6)
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    cloud.gate.clear()
    assert await store.messages("ana", conversation.id) == [question()]
    async with no_wait_for(cloud, monkeypatch):
        for _ in range(20):
            assert await store.messages("ana", conversation.id) == [question()]
            assert await store.conversation("ana", conversation.id) == conversation
    cloud.gate.set()


@pytest.mark.usefixtures("impatient_reads")
async def test_slow_read_returns_cached_data_first_and_updates_the_cache_later(store, cloud, monkeypatch):
    monkeypatch.setattr(cloud_reads, "OPEN_S", 0.05)
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    await delivered(store)
    await cloud.append("ana", conversation.id, question("from another device", 3_000))
    cloud.gate.clear()  # for longer than anybody waits for what was just seen
    assert await store.messages("ana", conversation.id) == [question()]
    cloud.gate.set()
    await until(lambda: not store._cloud_reads.tasks)
    assert await store.messages("ana", conversation.id) == [question(), question("from another device", 3_000)]


async def test_cache_is_bounded_and_evicted_data_is_unavailable_in_an_outage(place, cloud):
    store = await place.open(cloud, recent_bytes=20_000, drain_seconds=0)
    talks = [a_conversation() for _ in range(10)]
    for conversation in talks:
        await store.create("ana", conversation, a_message("x" * 2_000))
    await delivered(store)
    cloud.down = True
    assert len(await store.messages("ana", talks[-1].id)) == 1
    with pytest.raises(StoreUnavailable):
        await store.messages("ana", talks[0].id)
    assert store._recent._bytes <= 20_000
    await store.aclose()


async def test_after_a_restart_in_an_outage_pending_writes_are_returned_and_delivered(place):
    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(cloud, drain_seconds=0)
    cached, renamed, new = (a_conversation(title=title, updated_ms=ms) for title, ms in [("a", 1), ("b", 2), ("c", 3)])
    await store.create("ana", cached, question())
    await store.create("ana", renamed, question())
    await delivered(store)
    cloud.down = True
    await store.append("ana", cached.id, ended("half", 1))
    await store.update("ana", replace(renamed, title="B"))
    await store.create("ana", new, question())
    await store.aclose()

    cloud = FakeCloud(place.cloud_folder)
    cloud.down = True
    store = await place.open(cloud)
    assert [one.title for one in await list_all(store, "ana")] == ["a", "c", "B"]
    assert await store.messages("ana", new.id) == [question()]
    for incomplete in (cached, renamed):  # a part must not pass for the whole, which a turn would continue
        with pytest.raises(StoreUnavailable):
            await store.messages("ana", incomplete.id)
    assert (await store.conversation("ana", cached.id)).title == "a"
    await store.append("ana", cached.id, ended("whole", 2))
    cloud.down = False
    await delivered(store)
    assert await store.messages("ana", cached.id) == [question(), ended("whole", 2)]
    await store.aclose()


async def test_after_a_lost_reply_to_a_creation_another_replicas_messages_are_back_with_the_cloud(place):
    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(cloud, drain_seconds=0)
    conversation, other = a_conversation(), question("at another replica", 3_000)
    cloud.down = True
    await store.create("ana", conversation, question())
    await store.aclose()
    cloud = FakeCloud(place.cloud_folder)
    await cloud.create("ana", conversation, question())  # this was delivered, and its reply was lost
    await cloud.append("ana", conversation.id, other)
    cloud.down = True
    store = await place.open(cloud)
    assert await store.messages("ana", conversation.id) == [question()]
    with pytest.raises(StoreUnavailable):
        await store.message("ana", conversation.id, other.id, consistency=Consistency.STRICT)
    await store.append("ana", conversation.id, ended("whole", 2))
    cloud.down = False
    await delivered(store)
    assert await store.messages("ana", conversation.id) == [question(), ended("whole", 2), other]
    await store.aclose()


@pytest.mark.slow
@pytest.mark.usefixtures("impatient_reads")
async def test_a_read_right_after_a_turn_has_all_of_it_when_only_a_part_still_waits(place):
    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(
        cloud, drain_seconds=0, recent_bytes=0
    )  # nothing is cached, as while the user writes elsewhere as well
    conversation, answers = a_conversation(), [answer(id="first"), answer(id="second")]
    await store.create("ana", conversation, question())
    await store.append("ana", conversation.id, *answers)
    await delivered(store)
    cloud.fails = lambda name, _: StoreUnavailable("") if name == "append" else None
    await store.append("ana", conversation.id, answer("text", 1, id="first"))  # a checkpoint
    cloud.latency = 0.2  # longer than a read with a fallback waits
    messages = await store.messages("ana", conversation.id)
    assert [message.id for message in messages] == ["question", "first", "second"]
    await store.aclose()


# Answers of a chat that was killed

DIE_IN_MID_ANSWER = """
import asyncio, os, pathlib, sys
from chatapp.domain.conversation import Conversation, Message, MessageStatus, Role
from chatapp.store.journal.store import JournaledStore
from tests.fakes.stores import FakeCloud

folder, delivered = pathlib.Path(sys.argv[1]), sys.argv[2] == "delivered"

def message(id, content, revision=0, status=MessageStatus.STREAMING):
    return Message(id=id, turn_id="turn", role=Role.ASSISTANT, content=content, created_ms=2_000, revision=revision,
                   status=status)

async def main():
    cloud = FakeCloud(folder / "cloud")
    cloud.down = not delivered
    store = await JournaledStore.open(folder / "journal" / "journal.db", cloud, destination="the cloud")
    await store.create("ana", Conversation(id="c", title="", created_ms=0, updated_ms=0), message("ended", ""))
    await store.append("ana", "c", message("ended", "whole", 1, MessageStatus.COMPLETE), message("answer", ""))
    await store.append("ana", "c", message("answer", "half", 1))
    while delivered and store.status().waiting_writes:
        await asyncio.sleep(0.005)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["delivered", "waiting"])
async def test_running_answer_of_a_killed_chat_is_interrupted_at_the_next_start_here_and_in_the_cloud(
    place, tmp_path, how
):
    command = [sys.executable, "-c", DIE_IN_MID_ANSWER, str(tmp_path), how]
    await asyncio.to_thread(subprocess.run, command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)
    cloud = FakeCloud(place.cloud_folder)
    cloud.down = how == "waiting"
    store = await place.open(cloud, drain_seconds=0)
    interrupted = answer("half", 2, status=MessageStatus.INTERRUPTED)
    assert await store.message("ana", "c", "answer") == interrupted
    cloud.down = False
    await delivered(store)
    ended = answer("whole", 1, id="ended", status=MessageStatus.COMPLETE)
    assert await cloud.messages("ana", "c") == [interrupted, ended]
    await store.aclose()
    store = await place.open(cloud := FakeCloud(place.cloud_folder))
    assert store.status() == StoreStatus()  # it was ended once
    await store.append("ana", "c", answer("half, and more", 3))
    assert await store.message("ana", "c", "answer") == answer("half, and more", 3)
    await store.aclose()


async def test_all_answers_of_a_killed_chat_are_interrupted_in_one_commit(place, monkeypatch):
    cloud = FakeCloud(place.cloud_folder)
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0)
    conversations = [a_conversation() for _ in range(5)]
    for conversation in conversations:
        await store.create("ana", conversation, question(), answer("half"))
    await store.aclose()
    commits = []
    commit = sqlite_writer.Writer._commit
    monkeypatch.setattr(
        sqlite_writer.Writer, "_commit", lambda writer, batch: commits.append(len(batch)) or commit(writer, batch)
    )
    store = await place.open(cloud, drain_seconds=0)
    assert commits == [1]
    for conversation in conversations:
        ends = await store.messages("ana", conversation.id)
        assert ends == [question(), answer("half", 1, status=MessageStatus.INTERRUPTED)]
    await store.aclose()


@pytest.mark.slow
async def test_a_newer_revision_of_another_replica_is_not_interrupted_after_a_kill(place):
    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(cloud)
    conversation = a_conversation()
    await store.create("ana", conversation, question(), answer("half", 1))
    await store.aclose()
    cloud = FakeCloud(place.cloud_folder)
    await cloud.append("ana", conversation.id, answer("half, and more", 3))
    store = await place.open(cloud)
    await delivered(store)
    assert await store.messages("ana", conversation.id) == [question(), answer("half, and more", 3)]
    await store.aclose()


@pytest.mark.parametrize("end", ["its end", "its conversation's deletion", "a deletion elsewhere"])
async def test_the_text_of_a_running_answer_leaves_the_file_with(place, cloud, monkeypatch, end):
    monkeypatch.setattr(sqlite_writer, "QUIET_S", 0.05)
    store = await place.open(cloud)
    conversation = a_conversation()
    await store.create("ana", conversation, answer("SECRET"))
    await store.append("ana", conversation.id, answer("SECRET " * 5_000, 1))
    await delivered(store)
    assert b"SECRET" in bytes_on_disk(place.path)
    if end == "its end":
        await store.append("ana", conversation.id, ended("whole", 2))
    elif end == "a deletion elsewhere":
        await cloud.delete("ana", conversation.id)
        await store.append("ana", conversation.id, answer("half", 2))
    else:
        await store.delete("ana", conversation.id)
    await until(lambda: b"SECRET" not in bytes_on_disk(place.path))
    await store.aclose()
    store = await place.open(cloud := FakeCloud(place.cloud_folder))
    assert store.status() == StoreStatus()  # nothing is left to be interrupted
    await store.aclose()


@pytest.mark.slow
async def test_a_late_revision_of_an_answer_that_has_ended_does_not_make_it_a_running_one(place, cloud):
    store = await place.open(cloud)
    conversation = a_conversation()
    await store.create("ana", conversation, answer())
    await store.append("ana", conversation.id, ended("whole", 2))
    await store.append("ana", conversation.id, answer("late", 1), answer("late", 2))
    await store.aclose()
    store = await place.open(cloud := FakeCloud(place.cloud_folder))
    assert store.status() == StoreStatus()
    assert await store.messages("ana", conversation.id) == [ended("whole", 2)]
    await store.aclose()


async def test_a_running_answer_for_another_cloud_is_not_ended_in_this_one(place):
    store = await place.open(FakeCloud(place.cloud_folder))
    await store.create("ana", a_conversation(), answer())
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="holds 1 writes for the cloud"):
        await place.open(destination="another")


async def test_a_journal_of_the_version_before_is_taken_over_with_all_that_waits(place, monkeypatch):
    before = replace(journal_file.JOURNAL, migrations=journal_file.JOURNAL.migrations[:1])
    conversation = a_conversation()
    with monkeypatch.context() as patch:
        patch.setattr(journal_file, "JOURNAL", before)
        patch.setattr(journal_file, "_check_destination", lambda connection, *_: connection.execute(
            "INSERT INTO destination VALUES ('the cloud')"
        ))  # fmt: skip
        file = journal_file.open_journal(place.path, "the cloud")
        data = journal_overlay.encoded(conversation)
        file.writer.execute(
            "INSERT INTO writes (call, user, conversation_id, kind, accepted_ms, conversation)"
            " VALUES (1, 'ana', ?, 'create', 0, ?)",
            (conversation.id, data),
        )
        file.close()
    store = await place.open(cloud := FakeCloud(place.cloud_folder))
    await delivered(store)
    assert await list_all(cloud, "ana") == [conversation]
    await store.aclose()


# Writes that the cloud refuses


async def test_writes_to_a_conversation_deleted_elsewhere_are_dropped_and_block_no_others(store, cloud, place):
    deleted, other = a_conversation(), a_conversation()
    await store.create("ana", deleted, question())
    await store.create("ana", other)
    await delivered(store)
    await cloud.delete("ana", deleted.id)
    with capture_logs() as logs:
        await store.append("ana", deleted.id, answer("SECRET", 1))
        await store.append("ana", other.id, answer("kept", 1))
        await delivered(store)
    (dropped,) = [line for line in logs if line["event"] == "delivery_dropped"]
    assert dropped["conversation"] == deleted.id
    assert "SECRET" not in str(logs)
    assert b"SECRET" not in bytes_on_disk(place.path)
    assert await cloud.messages("ana", other.id) == [answer("kept", 1)]
    with pytest.raises(ConversationNotFound):
        await store.append("ana", deleted.id, answer("more", 2))
    with pytest.raises(ConversationNotFound):
        await store.messages("ana", deleted.id)


@pytest.mark.parametrize("error", [ConversationNotFound(), ValueError("no id")], ids=["not found", "a mistake"])
async def test_permanently_rejected_write_is_set_aside_returned_by_reads_and_retried_at_the_next_start(place, error):
    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(cloud)
    refused, other = a_conversation(), a_conversation()
    cloud.fails = lambda name, conversation_id: error if (name, conversation_id) == ("create", refused.id) else None
    with capture_logs() as logs:
        await store.create("ana", refused, question())
        await until(lambda: any(line["event"] == "delivery_set_aside" for line in logs))
    await store.append("ana", refused.id, ended("more", 1))
    await store.create("ana", other, question())
    await until(lambda: not store.pending("ana", other.id))
    assert await store.messages("ana", refused.id) == [question(), ended("more", 1)]
    assert store.pending("ana", refused.id)
    assert [name for name, conversation_id, _ in cloud.requests if conversation_id == refused.id].count("create") == 1
    async with asyncio.timeout(15):  # of the 30 s
        await store.aclose()

    store = await place.open(cloud := FakeCloud(place.cloud_folder))
    await delivered(store)
    assert await cloud.messages("ana", refused.id) == [question(), ended("more", 1)]
    await store.aclose()


@pytest.mark.slow
async def test_one_conversation_that_always_fails_does_not_hold_up_the_others(store, cloud):
    poisoned = a_conversation()
    cloud.fails = refusing(poisoned.id, StoreUnavailable("Firestore refused this."))
    await store.create("ana", poisoned)
    await until(lambda: not store.status().reachable)
    for _ in range(10):
        other = a_conversation()
        await store.create("ana", other)
        await until(lambda other=other: not store.pending("ana", other.id))
    assert store.pending("ana", poisoned.id)
    cloud.fails = lambda *_: None
    await delivered(store)


async def test_more_than_the_cloud_takes_at_once_is_refused_before_it_is_accepted(store):
    conversation = a_conversation()
    await store.create("ana", conversation)
    with pytest.raises(StoreUnavailable, match=r"This is 4\.5 MB.* 4 MB at once.*Shorten it"):
        await store.append("ana", conversation.id, *(a_message("x" * 900_000) for _ in range(5)))
    assert await store.messages("ana", conversation.id) == []


# Deleting


async def test_a_deletion_takes_the_waiting_text_out_of_the_file_and_is_delivered(store, cloud, place):
    deleted, other = a_conversation(title="SECRET title", system_prompt="SECRET prompt"), a_conversation()
    await store.create("ana", deleted, a_message("SECRET " * 3_000))
    await delivered(store)
    cloud.down = True
    await store.append("ana", deleted.id, a_message("SECRET " * 3_000), a_message("SECRET", error="SECRET error"))
    await store.update("ana", replace(deleted, title="SECRET again"))
    await store.create("ana", other, a_message("PUBLIC"))
    assert b"SECRET" in bytes_on_disk(place.path)
    await store.delete("ana", deleted.id)
    assert b"SECRET" not in bytes_on_disk(place.path)
    assert b"PUBLIC" in bytes_on_disk(place.path)
    cloud.down = False
    await delivered(store)
    assert sorted(name for name, *_ in cloud.writes[1:]) == ["create", "delete"]
    assert await list_all(cloud, "ana") == [other]


async def test_a_deletion_waits_for_the_call_that_is_under_way_and_nothing_comes_back(store, cloud):
    conversation = a_conversation()
    cloud.gate.clear()
    await store.create("ana", conversation, question())
    await until(lambda: cloud.requests)
    await store.append("ana", conversation.id, answer("half", 1))
    await store.delete("ana", conversation.id)
    cloud.gate.set()
    await delivered(store)
    assert [name for name, *_ in cloud.writes] == ["create", "delete"]
    assert await list_all(cloud, "ana") == []
    assert await list_all(store, "ana") == []


async def test_emptying_the_log_of_delivered_text_holds_up_no_write_at_once(place, cloud, monkeypatch):
    monkeypatch.setattr(journal, "ERASE_SOON_S", 1e6)
    store = await place.open(cloud)
    await store.create("ana", a_conversation(), a_message("SECRET"))
    await delivered(store)
    assert b"SECRET" in bytes_on_disk(place.path)
    await store.aclose()
    assert b"SECRET" not in bytes_on_disk(place.path)


@pytest.mark.slow
async def test_delivered_text_is_erased_from_the_file(place, cloud, monkeypatch):
    monkeypatch.setattr(sqlite_writer, "QUIET_S", 0.05)
    store = await place.open(cloud)
    for number in range(20):
        await store.create("ana", a_conversation(title="SECRET"), a_message("SECRET " * 10 ** (number % 4)))
    await delivered(store)
    await until(lambda: b"SECRET" not in bytes_on_disk(place.path))
    await store.aclose()


# Bounds


@pytest.mark.parametrize("bound", [{"most_writes": 4}, {"most_bytes": 2_000}])
async def test_past_a_bound_a_person_is_refused_and_a_running_answer_still_ends(place, cloud, bound):
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0, **bound)
    conversation = a_conversation()
    await store.create("ana", conversation, question(), answer())
    await store.append("ana", conversation.id, a_message("x" * 2_000, role=Role.ASSISTANT))
    full = store.status()
    assert full.full
    for refused in (
        store.append("ana", conversation.id, question("another"), answer(id="its answer")),
        store.create("ana", a_conversation(), question("new")),
    ):
        with pytest.raises(StoreUnavailable, match="cannot be saved: the cloud"):
            await refused
    assert store.status().waiting_writes == full.waiting_writes
    assert store.status().waiting_bytes == full.waiting_bytes
    await store.append("ana", conversation.id, answer("whole", 1))
    assert "whole" in [message.content for message in await store.messages("ana", conversation.id)]
    await store.delete("ana", conversation.id)
    assert store.status().waiting_writes == 1
    cloud.down = False
    await delivered(store)
    assert store.status() == StoreStatus()
    await store.create("ana", a_conversation(), question("again"))
    await store.aclose()


async def test_depth_and_age_are_told_and_survive_a_restart_and_a_clock_that_steps_back(place, monkeypatch):
    clock = conversations.now_ms()
    for module in (journal, journal_rows):
        monkeypatch.setattr(module, "now_ms", lambda: clock)
    cloud = FakeCloud(place.cloud_folder)
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0)
    assert store.status() == StoreStatus()
    conversation = a_conversation()
    await store.create("ana", conversation, ended(""))
    await until(lambda: store.status().waiting_seconds > 0.02)
    clock -= 3_600_000
    await store.append("ana", conversation.id, ended("x" * 500, 1))  # has been waiting since its first revision
    depth = store.status().waiting_writes, store.status().waiting_bytes
    assert depth[0] == 3  # with the first revision, which goes with the conversation
    assert depth[1] > 500
    assert 0.02 <= store.status().waiting_seconds < 5
    await store.aclose()
    for hours, expected in ((2, 2 * 3600), (-5, 0)):
        clock = conversations.now_ms() + hours * 3_600_000
        cloud = FakeCloud(place.cloud_folder)
        cloud.down = True
        store = await place.open(cloud, drain_seconds=0)
        assert (store.status().waiting_writes, store.status().waiting_bytes) == depth
        assert expected <= store.status().waiting_seconds < expected + 3_700
        await store.aclose()


async def test_a_clock_that_steps_back_reorders_and_stalls_nothing(store, cloud, monkeypatch):
    conversation = a_conversation()
    cloud.down = True
    await store.create("ana", conversation)
    await until(lambda: not store.status().reachable)
    monkeypatch.setattr(journal_rows, "now_ms", lambda: 0)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    for number in range(5):
        await store.append("ana", conversation.id, question(f"q{number}"))
    cloud.down = False
    await delivered(store)
    assert [message for _, _, messages in cloud.writes for message in messages] == [f"q{n}@0" for n in range(5)]


# Disks, files and locks


async def test_on_a_full_disk_a_write_is_refused_whole_and_the_next_one_works(store, cloud):
    conversation = a_conversation()
    cloud.down = True
    await store.create("ana", conversation, question())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    depth = store.status().waiting_writes, store.status().waiting_bytes
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, before[1]))
    try:
        with pytest.raises(StoreUnavailable, match=r"reports an error\. Nothing was changed"):
            await store.append("ana", conversation.id, question("small"), a_message("x" * 1_000_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (store.status().waiting_writes, store.status().waiting_bytes) == depth
    connection = store._journal._database._writer._connection
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="is read-only"):
        await store.append("ana", conversation.id, question("small"))
    connection.execute("PRAGMA query_only = OFF")
    assert await store.messages("ana", conversation.id) == [question()]
    await store.append("ana", conversation.id, question("after", 3_000))
    cloud.down = False
    await delivered(store)
    assert await cloud.messages("ana", conversation.id) == [question(), question("after", 3_000)]


async def test_a_delivery_that_cannot_be_noted_is_made_again(store, cloud):
    conversation = a_conversation()
    cloud.gate.clear()
    await store.create("ana", conversation, question())
    await until(lambda: cloud.requests)
    connection = store._journal._database._writer._connection
    connection.execute("PRAGMA query_only = ON")
    cloud.gate.set()
    await until(lambda: len(cloud.calls) > 2)
    connection.execute("PRAGMA query_only = OFF")
    await delivered(store)
    assert await cloud.messages("ana", conversation.id) == [question()]


async def test_write_of_a_cancelled_caller_is_complete_and_delivered(store, cloud):
    conversation = a_conversation()
    await store.create("ana", conversation)
    task = asyncio.create_task(store.append("ana", conversation.id, question("a"), question("b")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await store._journal.accepted()
    await delivered(store)
    await until(lambda: len(cloud.writes) == 2)
    assert await cloud.messages("ana", conversation.id) == [question("a"), question("b")]


async def test_a_second_chat_on_the_same_journal_is_refused(place, store):
    with pytest.raises(StoreUnavailable, match="Another running chat already uses"):
        await place.open()


async def test_a_journal_with_writes_for_another_cloud_is_refused_until_they_are_delivered(place, cloud):
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0)
    await store.create("ana", a_conversation())
    await store.aclose()
    with pytest.raises(StoreUnavailable, match="holds 1 writes for the cloud, and this chat saves to another"):
        await place.open(destination="another")
    await (await place.open()).aclose()
    await (await place.open(destination="another")).aclose()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda file: file.execute("PRAGMA user_version = 99"), "newer version"),
        (lambda file: file.execute("PRAGMA application_id = 5"), "is not the chat's journal"),
    ],
    ids=["newer", "another program's"],
)
async def test_a_file_that_is_no_journal_of_ours_is_refused_and_left_alone(place, spoil, words):
    await (await place.open()).aclose()
    with closing(sqlite3.connect(place.path)) as file:
        spoil(file)
    before = bytes_on_disk(place.path)
    with pytest.raises(StoreUnavailable, match=words):
        await place.open()
    assert bytes_on_disk(place.path) == before


# The end


async def test_closing_rejects_new_writes_and_delivers_pending_ones(place):
    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(cloud)
    cloud.down = True
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    await until(lambda: not store.status().reachable)
    closing_store = asyncio.create_task(store.aclose())
    await asyncio.sleep(0)  # it has begun
    with pytest.raises(StoreUnavailable, match="shutting down"):
        await store.append("ana", conversation.id, question("late"))
    cloud.down = False
    await closing_store
    assert [name for name, *_ in cloud.writes] == ["create"]
    assert cloud.closed == 1


async def test_undelivered_writes_are_logged_at_shutdown_and_delivered_at_the_next_start(place):
    cloud = FakeCloud(place.cloud_folder)
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0.05)
    talks = [a_conversation(title="SECRET") for _ in range(2)]
    for conversation in talks:
        await store.create("someone@example.org", conversation, a_message("SECRET"))
    with capture_logs() as logs:
        await store.aclose()
    left = [line for line in logs if line["event"] == "not_delivered"]
    assert [line["conversation"] for line in left] == [conversation.id for conversation in talks]
    assert all(line["writes"] == {"create": 1, "created": 1} and line["bytes"] > 100 for line in left)
    assert "SECRET" not in str(logs)
    assert "someone" not in str(logs)
    store = await place.open(cloud := FakeCloud(place.cloud_folder))
    assert store.pending("someone@example.org", talks[0].id)
    await delivered(store)
    assert len(await list_all(cloud, "someone@example.org")) == 2
    await store.aclose()


async def test_a_cloud_that_hangs_does_not_keep_the_chat_from_ending(place):
    cloud = FakeCloud(place.cloud_folder)
    cloud.gate.clear()
    store = await place.open(cloud, drain_seconds=0.05)
    await store.create("ana", a_conversation())
    async with asyncio.timeout(30):
        await store.aclose()


# Kills

TALK_UNTIL_KILLED = """
import asyncio, os, pathlib, random, sys
from chatapp.domain.conversation import Conversation, Message, MessageStatus, Role
from chatapp.domain.errors import StoreUnavailable
from chatapp.store.journal import delivery as journal_delivery
from chatapp.store.journal.store import JournaledStore
from tests.fakes.stores import FakeCloud

journal_delivery.FIRST_RETRY_S, journal_delivery.LAST_RETRY_S = 0.005, 0.05
folder, life = pathlib.Path(sys.argv[1]), sys.argv[2]

async def talk(store, number):
    name = f"{life}-{number}"
    await store.create("ana", Conversation(id=name, title=name, created_ms=0, updated_ms=0))
    for turn in range(1_000_000):
        question = Message(id=f"q{turn:06}", turn_id="t", role=Role.USER, content=f"q{turn}", created_ms=2 * turn)
        answer = Message(id=f"a{turn:06}", turn_id="t", role=Role.ASSISTANT, content="", created_ms=2 * turn + 1,
                         status=MessageStatus.STREAMING)
        await store.append("ana", name, question, answer)
        os.write(1, f"{name} {turn} 0\\n".encode())
        for revision in (1, 2, 3):
            await store.append("ana", name, Message(id=answer.id, turn_id="t", role=Role.ASSISTANT,
                content=f"a{turn} " * revision, created_ms=answer.created_ms, revision=revision))
            os.write(1, f"{name} {turn} {revision}\\n".encode())

async def main():
    cloud = FakeCloud(folder / "cloud")
    chance = random.Random(life)
    cloud.latency = 0.002
    cloud.loses_reply = lambda name: chance.random() < 0.2
    cloud.fails = lambda name, _: StoreUnavailable("") if chance.random() < 0.2 else None
    store = await JournaledStore.open(folder / "journal" / "journal.db", cloud, destination="the cloud")
    await asyncio.gather(*(talk(store, number) for number in range(6)))

asyncio.run(main())
"""


def talk_until_killed(folder: Path, life: str, lines: int) -> list[str]:
    """Return what a chat said until it was killed, after at least so many lines; its log is between them."""
    command = [sys.executable, "-c", TALK_UNTIL_KILLED, str(folder), life]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        output = [process.stdout.readline() for _ in range(lines)]
        process.kill()
        return output + process.stdout.readlines()


@pytest.mark.slow
async def test_kill_9_in_mid_delivery_loses_doubles_and_reorders_nothing_that_was_acknowledged(place, tmp_path):
    acknowledged: dict[tuple[str, int], int] = {}
    for life in range(6):
        output = await asyncio.to_thread(talk_until_killed, tmp_path, f"life{life}", 100 + 200 * life)
        for name, turn, revision in (line.split() for line in output if re.fullmatch(r"life\S+ \d+ \d\n", line)):
            acknowledged[name, int(turn)] = int(revision)
    assert len(acknowledged) > 200

    cloud = FakeCloud(place.cloud_folder)
    store = await place.open(cloud)
    await until(lambda: not store.status().waiting_writes)
    stored: dict[tuple[str, int], int] = {}
    for conversation in await list_all(cloud, "ana"):
        messages = await cloud.messages("ana", conversation.id)
        turns = len(messages) // 2
        assert [message.id for message in messages] == [f"{kind}{turn:06}" for turn in range(turns) for kind in "qa"]
        for turn in range(turns):
            assert messages[2 * turn].content == f"q{turn}"
            reply = messages[2 * turn + 1]
            assert reply.status in {MessageStatus.COMPLETE, MessageStatus.INTERRUPTED}
            # The next life added a revision to what the one before was writing when it was killed.
            written = reply.revision - (reply.status is MessageStatus.INTERRUPTED)
            assert reply.content == f"a{turn} " * written
            stored[conversation.id, turn] = written
    assert all(stored[turn] >= revision for turn, revision in acknowledged.items())
    unheard = sum(stored[turn] - acknowledged.get(turn, -1) for turn in stored)
    assert unheard <= 6 * 6  # what was under way, at most
    await store.aclose()


# Anything, with a cloud that fails and forgets to answer


class UnreliablePlace(JournaledPlace):
    """A cloud of which every third write fails, and every fifth reply is lost; reading works."""

    async def open(self) -> JournaledStore:
        cloud, counter = FakeCloud(self.cloud_folder), iter(range(10**9))
        cloud.fails = lambda name, _: None if name in READS or next(counter) % 3 else StoreUnavailable("")
        cloud.loses_reply = lambda name: name not in READS and next(counter) % 5 == 0
        return await super().open(cloud)


@EXAMPLES
@pytest.mark.slow
def test_any_sequence_of_calls_over_an_unreliable_cloud_matches_the_model(tmp_path, examples):
    run_any_history(UnreliablePlace(tmp_path), examples)


# Images and documents


PICTURE = Image(id="picture", media_type="image/png", width=3, height=2, data=b"SECRET pixels" * 1_000)
REPORT = Document(id="report", name="r.pdf", kind="PDF", pages=2, size=9, data=b"SECRET words" * 1_000)
ATTACHED_BYTES = len(PICTURE.data) + len(REPORT.data)


def attached(message):
    """Return the message with a picture and a document."""
    return message.with_attachments((PICTURE, REPORT))


async def read(store, conversation):
    """Return the picture and the document of a conversation."""
    image = await store.image("ana", conversation.id, "picture")
    return [image, await store.document("ana", conversation.id, "report")]


async def assert_none(store, conversation):
    """Check that a conversation has neither the picture nor the document."""
    with pytest.raises(ConversationNotFound):
        await store.image("ana", conversation.id, "picture")
    with pytest.raises(ConversationNotFound):
        await store.document("ana", conversation.id, "report")


async def test_attachments_wait_on_this_disk_with_their_message_and_leave_it_when_they_are_in_the_cloud(place, cloud):
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0.05)
    conversation = a_conversation()
    await store.create("ana", conversation, question())
    await store.append("ana", conversation.id, attached(question("attached")))
    assert await read(store, conversation) == [PICTURE, REPORT]
    assert store.status().waiting_bytes > ATTACHED_BYTES
    await store.aclose()
    cloud.closed, cloud.down = 0, False
    store = await place.open(cloud)
    await delivered(store)
    assert await read(cloud, conversation) == [PICTURE, REPORT]
    assert await read(store, conversation) == [PICTURE, REPORT]
    await until(lambda: b"SECRET" not in bytes_on_disk(place.path))
    assert store.status().waiting_bytes == 0
    await store.aclose()


async def test_a_newer_revision_without_the_bytes_does_not_lose_attachments_that_wait(store, cloud, place):
    cloud.down = True
    conversation, first = a_conversation(), attached(question())
    await store.create("ana", conversation, first)
    newer = without_data(replace(first, content="newer", revision=1))
    await store.append("ana", conversation.id, newer)
    await store.append("ana", conversation.id, replace(newer, content="newest", revision=2))
    waiting = store.status().waiting_bytes
    assert 2 * ATTACHED_BYTES < waiting < 3 * ATTACHED_BYTES  # counted for the creation and for the newest
    assert await read(store, conversation) == [PICTURE, REPORT]
    cloud.down = False
    await delivered(store)
    assert await read(cloud, conversation) == [PICTURE, REPORT]
    assert [message.content for message in await cloud.messages("ana", conversation.id)] == ["newest"]
    await until(lambda: b"SECRET" not in bytes_on_disk(place.path))


async def test_attachments_of_a_deleted_conversation_are_erased_from_the_disk(store, cloud, place):
    cloud.down = True
    conversation = a_conversation()
    await store.create("ana", conversation, attached(question()))
    assert all(secret in bytes_on_disk(place.path) for secret in (b"SECRET pixels", b"SECRET words"))
    await store.delete("ana", conversation.id)
    assert b"SECRET" not in bytes_on_disk(place.path)
    await assert_none(store, conversation)


async def test_cloud_attachments_of_a_conversation_deleted_here_are_not_found_immediately(store, cloud):
    conversation = a_conversation()
    await store.create("ana", conversation, attached(question()))
    await delivered(store)
    cloud.fails = lambda name, _: StoreUnavailable("") if name == "delete" else None
    await store.delete("ana", conversation.id)
    await assert_none(store, conversation)


@pytest.mark.parametrize("attachment", [PICTURE, REPORT], ids=["image", "document"])
async def test_attachments_count_towards_the_limits(place, cloud, attachment):
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0.05, most_bytes=5_000)
    conversation = a_conversation()
    await store.create("ana", conversation, question().with_attachments([attachment]))
    assert store.status().full
    await store.aclose()
    store = await place.open(cloud, drain_seconds=0.05, most_bytes=5_000)
    assert store.status().full
    await store.aclose()


# The profile


PERSONAS = tuple(Persona(id=name, name=name, instructions=f"SECRET {name}") for name in "abc")


async def test_a_profile_waits_on_this_disk_and_only_the_newest_is_delivered(place, cloud):
    cloud.down = True
    store = await place.open(cloud, drain_seconds=0.05)
    for revision in (1, 2, 3):
        await store.save_profile("ana", Profile(personas=PERSONAS[:revision], revision=revision))
    await store.save_profile("ana", Profile(revision=2))
    newest = Profile(personas=PERSONAS, revision=3)
    assert await store.profile("ana") == newest
    assert store.status().waiting_writes == 1
    await store.aclose()
    cloud.closed, cloud.down = 0, False
    store = await place.open(cloud)
    await delivered(store)
    assert await cloud.profile("ana") == newest
    assert [name for name, *_ in cloud.writes] == ["save_profile"]
    await until(lambda: b"SECRET" not in bytes_on_disk(place.path))
    await store.aclose()


async def test_cached_profile_is_returned_in_an_outage_with_later_changes(store, cloud):
    await cloud.save_profile("ana", Profile(personas=PERSONAS[:1], revision=1))  # by another copy of the chat
    assert (await store.profile("ana")).revision == 1
    cloud.down = True
    assert (await store.profile("ana")).revision == 1
    with pytest.raises(StoreUnavailable):
        await store.profile("ben")
    await store.save_profile("ana", Profile(personas=PERSONAS, revision=2))
    for consistency in (Consistency.LATEST, Consistency.CACHED):
        assert await store.profile("ana", consistency=consistency) == Profile(personas=PERSONAS, revision=2)
    await store.delete_profile("ana")
    for consistency in (Consistency.LATEST, Consistency.CACHED):
        assert await store.profile("ana", consistency=consistency) == Profile()


async def test_deleted_profile_is_erased_from_the_disk_and_then_from_the_cloud(store, cloud, place):
    await store.save_profile("ana", Profile(personas=PERSONAS, revision=1))
    await delivered(store)
    cloud.down = True
    await store.save_profile("ana", Profile(personas=PERSONAS, revision=2))
    assert b"SECRET" in bytes_on_disk(place.path)
    await store.delete_profile("ana")
    assert b"SECRET" not in bytes_on_disk(place.path)
    assert await store.profile("ana") == Profile()
    cloud.down = False
    await delivered(store)
    assert await cloud.profile("ana") == Profile()


async def test_a_higher_revision_of_another_replica_wins_over_a_waiting_one(store, cloud):
    await cloud.save_profile("ana", Profile(personas=PERSONAS, revision=5))
    cloud.fails = lambda name, _: StoreUnavailable("") if name == "save_profile" else None
    await store.save_profile("ana", Profile(revision=4))
    assert (await store.profile("ana")).revision == 5
    cloud.fails = lambda *_: None
    await delivered(store)
    assert (await store.profile("ana", consistency=Consistency.CACHED)).revision == 5


async def test_pending_profile_is_not_a_conversation(store, cloud):
    cloud.fails = lambda name, _: StoreUnavailable("") if name == "save_profile" else None
    await store.save_profile("ana", Profile(revision=1))
    with pytest.raises(ConversationNotFound):
        await store.append("ana", journal_rows.PROFILE, question())
    await store.delete("ana", journal_rows.PROFILE)
    assert (await store.profile("ana")).revision == 1


# What is pinned, and searching


async def test_pinned_conversations_are_returned_in_an_outage_with_later_changes(store, cloud):
    first, second = a_conversation(pinned=True, updated_ms=2_000), a_conversation()
    await cloud.create("ana", first)
    await cloud.create("ana", second)
    assert await store.pinned("ana") == [first]
    await store.conversation("ana", second.id)
    cloud.down = True
    await store.update("ana", replace(second, pinned=True))
    for consistency in (Consistency.LATEST, Consistency.CACHED):
        assert await store.pinned("ana", consistency=consistency) == [first, replace(second, pinned=True)]
    await store.update("ana", replace(first, pinned=False))
    for consistency in (Consistency.LATEST, Consistency.CACHED):
        assert await store.pinned("ana", consistency=consistency) == [replace(second, pinned=True)]
    with pytest.raises(StoreUnavailable):
        await store.pinned("ben")


@pytest.mark.slow
async def test_search_finds_pending_writes_and_keeps_the_cache(place, cloud):
    store = await place.open(cloud, recent_bytes=60_000, drain_seconds=0.05)
    others = [a_conversation(updated_ms=number) for number in range(30)]
    for conversation in others:
        await cloud.create("ana", conversation, a_message("hay " * 500))
    mine = a_conversation()
    await store.create("ana", mine, question())
    await delivered(store)
    cloud.fails = lambda name, _: StoreUnavailable("") if name == "append" else None
    await store.append("ana", mine.id, a_message("a needle", 3_000))
    assert [hit.conversation.id for hit in (await store.search("ana", "needle")).items] == [mine.id]
    requests = len(cloud.requests)
    assert len((await store.search("ana", "hay", limit=50)).items) == 30
    assert {name for name, *_ in cloud.requests[requests:]} <= {"append"}  # nothing is read for the next word
    cloud.down = True
    assert len(await store.messages("ana", mine.id)) == 2
    await store.aclose()


# What an older chat left


async def test_pending_writes_of_an_older_version_are_delivered(place, cloud, monkeypatch):
    """The rows are as that version wrote them."""
    with monkeypatch.context() as patch:
        old = replace(journal_file.JOURNAL, migrations=journal_file.JOURNAL.migrations[:2])
        patch.setattr(journal_file, "JOURNAL", old)
        path = place.path
        journal_file.open_journal(path, "the cloud").close()
    fields = {"id": "c", "title": "Old", "created_ms": 1, "updated_ms": 2, "model": "gemma", "system_prompt": ""}
    message = {"id": "m", "turn_id": "t", "role": "assistant", "content": "hi", "created_ms": 2, "status": "complete"}
    message |= {"revision": 1, "model": "gemma", "usage": None, "seconds_to_first_token": None, "finish_reason": "stop"}
    message |= {"omitted_messages": 0, "error": ""}
    columns = "call, user, conversation_id, kind, accepted_ms, message_id, revision, created_ms, conversation, message"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for row in (
            (1, "ana", "c", "create", 1, None, None, None, json.dumps(fields), None),
            (1, "ana", "c", "created", 1, "m", 1, 2, None, json.dumps(message)),
        ):
            connection.execute(f"INSERT INTO writes ({columns}) VALUES ({', '.join('?' * 10)})", row)
    store = await place.open(cloud)
    await delivered(store)
    (message,) = await cloud.messages("ana", "c")
    assert (message.content, message.follows, message.finish_reason) == ("hi", None, "stop")
    await store.aclose()


async def test_a_session_is_revoked_in_the_cloud_or_the_call_raises(store, cloud):
    await store.revoke("ana", session="one", until_ms=2**50)
    assert [call[0] for call in cloud.calls] == ["revoke"]
    cloud.down = True
    with pytest.raises(StoreUnavailable):
        await store.revoke("ana", before_ms=1, until_ms=2**50)
    with pytest.raises(StoreUnavailable):
        await store.revocations("ana")
    cloud.down = False
    assert await store.revocations("ana") == Revocations(sessions=frozenset({"one"}))
