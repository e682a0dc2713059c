"""The deployment's logs in a log bucket of a given location, and not in the project's, which is global."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class RegionalLogsArgs:
    """Arguments of `RegionalLogs`.

    Attributes:
        project: the project's ID.
        location: of the log bucket: a region, ``eu`` or ``us``.
        name: of the sink and the exclusion; the bucket's begins with it.
        cluster: name of the GKE cluster.
        cluster_region: its region.
        namespace: the chat's namespace, which GKE puts into the names of the load balancer's parts.
        retention_days: how long entries are kept.
        depends_on: the API.
        hooks: retries while it is not ready (`ProjectServices.hooks`).
    """

    project: str
    location: str
    name: str
    cluster: str
    cluster_region: str
    namespace: str
    retention_days: int = 30
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)

    @property
    def filter(self) -> str:
        """Which entries of the project are the deployment's: of the cluster, and of its load balancer."""
        return (
            f'(resource.labels.cluster_name="{self.cluster}" AND resource.labels.location:"{self.cluster_region}") OR '
            '(resource.type="http_load_balancer" AND '
            f'resource.labels.backend_service_name=~"^gkegw[0-9]+-[a-z0-9]+-{self.namespace}-")'
        )


class RegionalLogs(pulumi.ComponentResource):
    """A log bucket, a sink that fills it, and an exclusion from the project's own bucket.

    Google keeps the audit logs of administrators' actions in the project's bucket ``_Required``, whose location only an
    organization's default can change. They have no text of conversations.
    """

    def __init__(self, name: str, args: RegionalLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:RegionalLogs", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks)
        # Google holds the name of a deleted bucket for 7 days (projects.locations.buckets.delete).
        ending = random.RandomString(
            "bucket-ending", length=6, special=False, upper=False, opts=pulumi.ResourceOptions(parent=self)
        )
        bucket = gcp.logging.ProjectBucketConfig(
            "bucket",
            project=args.project,
            location=args.location,
            bucket_id=pulumi.Output.concat(args.name, "-", ending.result),
            retention_days=args.retention_days,
            description="Logs of the hybrid chat",
            opts=child,
        )
        sink = gcp.logging.ProjectSink(
            "sink",
            project=args.project,
            name=args.name,
            description="Logs of the hybrid chat to a bucket of its own",
            destination=pulumi.Output.format(
                "logging.googleapis.com/projects/{0}/locations/{1}/buckets/{2}",
                args.project,
                args.location,
                bucket.bucket_id,
            ),
            filter=args.filter,
            # A bucket of the same project needs no role.
            unique_writer_identity=False,
            opts=child,
        )
        # After the sink, so that no entry is lost; exclusions apply to the project's sink _Default only.
        gcp.logging.ProjectExclusion(
            "exclusion",
            project=args.project,
            name=args.name,
            description="Logs of the hybrid chat, which has a bucket of its own",
            filter=args.filter,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[sink], hooks=args.hooks),
        )
        self.register_outputs({})
