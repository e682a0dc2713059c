"""The chat's container image: built by Cloud Build or by the local Docker engine, or an existing one."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
import pulumi_command as command
import pulumi_gcp as gcp

from stacks.components.image_source import DOCKERFILE, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Google's builder with the Docker client, as it was in September 2026; its tags move. Cloud Build runs linux/amd64.
BUILDER = "gcr.io/cloud-builders/docker@sha256:3d00b6c1a9b862621c30fc74d4f2abfc62bcbdee631ed3febd31e7edbdf6252c"
_SCRIPT = Path(__file__).with_name("cloud_build.sh")


@dataclass(frozen=True)
class RegistryArgs:
    """Arguments of the repository in Artifact Registry and of Cloud Build.

    Attributes:
        project: the project's ID.
        region: of repository and bucket.
        build_region: where Cloud Build runs; ``global``: where Google places it.
        repository: the repository's ID.
        readers: name -> IAM member that may pull images (the cluster's nodes).
        build_account: ID of the build's service account; at most 30 characters.
        build_bucket: bucket for the source and log of builds.
        labels: of repository and bucket.
        gcloud_environment: variables that give gcloud the credentials and endpoints of Google's provider.
        depends_on: the APIs of Artifact Registry, Cloud Build, Cloud Storage and IAM.
        hooks: retries while an API is not ready (`ProjectServices.hooks`).
    """

    project: str
    region: str
    repository: str
    readers: Mapping[str, pulumi.Input[str]]
    build_account: str
    build_bucket: str
    build_region: str = "global"
    labels: Mapping[str, str] = field(default_factory=dict)
    gcloud_environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ChatImageArgs:
    """Arguments of `ChatImage`.

    Attributes:
        build: ``cloud-build``, ``docker``, or the reference of an existing image.
        root: the source folder; not read for an existing image.
        registry: Artifact Registry; `None`: there is none.
        push_to: with ``docker`` and without `registry`: a registry to push to; empty: the image is not pushed.
    """

    build: str
    root: Path
    registry: RegistryArgs | None = None
    push_to: str = ""


class ChatImage(pulumi.ComponentResource):
    """The chat's image; the same source is built only once.

    Attributes:
        ref: for a Deployment; by digest if the image is in a registry.
    """

    ref: pulumi.Output[str]

    def __init__(self, name: str, args: ChatImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ChatImage", name, {}, opts)
        if args.build == "cloud-build":
            if args.registry is None:
                raise ValueError("Cloud Build needs a registry to push to")
            self.ref = self._cloud_build(Source.of(args.root), args.registry, self._repository(args.registry))
        elif args.build == "docker":
            self.ref = self._docker_build(args)
        else:
            self.ref = pulumi.Output.from_input(args.build)
        self.register_outputs({"ref": self.ref})

    def _repository(self, registry: RegistryArgs) -> gcp.artifactregistry.Repository:
        repository = gcp.artifactregistry.Repository(
            "repository",
            project=registry.project,
            location=registry.region,
            repository_id=registry.repository,
            format="DOCKER",
            description="Images of the hybrid chat",
            labels=registry.labels,
            # KEEP overrides DELETE, so that an image without a successor is kept for as long as it runs.
            cleanup_policies=[
                {"id": "keep-newest", "action": "KEEP", "most_recent_versions": {"keep_count": 10}},
                {"id": "delete-old", "action": "DELETE", "condition": {"older_than": "2592000s", "tag_state": "ANY"}},
            ],
            cleanup_policy_dry_run=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=registry.depends_on, hooks=registry.hooks),
        )
        for reader, member in registry.readers.items():
            gcp.artifactregistry.RepositoryIamMember(
                f"pull-{reader}",
                project=registry.project,
                location=registry.region,
                repository=repository.repository_id,
                role="roles/artifactregistry.reader",
                member=member,
                opts=pulumi.ResourceOptions(parent=self, hooks=registry.hooks),
            )
        return repository

    def _docker_build(self, args: ChatImageArgs) -> pulumi.Output[str]:
        import pulumi_docker as docker  # noqa: PLC0415 - 0.1 s at start-up that only this build needs

        tag = Source.of(args.root).tag
        if args.registry:
            address = _address(args.registry, self._repository(args.registry), tag)
        else:
            address = pulumi.Output.from_input(f"{args.push_to}/hybrid-chat:{tag}".lstrip("/"))
        is_pushed = bool(args.registry or args.push_to)
        image = docker.Image(
            "image",
            image_name=address,
            build=docker.DockerBuildArgs(
                context=str(args.root),
                dockerfile=f"{args.root}/{DOCKERFILE}",
                # GKE's nodes are amd64; another cluster most often has this computer's platform.
                platform="linux/amd64" if args.registry else None,
            ),
            build_on_preview=False,
            skip_push=not is_pushed,
            opts=pulumi.ResourceOptions(parent=self),
        )
        # An image that is not pushed has no repository digest; its tag is the hash of the source.
        return image.repo_digest if is_pushed else image.image_name

    def _cloud_build(
        self, source: Source, registry: RegistryArgs, repository: gcp.artifactregistry.Repository
    ) -> pulumi.Output[str]:
        address = _address(registry, repository, source.tag)
        account = gcp.serviceaccount.Account(
            "build-account",
            project=registry.project,
            # Not the default account: nodes use it too, or it has no roles in new projects.
            account_id=registry.build_account,
            display_name="Builds the hybrid chat's image",
            opts=pulumi.ResourceOptions(parent=self, depends_on=registry.depends_on, hooks=registry.hooks),
        )
        bucket = gcp.storage.Bucket(
            "build",
            name=registry.build_bucket,
            project=registry.project,
            location=registry.region,
            labels=registry.labels,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            force_destroy=True,
            # The source is not needed after the build; a week is enough to read its log.
            lifecycle_rules=[{"action": {"type": "Delete"}, "condition": {"age": 7}}],
            soft_delete_policy={"retention_duration_seconds": 0},
            opts=pulumi.ResourceOptions(parent=self, depends_on=registry.depends_on, hooks=registry.hooks),
        )
        options = pulumi.ResourceOptions(parent=self, hooks=registry.hooks)
        rights = [
            gcp.artifactregistry.RepositoryIamMember(
                "build-push",
                project=registry.project,
                location=registry.region,
                repository=repository.repository_id,
                role="roles/artifactregistry.writer",
                member=account.member,
                opts=options,
            ),
            gcp.storage.BucketIAMMember(
                "build-source-and-log",
                bucket=bucket.name,
                # Cloud Build's documentation requires it for a user-owned log bucket, which holds nothing else.
                role="roles/storage.admin",
                member=account.member,
                opts=options,
            ),
        ]
        build = command.local.Command(
            "build",
            create=f"sh {shlex.quote(os.path.relpath(_SCRIPT))}",
            stdin="\n".join(source.files) + "\n",
            environment={
                "IMAGE": address,
                "SOURCE": str(source.root),
                "PROJECT": registry.project,
                "REGION": registry.build_region,
                "BUCKET": bucket.name,
                "BUILD": pulumi.Output.all(address, account.id, bucket.name).apply(
                    lambda parts: json.dumps(_build_config(*parts))
                ),
                **registry.gcloud_environment,
            },
            triggers=[address],
            logging=command.local.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=rights,
                custom_timeouts=pulumi.CustomTimeouts(create="30m"),
            ),
        )
        return pulumi.Output.format("{0}@{1}", address.apply(lambda name: name.rpartition(":")[0]), build.stdout)


def _address(registry: RegistryArgs, repository: gcp.artifactregistry.Repository, tag: str) -> pulumi.Output[str]:
    return pulumi.Output.concat(
        f"{registry.region}-docker.pkg.dev/{registry.project}/", repository.repository_id, f"/chat:{tag}"
    )


def _build_config(image: str, account: str, bucket: str) -> dict[str, object]:
    return {
        "steps": [
            {
                "name": BUILDER,
                "env": ["DOCKER_BUILDKIT=1"],
                "args": ["build", "--file", DOCKERFILE, "--tag", image, "."],
            }
        ],
        "images": [image],
        "serviceAccount": account,
        "logsBucket": f"gs://{bucket}/log",
        "options": {"logging": "GCS_ONLY"},
        "timeout": "1200s",
    }


def gcloud_environment() -> dict[str, pulumi.Input[str]]:
    """Return variables that give gcloud the credentials and endpoints of the default Google provider."""
    google = pulumi.Config("gcp")
    variables = {
        "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": google.get("impersonateServiceAccount"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN": google.get_secret("accessToken"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBUILD": google.get("cloudBuildCustomEndpoint"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": google.get("storageCustomEndpoint"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_ARTIFACTREGISTRY": google.get("artifactRegistryCustomEndpoint"),
    }
    return {name: value for name, value in variables.items() if value is not None}
