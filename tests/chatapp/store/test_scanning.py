"""Searching by reading: bounds, and what is remembered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chatapp.domain.conversation import MessageStatus, Role
from chatapp.store import scanning
from chatapp.store.scanning import Scan
from chatapp.store.temporary.memory import MemoryStore
from tests.chatapp.store.conftest import a_conversation, a_message


class Counted(MemoryStore):
    """A place that counts what is read."""

    def __init__(self):
        super().__init__()
        self.lists = self.read = 0

    async def conversations(self, user, **options):
        self.lists += 1
        return await super().conversations(user, **options)

    async def messages(self, user, conversation_id, **options):
        self.read += 1
        return await super().messages(user, conversation_id, **options)


@pytest.fixture
async def place():
    """Ten conversations of three messages each."""
    place = Counted()
    for number in range(10):
        conversation = a_conversation(id=f"c{number}", title=f"Title {number}", updated_ms=number)
        await place.create("ana", conversation, *(a_message(f"hay {number} {part}", part) for part in range(3)))
    return place


async def pages(scan, text, limit=20):
    id_pages, cursor = [], None
    while len(id_pages) < 50:
        page = await scan.search("ana", text, limit=limit, cursor=cursor)
        id_pages.append([hit.conversation.id for hit in page.items])
        cursor = page.cursor
        if cursor is None:
            return id_pages
    raise AssertionError("there is no end")


async def test_the_next_letter_reads_nothing(place):
    scan = Scan(place)
    await scan.search("ana", "ha")
    assert (place.lists, place.read) == (1, 10)
    assert len((await scan.search("ana", "hay")).items) == 10
    assert (place.lists, place.read) == (1, 10)


async def test_only_conversations_written_here_are_read_again(place):
    scan = Scan(place)
    await scan.search("ana", "hay")
    await place.append("ana", "c3", a_message("needle", 2))
    scan.wrote("ana", "c3")
    assert [hit.conversation.id for hit in (await scan.search("ana", "needle")).items] == ["c3"]
    assert (place.lists, place.read) == (2, 11)


async def test_writes_of_another_replica_are_found_after_the_cache_expires(place, monkeypatch):
    scan = Scan(place)
    await scan.search("ana", "hay")
    await place.append("ana", "c3", a_message("needle", 50))
    monkeypatch.setattr(scanning, "LIST_SECONDS", 0)
    assert [hit.conversation.id for hit in (await scan.search("ana", "needle")).items] == ["c3"]
    assert place.read == 11
    await place.append("ana", "c3", a_message("thread", 20))  # does not move the conversation
    assert (await scan.search("ana", "thread")).items == []
    monkeypatch.setattr(scanning, "TEXT_SECONDS", 0)
    assert len((await scan.search("ana", "thread")).items) == 1


async def test_an_answer_that_is_being_written_is_read_each_time(place):
    scan = Scan(place)
    running = a_message("half", 100, id="m", role=Role.ASSISTANT, status=MessageStatus.STREAMING)
    await place.append("ana", "c3", running)
    await scan.search("ana", "hay")
    await place.append("ana", "c3", replace(running, content="half and whole", revision=1))  # by another copy
    assert len((await scan.search("ana", "whole")).items) == 1


async def test_call_reads_a_bounded_number_of_messages_and_the_next_continues(place, monkeypatch):
    monkeypatch.setattr(scanning, "MOST_MESSAGES", 6)
    scan = Scan(place)
    assert await pages(scan, "title 0") == [[], [], [], [], ["c0"]]
    assert place.read == 10
    assert await pages(scan, "title 0") == [["c0"]]  # it is remembered by now


async def test_a_call_takes_a_bounded_time_and_always_gets_on(place, monkeypatch):
    monkeypatch.setattr(scanning, "MOST_SECONDS", -1)
    result = await pages(Scan(place), "title")
    assert result == [[f"c{number}"] for number in range(9, -1, -1)]


async def test_what_is_remembered_is_bounded(place):
    scan = Scan(place, most_bytes=4_000)
    assert len((await scan.search("ana", "hay")).items) == 10
    assert len((await scan.search("ana", "hay")).items) == 10
    assert 10 < place.read <= 20
    assert scan._bytes <= 4_000


async def test_cached_reads_are_scoped_to_the_user(place):
    scan = Scan(place)
    await place.create("ben", a_conversation(id="c1", updated_ms=1), a_message("hay of ben", id="m"))
    await scan.search("ana", "hay")
    assert [hit.before + hit.match + hit.after for hit in (await scan.search("ben", "hay")).items] == ["hay of ben"]


@pytest.mark.parametrize(("user", "conversation_id", "read_again"), [("ana", "c3", True), ("ben", "c9", False)])
async def test_conversation_written_during_its_read_is_read_again(place, user, conversation_id, read_again):
    scan = Scan(place)
    await place.create("ben", a_conversation(id="c9"))
    messages = place.messages

    async def written_meanwhile(owner, read_id, **options):
        result = await messages(owner, read_id, **options)
        if read_id == "c3" and place.read == 7:
            await place.append(user, conversation_id, a_message("needle", 2))
            scan.wrote(user, conversation_id)
        return result

    place.messages = written_meanwhile
    assert (await scan.search("ana", "needle")).items == []
    place.messages = messages
    assert len((await scan.search("ana", "needle")).items) == read_again
    assert place.read == 10 + read_again
