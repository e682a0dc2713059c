"""The chat: its Deployment, and the Service, Secret, volume and rights that belong to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_kubernetes as kubernetes

from stacks.components.chat_pod import APP, PORT, chat_pod
from stacks.components.manifests import Manifest, apply_manifest
from stacks.components.waiting import all_replicas_ready
from stacks.components.workloads import SKIP_AWAIT, content_hash, labels, metadata, selector, service_account

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from chatapp.models.kubernetes.workload import Workload


@dataclass(frozen=True)
class Volume:
    """A persistent volume for a history in a SQLite file.

    Attributes:
        size: as Kubernetes writes it (5Gi).
        storage_class: empty: the cluster's default.
        claim_name: name of the PersistentVolumeClaim.
    """

    size: str
    storage_class: pulumi.Input[str]
    claim_name: str


@dataclass(frozen=True)
class ChatAppArgs:
    """Arguments of `ChatApp`.

    Attributes:
        namespace: of all its objects.
        name: of the Deployment and of its disruption budget.
        service_name: of the Service.
        account: of the service account.
        secret_name: of the Secret with `secrets`.
        gemma_role: of the Role and RoleBinding for `gemma`.
        image: by digest where there is one.
        replicas: more than one only without `volume`.
        variables: environment variables.
        secrets: environment variables whose values are kept in a Secret.
        scales_gemma: whether the chat scales that workload, and notes its last use in the ConfigMap ``NAME-use``.
        volume: where the history is; `None`: in a database, and the pod has only scratch space.
        gemma: Gemma's workload in this namespace, whose state the chat reports; `None`: there is none.
        monitoring: has the metrics collected; `None`: they are not.
        depends_on: what the chat needs at its start, such as its roles.
    """

    namespace: pulumi.Input[str]
    name: str
    service_name: str
    account: str
    secret_name: str
    gemma_role: str
    image: pulumi.Input[str]
    replicas: int
    variables: Mapping[str, pulumi.Input[str]]
    secrets: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    volume: Volume | None = None
    gemma: Workload | None = None
    scales_gemma: bool = False
    monitoring: Manifest | None = None
    depends_on: Sequence[pulumi.Resource] = ()


class ChatApp(pulumi.ComponentResource):
    """The Gradio chat.

    Attributes:
        deployment: its Deployment, which `up` waits for.
        service: its Service inside the cluster, with session affinity.
    """

    deployment: kubernetes.apps.v1.Deployment
    service: kubernetes.core.v1.Service

    def __init__(self, name: str, args: ChatAppArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ChatApp", name, {}, opts)
        if args.replicas > 1 and args.volume:
            raise ValueError("A history on a volume allows one replica")
        self._args, self._child = args, pulumi.ResourceOptions(parent=self)
        account = service_account(args.account, args.namespace, APP, self._child)
        secrets = {name: pulumi.Output.secret(value) for name, value in args.secrets.items()}
        dependencies: list[pulumi.Resource] = [account, *args.depends_on]
        if secrets:
            dependencies.append(self._secret(secrets))
        if args.gemma:
            dependencies.append(self._gemma_rights(account, args.gemma))
        if args.volume:
            dependencies.append(self._claim(args.volume))
        self.deployment = kubernetes.apps.v1.Deployment(
            "chat",
            metadata=metadata(
                args.name, args.namespace, APP, all_replicas_ready(args.replicas) if args.volume else None
            ),
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                replicas=args.replicas,
                strategy=_strategy(args.volume),
                revision_history_limit=3,
                progress_deadline_seconds=600,
                selector=selector(APP),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(
                        labels=labels(APP), annotations=content_hash(*secrets.values()) if secrets else None
                    ),
                    spec=chat_pod(args, account),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=dependencies,
                custom_timeouts=pulumi.CustomTimeouts(create="15m", update="15m", delete="10m"),
            ),
        )
        if args.replicas > 1:
            kubernetes.policy.v1.PodDisruptionBudget(
                "budget",
                metadata=metadata(args.name, args.namespace, APP),
                spec=kubernetes.policy.v1.PodDisruptionBudgetSpecArgs(max_unavailable=1, selector=selector(APP)),
                opts=self._child,
            )
        self.service = kubernetes.core.v1.Service(
            "service",
            # Not awaited: its pods run only after the image is built and the database is ready, which takes longer than
            # Pulumi waits for a Service.
            metadata=metadata(args.service_name, args.namespace, APP, SKIP_AWAIT),
            spec=sticky_service("ClusterIP"),
            opts=self._child,
        )
        if args.monitoring:
            apply_manifest(args.monitoring, parent=self, namespace=args.namespace)
        self.register_outputs({"service": self.service.metadata.name})

    def _secret(self, values: Mapping[str, pulumi.Input[str]]) -> kubernetes.core.v1.Secret:
        return kubernetes.core.v1.Secret(
            "secrets",
            metadata=metadata(self._args.secret_name, self._args.namespace, APP),
            type="Opaque",
            string_data=values,
            opts=self._child,
        )

    def _gemma_rights(
        self, account: kubernetes.core.v1.ServiceAccount, gemma: Workload
    ) -> kubernetes.rbac.v1.RoleBinding:
        """Let the chat's account read what Gemma waits for, and do nothing else; a Role cannot select by label."""
        described = metadata(self._args.gemma_role, self._args.namespace, APP)
        rules = _rules(gemma, scales=self._args.scales_gemma)
        role = kubernetes.rbac.v1.Role("sees-pods", metadata=described, rules=rules, opts=self._child)
        return kubernetes.rbac.v1.RoleBinding(
            "sees-pods",
            metadata=described,
            role_ref=kubernetes.rbac.v1.RoleRefArgs(
                api_group="rbac.authorization.k8s.io", kind="Role", name=role.metadata.name
            ),
            subjects=[
                kubernetes.rbac.v1.SubjectArgs(
                    kind="ServiceAccount", name=account.metadata.name, namespace=self._args.namespace
                )
            ],
            opts=self._child,
        )

    def _claim(self, volume: Volume) -> kubernetes.core.v1.PersistentVolumeClaim:
        return kubernetes.core.v1.PersistentVolumeClaim(
            "history",
            # Many storage classes create the volume only for a pod that uses it, so the Deployment waits for both.
            metadata=metadata(volume.claim_name, self._args.namespace, APP, SKIP_AWAIT),
            spec=kubernetes.core.v1.PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                resources=kubernetes.core.v1.VolumeResourceRequirementsArgs(requests={"storage": volume.size}),
                storage_class_name=pulumi.Output.from_input(volume.storage_class).apply(lambda name: name or None),
            ),
            opts=self._child,
        )


def _rules(gemma: Workload, *, scales: bool) -> list[kubernetes.rbac.v1.PolicyRuleArgs]:
    """Return what the chat's account may do: see why Gemma is not ready. Its log has no text of a conversation.

    To scale it needs the subresource alone: a right on the workload itself could change its image.
    """
    group = gemma.api_version.partition("/")[0]
    scaling = [
        kubernetes.rbac.v1.PolicyRuleArgs(
            api_groups=[group],
            resources=[f"{gemma.resource}/scale"],
            verbs=["get", "patch"],
            resource_names=[gemma.name],
        ),
        kubernetes.rbac.v1.PolicyRuleArgs(
            api_groups=[""], resources=["configmaps"], verbs=["get", "patch"], resource_names=[f"{gemma.name}-use"]
        ),
    ]
    return [
        kubernetes.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["pods", "events"], verbs=["list", "watch"]),
        kubernetes.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["pods/log"], verbs=["get"]),
        kubernetes.rbac.v1.PolicyRuleArgs(
            api_groups=[group], resources=[gemma.resource], verbs=["get"], resource_names=[gemma.name]
        ),
        *(scaling if scales else []),
    ]


def sticky_service(
    kind: Literal["ClusterIP", "LoadBalancer"], *, external_traffic_policy: str | None = None
) -> kubernetes.core.v1.ServiceSpecArgs:
    """Return a Service for the chat with session affinity: a page's session lives in one process."""
    affinity = kubernetes.core.v1.ClientIPConfigArgs(timeout_seconds=10_800)
    return kubernetes.core.v1.ServiceSpecArgs(
        type=kind,
        selector={"app": APP},
        ports=[kubernetes.core.v1.ServicePortArgs(name="http", port=PORT, target_port="http", protocol="TCP")],
        session_affinity="ClientIP",
        session_affinity_config=kubernetes.core.v1.SessionAffinityConfigArgs(client_ip=affinity),
        external_traffic_policy=external_traffic_policy,
    )


def _strategy(volume: Volume | None) -> kubernetes.apps.v1.DeploymentStrategyArgs:
    if volume:  # the next pod cannot open the file while this one has it
        return kubernetes.apps.v1.DeploymentStrategyArgs(type="Recreate")
    return kubernetes.apps.v1.DeploymentStrategyArgs(
        type="RollingUpdate",
        rolling_update=kubernetes.apps.v1.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
    )
