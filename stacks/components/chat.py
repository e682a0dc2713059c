"""The chat's Deployment, its Service, and what it is told."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_kubernetes as kubernetes

from stacks.components.manifests import Manifest, applied
from stacks.components.workloads import (
    SKIP_AWAIT,
    confined,
    content_hash,
    fixed_resources,
    http_port,
    http_probe,
    labels,
    metadata,
    mounts,
    plain_variables,
    pod_security,
    scratch,
    secret_variable,
)
from stacks.ingress.access import Access, Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

PORT = 7860
METRICS_PORT = 9090
"""Of the pod alone: no Service leads to it."""
APP = "gradio-chat"
USER = 10001
"""The image's user."""
HEALTH = "/healthz"
ACCOUNT_FOLDER = "/var/run/secrets/kubernetes.io/serviceaccount"
"""Where the chat looks for its account's token."""


@dataclass(frozen=True)
class FirestoreHistory:
    """The history is in Firestore: any number of copies share it.

    Attributes:
        project: the project's ID.
        database: the database's ID.
        retention_days: days until a conversation is deleted; 0: never.
    """

    project: str
    database: pulumi.Input[str]
    retention_days: int = 0


@dataclass(frozen=True)
class VolumeHistory:
    """The history is a SQLite file on a volume: one copy of the chat.

    Attributes:
        size: as Kubernetes writes it (5Gi).
        storage_class: empty: the cluster's default.
        claim_name: of the volume's claim.
    """

    size: str
    storage_class: str
    claim_name: str


@dataclass(frozen=True)
class Pods:
    """Pods whose state the chat may read.

    Attributes:
        namespace: theirs.
        selector: the label that they have, such as app=gemma.
        role_name: of the Role for it, and of its binding.
    """

    namespace: pulumi.Input[str]
    selector: str
    role_name: str


@dataclass(frozen=True)
class Gemma:
    """Where Gemma answers.

    Attributes:
        url: an OpenAI-compatible server.
        label: what people read.
        model: its name there; empty: the first that it lists.
        api_key: `None`: it wants none.
        sees_images: `None`: as the server lists it, else as its name tells.
        pods: its pods, where it runs on this stack's own GPUs: the chat says what they wait for.
    """

    url: pulumi.Input[str]
    label: str
    model: str = ""
    api_key: pulumi.Input[str] | None = None
    sees_images: bool | None = None
    pods: Pods | None = None


@dataclass(frozen=True)
class Gemini:
    """How Gemini is asked: on Vertex AI as the pod's own identity, or with a key.

    Attributes:
        model: Gemini's model id.
        project: Vertex AI's project; empty: not on Vertex AI.
        location: Vertex AI's location.
        api_key: of the Gemini API; `None`: without.
    """

    model: str
    project: str = ""
    location: str = "global"
    api_key: pulumi.Input[str] | None = None


@dataclass(frozen=True)
class ChatAppArgs:
    """The chat.

    Attributes:
        namespace: where it lives.
        name: of the Deployment (and of its disruption budget).
        service_name: of the Service.
        account: of its service account.
        secret_name: of the Secret with its keys.
        image: by digest where there is one.
        replicas: more than one only with `FirestoreHistory`.
        history: where conversations are kept.
        gemini: how Gemini is asked.
        gemma: `None`: there is no Gemma.
        access: who comes in.
        limits: how much people may ask.
        session_secret: signs the cookies, the same for all copies; `None`: made and kept on the history's volume.
        theme: blue or green.
        monitoring: what has the metrics collected; `None`: nobody does.
        depends_on: what it needs to work from the first second on, such as its rights.
    """

    namespace: pulumi.Input[str]
    name: str
    service_name: str
    account: str
    secret_name: str
    image: pulumi.Input[str]
    replicas: int
    history: FirestoreHistory | VolumeHistory
    gemini: Gemini
    gemma: Gemma | None = None
    access: Access = field(default_factory=Access)
    limits: Limits = field(default_factory=Limits)
    session_secret: pulumi.Input[str] | None = None
    theme: str = "blue"
    monitoring: Manifest | None = None
    depends_on: Sequence[pulumi.Resource] = ()


class ChatApp(pulumi.ComponentResource):
    """The Gradio chat.

    Attributes:
        service: its Service inside the cluster; a browser stays with the copy that it began with.
    """

    service: kubernetes.core.v1.Service

    def __init__(self, name: str, args: ChatAppArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ChatApp", name, {}, opts)
        if args.replicas > 1 and isinstance(args.history, VolumeHistory):
            raise ValueError("A history on a volume is for one copy of the chat")
        child = pulumi.ResourceOptions(parent=self)
        account = kubernetes.core.v1.ServiceAccount(
            "account",
            metadata=metadata(args.account, args.namespace, APP),
            automount_service_account_token=False,
            opts=child,
        )
        secrets = {name: pulumi.Output.secret(value) for name, value in _secrets(args).items()}
        needed: list[pulumi.Resource] = [account, *args.depends_on]
        if secrets:
            needed.append(
                kubernetes.core.v1.Secret(
                    "secrets",
                    metadata=metadata(args.secret_name, args.namespace, APP),
                    type="Opaque",
                    string_data=secrets,
                    opts=child,
                )
            )
        if args.gemma and args.gemma.pods:
            needed.append(self._may_see(args.gemma.pods, account, args))
        if isinstance(args.history, VolumeHistory):
            needed.append(self._claim(args.history, args.namespace))
        kubernetes.apps.v1.Deployment(
            "chat",
            metadata=metadata(args.name, args.namespace, APP),
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                replicas=args.replicas,
                strategy=_strategy(args.history),
                revision_history_limit=3,
                progress_deadline_seconds=600,
                selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels={"app": APP}),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(
                        labels=labels(APP), annotations=content_hash(*secrets.values()) if secrets else None
                    ),
                    spec=_pod(args, account, list(secrets)),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=needed,
                custom_timeouts=pulumi.CustomTimeouts(create="15m", update="15m", delete="10m"),
            ),
        )
        if args.replicas > 1:
            kubernetes.policy.v1.PodDisruptionBudget(
                "budget",
                metadata=metadata(args.name, args.namespace, APP),
                spec=kubernetes.policy.v1.PodDisruptionBudgetSpecArgs(
                    max_unavailable=1, selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels={"app": APP})
                ),
                opts=child,
            )
        self.service = kubernetes.core.v1.Service(
            "service",
            metadata=metadata(args.service_name, args.namespace, APP),
            spec=sticky_service("ClusterIP"),
            opts=child,
        )
        if args.monitoring:
            applied(args.monitoring, parent=self, namespace=args.namespace)
        self.register_outputs({"service": self.service.metadata.name})

    def _may_see(
        self, pods: Pods, account: kubernetes.core.v1.ServiceAccount, args: ChatAppArgs
    ) -> kubernetes.rbac.v1.RoleBinding:
        """Let the chat's account list pods in one namespace, and do nothing else; a label cannot bound a Role."""
        child = pulumi.ResourceOptions(parent=self)
        role = kubernetes.rbac.v1.Role(
            "sees-pods",
            metadata=metadata(pods.role_name, pods.namespace, APP),
            rules=[kubernetes.rbac.v1.PolicyRuleArgs(api_groups=[""], resources=["pods"], verbs=["list"])],
            opts=child,
        )
        return kubernetes.rbac.v1.RoleBinding(
            "sees-pods",
            metadata=metadata(pods.role_name, pods.namespace, APP),
            role_ref=kubernetes.rbac.v1.RoleRefArgs(
                api_group="rbac.authorization.k8s.io", kind="Role", name=role.metadata.name
            ),
            subjects=[
                kubernetes.rbac.v1.SubjectArgs(
                    kind="ServiceAccount", name=account.metadata.name, namespace=args.namespace
                )
            ],
            opts=child,
        )

    def _claim(self, history: VolumeHistory, namespace: pulumi.Input[str]) -> kubernetes.core.v1.PersistentVolumeClaim:
        return kubernetes.core.v1.PersistentVolumeClaim(
            "history",
            # Many storage classes make the volume only for a pod that wants it: the Deployment waits for both.
            metadata=metadata(history.claim_name, namespace, APP, SKIP_AWAIT),
            spec=kubernetes.core.v1.PersistentVolumeClaimSpecArgs(
                access_modes=["ReadWriteOnce"],
                resources=kubernetes.core.v1.VolumeResourceRequirementsArgs(requests={"storage": history.size}),
                storage_class_name=history.storage_class or None,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )


def sticky_service(
    kind: Literal["ClusterIP", "LoadBalancer"], *, external_traffic_policy: str | None = None
) -> kubernetes.core.v1.ServiceSpecArgs:
    """Return a Service in front of the chat, which keeps a page's session in one process: the browser stays there."""
    affinity = kubernetes.core.v1.ClientIPConfigArgs(timeout_seconds=10_800)
    return kubernetes.core.v1.ServiceSpecArgs(
        type=kind,
        selector={"app": APP},
        ports=[kubernetes.core.v1.ServicePortArgs(name="http", port=PORT, target_port="http", protocol="TCP")],
        session_affinity="ClientIP",
        session_affinity_config=kubernetes.core.v1.SessionAffinityConfigArgs(client_ip=affinity),
        external_traffic_policy=external_traffic_policy,
    )


def variables(args: ChatAppArgs) -> dict[str, pulumi.Input[str]]:
    """Return the chat's settings that are no secret; the app's own settings class reads them."""
    values: dict[str, pulumi.Input[str]] = {
        "CHAT_PORT": str(PORT),
        "CHAT_METRICS_PORT": str(METRICS_PORT),
        "CHAT_LOG_FORMAT": "json",
        "CHAT_DATA_DIR": "/data",
        "CHAT_EMBEDDED_MODEL": "false",
        "CHAT_SHUTDOWN_SECONDS": "30",
        "CHAT_GEMINI_MODEL": args.gemini.model,
        "THEME": args.theme,
        **args.access.variables(),
        **args.limits.variables(args.replicas),
    }
    if args.gemini.project:
        values["GOOGLE_CLOUD_PROJECT"] = args.gemini.project
        values["GOOGLE_CLOUD_LOCATION"] = args.gemini.location
    if args.gemma:
        values["CHAT_GEMMA_URL"] = args.gemma.url
        values["CHAT_GEMMA_LABEL"] = args.gemma.label
        if args.gemma.model:
            values["CHAT_GEMMA_MODEL"] = args.gemma.model
        if args.gemma.sees_images is not None:
            values["CHAT_GEMMA_IMAGES"] = "true" if args.gemma.sees_images else "false"
        if args.gemma.pods:
            values["CHAT_GEMMA_PLACE"] = "own-gpus"
            values["CHAT_GEMMA_PODS"] = pulumi.Output.concat(args.gemma.pods.namespace, "/", args.gemma.pods.selector)
    if isinstance(args.history, FirestoreHistory):
        values["CHAT_STORE"] = "firestore"
        values["CHAT_FIRESTORE_DATABASE"] = args.history.database
        values["GOOGLE_CLOUD_PROJECT"] = args.history.project
        if args.history.retention_days:
            values["CHAT_RETENTION_DAYS"] = str(args.history.retention_days)
    return values


def _secrets(args: ChatAppArgs) -> dict[str, pulumi.Input[str]]:
    values = {
        "CHAT_SESSION_SECRET": args.session_secret,
        "GEMINI_API_KEY": args.gemini.api_key,
        "CHAT_GEMMA_API_KEY": args.gemma.api_key if args.gemma else None,
        **args.access.secrets(),
    }
    return {name: value for name, value in values.items() if value is not None}


def _strategy(history: FirestoreHistory | VolumeHistory) -> kubernetes.apps.v1.DeploymentStrategyArgs:
    if isinstance(history, VolumeHistory):  # the next copy can't open the file while this one has it
        return kubernetes.apps.v1.DeploymentStrategyArgs(type="Recreate")
    return kubernetes.apps.v1.DeploymentStrategyArgs(
        type="RollingUpdate",
        rolling_update=kubernetes.apps.v1.RollingUpdateDeploymentArgs(max_unavailable=0, max_surge=1),
    )


def _pod(
    args: ChatAppArgs, account: kubernetes.core.v1.ServiceAccount, secrets: list[str]
) -> kubernetes.core.v1.PodSpecArgs:
    sees_pods = args.gemma is not None and args.gemma.pods is not None
    return kubernetes.core.v1.PodSpecArgs(
        service_account_name=account.metadata.name,
        # Google's libraries ask the node for the pod's identity. A token of the Kubernetes API is there only for the
        # chat that reads the state of Gemma's pods, and is then named below.
        automount_service_account_token=False,
        # They would set CHAT_PORT=tcp://... for a Service called chat.
        enable_service_links=False,
        # Leaving the load balancer (10 s), ending open pages and running answers (30 s), saving what waits for the
        # cloud (30 s), and room for a busy machine: what the cloud does not have by then goes with the pod.
        termination_grace_period_seconds=120,
        security_context=pod_security(user=USER, group=USER),
        topology_spread_constraints=_spread() if args.replicas > 1 else None,
        containers=[
            kubernetes.core.v1.ContainerArgs(
                name="chat",
                image=args.image,
                image_pull_policy="IfNotPresent",
                env=[
                    *plain_variables(variables(args)),
                    *(secret_variable(name, args.secret_name, name) for name in sorted(secrets)),
                ],
                ports=[http_port(PORT), _metrics_port()],
                resources=fixed_resources("500m", "1Gi", "2Gi"),
                security_context=confined(read_only_root=True),
                startup_probe=http_probe(HEALTH, period_seconds=2, failure_threshold=60),
                readiness_probe=http_probe(HEALTH, period_seconds=5, failure_threshold=2),
                liveness_probe=http_probe(HEALTH, period_seconds=10, failure_threshold=6),
                # The load balancer goes on sending for a few seconds after the pod was told to end.
                lifecycle=kubernetes.core.v1.LifecycleArgs(
                    pre_stop=kubernetes.core.v1.LifecycleHandlerArgs(
                        sleep=kubernetes.core.v1.SleepActionArgs(seconds=10)
                    )
                ),
                volume_mounts=[
                    *mounts({"data": "/data", "tmp": "/tmp"}),  # noqa: S108 - the container's own
                    *([_account_mount()] if sees_pods else []),
                ],
            )
        ],
        volumes=[
            _data(args.history),
            scratch("tmp", "512Mi"),
            *([_account_volume()] if sees_pods else []),
        ],
    )


def _account_mount() -> kubernetes.core.v1.VolumeMountArgs:
    return kubernetes.core.v1.VolumeMountArgs(name="account", mount_path=ACCOUNT_FOLDER, read_only=True)


def _account_volume() -> kubernetes.core.v1.VolumeArgs:
    """Return what asking the Kubernetes API takes: a token of an hour, and the API's authority."""
    return kubernetes.core.v1.VolumeArgs(
        name="account",
        projected=kubernetes.core.v1.ProjectedVolumeSourceArgs(
            sources=[
                kubernetes.core.v1.VolumeProjectionArgs(
                    service_account_token=kubernetes.core.v1.ServiceAccountTokenProjectionArgs(
                        path="token", expiration_seconds=3600
                    )
                ),
                kubernetes.core.v1.VolumeProjectionArgs(
                    # Kubernetes keeps it in every namespace.
                    config_map=kubernetes.core.v1.ConfigMapProjectionArgs(
                        name="kube-root-ca.crt", items=[kubernetes.core.v1.KeyToPathArgs(key="ca.crt", path="ca.crt")]
                    )
                ),
            ]
        ),
    )


def _metrics_port() -> kubernetes.core.v1.ContainerPortArgs:
    return kubernetes.core.v1.ContainerPortArgs(name="metrics", container_port=METRICS_PORT, protocol="TCP")


def _data(history: FirestoreHistory | VolumeHistory) -> kubernetes.core.v1.VolumeArgs:
    if isinstance(history, FirestoreHistory):
        # The journal: 256 MB, its log, and what falls away between two clean-ups. It outlives the chat's process, not
        # the pod: docs/operate.md says what that means.
        return scratch("data", "1Gi")
    claim = kubernetes.core.v1.PersistentVolumeClaimVolumeSourceArgs(claim_name=history.claim_name)
    return kubernetes.core.v1.VolumeArgs(name="data", persistent_volume_claim=claim)


def _spread() -> list[kubernetes.core.v1.TopologySpreadConstraintArgs]:
    return [
        kubernetes.core.v1.TopologySpreadConstraintArgs(
            max_skew=1,
            topology_key=key,
            when_unsatisfiable="ScheduleAnyway",
            label_selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels={"app": APP}),
        )
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]
