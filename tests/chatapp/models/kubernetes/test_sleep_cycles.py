"""What holds for two replicas of the chat at any API server: at the fake one, and with `-m engine` at a real one."""

from __future__ import annotations

import asyncio

import pytest

from chatapp.domain.errors import ModelUnavailable
from chatapp.models import ModelState
from chatapp.models.kubernetes import sleeper as sleeper_module
from chatapp.models.kubernetes.api import KubernetesApi, KubernetesError
from chatapp.models.kubernetes.pod_watch import PodWatch
from chatapp.models.kubernetes.sleep_record import SleepState
from chatapp.models.kubernetes.workload import Workload
from tests.chatapp.models.kubernetes.sleeping import IDLE_SECONDS, ask, replicas
from tests.fakes.kubernetes_objects import event, unschedulable

REAL = pytest.param("real", marks=pytest.mark.engine)
BOTH = ["fake", REAL]
CANNOT = "Gemma: the cluster does not let the chat wake it now."


@pytest.mark.slow
@pytest.mark.parametrize(
    ("cluster", "cycles"),
    [
        ("fake", 8),
        pytest.param("fake", 100, marks=pytest.mark.long),
        pytest.param("real", 100, marks=pytest.mark.engine),
    ],
    indirect=["cluster"],
)
async def test_two_replicas_let_gemma_sleep_and_wake_it_without_losing_a_question(cluster, cycles):
    async with replicas(cluster) as models:
        for cycle in range(cycles):
            await cluster.falls_asleep()
            if cycle % 3 == 0:
                await cluster.kubernetes.touch()  # its status changes, as it does all the time
            askers = [models, models[:1], models[1:], models * 3][cycle % 4]
            answers = await asyncio.gather(*(ask(model) for model in askers))
            assert [text for text, _ in answers] == ["Hello"] * len(askers)
            for _, waits in answers:
                assert waits[-1] == ""
            assert cluster.kubernetes.replicas() == 1
    assert cluster.kubernetes.scales == [0, 1] * cycles, "never above the set number, and each change once"
    assert cluster.cut == 0
    assert cluster.record.took == (240,) * min(cycles, 5)


@pytest.mark.parametrize(
    ("cluster", "moments"),
    [
        ("fake", 6),
        pytest.param("fake", 60, marks=pytest.mark.long),
        pytest.param("real", 30, marks=pytest.mark.engine),
    ],
    indirect=["cluster"],
)
async def test_question_in_the_moment_of_falling_asleep_is_answered(cluster, moments):
    async with replicas(cluster) as (first, second), cluster.time_passes():
        await cluster.until(lambda: cluster.record.since_ms)
        for moment in range(moments):
            cluster.now_ms += 1000 * (IDLE_SECONDS + 1)
            await asyncio.sleep(0.004 * cluster.pace * (moment % 6))
            answers = await asyncio.gather(ask(first), ask(second))
            assert [text for text, _ in answers] == ["Hello", "Hello"]
            await cluster.until(lambda: cluster.record.state is SleepState.AWAKE)
            assert cluster.kubernetes.replicas() == 1
    assert set(cluster.kubernetes.scales) <= {0, 1}


@pytest.mark.slow
@pytest.mark.parametrize("cluster", BOTH, indirect=True)
async def test_question_waits_while_the_api_is_away_and_is_answered_after_it(cluster):
    async with replicas(cluster) as (first, second):
        await cluster.falls_asleep()
        await cluster.kubernetes.stop()
        waits = []
        questions = [asyncio.create_task(ask(first, waits)), asyncio.create_task(ask(second))]
        await cluster.until(lambda: CANNOT in waits)
        await cluster.kubernetes.start()
        assert [text for text, _ in await asyncio.gather(*questions)] == ["Hello", "Hello"]
        assert not [wait for wait in waits if "may not" in wait], "a real one refuses at first, and allows it later"
        await cluster.until(lambda: cluster.record.state is SleepState.AWAKE)
    assert cluster.kubernetes.scales == [0, 1]


@pytest.mark.parametrize("cluster", BOTH, indirect=True)
async def test_gemma_that_is_awake_answers_while_the_api_is_away(cluster):
    async with replicas(cluster) as models:
        await cluster.until(lambda: cluster.record.since_ms)
        await cluster.kubernetes.stop()
        assert [await ask(model) for model in models] == [("Hello", [])] * 2


@pytest.mark.parametrize("cluster", BOTH, indirect=True)
async def test_wake_that_is_forbidden_says_why_and_is_not_repeated_at_once(cluster, monkeypatch):
    async with replicas(cluster, 1, failing_seconds=0.1) as (model,):
        await cluster.falls_asleep()
        monkeypatch.setattr(sleeper_module, "LONGEST_PAUSE_SECONDS", 60.0)
        monkeypatch.setattr(sleeper_module, "REFUSED_SECONDS", 0.0)
        await cluster.kubernetes.forbid_scaling()
        model._sleeper._pause = 60.0
        before = cluster.kubernetes.scale_changes()
        with pytest.raises(ModelUnavailable) as caught:
            await ask(model)
    assert str(caught.value) == (
        "Gemma did not wake up: the chat may not scale its Deployment in the cluster. Run make up again, which grants "
        "it."
    )
    assert cluster.kubernetes.scale_changes() - before == 1, "and no more for a minute"


@pytest.mark.parametrize("cluster", [REAL], indirect=True)
async def test_account_of_the_chat_may_do_nothing_else(cluster):
    namespace = cluster.kubernetes.namespace
    api = KubernetesApi(url=cluster.kubernetes.url, folder=cluster.kubernetes.account(0), timeout=30)
    apps, core = f"/apis/apps/v1/namespaces/{namespace}/deployments", f"/api/v1/namespaces/{namespace}"
    image = {"spec": {"template": {"spec": {"containers": [{"name": "vllm", "image": "example.org/other"}]}}}}
    assert (await api.get(f"{apps}/gemma-deployment"))["metadata"]["name"] == "gemma-deployment"
    assert (await api.get(f"{core}/pods", labelSelector="app=gemma", limit="20"))["items"] == []
    refused = [
        api.patch(f"{apps}/gemma-deployment", image),
        api.patch(f"{apps}/gradio-chat-deployment/scale", {"spec": {"replicas": 0}}),
        api.patch(f"{core}/configmaps/other", {"data": {}}),
        api.get(f"{core}/secrets"),
        api.get(f"{core}/configmaps"),
        api.get("/api/v1/namespaces/kube-system/pods"),
        api.get("/api/v1/nodes"),
        api.get(f"{core}/configmaps", watch="true"),
        api.get(apps, watch="true"),
    ]
    for request in refused:
        with pytest.raises(KubernetesError) as caught:
            await request
        assert caught.value.is_forbidden


@pytest.mark.parametrize("cluster", BOTH, indirect=True)
async def test_status_of_gemma_follows_a_watch_and_goes_on_after_the_api_was_away(cluster):
    kubernetes = cluster.kubernetes
    api = KubernetesApi(url=kubernetes.url, folder=kubernetes.account(0), timeout=30)
    watch = PodWatch(f"{kubernetes.namespace}/app=gemma", workload=Workload("gemma-deployment"), sleeps=True, api=api)
    reasons = []
    watch.on_change.append(lambda: reasons.append(watch._status and watch._status.reason))
    reflectors = watch._pods, watch._events
    await kubernetes.add_pod(unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."))
    try:
        for _ in range(2):
            found = await watch.status()
            assert (found.state, found.reason) == (ModelState.WAITING, "no node with free GPUs is available yet")
        await cluster.until(lambda: all(each.is_watched for each in reflectors))
        await kubernetes.add_event(event("TriggeredScaleUp", "pod triggered scale-up"))
        await cluster.until(lambda: reasons == ["a machine with GPUs is being started for it"])
        await kubernetes.stop()
        await cluster.until(lambda: not any(each.is_watched for each in reflectors))
        assert await watch.status() is None
        await kubernetes.start()
        async with asyncio.timeout(20 * cluster.pace):
            while not all(each.is_watched for each in reflectors):
                await watch.status()
                await asyncio.sleep(0.01 * cluster.pace)
        assert (await watch.status()).reason == "a machine with GPUs is being started for it"
    finally:
        await watch.aclose()
