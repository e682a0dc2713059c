"""Properties of prompts and of streamed answers, for any text."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chatapp.domain.conversation import FinishReason, GenerationParameters, Message, Role
from chatapp.models import Finish, TextDelta
from chatapp.models.failure import Failure
from chatapp.models.openai.errors import ServerErrors
from chatapp.models.openai.request import chat_messages
from chatapp.models.openai.stream import AnswerParser, EventStream
from chatapp.models.prompt import ChatTurn, alternating_turns, clean_text
from tests.any_text import any_text

ANY_TEXT = st.text(st.characters())  # lone surrogates and NUL included
TEXT = any_text()
ERRORS = ServerErrors("Gemma", "http://localhost", False, "URL", "KEY", "MODEL")


def message(role, content):
    return Message(id="m", turn_id="t", role=role, content=content, created_ms=0)


CONVERSATIONS = st.lists(st.builds(message, st.sampled_from(Role), st.one_of(ANY_TEXT, st.just(""), st.just(" \n"))))
QUESTIONS = st.builds(message, st.just(Role.USER), ANY_TEXT.filter(str.strip))


# --- turns -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(CONVERSATIONS)
def test_turns_start_with_the_user_and_strictly_alternate(conversation):
    roles = [turn.role for turn in alternating_turns(conversation)]
    assert roles == [Role.USER, Role.ASSISTANT] * (len(roles) // 2) + [Role.USER] * (len(roles) % 2)


@pytest.mark.slow
@given(CONVERSATIONS, QUESTIONS)
def test_turns_end_with_the_question_when_it_is_last(conversation, question):
    turn = alternating_turns([*conversation, question])[-1]
    assert turn.role is Role.USER
    assert turn.text.endswith(question.content)


@pytest.mark.slow
@given(CONVERSATIONS)
def test_text_after_the_first_question_is_kept_in_order(conversation):
    expected = [message for message in conversation if message.content.strip()]
    while expected and expected[0].role is Role.ASSISTANT:
        expected.pop(0)
    everything = "".join(turn.text for turn in alternating_turns(conversation))
    assert everything.replace("\n\n", "") == "".join(message.content for message in expected).replace("\n\n", "")


@pytest.mark.slow
@given(CONVERSATIONS)
def test_alternating_turns_are_unchanged(conversation):
    turns = alternating_turns(conversation)
    assert alternating_turns(message(turn.role, turn.text) for turn in turns) == turns


def test_two_questions_around_an_empty_answer_become_one():
    conversation = [message(Role.USER, "a"), message(Role.ASSISTANT, ""), message(Role.USER, "b")]
    assert alternating_turns(conversation) == [ChatTurn(Role.USER, "a\n\nb")]


# --- requests -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(CONVERSATIONS, QUESTIONS, ANY_TEXT)
def test_chat_messages_are_valid_for_every_server(conversation, question, system_prompt):
    sent = chat_messages([*conversation, question], GenerationParameters(system_prompt=system_prompt))
    roles = [turn["role"] for turn in sent]
    if system_prompt.strip():
        assert roles.pop(0) == "system"
    assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]
    assert all(turn["content"].encode("utf-8") for turn in sent)
    assert "\0" not in "".join(turn["content"] for turn in sent)


@pytest.mark.slow
@given(CONVERSATIONS)
def test_blank_system_prompt_is_not_sent(conversation):
    assert "system" not in {
        turn["role"] for turn in chat_messages(conversation, GenerationParameters(system_prompt=" "))
    }


@given(ANY_TEXT)
@example("\ud83d\ude00")
def test_clean_text_is_utf8_without_nul_and_idempotent(text):
    cleaned = clean_text(text)
    cleaned.encode("utf-8")
    assert "\0" not in cleaned
    assert clean_text(cleaned) == cleaned


@pytest.mark.slow
@given(TEXT)
def test_clean_text_changes_nothing_but_nul_in_valid_text(text):
    assert clean_text(text) == text.replace("\0", "\ufffd")


def test_clean_text_joins_a_surrogate_pair_and_replaces_half_of_one():
    assert clean_text("\ud83d\ude00 \ud83d \ude00") == "😀 \ufffd \ufffd"


# --- server-sent events ------------------------------------------------------------------------------------------


@st.composite
def cut_up(draw, whole):
    """Bytes, cut at any places."""
    raw = draw(whole)
    cuts = sorted(draw(st.lists(st.integers(0, len(raw)), max_size=12)))
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


def answer_of(chunks):
    parser = AnswerParser(ERRORS)
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return [*events, *parser.end()]


def encoded(chunks):
    return [f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks]


def events_of(chunks):
    stream = EventStream()
    events = [event for chunk in chunks for event in stream.feed(chunk)]
    return [*events, *stream.end()]


@pytest.mark.slow
@given(st.data(), st.lists(TEXT.filter(bool)), st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", " "]))
def test_events_are_parsed_wherever_the_bytes_are_cut(data, texts, line_end, space):
    texts = ["x" + text.replace("\r", "").removeprefix("\ufeff") for text in texts]
    raw = ""
    for text in texts:
        raw += f": ping{line_end}id: 7{line_end}"
        for line in text.split("\n"):
            # One space after the colon is not part of the line, so one that begins with a space needs another.
            raw += f"data:{space or ' ' * line.startswith(' ')}{line}{line_end}"
        raw += line_end
    assert events_of(data.draw(cut_up(st.just(raw.encode())))) == texts


def test_line_end_that_is_cut_in_two_is_one_line_end():
    assert events_of(bytes([byte]) for byte in b"data: a\r\ndata: b\r\n\r\n") == ["a\nb"]


@pytest.mark.slow
@given(cut_up(st.binary()))
def test_parsing_does_not_depend_on_where_the_bytes_are_cut(chunks):
    assert events_of(chunks) == events_of([b"".join(chunks)])


@pytest.mark.slow
@given(cut_up(st.binary()))
def test_invalid_bytes_raise_a_server_error(chunks):
    with pytest.raises(Failure):
        answer_of([b'data: {"choices": 1}\n\ndata: ', *chunks])


# Anything that JSON can hold, in every place where a server puts an object, a list, a text or a number.
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["", "x", "stop", "abort"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(any_text(max_size=3), inner, max_size=2),
    max_leaves=3,
)


def like(**values):
    return ODD | st.fixed_dictionaries({}, optional=values)


DELTAS = like(content=ODD, reasoning=ODD)
CHUNKS = st.fixed_dictionaries(
    {"choices": ODD | st.lists(st.fixed_dictionaries({"delta": DELTAS, "finish_reason": ODD}), min_size=1, max_size=2)},
    optional={
        "error": like(code=ODD, param=ODD, n_ctx=ODD, message=ODD),
        "usage": like(prompt_tokens=ODD, completion_tokens=ODD),
    },
)


@pytest.mark.slow
@given(st.lists(CHUNKS, max_size=4))
@example([{"choices": [{"finish_reason": {"odd": 1}}]}])
@example([{"error": {"code": 400, "param": [], "type": {}}}])
def test_chunks_of_any_json_end_in_an_answer_or_a_server_error(chunks):
    problem = None
    try:
        answer_of(encoded(chunks))
    except Failure as raised:
        problem = raised
    if problem:
        assert str(problem.as_model_error()).startswith("Gemma ")
        assert problem.as_status().reason


@pytest.mark.slow
@given(ANY_TEXT, st.data())
def test_text_cut_anywhere_even_inside_a_character_is_complete(text, data):
    units = text.encode("utf-16-le", "surrogatepass")
    cuts = sorted({0, len(units), *(2 * cut for cut in data.draw(st.lists(st.integers(0, len(units) // 2))))})
    deltas = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in itertools.pairwise(cuts)]
    chunks = [{"choices": [{"delta": {"content": delta}}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    events = answer_of(encoded(chunks))
    assert events.pop() == Finish(FinishReason.STOP)
    assert all(isinstance(event, TextDelta) and event.text for event in events)
    assert "".join(event.text for event in events) == clean_text(text)
