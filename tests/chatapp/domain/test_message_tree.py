"""A conversation as a tree: any of them has one path that is shown, and all its versions can be reached."""

import dataclasses

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from chatapp.domain import message_tree
from chatapp.domain.conversation import Message, Role
from chatapp.domain.message_tree import MessageTree

USER, ASSISTANT = Role.USER, Role.ASSISTANT


def message(number, role, follows, turn="t"):
    return Message(id=f"m{number}", turn_id=turn, role=role, content="", created_ms=number, follows=follows)


@st.composite
def trees(draw):
    """Return the messages of a conversation that was edited, regenerated and experimented in, in any order."""
    messages = []
    for number in range(draw(st.integers(0, 25))):
        questions = [one for one in messages if one.role is USER]
        answers = [one for one in messages if one.role is ASSISTANT]
        if questions and draw(st.booleans()):
            question = draw(st.sampled_from(questions))
            turn = question.turn_id if draw(st.booleans()) else f"t{number}"
            messages.append(message(number, ASSISTANT, question.id, turn))
        else:
            follows = draw(st.sampled_from(["", *(one.id for one in answers)]))
            messages.append(message(number, USER, follows, f"t{number}"))
    return messages


def branches_of(messages):
    return st.sampled_from(["", "gone", *(one.id for one in messages)])


@pytest.mark.slow
@settings(deadline=None)
@given(st.data(), trees())
def test_displayed_path_leads_from_the_root_to_the_newest_message_below_the_branch(data, messages):
    branch = data.draw(branches_of(messages))
    tree = MessageTree(messages)
    path = tree.path(branch)
    assert bool(path) == bool(messages)
    for before, after in zip([None, *path], path, strict=False):
        assert after.follows == (before.id if before else "")
    beneath = [one for one in messages if tree.is_beneath(one.id, branch)]
    if beneath:
        assert any(one.id == branch for one in path)
    assert path[-1:] == (beneath or messages)[-1:]


@pytest.mark.slow
@settings(deadline=None)
@given(st.data(), trees())
def test_messages_are_put_in_order_only_where_they_are_not(data, messages):
    messages = data.draw(st.one_of(st.just(messages), st.permutations(messages)))
    ordered = message_tree._by_turn(message_tree._parents_first(messages))
    assert not message_tree._is_in_order(messages) or ordered == messages
    assert message_tree._is_in_order(ordered)


@pytest.mark.slow
@settings(deadline=None)
@given(st.data(), trees())
def test_every_message_can_be_shown_by_switching_to_it(data, messages):
    tree = MessageTree(messages)
    for one in messages:
        assert one in tree.path(one.id)
        assert tree.path_to(one.id)[-1] is one
    del data


@pytest.mark.slow
@settings(deadline=None)
@given(trees())
def test_versions_are_all_that_follow_the_same_message_and_each_is_a_version_of_the_others(messages):
    tree = MessageTree(messages)
    for one in messages:
        same = [other.id for other in messages if (other.follows, other.role) == (one.follows, one.role)]
        assert tree.versions(one.id) == same
        assert one.id in same


@pytest.mark.slow
@settings(deadline=None)
@given(st.data(), trees())
def test_experiment_has_two_columns_only_at_the_end_until_one_answer_is_chosen_or_followed(data, messages):
    branch = data.draw(branches_of(messages))
    tree = MessageTree(messages)
    shown = tree.shown(branch)
    columns = [(one, column) for one, column in shown if column]
    assert [one for one, column in shown if not column] == (tree.path(branch)[:-1] if columns else tree.path(branch))
    if columns:
        both = [one for one, _ in columns]
        (question,) = {one.follows for one in both}
        assert {one.turn_id for one in both} == {tree.messages[question].turn_id}
        assert [column for _, column in columns] == list(range(1, len(both) + 1))
        assert shown[-len(both) :] == columns
        assert branch not in {one.id for one in both}
        assert not any(other.follows in {one.id for one in both} for other in messages)


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=12))
def test_messages_stored_before_versions_form_one_path(roles):
    messages = [message(n, USER if role else ASSISTANT, None) for n, role in enumerate(roles)]
    tree = MessageTree(messages)
    assert tree.path() == messages
    assert [tree.versions(one.id) for one in messages] == [[one.id] for one in messages]
    more = message(99, USER, messages[-1].id if messages else "")
    assert MessageTree([*messages, more]).path() == [*messages, more]


@pytest.mark.slow
@settings(deadline=None)
@given(st.data(), trees())
def test_any_messages_at_all_have_a_path_that_ends(data, messages):
    names = ["", None, "gone", *(one.id for one in messages)]
    tangled = [dataclasses.replace(one, follows=data.draw(st.sampled_from(names))) for one in messages]
    tree = MessageTree(tangled)
    branch = data.draw(branches_of(messages))
    path = tree.path(branch)
    assert len({one.id for one in path}) == len(path)
    for one in tangled:
        assert one.id in tree.versions(one.id)
        tree.shown(one.id)


def test_message_after_an_expired_one_is_a_root():
    messages = [message(1, ASSISTANT, "expired"), message(2, USER, "m1"), message(3, ASSISTANT, "m2")]
    assert MessageTree(messages).path() == messages


def test_a_regenerated_answer_is_no_column():
    question = message(1, USER, "", "t")
    first, second, third = (message(number, ASSISTANT, "m1", "t") for number in (2, 3, 4))
    again = dataclasses.replace(third, turn_id="later")
    assert [column for _, column in MessageTree([question, first, second]).shown()] == [0, 1, 2]
    assert MessageTree([question, first, second, again]).shown() == [(question, 0), (again, 0)]
    assert MessageTree([question, first, second, again]).versions("m3") == ["m2", "m3", "m4"]


def appended(number, follows, turn):
    return dataclasses.replace(message(number, USER, follows, turn), appended=True)


def test_questions_that_replicas_append_to_the_same_message_follow_each_other():
    first = [message(1, USER, "", "t1"), message(2, ASSISTANT, "m1", "t1")]
    one = [appended(10, "m2", "t2"), message(12, ASSISTANT, "m10", "t2")]
    other = [appended(11, "m2", "t3"), message(13, ASSISTANT, "m11", "t3")]  # at the same time
    later = [appended(20, "m13", "t4"), message(21, ASSISTANT, "m20", "t4")]
    messages = sorted([*first, *one, *other, *later], key=lambda each: each.created_ms)
    tree = MessageTree(messages)
    assert [each.id for each in tree.path()] == ["m1", "m2", "m10", "m12", "m11", "m13", "m20", "m21"]
    assert all(tree.versions(each.id) == [each.id] for each in messages)
    assert tree.before("m11") == "m12"


def test_an_edit_is_a_version_even_of_a_question_that_was_appended():
    messages = [
        *(message(1, USER, "", "t1"), message(2, ASSISTANT, "m1", "t1")),
        *(appended(10, "m2", "t2"), message(11, ASSISTANT, "m10", "t2")),
        *(message(12, USER, "m2", "t3"), message(13, ASSISTANT, "m12", "t3")),
    ]
    tree = MessageTree(messages)
    assert tree.versions("m12") == ["m10", "m12"]
    assert [each.id for each in tree.path()] == ["m1", "m2", "m12", "m13"]


def test_a_question_appended_before_edits_arrived_follows_the_newest_version():
    messages = [
        *(message(1, USER, "", "t1"), message(2, ASSISTANT, "m1", "t1")),
        *(appended(3, "m2", "t2"), message(4, ASSISTANT, "m3", "t2")),
        *(message(5, USER, "m2", "t3"), message(6, ASSISTANT, "m5", "t3")),
        *(appended(7, "m2", "t4"), message(8, ASSISTANT, "m7", "t4")),
    ]
    assert [each.id for each in MessageTree(messages).path()] == ["m1", "m2", "m5", "m6", "m7", "m8"]


def test_what_follows_a_question_that_a_retry_stored_again_later_stays_below_it():
    messages = [
        *(message(1, USER, "", "t1"), message(2, ASSISTANT, "m1", "t1")),
        *(appended(10, "m21", "t3"), message(11, ASSISTANT, "m10", "t3")),
        *(appended(20, "m2", "t2"), message(21, ASSISTANT, "m20", "t2")),  # first stored before 10
    ]
    tree = MessageTree(messages)
    assert [each.id for each in tree.path()] == ["m1", "m2", "m20", "m21", "m10", "m11"]
    assert tree.before("m10") == "m21"


@pytest.mark.slow
@settings(deadline=None)
@given(st.data())
def test_nothing_that_replicas_append_is_hidden(data):
    """Each replica appends to what it knows; whatever that is, all messages are on one path.

    A retry may store a question again at another replica, with a later time.
    """
    messages = []
    for number in range(data.draw(st.integers(1, 8))):
        known = [each for each in messages if data.draw(st.booleans())]
        follows = next((each.id for each in reversed(known) if each.role is ASSISTANT), "")
        newest = max((each.created_ms for each in known), default=0)
        created = max(newest + 1, 10 * number + data.draw(st.integers(0, 15)))
        question = dataclasses.replace(appended(created, follows, f"t{number}"), id=f"q{number}")
        answer = dataclasses.replace(message(created + 1, ASSISTANT, question.id, question.turn_id), id=f"a{number}")
        messages += [question, answer]
    for place in range(0, len(messages), 2):
        later = data.draw(st.sampled_from([0, 0, 3, 30]))
        turn = messages[place : place + 2]
        messages[place : place + 2] = [dataclasses.replace(m, created_ms=m.created_ms + later) for m in turn]
    messages.sort(key=lambda each: (each.created_ms, each.id))
    path = MessageTree(messages).path()
    assert {each.id for each in path} == {each.id for each in messages}
    assert [each.role for each in path] == [USER, ASSISTANT] * (len(messages) // 2)
