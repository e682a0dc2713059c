"""Conversations: delete with undo, purge, updates, lists."""

import asyncio
import dataclasses

import pytest

from chatapp.conversations.service import Conversations
from chatapp.conversations.updates import ConversationUpdates
from chatapp.domain.conversation import Conversation, now_ms
from chatapp.domain.errors import ConversationNotFound
from tests.clocks import LoopClock


class NoTurns:
    """Turns of which none runs."""

    def is_busy(self, _user, _conversation_id):
        return False

    async def stop(self, _user, _conversation_id):
        return False


@pytest.fixture
async def made(store):
    """Return a function that makes `Conversations` over the store; all are closed at the end."""
    all_made = []

    def make(**options):
        all_made.append(Conversations(store, ConversationUpdates(store), NoTurns(), **options))
        return all_made[-1]

    yield make
    for one in all_made:
        await one.aclose()


async def created(store, id_="c", **fields):
    conversation = Conversation(id=id_, title="Title", created_ms=1, updated_ms=1, **fields)
    await store.create("ann", conversation)
    return conversation


async def becomes_purged(store, id_="c"):
    async with asyncio.timeout(30):
        while True:
            try:
                await store.conversation("ann", id_)
            except ConversationNotFound:
                return
            await asyncio.sleep(0.01)


async def test_a_deleted_conversation_is_purged_after_the_undo_time(store, made):
    await created(store)
    conversations, clock = made(undo_seconds=600), LoopClock()
    await conversations.delete("ann", "c")
    assert (await store.conversation("ann", "c")).deleted_ms
    await clock.pass_by(601)
    await becomes_purged(store)
    with pytest.raises(ConversationNotFound):
        await conversations.restore("ann", "c")


async def test_a_restored_conversation_stays(store, made):
    conversation = await created(store)
    conversations, clock = made(undo_seconds=600), LoopClock()
    await conversations.delete("ann", "c")
    (purge,) = conversations._purges.values()
    assert await conversations.restore("ann", "c") == conversation
    await clock.pass_by(601)
    await asyncio.wait([purge])
    assert await conversations.open("ann", "c") == conversation


async def test_listing_purges_deletions_that_a_killed_process_left(store, made):
    await created(store, "old", deleted_ms=now_ms() - 60_000)
    await created(store, "recent", deleted_ms=now_ms())
    conversations = made()
    assert list((await conversations.listed("ann")).items) == []
    await becomes_purged(store, "old")
    assert (await store.conversation("ann", "recent")).deleted_ms
    assert await conversations.restore("ann", "recent")


async def test_listing_schedules_no_purge_while_the_deletion_can_be_undone(store, made):
    await created(store, deleted_ms=now_ms())
    conversations = made(undo_seconds=3600)
    await conversations.listed("ann")
    assert conversations._purges == {}


async def test_a_purge_respects_an_undo_on_another_replica(store, made):
    await created(store)
    here, elsewhere, clock = made(undo_seconds=600), made(), LoopClock()
    await here.delete("ann", "c")
    await elsewhere.restore("ann", "c")
    await clock.pass_by(601)
    await asyncio.gather(*here._purges.values())
    assert await here.open("ann", "c")


async def test_two_changes_at_once_both_count(store, made):
    await created(store)
    conversations = made()
    await asyncio.gather(
        conversations.rename("ann", "c", "Another"),
        conversations.pin("ann", "c", pinned=True),
        conversations.archive("ann", "c", archived=True),
    )
    conversation = await store.conversation("ann", "c")
    assert (conversation.title, conversation.pinned, conversation.archived) == ("Another", True, True)


async def test_an_update_does_not_move_a_conversation_in_the_list(store, made):
    await created(store, "first")
    second = dataclasses.replace(await created(store, "second"), updated_ms=5)
    await store.update("ann", second)
    conversations = made()
    await conversations.rename("ann", "first", "Renamed")
    assert [one.id for one in (await conversations.listed("ann")).items] == ["second", "first"]


async def test_the_list_is_read_on_until_its_page_is_full(store, made):
    for number in range(30):
        await created(store, f"{number:02}", archived=number % 10 != 0)
    conversations = made()
    page = await conversations.listed("ann", limit=2)
    assert ([one.id for one in page.items], page.cursor is not None) == (["20", "10"], True)
    rest = await conversations.listed("ann", limit=2, cursor=page.cursor)
    assert ([one.id for one in rest.items], rest.cursor) == (["00"], None)
