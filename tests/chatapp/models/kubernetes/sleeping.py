"""A Gemma that sleeps, and replicas of the chat that let it, for tests; the API server is a fake or a real one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from chatapp.domain.conversation import GenerationParameters, Message, Role
from chatapp.domain.errors import ModelUnavailable
from chatapp.domain.sentences import Sentence
from chatapp.models import Finish, ModelState, ModelStatus, TextDelta, Waiting
from chatapp.models.kubernetes.api import KubernetesApi
from chatapp.models.kubernetes.sleep_record import SleepRecord, SleepState
from chatapp.models.kubernetes.sleeper import Sleeper
from chatapp.models.kubernetes.sleeping_model import SleepingModel
from chatapp.models.kubernetes.workload import Workload
from chatapp.server.catalog import SCALE_SECONDS
from tests.fakes.models import ReadyModel
from tests.waiting import until

if TYPE_CHECKING:
    from chatapp.domain.office_hours import OfficeHours
    from tests.fakes.kubernetes_server import FakeKubernetes
    from tests.real_kubernetes import RealKubernetes

IDLE_SECONDS = 1800
QUESTION = [Message(id="q", turn_id="t", role=Role.USER, content="Hi", created_ms=1)]


class Cluster:
    """A cluster with one Gemma, and the clock of its replicas.

    Args:
        kubernetes: its API server.
        pace: how many times as long as with the fake each thing takes.

    Attributes:
        now_ms: the clock, which only a test and a wake move on.
        starts: whether Gemma becomes ready when it is scaled up.
        running: questions that Gemma answers now.
        cut: how often it was scaled down while it answered.
        notes: uses that a replica is noting now.
    """

    def __init__(self, kubernetes: FakeKubernetes | RealKubernetes, *, pace: float = 1) -> None:
        self.kubernetes = kubernetes
        self.pace = pace
        self.now_ms = 1_780_000_000_000
        self.is_ready = True
        self.starts = True
        self.running = 0
        self.cut = 0
        self.notes = 0
        kubernetes.on_scale = self._scaled

    def _scaled(self, replicas: int) -> None:
        if replicas == 0:
            self.cut += self.running
            self.is_ready = False
        else:
            self.now_ms += 240_000
            self.is_ready = self.starts

    @property
    def record(self) -> SleepRecord:
        return SleepRecord.of(self.kubernetes.configmaps["gemma-deployment-use"])

    async def until(self, condition) -> None:
        await until(condition, 20 * self.pace, pause=0.002)

    @asynccontextmanager
    async def time_passes(self):
        """Let a second pass every two milliseconds, times the pace."""

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.002 * self.pace)
                self.now_ms += 1000

        ticking = asyncio.create_task(tick())
        try:
            yield
        finally:
            ticking.cancel()

    async def falls_asleep(self) -> None:
        """Let the idle time pass, and wait until Gemma sleeps."""
        await self.until(lambda: self.record.since_ms)  # the first look
        while not (self.record.state is SleepState.ASLEEP and self.kubernetes.replicas() == 0):
            idle_ms = self.now_ms - max(self.record.used_ms, self.record.since_ms)
            # A replica may note a use a moment after its answer. If half an hour passed in between, Gemma would sleep,
            # and the note would wake it again.
            if idle_ms < 1000 * IDLE_SECONDS and not self.notes:
                self.now_ms += 1000 * (IDLE_SECONDS + 1)
            await asyncio.sleep(0.002)


class Gemma(ReadyModel):
    """Gemma behind its Service: it answers while it is ready, and refuses connections else."""

    id, label = "gemma", "Gemma"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.broken: ModelStatus | None = None

    async def status(self):
        if self.cluster.is_ready:
            return ModelStatus(ModelState.READY)
        if self.broken:
            return self.broken
        if self.cluster.kubernetes.replicas() == 0:
            return ModelStatus(ModelState.ASLEEP, Sentence("it is asleep to save cost"))
        return ModelStatus(ModelState.LOADING, Sentence("its weights are being loaded"))

    async def stream(self, messages, parameters):
        if not self.cluster.is_ready:
            raise ModelUnavailable(Sentence("its status is being checked"))
        self.cluster.running += 1
        try:
            yield TextDelta("Hello")
            await asyncio.sleep(0.001)
            yield Finish("stop")
        finally:
            self.cluster.running -= 1


class ObservedSleeper(Sleeper):
    """A sleeper that tells its cluster when it notes a use."""

    cluster: Cluster

    async def note_use(self) -> None:
        self.cluster.notes += 1
        try:
            await super().note_use()
        finally:
            self.cluster.notes -= 1


def replica(
    cluster: Cluster,
    number: int = 0,
    *,
    hours: OfficeHours | None = None,
    behind_ms: int = 0,
    workload: str = "gemma-deployment",
    **limits: float,
) -> SleepingModel:
    """Return Gemma as one replica of the chat has it, whose clock may be behind."""
    api = KubernetesApi(url=cluster.kubernetes.url, folder=cluster.kubernetes.account(number), timeout=SCALE_SECONDS)
    its_sleep = ObservedSleeper(
        api,
        cluster.kubernetes.namespace,
        Workload.named(workload),
        idle_seconds=IDLE_SECONDS,
        now_ms=lambda: cluster.now_ms - behind_ms,
        most=1,
        hours=hours,
    )
    its_sleep.cluster = cluster
    its_sleep._pause = 0.02 * cluster.pace
    return SleepingModel(Gemma(cluster), its_sleep, **{"poll_seconds": 0.01 * cluster.pace} | limits)


@asynccontextmanager
async def replicas(cluster: Cluster, count: int = 2, hours: OfficeHours | None = None, **limits: float):
    # Clocks differ: that of each further replica is two seconds behind.
    models = [
        replica(cluster, number, hours=hours, behind_ms=2000 * number if hours else 0, **limits)
        for number in range(count)
    ]
    for model in models:
        model.watch()
    try:
        yield models
    finally:
        for model in models:
            await model.aclose()


async def ask(model: SleepingModel, waits: list[str] | None = None) -> tuple[str, list[str]]:
    """Return the answer, and the sentences that the person read before it, which are in ``waits`` at once."""
    text, waits = "", [] if waits is None else waits
    async with asyncio.timeout(60):
        async for event in model.stream(QUESTION, GenerationParameters()):
            if isinstance(event, Waiting):
                waits.append(event.reason)
            elif isinstance(event, TextDelta):
                text += event.text
    return text, waits


async def settled(cluster: Cluster) -> None:
    """Let both replicas look several times."""
    before = len(cluster.kubernetes.requests)
    await cluster.until(lambda: len(cluster.kubernetes.requests) >= before + 16)
