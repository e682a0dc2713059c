"""The chat's sleep and an autoscaler on one Deployment: the chat scales between none and one, the other above one."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager

import pytest

from chatapp.models.kubernetes.api import KubernetesApi, KubernetesError
from chatapp.models.kubernetes.sleep_record import SleepState
from tests.chatapp.models.kubernetes.sleeping import Cluster, ask, replicas, settled

MOST = 3
SCALE = "/apis/apps/v1/namespaces/chat/deployments/gemma-deployment/scale"


class Autoscaler:
    """A HorizontalPodAutoscaler as Kubernetes' controller works.

    It reads the scale, leaves a Deployment without replicas alone, and writes the scale with the resource version that
    it read; a conflict ends this look
    (https://github.com/kubernetes/kubernetes/blob/v1.35.0/pkg/controller/podautoscaler/horizontal.go).

    Attributes:
        wanted: replicas for the length of the queue.
        written: every number that it set.
        conflicts: how often the scale had changed meanwhile.
        pause: between its read and its write, in seconds.
        has_read: it has read the scale.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._api = KubernetesApi(url=cluster.kubernetes.url, folder=cluster.kubernetes.folder, timeout=30)
        self.wanted = 1
        self.written: list[int] = []
        self.conflicts = 0
        self.pause = 0.0
        self.has_read = asyncio.Event()

    async def look(self) -> None:
        scale = await self._api.get(SCALE)
        now = scale["spec"]["replicas"]
        self.has_read.set()
        await asyncio.sleep(self.pause)
        target = min(max(self.wanted, 1), MOST)
        if now in {0, target}:
            return
        version = scale["metadata"]["resourceVersion"]
        change = {"metadata": {"resourceVersion": version}, "spec": {"replicas": target}}
        try:
            await self._api.patch(SCALE, change)
        except KubernetesError as error:
            if not error.is_conflict:
                raise
            self.conflicts += 1
        else:
            self.written.append(target)

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(0.003)


@asynccontextmanager
async def autoscaling(cluster: Cluster):
    autoscaler = Autoscaler(cluster)
    task = asyncio.create_task(autoscaler.run())
    try:
        yield autoscaler
        assert not task.done(), "it works until the end"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_chat_leaves_more_servers_alone_and_the_autoscaler_leaves_a_sleep_alone(cluster):
    async with replicas(cluster) as (first, _), autoscaling(cluster) as autoscaler:
        await cluster.until(lambda: cluster.record.since_ms)
        autoscaler.wanted = MOST
        await cluster.until(lambda: cluster.kubernetes.replicas() == MOST)
        await settled(cluster)
        assert cluster.record.state is SleepState.AWAKE
        assert cluster.kubernetes.scales == [MOST], "the chat does not set it back to one"
        await cluster.falls_asleep()
        await settled(cluster)
        assert cluster.kubernetes.scales == [MOST, 0], "the autoscaler does not wake it, whatever the queue was"
        autoscaler.wanted = 1
        assert (await ask(first))[0] == "Hello"
        await settled(cluster)
    assert cluster.kubernetes.scales == [MOST, 0, 1]
    assert autoscaler.written == [MOST]


@pytest.mark.parametrize("cycles", [pytest.param(6, marks=pytest.mark.slow), pytest.param(100, marks=pytest.mark.long)])
async def test_they_do_not_fight_while_both_change_the_scale(cluster, cycles):
    async with replicas(cluster) as models, autoscaling(cluster) as autoscaler:
        await cluster.until(lambda: cluster.record.since_ms)
        for cycle in range(cycles):
            autoscaler.pause = 0.002 * (cycle % 3)
            autoscaler.wanted = 1 + cycle % MOST
            await cluster.falls_asleep()
            answers = await asyncio.gather(*(ask(model) for model in models))
            assert [text for text, _ in answers] == ["Hello", "Hello"]
            await cluster.until(lambda: cluster.kubernetes.replicas() == min(autoscaler.wanted, MOST))
    scales = cluster.kubernetes.scales
    assert set(scales) <= set(range(MOST + 1)), "never above the set number"
    assert scales.count(0) == cycles, "each sleep once"
    assert all(after == 1 for before, after in itertools.pairwise(scales) if before == 0), (
        "from zero only the chat wakes it, with one server"
    )
    assert cluster.cut == 0


async def test_an_autoscaler_that_read_before_a_sleep_does_not_end_it(cluster):
    async with replicas(cluster) as _:
        autoscaler = Autoscaler(cluster)
        await cluster.until(lambda: cluster.record.since_ms)
        autoscaler.wanted, autoscaler.pause = MOST, 0.05
        look = asyncio.create_task(autoscaler.look())
        await autoscaler.has_read.wait()
        # Scaled down between its read and its write.
        cluster.kubernetes.deployments["gemma-deployment"]["spec"]["replicas"] = 0
        await cluster.kubernetes.touch()
        await look
        assert (autoscaler.conflicts, autoscaler.written) == (1, [])
        await autoscaler.look()
    assert cluster.kubernetes.replicas() == 0
