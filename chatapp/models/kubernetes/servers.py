"""Which pods are one server: a pod of a Deployment, or all pods of a group of a LeaderWorkerSet, the leader first.

Labels and annotations: https://lws.sigs.k8s.io/docs/reference/labels-annotations-and-environment-variables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chatapp.models.kubernetes.fields import at, condition, text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LWS: Final = "leaderworkerset.sigs.k8s.io"


def servers_of(pods: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the pods of each server. A group without its leader is none: the leader is deleted first, all follow."""
    servers: dict[str, list[dict[str, Any]]] = {}
    for number, pod in enumerate(pods):
        servers.setdefault(group_of(pod) or f"pod {number}", []).append(pod)
    ordered = [sorted(server, key=_index) for server in servers.values()]
    return [server for server in ordered if _index(server[0]) == 0]


def group_of(pod: object) -> str:
    """Return the group of a pod; "" for one that is a server by itself."""
    return text(at(pod, "metadata", "labels", f"{_LWS}/group-index"))


def machines_of(server: Sequence[object]) -> int:
    """Return on how many machines a server runs, once all its pods exist."""
    size = text(at(server[0], "metadata", "annotations", f"{_LWS}/size"))
    return max(len(server), int(size) if size.isdecimal() and len(size) < 5 else 0)


def is_ready(pod: object) -> bool:
    """Return whether a pod is ready; of a group, the leader's probes ask vLLM, and a worker has none."""
    return condition(pod, "Ready").get("status") == "True"


def _index(pod: object) -> int:
    index = text(at(pod, "metadata", "labels", f"{_LWS}/worker-index"))
    return int(index) if index.isdecimal() and len(index) < 5 else 0
