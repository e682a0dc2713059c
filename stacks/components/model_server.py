"""The model server: Gemma on vLLM, on this stack's own GPUs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes

from gemma.arguments import PRIVACY, vllm_arguments
from stacks.components.manifests import Manifest, apply_manifest
from stacks.components.model_scaling import scale_out
from stacks.components.workloads import (
    SKIP_AWAIT,
    content_hash,
    fixed_resources,
    http_port,
    http_probe,
    labels,
    metadata,
    mounts,
    plain_variables,
    pod_security,
    restricted,
    scratch,
    secret_variable,
    selector,
    service_account,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gemma.profiles import GpuProfile

APP = "gemma"
HEALTH = "/health"
CONTAINER_PORT = 8080
SERVICE_PORT = 8000
HOME = "/home/vllm"
PRE_STOP_SECONDS, SHUTDOWN_SECONDS, GRACE_SECONDS = 5, 110, 130
"""Before vLLM is told to stop; for its running answers; until it is killed."""
TOKEN_KEY = "hf_api_token"  # noqa: S105 - a key's name
API_KEY = "api-key"
KEEP_ALIVE_SECONDS = 620
"""Behind a load balancer, which keeps its connections for 600 s: vLLM would close one that a question is sent on.
https://docs.cloud.google.com/load-balancing/docs/https#timeouts_and_retries"""


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
        name: of the Deployment.
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


class GemmaServer(pulumi.ComponentResource):
    """vLLM's OpenAI-compatible server.

    `pulumi up` does not wait for it: GPUs can be out of stock for hours, and the chat answers with Gemini meanwhile.

    Attributes:
        url: inside the cluster.
    """

    url: pulumi.Output[str]

    def __init__(self, name: str, args: GemmaServerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:GemmaServer", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        account = service_account(args.account, args.namespace, APP, child)
        secrets = self._secrets(args)
        dependencies: list[pulumi.Resource] = [account, *args.depends_on]
        if args.compute_class:
            dependencies += apply_manifest(args.compute_class, parent=self)
        deployment = kubernetes.apps.v1.Deployment(
            "server",
            # Forced, so that the number of replicas that the chat had set is no conflict once this stack sets it again.
            metadata=metadata(args.name, args.namespace, APP, SKIP_AWAIT | {"pulumi.com/patchForce": "true"}),
            spec=kubernetes.apps.v1.DeploymentSpecArgs(
                # Without a number, server-side apply leaves the chat's, or the autoscaler's, alone; a new Deployment
                # gets one.
                replicas=None if args.sleeps or args.max_replicas > 1 else 1,
                strategy=_strategy(args),
                progress_deadline_seconds=3600,
                revision_history_limit=3,
                selector=selector(APP),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(labels=labels(APP), annotations=secrets.annotations),
                    spec=_pod(args, account, secrets.variables),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=dependencies,
                custom_timeouts=pulumi.CustomTimeouts(delete="10m"),
            ),
        )
        if args.max_replicas > 1:
            scale_out(deployment.metadata.name, args.namespace, APP, most=args.max_replicas, parent=self)
        if args.sleeps:
            self._record(args, child)
        service = kubernetes.core.v1.Service(
            "service",
            # It has no endpoints until there are GPUs.
            metadata=metadata(args.service_name, args.namespace, APP, SKIP_AWAIT),
            spec=kubernetes.core.v1.ServiceSpecArgs(
                type="ClusterIP",
                selector={"app": APP},
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


def _pod(
    args: GemmaServerArgs,
    account: kubernetes.core.v1.ServiceAccount,
    secrets: list[kubernetes.core.v1.EnvVarArgs],
) -> kubernetes.core.v1.PodSpecArgs:
    profile = args.profile
    return kubernetes.core.v1.PodSpecArgs(
        service_account_name=account.metadata.name,
        automount_service_account_token=False,
        enable_service_links=False,
        node_selector=_node_selector(args),
        termination_grace_period_seconds=GRACE_SECONDS,
        security_context=pod_security(user=2000, group=0),  # the image's own user for rootless use
        containers=[
            kubernetes.core.v1.ContainerArgs(
                name="vllm",
                image=args.image,
                command=["vllm", "serve"],
                args=server_arguments(args),
                # The chat reads there why it crashed.
                termination_message_policy="FallbackToLogsOnError",
                env=[*plain_variables(_environment(args)), *secrets],
                ports=[http_port(CONTAINER_PORT)],
                resources=fixed_resources(
                    str(profile.cpu),
                    f"{profile.memory}Gi",
                    f"{profile.ephemeral_storage}Gi",
                    gpus=profile.gpus,
                ),
                # vLLM and its compilers write outside their caches too; a read-only root was never tried.
                security_context=restricted(read_only_root=False),
                # 30 minutes to download and load the weights, before the liveness probe starts.
                startup_probe=http_probe(HEALTH, period_seconds=10, failure_threshold=180),
                readiness_probe=http_probe(HEALTH, period_seconds=5, failure_threshold=3),
                liveness_probe=http_probe(HEALTH, period_seconds=10, failure_threshold=3),
                # The Service still sends requests for a moment after the pod is told to stop.
                lifecycle=kubernetes.core.v1.LifecycleArgs(
                    pre_stop=kubernetes.core.v1.LifecycleHandlerArgs(
                        sleep=kubernetes.core.v1.SleepActionArgs(seconds=PRE_STOP_SECONDS)
                    )
                ),
                # /dev/shm: processes on several GPUs communicate through it.
                volume_mounts=mounts({"shm": "/dev/shm", "cache": f"{HOME}/.cache", "tmp": "/tmp"}),  # noqa: S108 - the container's own
            )
        ],
        volumes=[
            scratch("shm", f"{profile.shared_memory}Gi", in_memory=True),
            scratch("cache", f"{profile.ephemeral_storage - 5}Gi"),
            scratch("tmp", "4Gi"),
        ],
    )


def server_arguments(args: GemmaServerArgs) -> list[pulumi.Input[str]]:
    """Return the arguments of ``vllm serve`` in the container."""
    model, *options = vllm_arguments(
        args.profile,
        host="0.0.0.0",  # noqa: S104 - in its container
        port=CONTAINER_PORT,
        model=args.model,
        revision=args.revision,
        shutdown_seconds=SHUTDOWN_SECONDS,
        extra=args.extra_args,
    )
    if args.weights_url is None:
        return [model, *options]
    # The address names the revision.
    own = [option for option in options if not option.startswith("--revision=")]
    return [args.weights_url, *_streamed(args.profile), *own]


def _streamed(profile: GpuProfile) -> list[str]:
    """Return the arguments with which the Run:ai streamer of vLLM's image reads weights from a bucket.

    https://docs.vllm.ai/en/stable/models/extensions/runai_model_streamer/: each process reads into a buffer of at most
    `memory_limit` bytes; with several GPUs, each reads a part and they exchange the parts (`distributed`).
    """
    options: dict[str, int | bool] = {"memory_limit": 4 * 2**30}
    if profile.gpus > 1:
        options["distributed"] = True
    return ["--load-format=runai_streamer", f"--model-loader-extra-config={json.dumps(options, separators=(',', ':'))}"]


def _environment(args: GemmaServerArgs) -> dict[str, pulumi.Input[str]]:
    environment: dict[str, pulumi.Input[str]] = {
        "HOME": HOME,
        "HF_HOME": f"{HOME}/.cache/huggingface",
        **PRIVACY,
    }
    if args.on_gke:  # where GKE mounts the driver
        environment["LD_LIBRARY_PATH"] = "/usr/local/nvidia/lib64:/usr/local/cuda/lib64"
    if args.load_balanced:
        environment["VLLM_HTTP_TIMEOUT_KEEP_ALIVE"] = str(KEEP_ALIVE_SECONDS)
    return environment


def _node_selector(args: GemmaServerArgs) -> dict[str, str]:
    if not args.on_gke:
        return dict(args.node_selector)
    if args.compute_class:  # GKE refuses it together with an accelerator
        return {"cloud.google.com/compute-class": args.compute_class.name}
    return {
        "cloud.google.com/gke-accelerator": args.profile.accelerator,
        # vLLM's image needs CUDA 13 (driver 580), newer than GKE's default driver.
        "cloud.google.com/gke-gpu-driver-version": "latest",
    }
