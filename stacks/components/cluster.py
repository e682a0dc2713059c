"""The GKE Autopilot cluster and its Kubernetes provider."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The nodes' roles. The default account of Compute Engine has Editor on the whole project in old organizations, and no
# role in new ones, where nodes then cannot pull images.
NODE_ROLES = (
    # To run pods, and to write logs and metrics.
    "roles/container.defaultNodeServiceAccount",
    # For image streaming, which starts a container before its image has arrived (vLLM's has 10 GB):
    # https://cloud.google.com/kubernetes-engine/docs/how-to/image-streaming#requirements
    "roles/serviceusage.serviceUsageConsumer",
)

# Autopilot and GKE's upgrades set these; resetting them would show a difference in every preview.
_SET_BY_GKE = ["nodeConfig", "nodePools", "nodeVersion", "initialNodeCount", "verticalPodAutoscaling", "dnsConfig"]

# GKE replaces nodes during upgrades, and Gemma then loads its weights again, perhaps without a GPU in stock. Four hours
# in three nights of a week are enough: GKE wants 48 hours in 32 days.
# https://cloud.google.com/kubernetes-engine/docs/concepts/maintenance-windows-and-exclusions
_MAINTENANCE = gcp.container.ClusterMaintenancePolicyRecurringWindowArgs(
    start_time="2026-01-03T02:00:00Z", end_time="2026-01-03T06:00:00Z", recurrence="FREQ=WEEKLY;BYDAY=SA,SU,WE"
)


@dataclass(frozen=True)
class AutopilotClusterArgs:
    """Arguments of `AutopilotCluster`.

    Attributes:
        name: at most 40 characters.
        project: the project's ID.
        region: Autopilot clusters span a region.
        location: the region, as an output of what must be checked before the cluster is touched; `None`: `region`.
        network: name of the VPC network.
        subnetwork: name of its subnetwork in the region; `None`: the one that an auto-mode network has there.
        pods_range: name of the subnetwork's secondary range for pods; `None`: GKE chooses one.
        services_range: name of that for Services; `None`: GKE chooses one.
        private_nodes: whether nodes have no external address.
        release_channel: RAPID, REGULAR or STABLE.
        scales_on_metrics: whether autoscalers use metrics of pods, which GKE then reads more often.
        nodes_account: ID of the service account to create for the nodes; at most 30 characters.
        labels: of the cluster; GKE puts them on its nodes and disks too.
        depends_on: the APIs of GKE and IAM.
        hooks: retries while an API is not ready (`ProjectServices.hooks`).
    """

    name: str
    project: str
    region: str
    nodes_account: str
    location: pulumi.Input[str] | None = None
    network: pulumi.Input[str] = "default"
    subnetwork: pulumi.Input[str] | None = None
    pods_range: str | None = None
    services_range: str | None = None
    private_nodes: bool = False
    release_channel: str = "REGULAR"
    scales_on_metrics: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class AutopilotCluster(pulumi.ComponentResource):
    """A cluster whose nodes Google manages.

    Attributes:
        cluster: the cluster; creating it creates the project's workload identity pool.
        nodes_account: the nodes' service account.
        provider: for all objects inside the cluster.
        control_plane: the private address of the Kubernetes API; `None`: GKE does not say.
    """

    cluster: gcp.container.Cluster
    nodes_account: gcp.serviceaccount.Account
    provider: kubernetes.Provider
    control_plane: pulumi.Output[str | None]

    def __init__(self, name: str, args: AutopilotClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:AutopilotCluster", name, {}, opts)
        self.nodes_account = gcp.serviceaccount.Account(
            "nodes",
            project=args.project,
            account_id=args.nodes_account,
            display_name="Nodes of the hybrid chat's cluster",
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks),
        )
        roles = [
            gcp.projects.IAMMember(
                f"nodes-{role.rpartition('.')[2]}",
                project=args.project,
                role=role,
                member=self.nodes_account.member,
                opts=pulumi.ResourceOptions(parent=self, hooks=args.hooks),
            )
            for role in NODE_ROLES
        ]
        self.cluster = gcp.container.Cluster(
            "cluster",
            name=args.name,
            project=args.project,
            location=args.location or args.region,
            network=args.network,
            subnetwork=args.subnetwork,
            ip_allocation_policy=_ranges(args),
            private_cluster_config=(
                gcp.container.ClusterPrivateClusterConfigArgs(enable_private_nodes=True) if args.private_nodes else None
            ),
            resource_labels=args.labels,
            enable_autopilot=True,
            # `pulumi destroy` reads the protection from the state, so it must be off before.
            deletion_protection=False,
            release_channel={"channel": args.release_channel},
            gateway_api_config={"channel": "CHANNEL_STANDARD"},
            # https://docs.cloud.google.com/kubernetes-engine/docs/how-to/expose-custom-metrics-autoscaling#requirements
            pod_autoscaling=(
                gcp.container.ClusterPodAutoscalingArgs(hpa_profile="PERFORMANCE") if args.scales_on_metrics else None
            ),
            maintenance_policy=gcp.container.ClusterMaintenancePolicyArgs(recurring_window=_MAINTENANCE),
            cluster_autoscaling={
                "auto_provisioning_defaults": {
                    "service_account": self.nodes_account.email,
                    "oauth_scopes": ["https://www.googleapis.com/auth/cloud-platform"],
                }
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*args.depends_on, *roles],
                hooks=args.hooks,
                ignore_changes=_SET_BY_GKE,
                custom_timeouts=pulumi.CustomTimeouts(create="30m", update="30m", delete="30m"),
            ),
        )
        self.control_plane = self.cluster.private_cluster_config.apply(
            lambda network: network.private_endpoint if network else None
        )
        self.provider = cluster_provider(
            self,
            kubeconfig=_kubeconfig(self.cluster),
            # So that a changed endpoint or certificate does not look like another cluster.
            cluster_identifier=f"projects/{args.project}/locations/{args.region}/clusters/{args.name}",
            is_owned=True,
        )
        self.register_outputs({"name": self.cluster.name})


def _ranges(args: AutopilotClusterArgs) -> gcp.container.ClusterIpAllocationPolicyArgs | None:
    if not args.pods_range:
        return None
    return gcp.container.ClusterIpAllocationPolicyArgs(
        cluster_secondary_range_name=args.pods_range, services_secondary_range_name=args.services_range
    )


def cluster_provider(
    parent: pulumi.Resource,
    *,
    kubeconfig: pulumi.Input[str] | None,
    context: str | None = None,
    cluster_identifier: str | None = None,
    is_owned: bool,
) -> kubernetes.Provider:
    """Return the provider of a cluster; ``is_owned``: this stack created the cluster and is its only user."""
    return kubernetes.Provider(
        "kubernetes",
        kubeconfig=kubeconfig,
        context=context,
        cluster_identifier=cluster_identifier,
        enable_server_side_apply=True,
        enable_patch_force=True,
        enable_secret_mutable=True,
        # The objects of an owned cluster are gone with it. Another cluster may only be unreachable for a while.
        delete_unreachable=True if is_owned else None,
        # Existing objects in an owned cluster are left from an interrupted run: they are adopted.
        upsert_existing_objects=True if is_owned else None,
        opts=pulumi.ResourceOptions(parent=parent),
    )


def _kubeconfig(cluster: gcp.container.Cluster) -> pulumi.Output[str]:
    """Return a kubeconfig without a key: GKE's plugin gets a token for the account that runs Pulumi."""

    def rendered(values: list[str]) -> str:
        name, endpoint, certificate = values
        return json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": name,
                "clusters": [
                    {
                        "name": name,
                        "cluster": {"server": f"https://{endpoint}", "certificate-authority-data": certificate},
                    }
                ],
                "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
                "users": [
                    {
                        "name": name,
                        "user": {
                            "exec": {
                                "apiVersion": "client.authentication.k8s.io/v1beta1",
                                "command": "gke-gcloud-auth-plugin",
                                "installHint": "gcloud components install gke-gcloud-auth-plugin",
                                "interactiveMode": "IfAvailable",
                                "provideClusterInfo": True,
                            }
                        },
                    }
                ],
            }
        )

    certificate = cluster.master_auth.cluster_ca_certificate
    return pulumi.Output.secret(pulumi.Output.all(cluster.name, cluster.endpoint, certificate).apply(rendered))
