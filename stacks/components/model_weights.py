"""The model's weights in a bucket of the region, from which vLLM streams them into its GPU."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from stacks.components.chat_pod import USER
from stacks.components.workloads import (
    fixed_resources,
    labels,
    metadata,
    mounts,
    plain_variables,
    pod_security,
    restricted,
    scratch,
    secret_variable,
    service_account,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

APP = "gemma-weights"
TOKEN_KEY = "hf_api_token"  # noqa: S105 - a key's name
EXIT_PERMANENT = 2
"""Exit status of chatapp.weights for an error that another try would meet again."""
RESOURCES = ("500m", "1Gi", "1Gi")
"""CPU, memory and ephemeral storage of the Job: 16 MiB of a file are in memory at a time, and nothing on disk."""


@dataclass(frozen=True)
class ModelWeightsArgs:
    """Arguments of `ModelWeights`.

    Attributes:
        project: the project's ID.
        region: of the bucket; that of the cluster.
        namespace: of the Job.
        bucket: name of the bucket.
        account: the Job's service account in the cluster.
        secret_name: of the Secret with the token.
        image: the chat's image, which has the program.
        model: weights on Hugging Face.
        revision: their commit.
        minutes: within which the Job has copied them.
        writer: the Job's account as IAM names it.
        reader: the model server's account as IAM names it.
        token: for gated weights; `None`: without.
        labels: of the bucket.
        google_depends_on: the API of Cloud Storage, and the cluster, which creates the workload identity pool.
        depends_on: what must exist before the Job runs.
        hooks: retries while an API is not ready (`ProjectServices.hooks`).
    """

    project: str
    region: str
    namespace: pulumi.Input[str]
    bucket: str
    account: str
    secret_name: str
    image: pulumi.Input[str]
    model: str
    revision: str
    minutes: int
    writer: pulumi.Input[str]
    reader: pulumi.Input[str]
    token: pulumi.Input[str] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    google_depends_on: Sequence[pulumi.Resource] = ()
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class ModelWeights(pulumi.ComponentResource):
    """A bucket, and a Job that copies the weights into it once.

    The update waits for the Job, so that the model server finds complete weights, and a refused token is reported in
    minutes and not after a wait for a GPU. The token is in the Job alone. A finished Job stays, and costs nothing;
    another model or revision gets a Job of its own.

    Attributes:
        url: of the weights, for vLLM.
        ready: what the model server must wait for.
    """

    url: pulumi.Output[str]
    ready: list[pulumi.Resource]

    def __init__(self, name: str, args: ModelWeightsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ModelWeights", name, {}, opts)
        bucket = gcp.storage.Bucket(
            "weights",
            name=args.bucket,
            project=args.project,
            location=args.region,
            labels=args.labels,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            # The weights can be copied again at any time.
            force_destroy=True,
            soft_delete_policy={"retention_duration_seconds": 0},
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.google_depends_on, hooks=args.hooks),
        )
        rights = [
            gcp.storage.BucketIAMMember(
                f"weights-{name}",
                bucket=bucket.name,
                role=role,
                member=member,
                opts=pulumi.ResourceOptions(parent=self, depends_on=args.google_depends_on, hooks=args.hooks),
            )
            for name, role, member in (
                ("write", "roles/storage.objectUser", args.writer),
                ("read", "roles/storage.objectViewer", args.reader),
                # The Run:ai streamer looks the bucket up before it lists it, which that role does not allow
                # (runai_model_streamer_gcs 0.17, files.py: `get_bucket`).
                ("find", "roles/storage.bucketViewer", args.reader),
            )
        ]
        job = self._job(args, bucket, rights)
        self.url = pulumi.Output.concat("gs://", bucket.name, f"/{args.model}/{args.revision}")
        self.ready = [job, *rights]
        self.register_outputs({"url": self.url})

    def _job(
        self, args: ModelWeightsArgs, bucket: gcp.storage.Bucket, rights: Sequence[pulumi.Resource]
    ) -> kubernetes.batch.v1.Job:
        account = service_account(args.account, args.namespace, APP, pulumi.ResourceOptions(parent=self))
        variables = plain_variables(
            {"WEIGHTS_MODEL": args.model, "WEIGHTS_REVISION": args.revision, "WEIGHTS_BUCKET": bucket.name}
        )
        if args.token is not None:
            secret = kubernetes.core.v1.Secret(
                "token",
                metadata=metadata(args.secret_name, args.namespace, APP),
                type="Opaque",
                string_data={TOKEN_KEY: pulumi.Output.secret(args.token)},
                opts=pulumi.ResourceOptions(parent=self),
            )
            variables.append(secret_variable("HF_TOKEN", secret.metadata.name, TOKEN_KEY))
        digest = hashlib.sha256(f"{args.model}@{args.revision}".encode()).hexdigest()[:8]
        # GKE would move the pod of a batch workload to another node to save one.
        stays = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
        return kubernetes.batch.v1.Job(
            f"copy-{digest}",
            metadata=metadata(f"{APP}-{digest}", args.namespace, APP),
            spec=kubernetes.batch.v1.JobSpecArgs(
                # What is complete stays: another try begins with the next file.
                backoff_limit=4,
                active_deadline_seconds=args.minutes * 60,
                pod_failure_policy=kubernetes.batch.v1.PodFailurePolicyArgs(
                    rules=[
                        kubernetes.batch.v1.PodFailurePolicyRuleArgs(
                            action="FailJob",
                            on_exit_codes=kubernetes.batch.v1.PodFailurePolicyOnExitCodesRequirementArgs(
                                container_name="copy", operator="In", values=[EXIT_PERMANENT]
                            ),
                        )
                    ]
                ),
                template=kubernetes.core.v1.PodTemplateSpecArgs(
                    metadata=kubernetes.meta.v1.ObjectMetaArgs(labels=labels(APP), annotations=stays),
                    spec=_pod(args, account, variables),
                ),
            ),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*rights, *args.depends_on],
                # A Job cannot be changed, and a new image of the chat is no reason to run it again.
                ignore_changes=["spec"],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{args.minutes + 5}m", delete="10m"),
            ),
        )


def _pod(
    args: ModelWeightsArgs,
    account: kubernetes.core.v1.ServiceAccount,
    variables: Sequence[kubernetes.core.v1.EnvVarArgs],
) -> kubernetes.core.v1.PodSpecArgs:
    return kubernetes.core.v1.PodSpecArgs(
        service_account_name=account.metadata.name,
        automount_service_account_token=False,
        enable_service_links=False,
        restart_policy="Never",  # so that the logs of a failed try stay
        security_context=pod_security(user=USER, group=USER),
        containers=[
            kubernetes.core.v1.ContainerArgs(
                name="copy",
                image=args.image,
                image_pull_policy="IfNotPresent",
                command=["python", "-m", "chatapp.weights"],
                env=variables,
                resources=fixed_resources(*RESOURCES),
                security_context=restricted(read_only_root=True),
                volume_mounts=mounts({"tmp": "/tmp"}),  # noqa: S108 - the container's own
            )
        ],
        volumes=[scratch("tmp", "64Mi")],
    )
