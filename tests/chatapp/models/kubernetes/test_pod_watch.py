"""The status of a model from its pods, read from a fake API server over real HTTPS."""

import asyncio
import socket
from datetime import datetime

import kubernetes_validate
import pytest
import structlog
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.domain.conversation import GenerationParameters, Message, Role
from chatapp.domain.errors import ModelLoading, ModelUnavailable
from chatapp.models import ModelState, TimeLimits
from chatapp.models.kubernetes.api import KubernetesApi
from chatapp.models.kubernetes.diagnosis import Observation, diagnose
from chatapp.models.kubernetes.pod_watch import PodWatch
from chatapp.models.kubernetes.reflector import PAUSE_SECONDS
from chatapp.models.kubernetes.workload import Workload
from chatapp.models.openai.model import OpenAICompatibleModel
from tests.any_text import any_text
from tests.fakes.kubernetes_objects import (
    CREATED,
    LATER,
    POD,
    deployment,
    ended,
    evicted,
    leader_worker_set,
    member,
    new,
    pod,
    running,
    unschedulable,
    waiting,
)
from tests.fakes.kubernetes_server import FakeKubernetes
from tests.fakes.openai_server import FakeOpenAIServer

NO_GPUS = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available."
NO_NODES = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
NO_ROOM = "0/2 nodes are available: 2 Insufficient cpu."


def ms(timestamp):
    return int(datetime.fromisoformat(timestamp).timestamp() * 1000)


@pytest.fixture
async def kubernetes(tmp_path):
    async with FakeKubernetes(tmp_path) as server:
        yield server


@pytest.fixture
async def watch(kubernetes):
    watch = PodWatch("chat/app=gemma", api=KubernetesApi(url=kubernetes.url, folder=kubernetes.folder, timeout=30))
    yield watch
    await watch.aclose()


@pytest.fixture
async def gemma(watch):
    """Return Gemma at an address that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    model = OpenAICompatibleModel(
        "gemma", "Gemma", f"http://127.0.0.1:{port}", pods=watch, limits=TimeLimits(connect=1)
    )
    yield model
    await model.aclose()


@pytest.mark.parametrize(
    ("status", "state", "reason", "since"),
    [
        (unschedulable(NO_GPUS), ModelState.WAITING, "no node with free GPUs is available yet", CREATED),
        (unschedulable(NO_NODES), ModelState.WAITING, "no node with free GPUs is available yet", CREATED),
        (unschedulable(NO_ROOM), ModelState.WAITING, "no node with enough free capacity is available yet", CREATED),
        (
            unschedulable("", reason="SchedulingGated"),
            ModelState.WAITING,
            "no node with free GPUs is available yet",
            CREATED,
        ),
        (new(), ModelState.LOADING, "its container is being created and its image pulled", CREATED),
        (
            waiting("ContainerCreating"),
            ModelState.LOADING,
            "its container is being created and its image pulled",
            LATER,
        ),
        (running(ready=False), ModelState.LOADING, "it is starting", LATER),
        (
            waiting("CrashLoopBackOff", "back-off 5m0s restarting", restarts=4, last=ended("OOMKilled", 137)),
            ModelState.UNAVAILABLE,
            "its node has too little memory for it",
            LATER,
        ),
        (
            waiting("ImagePullBackOff", 'Back-off pulling image "vllm"'),
            ModelState.UNAVAILABLE,
            "its container image cannot be pulled (ImagePullBackOff)",
            CREATED,
        ),
        (
            waiting("CreateContainerConfigError", 'secret "hf-secret" not found'),
            ModelState.UNAVAILABLE,
            "its Secret or ConfigMap hf-secret is missing",
            CREATED,
        ),
        (evicted(), ModelState.UNAVAILABLE, "its disk is full", CREATED),
    ],
)
async def test_status_has_the_reason_and_time_of_a_pods_state(kubernetes, gemma, status, state, reason, since):
    kubernetes.pods = [pod(status)]
    answer = await gemma.status()
    assert (answer.state, answer.reason, answer.since_ms) == (state, reason, ms(since))
    assert answer.fix


@pytest.mark.parametrize(
    "status",
    [
        new(),
        unschedulable(NO_GPUS),
        waiting("CrashLoopBackOff", "back-off", restarts=4, last=ended("Error", 1)),
        running(ready=True),
        evicted(),
    ],
)
def test_fake_pods_match_the_kubernetes_schema(status):
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "Pod", **pod(status)}, "1.37.0", strict=True)


async def test_model_without_pods_is_unavailable(kubernetes, gemma):
    kubernetes.pods = [pod(running(ready=True), app="gradio-chat"), pod(unschedulable(NO_GPUS), namespace="other")]
    answer = await gemma.status()
    assert (answer.state, answer.reason) == (
        ModelState.UNAVAILABLE,
        "it is switched off, or its Pods cannot be created",
    )


async def test_pod_closest_to_ready_counts(kubernetes, gemma):
    old = pod(running(ready=True), deleted=True)
    kubernetes.pods = [pod(evicted()), pod(unschedulable(NO_GPUS)), old]
    assert (await gemma.status()).state is ModelState.WAITING
    kubernetes.pods = [*kubernetes.pods, pod(running(ready=False))]
    assert (await gemma.status()).state is ModelState.LOADING


async def test_ready_pod_leaves_the_servers_own_error(kubernetes, gemma):
    kubernetes.pods = [pod(running(ready=True)), pod(unschedulable(NO_GPUS))]
    answer = await gemma.status()
    assert answer.state is ModelState.UNAVAILABLE
    assert answer.reason.startswith("there is no response from")


async def test_kubernetes_is_not_asked_while_the_model_answers(kubernetes, watch):
    async with FakeOpenAIServer() as server:
        model = OpenAICompatibleModel("gemma", "Gemma", server.url, pods=watch)
        assert (await model.status()).state is ModelState.READY
        server.loading = True  # it is reachable, with its own reason
        assert (await model.status()).state is ModelState.LOADING
        await model.aclose()
    assert kubernetes.requests == []


# What GKE's load balancer and llm-d's endpoint picker (v0.9.0, pkg/common/error) say while no pod runs.
NO_ENDPOINTS = [
    (503, "no healthy upstream"),
    (500, "inference error: Internal - no pods available in datastore"),
    (503, "inference error: ServiceUnavailable - failed to find endpoint candidates for serving the request"),
]


@pytest.fixture
async def behind_gateway(kubernetes):
    """Return Gemma behind a load balancer that has no server, and the answer that it gives to each request."""
    answer = {"status": 503, "text": ""}

    async def refuse(request):
        return web.Response(**answer)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", refuse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    api = KubernetesApi(url=kubernetes.url, folder=kubernetes.folder, timeout=30)
    watch = PodWatch("chat/app=gemma", workload=Workload("gemma-deployment"), sleeps=True, api=api)
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    model = OpenAICompatibleModel("gemma", "Gemma", url, model="gemma", pods=watch)
    yield model, answer
    await model.aclose()
    await runner.cleanup()


@pytest.mark.slow
@pytest.mark.parametrize(("status", "text"), NO_ENDPOINTS)
async def test_load_balancer_without_a_server_is_explained_by_the_pods(kubernetes, behind_gateway, status, text):
    model, answer = behind_gateway
    answer |= {"status": status, "text": text}
    kubernetes.deployments["gemma-deployment"] = deployment(0)
    assert (await model.status()).state is ModelState.ASLEEP
    kubernetes.deployments["gemma-deployment"] = deployment(1)
    kubernetes.pods = [pod(unschedulable(NO_GPUS))]
    assert (await model.status()).state is ModelState.WAITING
    question = Message(id="q", turn_id="t", role=Role.USER, content="Hi", created_ms=1)
    with pytest.raises(ModelUnavailable, match="no node with free GPUs is available yet"):
        async for _ in model.stream([question], GenerationParameters()):
            pass


async def test_failure_of_a_server_whose_pod_is_ready_is_its_own(kubernetes, behind_gateway):
    model, answer = behind_gateway
    answer |= {"status": 500, "text": "Internal Server Error"}
    kubernetes.pods = [pod(running(ready=True))]
    assert (await model.status()).reason == "the server reports a failure (500)"


async def test_token_is_read_for_every_request(kubernetes, watch):
    kubernetes.pods = [pod(unschedulable(NO_GPUS))]
    kubernetes.rights -= {("watch", "pods"), ("watch", "events")}
    for token in ("second", "third\n"):
        kubernetes.new_token(token.strip())
        (kubernetes.folder / "token").write_text(token)
        assert (await watch.status()).state is ModelState.WAITING
    assert {request for request in kubernetes.requests if "watch" not in request} == {
        "/api/v1/namespaces/chat/pods?labelSelector=app%3Dgemma&limit=20",
        "/api/v1/namespaces/chat/events?limit=300",
    }


async def test_message_of_the_scheduler_is_logged_once(kubernetes, watch):
    kubernetes.pods = [pod(unschedulable(NO_GPUS))]
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await watch.status()
    assert logs == [{"event": "model_is_down", "state": "waiting", "message": NO_GPUS, "log_level": "info"}]


def broken(kubernetes, folder, how):
    """Return a watch whose requests fail."""
    match how:
        case "forbidden":
            return PodWatch("other/app=gemma", api=KubernetesApi(url=kubernetes.url, folder=folder, timeout=30))
        case "wrong token":
            kubernetes.new_token("another")
            (folder / "token").write_text("old")
        case "no token":
            (folder / "token").unlink()
        case "not JSON":
            kubernetes.reply = (200, "<html>")
        case "no list":
            kubernetes.reply = (200, '{"items": null}')
        case "another authority":
            other = folder / "other"
            other.mkdir()
            FakeKubernetes(other)
            (folder / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
        case "no server":
            return PodWatch("chat/app=gemma", api=KubernetesApi(url="https://127.0.0.1:9", folder=folder))
        case "no pod":
            return PodWatch("chat/app=gemma", api=KubernetesApi(folder=folder))
    return PodWatch("chat/app=gemma", api=KubernetesApi(url=kubernetes.url, folder=folder, timeout=30))


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["forbidden", "wrong token", "no token", "not JSON", "no list", "another authority", "no server", "no pod"]
)
async def test_failure_of_the_kubernetes_api_is_logged_and_changes_nothing(kubernetes, tmp_path, monkeypatch, how):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    kubernetes.pods = [pod(unschedulable(NO_GPUS))]
    with structlog.testing.capture_logs() as logs:
        assert await broken(kubernetes, tmp_path, how).status() is None
    assert [entry["event"] for entry in logs] == ["pods_unknown"]


async def test_kubernetes_request_has_a_timeout(kubernetes):
    api = KubernetesApi(url=kubernetes.url, folder=kubernetes.folder, timeout=0)
    assert await PodWatch("chat/app=gemma", api=api).status() is None


async def test_api_address_comes_from_the_environment_of_a_pod(kubernetes, monkeypatch):
    kubernetes.pods = [pod(unschedulable(NO_GPUS))]
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", kubernetes.url.rpartition(":")[2])
    watch = PodWatch("chat/app=gemma", api=KubernetesApi(folder=kubernetes.folder, timeout=30))
    assert (await watch.status()).state is ModelState.WAITING


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (
            unschedulable(NO_GPUS),
            ModelUnavailable,
            "Gemma cannot answer: no node with free GPUs is available yet. Wait (minutes or hours)",
        ),
        (running(ready=False), ModelLoading, "Gemma cannot answer: it is starting. Wait a few minutes"),
    ],
)
async def test_failed_answer_has_the_reason_from_kubernetes(kubernetes, gemma, status, error, words):
    kubernetes.pods = [pod(status)]
    question = Message(id="q", turn_id="t", role=Role.USER, content="Hi", created_ms=1)
    with pytest.raises(error) as caught:
        _ = [event async for event in gemma.stream([question], GenerationParameters())]
    assert str(caught.value).startswith(words)


KEYS = [
    *("metadata", "status", "conditions", "type", "reason", "message", "containerStatuses", "state", "lastState"),
    *(
        "waiting",
        "running",
        "terminated",
        "startedAt",
        "creationTimestamp",
        "deletionTimestamp",
        "restartCount",
        "phase",
    ),
]
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | any_text(max_size=5)
    | st.sampled_from(["PodScheduled", "False", LATER]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.slow
@pytest.mark.parametrize("examples", [20, pytest.param(1000, marks=pytest.mark.long)])
def test_any_json_of_the_api_server_is_read_without_an_error(examples):
    @settings(max_examples=examples, deadline=None)
    @given(st.lists(ANY_JSON, max_size=8))
    def check(items):
        diagnosis = diagnose(Observation(pods=items, events=items, workload=items[0] if items else None))
        assert diagnosis is None or diagnosis.status.state is not ModelState.READY

    check()


async def test_percentage_is_read_from_the_log_of_a_container_that_starts(kubernetes, watch):
    kubernetes.pods = [pod(running(ready=False))]
    kubernetes.logs[POD] = "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11]"
    assert (await watch.status()).reason == "its weights are being loaded (56%)"


async def test_reason_of_a_crash_is_read_from_the_log_of_the_last_run(kubernetes, watch):
    kubernetes.pods = [pod(waiting("CrashLoopBackOff", "back-off", restarts=4, last=ended("Error", 1)))]
    kubernetes.logs[f"{POD} previous"] = "torch.OutOfMemoryError: CUDA out of memory.\n" + "traceback\n" * 60
    assert (await watch.status()).reason == "its GPUs have too little memory for it"


async def test_last_message_of_a_container_explains_the_crash_where_the_log_may_not_be_read(kubernetes, watch):
    kubernetes.rights -= {("get", "pods/log"), ("list", "events")}
    last = ended("Error", 1)
    last["terminated"]["message"] = "OSError: [Errno 28] No space left on device"
    kubernetes.pods = [pod(waiting("CrashLoopBackOff", "back-off", restarts=4, last=last))]
    assert (await watch.status()).reason == "its disk is full"


@pytest.mark.parametrize(
    ("replicas", "sleeps", "state", "reason"),
    [
        (0, True, ModelState.ASLEEP, "it is asleep to save cost"),
        (0, False, ModelState.UNAVAILABLE, "it is switched off"),
        (1, True, ModelState.LOADING, "its Pod is being created"),
    ],
)
async def test_deployment_without_pods_tells_whether_it_is_asleep(kubernetes, replicas, sleeps, state, reason):
    kubernetes.add_deployment(replicas)
    api = KubernetesApi(url=kubernetes.url, folder=kubernetes.folder, timeout=30)
    watch = PodWatch("chat/app=gemma", workload=Workload("gemma-deployment"), sleeps=sleeps, api=api)
    status = await watch.status()
    assert (status.state, status.reason) == (state, reason)


async def test_kubernetes_is_not_asked_again_at_once_after_a_failure(kubernetes, watch, monkeypatch):
    kubernetes.reply = (503, "")
    for _ in range(3):
        assert await watch.status() is None
    assert sum("/pods" in request for request in kubernetes.requests) == 1
    kubernetes.reply = None
    kubernetes.pods = [pod(unschedulable(NO_GPUS))]
    loop = asyncio.get_running_loop()
    time = loop.time
    monkeypatch.setattr(loop, "time", lambda: time() + PAUSE_SECONDS)
    assert (await watch.status()).state is ModelState.WAITING


async def test_leader_that_runs_does_not_hide_a_worker_without_a_gpu(kubernetes):
    kubernetes.rights |= {("get", "leaderworkersets")}
    kubernetes.deployments["gemma-group"] = leader_worker_set(1)
    kubernetes.pods = [member(1, unschedulable(NO_GPUS)), member(0, running(ready=False))]
    api = KubernetesApi(url=kubernetes.url, folder=kubernetes.folder, timeout=30)
    watch = PodWatch("chat/app=gemma", workload=Workload.named("leaderworkerset/gemma-group"), sleeps=True, api=api)
    status = await watch.status()
    assert (status.state, status.since_ms) == (ModelState.WAITING, ms(CREATED))
    assert status.reason == "it has 1 of its 2 machines: no node with free GPUs is available yet"
    kubernetes.pods = [member(0, running(ready=True)), member(1, running(ready=True))]
    assert await watch.status() is None, "it is ready"
    kubernetes.pods, kubernetes.deployments["gemma-group"] = [], leader_worker_set(0)
    assert (await watch.status()).state is ModelState.ASLEEP
