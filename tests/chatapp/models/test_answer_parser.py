"""The parser of chat completions: finish reasons, content in many forms, errors, and answers that break off."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.errors import Blocked, ModelError, ModelUnavailable
from chatapp.models import Finish, PictureDelta, TextDelta, ThinkingDelta
from chatapp.models.failure import Failure
from chatapp.models.openai.errors import ServerErrors
from chatapp.models.openai.stream import AnswerParser, joined

ERRORS = ServerErrors("Gemma", "http://gemma", True, "URL", "KEY", "MODEL")
PICTURE = "iVBORw0KGgo="
DATA_URL = f"data:image/png;base64,{PICTURE}"


def sse(*chunks, done=True):
    raw = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks)
    return (raw + ("data: [DONE]\n\n" if done else "")).encode()


def delta(content=None, finish=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": finish}]}


def message(content, finish=None, **more):
    return {"choices": [{"index": 0, "message": {"content": content, **more}, "finish_reason": finish}]}


def events_of(raw):
    parser = AnswerParser(ERRORS)
    return [*joined(parser.feed(raw)), *joined(parser.end())]


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


def thinking_of(events):
    return "".join(event.text for event in events if isinstance(event, ThinkingDelta))


def pictures_of(events):
    return [event.data for event in events if isinstance(event, PictureDelta)]


# --- the end of an answer ------------------------------------------------------------------------


def test_finish_reason_in_every_chunk_does_not_end_the_answer():
    words = ["The ", "answer ", "has ", "five ", "words."]
    events = events_of(sse(*(delta(word, "stop") for word in words)))
    assert (text_of(events), events[-1]) == ("The answer has five words.", Finish(FinishReason.STOP))


REASONS = st.sampled_from([None, "", "null", "stop", "length", "eos", "tool_calls"])


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from(["", None, "a", "b c ", "\n"]), REASONS)), st.booleans())
def test_any_order_of_finish_reasons_empty_chunks_and_texts_keeps_all_text(chunks, has_end):
    end = [] if has_end else [delta("", "stop")]
    events = events_of(sse(*(delta(*chunk) for chunk in chunks), *end, done=has_end))
    assert text_of(events) == "".join(content or "" for content, _ in chunks)


@pytest.mark.slow
@given(st.lists(st.sampled_from(["a", "b c "]), min_size=2, max_size=5), st.data())
def test_prefix_of_a_stream_that_breaks_says_so(words, data):
    whole = sse(*map(delta, words), delta("", "stop"), done=False)
    cut = data.draw(st.integers(0, whole.rindex(b"data:") - 1))
    parser = AnswerParser(ERRORS)
    list(parser.feed(whole[:cut]))
    assert not parser.is_complete
    with pytest.raises(Failure):
        list(parser.end())


@pytest.mark.parametrize(
    ("chunks", "is_complete"),
    [
        ([delta("a"), delta("", "stop")], True),
        ([delta("a"), delta("b", "stop")], True),
        ([delta("a", "stop")], False),  # perhaps one is in every chunk
        ([delta("", "stop"), delta("a")], False),
        ([delta("a"), delta("", "stop"), delta("b")], False),
    ],
)
def test_only_a_finish_reason_after_all_text_makes_a_lost_connection_harmless(chunks, is_complete):
    parser = AnswerParser(ERRORS)
    list(parser.feed(sse(*chunks, done=False)))
    assert parser.is_complete is is_complete


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        *((reason, "length") for reason in ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens", "model_length")),
        *((reason, "length") for reason in ("token_limit", "model_context_window_exceeded", "truncated")),
        *((reason, "stop") for reason in ("stop", "eos", "eos_token", "end_turn", "stop_sequence", "COMPLETE", "new")),
    ],
)
def test_finish_reasons_of_other_servers_are_understood(reason, finish):
    assert events_of(sse(delta("a"), delta("", reason)))[-1] == Finish(FinishReason(finish))


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        *((reason, "safety filter") for reason in ("content_filter", "SAFETY", "RECITATION", "refusal", "SPII")),
        *((reason, "safety filter") for reason in ("sensitive", "guardrail_intervened", "ERROR_TOXIC")),
        *((reason, "cancelled it") for reason in ("abort", "network_error", "insufficient_system_resource", "timeout")),
        *((reason, "cancelled it") for reason in ("cancelled", "failed", "incomplete", "MALFORMED_FUNCTION_CALL")),
    ],
)
def test_reason_of_an_answer_that_is_not_whole_says_so_and_keeps_the_text(reason, words):
    parser = AnswerParser(ERRORS)
    assert text_of(parser.feed(sse(delta("Half"), delta("", reason)))) == "Half"
    with pytest.raises(Failure) as caught:
        list(parser.end())
    assert words in str(caught.value.as_model_error())


CALL = [{"index": 0, "id": "c", "type": "function", "function": {"name": "search", "arguments": "{}"}}]


@pytest.mark.parametrize(
    "chunks",
    [
        [delta(None, tool_calls=CALL), delta(None, "tool_calls")],
        [delta("Let me look. "), delta("", tool_calls=CALL), delta(None, "tool_calls")],
        [delta("Let me look.", tool_calls=CALL), delta(None, "stop")],
        [delta(None, function_call={"name": "search", "arguments": "{}"}), delta(None, "function_call")],
        [message(None, "tool_calls", tool_calls=CALL)],
        [message("Let me look.", "tool_calls", tool_calls=CALL)],
    ],
)
def test_call_of_a_tool_at_the_end_is_an_answer_that_is_not_whole(chunks):
    parser = AnswerParser(ERRORS)
    assert "Let me look".startswith(text_of(parser.feed(sse(*chunks)))[:11])
    with pytest.raises(Failure) as caught:
        list(parser.end())
    assert "tried to use a tool, and this chat has none" in str(caught.value.as_model_error())
    assert caught.value.kind is ModelError  # the model works


@pytest.mark.parametrize(
    "chunks",
    [
        [delta("a"), delta("b", "tool_calls")],  # a gateway that writes the wrong reason
        [delta("a", tool_calls=CALL), delta("b", "stop")],  # the server has called it by itself
        [delta("a", tool_calls=[]), delta("b", "stop", tool_calls=None)],
    ],
)
def test_tools_that_the_chat_need_not_call_leave_an_answer_whole(chunks):
    events = events_of(sse(*chunks))
    assert (text_of(events), events[-1]) == ("ab", Finish(FinishReason.STOP))


def test_filter_that_ends_an_answer_is_not_undone_by_a_later_reason():
    with pytest.raises(Failure) as caught:
        events_of(sse(delta("a"), delta("", "content_filter"), delta("", "stop")))
    assert caught.value.kind is Blocked


def choice(index, content, finish=None):
    return {"index": index, "delta": {"content": content}, "finish_reason": finish}


@pytest.mark.parametrize(
    "chunks",
    [
        [[choice(0, "a"), choice(1, "X")], [choice(0, "b", "stop"), choice(1, "Y", "stop")]],
        [[choice(1, "X"), choice(0, "a")], [choice(1, "Y")], [choice(0, "b", "stop")]],
        [[choice(0, "a")], [choice(1, "X")], [choice(0, "b")], [choice(1, "Y", "stop")], [choice(0, "", "stop")]],
        [[choice(2, "a")], [choice(2, "b", "stop")]],
        [[choice(None, "a")], [{"delta": {"content": "b"}, "finish_reason": "stop"}]],
        [[], [choice(0, "a")], [], [choice(0, "b", "stop")], []],
        [None, [choice(0, "a")], ["x", choice(0, "b", "stop")]],
    ],
)
def test_one_of_several_choices_is_the_answer(chunks):
    assert text_of(events_of(sse(*({"choices": choices} for choices in chunks)))) == "ab"


def _lines(chunks, separator, prefix="data: "):
    return separator.join(prefix + json.dumps(chunk) for chunk in chunks).encode() + b"\n\n"


WHOLE = [delta("It "), delta("is"), delta("", "stop")]
ODD_STREAMS = {
    "comments": b": OPENROUTER PROCESSING\n\n" + sse(*WHOLE),
    "events with names": b"".join(b"event: message\nid: 1\nretry: 5\n" + sse(one, done=False) for one in WHOLE),
    "events without content": b'event: ping\ndata: ping\n\nevent: ping\ndata: {"type": "ping"}\n\n' + sse(*WHOLE),
    "empty data": b"data:\n\ndata: \n\n" + sse(*WHOLE),
    "no space": sse(*WHOLE).replace(b"data: ", b"data:"),
    "CRLF": sse(*WHOLE).replace(b"\n", b"\r\n"),
    "CR": sse(*WHOLE).replace(b"\n", b"\r"),
    "a byte order mark": b"\xef\xbb\xbf" + sse(*WHOLE),
    "data of two lines": sse(*WHOLE).replace(b'"finish_reason"', b'\ndata: "finish_reason"'),
    "data twice": _lines(WHOLE, "\n\n", "data: data: "),
    "no blank lines": _lines(WHOLE, "\n"),
    "no blank lines to the end": _lines(WHOLE, "\n").strip() + b"\ndata: [DONE]",
    "an end in small letters": sse(*WHOLE, done=False) + b"data: [done]\n\n",
    "an end in JSON": sse(*WHOLE, done=False) + b'data: "[DONE]"\n\n',
    "two ends": sse(*WHOLE) + b"data: [DONE]\n\n",
    "no end": sse(*WHOLE, done=False),
    "a role alone": sse(delta(None, role="assistant"), delta("", role="assistant"), *WHOLE),
    "probabilities": sse(*({**one, "logprobs": {"content": [{"token": "x"}]}} for one in WHOLE)),
    "deltas that are text": sse(*({"choices": [{"delta": one}]} for one in ("It ", "is")), delta("", "stop")),
    "plain completions": sse(*({"choices": [{"text": one}]} for one in ("It ", "is")), delta("", "stop")),
}


@pytest.mark.parametrize("name", ODD_STREAMS)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_odd_streams_are_read_wherever_they_are_cut(name, size):
    parser, raw = AnswerParser(ERRORS), ODD_STREAMS[name]
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert text_of([*(event for piece in pieces for event in parser.feed(piece)), *parser.end()]) == "It is"


@pytest.mark.parametrize("rest", [b'data: {"choices": [{"del', b"data: upstream connect error\n\n"])
def test_stream_that_breaks_off_within_an_event_is_not_called_incompatible(rest):
    parser = AnswerParser(ERRORS)
    assert text_of(parser.feed(sse(delta("Half"), done=False))) == "Half"
    with pytest.raises(Failure) as caught:
        _rest_of(parser, rest)
    assert "stopped in the middle of the answer" in str(caught.value.as_model_error())


# --- what a message holds ------------------------------------------------------------------------

TEXT_FORMS = [
    [{"type": "text", "text": "It is Tuesday."}],
    [{"type": "text", "text": "It is "}, {"type": "text", "text": "Tuesday."}],
    [{"type": "output_text", "text": {"value": "It is Tuesday."}}],
    ["It is ", "Tuesday."],
    {"type": "text", "text": "It is Tuesday."},
]


@pytest.mark.parametrize("form", [delta, message])
@pytest.mark.parametrize("content", TEXT_FORMS)
def test_content_may_be_a_list_of_parts(form, content):
    assert text_of(events_of(sse(form(content), form("", "stop")))) == "It is Tuesday."


THINKING_FORMS = [
    delta([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]),  # Mistral
    delta([{"type": "thinking", "thinking": "hm", "signature": "x"}]),  # Anthropic
    delta([{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}]),
    delta(None, reasoning="hm"),
    delta(None, reasoning_content="hm"),
    delta(None, reasoning="hm", reasoning_content="hm"),  # vLLM sends both
    delta(None, reasoning="hm", reasoning_details=[{"type": "reasoning.text", "text": "hm"}]),  # OpenRouter
    delta(None, reasoning_details=[{"type": "reasoning.text", "text": "hm"}]),
    delta("<think>hm</think>"),
    message(None, reasoning_content="hm"),
]


@pytest.mark.parametrize("chunk", THINKING_FORMS)
def test_thinking_in_every_form_is_told_from_the_text(chunk):
    events = events_of(sse(chunk, delta("Yes"), delta("", "stop")))
    assert (thinking_of(events), text_of(events)) == ("hm", "Yes")


PICTURE_FORMS = [
    {"images": [{"type": "image_url", "image_url": {"url": DATA_URL}}]},  # OpenRouter
    {"images": [{"image_url": DATA_URL}]},
    {"image": {"data": PICTURE, "mime_type": "image/png"}},
    {"content": [{"type": "image_url", "image_url": {"url": DATA_URL}}]},
    {"content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}]},
    {"content": [{"type": "output_image", "b64_json": PICTURE}]},
    {"content": f"![image]({DATA_URL})"},
]


@pytest.mark.parametrize("picture", PICTURE_FORMS)
def test_picture_in_every_form_is_yielded(picture):
    events = events_of(sse(delta("Here:"), delta(**picture), delta(" Done.", "stop")))
    assert pictures_of(events) == [PICTURE]
    assert text_of(events) == "Here: Done."


def test_picture_on_another_site_is_named_by_its_address_and_not_fetched():
    events = events_of(
        sse(delta([{"type": "image_url", "image_url": {"url": "https://x.example/cat.png"}}]), delta("", "stop"))
    )
    assert (pictures_of(events), text_of(events).strip()) == ([], "<https://x.example/cat.png>")


@pytest.mark.parametrize("odd", [{}, {"image_url": None}, "data:text/html,<b>", 17, {"url": "javascript:alert(1)"}])
def test_picture_that_cannot_be_read_is_still_counted(odd):
    assert len(pictures_of(events_of(sse(delta("a", images=[odd]), delta("", "stop"))))) == 1


def test_picture_of_two_megabytes_fits_in_one_event():
    events = events_of(
        sse(delta("Here is the cat:"), delta("", images=[{"url": "data:image/png;base64," + "A" * 2_000_000}]))
    )
    assert len(pictures_of(events)[0]) == 2_000_000


def test_refusal_and_transcript_are_text():
    assert text_of(events_of(sse(delta(None, refusal="I cannot."), delta("", "stop")))) == "I cannot."
    assert text_of(events_of(sse(delta(None, audio={"transcript": "Hi", "data": "x"}), delta("", "stop")))) == "Hi"


def test_whole_message_at_the_end_of_a_stream_is_not_repeated():
    events = events_of(sse(delta("ha"), delta("ha"), message("haha", "stop")))
    assert text_of(events) == "haha"
    assert text_of(events_of(sse(message("ha"), message("ha"), message("haha", "stop")))) == "hahahaha"


# --- plain JSON ----------------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
def test_plain_json_in_place_of_a_stream_is_an_answer(indent):
    body = message("<think>hm</think>It is Tuesday.", "length") | {
        "usage": {"prompt_tokens": 3, "completion_tokens": 4}
    }
    events = events_of(json.dumps(body, indent=indent).encode())
    assert (thinking_of(events), text_of(events)) == ("hm", "It is Tuesday.")
    assert events[-2:] == [Finish(FinishReason.LENGTH), Usage(prompt_tokens=3, completion_tokens=4)]


def test_lines_of_json_are_a_stream():
    lines = [delta("It is "), delta("Tuesday."), delta("", "stop")]
    assert text_of(events_of("".join(json.dumps(line) + "\n" for line in lines).encode())) == "It is Tuesday."


# --- errors inside of the stream -----------------------------------------------------------------

ERROR_FORMS = [
    b'event: error\ndata: {"message": "the engine died"}\n\n',
    b"event: error\ndata: the engine died\n\n",
    b'data: {"error": "the engine died"}\n\n',
    b'data: {"error": {"message": "the engine died", "code": "500"}}\n\n',
    b'data: {"type": "error", "error": {"type": "api_error", "message": "died"}}\n\n',
    b'data: {"object": "error", "message": "died"}\n\n',
    b'data: {"detail": "died"}\n\n',
    b'data: [{"error": {"code": 500, "message": "died"}}]\n\n',
    b'error: {"code": 500, "message": "died"}\n\n',
    b'{"error": {"message": "died"}}',
    b'data: {"error": {"message": "died"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}\n\n',
    b'data: {"choices": [{"delta": {"content": ""}, "finish_reason": "error", "error": {"message": "died"}}]}\n\n',
    b'data: {"choices": [{"delta": {}, "finish_reason": null, "error": {"code": 502, "message": "died"}}]}\n\n',
]


@pytest.mark.parametrize("raw", ERROR_FORMS)
def test_error_in_every_form_is_reported(raw):
    with pytest.raises(Failure) as caught:
        events_of(raw)
    assert "reports a failure" in str(caught.value.as_model_error())
    parser = AnswerParser(ERRORS)
    assert text_of(parser.feed(sse(delta("Half"), done=False))) == "Half"
    with pytest.raises(Failure) as caught:
        _rest_of(parser, raw)
    assert "stopped in the middle of the answer" in str(caught.value.as_model_error())
    assert caught.value.kind is ModelUnavailable


def _rest_of(parser, raw):
    return [*parser.feed(raw), *parser.end()]
