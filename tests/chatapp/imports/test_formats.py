"""Every export is recognized by its content, and all of it is taken or counted."""

from collections import Counter

import pytest

from chatapp.domain.conversation import MessageStatus, Profile, Role
from chatapp.domain.message_tree import MessageTree
from chatapp.imports.parsed import Skipped
from chatapp.store.sqlite.store import SQLiteStore
from tests.chatapp.imports import exports
from tests.chatapp.imports.conftest import Imports
from tests.chatapp.imports.exports import AT, EXPORTS, PROFILE, archive, chatgpt, encoded, node, own


def test_there_are_exports_of_all_shapes():
    assert len(EXPORTS) >= 25


@pytest.mark.parametrize("name", EXPORTS)
async def test_export_is_imported_whole_and_a_second_time_changes_nothing(imports, name):
    file, expected = EXPORTS[name]
    report = await imports.run(file)
    everything = await imports.everything()
    messages = [message for _, messages in everything for message in messages]
    assert len(everything) == report.conversations == expected.conversations
    assert len(messages) == report.messages == expected.messages
    assert sum(len(message.images) for message in messages) == report.pictures == expected.pictures
    assert +report.skipped == Counter(expected.skipped)
    answers = [message for message in messages if message.role is Role.ASSISTANT]
    if expected.models:
        assert tuple(message.model for message in answers) == expected.models
    _assert_in_order(expected.texts, "\n".join(message.content for message in messages))
    _assert_in_order(expected.folded, "\n".join(message.thinking for message in messages))
    _assert_are_trees(everything, expected.branches)

    again = await imports.run(file)
    assert await imports.everything() == everything
    assert (again.conversations, again.messages, again.pictures) == (0, 0, 0)
    assert again.unchanged == expected.conversations


def _assert_in_order(texts, whole):
    at = 0
    for text in texts:
        assert text in whole[at:], f"{text!r} is missing in {whole[at:]!r}"
        at = whole.index(text, at)


def _assert_are_trees(everything, branches):
    """Each path has rising times and whole turns, and there are as many versions as expected."""
    most = 0
    for conversation, messages in everything:
        tree = MessageTree(messages)
        assert conversation.title
        assert conversation.updated_ms >= messages[-1].created_ms >= conversation.created_ms >= 0
        for message in messages:
            assert message.status is MessageStatus.COMPLETE
            assert message.follows == tree.before(message.id), "a parent is later than what follows it"
            assert not tree.experiment(message.id), "versions look like an experiment"
            most = max(most, len(tree.versions(message.id)))
    assert most == branches


async def test_the_branch_that_was_open_is_shown(imports):
    await imports.run(encoded([exports.TREE]))
    [(conversation, messages)] = await imports.everything()
    assert [one.content for one in MessageTree(messages).path(conversation.branch)] == ["Name a river.", "The Mur."]


async def test_times_titles_and_marks_are_kept(imports):
    await imports.run(encoded([chatgpt(node("q", None, "user", "Hi"), is_starred=True, is_archived=True)]))
    [(conversation, messages)] = await imports.everything()
    assert (conversation.title, conversation.pinned, conversation.archived) == ("Rye bread", True, True)
    assert (conversation.created_ms, conversation.updated_ms) == (int(AT * 1000), int((AT + 60) * 1000))
    assert messages[0].created_ms == int(AT * 1000)


async def test_system_prompt_and_rating_of_open_webui_are_kept(imports):
    await imports.run(encoded([exports.WEB_TREE]))
    [(conversation, messages)] = await imports.everything()
    assert (conversation.system_prompt, conversation.pinned) == ("Answer in one sentence.", True)
    assert [message.feedback.value for message in messages] == ["", "up", ""]


async def test_a_later_export_adds_what_is_new(imports):
    nodes = [node("q", None, "user", "Hi"), node("a", "q", "assistant", "Hello.", at=AT + 1)]
    await imports.run(encoded([chatgpt(*nodes)]))
    later = [*nodes, node("q2", "a", "user", "Bye", at=AT + 2)]
    report = await imports.run(encoded([chatgpt(*later)]))
    assert (report.conversations, report.extended, report.messages) == (0, 1, 1)
    [(_, messages)] = await imports.everything()
    assert [message.content for message in messages] == ["Hi", "Hello.", "Bye"]


async def test_pictures_are_not_decoded_a_second_time(imports):
    file = EXPORTS["chatgpt, a zip with pictures"][0]
    for _ in range(2):
        await imports.run(file)
        assert imports.decoder.count == 2


async def test_personas_of_an_own_export_are_added_once(imports):
    for new in (1, 0):
        report = await imports.run(own(PROFILE))
        assert report.personas == new
    assert (await imports.store.profile("mirela")).personas == PROFILE.personas


async def test_each_user_gets_a_copy_of_the_same_file(tmp_path):
    store = await SQLiteStore.open(tmp_path / "chat.db")  # where ids are unique among all users
    try:
        imports = Imports(store)
        for name in ("own", "chatgpt, all branches"):
            for user in ("mirela", "teodor", "teodor"):
                await imports.run(EXPORTS[name][0], user)
        for user in ("mirela", "teodor"):
            everything = await imports.everything(user)
            assert sorted(len(messages) for _, messages in everything) == [3, 6]
        assert await store.profile("mirela") == Profile()
    finally:
        await store.aclose()


async def test_names_of_files_without_conversations_are_reported(imports):
    report = await imports.run(EXPORTS["chatgpt, a zip with pictures"][0])
    assert sorted(report.files) == sorted(exports.OTHER_FILES)
    assert any("user.json" in line for line in report.left_out())
    report = await imports.run(EXPORTS["chatgpt, a part is missing"][0])
    assert report.missing == ["conversations-002.json"]
    assert any("conversations-002.json" in line for line in report.left_out())


async def test_dry_run_counts_and_stores_nothing(imports):
    report = await imports.run(EXPORTS["chatgpt, many"][0], dry_run=True)
    assert (report.conversations, report.messages) == (30, 60)
    assert await imports.everything() == []


@pytest.mark.slow
async def test_a_text_that_is_too_long_is_cut_and_counted(imports):
    report = await imports.run(encoded([chatgpt(node("q", None, "user", "é" * 1_000_000))]))
    assert report.skipped[Skipped.CUT] == 1
    [(_, [message])] = await imports.everything()
    assert 1_490_000 < len(message.content.encode()) < 1_510_000


async def test_a_cycle_of_messages_is_cut(imports):
    nodes = [node("a", "b", "user", "A"), node("b", "a", "assistant", "B"), node("c", "c", "user", "C")]
    report = await imports.run(encoded([chatgpt(*nodes)]))
    assert report.messages == 3


async def test_progress_is_reported(imports):
    await imports.run(archive({f"{n}.json": [exports.small_chat(n)] for n in range(20)}))
    assert imports.steps[0].is_checking
    assert not imports.steps[-1].is_checking
    assert all(0 <= step.share <= 1 for step in imports.steps)
