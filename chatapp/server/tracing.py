"""Traces of turns by OpenTelemetry, with the names of its conventions for generative AI.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/. A span has no text, and no id of a person, a
conversation or a message. This module is imported only where traces are on.
No provider is made the global one: FastAPI and Google's libraries would then record spans of their own, with addresses
of requests.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_span_id, format_trace_id

from chatapp.domain.conversation import MessageStatus, Place
from chatapp.generation.tracing import Tracing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chatapp.generation.turn import RunningAnswer, Turn

EXPORT_SECONDS: Final = 5.0
"""For one request to the collector."""
COMPLAINT_SECONDS: Final = 600.0
"""Between two lines in the log about a collector that does not answer."""
PATH: Final = "/v1/traces"
# All other servers speak OpenAI's API.
_PROVIDERS = {Place.VERTEX_AI: "gcp.vertex_ai", Place.GEMINI_API: "gcp.gemini"}


class OpenTelemetry(Tracing):
    """Sends a trace of each turn to a collector, in the background: no answer waits for it.

    A turn has a span for each of its answers, and an answer one for the queue (or a model that wakes) and one for the
    request to the model, with an event at its first token. The log's lines of a turn name its trace.

    Args:
        endpoint: the address of the collector, with or without `PATH`. `OTEL_EXPORTER_OTLP_HEADERS`,
            `OTEL_TRACES_SAMPLER`, `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` count too.
        names: id of a model in the catalogue -> its name at its provider.
    """

    def __init__(self, endpoint: str, names: dict[str, str]) -> None:
        self._names = names
        _complain_rarely()
        resource = Resource.create()  # with what the environment says
        if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
            resource = resource.merge(Resource({SERVICE_NAME: "hybrid-chat"}))
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{endpoint.removesuffix(PATH)}{PATH}", timeout=EXPORT_SECONDS)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("chatapp")

    async def aclose(self) -> None:
        """Send what waits, in some seconds at most."""
        await asyncio.to_thread(self._provider.shutdown)

    @contextmanager
    def turn(self, turn: Turn) -> Iterator[None]:
        """Record a turn as the root of its trace."""
        with self._span("turn") as span:
            span.set_attribute("hybrid_chat.answers", len(turn.answers))
            yield

    @contextmanager
    def answer(self, answer: RunningAnswer) -> Iterator[None]:
        """Record an answer, from the queue to the store."""
        with self._span("answer") as span:
            try:
                yield
            finally:
                message = answer.message_so_far
                span.set_attribute("gen_ai.request.model", self._name_of(answer))
                span.set_attribute("hybrid_chat.status", message.status.value)
                if message.status is MessageStatus.ERROR:
                    span.set_status(Status(StatusCode.ERROR))

    @contextmanager
    def request(self, answer: RunningAnswer) -> Iterator[None]:
        """Record the time before the request, and the request."""
        began_ns, began = time.time_ns(), time.monotonic()
        failure = ""
        try:
            yield
        except BaseException as error:
            failure = type(error).__name__
            raise
        finally:
            sent_ns = None if answer.sent_at is None else began_ns + round((answer.sent_at - began) * 1e9)
            self._tracer.start_span("queue", start_time=began_ns).end(sent_ns)
            if sent_ns is not None:
                self._record_request(answer, sent_ns, failure)

    def _record_request(self, answer: RunningAnswer, sent_ns: int, failure: str) -> None:
        message, parameters = answer.message_so_far, answer.prompt.parameters
        name = self._name_of(answer)
        span = self._tracer.start_span(f"chat {name}", kind=SpanKind.CLIENT, start_time=sent_ns)
        attributes: dict[str, str | int | float | list[str] | None] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.output.type": "text",
            "gen_ai.provider.name": _PROVIDERS.get(answer.prompt.model.place, "openai"),
            "gen_ai.request.model": name,
            "gen_ai.request.max_tokens": parameters.max_tokens,
            "gen_ai.request.temperature": parameters.temperature,
            "gen_ai.request.top_p": parameters.top_p,
            "gen_ai.response.finish_reasons": [message.finish_reason.value] if message.finish_reason else None,
            "gen_ai.usage.input_tokens": answer.usage.prompt_tokens if answer.usage else None,
            "gen_ai.usage.output_tokens": answer.usage.completion_tokens if answer.usage else None,
            "error.type": failure or None,
        }
        span.set_attributes({key: value for key, value in attributes.items() if value is not None})
        end_ns = time.time_ns()
        if message.seconds_to_first_token is not None:
            first_ns = sent_ns + round(message.seconds_to_first_token * 1e9)
            span.add_event("first token", timestamp=min(first_ns, end_ns))  # whole milliseconds may round past the end
        if failure:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_ns)

    def _name_of(self, answer: RunningAnswer) -> str:
        model = answer.prompt.model.id
        return self._names.get(model, model)

    @contextmanager
    def _span(self, name: str) -> Iterator[Span]:
        """Record a span, which spans and lines of the log within it belong to; an exception's text is not recorded."""
        with self._tracer.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as span:
            context = span.get_span_context()
            ids = {"trace_id": format_trace_id(context.trace_id), "span_id": format_span_id(context.span_id)}
            with structlog.contextvars.bound_contextvars(**ids, trace_sampled=context.trace_flags.sampled):
                yield span


class _Rarely(logging.Filter):
    """Lets one line through in `COMPLAINT_SECONDS`."""

    def __init__(self) -> None:
        super().__init__()
        self._next_at = float("-inf")

    def filter(self, record: logging.LogRecord) -> bool:  # noqa: ARG002  # the base class's parameters
        if time.monotonic() < self._next_at:
            return False
        self._next_at = time.monotonic() + COMPLAINT_SECONDS
        return True


def _complain_rarely() -> None:
    """Have the exporter log a collector that is away now and then, and not every five seconds."""
    exporter = logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    if not any(isinstance(each, _Rarely) for each in exporter.filters):
        exporter.addFilter(_Rarely())
