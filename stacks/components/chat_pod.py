"""The chat's pod: container, probes, volumes and shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi_kubernetes as kubernetes

from stacks.components.workloads import (
    fixed_resources,
    http_port,
    http_probe,
    mounts,
    plain_variables,
    pod_security,
    restricted,
    scratch,
    secret_variable,
    selector,
    token_mount,
    token_volume,
)

if TYPE_CHECKING:
    from stacks.components.chat import ChatAppArgs, Volume

PORT = 7860
METRICS_PORT = 9090
"""Of the pod only: no Service exposes it."""
APP = "gradio-chat"
USER = 10001
"""The image's user."""
HEALTH = "/healthz"
RESOURCES = ("500m", "1Gi", "2Gi")
"""CPU, memory and ephemeral storage of a replica."""
DATA_DIR = "/data"
PRE_STOP_SECONDS, SHUTDOWN_SECONDS, GRACE_SECONDS = 10, 110, 200
"""Before the chat is told to stop; for its running answers, as long as Gemma's server has; until it is killed."""
VOLUME_SHUTDOWN_SECONDS = 30
"""For running answers where the history is on a volume: the next pod starts only afterwards, and takes no question."""


def chat_pod(args: ChatAppArgs, account: kubernetes.core.v1.ServiceAccount) -> kubernetes.core.v1.PodSpecArgs:
    """Return the pod of the chat's Deployment, which runs as `account`."""
    return kubernetes.core.v1.PodSpecArgs(
        service_account_name=account.metadata.name,
        # Google's libraries get the pod's identity from the node. Only a chat that reports Gemma's state gets a token
        # of the Kubernetes API, in a volume of its own.
        automount_service_account_token=False,
        # They would set CHAT_PORT=tcp://... for a Service called chat.
        enable_service_links=False,
        # Removal from the load balancer (10 s), running answers (110 s), saving the queue of cloud writes (30 s), and
        # room for a busy machine: writes that are still queued after that are lost with the pod.
        termination_grace_period_seconds=GRACE_SECONDS,
        security_context=pod_security(user=USER, group=USER),
        topology_spread_constraints=_spread() if args.replicas > 1 else None,
        containers=[
            kubernetes.core.v1.ContainerArgs(
                name="chat",
                image=args.image,
                image_pull_policy="IfNotPresent",
                env=[
                    *plain_variables(args.variables),
                    *(secret_variable(name, args.secret_name, name) for name in sorted(args.secrets)),
                ],
                ports=[http_port(PORT), http_port(METRICS_PORT, name="metrics")],
                resources=fixed_resources(*RESOURCES),
                security_context=restricted(read_only_root=True),
                startup_probe=http_probe(HEALTH, period_seconds=2, failure_threshold=60),
                readiness_probe=http_probe(HEALTH, period_seconds=5, failure_threshold=2),
                liveness_probe=http_probe(HEALTH, period_seconds=10, failure_threshold=6),
                # The load balancer keeps sending requests for a few seconds after the pod is told to stop.
                lifecycle=kubernetes.core.v1.LifecycleArgs(
                    pre_stop=kubernetes.core.v1.LifecycleHandlerArgs(
                        sleep=kubernetes.core.v1.SleepActionArgs(seconds=PRE_STOP_SECONDS)
                    )
                ),
                volume_mounts=[
                    *mounts({"data": DATA_DIR, "tmp": "/tmp"}),  # noqa: S108 - the container's own
                    *([token_mount()] if args.gemma else []),
                ],
            )
        ],
        volumes=[_data(args.volume), scratch("tmp", "512Mi"), *([token_volume()] if args.gemma else [])],
    )


def _data(volume: Volume | None) -> kubernetes.core.v1.VolumeArgs:
    if volume is None:
        # The journal of cloud writes: 256 MB, its log, and deleted rows between two clean-ups. It survives the chat's
        # process, but not the pod: docs/operate.md says what that means.
        return scratch("data", "1Gi")
    claim = kubernetes.core.v1.PersistentVolumeClaimVolumeSourceArgs(claim_name=volume.claim_name)
    return kubernetes.core.v1.VolumeArgs(name="data", persistent_volume_claim=claim)


def _spread() -> list[kubernetes.core.v1.TopologySpreadConstraintArgs]:
    return [
        kubernetes.core.v1.TopologySpreadConstraintArgs(
            max_skew=1, topology_key=key, when_unsatisfiable="ScheduleAnyway", label_selector=selector(APP)
        )
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
