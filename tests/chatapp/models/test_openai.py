"""`OpenAICompatibleModel` against a fake vLLM and a fake llama.cpp on loopback: real HTTP, scripted failures."""

from __future__ import annotations

import asyncio
import datetime
import email.utils
import json
import socket
from contextlib import aclosing

import pytest

from chatapp.domain.conversation import FinishReason, GenerationParameters, Usage
from chatapp.domain.errors import Blocked, ContextTooLong, ModelError, ModelLoading, ModelUnavailable, RateLimited
from chatapp.models import Finish, ModelState, TextDelta, TimeLimits
from chatapp.models.openai import model as openai_compatible
from chatapp.models.openai import readiness
from chatapp.models.openai import sse as sse_events
from chatapp.models.openai.model import OpenAICompatibleModel
from tests.chatapp.models.answers import question, text_of
from tests.clocks import LoopClock
from tests.fakes.gate import Gate
from tests.fakes.openai_server import FakeOpenAIServer, Reply
from tests.waiting import until

QUESTION = "What is the secret of my life?"
KEY = "sk-a-key-that-nothing-may-show"
FLAVORS = pytest.mark.parametrize("flavor", ["vllm", "llama.cpp"])
SHORT = TimeLimits(connect=10, first_token=0.15, between_tokens=0.1)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(openai_compatible, "RETRY_SECONDS", 0.01)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there: a request through it fails


async def ask(model, text=QUESTION, **parameters):
    """Return every event of one answer."""
    async with aclosing(model.stream(question(text), GenerationParameters(**parameters))) as events:
        return [event async for event in events]


async def failure_of(model, error=ModelError, text=QUESTION, **parameters):
    """Return the text and the error that ended it, which must not contain the question or the key."""
    shown = ""

    async def read():
        nonlocal shown
        async with aclosing(model.stream(question(text), GenerationParameters(**parameters))) as events:
            async for event in events:
                shown += event.text

    with pytest.raises(error) as caught:
        await read()
    shown_and_logged = f"{caught.value} {caught.value.detail}"
    assert text not in shown_and_logged
    assert KEY not in shown_and_logged
    return shown, caught.value


def sse(*events):
    return [f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n".encode() for event in events]


def delta(content, finish_reason=None, **more):
    return {"choices": [{"index": 0, "delta": {"content": content, **more}, "finish_reason": finish_reason}]}


# --- an answer ---------------------------------------------------------------------------------------------------


@FLAVORS
async def test_complete_answer_has_finish_reason_and_usage(connect, flavor):
    async with FakeOpenAIServer(flavor=flavor, answer=["Hel", "lo", "!"]) as server:
        events = await ask(connect(server), temperature=0.5, top_p=0.8, max_tokens=7, system_prompt="Be kind.")
    assert text_of(events) == "Hello!"
    assert events[-2:] == [Finish(FinishReason.STOP), Usage(prompt_tokens=9, completion_tokens=3)]
    assert server.requests == [
        {
            "model": "gemma",
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": QUESTION}],
            "temperature": 0.5,
            "top_p": 0.8,
            "max_tokens": 7,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ]


@pytest.mark.slow
async def test_first_text_comes_at_once_and_later_text_in_batches(connect):
    words = [f"{number} " for number in range(60)]
    async with FakeOpenAIServer(answer=words, tokens_per_second=100) as server:
        events = await ask(connect(server))
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    assert "".join(texts) == "".join(words)
    assert 2 < len(texts) < len(words) / 2
    assert len(texts[0]) < len(max(texts, key=len))


async def test_answer_at_max_tokens_has_finish_reason_length(connect):
    async with FakeOpenAIServer(answer=["one ", "two ", "three"]) as server:
        events = await ask(connect(server), max_tokens=2)
    assert text_of(events) == "one two "
    assert Finish(FinishReason.LENGTH) in events


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/"])
async def test_address_is_accepted_with_and_without_v1(connect, suffix):
    async with FakeOpenAIServer() as server:
        assert text_of(await ask(connect(server.url + suffix))) == "Hello from the fake."


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host", "http://", "http://user:secret@host", "http://h/#a", ""]
)
def test_invalid_address_is_refused_with_its_setting(url):
    with pytest.raises(ValueError, match="Check CHAT_GEMMA_URL") as caught:
        OpenAICompatibleModel("gemma", "Gemma", url)
    assert "secret" not in str(caught.value)


async def test_key_is_sent_as_a_bearer_token(connect):
    async with FakeOpenAIServer(api_key=KEY) as server:
        assert await ask(connect(server, api_key=f"{KEY}\n"))  # like a mounted secret
        assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    async with FakeOpenAIServer() as server:
        assert await ask(connect(server))
        assert not any("Authorization" in headers for headers in server.headers)


@pytest.mark.parametrize("key", ["two\nlines", "мой ключ"])
def test_invalid_key_is_refused_without_being_shown(key):
    with pytest.raises(ValueError, match="CHAT_GEMMA_API_KEY") as caught:
        OpenAICompatibleModel("gemma", "Gemma", "http://localhost", api_key=key)
    assert key not in str(caught.value)


async def test_max_tokens_never_exceeds_the_context(connect):
    async with FakeOpenAIServer(context_tokens=100) as server:
        model = connect(server)
        assert model.context_tokens is None
        assert await ask(model, max_tokens=4096)
    assert server.requests[0]["max_tokens"] == model.context_tokens == 100


@FLAVORS
async def test_context_size_comes_from_the_list_of_models_unless_set(connect, flavor):
    async with FakeOpenAIServer(flavor=flavor, context_tokens=1234) as server:
        listed, given = connect(server), connect(server, context_tokens=500)
        await listed.status()
        await given.status()
    assert (listed.context_tokens, given.context_tokens) == (1234, 500)


# --- variants of the stream -----------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
async def test_stream_may_be_cut_anywhere_even_inside_a_character(connect, size):
    text = "שלום 👋🏽 été\r\n"
    events = [delta(None), delta(text, ensure="x"), delta("", "stop")]
    raw = b"".join(f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events)
    async with FakeOpenAIServer(script=[Reply(raw=[raw[i : i + size] for i in range(0, len(raw), size)])]) as server:
        assert text_of(await ask(connect(server))) == text


@pytest.mark.parametrize(
    "raw",
    [
        b'data:{"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\r\n\r\ndata:[DONE]\r\n\r\n',
        b': ping\n\nevent: message\nid: 1\ndata: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
        b'data: {"choices":[\ndata: {"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\n',
        b'\xef\xbb\xbfdata: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\r\r',
        b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}',
        b'data: {"choices":[{"delta":{"content":"Hi"}}]}\n\ndata: [DONE]\n\n',
    ],
    ids=["CRLF, no space", "comment and fields", "two data lines", "BOM, CR", "no last line end", "only DONE"],
)
async def test_every_format_of_events_is_parsed(connect, raw):
    async with FakeOpenAIServer(script=[Reply(raw=[raw])]) as server:
        assert text_of(await ask(connect(server))) == "Hi"


async def test_surrogate_pair_in_two_deltas_becomes_one_character(connect):
    pieces = ["a\ud83d", "\ude00b", "c\ud83d", "d", "\0", "e\ud83d"]
    async with FakeOpenAIServer(script=[Reply(pieces=pieces)]) as server:
        events = await ask(connect(server))
    assert text_of(events) == "a😀bc\ufffdd\ufffde\ufffd"
    assert all(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
async def test_reasoning_is_not_shown_and_resets_the_timeout(connect, name):
    raw = [*sse(*[delta(None, **{name: "hm"})] * 6), *sse(delta("Yes", "stop"))]  # 0.84 s in all
    LoopClock()
    async with FakeOpenAIServer(script=[Reply(raw=raw, seconds_between=0.12)]) as server:
        limits = TimeLimits(first_token=10, between_tokens=0.7)
        assert text_of(await ask(connect(server, limits=limits))) == "Yes"


async def test_usage_in_every_chunk_is_yielded_once(connect):
    counted = [
        {**delta(piece), "usage": {"prompt_tokens": 3, "completion_tokens": n}} for n, piece in enumerate("ab", 1)
    ]
    async with FakeOpenAIServer(script=[Reply(raw=sse(*counted, delta("", "stop"), "[DONE]"))]) as server:
        events = await ask(connect(server))
    assert [event for event in events if isinstance(event, Usage)] == [Usage(prompt_tokens=3, completion_tokens=2)]


async def test_lost_connection_after_the_finish_reason_is_ignored(connect):
    async with FakeOpenAIServer(script=[Reply(raw=sse(delta("Hi"), delta("", "stop")), ending="reset")]) as server:
        assert await ask(connect(server)) == [TextDelta("Hi"), Finish(FinishReason.STOP)]


async def test_complete_answer_does_not_wait_for_the_end_of_the_stream(connect, monkeypatch):
    monkeypatch.setattr(openai_compatible, "_AFTER_FINISH_SECONDS", 0.05)
    for raw in (sse(delta("Hi"), delta("", "stop")), sse(delta("Hi", "stop"), "[DONE]")):
        async with FakeOpenAIServer(script=[Reply(raw=raw, ending="stall")]) as server, asyncio.timeout(10):
            assert text_of(await ask(connect(server))) == "Hi"


# --- what differs between llama.cpp and vLLM ---------------------------------------------------------------------


@FLAVORS
async def test_prompt_over_the_context_is_an_error_with_the_known_numbers(connect, flavor):
    async with FakeOpenAIServer(flavor=flavor, context_tokens=10) as server:
        _, error = await failure_of(connect(server), ContextTooLong, "word " * 11)
    assert error.context_tokens == 10
    assert error.prompt_tokens == (11 if flavor == "llama.cpp" else None)
    assert "at most 10" in str(error)


async def test_prompt_that_fills_the_context_of_vllm_is_too_long(connect):
    async with FakeOpenAIServer(context_tokens=10) as server:
        _, error = await failure_of(connect(server), ContextTooLong, "word " * 10, max_tokens=1)
    assert "max_tokens" in error.detail


async def test_context_error_is_recognized_by_its_message(connect):
    words = {"error": "Trying to keep the first 5000 tokens when context length is only 4096 tokens"}  # LM Studio
    async with FakeOpenAIServer(script=[Reply(status=400, body=words)]) as server:
        await failure_of(connect(server), ContextTooLong)


@pytest.mark.parametrize("parameter", ["temperature", "top_p"])
async def test_parameter_that_is_refused_whatever_is_sent_is_named_without_its_value(connect, parameter):
    echo = {"message": f"got {QUESTION}", "type": QUESTION, "param": f"body.{parameter}", "code": 400}
    async with FakeOpenAIServer(script=[Reply(status=400, body={"error": echo})] * 9) as server:
        _, error = await failure_of(connect(server), ModelUnavailable)
        assert f"does not accept {parameter}" in str(error)
        assert server.requests[-1].keys() == {"model", "messages", "stream"}


async def test_unknown_model_is_named_with_its_setting(connect):
    async with FakeOpenAIServer(flavor="vllm") as server:
        _, error = await failure_of(connect(server, model="nope", model_setting="MY_MODEL"), ModelUnavailable)
        assert "'nope'" in str(error)
        assert "MY_MODEL" in str(error)
        assert len(server.requests) == 1
        status = await connect(server, model="nope").status()
        assert status.state is ModelState.UNAVAILABLE
        assert "'nope'" in status.reason
    async with FakeOpenAIServer(flavor="llama.cpp") as server:
        assert await ask(connect(server, model="nope"))
        assert (await connect(server, model="nope").status()).state is ModelState.READY


async def test_loading_server_is_loading_and_not_retried(connect):
    async with FakeOpenAIServer(flavor="llama.cpp") as server:
        server.loading = True
        model = connect(server)
        await failure_of(model, ModelLoading)
        assert len(server.headers) == 1
        assert (await model.status()).state is ModelState.LOADING
        server.loading = False
        assert (await model.status()).state is ModelState.READY


@FLAVORS
async def test_wrong_and_missing_key_have_different_errors(connect, flavor):
    async with FakeOpenAIServer(flavor=flavor, api_key="right") as server:
        wrong, missing = connect(server, api_key=KEY), connect(server, key_setting="MY_KEY")
        assert "rejects the key" in str((await failure_of(wrong, ModelUnavailable))[1])
        assert "requires a key. Check MY_KEY" in str((await failure_of(missing, ModelUnavailable))[1])
        assert (await wrong.status()).fix == "check CHAT_GEMMA_API_KEY"
        assert server.requests == []


async def test_error_inside_the_stream_keeps_the_text(connect):
    async with FakeOpenAIServer(script=[Reply(pieces=["Half"], ending="error")]) as server:
        shown, error = await failure_of(connect(server), ModelUnavailable)
    assert shown == "Half"
    assert "stopped in the middle" in str(error)
    assert "status=500" in error.detail


async def test_error_inside_the_stream_before_text_is_classified_by_its_code(connect):
    full = {"message": "Context size has been exceeded.", "code": 400, "n_ctx": 4096}
    async with FakeOpenAIServer(script=[Reply(raw=sse({"error": full})), Reply(raw=sse({"error": "no"}))]) as server:
        assert (await failure_of(connect(server), ContextTooLong))[1].context_tokens == 4096
        assert "reports a failure" in str((await failure_of(connect(server), ModelUnavailable))[1])


# --- other failures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ending", "raw"), [("reset", None), ("cut", None), ("cut", sse(delta("Half")))])
async def test_lost_connection_keeps_the_text_and_is_not_retried(connect, ending, raw):
    async with FakeOpenAIServer(flavor="llama.cpp", script=[Reply(pieces=["Half"], raw=raw, ending=ending)]) as server:
        shown, error = await failure_of(connect(server), ModelUnavailable)
        assert len(server.requests) == 1
    assert shown == "Half"
    assert "the connection was lost" in str(error)


@pytest.mark.parametrize("reason", ["abort", "error"])
async def test_aborted_answer_is_an_error(connect, reason):
    async with FakeOpenAIServer(
        flavor="llama.cpp", script=[Reply(raw=sse(delta("Half"), delta("", reason), "[DONE]"))]
    ) as server:
        assert (await failure_of(connect(server), ModelUnavailable))[0] == "Half"


async def test_filtered_answer_is_blocked_and_the_model_stays_ready(connect):
    async with FakeOpenAIServer(script=[Reply(raw=sse(delta("Half"), delta("", "content_filter")))]) as server:
        assert (await failure_of(connect(server), Blocked))[0] == "Half"


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=200, body=b"<html>Welcome to my router</html>", content_type="text/html"),
        Reply(status=404, body=b"<html>404</html>", content_type="text/html"),
        Reply(status=404, body={"detail": "Not Found"}),
        Reply(status=200, body=b"[1, 2"),
        Reply(status=200, body=[]),
        Reply(status=200, body={"hello": "world"}),
        Reply(raw=[b"data: garbage\n\n"]),
        Reply(raw=[b"data: 17\n\n"]),
        Reply(raw=[b"data: " + b"[" * 100_000 + b"\n\n"]),
        Reply(raw=[b"hello\n\n"], ending="cut"),
        Reply(raw=[b""], ending="cut"),
    ],
)
async def test_incompatible_server_is_reported_with_the_setting(connect, reply):
    async with FakeOpenAIServer(script=[reply]) as server:
        _, error = await failure_of(connect(server, url_setting="MY_URL"), ModelUnavailable)
        assert len(server.requests) == 1
    assert "does not answer like an OpenAI-compatible server. Check MY_URL" in str(error)


async def test_size_of_an_event_is_limited(connect, monkeypatch):
    monkeypatch.setattr(sse_events, "MAX_EVENT_BYTES", 10_000)
    async with FakeOpenAIServer(script=[Reply(raw=[b"data: " + b"x" * 4096] * 10, ending="stall")]) as server:
        await failure_of(connect(server), ModelUnavailable)
        await until(lambda: server.running == 0)


async def test_error_body_with_status_200_is_an_error(connect):
    body = {"error": {"message": "no", "type": "BadRequestError", "param": "input_tokens", "code": 400}}
    old = {"object": "error", "message": "no", "type": "BadRequestError", "code": 500}
    async with FakeOpenAIServer(script=[Reply(body=body), Reply(body=old)]) as server:
        await failure_of(connect(server), ContextTooLong)
        assert "reports a failure (500)" in str((await failure_of(connect(server)))[1])


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (None, "in a moment"),
        ("30", "in 30 seconds"),
        ("0", "now"),
        ("600", "in 10 minutes"),
        ("soon", "in a moment"),
        ("in an hour", "in 60 minutes"),
    ],
)
async def test_rate_limit_has_the_time_of_a_retry_and_is_not_retried(connect, after, words):
    if after == "in an hour":  # as a date, which counts from now
        after = email.utils.format_datetime(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1))
    headers = {"Retry-After": after} if after else {}
    async with FakeOpenAIServer(script=[Reply(status=429, body={}, headers=headers)]) as server:
        _, error = await failure_of(connect(server), RateLimited)
        assert len(server.requests) == 1
    assert str(error).endswith(f"Try again {words}.")


@pytest.mark.parametrize("status", [502, 503, 504])
async def test_gateway_errors_are_retried(connect, status):
    failed = Reply(status=status, body=b"<html>Bad gateway</html>", content_type="text/html")
    async with FakeOpenAIServer(script=[failed, failed]) as server:
        assert text_of(await ask(connect(server))) == "Hello from the fake."
        assert len(server.requests) == 3
        server.script = [failed] * 5
        _, error = await failure_of(connect(server), ModelUnavailable)
        assert len(server.requests) == 6
    assert f"({status})" in str(error)


@pytest.mark.parametrize("status", [403, 404, 409, 500, 501])
async def test_other_errors_are_not_retried(connect, status):
    async with FakeOpenAIServer(script=[Reply(status=status, body={"error": {"message": QUESTION}})]) as server:
        await failure_of(connect(server), ModelUnavailable)
        assert len(server.requests) == 1


async def test_reset_before_the_first_byte_is_retried(connect):
    async with FakeOpenAIServer(script=[Reply(ending="reset")] * 2) as server:
        assert text_of(await ask(connect(server))) == "Hello from the fake."
        server.script = [Reply(ending="reset")] * 3
        _, error = await failure_of(connect(server), ModelUnavailable)
    assert "closed the connection" in str(error)


async def test_restarting_server_is_retried(connect, monkeypatch):
    server, clock = FakeOpenAIServer(), LoopClock()
    async with server:
        model = connect(server)
        assert await ask(model)
    _, error = await failure_of(model, ModelUnavailable)
    assert f"there is no response from {server.url}. Start the server there, or check CHAT_GEMMA_URL" in str(error)
    paused = asyncio.Event()

    def pause(_least, _most):
        paused.set()
        return 60.0  # of the two minutes until the answer must start

    monkeypatch.setattr(openai_compatible.random, "uniform", pause)
    asking = asyncio.create_task(ask(model))
    await paused.wait()
    async with server:
        await clock.pass_by(60)
        assert text_of(await asking) == "Hello from the fake."


async def test_new_model_of_a_restarted_server_is_used(connect):
    async with FakeOpenAIServer(models=["gemma-3-12b"]) as server:
        model = connect(server)
        await ask(model)
        server.models = ["gemma-3-27b"]
        assert await ask(model)
        assert [request["model"] for request in server.requests] == ["gemma-3-12b", "gemma-3-12b", "gemma-3-27b"]


async def test_redirect_is_not_followed(connect):
    async with FakeOpenAIServer() as other:
        away = Reply(status=307, body={}, headers={"Location": f"{other.url}/v1/chat/completions"})
        async with FakeOpenAIServer(script=[away]) as server:
            _, error = await failure_of(connect(server, api_key=KEY), ModelUnavailable)
        assert other.headers == []
    assert "redirects to another address" in str(error)


async def test_unknown_host_has_its_own_error(connect):
    _, error = await failure_of(connect("http://no-such-name.invalid"), ModelUnavailable)
    assert "cannot be resolved" in str(error)


async def test_failed_tls_handshake_has_its_own_error(connect):
    async with FakeOpenAIServer() as server:
        _, error = await failure_of(connect(server.url.replace("http:", "https:")), ModelUnavailable)
    assert "no secure connection" in str(error)


# --- timeouts -------------------------------------------------------------------------------------------------


async def test_connect_timeout_ends_the_request(connect):
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        others = []
        for _ in range(4):  # fill the queue, so that the next one is neither accepted nor refused
            others.append(socket.socket())
            others[-1].setblocking(False)
            others[-1].connect_ex(full.getsockname())
        limits = TimeLimits(connect=0.1, first_token=5)
        _, error = await failure_of(connect(f"http://127.0.0.1:{full.getsockname()[1]}", limits=limits))
        for other in others:
            other.close()
    assert "does not accept connections in time" in str(error)


@pytest.mark.parametrize("slow", ["seconds_to_headers", "seconds_to_first_token"])
async def test_first_token_timeout_closes_the_request(connect, slow):
    async with FakeOpenAIServer(script=[Reply(**{slow: 10})]) as server:
        _, error = await failure_of(connect(server, limits=SHORT), ModelUnavailable)
        assert "the answer did not start within 0.15 seconds" in str(error)
        await until(lambda: server.disconnects == 1)


async def test_timeout_between_tokens_closes_the_request(connect):
    async with FakeOpenAIServer(script=[Reply(pieces=["Half"], ending="stall")]) as server:
        shown, error = await failure_of(connect(server, limits=TimeLimits(between_tokens=0.1)), ModelUnavailable)
        assert shown == "Half"
        assert "no more text arrived for 0.1 seconds" in str(error)
        await until(lambda: server.disconnects == 1)


async def test_pings_do_not_reset_the_timeout(connect):
    async with FakeOpenAIServer(script=[Reply(raw=[b": ping\n\n"] * 100, seconds_between=0.02)]) as server:
        _, error = await failure_of(connect(server, limits=SHORT), ModelUnavailable)
    assert "did not start" in str(error)


@pytest.mark.slow
async def test_slow_reader_does_not_cause_a_timeout(connect):
    shown = ""
    limits, clock = TimeLimits(first_token=600, between_tokens=60), LoopClock()
    async with FakeOpenAIServer(answer=list("abc"), tokens_per_second=50) as server:
        async for event in connect(server, limits=limits).stream(question(QUESTION), GenerationParameters()):
            await clock.pass_by(61)
            shown += event.text if isinstance(event, TextDelta) else ""
    assert shown == "abc"


@pytest.mark.slow
async def test_steady_answer_may_take_longer_than_every_timeout(connect):
    LoopClock()
    async with FakeOpenAIServer(answer=["x"] * 8, tokens_per_second=10) as server:  # 0.8 s in all
        model = connect(server, limits=TimeLimits(first_token=0.7, between_tokens=0.7))
        assert text_of(await ask(model)) == "x" * 8


# --- stop --------------------------------------------------------------------------------------------------------


async def test_closing_the_answer_closes_the_request_at_once(connect):
    async with FakeOpenAIServer(answer=["x"] * 1000, tokens_per_second=200) as server:
        events = connect(server).stream(question(QUESTION), GenerationParameters())
        assert await anext(events) == TextDelta("x")
        await events.aclose()
        await until(lambda: server.disconnects == 1)
        assert server.running == 0


@pytest.mark.parametrize(
    "reply", [Reply(seconds_to_headers=10), Reply(ending="stall"), Reply(seconds_to_first_token=9)]
)
async def test_cancelling_the_reader_closes_the_request_in_every_state(connect, reply):
    async with FakeOpenAIServer(script=[reply]) as server:
        asking = asyncio.create_task(ask(connect(server)))
        await until(lambda: server.running == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await until(lambda: server.disconnects == 1)


@pytest.mark.slow
async def test_many_answers_run_in_parallel_with_status_requests(connect):
    async with FakeOpenAIServer(answer=lambda messages: [messages[-1]["content"]], tokens_per_second=3) as server:
        model = connect(server)
        asking = [asyncio.create_task(ask(model, f"question {n}")) for n in range(120)]
        await until(lambda: server.running == 120)
        await model.status()
        answers = await asyncio.gather(*asking)
    assert [text_of(answer) for answer in answers] == [f"question {n}" for n in range(120)]


async def test_connection_is_kept_for_the_next_question(connect):
    async with FakeOpenAIServer(flavor="llama.cpp") as server:
        model = connect(server)
        for _ in range(3):
            await ask(model)
        assert len(server.connections) == 1


async def test_each_question_to_vllm_has_a_connection_of_its_own(connect):
    async with FakeOpenAIServer(flavor="vllm") as server:
        model = connect(server)
        for _ in range(3):
            await model.status()
            await ask(model)
        # The first question is sent on the connection of the first list, which says that this is vLLM.
        assert len(server.connections) == 5


async def test_closed_model_sends_no_requests(connect):
    async with FakeOpenAIServer() as server:
        model = connect(server)
        await model.aclose()
        await failure_of(model, ModelUnavailable)
        assert (await model.status()).reason == "the chat is shutting down"
        assert server.headers == []


# --- status ------------------------------------------------------------------------------------------------------


@FLAVORS
async def test_status_believes_the_list_and_asks_nothing(connect, flavor):
    async with FakeOpenAIServer(flavor=flavor) as server:
        model = connect(server)
        assert (await model.status()).state is ModelState.READY
        await ask(model)
        assert (await model.status()).state is ModelState.READY
        assert len(server.requests) == 1


async def test_failed_answer_leads_to_one_probe_that_asks_like_a_question(connect):
    async with FakeOpenAIServer(script=[Reply(pieces=["Half"], ending="error")]) as server:
        model = connect(server)
        await failure_of(model)
        assert (await model.status()).state is ModelState.READY
        assert (await model.status()).state is ModelState.READY
        question, probe = server.requests
        assert probe.keys() == question.keys()
        assert probe["max_tokens"] == question["max_tokens"]


async def test_probe_stops_at_the_first_text(connect):
    answer = ["x"] * 1000
    script = [Reply(status=500, body={})]
    async with FakeOpenAIServer(answer=answer, tokens_per_second=100, script=script) as server:
        model = connect(server)
        await failure_of(model)
        assert (await model.status()).state is ModelState.READY
        await until(lambda: server.running == 0)
        assert server.disconnects == 1


async def test_failed_probes_are_repeated_after_growing_pauses(connect, monkeypatch):
    now = 1000.0
    monkeypatch.setattr(readiness, "_now", lambda: now)
    async with FakeOpenAIServer(script=[Reply(status=500, body={})] * 9) as server:
        model = connect(server)
        await failure_of(model)
        for _ in range(4):
            assert (await model.status()).state is ModelState.UNAVAILABLE
        assert len(server.requests) == 2
        now += readiness.FIRST_PAUSE_SECONDS
        for _ in range(3):
            await model.status()
        assert len(server.requests) == 3
        server.script = []
        now += 2 * readiness.FIRST_PAUSE_SECONDS - 0.1
        assert (await model.status()).state is ModelState.UNAVAILABLE
        now += 0.1
        assert (await model.status()).state is ModelState.READY


async def test_failure_is_forgotten_when_the_server_was_away_or_serves_another_model(connect):
    async with FakeOpenAIServer(script=[Reply(status=500, body={})]) as server:
        model = connect(server)
        await failure_of(model)
        server.models = ["another"]
        assert (await model.status()).state is ModelState.READY
        assert len(server.requests) == 1
    async with FakeOpenAIServer(script=[Reply(ending="reset")] * 3) as server:
        model = connect(server)
        await failure_of(model)  # a connection that is lost, such as that of a server which is started again
        assert (await model.status()).state is ModelState.READY
        assert len(server.requests) == 3


async def test_refused_question_leads_to_no_probe(connect):
    async with FakeOpenAIServer(context_tokens=10) as server:
        model = connect(server)
        await failure_of(model, ContextTooLong, "word " * 11)
        assert (await model.status()).state is ModelState.READY
        assert len(server.requests) == 1


async def test_concurrent_statuses_share_one_probe(connect):
    script = [Reply(status=500, body={}), Reply(seconds_to_headers=0.05)]
    async with FakeOpenAIServer(script=script) as server:
        model = connect(server)
        await failure_of(model)
        statuses = await asyncio.gather(*(model.status() for _ in range(20)))
        assert {status.state for status in statuses} == {ModelState.READY}
        assert len(server.requests) == 2


async def test_no_probe_runs_beside_a_question(connect):
    async with FakeOpenAIServer(script=[Reply(status=500, body={})]) as server:
        model = connect(server)
        await failure_of(model)
        server.gate = Gate()
        asking = asyncio.create_task(ask(model))
        await until(lambda: server.running == 1)
        assert (await model.status()).state is ModelState.UNAVAILABLE
        assert len(server.requests) == 2
        server.gate.open()
        await asking
        assert (await model.status()).state is ModelState.READY


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=500, body={"error": {"message": "dead", "code": 500}}), "the server reports a failure (500)"),
        (Reply(body={"error": {"message": "dead", "code": 500}}), "the server reports a failure (500)"),
        (Reply(body=b"<html></html>", content_type="text/html"), "does not answer like an OpenAI-compatible server"),
        (Reply(seconds_to_headers=2), "busy or stuck"),
    ],
)
async def test_server_that_generated_nothing_is_unavailable(connect, monkeypatch, reply, reason):
    is_stuck = reply.seconds_to_headers > 0
    monkeypatch.setattr(openai_compatible, "STATUS_SECONDS", 0.15 if is_stuck else 60)
    async with FakeOpenAIServer(script=[reply, reply]) as server:
        model = connect(server, limits=TimeLimits(first_token=0.3 if is_stuck else 60))
        await failure_of(model)
        status = await model.status()
        assert status.state is ModelState.UNAVAILABLE
        assert reason in status.reason
        assert status.fix
        await until(lambda: server.running == 0)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(body=b"<html></html>", content_type="text/html"), "does not answer like an OpenAI-compatible server"),
        (Reply(body={"data": "none"}), "does not answer like an OpenAI-compatible server"),
        (Reply(body={"data": []}), "has loaded no model"),
        (Reply(body={"data": [17, {"id": None}]}), "has loaded no model"),
        (Reply(status=502, body={}), "reports a failure (502)"),
        (Reply(status=302, body={}, headers={"Location": "https://example.org"}), "redirects to another address"),
    ],
)
async def test_invalid_list_of_models_is_an_error(connect, reply, reason):
    async with FakeOpenAIServer() as server:
        server.models_reply = reply
        status = await connect(server).status()
    assert status.state is ModelState.UNAVAILABLE
    assert reason in status.reason


async def test_unusual_list_of_models_is_accepted(connect):
    async with FakeOpenAIServer(models=["gemma"]) as server:
        for odd in ({"meta": None}, {"max_model_len": "big"}, {"max_model_len": -1}, {"meta": {"n_ctx": None}}):
            server.models_reply = Reply(body={"data": [{"id": "gemma", **odd}]})
            model = connect(server)
            assert (await model.status()).state is ModelState.READY
            assert model.context_tokens is None


async def test_refused_connection_names_address_and_setting(connect):
    async with FakeOpenAIServer() as server:
        url = server.url
    status = await connect(url, url_setting="its url in CHAT_MODELS").status()
    assert status.state is ModelState.UNAVAILABLE
    assert status.reason == f"there is no response from {url}"
    assert status.fix == "start the server there, or check its url in CHAT_MODELS"


async def test_status_has_a_timeout(connect, monkeypatch):
    monkeypatch.setattr(openai_compatible, "STATUS_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the kernel accepts, but nothing reads
        status = await connect(f"http://127.0.0.1:{silent.getsockname()[1]}").status()
    assert status.state is ModelState.UNAVAILABLE
    assert "does not answer within 0.1 seconds" in status.reason
