"""The memory of what was last read: bounded, and never changed under a reader."""

import random

import pytest

from chatapp.store import Page
from chatapp.store.journal.recent import Recent
from chatapp.store.values import in_order, newest
from tests.chatapp.store.conftest import a_conversation, a_message


def test_forgetting_a_conversation_leaves_a_list_that_was_read_before_as_it_was():
    first, second = a_conversation(id="first", pinned=True), a_conversation(id="second", pinned=True)
    recent = Recent()
    recent.keep_list("ana", Page([first, second], None), 50)
    recent.keep_pinned("ana", [first, second])
    before = recent.listed("ana")
    recent.forget(("ana", "first"))
    assert list(before.conversations) == ["first", "second"]
    assert list(recent.listed("ana").conversations) == ["second"]
    assert recent.pinned("ana") == [second]


def test_forgetting_a_conversation_frees_its_memory():
    recent = Recent()
    recent.keep_list("ana", Page([a_conversation(id="long", title="x" * 100_000)], None), 50)
    recent.keep_pinned("ana", [a_conversation(id="long", title="x" * 100_000, pinned=True)])
    recent.forget(("ana", "long"))
    assert recent._bytes < 1_000


@pytest.mark.parametrize("seed", range(20))
def test_appended_messages_take_the_place_of_older_revisions_and_their_order_and_count_once(seed):
    chance, recent, key = random.Random(seed), Recent(), ("ana", "one")
    every = []
    recent.keep_messages(key, [])
    for _ in range(12):
        new = [
            a_message(
                chance.choice("xyz") * chance.randrange(9),
                1_000 + chance.randrange(20),
                id=chance.choice("abcdefgh"),
                revision=chance.randrange(4),
            )
            for _ in range(chance.randrange(4))
        ]
        every += new
        before = recent.messages(key)
        copied = list(before)
        recent.appended(key, new, a_conversation(id="one"))
        assert recent.messages(key) == in_order(newest(every))
        assert before == copied
    size = recent._bytes
    recent.keep_messages(key, recent.messages(key))
    assert recent._bytes == size
