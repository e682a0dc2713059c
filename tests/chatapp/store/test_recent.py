"""The memory of what was last read: bounded, and never changed under a reader."""

from chatapp.store import Page
from chatapp.store.journal.recent import Recent
from tests.chatapp.store.conftest import a_conversation


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
