"""Sleeping and waking against a fake API server, with two replicas of the chat at once."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import datetime

import pytest

from chatapp.domain.conversation import GenerationParameters, Message, Role
from chatapp.domain.errors import ModelUnavailable
from chatapp.domain.office_hours import OfficeHours
from chatapp.domain.sentences import Sentence
from chatapp.models import Finish, ModelState, ModelStatus, TextDelta, Waiting
from chatapp.models.kubernetes import sleeper as sleeper_module
from chatapp.models.kubernetes.api import KubernetesApi, KubernetesError
from chatapp.models.kubernetes.pod_watch import PodWatch
from chatapp.models.kubernetes.sleep_record import SleepRecord, SleepState
from chatapp.models.kubernetes.sleeper import Sleeper
from chatapp.models.kubernetes.sleeping_model import SleepingModel
from chatapp.models.openai.model import OpenAICompatibleModel
from tests.fakes.kubernetes_objects import pod, running
from tests.fakes.kubernetes_server import FakeKubernetes
from tests.fakes.models import ReadyModel
from tests.fakes.openai_server import FakeOpenAIServer, Reply

IDLE_SECONDS = 1800
QUESTION = [Message(id="q", turn_id="t", role=Role.USER, content="Hi", created_ms=1)]


class Cluster:
    """A cluster with one Gemma, and the clock of its replicas.

    Attributes:
        now_ms: the clock, which only a test and a wake move on.
        starts: whether Gemma becomes ready when it is scaled up.
        running: questions that Gemma answers now.
        cut: how often it was scaled down while it answered.
    """

    def __init__(self, kubernetes: FakeKubernetes) -> None:
        self.kubernetes = kubernetes
        self.now_ms = 1_780_000_000_000
        self.is_ready = True
        self.starts = True
        self.running = 0
        self.cut = 0
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
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)

    @asynccontextmanager
    async def time_passes(self):
        """Let a second pass every two milliseconds."""

        async def tick() -> None:
            while True:
                await asyncio.sleep(0.002)
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
            if idle_ms < 1000 * IDLE_SECONDS:  # also after a use that is noted a moment later
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


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(sleeper_module, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(sleeper_module, "WAKING_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sleeper_module, "LONGEST_PAUSE_SECONDS", 0.02)


@pytest.fixture
async def cluster(tmp_path):
    async with FakeKubernetes(tmp_path, tls=False) as kubernetes:
        kubernetes.add_deployment(1)
        yield Cluster(kubernetes)


def replica(
    cluster: Cluster, *, hours: OfficeHours | None = None, behind_ms: int = 0, **limits: float
) -> SleepingModel:
    """Return Gemma as one replica of the chat has it, whose clock may be behind."""
    api = KubernetesApi(url=cluster.kubernetes.url, folder=cluster.kubernetes.folder)
    its_sleep = Sleeper(
        api,
        "chat",
        "gemma-deployment",
        idle_seconds=IDLE_SECONDS,
        now_ms=lambda: cluster.now_ms - behind_ms,
        most=1,
        hours=hours,
    )
    its_sleep._pause = 0.02
    return SleepingModel(Gemma(cluster), its_sleep, **{"poll_seconds": 0.01} | limits)


@asynccontextmanager
async def replicas(cluster: Cluster, count: int = 2, hours: OfficeHours | None = None, **limits: float):
    # Clocks differ: that of each further replica is two seconds behind.
    models = [
        replica(cluster, hours=hours, behind_ms=2000 * number if hours else 0, **limits) for number in range(count)
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
    async with asyncio.timeout(20):
        async for event in model.stream(QUESTION, GenerationParameters()):
            if isinstance(event, Waiting):
                waits.append(event.reason)
            elif isinstance(event, TextDelta):
                text += event.text
    return text, waits


@pytest.mark.slow
@pytest.mark.parametrize("cycles", [8, pytest.param(100, marks=pytest.mark.long)])
async def test_two_replicas_let_gemma_sleep_and_wake_it_without_losing_a_question(cluster, cycles):
    async with replicas(cluster) as models:
        for cycle in range(cycles):
            await cluster.falls_asleep()
            if cycle % 3 == 0:
                cluster.kubernetes.touch()  # its status changes, as it does all the time
            askers = [models, models[:1], models[1:], models * 3][cycle % 4]
            answers = await asyncio.gather(*(ask(model) for model in askers))
            assert [text for text, _ in answers] == ["Hello"] * len(askers)
            for _, waits in answers:
                assert waits[-1] == ""
            assert cluster.kubernetes.replicas() == 1
    assert cluster.kubernetes.scales == [0, 1] * cycles, "never above the set number, and each change once"
    assert cluster.cut == 0
    assert cluster.record.took == (240,) * min(cycles, 5)


@pytest.mark.parametrize("moments", [6, pytest.param(60, marks=pytest.mark.long)])
async def test_question_in_the_moment_of_falling_asleep_is_answered(cluster, moments):
    async with replicas(cluster) as (first, second), cluster.time_passes():
        await cluster.until(lambda: cluster.record.since_ms)
        for moment in range(moments):
            cluster.now_ms += 1000 * (IDLE_SECONDS + 1)
            await asyncio.sleep(0.004 * (moment % 6))
            answers = await asyncio.gather(ask(first), ask(second))
            assert [text for text, _ in answers] == ["Hello", "Hello"]
            await cluster.until(lambda: cluster.record.state is SleepState.AWAKE)
            assert cluster.kubernetes.replicas() == 1
    assert set(cluster.kubernetes.scales) <= {0, 1}


async def test_question_refused_while_it_slept_is_answered_though_another_replica_woke_it_meanwhile(cluster):
    async with replicas(cluster) as (first, second):
        await cluster.until(lambda: cluster.record.since_ms and second._sleeper.record.since_ms)
        second._task.cancel()  # it has not seen that the other one lets it sleep
        await cluster.falls_asleep()
        assert second._sleeper.is_awake
        refuse = second.wrapped.stream

        async def refuse_late(messages, parameters):
            if not cluster.is_ready:
                await ask(first)
                raise ModelUnavailable(Sentence("its status is being checked"))
            async for event in refuse(messages, parameters):
                yield event

        second.wrapped.stream = refuse_late
        assert (await ask(second))[0] == "Hello"
    assert cluster.kubernetes.scales == [0, 1]


async def test_person_reads_that_it_wakes_and_how_long_that_usually_takes(cluster):
    cluster.starts = False
    async with replicas(cluster) as (first, second):
        await cluster.falls_asleep()
        assert (await second.status()).reason == "it is asleep to save cost, and usually wakes within 10 minutes"
        waits = []
        question = asyncio.create_task(ask(first, waits))
        sentence = "Gemma: it is waking up, which usually takes 10 minutes: its weights are being loaded."
        await cluster.until(lambda: sentence in waits)
        await cluster.until(lambda: second._sleeper.record.state is SleepState.WAKING)
        status = await second.status()
        assert status.state is ModelState.LOADING
        assert status.reason == ("it is waking up, which usually takes 10 minutes: its weights are being loaded"), (
            "the other replica knows it too"
        )
        cluster.is_ready = True
        text, _ = await question
    assert text == "Hello"


async def test_gemma_behind_a_load_balancer_says_that_it_sleeps_and_wakes(cluster):
    # What llm-d's endpoint picker (v0.9.0) answers while there is no server: to a list of models, to a question.
    no_list = Reply(status=500, body=b"inference error: Internal - no pods available in datastore")
    no_answer = Reply(status=503, body=b"inference error: ServiceUnavailable - failed to find endpoint candidates")
    api = KubernetesApi(url=cluster.kubernetes.url, folder=cluster.kubernetes.folder)
    watch = PodWatch("chat/app=gemma", deployment="gemma-deployment", sleeps=True, api=api)
    async with FakeOpenAIServer(answer=["Hello"], models=["gemma"], api_key="key") as server:

        def scaled(replicas: int) -> None:
            cluster._scaled(replicas)
            server.models_reply = None if replicas else no_list
            server.script = [] if replicas else [no_answer] * 100
            cluster.kubernetes.pods = [pod(running(ready=True))] if replicas else []

        cluster.kubernetes.on_scale = scaled
        sleeping = replica(cluster)
        sleeping.wrapped = OpenAICompatibleModel("gemma", "Gemma", server.url, model="gemma", api_key="key", pods=watch)
        sleeping.watch()
        try:
            await cluster.falls_asleep()
            await cluster.until(lambda: not sleeping._sleeper.is_awake)
            status = await sleeping.status()
            assert status.state is ModelState.ASLEEP
            assert status.reason.startswith("it is asleep to save cost")
            text, waits = await ask(sleeping)
        finally:
            await sleeping.aclose()
    assert (text, waits[-1]) == ("Hello", "")
    assert cluster.kubernetes.scales == [0, 1]
    assert len(server.chats) == 1, "the question was not sent to a load balancer without a server"


async def test_question_that_another_model_answers_wakes_it(cluster):
    async with replicas(cluster, 1) as (model,):
        await cluster.falls_asleep()
        model.wake()
        await cluster.until(lambda: cluster.record.state is SleepState.AWAKE)
    assert cluster.kubernetes.scales == [0, 1]


async def test_model_that_is_used_does_not_sleep(cluster):
    async with replicas(cluster) as (first, _):
        await cluster.until(lambda: cluster.record.since_ms)
        async with first._sleeper.in_use():
            for _ in range(4):
                cluster.now_ms += 1000 * IDLE_SECONDS // 2
                await cluster.until(lambda: cluster.record.used_ms == cluster.now_ms)
    assert cluster.kubernetes.scales == []


async def test_uses_are_noted_at_most_once_a_minute(cluster):
    async with replicas(cluster, 1) as (model,):
        await cluster.until(lambda: cluster.record.since_ms)
        cluster.kubernetes.changes.clear()
        for _ in range(12):
            await ask(model)
            await asyncio.gather(*model._sleeper._tasks)
            cluster.now_ms += 10_000
    assert len(cluster.kubernetes.changes) == 2


async def test_waking_ends_when_no_question_waits_any_more(cluster):
    cluster.starts = False
    async with replicas(cluster, 1) as (model,):
        await cluster.falls_asleep()
        model.wake()
        await cluster.until(lambda: cluster.kubernetes.replicas() == 1)
        await cluster.falls_asleep()
    assert cluster.kubernetes.scales == [0, 1, 0]


async def test_scale_that_a_person_sets_is_respected(cluster):
    async with replicas(cluster) as _:
        await cluster.falls_asleep()
        cluster.kubernetes.deployments["gemma-deployment"]["spec"]["replicas"] = 1
        cluster.is_ready = True
        await cluster.until(lambda: cluster.record.state is SleepState.AWAKE)
        cluster.kubernetes.deployments["gemma-deployment"]["spec"]["replicas"] = 0
        await cluster.until(lambda: cluster.record.state is SleepState.ASLEEP)
    assert cluster.kubernetes.scales == [0]


HOURS = OfficeHours.parse("Sun-Thu 08:00-18:00 Asia/Jerusalem")


def local(time: str) -> int:
    return round(datetime.fromisoformat(time).replace(tzinfo=HOURS.zone).timestamp() * 1000)


async def settled(cluster: Cluster) -> None:
    """Let both replicas look several times."""
    before = len(cluster.kubernetes.requests)
    await cluster.until(lambda: len(cluster.kubernetes.requests) >= before + 16)


# A week with a change of the clock in its middle: Israel's on 27 March and 25 October 2026.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("evening", "morning", "next_evening"),
    [
        ("2026-11-29T19:00", "2026-11-30T08:00", "2026-11-30T18:00"),
        ("2026-03-26T19:00", "2026-03-29T08:00", "2026-03-29T18:00"),
        ("2026-10-22T19:00", "2026-10-25T08:00", "2026-10-25T18:00"),
    ],
)
async def test_office_hours_wake_gemma_once_and_keep_it_awake_until_they_end(cluster, evening, morning, next_evening):
    cluster.now_ms = local(evening)
    async with replicas(cluster, hours=HOURS) as (first, _):
        await cluster.falls_asleep()
        cluster.now_ms = local(morning) - 1000
        await settled(cluster)
        assert cluster.kubernetes.scales == [0], "a second before the hours"
        cluster.now_ms = local(morning) + 1000  # the second replica believes that they have not begun
        await cluster.until(lambda: cluster.record.state is SleepState.AWAKE)
        assert cluster.kubernetes.scales == [0, 1]
        for hour in range(1, 9):
            cluster.now_ms = local(morning) + hour * 3_600_000
            await settled(cluster)
        assert cluster.kubernetes.scales == [0, 1], "it stays awake for hours without a question"
        cluster.now_ms = local(next_evening) - 1000
        await settled(cluster)
        assert cluster.kubernetes.scales == [0, 1]
        cluster.now_ms = local(next_evening) + 1000
        await cluster.until(lambda: cluster.kubernetes.replicas() == 0 and cluster.record.state is SleepState.ASLEEP)
        await settled(cluster)
        assert cluster.kubernetes.scales == [0, 1, 0]
        text, _ = await ask(first)
        assert text == "Hello", "a question outside of the hours wakes it as ever"


async def test_office_hours_respect_a_person_who_scales_gemma_down_within_them(cluster):
    cluster.now_ms = local("2026-11-30T10:00")
    async with replicas(cluster, hours=HOURS) as (first, _):
        await cluster.until(lambda: cluster.record.since_ms)
        cluster.kubernetes.deployments["gemma-deployment"]["spec"]["replicas"] = 0
        cluster.is_ready = False
        await cluster.until(lambda: cluster.record.state is SleepState.ASLEEP)
        cluster.now_ms = local("2026-11-30T17:00")
        await settled(cluster)
        assert cluster.kubernetes.scales == []
        assert (await ask(first))[0] == "Hello"
    assert cluster.kubernetes.scales == [1]


async def test_gemma_without_a_gpu_goes_on_waking_within_office_hours_and_stops_after_them(cluster):
    cluster.now_ms = local("2026-11-29T19:00")
    cluster.starts = False
    async with replicas(cluster, hours=HOURS) as _:
        await cluster.falls_asleep()
        cluster.now_ms = local("2026-11-30T08:01")
        await cluster.until(lambda: cluster.kubernetes.replicas() == 1)
        cluster.now_ms = local("2026-11-30T15:00")
        await settled(cluster)
        assert cluster.kubernetes.scales == [0, 1]
        cluster.now_ms = local("2026-11-30T18:01")
        await cluster.until(lambda: cluster.record.state is SleepState.ASLEEP)
    assert cluster.kubernetes.scales == [0, 1, 0]


async def test_wake_that_is_forbidden_says_why_and_is_not_repeated_at_once(cluster, monkeypatch):
    async with replicas(cluster, 1, failing_seconds=0.1) as (model,):
        await cluster.falls_asleep()
        monkeypatch.setattr(sleeper_module, "LONGEST_PAUSE_SECONDS", 60.0)
        cluster.kubernetes.rights -= {("patch", "deployments/scale")}
        model._sleeper._pause = 60.0
        before = len(cluster.kubernetes.changes)
        with pytest.raises(ModelUnavailable) as caught:
            await ask(model)
    assert str(caught.value) == (
        "Gemma did not wake up: the chat may not scale its Deployment in the cluster. Run make up again, which grants "
        "it."
    )
    changes = [path for path in cluster.kubernetes.changes[before:] if path.endswith("/scale")]
    assert len(changes) == 1, "and no more for a minute"


@pytest.mark.slow
async def test_question_waits_while_the_api_is_away(cluster):
    async with replicas(cluster) as (first, _):
        await cluster.falls_asleep()
        cluster.kubernetes.is_away = True
        waits = []
        question = asyncio.create_task(ask(first, waits))
        await cluster.until(lambda: "Gemma: the cluster does not let the chat wake it now." in waits)
        cluster.kubernetes.is_away = False
        text, _ = await question
    assert text == "Hello"


async def test_gemma_that_is_awake_answers_while_the_api_is_away(cluster):
    cluster.kubernetes.is_away = True
    async with replicas(cluster) as models:
        assert [await ask(model) for model in models] == [("Hello", [])] * 2


@pytest.mark.slow
async def test_slow_api_changes_nothing_for_people(cluster):
    cluster.kubernetes.latency = 0.03
    async with replicas(cluster) as (first, second):
        await cluster.falls_asleep()
        assert [text for text, _ in await asyncio.gather(ask(first), ask(second))] == ["Hello", "Hello"]
    assert cluster.kubernetes.scales == [0, 1]


async def test_model_that_cannot_start_is_reported_with_its_reason(cluster):
    cluster.starts = False
    async with replicas(cluster, 1, failing_seconds=0.05) as (model,):
        await cluster.falls_asleep()
        fix = Sentence("set a valid huggingFaceToken and run make up")
        model.wrapped.broken = ModelStatus(ModelState.UNAVAILABLE, Sentence("Hugging Face refused its token"), fix)
        with pytest.raises(ModelUnavailable) as caught:
            await ask(model)
    assert str(caught.value) == (
        "Gemma did not wake up: Hugging Face refused its token. Set a valid huggingFaceToken and run make up."
    )


async def test_question_does_not_wait_for_ever(cluster):
    cluster.starts = False
    async with replicas(cluster, 1, most_seconds=0.1) as (model,):
        await cluster.falls_asleep()
        with pytest.raises(ModelUnavailable) as caught:
            await ask(model)
    assert str(caught.value).startswith("Gemma did not wake up: it is waking up, which usually takes 10 minutes")


async def test_questions_that_wait_together_look_together(cluster):
    cluster.starts = False
    cluster.kubernetes.deployments["gemma-deployment"]["spec"]["replicas"] = 0
    cluster.is_ready = False
    model = replica(cluster, poll_seconds=600)
    for _ in range(2):
        await model._sleeper.step(model._is_ready)
    assert cluster.record.state is SleepState.ASLEEP
    cluster.kubernetes.requests.clear()
    waits = [[] for _ in range(50)]
    questions = [asyncio.create_task(ask(model, each)) for each in waits]
    await cluster.until(lambda: all(waits))
    assert cluster.record.state is SleepState.WAKING
    assert len(cluster.kubernetes.requests) == 5, "one use is noted, and one look scales up"
    for question in questions:
        question.cancel()
    await asyncio.gather(*questions, return_exceptions=True)
    await model.aclose()


async def test_gone_question_leaves_nothing_running(cluster):
    cluster.starts = False
    async with replicas(cluster, 1) as (model,):
        await cluster.falls_asleep()
        question = asyncio.create_task(ask(model))
        await cluster.until(lambda: cluster.kubernetes.replicas() == 1)
        question.cancel()
        await asyncio.gather(question, return_exceptions=True)
        assert model._sleeper._uses == 0
        await cluster.falls_asleep()


async def test_replica_that_read_before_another_one_noted_a_use_does_not_let_it_sleep(cluster):
    model = replica(cluster)
    await model._sleeper.step(model._is_ready)
    before = model._sleeper.record
    other = replica(cluster)
    await other._sleeper.note_use()
    with pytest.raises(KubernetesError) as caught:
        await model._sleeper._store(before.entered(SleepState.ENDING, cluster.now_ms))
    assert caught.value.is_conflict
    assert cluster.record.state is SleepState.AWAKE
    for each in (model, other):
        await each.aclose()
