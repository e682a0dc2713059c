"""The Prometheus metrics endpoint, on its own port, which is not public."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import time
from contextlib import asynccontextmanager, suppress
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
from chatapp.domain.errors import StoreUnavailable
from chatapp.limits import LIMIT_NAMES
from chatapp.models import ModelState

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterable, Iterator

    from prometheus_client import Metric

    from chatapp.domain.conversation import Message
    from chatapp.models import ModelStatus, Price
    from chatapp.store import StoreStatus
    from chatapp.store.quota import StorageQuota

# Up to the default timeout of a first token (120 s), and up to a long answer of a slow model.
FIRST_TOKEN_BUCKETS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120)
TURN_BUCKETS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200)
ENDS = [status for status in MessageStatus if status is not MessageStatus.STREAMING]
STORAGE_SECONDS = 30.0
READY = frozenset({ModelState.READY, ModelState.ASLEEP, ModelState.NOT_SET_UP})
"""States in which no one waits for a model."""
SHUTDOWN_SECONDS = 1.0  # for a scrape in progress


@dataclass(frozen=True)
class JournalMetrics:
    """The state of the journal, read at each scrape, and its limits."""

    status: Callable[[], StoreStatus]
    most_writes: int
    most_bytes: int


class Metrics:
    """The metrics of one app.

    No label holds personal data: no text, and no id of a user, a conversation or a message. The series of each model
    exist from the start with the value 0, so that the first event already counts as an increase.

    Args:
        models: the ids of all models.
        running: returns the number of answers in progress.
        waiting: returns the number of messages in the queue.
        journal: None without a journal.
        price: returns the price of a model's tokens.
    """

    def __init__(
        self,
        models: Iterable[str],
        *,
        running: Callable[[], int],
        waiting: Callable[[], int],
        journal: JournalMetrics | None = None,
        price: Callable[[str], Price | None] = lambda _: None,
    ) -> None:
        # Otherwise each counter has a second series with its time of creation.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client lacks types here
        self.registry = registry = CollectorRegistry()
        self._turns = Counter(
            "hybrid_chat_turns", "Turns that ended, by status.", ["model", "status"], registry=registry
        )
        self._first_token = Histogram(
            "hybrid_chat_first_token_seconds",
            "Time from the request to the model to its first text.",
            ["model"],
            buckets=FIRST_TOKEN_BUCKETS,
            registry=registry,
        )
        self._seconds = Histogram(
            "hybrid_chat_turn_seconds",
            "Time from the message to the end of its answer, including the queue, whatever the status.",
            ["model"],
            buckets=TURN_BUCKETS,
            registry=registry,
        )
        self._prompt = Counter(
            "hybrid_chat_prompt_tokens", "Input tokens, as counted by the server.", ["model"], registry=registry
        )
        self._completion = Counter(
            "hybrid_chat_completion_tokens",
            "Output tokens, as counted by the server.",
            ["model"],
            registry=registry,
        )
        self._price = price
        self._cost = Counter(
            "hybrid_chat_cost_dollars",
            "US dollars of the tokens, of models with a price.",
            ["model"],
            registry=registry,
        )
        for model in models:
            if price(model):
                self._cost.labels(model)
            for status in ENDS:
                self._turns.labels(model, status.value)
            for each in (self._first_token, self._seconds, self._prompt, self._completion):
                each.labels(model)
        self._refused = Counter("hybrid_chat_refused", "Requests refused by a limit.", ["limit"], registry=registry)
        for limit in LIMIT_NAMES:
            self._refused.labels(limit)
        Gauge("hybrid_chat_turns_running", "Answers in progress.", registry=registry).set_function(running)
        Gauge("hybrid_chat_turns_waiting", "Messages in the queue.", registry=registry).set_function(waiting)
        if journal:
            registry.register(_Journal(journal))
        build = {"source": _source(), "python": platform.python_version(), "gradio": version("gradio")}
        Info("hybrid_chat_build", "Versions; equal source code has an equal digest.", registry=registry).info(build)
        ProcessCollector(registry=registry)

    def count_turn(self, answer: Message, seconds: float) -> None:
        """Count a turn that ended.

        Args:
            answer: the answer as it ended.
            seconds: its duration, including the queue.
        """
        model = answer.model
        self._turns.labels(model, answer.status.value).inc()
        self._seconds.labels(model).observe(seconds)
        if answer.seconds_to_first_token is not None:
            self._first_token.labels(model).observe(answer.seconds_to_first_token)
        if answer.usage:
            self._prompt.labels(model).inc(answer.usage.prompt_tokens or 0)
            self._completion.labels(model).inc(answer.usage.completion_tokens or 0)
            if price := self._price(model):
                self._cost.labels(model).inc(price.of(answer.usage) or 0)

    def watch_storage(self, quota: StorageQuota) -> None:
        """Show how much is stored, as it was last read, and read it again at most every `STORAGE_SECONDS`."""
        stored = Gauge("hybrid_chat_stored_bytes", "Bytes of all users' data, as last read.", registry=self.registry)
        stored.set_function(_StoredBytes(quota))
        limit = Gauge(
            "hybrid_chat_stored_bytes_limit", "Bytes from which messages are refused.", registry=self.registry
        )
        limit.set(quota.limits.in_total)

    def watch_gemma(self, status: Callable[[], ModelStatus]) -> None:
        """Show how long Gemma has not been ready; its status is read at each scrape."""
        Gauge(
            "hybrid_chat_gemma_not_ready_seconds",
            "Seconds since which Gemma loads, waits for a GPU or fails; 0 while it is ready or asleep.",
            registry=self.registry,
        ).set_function(_NotReady(status))

    def count_refusal(self, limit: str) -> None:
        """Count a refusal by a limit of `chatapp.limits.LIMIT_NAMES`."""
        self._refused.labels(limit).inc()


class _StoredBytes:
    """Returns the size of all data as it was last read, and has it read again in the background."""

    def __init__(self, quota: StorageQuota) -> None:
        self._quota = quota
        self._began_at = -STORAGE_SECONDS
        self._reading: asyncio.Task[None] | None = None

    def __call__(self) -> float:
        if time.monotonic() - self._began_at >= STORAGE_SECONDS:
            self._began_at = time.monotonic()
            with suppress(RuntimeError):  # no event loop runs in this thread
                self._reading = asyncio.get_running_loop().create_task(self._read())
        return self._quota.last_total

    async def _read(self) -> None:
        with suppress(StoreUnavailable):  # the next time
            await self._quota.total()


class _NotReady:
    """Returns for how many seconds a model has not been ready, also where it changed from one such state to another."""

    def __init__(self, status: Callable[[], ModelStatus]) -> None:
        self._status = status
        self._since: float | None = None

    def __call__(self) -> float:
        try:
            status = self._status()
        except RuntimeError:  # no event loop runs in this thread, which would look
            return 0.0
        now = time.time()
        if status.state in READY:
            self._since = None
            return 0.0
        # Another replica, or the cluster, may know an earlier time.
        known = now if status.since_ms is None else status.since_ms / 1000
        self._since = min(known, now if self._since is None else self._since)
        return max(0.0, now - self._since)


class _Journal(Collector):
    """Reads the state once per scrape, so that its numbers are consistent."""

    def __init__(self, watch: JournalMetrics) -> None:
        self._watch = watch

    def collect(self) -> Iterator[Metric]:
        status = self._watch.status()
        for name, explanation, value in (
            ("journal_writes", "Writes that are not in the cloud yet.", status.waiting_writes),
            ("journal_bytes", "Size of these writes in bytes.", status.waiting_bytes),
            ("journal_age_seconds", "Age of the oldest of these writes in seconds.", status.waiting_seconds),
            ("journal_writes_limit", "Writes from which new messages are refused.", self._watch.most_writes),
            ("journal_bytes_limit", "Bytes from which new messages are refused.", self._watch.most_bytes),
            ("journal_full", "1 while the journal is full and new messages are refused.", status.full),
            ("cloud_reachable", "0 while the cloud does not accept writes.", status.reachable),
        ):
            yield GaugeMetricFamily(f"hybrid_chat_{name}", explanation, value=float(value))


@asynccontextmanager
async def serve_metrics(metrics: Metrics, listener: socket.socket) -> AsyncIterator[None]:
    """Serve ``GET /metrics`` on a bound socket.

    It runs on the event loop, where the numbers change; a scrape takes 1 ms. prometheus_client's own server would read
    them in a thread for each request, and resolves the host name before it starts.
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
    """Return a digest of the chat's source code, to tell replicas apart during a rollout."""
    root = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]
