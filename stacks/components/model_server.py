"""The model server: Gemma on vLLM, on this stack's own GPUs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from chatapp.models.kubernetes.workload import GROUP, Workload
from stacks.components.manifests import Manifest, apply_manifest
from stacks.components.model_group import LEADER, ModelGroupArgs, model_group
from stacks.components.model_pod import APP, gemma_pod
from stacks.components.model_scaling import scale_out
from stacks.components.workloads import (
    SKIP_AWAIT,
    content_hash,
    labels,
    metadata,
    secret_variable,
    selector,
    service_account,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma.profiles import GpuProfile

SERVICE_PORT = 8000
TOKEN_KEY = "hf_api_token"  # noqa: S105 - a key's name
API_KEY = "api-key"


@dataclass(frozen=True)
class LoadBalanced:
    """The load balancer in front of the servers.

    Attributes:
        url: its address.
        api_key: which the servers ask for: more than the chat may reach the load balancer.
        secret_name: of the Secret with that key.
    """

    url: pulumi.Input[str]
    api_key: pulumi.Input[str]
    secret_name: str


@dataclass(frozen=True)
class GemmaServerArgs:
    """Arguments of `GemmaServer`.

    Attributes:
        namespace: of all its objects.
        name: of the Deployment, or of the LeaderWorkerSet where a server runs on several machines.
        service_name: of the Service.
        account: of the service account, which has no rights.
        secret_name: of the Secret with the token.
        profile: GPUs, model and resources.
        image: vLLM's image.
        model: weights on Hugging Face; empty: the profile's.
        revision: commit, tag or branch of the weights; empty: that of `REVISIONS`, else the newest.
        token: for gated weights; `None`: without.
        weights_url: where the weights are in Cloud Storage; `None`: on Hugging Face.
        extra_args: more flags of vLLM; they override the profile's.
        on_gke: whether GKE's labels select the nodes.
        compute_class: on GKE, which machines to use when the profile's GPU is out of stock.
        sleeps: the chat scales it to zero and up again, so `pulumi up` leaves the number of replicas alone.
        max_replicas: servers while questions wait; more than 1: an autoscaler adds them.
        load_balanced: what distributes the questions; `None`: the Service.
        monitoring: has the metrics collected; `None`: they are not.
        node_selector: outside GKE, the labels of nodes with the GPUs.
        depends_on: what must exist before it runs.
    """

    namespace: pulumi.Input[str]
    name: str
    service_name: str
    account: str
    secret_name: str
    profile: GpuProfile
    image: str
    model: str = ""
    revision: str = ""
    token: pulumi.Input[str] | None = None
    weights_url: pulumi.Input[str] | None = None
    extra_args: Sequence[str] = ()
    on_gke: bool = True
    compute_class: Manifest | None = None
    sleeps: bool = False
    max_replicas: int = 1
    load_balanced: LoadBalanced | None = None
    monitoring: Manifest | None = None
    node_selector: Mapping[str, str] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()

    @property
    def workload(self) -> Workload:
        """What the servers are replicas of."""
        return Workload(self.name, GROUP if self.profile.machines > 1 else "Deployment")

    @property
    def answering(self) -> dict[str, str]:
        """The labels of the pods that answer: of a server on several machines, the leader."""
        return {"app": APP} | (LEADER if self.profile.machines > 1 else {})

    @property
    def replicas(self) -> int | None:
        """The number to set.

        Without one, server-side apply leaves the chat's, or the autoscaler's, alone; a new workload gets one.
        """
        return None if self.sleeps or self.max_replicas > 1 else 1


class GemmaServer(pulumi.ComponentResource):
    """vLLM's OpenAI-compatible server.

    `pulumi up` does not wait for it: GPUs can be out of stock for hours, and the chat answers with Gemini meanwhile.

    Attributes:
        url: inside the cluster.
        workload: what its servers are replicas of.
    """

    url: pulumi.Output[str]
    workload: Workload

    def __init__(self, name: str, args: GemmaServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:GemmaServer", name, {}, opts)
        self.workload = args.workload
        child = pulumi.ResourceOptions(parent=self)
        account = service_account(args.account, args.namespace, APP, child)
        secrets = self._secrets(args)
        dependencies: list[pulumi.Resource] = [account, *args.depends_on]
        if args.compute_class:
            dependencies += apply_manifest(args.compute_class, parent=self)
        create = self._group if args.workload.kind == GROUP else self._deployment
        server = create(args, account, secrets, dependencies)
        if args.max_replicas > 1:
            scale_out(args.workload, args.namespace, args.answering, most=args.max_replicas, parent=self, server=server)
        if args.sleeps:
            self._record(args, child)
        service = kubernetes.core.v1.Service(
            "service",
            # It has no endpoints until there are GPUs.
            metadata=metadata(args.service_name, args.namespace, APP, SKIP_AWAIT),
            spec=kubernetes.core.v1.ServiceSpecArgs(
                type="ClusterIP",
                selector=args.answering,
                ports=[
                    kubernetes.core.v1.ServicePortArgs(
                        name="http", port=SERVICE_PORT, target_port="http", protocol="TCP"
                    )
                ],
            ),
            opts=child,
        )
        if args.monitoring:
            apply_manifest(args.monitoring, parent=self, namespace=args.namespace)
        host = pulumi.Output.concat(service.metadata.name, ".", args.namespace, ".svc.cluster.local")
        service_url = pulumi.Output.concat("http://", host, f":{SERVICE_PORT}")
        self.url = pulumi.Output.from_input(args.load_balanced.url) if args.load_balanced else service_url
        self.register_outputs({"url": self.url})

    def _deployment(
        self,
        args: GemmaServerArgs,
        account: kubernetes.core.v1.ServiceAccount,
        secrets: _Secrets,
        dependencies: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        return kubernetes.apps.v1.Deployment(
            "server",
            # Forced, so that the number of replicas that the chat had set is no conflict once this stack sets it again.
            metadata=metadata(args.name, args.namespace, APP, SKIP_AWAIT | {"pulumi.com/patchForce": "true"}),
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                replicas=args.replicas,
                strategy=_strategy(args),
                progress_deadline_seconds=3600,
                revision_history_limit=3,
                selector=selector(APP),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(labels=labels(APP), annotations=secrets.annotations),
                    spec=gemma_pod(args, account, secrets.variables),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=dependencies,
                custom_timeouts=pulumi.CustomTimeouts(delete="10m"),
            ),
        )

    def _group(
        self,
        args: GemmaServerArgs,
        account: kubernetes.core.v1.ServiceAccount,
        secrets: _Secrets,
        dependencies: Sequence[pulumi.Resource],
    ) -> pulumi.Resource:
        return model_group(
            ModelGroupArgs(
                name=args.name,
                namespace=args.namespace,
                app=APP,
                size=args.profile.machines,
                replicas=args.replicas,
                leader=gemma_pod(args, account, secrets.variables),
                worker=gemma_pod(args, account, secrets.variables, is_worker=True),
                annotations=secrets.annotations,
                depends_on=dependencies,
            ),
            parent=self,
        )

    def _record(self, args: GemmaServerArgs, child: pulumi.ResourceOptions) -> None:
        """Create the ConfigMap in which the replicas of the chat note its last use, see `chatapp.models.kubernetes`."""
        kubernetes.core.v1.ConfigMap(
            "use",
            metadata=metadata(f"{args.name}-use", args.namespace, APP),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(ignore_changes=["data"])),
        )

    def _secrets(self, args: GemmaServerArgs) -> _Secrets:
        variables: list[kubernetes.core.v1.EnvVarArgs] = []
        values: list[pulumi.Input[str]] = []
        balanced = args.load_balanced
        for resource, name, key, variable, value in (
            ("hugging-face", args.secret_name, TOKEN_KEY, "HF_TOKEN", args.token),
            *([("api-key", balanced.secret_name, API_KEY, "VLLM_API_KEY", balanced.api_key)] if balanced else []),
        ):
            if value is None:
                continue
            text = pulumi.Output.secret(value)
            secret = kubernetes.core.v1.Secret(
                resource,
                metadata=metadata(name, args.namespace, APP),
                type="Opaque",
                string_data={key: text},
                opts=pulumi.ResourceOptions(parent=self),
            )
            variables.append(secret_variable(variable, secret.metadata.name, key))
            values.append(text)
        return _Secrets(variables, content_hash(*values) if values else {})


def _strategy(args: GemmaServerArgs) -> kubernetes.apps.v1.DeploymentStrategyArgs:
    """Return how a new version replaces servers, which never needs more GPUs than they have.

    GPUs are scarce: a second server would wait for those that the first one holds. Of several servers, one is replaced
    at a time, and the others answer; `Recreate` would end all of them at once.
    """
    if args.max_replicas == 1:
        return kubernetes.apps.v1.DeploymentStrategyArgs(type="Recreate")
    return kubernetes.apps.v1.DeploymentStrategyArgs(
        type="RollingUpdate",
        rolling_update=kubernetes.apps.v1.RollingUpdateDeploymentArgs(max_surge=0, max_unavailable=1),
    )


@dataclass(frozen=True)
class _Secrets:
    variables: list[kubernetes.core.v1.EnvVarArgs]
    annotations: Mapping[str, pulumi.Input[str]]
