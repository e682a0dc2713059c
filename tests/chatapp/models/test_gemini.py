"""`GeminiModel` against a fake Gemini on loopback: the real SDK, the real HTTP, scripted answers and failures."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import functools
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import AsyncExitStack, ExitStack, aclosing

import google.oauth2.credentials
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.domain.conversation import FinishReason, GenerationParameters, Image, Message, Place, Role, Usage, new_id
from chatapp.domain.errors import Blocked, ContextTooLong, ModelError, ModelUnavailable, RateLimited
from chatapp.models import Finish, ModelState, ModelStatus, PictureDelta, Price, TextDelta, ThinkingDelta, TimeLimits
from chatapp.models.gemini import genai_compat
from chatapp.models.gemini import model as gemini_module
from chatapp.models.gemini import response as gemini_response
from chatapp.models.gemini.connection import GeminiConnection
from chatapp.models.gemini.model import DEFAULT_CONTEXT_TOKENS, THINKING_HEADROOM, GeminiModel, contents
from tests.chatapp.models.answers import text_of
from tests.clocks import LoopClock
from tests.fakes import gemini_server as fake
from tests.fakes.gemini_server import HEADERS, RESET, STALL, GeminiServer, Refusal, blocked_prompt, chunk

API_KEY = "AQ.a-key-that-no-log-may-hold"
ANOTHER_KEY = "AIzaSy-a-key-that-no-log-may-hold-0123"
QUESTION = "What is the secret of my life?"
NEW_KEY = "Create a new key at https://aistudio.google.com/apikey and set GEMINI_API_KEY."
LOGIN = "Run `gcloud auth application-default login`; on a server, check its service account."


@pytest.fixture(scope="module", autouse=True)
def _one_tls_context():
    """Each client loads the system's certificates four times (0.2 s): once is enough where nothing uses TLS."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        patch.setenv("SSL_CERT_FILE", ssl.get_default_verify_paths().openssl_cafile)
        yield


@pytest.fixture(autouse=True)
def _no_way_out(monkeypatch, tmp_path):
    """No proxy, no credentials of this computer, no metadata server, no pauses between retries."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_CLOUD_PROJECT"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setattr(gemini_module, "RETRY_SECONDS", (0.01, 0.02))


@pytest.fixture
async def server():
    async with GeminiServer() as running:
        yield running


@pytest.fixture
async def make(server):
    """Make models of the fake server: on Vertex AI, or with ``api_key`` on the Gemini API."""
    async with AsyncExitStack() as stack:

        def make_model(**settings):
            if "api_key" not in settings:
                token = google.oauth2.credentials.Credentials(token="token")
                settings = {"project": "demo", "credentials": token, **settings}
            model = GeminiModel("gemini", "Gemini", **{"base_url": server.url, **settings})
            stack.push_async_callback(model.aclose)
            return model

        yield make_model


def message(role, text):
    return Message(id=new_id(), turn_id=new_id(), role=role, content=text, created_ms=0)


def ask(model, **parameters):
    return model.stream([message(Role.USER, QUESTION)], GenerationParameters(**parameters))


async def answer_of(model, **parameters):
    return [event async for event in ask(model, **parameters)]


async def failure_of(model, **parameters):
    """Return the error that ends the answer, and the text that came before it."""
    events, error = await ended(model, **parameters)
    return error, text_of(events)


async def ended(model, **parameters):
    events = []
    try:
        async for event in ask(model, **parameters):
            events.append(event)  # noqa: PERF401 - what came before the error is wanted
    except ModelError as error:
        return events, error
    pytest.fail(f"no error after {events}")


# --- The request ---

any_text = st.text(st.characters(exclude_categories=()), max_size=20)
any_conversation = st.lists(st.builds(message, st.sampled_from(Role), any_text), max_size=12)


@pytest.mark.slow
@given(any_conversation)
def test_turns_strictly_alternate_and_start_and_end_with_the_user(messages):
    roles = [turn["role"] for turn in contents(messages)]
    assert roles == ["user", "model"] * (len(roles) // 2) + ["user"] * (len(roles) % 2)
    assert len(roles) % 2 == 1 or not roles


@pytest.mark.slow
@given(any_conversation, any_text.filter(str.strip))
def test_last_question_is_always_sent_as_valid_text(messages, question):
    turns = contents([*messages, message(Role.USER, question)])
    texts = [part["text"] for turn in turns for part in turn["parts"]]
    assert json.dumps(texts, ensure_ascii=False).encode().decode()
    assert all(text.strip() and "\0" not in text for text in texts)
    shown = question.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert texts[-1].endswith(shown)


async def test_vertex_ai_request_has_credentials_and_parameters(make, server):
    history = [message(Role.USER, "Hi"), message(Role.ASSISTANT, "Hello"), message(Role.USER, "שלום 🌍")]
    parameters = GenerationParameters(temperature=0.3, top_p=0.8, max_tokens=77, system_prompt="Be brief.")
    events = [event async for event in make().stream(history, parameters)]
    (request,) = server.requests
    assert request.path == (
        "/v1beta1/projects/demo/locations/global/publishers/google/models/gemini-3.5-flash-lite:streamGenerateContent"
    )
    assert request.headers["Authorization"] == "Bearer token"
    assert request.body["contents"] == [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Hello"}]},
        {"role": "user", "parts": [{"text": "שלום 🌍"}]},
    ]
    assert request.body["systemInstruction"]["parts"] == [{"text": "Be brief."}]
    assert request.body["generationConfig"] == {
        "maxOutputTokens": 77,
        "thinkingConfig": {"thinking_budget": 0},  # the SDK's spelling; the API takes both
    }
    assert text_of(events) == fake.DEFAULT_ANSWER


@pytest.mark.parametrize(
    ("model", "sent"),
    [
        ("gemini-2.5-flash", {"temperature": 0.3, "topP": 0.8}),
        ("gemini-3-flash-preview", {"temperature": 0.3, "topP": 0.8}),
        ("gemini-3.5-flash", {"temperature": 0.3, "topP": 0.8}),
        ("my-tuned-model", {"temperature": 0.3, "topP": 0.8}),
        ("gemini-3.5-flash-lite", {}),
        ("publishers/google/models/gemini-3.6-flash", {}),
        ("gemini-4-pro", {}),
    ],
)
async def test_sampling_parameters_are_sent_only_to_models_that_use_them(make, server, model, sent):
    gemini = make(model=model)
    await answer_of(gemini, temperature=0.3, top_p=0.8)
    config = server.requests[0].body["generationConfig"]
    assert {name: config[name] for name in ("temperature", "topP") if name in config} == sent
    assert set(gemini.unsupported) == (set() if sent else {"temperature", "top_p"})


async def test_images_precede_the_text_of_their_message(make, server):
    picture = Image(id="p", media_type="image/png", width=1, height=1, data=b"\x89PNG")
    history = [
        dataclasses.replace(message(Role.USER, " "), images=(picture,)),
        message(Role.ASSISTANT, "A dot."),
        dataclasses.replace(message(Role.USER, "And these?"), images=(picture, dataclasses.replace(picture, data=b""))),
    ]
    _ = [event async for event in make().stream(history, GenerationParameters())]
    shown = {"inlineData": {"mime_type": "image/png", "data": base64.b64encode(b"\x89PNG").decode()}}
    assert server.requests[0].body["contents"] == [
        {"role": "user", "parts": [shown]},
        {"role": "model", "parts": [{"text": "A dot."}]},
        {"role": "user", "parts": [shown, {"text": "And these?"}]},
    ]


@pytest.mark.parametrize(
    ("settings", "place"),
    [({}, Place.VERTEX_AI), ({"api_key": API_KEY}, Place.GEMINI_API), ({"api_key": ""}, Place.UNKNOWN)],
)
def test_place_is_vertex_ai_or_the_gemini_api(settings, place):
    settings = settings or {"project": "demo"}
    assert GeminiModel("gemini", "Gemini", **settings).place is place


def test_default_model_has_a_list_price_that_a_setting_replaces():
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=100_000)
    price = GeminiModel("gemini", "Gemini").price
    assert price is not None
    assert price.of(usage) == pytest.approx(0.55)
    assert GeminiModel("gemini", "Gemini", model="gemini-9-flash").price is None
    assert GeminiModel("gemini", "Gemini", price=Price(1, 2)).price == Price(1, 2)
    assert price.of(Usage(prompt_tokens=3)) is None


async def test_gemini_api_key_is_sent_in_a_header_and_not_in_the_url(make, server):
    events = await answer_of(make(api_key=API_KEY, model="gemini-x"), system_prompt="  \n")
    (request,) = server.requests
    assert request.path == "/v1/models/gemini-x:streamGenerateContent"
    assert request.headers["x-goog-api-key"] == API_KEY
    assert "systemInstruction" not in request.body
    assert text_of(events) == fake.DEFAULT_ANSWER


async def test_project_takes_precedence_over_a_key(make, server, monkeypatch):
    monkeypatch.setenv("GOOGLE_API_KEY", "another")
    await answer_of(make(location="europe-west4"))
    assert "/projects/demo/locations/europe-west4/" in server.requests[0].path
    assert "x-goog-api-key" not in server.requests[0].headers


# --- The answer ---


async def test_text_is_streamed_before_the_answer_ends(make, server):
    server.will_answer(chunk("first "), STALL)
    async with aclosing(ask(make())) as events:
        assert await anext(events) == TextDelta("first ")


async def test_usage_is_yielded_once_without_thinking_tokens(make, server):
    server.will_answer(
        chunk("a", prompt_tokens=9, answer_tokens=1),
        chunk("b", prompt_tokens=9, answer_tokens=3, thinking_tokens=40),
        chunk("c", finish="STOP"),  # Vertex AI also sends usage without any number
    )
    events = await answer_of(make())
    assert events[-2:] == [Usage(prompt_tokens=9, completion_tokens=3), Finish(FinishReason.STOP)]
    assert sum(isinstance(event, Usage) for event in events) == 1


async def test_usage_after_the_finish_reason_still_counts(make, server):
    server.will_answer(chunk("a", finish="STOP"), chunk(prompt_tokens=5, answer_tokens=1))
    assert await answer_of(make()) == [
        TextDelta("a"),
        Usage(prompt_tokens=5, completion_tokens=1),
        Finish(FinishReason.STOP),
    ]


@pytest.mark.parametrize("after", [STALL, RESET])
async def test_failure_after_the_finish_reason_is_ignored(make, server, monkeypatch, after):
    monkeypatch.setattr(gemini_module, "_AFTER_FINISH_SECONDS", 0.1)
    server.will_answer(chunk("whole"), chunk(finish="STOP"), 0.02, after)
    assert await answer_of(make()) == [TextDelta("whole"), Finish(FinishReason.STOP)]


async def test_finish_reason_in_every_chunk_does_not_end_the_answer(make, server, monkeypatch):
    monkeypatch.setattr(gemini_module, "_AFTER_FINISH_SECONDS", 0.01)
    server.will_answer(*(step for word in ("The ", "whole ", "answer.") for step in (chunk(word, finish="STOP"), 0.1)))
    events = await answer_of(make())
    assert (text_of(events), events[-1]) == ("The whole answer.", Finish(FinishReason.STOP))


async def test_answer_with_a_finish_reason_in_every_chunk_that_breaks_off_says_so(make, server):
    server.will_answer(chunk("The ", finish="STOP"), 0.02, RESET)
    with pytest.raises(ModelUnavailable):
        await answer_of(make())


def part_of(**part):
    """Return a chunk with a part that is no text."""
    return {"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]}


async def test_picture_of_gemini_is_yielded(make, server):
    picture = part_of(inlineData={"mimeType": "image/png", "data": "iVBORw0KGgo="})
    sound = part_of(inlineData={"mimeType": "audio/wav", "data": "AAAA"})
    server.will_answer(chunk("Here:"), picture, sound, chunk(finish="STOP"))
    pictures = [event.data for event in await answer_of(make()) if isinstance(event, PictureDelta)]
    assert pictures == ["iVBORw0KGgo=", ""]
    server.will_answer(picture, chunk(finish="STOP"))  # without any text
    assert PictureDelta("iVBORw0KGgo=") in await answer_of(make())


async def test_thoughts_are_thinking_and_not_text(make, server):
    server.will_answer(
        chunk(), chunk(thought="Hm, the person wants"), chunk("Yes", thought="sure"), chunk(finish="STOP")
    )
    events = await answer_of(make())
    assert text_of(events) == "Yes"
    assert [event.text for event in events if isinstance(event, ThinkingDelta)] == ["Hm, the person wants", "sure"]


async def test_invalid_characters_of_the_text_are_replaced(make, server):
    server.will_answer(chunk("a\0b \ud800 \u2028 שלום 🌍", finish="STOP"))
    assert text_of(await answer_of(make())) == "a\ufffdb \ufffd \u2028 שלום 🌍"


@pytest.mark.parametrize("reason", ["MAX_TOKENS", "CONTINUATION"])
async def test_answer_at_max_tokens_has_finish_reason_length(make, server, reason):
    last = chunk("cut", finish=reason)
    last["candidates"][0]["continuationToken"] = "bW9yZQ=="  # by default the SDK would request the rest
    server.will_answer(last)
    assert await answer_of(make()) == [TextDelta("cut"), Finish(FinishReason.LENGTH)]
    assert len(server.requests) == 1


STOPPED = {
    "SAFETY": "Gemini stopped: Google's safety filter classified the answer as unsafe. Rephrase the question.",
    "RECITATION": "Gemini stopped: the answer was too similar to a published text. Rephrase the question.",
    "BLOCKLIST": "Gemini stopped: the answer contained a word from a list of forbidden words. Rephrase the question.",
    "PROHIBITED_CONTENT": "Gemini stopped: Google prohibits content like this answer. Ask about something else.",
    "SPII": "Gemini stopped: the answer may contain sensitive personal data. Ask without it.",
    "LANGUAGE": "Gemini stopped: it does not support this language. Ask in another language.",
    "MODEL_ARMOR": "Gemini stopped: Model Armor, the content filter of this project, blocked the answer. Rephrase "
    "the question, or contact the operator of this chat.",
    "MALFORMED_RESPONSE": "Gemini returned an answer that is not plain text and cannot be shown. "
    "Send the question again.",
    "MALFORMED_FUNCTION_CALL": "Gemini returned an answer that is not plain text and cannot be shown. "
    "Send the question again.",
    "IMAGE_SAFETY": "Gemini tried to answer with an image and stopped. Ask for an answer in words.",
    "ESCALATION": "Gemini stopped: one of Google's rules filtered out the question. Rephrase it.",
    "PUP_LIMITED_DISABLED": "Google has limited or closed this account for violating its use policy. "
    "Contact the operator of this chat.",
    "OTHER": "Gemini stopped without a reason. Send the question again, or rephrase it.",
}


@pytest.mark.parametrize(("reason", "sentence"), STOPPED.items())
async def test_blocked_answer_keeps_its_text_and_usage(make, server, reason, sentence):
    server.will_answer(chunk("So far"), chunk(finish=reason, prompt_tokens=3, answer_tokens=2))
    events, error = await ended(make())
    assert isinstance(error, Blocked)
    assert str(error) == sentence
    assert error.detail == f"finish_reason {reason}"
    assert events == [TextDelta("So far"), Usage(prompt_tokens=3, completion_tokens=2)]


def test_every_finish_reason_of_the_sdk_has_a_sentence():
    from google.genai.types import BlockedReason
    from google.genai.types import FinishReason as Known

    named = {*gemini_response._ANSWER_STOPPED, *gemini_response._ENDS, "FINISH_REASON_UNSPECIFIED"}
    assert {reason.value for reason in Known} - named == set()
    assert {reason.value for reason in BlockedReason} - {*gemini_response._PROMPT_BLOCKED} == {
        "BLOCKED_REASON_UNSPECIFIED"
    }


# The SDK warns of every value that is newer than itself (google-genai 3.4, _common.py, CaseInSensitiveEnum).
@pytest.mark.filterwarnings("ignore:.* is not a valid (FinishReason|BlockedReason):UserWarning")
async def test_unknown_finish_reasons_are_named(make, server):
    server.will_answer(chunk(finish="COSMIC_RAYS"))
    server.will_answer(blocked_prompt("FULL_MOON"))
    model = make()
    error, _ = await failure_of(model)
    assert isinstance(error, Blocked)
    assert str(error) == "Gemini ended the answer early (reason: COSMIC_RAYS). Rephrase the question."
    error, _ = await failure_of(model)
    assert str(error) == "Google rejected the question (reason: FULL_MOON). Rephrase it."


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [
        ("SAFETY", "Google's safety filter classified the question as unsafe. Rephrase it."),
        ("BLOCKLIST", "The question contains a word from a list of forbidden words. Rephrase it."),
        ("PROHIBITED_CONTENT", "Google prohibits content like this question. Ask about something else."),
        (
            "MODEL_ARMOR",
            "Model Armor, the content filter of this project, blocked the question. Rephrase it, or "
            "contact the operator of this chat.",
        ),
        ("JAILBREAK", "Google classified the question as an attempt to bypass its rules. Rephrase it."),
        ("IMAGE_SAFETY", "Google classified the question as unsafe for generating images. Rephrase it."),
        ("OTHER", "Google rejected the question without a reason. Rephrase it, or ask in another language."),
    ],
)
async def test_blocked_prompt_has_a_reason(make, server, reason, sentence):
    server.will_answer(blocked_prompt(reason))
    error, text = await failure_of(make())
    assert isinstance(error, Blocked)
    assert (str(error), text) == (sentence, "")


@pytest.mark.parametrize(
    ("steps", "sentence"),
    [
        ([chunk(finish="STOP")], "Gemini returned an empty answer. Send the question again, or rephrase it."),
        ([chunk(" \n", finish="STOP")], "Gemini returned an empty answer. Send the question again, or rephrase it."),
        (
            [chunk(finish="MAX_TOKENS")],
            "Max tokens (now 16) was used up before any text was written. "
            "Raise Max tokens, up to 65,536, and send again.",
        ),
        ([chunk("Hel")], "The answer of Gemini was cut off. Send the question again."),
        ([HEADERS], "The answer of Gemini was cut off. Send the question again."),
        ([b"data: {nonsense\n\n"], "Gemini sent a response that cannot be read. Send the question again."),
        ([b"data: [1]\n\n"], "The answer of Gemini was cut off. Send the question again."),
        ([b"data: \xff\n\n"], "Gemini sent a response that cannot be read. Send the question again."),
        (
            [b'data: {"error":{"message":"no code"}}\n\n'],
            "Gemini sent a response that cannot be read. Send the question again.",
        ),
        ([chunk("Hel"), 0.02, RESET], "The connection to Gemini was lost. Send the question again."),
        ([chunk("Hel"), fake.INTERNAL.body()], "Gemini failed because of an error at Google. Try again in a minute."),
    ],
)
async def test_answer_without_text_is_an_error(make, server, steps, sentence):
    server.will_answer(*steps)
    error, text = await failure_of(make(), max_tokens=16)
    assert str(error) == sentence
    assert text.strip() == ("Hel" if chunk("Hel") in steps else "")
    assert len(server.streams()) == 1


async def test_log_has_the_cause_and_no_text_of_the_conversation(make, server):
    server.will_refuse(
        Refusal(400, "INVALID", f'Bad value "{QUESTION} "or" that", keys {API_KEY} and {ANOTHER_KEY}, in contents')
    )
    server.will_answer(b'data: {"candidates":[{"content":{"parts":[{"text":["the answer"]}]}}]}\n\n')
    model = make(api_key=API_KEY)
    error, _ = await failure_of(model)
    assert error.detail == 'HTTP 400 INVALID : Bad value "...", keys (key) and (key), in contents'
    assert error.__suppress_context__  # the SDK's error, which quotes it, is not in the traceback
    error, _ = await failure_of(model)
    assert error.detail == "ValidationError"


# --- Thinking ---


async def test_thinking_budget_is_added_to_max_tokens(make, server):
    await answer_of(make(thinking_tokens=512), max_tokens=100)
    config = server.requests[0].body["generationConfig"]
    assert config["maxOutputTokens"] == 612
    assert config["thinkingConfig"] == {"thinking_budget": 512, "include_thoughts": True}


@pytest.mark.parametrize(
    "words",
    [
        fake.THINKING_REFUSED.message,
        "Unable to submit request because Thinking can't be disabled for this model. "
        "Remove 'thinking_config.thinking_budget' from your request and try again.",
        "Unable to submit request because The model does not support setting thinking_budget to 0",
    ],
)
async def test_refused_thinking_budget_becomes_headroom_from_then_on(make, server, words):
    server.will_refuse(Refusal(400, "INVALID_ARGUMENT", words))
    model = make()
    assert text_of(await answer_of(model, max_tokens=100)) == fake.DEFAULT_ANSWER
    await answer_of(model, max_tokens=100)
    budgets = [request.body["generationConfig"].get("thinkingConfig") for request in server.streams()]
    limits = [request.body["generationConfig"]["maxOutputTokens"] for request in server.streams()]
    assert budgets == [{"thinking_budget": 0}, None, None]
    assert limits == [100, 100 + THINKING_HEADROOM, 100 + THINKING_HEADROOM]


async def test_repeated_refusal_of_thinking_is_an_error(make, server):
    server.will_refuse(fake.THINKING_REFUSED, times=9)
    error, _ = await failure_of(make())
    assert str(error) == (
        "Google rejected the request as invalid. Check CHAT_GEMINI_MODEL and the answer settings; the log has details."
    )
    assert len(server.streams()) == 2


@pytest.mark.parametrize("counted", [True, False])
async def test_max_tokens_is_enforced_where_the_server_has_headroom(make, server, counted):
    server.will_refuse(fake.THINKING_REFUSED)
    words = [chunk("word " * 5, prompt_tokens=4, answer_tokens=5 * n if counted else None) for n in range(1, 20)]
    server.will_answer(*words, STALL)
    events = await answer_of(make(), max_tokens=20)
    assert len(text_of(events).split()) == 20
    assert events[-1] == Finish(FinishReason.LENGTH)
    assert events[-2] == Usage(prompt_tokens=4, completion_tokens=20 if counted else None)
    assert await server.disconnected()


async def test_max_tokens_of_the_server_is_not_cut_again(make, server):
    server.will_answer(chunk("one ", answer_tokens=2), chunk("two", finish="STOP", answer_tokens=3))
    assert await answer_of(make(), max_tokens=2) == [
        TextDelta("one "),
        TextDelta("two"),
        Usage(completion_tokens=3),
        Finish(FinishReason.STOP),
    ]


async def test_answer_of_thoughts_alone_is_retried_with_headroom(make, server):
    server.will_answer(chunk(finish="MAX_TOKENS", prompt_tokens=5, thinking_tokens=16))
    model = make()
    events = await answer_of(model, max_tokens=16)
    assert text_of(events) == fake.DEFAULT_ANSWER
    assert sum(isinstance(event, Usage) for event in events) == 1
    assert server.requests[1].body["generationConfig"]["maxOutputTokens"] == 16 + THINKING_HEADROOM
    server.will_answer(chunk(finish="MAX_TOKENS", prompt_tokens=5, thinking_tokens=4112))
    error, _ = await failure_of(model, max_tokens=16)
    assert type(error) is ModelError
    assert str(error) == (
        "Gemini used all its tokens for thinking (4,112); none were left for the answer. "
        "Raise Max tokens, up to 61,440, and send again."
    )
    assert len(server.requests) == 3


# --- Timeouts ---


async def test_first_token_timeout_ends_the_answer(make, server):
    server.will_answer(STALL)
    error, _ = await failure_of(make(limits=TimeLimits(first_token=0.3)))
    assert isinstance(error, ModelUnavailable)
    assert str(error) == ("Gemini did not start to answer within 0.3 seconds. Send the question again, or shorten it.")


async def test_thoughts_and_empty_chunks_do_not_reset_the_first_token_timeout(make, server):
    server.will_answer(*[step for _ in range(40) for step in (chunk(thought="Hm"), 0.02)], chunk("late", finish="STOP"))
    error, _ = await failure_of(make(limits=TimeLimits(first_token=0.3, between_tokens=0.1)))
    assert str(error).startswith("Gemini did not start to answer within 0.3 seconds.")
    assert await server.disconnected()


async def test_timeout_between_tokens_keeps_the_text(make, server):
    server.will_answer(chunk("So far"), STALL)
    error, text = await failure_of(make(limits=TimeLimits(between_tokens=0.1)))
    assert str(error) == (
        "Gemini stopped in the middle of the answer: no text arrived for 0.1 seconds. Send the question again."
    )
    assert text == "So far"
    assert await server.disconnected()


@pytest.mark.slow
async def test_slow_steady_answer_does_not_time_out(make, server):
    LoopClock()
    server.seconds_between_words = 0.1  # eight words: together longer than the timeout
    events = await answer_of(make(limits=TimeLimits(between_tokens=0.6)))
    assert text_of(events) == fake.DEFAULT_ANSWER


@pytest.mark.slow
async def test_slow_reader_does_not_cause_a_timeout(make, server):
    server.will_answer(chunk("a"), 0.02, chunk("b"), 0.02, chunk("c", finish="STOP"))
    text, clock = "", LoopClock()
    async for event in ask(make(limits=TimeLimits(between_tokens=60))):
        if isinstance(event, TextDelta):
            text += event.text
            await clock.pass_by(61)
    assert text == "abc"


async def test_connect_timeout_ends_the_request(make):
    with socket.socket() as full, ExitStack() as clients:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # never accepts: Linux completes the first handshake and queues the others
        for _ in range(2):
            client = clients.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        model = make(base_url=f"http://127.0.0.1:{full.getsockname()[1]}", limits=TimeLimits(connect=0.2))
        error, _ = await failure_of(model)
    assert str(error) == (
        "Gemini is unreachable: no connection within 0.2 seconds. "
        "Check this computer's network, and its proxy if it has one."
    )


# --- Stopping ---


async def test_closing_the_generator_closes_the_request(make, server):
    server.will_answer(chunk("one "), STALL)
    model = make()
    async with aclosing(ask(model)) as events:
        assert await anext(events) == TextDelta("one ")
        assert (await model.status()).state is ModelState.READY  # another request of the same task is not affected
        assert server.disconnects == 0
    assert await server.disconnected()


@pytest.mark.parametrize("steps", [(STALL,), (HEADERS, STALL), (chunk("one "), STALL)])
async def test_cancelling_the_reader_closes_the_request(make, server, steps):
    server.will_answer(*steps)
    reader = asyncio.create_task(answer_of(make()))
    async with asyncio.timeout(30):
        while not server.requests:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    assert await server.disconnected()


async def test_connection_is_reused_after_a_complete_answer(make, server, monkeypatch):
    connects = 0
    connect = genai_compat._Connector._create_connection

    async def counting(*args, **kwargs):
        nonlocal connects
        connects += 1
        return await connect(*args, **kwargs)

    monkeypatch.setattr(genai_compat._Connector, "_create_connection", counting)
    model = make()
    await answer_of(model)
    await answer_of(model)
    assert (connects, server.disconnects) == (1, 0)


# --- Retries ---


@pytest.mark.parametrize("refusal", [fake.OVERLOADED, fake.INTERNAL, fake.DEADLINE_EXCEEDED, Refusal(502, "", "")])
async def test_server_error_is_retried(make, server, refusal):
    server.will_refuse(refusal, times=2)
    assert text_of(await answer_of(make())) == fake.DEFAULT_ANSWER
    assert len(server.streams()) == 3


async def test_lost_connection_before_the_answer_is_retried(make, server):
    server.will_answer(RESET)
    server.will_answer(HEADERS, 0.02, RESET)
    assert text_of(await answer_of(make())) == fake.DEFAULT_ANSWER
    assert len(server.streams()) == 3


@pytest.mark.parametrize("end", [RESET, fake.OVERLOADED.body(), fake.THINKING_REFUSED.body()])
async def test_no_retry_after_the_first_chunk(make, server, end):
    server.will_answer(chunk("Hel"), 0.02, end)
    _, text = await failure_of(make())
    assert text == "Hel"
    assert len(server.streams()) == 1


async def test_first_token_timeout_includes_retries(make, server, monkeypatch):
    monkeypatch.setattr(gemini_module, "RETRY_SECONDS", (60.0, 60.0))
    server.will_refuse(fake.OVERLOADED, times=3)
    model = make(limits=TimeLimits(first_token=0.3))
    await model.start()
    started = time.monotonic()
    error, _ = await failure_of(model)
    assert str(error).startswith("Gemini did not start to answer within 0.3 seconds.")
    assert time.monotonic() - started < 30


async def test_missing_network_is_reported_quickly(make):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}"
    model = make(base_url=url)
    await model.start()
    clock = LoopClock()
    started = clock()
    error, _ = await failure_of(model)
    assert isinstance(error, ModelUnavailable)
    assert str(error) == "Gemini is unreachable. Check this computer's network, and its proxy if it has one."
    assert clock() - started < 0.9  # the SDK's own retry would sleep for 1 to 10 s


# --- Errors of the API ---

CLOSED = (
    "Set CHAT_GEMINI_MODEL to an available model, such as gemini-3.5-flash-lite; "
    "gemini-2.5-flash is closed to new projects."
)
VERTEX = [
    (
        fake.MODEL_NOT_FOUND,
        ModelUnavailable,
        f"The model gemini-2.5-flash does not exist in location global or is closed to project demo. {CLOSED}",
    ),
    (
        fake.PERMISSION_DENIED,
        ModelUnavailable,
        "The chat's Google account has no permission to use Gemini in project demo. "
        "Grant it roles/aiplatform.user on the project.",
    ),
    (
        fake.SERVICE_DISABLED,
        ModelUnavailable,
        "The API aiplatform.googleapis.com is not enabled. Run `gcloud services enable aiplatform.googleapis.com "
        "--project=demo` and wait a few minutes.",
    ),
    (
        fake.BILLING_DISABLED,
        ModelUnavailable,
        "Billing is disabled for project demo. Link the project to a billing account in the Google Cloud console.",
    ),
    (
        Refusal(400, "FAILED_PRECONDITION", "Precondition check failed."),
        ModelUnavailable,
        "Billing is disabled for project demo. Link the project to a billing account in the Google Cloud console.",
    ),
    (
        Refusal(403, "PERMISSION_DENIED", "Project demo not found or deleted.", (fake.error_info("CONSUMER_INVALID"),)),
        ModelUnavailable,
        "There is no active Google Cloud project demo. Set GOOGLE_CLOUD_PROJECT to the id of your own project.",
    ),
    (
        Refusal(400, "INVALID_ARGUMENT", "Unsupported region for this model."),
        ModelUnavailable,
        "Vertex AI does not offer gemini-2.5-flash in location global. "
        "Set GOOGLE_CLOUD_LOCATION to a location that has it.",
    ),
    (
        Refusal(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."),
        RateLimited,
        "Gemini accepts no more requests: the quota of project demo is used up. "
        "Try again in a minute; if it happens often, ask Google for a higher quota.",
    ),
    (fake.UNAUTHENTICATED, ModelUnavailable, f"Google does not accept the credentials of this computer. {LOGIN}"),
    (
        fake.CONTEXT_TOO_LONG,
        ContextTooLong,
        "The conversation is too long for gemini-2.5-flash (1,200,293 tokens; at most 1,048,576 fit). "
        "Start a new chat, or send less.",
    ),
    (
        Refusal(413, "", "<html>Request Entity Too Large</html>"),
        ContextTooLong,
        "The conversation is too long for gemini-2.5-flash. Start a new chat, or send less.",
    ),
    (
        Refusal(400, "INVALID_ARGUMENT", "Invalid JSON payload received."),
        ModelUnavailable,
        "Google rejected the request as invalid. Check CHAT_GEMINI_MODEL and the answer settings; the log has details.",
    ),
]
GEMINI_API = [
    (fake.API_KEY_INVALID, ModelUnavailable, f"Google does not accept the API key. {NEW_KEY}"),
    (fake.API_KEY_EXPIRED, ModelUnavailable, f"The API key has expired. {NEW_KEY}"),
    (fake.API_KEY_LEAKED, ModelUnavailable, f"Google has blocked the API key because it was published. {NEW_KEY}"),
    (fake.UNAUTHENTICATED, ModelUnavailable, f"Google does not accept the API key. {NEW_KEY}"),
    (
        fake.API_KEY_BLOCKED,
        ModelUnavailable,
        "The API key is restricted and does not allow this use. Allow generativelanguage.googleapis.com and this "
        "computer's address in the key's restrictions, or set another GEMINI_API_KEY.",
    ),
    (
        Refusal(403, "PERMISSION_DENIED", "The caller does not have permission"),
        ModelUnavailable,
        "This API key has no permission to use gemini-2.5-flash. Set another GEMINI_API_KEY or CHAT_GEMINI_MODEL.",
    ),
    (
        fake.USER_LOCATION,
        ModelUnavailable,
        "Google does not offer the Gemini API in this computer's location. "
        "Use Gemini on Vertex AI instead: set GOOGLE_CLOUD_PROJECT.",
    ),
    (
        Refusal(
            403,
            "PERMISSION_DENIED",
            "Gemini API has not been used in project 123 before or it is disabled.",
            (
                fake.error_info(
                    "SERVICE_DISABLED", service="generativelanguage.googleapis.com", consumer="projects/123"
                ),
            ),
        ),
        ModelUnavailable,
        "The API generativelanguage.googleapis.com is not enabled. Run `gcloud services enable "
        "generativelanguage.googleapis.com --project=123` and wait a few minutes.",
    ),
    (
        fake.QUOTA_EXHAUSTED,
        RateLimited,
        "Gemini accepts no more requests: the quota of this API key is used up. "
        "Try again in 35 seconds; if it happens often, ask Google for a higher quota.",
    ),
    (
        fake.MODEL_NOT_FOUND,
        ModelUnavailable,
        f"The model gemini-2.5-flash does not exist or is closed to this API key. {CLOSED}",
    ),
]


@pytest.mark.parametrize(("refusal", "kind", "sentence"), VERTEX)
async def test_vertex_ai_refusals_name_the_fix_and_are_not_retried(make, server, refusal, kind, sentence):
    server.will_refuse(refusal)
    error, _ = await failure_of(make(model="gemini-2.5-flash"))
    assert type(error) is kind
    assert str(error) == sentence
    assert error.detail.startswith(f"HTTP {refusal.code}")
    assert len(server.streams()) == 1


@pytest.mark.parametrize(
    ("is_bound", "location", "fix"),
    [
        (False, "europe-west4", "Set GOOGLE_CLOUD_LOCATION to global, or to a location that has it."),
        (False, "global", "Set GOOGLE_CLOUD_LOCATION to a location that has it."),
        (
            True,
            "europe-west4",
            "Set CHAT_GEMINI_MODEL to a model that europe-west4 has, or GOOGLE_CLOUD_LOCATION to another location "
            "within the data residency.",
        ),
        (
            True,
            "eu",
            "Set CHAT_GEMINI_MODEL to a model that eu has, or GOOGLE_CLOUD_LOCATION to another location within the "
            "data residency.",
        ),
    ],
)
async def test_no_location_outside_of_the_data_residency_is_suggested(server, make, is_bound, location, fix):
    server.refusal = Refusal(400, "INVALID_ARGUMENT", "Unsupported region for this model.")
    error, _ = await failure_of(make(is_bound=is_bound, location=location))
    assert str(error).endswith(fix)
    assert not is_bound or "global" not in str(error)


@pytest.mark.parametrize(("refusal", "kind", "sentence"), GEMINI_API)
async def test_gemini_api_refusals_name_the_fix_and_are_not_retried(make, server, refusal, kind, sentence):
    server.will_refuse(refusal)
    error, _ = await failure_of(make(model="gemini-2.5-flash", api_key=API_KEY))
    assert type(error) is kind
    assert str(error) == sentence
    assert len(server.streams()) == 1


@pytest.mark.parametrize(
    ("refusal", "sentence"),
    [
        (fake.OVERLOADED, "Gemini is overloaded. Try again in a minute."),
        (fake.INTERNAL, "Gemini failed because of an error at Google. Try again in a minute."),
        (fake.DEADLINE_EXCEEDED, "Gemini timed out at Google. Send the question again, or shorten it."),
    ],
)
async def test_server_errors_are_reported_after_three_attempts(make, server, refusal, sentence):
    server.will_refuse(refusal, times=9)
    error, _ = await failure_of(make())
    assert isinstance(error, ModelUnavailable)
    assert str(error) == sentence
    assert len(server.streams()) == 3


@pytest.mark.parametrize(
    ("words", "counts"),
    [
        (fake.CONTEXT_TOO_LONG.message, (1_200_293, 1_048_576)),
        (
            "Unable to submit request because the input token count is 2000000 but the model only supports up to "
            "1048576. Reduce the input token count and try again.",
            (2_000_000, 1_048_576),
        ),
        ("Request payload size exceeds the limit: 20971520 bytes.", (None, None)),
    ],
)
async def test_prompt_that_is_too_long_has_its_size_where_google_reports_it(make, server, words, counts):
    server.will_refuse(Refusal(400, "INVALID_ARGUMENT", words))
    error, _ = await failure_of(make())
    assert isinstance(error, ContextTooLong)
    assert (error.prompt_tokens, error.context_tokens) == counts


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Bad gateway</html>",
        b'"gone"',
        b'{"error": "gone"}',
        b'{"error":{"details":7}}',
        b'{"error":{"details":[{"metadata":7}]}}',
    ],
)
async def test_response_of_a_proxy_is_an_error(body):
    from aiohttp import web

    async def refuse(_):
        kind = "text/html" if body.startswith(b"<") else "application/json"
        return web.Response(status=403, body=body, content_type=kind)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app)
    await runner.setup()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await web.SockSite(runner, listener).start()
        model = GeminiModel("gemini", "Gemini", api_key="k", base_url=f"http://127.0.0.1:{listener.getsockname()[1]}")
        error, _ = await failure_of(model)
        await model.aclose()
        await runner.cleanup()
    assert str(error).startswith("This API key has no permission to use gemini-3.5-flash-lite.")


# --- Credentials ---


async def test_missing_credentials_name_the_login_command(server):
    model = GeminiModel("gemini", "Gemini", project="demo", base_url=server.url)
    error, _ = await failure_of(model)
    assert str(error) == f"This computer has no Google Cloud credentials. {LOGIN}"
    assert await model.status() == ModelStatus(
        ModelState.UNAVAILABLE, "this computer has no Google Cloud credentials", LOGIN[0].lower() + LOGIN[1:-1]
    )
    await model.aclose()
    assert server.requests == []


async def test_expired_credentials_name_the_login_command(make, server):
    withdrawn = google.oauth2.credentials.Credentials(
        token=None,
        refresh_token="withdrawn",
        token_uri=f"{server.url}/token",
        client_id="id",
        client_secret="not-for-the-log",
    )
    error, _ = await failure_of(make(credentials=withdrawn))
    assert str(error) == f"The Google Cloud credentials have expired or were revoked. {LOGIN}"
    assert "invalid_grant" in error.detail
    assert "not-for-the-log" not in error.detail
    assert server.requests == []


# --- Status ---


async def test_status_counts_tokens_and_is_ready(make, server):
    model = make()
    assert await model.status() == ModelStatus(ModelState.READY)
    assert [request.operation for request in server.requests] == ["countTokens"]
    assert model.context_tokens == DEFAULT_CONTEXT_TOKENS


async def test_context_size_is_read_once_from_the_gemini_api(make, server):
    server.input_token_limit = 32_768
    model = make(api_key=API_KEY)
    assert [await model.status() for _ in range(2)] == [ModelStatus(ModelState.READY)] * 2
    assert model.context_tokens == 32_768
    assert [request.operation for request in server.requests] == ["countTokens", "get", "countTokens"]


@pytest.mark.parametrize(
    ("refusal", "reason", "fix"),
    [
        (
            fake.MODEL_NOT_FOUND,
            "the model gemini-2.5-flash does not exist in location global or is closed to project demo",
            "set CHAT_GEMINI_MODEL to an available model, such as gemini-3.5-flash-lite; "
            "gemini-2.5-flash is closed to new projects",
        ),
        (
            fake.SERVICE_DISABLED,
            "the API aiplatform.googleapis.com is not enabled",
            "run `gcloud services enable aiplatform.googleapis.com --project=demo` and wait a few minutes",
        ),
        (fake.OVERLOADED, "Gemini is overloaded", "try again in a minute"),
    ],
)
async def test_status_of_a_failing_model_has_reason_and_fix(make, server, refusal, reason, fix):
    server.refusal = refusal
    model = make(model="gemini-2.5-flash")
    assert await model.status() == ModelStatus(ModelState.UNAVAILABLE, reason, fix)
    server.refusal = None
    assert await model.status() == ModelStatus(ModelState.READY)


async def test_status_has_a_timeout(make, server, monkeypatch):
    monkeypatch.setattr(gemini_module, "STATUS_SECONDS", 0.3)
    server.seconds_before_status = 3600
    started = time.monotonic()
    assert await make().status() == ModelStatus(
        ModelState.UNAVAILABLE, "Gemini did not answer within 0.3 seconds", "try again in a minute"
    )
    assert time.monotonic() - started < 60


async def test_without_project_and_key_it_is_not_set_up():
    model = GeminiModel("gemini", "Gemini")
    fix = "set GOOGLE_CLOUD_PROJECT for Gemini on Vertex AI, or GEMINI_API_KEY for the Gemini API, and restart the chat"
    assert await model.status() == ModelStatus(ModelState.NOT_SET_UP, "not set up", fix)
    error, _ = await failure_of(model)
    assert isinstance(error, ModelUnavailable)
    assert str(error) == f"Gemini is not set up. To use it, {fix}."
    await model.start()
    await model.aclose()


# --- The client ---


@pytest.mark.slow
def test_a_chat_without_gemini_does_not_import_the_sdk():
    program = """
import asyncio, sys
from chatapp.models.gemini.model import GeminiModel, contents
model = GeminiModel("gemini", "Gemini")
contents([])
asyncio.run(model.status())
asyncio.run(model.start())
sys.exit(any(name.startswith(("google.genai", "google.auth")) for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_sdk_is_imported_in_a_thread(make, monkeypatch):
    making = []
    make_client = GeminiConnection._make_client

    def slow(self, session):
        making.append(threading.current_thread())
        return make_client(self, session)

    monkeypatch.setattr(GeminiConnection, "_make_client", slow)
    model = make()
    await asyncio.gather(answer_of(model), answer_of(model), model.start(), model.status())
    assert len(making) == 1
    assert making[0] is not threading.main_thread()


async def test_concurrent_answers_do_not_mix(make, server):
    for letter in "abcdef":
        server.will_answer(*[step for _ in range(5) for step in (chunk(letter), 0.01)], chunk(letter, finish="STOP"))
    model = make()
    answers = await asyncio.gather(*(answer_of(model) for _ in "abcdef"))
    assert sorted(text_of(answer) for answer in answers) == [letter * 6 for letter in "abcdef"]


async def test_model_serves_two_event_loops(make):
    model = make()

    async def elsewhere():
        try:
            return text_of(await answer_of(model))
        finally:
            await model.aclose()

    assert await asyncio.to_thread(lambda: asyncio.run(elsewhere())) == fake.DEFAULT_ANSWER
    assert text_of(await answer_of(model)) == fake.DEFAULT_ANSWER


async def test_closed_model_ends_running_answers_and_can_be_used_again(make, server):
    server.will_answer(chunk("one "), STALL)
    model = make()
    events = ask(model)
    assert await anext(events) == TextDelta("one ")
    await model.aclose()
    with pytest.raises(ModelUnavailable, match="The connection to Gemini was lost"):
        await anext(events)
    assert await server.disconnected()
    assert text_of(await answer_of(model)) == fake.DEFAULT_ANSWER
    await model.aclose()
    await model.aclose()
