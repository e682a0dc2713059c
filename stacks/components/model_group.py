"""A model on several machines: a LeaderWorkerSet, whose servers are groups of pods, and the controller that it needs.

Written from the documentation and code of LeaderWorkerSet 0.10, and not tried on Google Cloud:
https://lws.sigs.k8s.io/docs/concepts
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes

from chatapp.models.kubernetes.workload import GROUP, Workload
from stacks.components.manifests import custom_object
from stacks.components.retries import webhook_retry
from stacks.components.workloads import labels, metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEADER = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}
"""The label by which a Service and the policies select the pod of each group that answers."""
RANK, LEADER_ADDRESS = "$(LWS_WORKER_INDEX)", "$(LWS_LEADER_ADDRESS)"
"""In arguments: which pod of its group this is, and where the leader is. The controller sets both variables."""
CHART, VERSION = "oci://registry.k8s.io/lws/charts/lws", "0.10.0"
NAMESPACE, APP = "lws-system", "lws"
RESOURCES = ("250m", "1Gi", "1Gi")
"""CPU, memory and ephemeral storage of the controller; the chart asks for a whole CPU and the same memory."""


@dataclass(frozen=True)
class ModelGroupArgs:
    """Arguments of `model_group`.

    Attributes:
        name: of the LeaderWorkerSet, and of the headless Service that its controller creates.
        namespace: of it and its pods.
        app: the label ``app`` of its pods.
        size: machines of a server, one pod on each.
        replicas: servers; `None`: the chat or an autoscaler sets the number.
        leader: the pod that answers.
        worker: each of the others.
        annotations: of the pods.
        depends_on: what must exist before they run.
    """

    name: str
    namespace: pulumi.Input[str]
    app: str
    size: int
    replicas: int | None
    leader: kubernetes.core.v1.PodSpecArgs
    worker: kubernetes.core.v1.PodSpecArgs
    annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()


def model_group(args: ModelGroupArgs, *, parent: pulumi.Resource) -> pulumi.Resource:
    """Create the LeaderWorkerSet.

    Pulumi waits for no GPU: it knows of no condition of this kind that would make it wait.
    """
    spec: dict[str, Any] = {
        # A rollout needs no second set of GPUs: a group ends before its successor starts.
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"maxUnavailable": 1, "maxSurge": 0},
        },
        "leaderWorkerTemplate": {
            "size": args.size,
            # vLLM does not go on without one of its processes, nor does a new one join the others.
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": _template(args, args.leader),
            "workerTemplate": _template(args, args.worker),
        },
        # All start at once: the leader's vLLM waits for the others.
        "startupPolicy": "LeaderCreated",
    }
    if args.replicas is not None:
        spec["replicas"] = args.replicas
    return custom_object(
        Workload(args.name, GROUP).api_version,
        GROUP,
        # Forced, so that a number of replicas that the chat had set is no conflict once this stack sets it again.
        metadata(args.name, args.namespace, args.app, {"pulumi.com/patchForce": "true"}),
        spec,
        pulumi.ResourceOptions(
            parent=parent,
            depends_on=args.depends_on,
            custom_timeouts=pulumi.CustomTimeouts(delete="10m"),
            hooks=pulumi.ResourceHookBinding(on_error=[webhook_retry("group-webhook")]),
        ),
    )


def _template(args: ModelGroupArgs, pod: kubernetes.core.v1.PodSpecArgs) -> kubernetes.core.v1.PodTemplateSpecArgs:
    described = kubernetes.meta.v1.ObjectMetaArgs(labels=labels(args.app), annotations=args.annotations or None)
    return kubernetes.core.v1.PodTemplateSpecArgs(metadata=described, spec=pod)


class GroupController(pulumi.ComponentResource):
    """LeaderWorkerSet's controller, by its own chart, in a cluster of this stack's own.

    The chart brings definitions of 1.3 MB, webhooks whose certificates the controller writes into them, and roles that
    follow its version. Its controller may read Secrets and change pods, Services and StatefulSets in the whole cluster.
    The update waits until it is ready: its webhooks must answer before a LeaderWorkerSet can exist. It is deleted after
    the LeaderWorkerSet, whose pods could not be deleted without it.
    """

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:GroupController", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        restricted = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
        namespace = kubernetes.core.v1.Namespace(
            "namespace",
            metadata={"name": NAMESPACE, "labels": labels(APP) | restricted},
            opts=child.merge(pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete="20m"))),
        )
        amounts = dict(zip(("cpu", "memory", "ephemeral-storage"), RESOURCES, strict=True))
        kubernetes.helm.v3.Release(
            "controller",
            name=APP,
            chart=CHART,
            version=VERSION,
            namespace=namespace.metadata.name,
            # A failed installation is taken back, so that the next run can repeat it.
            atomic=True,
            timeout=900,
            values={
                "image": {"manager": {"tag": f"v{VERSION}", "pullPolicy": "IfNotPresent"}},
                "resources": {"requests": amounts, "limits": amounts},
                "podSecurityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            },
            opts=child.merge(
                pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m", delete="10m"))
            ),
        )
        self.register_outputs({})
