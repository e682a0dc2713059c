"""The endpoint picker: llm-d's program that chooses the server of Gemma for each question.

The load balancer asks it through Envoy's protocol for external processing. It watches the servers' pods, reads their
metrics, and remembers which server got which beginning of a conversation. The objects are those of llm-d's Helm chart
(github.com/llm-d/llm-d-router at v0.9.0, config/charts/llm-d-router-gateway), without what this stack does not use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_kubernetes as kubernetes
import yaml

from stacks.components.manifests import Manifest, apply_manifest
from stacks.components.workloads import (
    SKIP_AWAIT,
    fixed_resources,
    http_port,
    labels,
    metadata,
    mounts,
    pod_security,
    restricted,
    scratch,
    selector,
    service_account,
    token_mount,
    token_volume,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

APP = "gemma-picker"
CHOICES_PORT, HEALTH_PORT, METRICS_PORT = 9002, 9003, 9090
"""Where it answers the load balancer, the load balancer's health checks, and Google's collectors."""
POOL_GROUP = "inference.networking.k8s.io"
USER = 65532
"""The image's user (Dockerfile.epp)."""
RESOURCES = ("500m", "1Gi", "1Gi")
"""CPU, memory and ephemeral storage. The chart has 8 CPUs for hundreds of questions a second; a chat has a few."""
CONFIG_FILE, CONFIG_DIR = "config.yaml", "/config"
_CONFIG: Final = {
    "apiVersion": "llm-d.ai/v1alpha1",
    "kind": "EndpointPickerConfig",
    "plugins": [
        {"type": "queue-scorer"},
        {"type": "kv-cache-utilization-scorer"},
        {"type": "prefix-cache-scorer"},
        {"type": "metrics-data-source", "parameters": {"scheme": "http", "path": "/metrics"}},
        {"type": "core-metrics-extractor"},
    ],
    "schedulingProfiles": [
        {
            "name": "default",
            "plugins": [
                {"pluginRef": "queue-scorer", "weight": 2},
                {"pluginRef": "kv-cache-utilization-scorer", "weight": 2},
                {"pluginRef": "prefix-cache-scorer", "weight": 3},
            ],
        }
    ],
}
"""The chart's own weights: of the queue, the memory for keys and values, and the beginning that a server knows."""


@dataclass(frozen=True)
class EndpointPickerArgs:
    """Arguments of `EndpointPicker`.

    Attributes:
        namespace: of all its objects, and of the pool.
        name: of its objects.
        account: of the service account.
        image: of llm-d's router, by digest where it is known.
        pool: name of the InferencePool whose pods it chooses from.
        monitoring: has the metrics collected.
        depends_on: what must exist before it runs.
    """

    namespace: pulumi.Input[str]
    name: str
    account: str
    image: str
    pool: str
    monitoring: Manifest
    depends_on: Sequence[pulumi.Resource] = ()


class EndpointPicker(pulumi.ComponentResource):
    """One pod: what it remembers of conversations is in its memory. Without it the load balancer chooses by itself.

    Attributes:
        service: on `CHOICES_PORT`.
    """

    service: kubernetes.core.v1.Service

    def __init__(self, name: str, args: EndpointPickerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:EndpointPicker", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        described = metadata(args.name, args.namespace, APP)
        account = service_account(args.account, args.namespace, APP, child)
        binding = _rights(args, described, account, child)
        text = yaml.safe_dump(_CONFIG, sort_keys=False)
        config = kubernetes.core.v1.ConfigMap("config", metadata=described, data={CONFIG_FILE: text}, opts=child)
        kubernetes.apps.v1.Deployment(
            "picker",
            # Not awaited: a picker that does not start must not fail an update, as the load balancer works without it.
            metadata=metadata(args.name, args.namespace, APP, SKIP_AWAIT),
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                replicas=1,
                # Two at once would each remember half of the conversations.
                strategy=kubernetes.apps.v1.DeploymentStrategyArgs(type="Recreate"),
                revision_history_limit=3,
                selector=selector(APP),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(labels=labels(APP)),
                    spec=_pod(args, account, config),
                ),
            ),
            opts=pulumi.ResourceOptions(parent=self, depends_on=[binding, *args.depends_on]),
        )
        self.service = kubernetes.core.v1.Service(
            "service",
            metadata=metadata(args.name, args.namespace, APP, SKIP_AWAIT),
            spec=kubernetes.core.v1.ServiceSpecArgs(
                type="ClusterIP",
                selector={"app": APP},
                ports=[
                    kubernetes.core.v1.ServicePortArgs(
                        name="grpc-ext-proc", port=CHOICES_PORT, target_port=CHOICES_PORT, protocol="TCP"
                    )
                ],
            ),
            opts=child,
        )
        apply_manifest(args.monitoring, parent=self, namespace=args.namespace)
        self.register_outputs({"service": self.service.metadata.name})


def _rights(
    args: EndpointPickerArgs,
    described: kubernetes.meta.v1.ObjectMetaArgs,
    account: kubernetes.core.v1.ServiceAccount,
    child: pulumi.ResourceOptions,
) -> kubernetes.rbac.v1.RoleBinding:
    """Let it read pods and its pool in its namespace; it reads the other two kinds only where their CRDs exist."""
    kinds = {
        "": ["pods"],
        POOL_GROUP: ["inferencepools"],
        "llm-d.ai": ["inferenceobjectives", "inferencemodelrewrites"],
        "inference.networking.x-k8s.io": ["inferenceobjectives", "inferencemodelrewrites"],
    }
    rules = [
        kubernetes.rbac.v1.PolicyRuleArgs(api_groups=[group], resources=names, verbs=["get", "list", "watch"])
        for group, names in kinds.items()
    ]
    role = kubernetes.rbac.v1.Role("reads", metadata=described, rules=rules, opts=child)
    return kubernetes.rbac.v1.RoleBinding(
        "reads",
        metadata=described,
        role_ref=kubernetes.rbac.v1.RoleRefArgs(
            api_group="rbac.authorization.k8s.io", kind="Role", name=role.metadata.name
        ),
        subjects=[
            kubernetes.rbac.v1.SubjectArgs(kind="ServiceAccount", name=account.metadata.name, namespace=args.namespace)
        ],
        opts=child,
    )


def _pod(
    args: EndpointPickerArgs, account: kubernetes.core.v1.ServiceAccount, config: kubernetes.core.v1.ConfigMap
) -> kubernetes.core.v1.PodSpecArgs:
    return kubernetes.core.v1.PodSpecArgs(
        service_account_name=account.metadata.name,
        automount_service_account_token=False,  # it has its own volume
        enable_service_links=False,
        # As long as a server's: it is told of an answer until its end.
        termination_grace_period_seconds=130,
        security_context=pod_security(user=USER, group=USER),
        containers=[
            kubernetes.core.v1.ContainerArgs(
                name="epp",
                image=args.image,
                args=[
                    f"--pool-name={args.pool}",
                    pulumi.Output.concat("--pool-namespace=", args.namespace),
                    f"--pool-group={POOL_GROUP}",
                    f"--config-file={CONFIG_DIR}/{CONFIG_FILE}",
                    f"--grpc-health-port={HEALTH_PORT}",
                    "--zap-encoder=json",
                    "--tracing=false",
                    # Only Google's collectors reach that port; to verify their tokens it would need rights in the
                    # whole cluster.
                    "--metrics-endpoint-auth=false",
                ],
                ports=[
                    http_port(CHOICES_PORT, name="grpc"),
                    http_port(HEALTH_PORT, name="grpc-health"),
                    http_port(METRICS_PORT, name="metrics"),
                ],
                resources=fixed_resources(*RESOURCES),
                security_context=restricted(read_only_root=True),
                startup_probe=_probe(period_seconds=2, failure_threshold=60),
                readiness_probe=_probe(period_seconds=2, failure_threshold=3),
                liveness_probe=_probe(period_seconds=10, failure_threshold=3),
                volume_mounts=[*mounts({"config": CONFIG_DIR, "tmp": "/tmp"}), token_mount()],  # noqa: S108 - the container's own
            )
        ],
        volumes=[
            kubernetes.core.v1.VolumeArgs(
                name="config", config_map=kubernetes.core.v1.ConfigMapVolumeSourceArgs(name=config.metadata.name)
            ),
            scratch("tmp", "512Mi"),
            token_volume(),
        ],
    )


def _probe(*, period_seconds: int, failure_threshold: int) -> kubernetes.core.v1.ProbeArgs:
    """Return a probe of its health, which is good once it has read its pool; it needs no server of Gemma for that."""
    return kubernetes.core.v1.ProbeArgs(
        grpc=kubernetes.core.v1.GRPCActionArgs(port=HEALTH_PORT, service="inference-extension"),
        period_seconds=period_seconds,
        timeout_seconds=5,
        failure_threshold=failure_threshold,
    )
