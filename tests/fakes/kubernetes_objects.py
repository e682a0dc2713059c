"""Pods, events, Deployments and LeaderWorkerSets as a Kubernetes API returns them, for tests.

Shapes: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ and
https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

from typing import Any

CREATED = "2026-11-25T20:00:00Z"
LATER = "2026-11-25T20:05:00Z"
POD = "gemma-deployment-7d4b9c6f5d-x2x7k"
REPLICA_SET = "gemma-deployment-7d4b9c6f5d"
GROUP = "gemma-group"


def pod(
    status: dict[str, Any], *, namespace: str = "chat", app: str = "gemma", deleted: bool = False
) -> dict[str, Any]:
    """Return a pod with a status from one of the functions below."""
    metadata = {
        "name": POD.replace("gemma", app, 1),
        "namespace": namespace,
        "labels": {"app": app, "pod-template-hash": "7d4b9c6f5d"},
        "creationTimestamp": CREATED,
    }
    if deleted:
        metadata |= {"deletionTimestamp": LATER, "deletionGracePeriodSeconds": 130}
    return {"metadata": metadata, "spec": {"containers": [{"name": "vllm", "image": "vllm"}]}, "status": status}


def member(index: int, status: dict[str, Any], *, deleted: bool = False, size: int = 2) -> dict[str, Any]:
    """Return a pod of a group of a LeaderWorkerSet: the leader, 0, or a worker."""
    made = pod(status, deleted=deleted)
    labels = {"name": GROUP, "group-index": "0", "worker-index": str(index), "template-revision-hash": "5c9d"}
    made["metadata"] |= {
        "name": f"{GROUP}-0-{index}" if index else f"{GROUP}-0",
        "labels": {"app": "gemma"} | {f"leaderworkerset.sigs.k8s.io/{name}": value for name, value in labels.items()},
        "annotations": {"leaderworkerset.sigs.k8s.io/size": str(size)},
    }
    return made


def unschedulable(message: str, *, reason: str = "Unschedulable") -> dict[str, Any]:
    """Return the status of a pod that fits no node."""
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {
        "phase": "Pending",
        "conditions": [condition | {"lastProbeTime": None, "lastTransitionTime": LATER}],
        "qosClass": "Guaranteed",
    }


def new() -> dict[str, Any]:
    """Return the status of a pod before scheduling."""
    return {"phase": "Pending", "qosClass": "Guaranteed"}


def waiting(reason: str, message: str = "", *, restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the status of a pod on a node, whose container does not run."""
    state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    phase = "Running" if restarts else "Pending"
    return {
        "phase": phase,
        "conditions": _conditions(ready=False),
        "containerStatuses": [_container(state, restarts, last)],
    }


def running(*, ready: bool) -> dict[str, Any]:
    """Return the status of a pod whose container runs."""
    container = _container({"running": {"startedAt": LATER}}, 0, None) | {"ready": ready, "started": ready}
    return {"phase": "Running", "conditions": _conditions(ready=ready), "containerStatuses": [container]}


def evicted() -> dict[str, Any]:
    """Return the status of an evicted pod."""
    return {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}


def ended(reason: str, exit_code: int) -> dict[str, Any]:
    """Return how a container's last run ended."""
    times = {"startedAt": CREATED, "finishedAt": LATER}
    return {"terminated": {"exitCode": exit_code, "reason": reason, "containerID": "containerd://1"} | times}


def _conditions(*, ready: bool) -> list[dict[str, Any]]:
    states = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    return [
        {"type": kind, "status": str(state), "lastProbeTime": None, "lastTransitionTime": LATER}
        for kind, state in states.items()
    ]


def _container(state: dict[str, Any], restarts: int, last: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": "vllm",
        "state": state,
        "lastState": last or {},
        "ready": False,
        "restartCount": restarts,
        "image": "vllm",
        "imageID": "",
        "started": False,
    }


def event(reason: str, message: str, *, at: str = LATER, name: str = POD, kind: str = "Pod") -> dict[str, Any]:
    """Return an event about an object."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name}.{reason.lower()}", "namespace": "chat", "creationTimestamp": CREATED},
        "involvedObject": {"kind": kind, "namespace": "chat", "name": name},
        "reason": reason,
        "message": message,
        "firstTimestamp": CREATED,
        "lastTimestamp": at,
        "count": 3,
        "type": "Warning",
    }


def deployment(replicas: int, *, name: str = "gemma-deployment", version: str = "1") -> dict[str, Any]:
    """Return a Deployment."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "chat", "resourceVersion": version, "creationTimestamp": CREATED},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "gemma"}}},
        "status": {},
    }


def leader_worker_set(replicas: int, *, name: str = GROUP, version: str = "1") -> dict[str, Any]:
    """Return a LeaderWorkerSet of groups of two pods."""
    made = deployment(replicas, name=name, version=version)
    template = {"size": 2, "restartPolicy": "RecreateGroupOnPodRestart", "workerTemplate": {}}
    spec = {"replicas": replicas, "leaderWorkerTemplate": template}
    return made | {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "spec": spec}
