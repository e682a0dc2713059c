"""More servers of Gemma while questions wait: a HorizontalPodAutoscaler on the length of vLLM's queue.

It works between one server and the most that are set. Between none and one the chat itself scales (its sleep): an
autoscaler changes nothing while a workload's scale is zero
(https://kubernetes.io/docs/concepts/workloads/autoscaling/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation).
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from stacks.components.manifests import Manifest, apply_manifest
from stacks.components.workloads import metadata

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models.kubernetes.workload import Workload

METRIC_FILE = "gemma-scaling.yaml"
QUEUE = "4"
"""Questions that wait at each server. Google's advice is to begin with 3 to 5:
https://docs.cloud.google.com/kubernetes-engine/docs/best-practices/machine-learning/inference/autoscaling"""
UP_SECONDS = 300
"""Between two more servers. One takes minutes to start, in which the queue stays as long as it is."""
DOWN_SECONDS = 900
"""Of a short queue before a server ends: a new one would have to load its weights again."""


def scale_out(
    workload: Workload,
    namespace: pulumi.Input[str],
    answering: Mapping[str, str],
    *,
    most: int,
    parent: pulumi.Resource,
    server: pulumi.Resource,
) -> None:
    """Create the metric and the autoscaler.

    Args:
        workload: of the servers.
        namespace: of all of them.
        answering: the labels of the pods that answer, and have the metric.
        most: servers at the same time.
        parent: of both resources.
        server: the workload.
    """
    v2 = kubernetes.autoscaling.v2
    manifest = _of_pods(Manifest.read(METRIC_FILE), answering)
    metric = apply_manifest(manifest, parent=parent, namespace=namespace)
    v2.HorizontalPodAutoscaler(
        "scaling",
        metadata=metadata("gemma-scaling", namespace, answering["app"]),
        spec=v2.HorizontalPodAutoscalerSpecArgs(
            scale_target_ref=v2.CrossVersionObjectReferenceArgs(
                api_version=workload.api_version, kind=workload.kind, name=workload.name
            ),
            min_replicas=1,
            max_replicas=most,
            metrics=[
                v2.MetricSpecArgs(
                    type="Pods",
                    pods=v2.PodsMetricSourceArgs(
                        metric=v2.MetricIdentifierArgs(name=metric_name(manifest)),
                        target=v2.MetricTargetArgs(type="AverageValue", average_value=QUEUE),
                    ),
                )
            ],
            behavior=v2.HorizontalPodAutoscalerBehaviorArgs(
                scale_up=_one_each(UP_SECONDS, settled=60), scale_down=_one_each(UP_SECONDS, settled=DOWN_SECONDS)
            ),
        ),
        opts=pulumi.ResourceOptions(parent=parent, depends_on=[*metric, server]),
    )


def _of_pods(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    """Return the manifest with the metric of the pods with these labels."""
    documents = deepcopy(manifest.documents)
    for each in documents[0]["spec"]["metrics"]:
        each["pod"]["selector"]["matchLabels"] = dict(labels)
    return Manifest(manifest.file, documents)


def metric_name(manifest: Manifest) -> str:
    """Return the name that an autoscaler gives the manifest's first metric."""
    (gauge,) = (
        metric["gauge"]
        for each in manifest.documents[0]["spec"]["metrics"]
        for container in each["pod"]["containers"]
        for metric in container["metrics"]
    )
    return f"autoscaling.gke.io|{manifest.name}|{gauge['name']}"


def _one_each(seconds: int, *, settled: int) -> kubernetes.autoscaling.v2.HPAScalingRulesArgs:
    v2 = kubernetes.autoscaling.v2
    return v2.HPAScalingRulesArgs(
        stabilization_window_seconds=settled,
        policies=[v2.HPAScalingPolicyArgs(type="Pods", value=1, period_seconds=seconds)],
    )
