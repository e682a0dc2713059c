"""Situations that a model in a cluster gets into, as Kubernetes and vLLM report them, each with its source.

Messages are quoted from the source, shortened; where it has no object but a table of messages, the object is made by
hand around one. `situations.json` has the sentence of each in three languages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatapp.models.kubernetes.diagnosis import Observation
from tests.fakes.kubernetes_objects import (
    GROUP,
    POD,
    REPLICA_SET,
    deployment,
    ended,
    event,
    leader_worker_set,
    member,
    new,
    pod,
    running,
    unschedulable,
    waiting,
)

GKE_SCALE_UP = "https://cloud.google.com/kubernetes-engine/docs/troubleshooting/cluster-autoscaler-scale-up"
LWS_DOC = "https://lws.sigs.k8s.io/docs/concepts"
POD_DOC = "https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/"
NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available."
NO_NODE = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
TRIGGERED = (
    "pod triggered scale-up: [{https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-b/instanceGroups/"
    "gk3-chat-nap-1-gpu1 0->1 (max: 1000)}]"
)
EARLIER, LATER, LATEST = "2026-11-25T20:01:00Z", "2026-11-25T20:06:00Z", "2026-11-25T20:09:00Z"


@dataclass(frozen=True)
class Situation:
    """One situation: what is seen, and where it is from."""

    source: str
    seen: Observation


def pending(*events: dict[str, Any], message: str = NO_GPU, source: str = GKE_SCALE_UP) -> Situation:
    """Return a pod without a node."""
    return Situation(source, Observation([pod(unschedulable(message))], events))


def failed_scale_up(zones: str, why: str, at: str = LATER) -> dict[str, Any]:
    message = (
        f"Node scale up in zones {zones} associated with this pod failed: {why}. Pod is at risk of not being scheduled."
    )
    return event("FailedScaleUp", message, at=at)


def group(*pods: dict[str, Any], events: tuple[dict[str, Any], ...] = (), replicas: int = 1) -> Situation:
    """Return pods of a LeaderWorkerSet of two machines."""
    return Situation(
        LWS_DOC, Observation(pods, events, leader_worker_set(replicas), sleeps=True, kind="LeaderWorkerSet")
    )


def image(message: str, source: str = POD_DOC) -> Situation:
    """Return a pod whose image is not pulled."""
    return Situation(source, Observation([pod(waiting("ImagePullBackOff", message))]))


def starting(log: str, source: str) -> Situation:
    """Return a pod whose container runs and is not ready."""
    return Situation(source, Observation([pod(running(ready=False))], logs={POD: log}))


def crashed(log: str, source: str, *, how: str = "Error", code: int = 1, events: tuple[Any, ...] = ()) -> Situation:
    """Return a pod whose container ends again and again, with the log of its last run."""
    status = waiting("CrashLoopBackOff", "back-off 5m0s restarting failed container", restarts=4, last=ended(how, code))
    return Situation(source, Observation([pod(status)], events, logs={POD: log}))


def gone(reason: str, message: str, source: str) -> Situation:
    """Return a pod that has ended."""
    return Situation(source, Observation([pod({"phase": "Failed", "reason": reason, "message": message})]))


def without_pods(replicas: int, *events: dict[str, Any], sleeps: bool = False, source: str = POD_DOC) -> Situation:
    """Return a Deployment without pods."""
    return Situation(source, Observation([], events, deployment(replicas), sleeps=sleeps))


def stopped_answering() -> Situation:
    container_status = running(ready=False)
    container_status["containerStatuses"][0]["started"] = True
    seen = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")
    return Situation(
        "vllm-project/vllm: /health is 503 after EngineDeadError", Observation([pod(container_status)], [seen])
    )


def ended_now() -> Situation:
    status = waiting("ignored", restarts=1)
    status["containerStatuses"][0]["state"] = ended("Error", 1)
    log = "vllm serve: error: unrecognized arguments: --max-model-length=4096"
    return Situation("argparse's message; vllm-project/vllm#25848", Observation([pod(status)], logs={POD: log}))


def out_of_memory() -> dict[str, Any]:
    """Return how a run ended, with the end of its log as `terminationMessagePolicy: FallbackToLogsOnError` keeps it."""
    last = ended("Error", 1)
    last["terminated"]["message"] = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
    return last


SITUATIONS = {
    # No GPU yet
    "no free GPU": pending(source="kubernetes/autoscaler#3448"),
    "no node for the selector": pending(message=NO_NODE, source="2i2c-org/infrastructure#2185"),
    "GPU quota": pending(
        failed_scale_up("us-central1-c", "GCE quota exceeded"), source="huggingface/Google-Cloud-Containers#126"
    ),
    "out of stock in three zones": pending(
        failed_scale_up("us-central1-a, us-central1-b", "GCE out of resources"),
        failed_scale_up("us-central1-c", "GCE out of resources", at=EARLIER),
    ),
    "a machine is being started": pending(event("TriggeredScaleUp", TRIGGERED), source="2i2c-org/infrastructure#2185"),
    "a machine was started and failed": pending(
        event("TriggeredScaleUp", TRIGGERED, at=EARLIER), failed_scale_up("us-central1-b", "GCE out of resources")
    ),
    "a machine failed and another is being started": pending(
        failed_scale_up("us-central1-a", "GCE out of resources", at=EARLIER), event("TriggeredScaleUp", TRIGGERED)
    ),
    "in backoff": pending(
        event(
            "NotTriggerScaleUp",
            "pod didn't trigger scale-up (it wouldn't fit if a new node is added): 1 in backoff after failed scale-up",
        ),
        source="cortexlabs/cortex#1685",
    ),
    "limit of nodes": pending(
        event("NotTriggerScaleUp", "pod didn't trigger scale-up: 1 max node group size reached"),
        source="kubernetes/autoscaler, cluster-autoscaler/FAQ.md",
    ),
    "no such GPU in the region": pending(
        event("NotTriggerScaleUp", "pod didn't trigger scale-up: 3 node(s) didn't match Pod's node affinity/selector"),
    ),
    "would not fit": pending(
        event("NotTriggerScaleUp", "pod didn't trigger scale-up (it wouldn't fit if a new node is added)"),
        source="kubernetes/autoscaler#1470",
    ),
    "no addresses left": pending(failed_scale_up("us-central1-a", "IP space exhausted")),
    "another failure of a scale-up": pending(failed_scale_up("us-central1-a", "Internal error")),
    "no capacity without GPUs": pending(message="0/2 nodes are available: 2 Insufficient cpu.", source=POD_DOC),
    "spot machine taken back": gone(
        "Terminated", "Pod was terminated in response to imminent node shutdown.", "flyteorg/flyteplugins#354"
    ),
    "no machine of a group": group(member(0, unschedulable(NO_GPU)), member(1, unschedulable(NO_GPU))),
    "leader runs, worker waits for a GPU": group(member(0, running(ready=False)), member(1, unschedulable(NO_GPU))),
    "leader runs, GPUs are out of stock for the worker": group(
        member(0, running(ready=False)),
        member(1, unschedulable(NO_GPU)),
        events=(
            event(
                "FailedScaleUp",
                "Node scale up in zones us-central1-a associated with this pod failed: GCE out of resources.",
                name=f"{GROUP}-0-1",
            ),
        ),
    ),
    "worker runs, leader waits for a GPU": group(member(0, unschedulable(NO_GPU)), member(1, running(ready=True))),
    # On a node
    "new": Situation(POD_DOC, Observation([pod(new())])),
    "container is being created": Situation(POD_DOC, Observation([pod(waiting("ContainerCreating"))])),
    "image is being downloaded": Situation(
        POD_DOC,
        Observation(
            [pod(waiting("ContainerCreating"))],
            [
                event("Scheduled", "Successfully assigned", at=EARLIER),
                event("Pulling", 'Pulling image "vllm/vllm-openai"'),
            ],
        ),
    ),
    "network of the node is not ready": Situation(
        POD_DOC,
        Observation([pod(waiting("ContainerCreating"))], [event("FailedCreatePodSandBox", "network is not ready")]),
    ),
    "volume is not mounted": Situation(
        "kubernetes/kubernetes#112333",
        Observation([pod(waiting("ContainerCreating"))], [event("FailedMount", "MountVolume.SetUp failed for volume")]),
    ),
    "image does not exist": image(
        'failed to resolve reference "docker.io/vllm/vllm-openai:v0.99": docker.io/vllm/vllm-openai:v0.99: not found'
    ),
    "image is private": image("pull access denied, repository does not exist or may require authorization"),
    "registry limits downloads": image("toomanyrequests: You have reached your pull rate limit."),
    "registry cannot be reached": image('Get "https://registry-1.docker.io/v2/": dial tcp 34.0.0.1:443: i/o timeout'),
    "image does not fit the disk": image("failed to extract layer: write /opt/x: no space left on device"),
    "image fails for another reason": image('Back-off pulling image "vllm"'),
    "Secret is missing": Situation(
        POD_DOC, Observation([pod(waiting("CreateContainerConfigError", 'secret "hf-secret" not found'))])
    ),
    "driver is too old for the image": Situation(
        "vllm-project/vllm#5635",
        Observation(
            [
                pod(
                    waiting(
                        "RunContainerError",
                        "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=12.4, please "
                        "update your driver to a newer version",
                    )
                )
            ]
        ),
    ),
    # vLLM starts
    "no log yet": starting("", POD_DOC),
    "downloading": starting("Fetching 5 files:  34%|###   | 2/5\rmodel-00002-of-00005.safetensors:  71%|## |", "tqdm"),
    "loading": starting(
        "Loading safetensors checkpoint shards:  11% Completed | 1/9 [00:02<00:24]\r"
        "Loading safetensors checkpoint shards:  56% Completed | 5/9 [00:13<00:11,  2.87s/it]",
        "vllm-project/vllm#38820",
    ),
    "streaming weights": starting(
        "Loading safetensors using Runai Model Streamer:  40% Completed | 4/10 [00:01<00:02]",
        "vllm/model_executor/model_loader/weight_utils.py",
    ),
    "compiling": starting(
        "Loading safetensors checkpoint shards: 100% Completed | 9/9 [00:29<00:00]\n"
        "INFO [gpu_model_runner.py:4879] Model loading took 12.66 GiB memory and 31.657031 seconds\n"
        "INFO [backends.py:1069] Using cache directory: .cache/vllm/torch_compile_cache for vLLM's torch.compile",
        "vllm-project/vllm#38820",
    ),
    "capturing graphs": starting(
        "INFO [monitor.py:33] torch.compile takes 13.93 s in total\n"
        "Capturing CUDA graphs (mixed prefill-decode, PIECEWISE):  67%|######   | 34/51",
        "vllm-project/vllm#17431",
    ),
    "almost ready": starting(
        "INFO [gpu_model_runner.py] Graph capturing finished in 20 secs", "vllm-project/vllm#30515"
    ),
    # vLLM fails
    "GPU memory is taken": crashed(
        "ValueError: Free memory on device (31.44/47.38 GiB) on startup is less than desired GPU memory",
        "vllm-project/vllm#20305",
    ),
    "GPU memory for the context": crashed(
        "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization`",
        "vllm-project/vllm#17431",
    ),
    "driver is too old": crashed(
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12080). Please update your driver",
        "guqiong96/Lvllmds4#46",
    ),
    "driver without compatibility": crashed(
        "Error 804: forward compatibility was attempted on non supported HW", "vllm-project/vllm#5283"
    ),
    "no GPU is seen": crashed("RuntimeError: Failed to infer device type", "vllm/platforms/__init__.py"),
    "token refused": crashed(
        "huggingface_hub.errors.GatedRepoError: 401 Client Error. Cannot access gated repo for url https://huggingface.co/"
        "google/gemma-3-12b-it/resolve/main/config.json. Access to model google/gemma-3-12b-it is restricted. You must "
        "have access to it and be authenticated to access it. Please log in.",
        "vllm-project/semantic-router#817",
    ),
    "terms not accepted": crashed(
        "huggingface_hub.utils._errors.GatedRepoError: 403 Client Error. Cannot access gated repo for url "
        "https://huggingface.co/google/gemma-3-12b-it/resolve/main/config.json. Access to model google/gemma-3-12b-it "
        "is restricted and you are not in the authorized list. Visit https://huggingface.co/google/gemma-3-12b-it to "
        "ask for access.",
        "kubeai-project/kubeai#155",
    ),
    "weights not found": crashed(
        "RepositoryNotFoundError: 404 Client Error. Repository Not Found for url: https://huggingface.co/api/models/a/b",
        "huggingface_hub/errors.py",
    ),
    "hub limits downloads": crashed("HfHubHTTPError: 429 Client Error: Too Many Requests", "huggingface_hub/errors.py"),
    "no internet": crashed(
        "NameResolutionError: Failed to resolve 'huggingface.co' ([Errno -3] Temporary failure in name resolution)",
        "urllib3/exceptions.py",
    ),
    "damaged weights": crashed("SafetensorError: Error while deserializing header: incompleteBuffer", "safetensors"),
    "disk is full": crashed("OSError: [Errno 28] No space left on device", "errno(3)"),
    "disk is full, evicted": gone(
        "Evicted",
        "The node was low on resource: ephemeral-storage. Threshold quantity: 10120387530, available: 9166736Ki.",
        "GoogleCloudPlatform/kubernetes-engine-samples#1581",
    ),
    "memory of the node, evicted": gone("Evicted", "The node was low on resource: memory.", POD_DOC),
    "memory of the node, killed": crashed("", POD_DOC, how="OOMKilled", code=137),
    "too slow to start": crashed(
        "Loading safetensors checkpoint shards:  20% Completed | 1/5",
        "vllm-project/aibrix#772",
        code=137,
        events=(event("Killing", "Container vllm failed startup probe, will be restarted"),),
    ),
    "unknown argument": ended_now(),
    "unknown architecture": crashed(
        "ValueError: Model architectures ['Gemma9ForCausalLM'] are not supported for now.",
        "vllm/model_executor/models/registry.py",
    ),
    "old GPU": crashed(
        "ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0.",
        "vllm/platforms/cuda.py",
    ),
    "faulty GPU": crashed(
        "RuntimeError: CUDA error: uncorrectable ECC error encountered", "CUDA Runtime API, error 214"
    ),
    "crash without words": crashed("", POD_DOC, code=139),
    "stopped for another reason": gone("UnexpectedAdmissionError", "Allocate failed", "kubernetes/kubernetes#112333"),
    "stopped answering": stopped_answering(),
    # No pods
    "asleep": without_pods(0, sleeps=True),
    "switched off": without_pods(0),
    "pod is being created": without_pods(1),
    "pod is refused": without_pods(
        1,
        event(
            "FailedCreate",
            'pods "gemma" is forbidden: exceeded quota: gpus, requested: requests.nvidia.com/gpu=1, limited: 0',
            name=REPLICA_SET,
            kind="ReplicaSet",
        ),
    ),
    "last pod is ending": Situation(POD_DOC, Observation([pod(running(ready=True), deleted=True)], (), deployment(1))),
    "no Deployment is known": Situation(POD_DOC, Observation([])),
    # On several machines
    "group asleep": group(replicas=0),
    "leader runs, worker pulls its image": group(
        member(0, running(ready=False)),
        member(1, waiting("ContainerCreating")),
        events=(event("Pulling", 'Pulling image "vllm"', name=f"{GROUP}-0-1"),),
    ),
    "all of a group run": group(member(0, running(ready=False)), member(1, running(ready=True))),
    "worker is refused": group(
        member(0, running(ready=False)),
        events=(
            event(
                "FailedCreate",
                'create Pod gemma-group-0-1 in StatefulSet gemma-group-0 failed error: pods "gemma-group-0-1" is '
                "forbidden: exceeded quota: gpus",
                name=f"{GROUP}-0",
                kind="StatefulSet",
            ),
        ),
    ),
    "leader is refused": group(
        events=(
            event(
                "FailedCreate",
                "create Pod gemma-group-0 in StatefulSet gemma-group failed error: Internal error occurred: failed "
                'calling webhook "mpod.kb.io": no endpoints available for service "lws-webhook-service"',
                name=GROUP,
                kind="StatefulSet",
            ),
        ),
    ),
    "worker crashed, the group is replaced": group(
        member(0, running(ready=False), deleted=True),
        member(1, waiting("ContainerCreating", restarts=1, last=out_of_memory()), deleted=True),
    ),
    "group is ending": group(member(0, running(ready=False), deleted=True), member(1, running(ready=True))),
}
