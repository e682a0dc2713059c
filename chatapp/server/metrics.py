"""Metrics for whoever runs the chat, in Prometheus' format, on a port that no browser is led to."""

from __future__ import annotations

import hashlib
import platform
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.aiohttp import make_aiohttp_handler
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chatapp.domain.conversation import MessageStatus
from chatapp.limits import NAMES

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from prometheus_client import Metric

    from chatapp.domain.conversation import Message
    from chatapp.store import StoreStatus

# Up to the defaults of what the chat waits for a first token (120 s), and for a long answer of a slow model.
FIRST_TOKEN_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)
TURN_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
ENDS = [status for status in MessageStatus if status is not MessageStatus.STREAMING]
SHUTDOWN_SECONDS = 1.0  # for a scrape that is under way


@dataclass(frozen=True)
class JournalWatch:
    """What waits for the cloud, asked for at each scrape, and from where on new messages are refused."""

    status: Callable[[], StoreStatus]
    most_writes: int
    most_bytes: int


class Metrics:
    """The metrics of one app.

    No label holds anything of a person: neither text nor an id of a user, a conversation or a message. What is counted
    of a model is there from the start as 0, so that the first event already is an increase.

    Args:
        models: the ids of all models.
        running: how many answers are being written.
        waiting: how many questions wait for their turn.
        journal: None where nothing waits for a cloud.
    """

    def __init__(
        self,
        models: Iterable[str],
        *,
        running: Callable[[], int],
        waiting: Callable[[], int],
        journal: JournalWatch | None = None,
    ) -> None:
        # A second series for each counter, with a time that nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # Prometheus' has no types here
        self.registry = registry = CollectorRegistry()
        self._turns = Counter("hybrid_chat_turns", "Turns that ended, by how.", ["model", "status"], registry=registry)
        self._first_token = Histogram(
            "hybrid_chat_first_token_seconds",
            "From asking the model to its first text.",
            ["model"],
            buckets=FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self._seconds = Histogram(
            "hybrid_chat_turn_seconds",
            "From sending to the end of the answer, its waiting included, however it ended.",
            ["model"],
            buckets=TURN_BUCKETS,
            registry=registry,
        )
        self._prompt = Counter(
            "hybrid_chat_prompt_tokens", "Tokens sent, as the model's server counted.", ["model"], registry=registry
        )
        self._completion = Counter(
            "hybrid_chat_completion_tokens", "Tokens of answers, likewise.", ["model"], registry=registry
        )
        for model in models:
            for status in ENDS:
                self._turns.labels(model, status.value)
            for each in (self._first_token, self._seconds, self._prompt, self._completion):
                each.labels(model)
        self._refused = Counter("hybrid_chat_refused", "What a limit refused.", ["limit"], registry=registry)
        for limit in NAMES:
            self._refused.labels(limit)
        Gauge("hybrid_chat_turns_running", "Answers that are being written now.", registry=registry).set_function(
            running
        )
        Gauge("hybrid_chat_turns_waiting", "Questions that wait for their turn now.", registry=registry).set_function(
            waiting
        )
        if journal:
            registry.register(_Journal(journal))
        build = {"source": _source(), "python": platform.python_version(), "gradio": version("gradio")}
        Info("hybrid_chat_build", "What runs; the same source has the same digest.", registry=registry).info(build)
        ProcessCollector(registry=registry)

    def turn_ended(self, answer: Message, seconds: float) -> None:
        """Count a turn that took so many seconds."""
        model = answer.model
        self._turns.labels(model, answer.status.value).inc()
        self._seconds.labels(model).observe(seconds)
        if answer.seconds_to_first_token is not None:
            self._first_token.labels(model).observe(answer.seconds_to_first_token)
        if answer.usage:
            self._prompt.labels(model).inc(answer.usage.prompt_tokens or 0)
            self._completion.labels(model).inc(answer.usage.completion_tokens or 0)

    def refused(self, limit: str) -> None:
        """Count a refusal, by the name of its limit (`chatapp.limits.NAMES`)."""
        self._refused.labels(limit).inc()


class _Journal(Collector):
    """Asks the store once for each scrape, so that its numbers fit together."""

    def __init__(self, watch: JournalWatch) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        status = self._watch.status()
        for name, explanation, value in (
            ("journal_writes", "Writes that the cloud does not have yet.", status.waiting_writes),
            ("journal_bytes", "Their text and facts.", status.waiting_bytes),
            ("journal_age_seconds", "For how long the oldest of them has been waiting.", status.waiting_seconds),
            ("journal_writes_limit", "From here on new messages are refused.", self._watch.most_writes),
            ("journal_bytes_limit", "From here on new messages are refused.", self._watch.most_bytes),
            ("journal_full", "1 while new messages are refused, since too much waits.", status.full),
            ("cloud_reachable", "0 while the cloud does not take what is delivered to it.", status.reachable),
        ):
            yield GaugeMetricFamily(f"hybrid_chat_{name}", explanation, value=float(value))


@asynccontextmanager
async def served(metrics: Metrics, listener: socket.socket) -> AsyncIterator[None]:
    """Answer ``GET /metrics`` on a bound socket.

    On the event loop, since the numbers belong to it; a scrape takes it 1 ms. Prometheus' own server would ask for them
    in a thread for each request, while they change, and look up the host's name before it starts.
    """
    app = web.Application()
    app.router.add_get("/metrics", make_aiohttp_handler(metrics.registry))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield
    finally:
        await runner.cleanup()


def _source() -> str:
    """Return a digest of the chat's own program: during a rollout, who runs which."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
