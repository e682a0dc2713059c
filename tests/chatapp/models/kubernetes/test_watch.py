"""The status of a model while a watch is open, at a fake API server over real HTTP."""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
import structlog

from chatapp.models import ModelState
from chatapp.models.kubernetes import api as api_module
from chatapp.models.kubernetes import reflector
from chatapp.models.kubernetes.api import KubernetesApi
from chatapp.models.kubernetes.pod_watch import PodWatch
from chatapp.models.kubernetes.workload import Workload
from chatapp.models.openai.model import OpenAICompatibleModel
from tests.fakes.kubernetes_objects import POD, deployment, event, pod, running, unschedulable, waiting
from tests.fakes.kubernetes_server import FakeKubernetes
from tests.fakes.kubernetes_watch import INTERNAL
from tests.waiting import until

NO_GPUS = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
WAITS = "no node with free GPUs is available yet"
CREATED = "its container is being created and its image pulled"
STARTS = "it is starting"
QUOTA = event(
    "FailedScaleUp", "Node scale up in zones us-central1-c associated with this pod failed: GCE quota exceeded."
)
OUT_OF_QUOTA = "the project's GPU quota does not allow another GPU (tried in us-central1-c)"


@pytest.fixture(params=[False])
async def kubernetes(tmp_path, request, monkeypatch):
    for name in ("FIRST_RETRY_SECONDS", "LONGEST_RETRY_SECONDS", "PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS"):
        monkeypatch.setattr(reflector, name, 0.01)
    async with FakeKubernetes(tmp_path, tls=request.param) as server:
        server.pods = [pod(unschedulable(NO_GPUS))]
        yield server


@pytest.fixture
async def watch(kubernetes):
    api = KubernetesApi(url=kubernetes.url, folder=kubernetes.folder, timeout=20)
    watch = PodWatch("chat/app=gemma", workload=Workload("gemma-deployment"), api=api)
    yield watch
    await watch.aclose()


async def opened(kubernetes, watch):
    """Look until both watches are open, and forget the requests so far."""
    async with asyncio.timeout(60):
        while not (watch._pods.is_watched and watch._events.is_watched):
            await watch.status()
    kubernetes.requests.clear()


async def shows(watch, reason):
    """Wait until the status says this."""
    async with asyncio.timeout(60):
        while (status := await watch.status()) is None or status.reason != reason:
            await asyncio.sleep(0.002)


def of(kubernetes, what):
    """Return the queries of the requests for the pods or events."""
    found = [urlsplit(request) for request in kubernetes.requests]
    return [parse_qs(each.query) for each in found if each.path.endswith(f"/{what}")]


@pytest.mark.parametrize("kubernetes", [pytest.param(True, id="https")], indirect=True)
async def test_second_look_opens_one_watch_of_pods_and_one_of_events(kubernetes, watch):
    assert (await watch.status()).reason == WAITS
    version = str(kubernetes._version)
    assert (kubernetes.watches, len(kubernetes.requests)) == (0, 2)
    assert (await watch.status()).reason == WAITS
    await until(lambda: kubernetes.watches == 2)
    queries = {"watch": ["true"], "resourceVersion": [version]}
    queries |= {"allowWatchBookmarks": ["true"], "timeoutSeconds": ["300"]}
    assert of(kubernetes, "pods")[2:] == [queries | {"labelSelector": ["app=gemma"]}]
    assert of(kubernetes, "events")[2:] == [queries]


async def test_looks_while_watches_are_open_send_no_request(kubernetes, watch):
    await opened(kubernetes, watch)
    statuses = await asyncio.gather(*(watch.status() for _ in range(50)))
    assert {status.reason for status in statuses} == {WAITS}
    assert (kubernetes.requests, kubernetes.watches) == ([], 2)


async def test_status_changes_as_the_event_comes(kubernetes, watch):
    changes = []
    watch.on_change.append(lambda: changes.append(watch._status and str(watch._status.reason)))
    await opened(kubernetes, watch)
    kubernetes.events = [QUOTA]  # late: it is about a pod that waits for long
    await until(lambda: len(changes) == 1)
    kubernetes.events = [QUOTA, event("Pulled", "of another pod", name="gradio-chat")]
    kubernetes.pods = [pod(waiting("ContainerCreating"))]
    await until(lambda: len(changes) == 2)
    kubernetes.pods = [pod(running(ready=False))]
    await until(lambda: len(changes) == 3)
    kubernetes.pods = [pod(running(ready=True))]
    await until(lambda: len(changes) == 4)
    assert changes == [OUT_OF_QUOTA, CREATED, STARTS, None]
    assert await watch.status() is None, "it is ready"
    assert kubernetes.requests == []


async def test_deployment_is_asked_only_once_no_pod_lives(kubernetes, watch):
    kubernetes.deployments["gemma-deployment"] = deployment(0)
    await opened(kubernetes, watch)
    await watch.status()
    assert kubernetes.requests == []
    kubernetes.pods = []
    await shows(watch, "it is switched off")
    assert set(kubernetes.requests) == {"/apis/apps/v1/namespaces/chat/deployments/gemma-deployment"}


async def test_log_is_read_while_a_container_starts_and_once_after_it_ended(kubernetes, watch, monkeypatch):
    monkeypatch.setattr("chatapp.models.kubernetes.pod_watch.LOG_SECONDS", 0.0)
    kubernetes.logs[POD] = "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11]"
    await opened(kubernetes, watch)
    await watch.status()
    assert kubernetes.requests == [], "nothing runs"
    kubernetes.pods = [pod(running(ready=False))]
    await shows(watch, "its weights are being loaded (56%)")
    kubernetes.logs[POD] = "Loading safetensors checkpoint shards:  67% Completed | 6/9 [00:13<00:11]"
    assert (await watch.status()).reason == "its weights are being loaded (67%)"
    kubernetes.logs[f"{POD} previous"] = "torch.OutOfMemoryError: CUDA out of memory."
    last = {"terminated": {"exitCode": 1, "reason": "Error"}}
    kubernetes.pods = [pod(waiting("CrashLoopBackOff", "back-off", restarts=1, last=last))]
    await shows(watch, "its GPUs have too little memory for it")
    kubernetes.requests.clear()
    for _ in range(3):
        await watch.status()
    assert kubernetes.requests == []
    kubernetes.logs[f"{POD} previous"] = "OSError: [Errno 28] No space left on device"
    kubernetes.pods = [pod(waiting("CrashLoopBackOff", "back-off", restarts=2, last=last))]
    await shows(watch, "its disk is full")


async def test_log_is_shared_for_a_moment_by_all_that_look(kubernetes, watch):
    kubernetes.pods = [pod(running(ready=False))]
    kubernetes.logs[POD] = "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11]"
    await opened(kubernetes, watch)
    kubernetes.requests.clear()
    for _ in range(20):
        assert (await watch.status()).reason == "its weights are being loaded (56%)"
    assert kubernetes.requests == []


async def test_broken_connection_is_resumed_from_the_last_bookmark(kubernetes, watch):
    await opened(kubernetes, watch)
    pods = kubernetes.watched["pods"]
    pods.bookmark()
    bookmark = str(kubernetes._version)
    await until(lambda: watch._pods._version == bookmark)
    pods.drop()
    await until(lambda: of(kubernetes, "pods"))
    kubernetes.pods = [pod(waiting("ContainerCreating"))]
    await until(lambda: CREATED in {each and each.reason for each in [watch._status]})
    assert [query["resourceVersion"] for query in of(kubernetes, "pods")] == [[bookmark]], "and was not listed again"
    assert not of(kubernetes, "events"), "the other watch went on"


async def test_change_while_the_connection_is_broken_is_not_lost(kubernetes, watch):
    await opened(kubernetes, watch)
    kubernetes.watched["pods"].drop()
    kubernetes.pods = [pod(waiting("ContainerCreating"))]
    await until(lambda: watch._status and watch._status.reason == CREATED)
    assert all("watch" in query for query in of(kubernetes, "pods"))


async def test_watch_that_the_api_ends_is_opened_again(kubernetes, watch):
    await opened(kubernetes, watch)
    before = watch._events._version
    for each in kubernetes.watched.values():
        each.end()
    version = str(kubernetes._version)
    await until(lambda: len(kubernetes.requests) == 2 and kubernetes.watches == 2)
    assert of(kubernetes, "pods")[0]["resourceVersion"] == [version], "that of the bookmark at its end"
    assert of(kubernetes, "events")[0]["resourceVersion"] == [before], "which events have not"
    kubernetes.events = [QUOTA]
    await shows(watch, OUT_OF_QUOTA)


@pytest.mark.parametrize("at_once", [True, False])
async def test_version_that_is_too_old_makes_it_list_again(kubernetes, watch, at_once):
    kubernetes.expires_at_once = at_once
    kubernetes.events = [QUOTA]
    await opened(kubernetes, watch)
    assert (await watch.status()).reason == OUT_OF_QUOTA
    changes = []
    watch.on_change.append(lambda: changes.append(None))
    kubernetes.watched["events"].drop()
    kubernetes.events = []  # deleted, and nothing says so any more
    kubernetes.watched["events"].compact()
    await until(lambda: changes)
    assert (await watch.status()).reason == WAITS
    kinds = ["watch" if "watch" in query else "list" for query in of(kubernetes, "events")]
    assert kinds[:3] == ["watch", "list", "watch"]
    assert not of(kubernetes, "pods")


async def test_error_of_the_api_in_the_stream_ends_the_watch_and_another_one_begins(kubernetes, watch):
    await opened(kubernetes, watch)
    kubernetes.watched["pods"].fail(INTERNAL)
    await until(lambda: of(kubernetes, "pods"))
    kubernetes.pods = [pod(waiting("ContainerCreating"))]
    await shows(watch, CREATED)


@pytest.mark.parametrize("line", ["not JSON", "[]", '{"type": "ADDED", "object": null}', '{"type": 5}', "{}", ""])
async def test_any_line_of_the_api_leaves_the_watch_working(kubernetes, watch, line):
    await opened(kubernetes, watch)
    kubernetes.watched["pods"].send(f"{line}\n".encode())
    kubernetes.pods = [pod(waiting("ContainerCreating"))]
    await shows(watch, CREATED)
    await until(lambda: watch._pods.is_watched)


async def test_object_of_any_size_is_read_up_to_a_limit(kubernetes, watch, monkeypatch):
    await opened(kubernetes, watch)
    large = pod(waiting("ContainerCreating"))
    large["metadata"]["annotations"] = {"example.org/note": "x" * 300_000}  # many parts, and longer than aiohttp's line
    kubernetes.pods = [large]
    await until(lambda: watch._status and watch._status.reason == CREATED)
    assert kubernetes.requests == []
    monkeypatch.setattr(api_module, "MAX_BODY_BYTES", 100_000)
    kubernetes.watched["pods"].send(json.dumps("x" * 1_000_000).encode())
    await until(lambda: of(kubernetes, "pods"))


async def test_account_that_may_not_watch_polls_with_one_line_in_the_log(kubernetes, watch, monkeypatch):
    monkeypatch.setattr(reflector, "LONGEST_RETRY_SECONDS", 60.0)
    kubernetes.rights -= {("watch", "pods"), ("watch", "events")}
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            await watch.status()
        await until(lambda: sum("watch" in request for request in kubernetes.requests) == 2)
        kubernetes.requests.clear()
        kubernetes.pods = [pod(waiting("ContainerCreating"))]
        assert (await watch.status()).reason == CREATED
        kubernetes.pods = [pod(running(ready=False))]
        assert (await watch.status()).reason == STARTS
    assert [entry["event"] for entry in logs].count("pods_not_watched") == 1
    assert "cannot watch resource" in next(e["detail"] for e in logs if e["event"] == "pods_not_watched")
    assert [list(query) for query in of(kubernetes, "pods")] == [["labelSelector", "limit"]] * 2


async def test_right_to_watch_that_is_granted_later_is_used(kubernetes, watch):
    kubernetes.rights -= {("watch", "pods")}
    for _ in range(2):
        await watch.status()
    await until(lambda: watch._events.is_watched)
    assert not watch._pods.is_watched, "each for itself"
    kubernetes.rights |= {("watch", "pods")}
    await until(lambda: watch._pods.is_watched)


async def test_status_is_the_models_own_while_the_api_is_away_and_the_watch_goes_on_after_it(kubernetes, watch):
    await opened(kubernetes, watch)
    await kubernetes.stop()
    await until(lambda: not watch._pods.is_watched)  # the end of the stream has come
    assert await watch.status() is None, "not what was known before"
    kubernetes.pods = [pod(waiting("ContainerCreating"))]
    await kubernetes.start()
    await shows(watch, CREATED)
    await until(lambda: watch._pods.is_watched and watch._events.is_watched)


async def test_silent_connection_counts_as_broken(kubernetes, watch, monkeypatch):
    monkeypatch.setattr(api_module, "SILENT_SECONDS", 0.1)
    for _ in range(2):
        await watch.status()
    await until(lambda: sum("watch" in query for query in of(kubernetes, "pods")) >= 3)


@pytest.mark.slow
async def test_no_limit_of_the_client_ends_a_watch(kubernetes, watch, monkeypatch):
    monkeypatch.setattr(aiohttp.client, "DEFAULT_TIMEOUT", aiohttp.ClientTimeout(total=1))
    watch._api.timeout = 1.0
    await opened(kubernetes, watch)
    await asyncio.sleep(1.5)
    kubernetes.pods = [pod(waiting("ContainerCreating"))]
    await until(lambda: watch._status and watch._status.reason == CREATED)
    assert kubernetes.requests == []


async def test_shutdown_closes_the_connections_at_once(kubernetes, watch):
    await opened(kubernetes, watch)
    for each in (watch._pods, watch._events):
        task = each._task
        await each.aclose()
        assert task.cancelled()
    await until(lambda: kubernetes.watches == 0)
    for _ in range(3):
        assert (await watch.status()).state is ModelState.WAITING, "a question that ends later still has its reason"
    assert not any("watch" in request for request in kubernetes.requests)


async def test_model_that_closes_closes_its_watches(kubernetes, watch):
    model = OpenAICompatibleModel("gemma", "Gemma", "http://127.0.0.1:9", pods=watch)
    assert (await model.status()).reason == WAITS
    await opened(kubernetes, watch)
    await model.aclose()
    await until(lambda: kubernetes.watches == 0)


async def test_shutdown_does_not_wait_for_an_api_that_is_slow(kubernetes, watch):
    for _ in range(2):
        await watch.status()
    kubernetes.latency = 3600.0
    kubernetes.watched["pods"].drop()
    await until(lambda: len(of(kubernetes, "pods")) > 2)
    async with asyncio.timeout(30):
        await watch.aclose()


async def test_only_the_objects_that_changed_last_are_kept(kubernetes, watch):
    await opened(kubernetes, watch)
    kubernetes.events = [event("Pulled", "", name=f"{POD}-{number}") for number in range(400)]
    await until(lambda: any(e["involvedObject"]["name"] == f"{POD}-399" for e in watch._events.copy))
    assert len(watch._events.copy) == 300
