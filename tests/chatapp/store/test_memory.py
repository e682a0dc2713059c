"""What is special to memory: it is bounded, and forgets; and how temporary conversations are told from the others."""

from __future__ import annotations

import dataclasses

import pytest

from chatapp.domain.conversation import Document, Image, Profile, Role
from chatapp.domain.errors import ConversationNotFound, StoreUnavailable
from chatapp.store.temporary import memory
from chatapp.store.temporary.memory import MemoryStore
from chatapp.store.temporary.router import StoreRouter
from tests.chatapp.store.conftest import a_conversation, a_message
from tests.fakes.stores import FakeCloud

CALLS = ("conversation", "messages")


class Clock:
    def __init__(self):
        self.now = 1_000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(memory, "time", clock)
    return clock


async def is_there(store, conversation_id, user="ana"):
    try:
        await store.conversation(user, conversation_id)
    except ConversationNotFound:
        return False
    return True


async def test_conversations_unused_for_twelve_hours_are_evicted(clock):
    store = MemoryStore()
    for name in ("read", "written", "left"):
        await store.create("ana", a_conversation(id=name), a_message())
    clock.now += 11 * 3600
    await store.messages("ana", "read")
    await store.append("ana", "written", a_message())
    clock.now += 2 * 3600
    assert [one.id for one in (await store.conversations("ana")).items] == ["written", "read"]
    clock.now += 12 * 3600
    assert (await store.conversations("ana")).items == []
    assert store._memory.size == 0


async def test_least_recently_used_conversations_are_evicted_but_not_the_one_being_written():
    store = MemoryStore(most_bytes=1_000_000, most_user_bytes=1_000_000)
    picture = Image(id="i", media_type="image/png", width=1, height=1, data=b"x" * 400_000)
    for name in ("first", "second"):
        await store.create("ana", a_conversation(id=name), a_message(images=(picture,)))
    await store.image("ana", "first", "i")
    await store.create("ben", a_conversation(id="third"), a_message(images=(picture,)))
    assert [await is_there(store, name) for name in ("first", "second")] == [True, False]
    await store.append("ben", "third", a_message("x" * 600_000, role=Role.ASSISTANT))
    assert await is_there(store, "third", "ben")
    assert not await is_there(store, "first")
    await store.delete("ben", "third")
    assert store._memory.size == 0


async def test_one_user_does_not_evict_the_conversations_of_another_who_has_less():
    store = MemoryStore(most_bytes=1_000_000, most_user_bytes=600_000)
    await store.create("ana", a_conversation(id="hers"), a_message("x" * 100_000))
    for number in range(20):
        for user in ("ben", "cleo"):
            await store.create(user, a_conversation(id=f"{user}-{number}"), a_message("x" * 100_000))
            assert store._memory.size <= 1_000_000
    assert await is_there(store, "hers", "ana")
    assert [await is_there(store, f"ben-{number}", "ben") for number in (0, 18, 19)] == [False, False, True]


async def test_conversations_of_one_user_beyond_the_share_evict_each_other():
    store = MemoryStore(most_bytes=10_000_000, most_user_bytes=500_000)
    for number in range(4):
        await store.create("ana", a_conversation(id=str(number)), a_message("x" * 100_000))
    assert [await is_there(store, str(number)) for number in range(4)] == [False, False, True, True]
    assert store._memory.sizes["ana"] <= 500_000


async def test_conversation_larger_than_the_share_accepts_no_question_but_keeps_its_answer():
    store = MemoryStore(most_bytes=10_000_000, most_user_bytes=500_000)
    await store.create("ana", a_conversation(id="long"), a_message("x" * 200_000))
    answer = a_message("x" * 200_000, 2_000, role=Role.ASSISTANT)
    await store.append("ana", "long", answer)
    size = store._memory.size
    with pytest.raises(StoreUnavailable, match="temporary chat is full"):
        await store.append("ana", "long", a_message("more", 3_000))
    assert (len(await store.messages("ana", "long")), store._memory.size) == (2, size)
    await store.append("ana", "long", dataclasses.replace(answer, content="short", revision=answer.revision + 1))
    await store.append("ana", "long", a_message("more", 3_000))
    assert len(await store.messages("ana", "long")) == 3


async def test_size_follows_every_change():
    store = MemoryStore()
    picture = Image(id="i", media_type="image/png", width=1, height=1, data=b"x" * 1_000)
    report = Document(id="i", name="r.pdf", kind="PDF", pages=1, size=1, data=b"x" * 2_000)
    message = a_message("words", id="m", images=(picture,), documents=(report,))
    await store.create("ana", a_conversation(id="a"), message)
    await store.append("ana", "a", dataclasses.replace(message, content="more words", revision=message.revision + 1))
    await store.update("ana", a_conversation(id="a", title="t" * 100))
    fresh = MemoryStore()
    same = a_message("more words", id="m", images=(picture,), documents=(report,))
    await fresh.create("ana", a_conversation(id="a", title="t" * 100), same)
    assert store._memory.size == fresh._memory.size == store._memory.sizes["ana"] > 3_000


@pytest.fixture
async def persistent(tmp_path):
    cloud = FakeCloud(tmp_path)
    yield cloud
    await cloud.aclose()


@pytest.fixture
def store(persistent):
    return StoreRouter(persistent)


async def test_temporary_conversation_works_like_any_other_and_is_never_persisted(store, persistent):
    picture = Image(id="i", media_type="image/png", width=1, height=1, data=b"x")
    report = Document(id="i", name="r.pdf", kind="PDF", pages=1, size=1, data=b"x")
    conversation = a_conversation(id="temporary-1", pinned=True)
    message = a_message("words", id="m", images=(picture,), documents=(report,))
    await store.create("ana", conversation, message)
    await store.append("ana", conversation.id, a_message("more", 2_000))
    await store.update("ana", conversation)
    assert (await store.conversation("ana", conversation.id)).title == conversation.title
    assert len(await store.messages("ana", conversation.id)) == 2
    assert (await store.message("ana", conversation.id, "m")).content == "words"
    assert await store.image("ana", conversation.id, "i") == picture
    assert await store.document("ana", conversation.id, "i") == report
    assert (await store.conversations("ana")).items == []
    assert await store.pinned("ana") == []
    assert (await store.search("ana", "words")).items == []
    await store.delete("ana", conversation.id)
    with pytest.raises(ConversationNotFound):
        await store.messages("ana", conversation.id)
    assert persistent.writes == []


async def test_all_other_calls_go_to_the_persistent_store(store, persistent):
    conversation = a_conversation(pinned=True)
    await store.create("ana", conversation, a_message("words", id="m"))
    await store.append("ana", conversation.id, a_message("more"))
    await store.update("ana", conversation)
    await store.save_profile("ana", Profile(revision=1))
    assert await store.profile("ana") == Profile(revision=1)
    assert await store.pinned("ana") == [conversation]
    assert len((await store.search("ana", "words")).items) == 1
    assert len(await persistent.messages("ana", conversation.id)) == 2
    await store.delete("ana", conversation.id)
    await store.delete_profile("ana")
    assert [name for name, *_ in persistent.writes] == [
        *("create", "append", "update", "save_profile", "delete", "delete_profile")
    ]
    assert store.status() == persistent.status()


async def test_both_stores_are_closed(store, persistent):
    await store.create("ana", a_conversation(id="temporary-1"))
    await store.aclose()
    assert persistent.closed == 1
    with pytest.raises(StoreUnavailable):
        await store.conversation("ana", "temporary-1")
