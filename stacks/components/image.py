"""The chat's image: built by Cloud Build, by the Docker engine on this computer, or by somebody else."""

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

_SCRIPT = Path(__file__).with_name("cloud_build.sh")


@dataclass(frozen=True)
class RegistryArgs:
    """A repository for images in Artifact Registry, and what Cloud Build needs beside it.

    Attributes:
        project: the project's ID.
        region: where repository and bucket are.
        repository: the repository's ID.
        readers: who may pull, as IAM members by a short name (the cluster's nodes).
        build_account: account ID of the build's service account; at most 30 characters.
        build_bucket: bucket for the build's source and log.
        gcloud_environment: variables that make gcloud act as Google's provider does (another identity or endpoint).
        depends_on: the APIs of Artifact Registry, Cloud Build, Cloud Storage and IAM.
        hooks: what to do while an API does not answer yet.
    """

    project: str
    region: str
    repository: str
    readers: Mapping[str, pulumi.Input[str]]
    build_account: str
    build_bucket: str
    gcloud_environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


@dataclass(frozen=True)
class ChatImageArgs:
    """Where the image comes from.

    Attributes:
        build: ``cloud-build``, ``docker``, or the reference of an image that exists.
        root: the folder with what is built; nothing is read from it for an image that exists.
        registry: Artifact Registry; `None` where there is none.
        push_to: with ``docker`` and without `registry`: a registry to push to; empty: the image stays in the engine.
    """

    build: str
    root: Path
    registry: RegistryArgs | None = None
    push_to: str = ""


class ChatImage(pulumi.ComponentResource):
    """The chat's image; the same source is built once.

    Attributes:
        ref: for a Deployment: by digest wherever a registry knows one.
    """

    ref: pulumi.Output[str]

    def __init__(self, name: str, args: ChatImageArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ChatImage", name, {}, opts)
        if args.build == "cloud-build":
            if args.registry is None:
                raise ValueError("Cloud Build needs a registry to push to")
            self.ref = self._built_by_cloud(Source.of(args.root), args.registry, self._repository(args.registry))
        elif args.build == "docker":
            self.ref = self._built_by_docker(args)
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
            # KEEP wins over DELETE: an image that runs for months without a successor stays.
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

    def _built_by_docker(self, args: ChatImageArgs) -> pulumi.Output[str]:
        import pulumi_docker as docker  # noqa: PLC0415 - a tenth of a second that only this way of building needs

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
                # What GKE's nodes are; a cluster of one's own is most often of this computer's kind.
                platform="linux/amd64" if args.registry else None,
            ),
            build_on_preview=False,
            skip_push=not is_pushed,
            opts=pulumi.ResourceOptions(parent=self),
        )
        # What was not pushed has no digest that a cluster could ask for; its tag is the source's hash.
        return image.repo_digest if is_pushed else image.image_name

    def _built_by_cloud(
        self, source: Source, registry: RegistryArgs, repository: gcp.artifactregistry.Repository
    ) -> pulumi.Output[str]:
        address = _address(registry, repository, source.tag)
        account = gcp.serviceaccount.Account(
            "build-account",
            project=registry.project,
            # Its own: the default one is the nodes' too, or has no rights at all in new projects.
            account_id=registry.build_account,
            display_name="Builds the hybrid chat's image",
            opts=pulumi.ResourceOptions(parent=self, depends_on=registry.depends_on, hooks=registry.hooks),
        )
        bucket = gcp.storage.Bucket(
            "build",
            name=registry.build_bucket,
            project=registry.project,
            location=registry.region,
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            force_destroy=True,
            # The source of a build is of no use after it; a week lets somebody read its log.
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
                # What Cloud Build's documentation asks for a log bucket of one's own; it holds nothing else.
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
                "name": "gcr.io/cloud-builders/docker",
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
    """Return what makes gcloud act as the default Google provider does: as whom, and where."""
    google = pulumi.Config("gcp")
    variables = {
        "CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": google.get("impersonateServiceAccount"),
        "CLOUDSDK_AUTH_ACCESS_TOKEN": google.get_secret("accessToken"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_CLOUDBUILD": google.get("cloudBuildCustomEndpoint"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": google.get("storageCustomEndpoint"),
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_ARTIFACTREGISTRY": google.get("artifactRegistryCustomEndpoint"),
    }
    return {name: value for name, value in variables.items() if value is not None}
