"""What a document of the codelab's app says, read as a conversation."""

from datetime import UTC, datetime

import pytest

from chatapp.domain.conversation import MessageStatus, Role
from chatapp.store.firestore.documents import is_id
from chatapp.userdata.codelab_session import session_of

PATH = "project/chat-app-db/chat_sessions/session-abc"
START = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)
START_MS = 1_772_366_400_500
CREATED_MS = START_MS + 7_000  # Firestore's own clock


def session(fields, *, path=PATH, owner="local", started=True):
    return session_of(path, ({"Session start": START} if started else {}) | fields, CREATED_MS, owner)


def texts(converted):
    return [(message.role.value, message.content) for message in converted.messages]


def offsets(converted):
    return [message.created_ms - START_MS for message in converted.messages]


def test_a_session_is_its_questions_and_answers_in_the_order_of_their_times():
    converted = session(
        {
            "2026-03-01 12:00:40": {"250000": {"user": "And now?", "Gemini": "Later."}},
            "2026-03-01 12:00:10": {"123456": {"user": "Hi", "Gemma3 12b it": "Hello."}},
        }
    )
    assert texts(converted) == [("user", "Hi"), ("assistant", "Hello."), ("user", "And now?"), ("assistant", "Later.")]
    assert [message.model for message in converted.messages] == ["", "gemma", "", "gemini"]
    assert offsets(converted) == [9_623, 9_624, 39_750, 39_751]
    assert converted.problems == []


def test_a_session_becomes_a_conversation_with_its_first_question_as_title():
    converted = session({"2026-03-01 12:00:10": {"123456": {"user": "What\nis a " + "very " * 20, "Gemini": "x"}}})
    assert converted.conversation.title == "What is a very very very very very very very very very very…"
    assert (converted.conversation.created_ms, converted.conversation.updated_ms) == (START_MS, START_MS + 9_624)
    assert converted.conversation.model == "gemini"
    assert is_id(converted.conversation.id)


def test_the_times_of_the_app_for_cloud_run_have_their_zone():
    converted = session(
        {
            "2026-03-01T12:00:10": {"123456+00:00": {"user": "Hi", "Gemma": "Hello."}},
            "2026-03-01T12:00:11+00:00": {"user": "On the second", "Gemini": "Yes."},
        }
    )
    assert offsets(converted) == [9_623, 9_624, 10_500, 10_501]
    assert [message.model for message in converted.messages][1::2] == ["gemma", "gemini"]


def test_a_moment_without_microseconds_and_one_within_the_same_second_are_both_read():
    converted = session(
        {
            "2026-03-01 12:00:10": {
                "user": "first",
                "Gemini": "1",
                "700000": {"user": "third", "Gemini": "3"},
                "000300": {"user": "second", "Gemini": "2"},
            }
        }
    )
    assert [text for _, text in texts(converted)] == ["first", "1", "second", "2", "third", "3"]
    assert offsets(converted) == [9_500, 9_501, 9_502, 9_503, 10_200, 10_201]  # each later than the one before
    assert converted.problems == []


def test_a_question_and_its_answer_are_one_turn():
    converted = session({"2026-03-01 12:00:10": {"user": "a", "Gemini": "b"}, "2026-03-01 12:00:20": {"user": "c"}})
    question, answer, another = converted.messages
    assert question.turn_id == answer.turn_id != another.turn_id
    assert (another.role, another.content) == (Role.USER, "c")


def test_ids_are_the_same_each_time_and_others_for_every_document_and_field():
    fields = {"2026-03-01 12:00:10": {"1": {"user": "a", "Gemini": "b"}, "2": {"user": "a", "Gemini": "b"}}}
    converted, again = session(fields), session(fields)
    assert (converted.conversation, converted.messages) == (again.conversation, again.messages)
    ids = [message.id for one in (converted, session(fields, path=f"{PATH}d")) for message in one.messages]
    assert len(set(ids)) == 8
    assert all(map(is_id, ids))


def test_each_user_may_import_a_copy_of_a_session():
    fields = {"2026-03-01 12:00:10": {"user": "a", "Gemini": "b"}}
    assert session(fields, owner="ana").conversation.id != session(fields, owner="ben").conversation.id


def test_later_additions_of_the_app_do_not_change_earlier_results():
    before = {"2026-03-01 12:00:10": {"1": {"user": "a", "Gemini": "b"}}}
    later = {"2026-03-01 12:00:10": {**before["2026-03-01 12:00:10"], "2": {"user": "c", "Gemini": "d"}}}
    assert session(later).messages[:2] == session(before).messages
    assert session(later).conversation.id == session(before).conversation.id


@pytest.mark.parametrize(
    "stored",
    [
        "Error: Invalid model selected.",
        "An unexpected error occurred.",
        "An error occurred while communicating with Gemma.",
    ],
)
def test_a_failure_that_the_app_stored_as_an_answer_is_a_failure(stored):
    _, answer = session({"2026-03-01 12:00:10": {"user": "Hi", "Gemma": stored}}).messages
    assert (answer.status, answer.content, answer.error) == (MessageStatus.ERROR, "", stored)


@pytest.mark.parametrize("stored", [None, ""])
def test_missing_answer_becomes_an_error(stored):
    _, answer = session({"2026-03-01 12:00:10": {"user": "Hi", "Gemini": stored}}).messages
    assert (answer.status, answer.error) == (MessageStatus.ERROR, "The codelab's app stored no answer.")


def test_an_added_model_keeps_its_name():
    assert session({"2026-03-01 12:00:10": {"user": "Hi", "Claude on Vertex": "Hey"}}).messages[1].model == (
        "Claude on Vertex"
    )


def test_without_a_start_the_time_of_the_document_counts():
    converted = session({"2026-03-01 12:00:10": {"user": "Hi", "Gemini": "Hey"}}, started=False)
    assert converted.conversation.created_ms == CREATED_MS
    assert converted.messages[0].created_ms == START_MS + 9_500


def test_a_name_that_is_no_time_takes_the_time_of_the_start_and_its_place_by_name():
    converted = session({"turn 2": {"user": "b"}, "turn 1": {"user": "a"}, "2026-03-01 12:00:10": {"user": "c"}})
    assert texts(converted) == [("user", "a"), ("user", "b"), ("user", "c")]
    assert offsets(converted) == [0, 1, 9_500]


def test_text_that_cannot_be_stored_is_replaced():
    assert texts(session({"2026-03-01 12:00:10": {"user": "a\0b"}})) == [("user", "a\ufffdb")]


@pytest.mark.parametrize("fields", [{}, {"Session start": START}])
def test_an_empty_session_yields_no_conversation(fields):
    converted = session_of(PATH, fields, CREATED_MS, "local")
    assert (converted.conversation, converted.messages, converted.problems) == (None, [], [])


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"Session start": "yesterday"}, "'Session start' is not a time."),
        ({"colour": "red"}, "The field 'colour' is not from the codelab and was skipped."),
        ({"2026-03-01 12:00:10": "Hi"}, "The field '2026-03-01 12:00:10' is not from the codelab and was skipped."),
        ({"2026-03-01 12:00:10": {"Gemini": "SECRET"}}, "The field '2026-03-01 12:00:10' has no question"),
        ({"2026-03-01 12:00:10": {"5": {}}}, "The field '2026-03-01 12:00:10.5' has no question"),
        ({"2026-03-01 12:00:10": {"user": 7, "Gemini": "SECRET"}}, "The question of '2026-03-01 12:00:10' is not text"),
        ({"2026-03-01 12:00:10": {"user": "SECRET", "Gemini": [1]}}, "The answer of '2026-03-01 12:00:10' is not text"),
        ({"2026-03-01 12:00:10": {"user": {"text": "SECRET", "files": ["x"]}}}, "The files of '2026-03-01 12:00:10'"),
    ],
)
def test_unreadable_parts_are_reported_without_their_text_and_the_rest_is_converted(fields, problem):
    converted = session({**fields, "2026-03-01 12:00:30": {"user": "Hi", "Gemini": "Hey"}})
    assert texts(converted)[-2:] == [("user", "Hi"), ("assistant", "Hey")]
    (named,) = converted.problems
    assert named.startswith(problem)
    assert "SECRET" not in named
