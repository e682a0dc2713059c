"""How many requests a start of Gemma takes at the Kubernetes API, in virtual time: six minutes, two pages open."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from chatapp.domain.conversation import GenerationParameters
from chatapp.domain.sentences import Sentence
from chatapp.models import Finish, ModelState, ModelStatus, TextDelta
from chatapp.models.catalog import READ_SECONDS, Catalog
from chatapp.models.kubernetes.api import SILENT_SECONDS, WATCH_SECONDS, KubernetesApi, KubernetesError
from chatapp.models.kubernetes.diagnosis import Observation, diagnose
from chatapp.models.kubernetes.pod_watch import PodWatch
from chatapp.models.kubernetes.reflector import NEEDED_SECONDS
from chatapp.models.kubernetes.sleep_record import SleepState
from chatapp.models.kubernetes.sleeper import Sleeper
from chatapp.models.kubernetes.sleeping_model import SleepingModel
from chatapp.models.kubernetes.workload import Workload
from tests.chatapp.models.kubernetes.sleeping import QUESTION
from tests.fakes.kubernetes_objects import POD, deployment, event, pod, running, unschedulable, waiting
from tests.fakes.models import ReadyModel
from tests.simulation.virtual_time import STARTED_AT_S, VirtualLoop, run

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Coroutine

PAGES = 2
PAGE_SECONDS = 10  # between two reads of one page, see models.js
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
SCRAPE_SECONDS = 30


class ClusterInMemory(KubernetesApi):
    """The API of a cluster in which Gemma starts; without sockets, which virtual time does not have.

    Attributes:
        requests: what was asked -> how often.
        open: watches that are open now.
        may_watch: the account has the right.
    """

    def __init__(self, *, may_watch: bool = True) -> None:
        super().__init__()
        self.requests: Counter[str] = Counter()
        self.open = 0
        self.may_watch = may_watch
        self.objects: dict[str, list[dict[str, Any]]] = {"pods": [], "events": []}
        self.deployment = deployment(0)
        self.configmap: dict[str, Any] = {"metadata": {"resourceVersion": "1"}}
        self.percent = 0
        self._changes: list[tuple[str, str, dict[str, Any]]] = []
        self._changed = asyncio.Condition()

    async def get(self, path: str, **_: str) -> dict[str, Any]:
        what = path.rpartition("/")[2]
        self.requests[what if what in {"pods", "events", "scale"} else path.split("/")[-2]] += 1
        if what in self.objects:
            return {"metadata": {"resourceVersion": str(len(self._changes))}, "items": list(self.objects[what])}
        return self.configmap if "configmaps" in path else self.deployment

    async def log(self, namespace: str, pod: str, **_: str) -> str:
        self.requests["log"] += 1
        return f"Loading safetensors checkpoint shards: {self.percent:3}% Completed | 5/9 [00:13<00:11]"

    async def patch(self, path: str, change: Any) -> dict[str, Any]:
        self.requests["patch"] += 1
        if path.endswith("/scale"):
            self.deployment = deployment(change["spec"]["replicas"])
            return self.deployment
        version = str(int(self.configmap["metadata"]["resourceVersion"]) + 1)
        self.configmap = {"metadata": {"resourceVersion": version}, "data": change["data"]}
        return self.configmap

    @asynccontextmanager
    async def watch(
        self, path: str, *, version: str, **_: str
    ) -> AsyncIterator[AsyncGenerator[tuple[str, dict[str, Any]]]]:
        what = path.rpartition("/")[2]
        self.requests[f"watch {what}"] += 1
        if not self.may_watch:
            raise KubernetesError("HTTP 403", status=403)
        self.open += 1
        try:
            yield self._until_end(what, int(version))
        finally:
            self.open -= 1

    async def _until_end(self, what: str, version: int) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        clock = asyncio.get_running_loop().time
        end = heard = clock()
        end += WATCH_SECONDS
        for number in itertools.count(version):
            while len(self._changes) <= number:
                try:
                    async with asyncio.timeout_at(min(end, heard + SILENT_SECONDS) if what == "events" else end):
                        async with self._changed:
                            await self._changed.wait()
                except TimeoutError:
                    if clock() < end:
                        raise KubernetesError("silence: there are no bookmarks of events") from None
                    return
            kind, of, thing = self._changes[number]
            if of == what:
                heard = clock()
                yield kind, thing

    async def change(self, what: str, thing: dict[str, Any]) -> None:
        """Add an object, or put it in place of the one with its name."""
        name = thing["metadata"]["name"]
        others = [each for each in self.objects[what] if each["metadata"]["name"] != name]
        kind = "ADDED" if len(others) == len(self.objects[what]) else "MODIFIED"
        self.objects[what] = [*others, thing]
        thing["metadata"]["resourceVersion"] = str(len(self._changes) + 1)
        async with self._changed:
            self._changes.append((kind, what, thing))
            self._changed.notify_all()

    def status(self) -> ModelStatus:
        """Return Gemma's status of this moment."""
        pods, log = self.objects["pods"], f"Loading safetensors: {self.percent}% Completed"
        seen = Observation(pods, self.objects["events"], self.deployment, {POD: log}, sleeps=True)
        diagnosis = diagnose(seen)
        return diagnosis.status if diagnosis else ModelStatus(ModelState.READY)

    async def start(self) -> None:
        """Let Gemma's pod start, in six minutes."""
        await asyncio.sleep(1)
        await self.change("pods", pod(unschedulable(NO_GPU)))
        await self.change("events", event("FailedScheduling", NO_GPU))
        await asyncio.sleep(6)
        await self.change("events", event("TriggeredScaleUp", "pod triggered scale-up", at="2026-11-25T20:06:00Z"))
        await asyncio.sleep(113)
        await self.change("events", event("Scheduled", "Successfully assigned", at="2026-11-25T20:07:00Z"))
        await self.change("pods", pod(waiting("ContainerCreating")))
        await self.change("events", event("Pulling", "Pulling image", at="2026-11-25T20:08:00Z"))
        await asyncio.sleep(60)
        await self.change("pods", pod(running(ready=False)))
        for self.percent in range(0, 100, 5):
            await asyncio.sleep(9)
        await self.change("pods", pod(running(ready=True)))


class Gemma(ReadyModel):
    """Gemma, which is asked itself before its pods are."""

    id, label = "gemma", "Gemma"

    def __init__(self, cluster: ClusterInMemory, pods: PodWatch) -> None:
        self.cluster = cluster
        self.pods = pods

    async def status(self) -> ModelStatus:
        now = self.cluster.status()
        if now.state is ModelState.READY:
            return now
        return await self.pods.status() or ModelStatus(ModelState.UNAVAILABLE, Sentence("there is no response"))

    async def stream(self, messages: Any, parameters: Any) -> AsyncGenerator[Any]:
        yield TextDelta("Hello")
        yield Finish("stop")

    async def aclose(self) -> None:
        await self.pods.aclose()


def gemma(cluster: ClusterInMemory, *, sleeps: bool = False) -> tuple[Catalog, Gemma | SleepingModel]:
    """Return a catalogue with Gemma alone, as the chat opens it."""
    pods = PodWatch("chat/app=gemma", workload=Workload("gemma-deployment"), sleeps=sleeps, api=cluster)
    model: Gemma | SleepingModel = Gemma(cluster, pods)
    if sleeps:
        clock = asyncio.get_running_loop().time

        def now_ms() -> int:
            return round(1000 * (STARTED_AT_S + clock()))

        sleeper = Sleeper(cluster, "chat", Workload("gemma-deployment"), idle_seconds=1800, now_ms=now_ms)
        model = SleepingModel(model, sleeper)
        model.watch()
    catalog = Catalog([model])
    pods.on_change.append(lambda: catalog.changed("gemma"))
    return catalog, model


async def page(catalog: Catalog, cluster: ClusterInMemory, begin: float, wrong: list[str]) -> None:
    """Read the models as a page does, and note each read that shows another state than that of the moment."""
    await asyncio.sleep(begin)
    for read in itertools.count():
        shown, now = catalog.statuses()["gemma"], cluster.status()
        reason = now.reason.partition(" (")[0]  # without a percentage
        if read > 1 and (shown.state is not now.state or reason not in shown.reason):
            wrong.append(f"{asyncio.get_running_loop().time():.0f} s: {shown.reason}, not {now.reason}")
        await asyncio.sleep(PAGE_SECONDS)


@asynccontextmanager
async def pages(catalog: Catalog, cluster: ClusterInMemory) -> AsyncIterator[list[str]]:
    wrong: list[str] = []
    begins = [1 + 5 * number for number in range(PAGES)]
    tasks = [asyncio.create_task(page(catalog, cluster, begin, wrong)) for begin in begins]
    yield wrong
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    run(main, VirtualLoop(), Random(1))


async def start(cluster: ClusterInMemory) -> list[str]:
    """Let Gemma start while the pages are open. Return what was wrong on them."""
    catalog, _ = gemma(cluster)
    cluster.deployment = deployment(1)
    async with pages(catalog, cluster) as wrong:
        await cluster.start()
        await asyncio.sleep(20)
    await catalog.aclose()
    return wrong


async def wake(cluster: ClusterInMemory) -> list[str]:
    """Let a question wake Gemma, and wait for it, while the pages are open. Return what was wrong on them."""
    state = {"state": SleepState.ASLEEP.value, "since": "1", "used": "1"}
    cluster.configmap = {"metadata": {"resourceVersion": "1"}, "data": state}
    catalog, model = gemma(cluster, sleeps=True)
    async with pages(catalog, cluster) as wrong:
        await asyncio.sleep(32)  # no page reads between the scale and the first pod: the Deployment is polled
        cluster.requests.clear()
        question = asyncio.create_task(answer(model))
        while cluster.deployment["spec"]["replicas"] == 0:
            await asyncio.sleep(0.1)
        await cluster.start()
        assert await question == "Hello"
    await catalog.aclose()
    return wrong


async def answer(model: Gemma | SleepingModel) -> str:
    events = model.stream(QUESTION, GenerationParameters())
    return "".join([event.text async for event in events if isinstance(event, TextDelta)])


def test_start_of_six_minutes_takes_few_requests_and_pages_show_each_state_at_their_next_read():
    async def main() -> None:
        cluster = ClusterInMemory()
        assert await start(cluster) == []
        assert sum(cluster.requests.values()) <= 30, cluster.requests
        assert cluster.requests["pods"] == cluster.requests["events"] == 2, "a look, and the begin of the watch"
        assert cluster.requests["watch pods"] == 2, "one of five minutes, and one"
        assert cluster.requests["watch events"] == 4, "of which two heard nothing for 90 seconds"
        assert cluster.requests["log"] <= 20, "while weights load"
        assert cluster.open == 0

    in_virtual_time(main())


def test_start_takes_no_more_requests_than_before_where_the_account_may_not_watch():
    async def main() -> None:
        cluster = ClusterInMemory(may_watch=False)
        wrong = await start(cluster)
        assert all("it is " in each or "its " in each for each in wrong), "late, as it was before"
        assert sum(cluster.requests.values()) <= 110, cluster.requests
        assert cluster.requests["watch pods"] <= 9, "tried again once a minute"

    in_virtual_time(main())


def test_wake_by_a_question_that_waits_six_minutes_takes_few_requests():
    async def main() -> None:
        cluster = ClusterInMemory()
        assert await wake(cluster) == []
        assert sum(cluster.requests.values()) <= 150, cluster.requests
        assert cluster.requests["pods"] == cluster.requests["events"] == 0
        assert cluster.requests["scale"] <= 60, "the Deployment's scale and the record stay polled"

    in_virtual_time(main())


def test_chat_without_a_page_or_question_holds_no_connection_and_sends_no_request():
    async def main() -> None:
        cluster = ClusterInMemory()
        cluster.deployment = deployment(1)
        catalog, _ = gemma(cluster)
        async with pages(catalog, cluster):
            await asyncio.sleep(60)
            assert cluster.open == 2

        async def changes() -> None:
            for status in itertools.cycle([waiting("ContainerCreating"), unschedulable(NO_GPU)]):
                await cluster.change("pods", pod(status))
                await asyncio.sleep(10)

        changing = asyncio.create_task(changes())  # no reason to go on
        await asyncio.sleep(READ_SECONDS + NEEDED_SECONDS)
        cluster.requests.clear()
        await asyncio.sleep(3600)
        assert (cluster.open, dict(cluster.requests)) == (0, {})
        changing.cancel()
        await catalog.aclose()

    in_virtual_time(main())


def test_scrapes_of_the_metrics_open_no_watch():
    async def main() -> None:
        cluster = ClusterInMemory()
        catalog, _ = gemma(cluster)
        for _ in range(10):
            catalog.status("gemma")
            await asyncio.sleep(SCRAPE_SECONDS)
        assert (cluster.open, cluster.requests["watch pods"], cluster.requests["pods"]) == (0, 0, 10)
        await catalog.aclose()

    in_virtual_time(main())


@pytest.mark.parametrize("closed_after", [0.0, 10.0])
def test_watch_ends_with_the_chat(closed_after):
    async def main() -> None:
        cluster = ClusterInMemory()
        catalog, model = gemma(cluster)
        for _ in range(2):
            await model.status()
        await asyncio.sleep(closed_after)
        await catalog.aclose()
        assert cluster.open == 0
        for _ in range(2):  # of a question that ends later
            await model.status()
        assert len(asyncio.all_tasks()) == 1

    in_virtual_time(main())
