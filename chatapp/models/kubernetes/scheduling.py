"""Why a pod has no node yet, from the words of the scheduler and of the cluster's autoscaler.

The autoscaler's events on pods: TriggeredScaleUp, FailedScaleUp, NotTriggerScaleUp
(https://cloud.google.com/kubernetes-engine/docs/troubleshooting/cluster-autoscaler-scale-up).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from chatapp.domain.sentences import Sentence
from chatapp.models.kubernetes.events import latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from chatapp.models.kubernetes.events import Event
    from chatapp.models.kubernetes.failures import Explanation

WAIT_FOR_GPUS: Final = Sentence("wait (minutes or hours), choose another model, or check the project's GPU quota")
WAIT: Final = Sentence("wait a few minutes, or choose another model")
# In the scheduler's message while nodes with GPUs are missing: GKE adds them on demand, and may find none.
_GPU_WORDS: Final = ("nvidia.com/gpu", "node affinity", "node selector", "taint")
_ZONES: Final = re.compile(r"\bin zones? ([a-z0-9-]+(?:, ?[a-z0-9-]+)*) ")
_MAX_ZONES = 6


def no_node(message: str, events: Sequence[Event]) -> Explanation:
    """Return why there is no node yet, and what to do.

    Args:
        message: the scheduler's, of the pod's condition ``PodScheduled``.
        events: about the pod, the newest first.
    """
    newest = latest(events, "TriggeredScaleUp", "FailedScaleUp", "NotTriggerScaleUp")
    failures = [event for event in events if event.reason == "FailedScaleUp"]
    if newest and newest.reason == "TriggeredScaleUp":
        return Sentence("a machine with GPUs is being started for it"), WAIT
    if failures:
        return _failed(failures)
    if newest and (explanation := _not_tried(newest.message)):
        return explanation
    if not message or any(word in message for word in _GPU_WORDS):
        return Sentence("no node with free GPUs is available yet"), WAIT_FOR_GPUS
    return Sentence("no node with enough free capacity is available yet"), WAIT_FOR_GPUS


def _failed(failures: Sequence[Event]) -> Explanation:
    message = failures[0].message
    zones = _zones(event.message for event in failures)
    if re.search(r"quota", message, re.IGNORECASE):
        reason = (
            Sentence("the project's GPU quota does not allow another GPU (tried in {zones})", zones=zones)
            if zones
            else Sentence("the project's GPU quota does not allow another GPU")
        )
        return reason, Sentence("request more GPU quota in Google Cloud's console, or choose another model")
    if re.search(
        r"out of resources|stockout|resource_pool_exhausted|not have enough resources", message, re.IGNORECASE
    ):
        reason = (
            Sentence("Google Cloud has no free GPU of this kind now (tried in {zones})", zones=zones)
            if zones
            else Sentence("Google Cloud has no free GPU of this kind now")
        )
        return reason, Sentence("wait, choose another model, or set gpuFallback to try more kinds of machines")
    if re.search(r"ip space|ip address|subnetwork", message, re.IGNORECASE):
        return (
            Sentence("the network has no addresses left for another node"),
            Sentence("extend the ranges of the cluster's subnetwork"),
        )
    return Sentence("a machine with GPUs could not be started, and the cluster tries again"), WAIT_FOR_GPUS


def _not_tried(message: str) -> Explanation | None:
    if "backoff after failed scale-up" in message:
        return Sentence("a machine with GPUs could not be started, and the cluster tries again"), WAIT_FOR_GPUS
    if re.search(r"max (node group|cluster|limit)|limit (reached|exceeded)", message):
        return (
            Sentence("the cluster may not have more nodes"),
            Sentence("raise the cluster's limit of nodes or GPUs, or choose another model"),
        )
    if re.search(r"node affinity|node selector", message) and "Insufficient" not in message:
        return (
            Sentence("no kind of node in the cluster has the GPU that it asks for"),
            Sentence("check the GPU profile (gemma), and that the region has this GPU"),
        )
    return None


def _zones(messages: Iterable[str]) -> str:
    """Return the zones in which nodes were tried, "" where none is named."""
    found = dict.fromkeys(
        zone.strip() for message in messages for match in _ZONES.finditer(message) for zone in match[1].split(",")
    )
    return ", ".join(list(found)[:_MAX_ZONES])
