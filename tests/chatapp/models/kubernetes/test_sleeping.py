"""Sleeping and waking against a fake API server, with two replicas of the chat at once."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from chatapp.domain.errors import ModelUnavailable
from chatapp.domain.office_hours import OfficeHours
from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState, ModelStatus
from chatapp.models.kubernetes import sleeper as sleeper_module
from chatapp.models.kubernetes.api import KubernetesApi, KubernetesError
from chatapp.models.kubernetes.pod_watch import PodWatch
from chatapp.models.kubernetes.sleep_record import SleepState
from chatapp.models.kubernetes.workload import Workload
from chatapp.models.openai.model import OpenAICompatibleModel
from tests.chatapp.models.kubernetes.sleeping import IDLE_SECONDS, ask, replica, replicas, settled
from tests.fakes.kubernetes_objects import leader_worker_set, pod, running
from tests.fakes.kubernetes_server import CHAT_RIGHTS
from tests.fakes.openai_server import FakeOpenAIServer, Reply


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
    api = KubernetesApi(url=cluster.kubernetes.url, folder=cluster.kubernetes.folder, timeout=30)
    watch = PodWatch("chat/app=gemma", workload=Workload("gemma-deployment"), sleeps=True, api=api)
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


async def test_gemma_on_several_machines_sleeps_and_wakes(cluster):
    kubernetes = cluster.kubernetes
    kubernetes.deployments["gemma-deployment"] = leader_worker_set(1, name="gemma-deployment")
    kubernetes.rights = {(verb, resource.replace("deployments", "leaderworkersets")) for verb, resource in CHAT_RIGHTS}
    model = replica(cluster, workload="leaderworkerset/gemma-deployment")
    model.watch()
    try:
        await cluster.falls_asleep()
        assert kubernetes.replicas() == 0
        assert (await ask(model))[0] == "Hello"
    finally:
        await model.aclose()
    assert kubernetes.scales == [0, 1]
    assert {path.rpartition("/namespaces/")[0] for path in kubernetes.changes if path.endswith("/scale")} == {
        "/apis/leaderworkerset.x-k8s.io/v1"
    }


async def test_chat_that_may_not_scale_a_group_says_so(cluster, monkeypatch):
    monkeypatch.setattr(sleeper_module, "REFUSED_SECONDS", 0.0)
    kubernetes = cluster.kubernetes  # whose rights are those for a Deployment
    kubernetes.deployments["gemma-deployment"] = leader_worker_set(0, name="gemma-deployment")
    model = replica(cluster, workload="leaderworkerset/gemma-deployment")
    await model._sleeper.step(model._is_ready)
    await model.aclose()
    assert model._sleeper.problem[0] == "the chat may not scale its LeaderWorkerSet in the cluster"
