"""Traces of turns, as a collector gets them, and the lines of the log that belong to them."""

from __future__ import annotations

import logging

import pytest
import structlog
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from structlog.testing import capture_logs

from chatapp.app import create_app
from chatapp.config.logs import _for_cloud_logging
from chatapp.config.settings import load_settings
from chatapp.server.tracing import COMPLAINT_SECONDS, OpenTelemetry, _Rarely
from chatapp.store.temporary.router import StoreRouter
from tests.fakes.openai_server import Reply
from tests.fakes.otlp_collector import Collector, attributes
from tests.page_client import open_page
from tests.serving import free_port, serving


@pytest.fixture
async def collector():
    async with Collector() as running:
        yield running


def traced(settings, url):
    return settings.model_copy(update={"otel_endpoint": url})


async def asked(settings, *, text="Something SECRET", model="gemma", **changes):
    """Ask one question of a chat of its own, and return the conversation's id and the lines of the log."""
    app = await create_app(settings, with_page=False)
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with serving(app) as url, open_page(url) as page:
            conversation = await page.send(text, model=model, **changes)
            await page.messages(conversation)
    return conversation, lines


def only(collector, name):
    (span,) = collector.spans[name]
    return span


async def test_a_turn_is_one_trace_with_the_names_of_the_conventions(settings, collector):
    conversation, lines = await asked(traced(settings, collector.url))
    turn, answer, queue, request = (only(collector, name) for name in ("turn", "answer", "queue", "chat gemma"))
    assert {span.trace_id for span in (turn, answer, queue, request)} == {turn.trace_id}
    assert (turn.parent_span_id, answer.parent_span_id) == (b"", turn.span_id)
    assert (queue.parent_span_id, request.parent_span_id) == (answer.span_id, answer.span_id)
    assert request.kind == Span.SPAN_KIND_CLIENT
    found = attributes(request)
    tokens = [found.pop(f"gen_ai.usage.{kind}_tokens") for kind in ("input", "output")]
    assert all(count > 0 for count in tokens)
    assert found == {
        "gen_ai.operation.name": "chat",
        "gen_ai.output.type": "text",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gemma",
        "gen_ai.request.max_tokens": 1024,
        "gen_ai.request.temperature": 0.9,
        "gen_ai.request.top_p": 0.95,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    (first,) = request.events
    assert first.name == "first token"
    assert queue.start_time_unix_nano <= queue.end_time_unix_nano == request.start_time_unix_nano
    assert request.start_time_unix_nano <= first.time_unix_nano <= request.end_time_unix_nano
    assert answer.start_time_unix_nano <= request.start_time_unix_nano
    assert request.end_time_unix_nano <= answer.end_time_unix_nano <= turn.end_time_unix_nano
    assert attributes(answer)["hybrid_chat.status"] == "complete"
    assert all(resource["service.name"] == "hybrid-chat" for resource in collector.resources)
    sent = b"".join(collector.bodies)
    assert not [word for word in (conversation, "SECRET", "Hello") if word.encode() in sent]
    (line,) = [line for line in lines if line["event"] == "turn_finished"]
    assert (line["trace_id"], line["span_id"]) == (turn.trace_id.hex(), answer.span_id.hex())
    assert not [line for line in lines if line["event"] != "turn_finished" and "trace_id" in line]


async def test_two_answers_of_one_question_are_in_one_trace(settings, collector):
    await asked(traced(settings, collector.url), compareWith={"model": "gemma", "temperature": 0.1})
    turn, answers, requests = only(collector, "turn"), collector.spans["answer"], collector.spans["chat gemma"]
    assert attributes(turn) == {"hybrid_chat.answers": 2}
    assert [span.parent_span_id for span in answers] == [turn.span_id] * 2
    assert {span.parent_span_id for span in requests} == {span.span_id for span in answers}
    assert sorted(attributes(span)["gen_ai.request.temperature"] for span in requests) == [0.1, 0.9]


async def test_a_failure_has_its_type_and_no_text(settings, collector, model_server):
    model_server.script.append(Reply(status=500, body={"error": {"message": "SECRET engine dead"}}))
    model_server.script.append(model_server.script[0])
    model_server.script.append(model_server.script[0])
    await asked(traced(settings, collector.url))
    request, answer = only(collector, "chat gemma"), only(collector, "answer")
    assert attributes(request)["error.type"] == "ModelUnavailable"
    assert request.status.code == answer.status.code == Status.STATUS_CODE_ERROR
    assert (request.status.message, list(request.events), list(answer.events)) == ("", [], [])
    assert attributes(answer)["hybrid_chat.status"] == "error"
    assert b"SECRET" not in b"".join(collector.bodies)


@pytest.mark.slow  # the end waits 3 s for the collector
async def test_without_a_collector_answers_come_and_the_chat_ends(settings):
    conversation, lines = await asked(traced(settings, f"http://127.0.0.1:{free_port()}"))
    assert conversation
    assert [line["status"] for line in lines if line["event"] == "turn_finished"] == ["complete"]


async def test_messages_are_saved_before_the_end_waits_for_a_collector(settings, monkeypatch):
    closed = []
    for owner in (OpenTelemetry, StoreRouter):

        async def aclose(self, owner=owner, close=owner.aclose):
            closed.append(owner)
            await close(self)

        monkeypatch.setattr(owner, "aclose", aclose)
    app = await create_app(traced(settings, f"http://127.0.0.1:{free_port()}"), with_page=False)
    async with app.router.lifespan_context(app):
        pass
    assert closed == [StoreRouter, OpenTelemetry]


async def test_without_an_endpoint_nothing_is_traced(settings):
    _, lines = await asked(settings)
    assert not [line for line in lines if "trace_id" in line]


def test_a_collector_that_is_away_is_logged_now_and_then(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("chatapp.server.tracing.time.monotonic", lambda: now[0])
    rarely, record = _Rarely(), logging.LogRecord("x", logging.ERROR, "", 0, "", (), None)
    passed = []
    for _ in range(4):
        passed.append(rarely.filter(record))
        now[0] += COMPLAINT_SECONDS / 2
    assert passed == [True, False, True, False]


@pytest.mark.parametrize(("project", "prefix"), [("my-proj-1", "projects/my-proj-1/traces/"), ("", "")])
def test_cloud_logging_links_a_line_to_its_trace(project, prefix):
    trace = "0af7651916cd43dd8448eb211c80319c"
    line = {"event": "x", "level": "info", "trace_id": trace, "span_id": "b7ad6b7169203331", "trace_sampled": True}
    assert _for_cloud_logging(project, None, "", line) == {
        "message": "x",
        "severity": "INFO",
        "logging.googleapis.com/trace": f"{prefix}{trace}",
        "logging.googleapis.com/spanId": "b7ad6b7169203331",
        "logging.googleapis.com/trace_sampled": True,
    }
    assert _for_cloud_logging(project, None, "", {"event": "x"}) == {"message": "x", "severity": "INFO"}


@pytest.mark.parametrize("name", ["CHAT_OTEL_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"])
def test_the_endpoint_has_the_standard_name_too(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(name, "http://collector:4318/")
    assert load_settings().otel_endpoint == "http://collector:4318"
