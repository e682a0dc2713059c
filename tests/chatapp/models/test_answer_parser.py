"""The parser of chat completions: finish reasons, content in many forms, errors, and answers that break off."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.conversation import FinishReason, Usage
from chatapp.domain.errors import Blocked, ModelUnavailable
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


@given(st.lists(st.tuples(st.sampled_from(["", None, "a", "b c ", "\n"]), REASONS)), st.booleans())
def test_any_order_of_finish_reasons_empty_chunks_and_texts_keeps_all_text(chunks, has_end):
    end = [] if has_end else [delta("", "stop")]
    events = events_of(sse(*(delta(*chunk) for chunk in chunks), *end, done=has_end))
    assert text_of(events) == "".join(content or "" for content, _ in chunks)


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
    ("reason", "finish"), [("length", "length"), ("max_tokens", "length"), ("model_length", "length"), ("eos", "stop")]
)
def test_finish_reasons_of_other_servers_are_understood(reason, finish):
    assert events_of(sse(delta("a"), delta("", reason)))[-1] == Finish(FinishReason(finish))


def test_filter_that_ends_an_answer_is_not_undone_by_a_later_reason():
    with pytest.raises(Failure) as caught:
        events_of(sse(delta("a"), delta("", "content_filter"), delta("", "stop")))
    assert caught.value.kind is Blocked


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
