"""The pod of Gemma's server: vLLM, its arguments, probes, volumes and shutdown."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pulumi_kubernetes as kubernetes

from gemma.arguments import PRIVACY, vllm_arguments
from stacks.components.model_group import LEADER_ADDRESS, RANK
from stacks.components.workloads import (
    fixed_resources,
    http_port,
    http_probe,
    mounts,
    plain_variables,
    pod_security,
    restricted,
    scratch,
)

if TYPE_CHECKING:
    import pulumi

    from gemma.profiles import GpuProfile
    from stacks.components.model_server import GemmaServerArgs

APP = "gemma"
HEALTH = "/health"
CONTAINER_PORT = 8080
HOME = "/home/vllm"
PRE_STOP_SECONDS, SHUTDOWN_SECONDS, GRACE_SECONDS = 5, 110, 130
"""Before vLLM is told to stop; for its running answers; until it is killed."""
KEEP_ALIVE_SECONDS = 620
"""Behind a load balancer, which keeps its connections for 600 s: vLLM would close one that a question is sent on.
https://docs.cloud.google.com/load-balancing/docs/https#timeouts_and_retries"""


def gemma_pod(
    args: GemmaServerArgs,
    account: kubernetes.core.v1.ServiceAccount,
    secrets: list[kubernetes.core.v1.EnvVarArgs],
    *,
    is_worker: bool = False,
) -> kubernetes.core.v1.PodSpecArgs:
    """Return a pod; a worker, on another machine than its leader, answers no one and so has no port to probe."""
    profile = args.profile
    loading = profile.loading_minutes * 6  # periods of ten seconds, before the liveness probe starts
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
                args=server_arguments(args, is_worker=is_worker),
                # The chat reads there why it crashed.
                termination_message_policy="FallbackToLogsOnError",
                env=[*plain_variables(_environment(args)), *secrets],
                ports=None if is_worker else [http_port(CONTAINER_PORT)],
                resources=fixed_resources(
                    str(profile.cpu),
                    f"{profile.memory}Gi",
                    f"{profile.ephemeral_storage}Gi",
                    gpus=profile.gpus,
                ),
                # vLLM and its compilers write outside their caches too; a read-only root was never tried.
                security_context=restricted(read_only_root=False),
                startup_probe=None if is_worker else http_probe(HEALTH, period_seconds=10, failure_threshold=loading),
                readiness_probe=None if is_worker else http_probe(HEALTH, period_seconds=5, failure_threshold=3),
                liveness_probe=None if is_worker else http_probe(HEALTH, period_seconds=10, failure_threshold=3),
                # The Service still sends requests for a moment after the pod is told to stop. A worker ends as soon as
                # it is told to, so it waits for the answers of its leader.
                lifecycle=kubernetes.core.v1.LifecycleArgs(
                    pre_stop=kubernetes.core.v1.LifecycleHandlerArgs(
                        sleep=kubernetes.core.v1.SleepActionArgs(
                            seconds=PRE_STOP_SECONDS + SHUTDOWN_SECONDS if is_worker else PRE_STOP_SECONDS
                        )
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


def server_arguments(args: GemmaServerArgs, *, is_worker: bool = False) -> list[pulumi.Input[str]]:
    """Return the arguments of ``vllm serve`` in the container.

    On several machines as https://docs.vllm.ai/en/latest/deployment/frameworks/lws.html has them, without Ray.
    """
    model, *options = vllm_arguments(
        args.profile,
        host="0.0.0.0",  # noqa: S104 - in its container
        port=CONTAINER_PORT,
        model=args.model,
        revision=args.revision,
        shutdown_seconds=SHUTDOWN_SECONDS,
        extra=args.extra_args,
    )
    if args.profile.machines > 1:
        options += [f"--node-rank={RANK}", f"--master-addr={LEADER_ADDRESS}", *(["--headless"] * is_worker)]
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
