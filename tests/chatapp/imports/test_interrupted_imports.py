"""An import that ends in the middle leaves whole conversations, and the same file again adds the others once."""

import asyncio
import io
import itertools
import multiprocessing
import os
import signal

import pytest

from chatapp.domain.errors import StoreUnavailable
from chatapp.images.decoder import ImageDecoder
from chatapp.imports import importer
from chatapp.imports.importer import Importer
from chatapp.store.sqlite import rows
from chatapp.store.sqlite.store import SQLiteStore
from chatapp.store.temporary.memory import MemoryStore
from chatapp.userdata import insert, queries
from tests.chatapp.imports.conftest import USER, Imports
from tests.chatapp.imports.exports import AT, chatgpt, encoded, node, own, small_chat


def long_chat(messages, id_="long"):
    """Return a conversation of more messages than one write has."""
    nodes = [node("n0", None, "user", "Question 0")]
    for number in range(1, messages):
        role = "assistant" if number % 2 else "user"
        nodes.append(node(f"n{number}", f"n{number - 1}", role, f"Text {number}", at=AT + number))
    return chatgpt(*nodes, id_=id_)


FILE = encoded([*(small_chat(n) for n in range(5)), long_chat(7), *(small_chat(n) for n in range(5, 10))])


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(importer, "BATCH_CONVERSATIONS", 4)
    monkeypatch.setattr(insert, "BATCH_MESSAGES", 4)


class Failing:
    """A store that is unavailable from its n-th write on; with ``after``, that write still happens."""

    def __init__(self, store, *, at, after):
        self._store = store
        self._left = at
        self._after = after

    def __getattr__(self, name):
        call = getattr(self._store, name)
        if name not in {"create_all", "append"}:
            return call

        async def counted(*arguments):
            self._left -= 1
            if self._left < 0 and not self._after:
                raise StoreUnavailable("The disk is full.")
            result = await call(*arguments)
            if self._left < 0:
                raise StoreUnavailable("The reply is lost.")
            return result

        return counted


async def whole():
    """Return what an import without interruptions stores."""
    imports = Imports()
    await imports.run(FILE)
    return sorted(await imports.everything(), key=lambda one: one[0].id)


@pytest.mark.parametrize("after", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.usefixtures("small_batches")
async def test_wherever_an_import_fails_the_same_file_again_adds_the_rest_once(after):
    expected = await whole()
    sizes = {conversation.id: len(messages) for conversation, messages in expected}
    failures = 0
    for at in itertools.count():
        store = MemoryStore()
        try:
            report = await Imports(Failing(store, at=at, after=after)).run(FILE)
        except StoreUnavailable:
            failures += 1
            everything = await Imports(store).everything()
            parts = [one for one, messages in everything if len(messages) < sizes[one.id]]
            assert len(parts) <= 1, "only a conversation that needs several writes may be stored in part"
        else:
            assert (report.conversations, report.messages) == (11, 27)
            break
        again = await Imports(store).run(FILE)
        assert sorted(await Imports(store).everything(), key=lambda one: one[0].id) == expected
        assert again.conversations + again.extended + again.unchanged == 11
    assert failures >= 6


async def killed_in(path, at):
    """Import in this process, and kill it before the n-th message is written, within a transaction."""
    put = rows.put
    left = itertools.count(at, -1)

    def put_or_die(connection, conversation_id, messages):
        for message in messages:
            if not next(left):
                os.kill(os.getpid(), signal.SIGKILL)
            put(connection, conversation_id, [message])

    rows.put = put_or_die
    store = await SQLiteStore.open(path)
    await Importer(store, ImageDecoder()).run(USER, io.BytesIO(FILE), "export", on_step=lambda _: None)


def run_killed(path, at):
    importer.BATCH_CONVERSATIONS = insert.BATCH_CONVERSATIONS = 3
    asyncio.run(killed_in(path, at))


@pytest.mark.slow
async def test_a_killed_import_leaves_whole_conversations_and_the_same_file_again_adds_the_others(tmp_path):
    expected = await whole()
    path = tmp_path / "chat.db"
    process = multiprocessing.get_context("spawn").Process(target=run_killed, args=(path, 9))
    process.start()
    await asyncio.to_thread(process.join)
    assert process.exitcode == -signal.SIGKILL
    store = await SQLiteStore.open(path)
    try:
        stored = [one async for one in queries.everything(store, USER)]
        assert len(stored) == 3, "the transaction in which it was killed leaves nothing"
        assert all(one in expected for one in stored)
        report = await Imports(store).run(FILE)
        assert (report.conversations, report.unchanged) == (8, 3)
        assert sorted(await Imports(store).everything(), key=lambda one: one[0].id) == expected
    finally:
        await store.aclose()


async def test_a_conversation_that_is_twice_in_a_file_is_stored_once_with_the_messages_of_both(imports):
    longer = [long_chat(6), small_chat(1), long_chat(9)]
    report = await imports.run(encoded(longer))
    assert (report.conversations, report.extended, report.messages) == (2, 1, 11)
    assert sorted(len(messages) for _, messages in await imports.everything()) == [2, 9]
    assert (await imports.run(encoded(longer))).messages == 0


async def test_conversations_that_exist_are_compared_in_few_reads_and_nothing_is_written():
    calls = []

    class Counting:
        def __getattr__(self, name):
            if not name.startswith("_"):
                calls.append(name)
            return getattr(store, name)

    store = MemoryStore()
    file = encoded([small_chat(n) for n in range(150)])
    await Imports(Counting()).run(file)
    assert calls.count("create_all") == 3  # of up to 100 messages each
    calls.clear()
    report = await Imports(Counting()).run(file)
    assert report.unchanged == 150
    assert [name for name in calls if name != "status"] == ["revisions"] * 2
    assert "own" in (await Imports(Counting()).run(own())).sources
