"""The cluster's VPC network: its own, or an existing one."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
import pulumi_command as command
import pulumi_gcp as gcp

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_LEFTOVERS = Path(__file__).with_name("network_leftovers.sh")

# Ranges of the own network. It is connected to no other network, so they only have to differ from each other. The pods'
# range decides how many nodes fit: Autopilot takes a /26 for each (32 pods), so a /17 is enough for 512 nodes.
# https://cloud.google.com/kubernetes-engine/docs/concepts/alias-ips#cluster_sizing_secondary_range_pods
NODES, PODS, SERVICES = "10.10.0.0/22", "10.20.0.0/17", "10.30.0.0/20"
PROXIES = "10.40.0.0/23"
"""The proxies of internal load balancers; /23 is Google's advice, /26 the least:
https://docs.cloud.google.com/load-balancing/docs/proxy-only-subnets"""
PODS_RANGE, SERVICES_RANGE = "pods", "services"


@dataclass(frozen=True)
class ClusterNetworkArgs:
    """Arguments of `ClusterNetwork`.

    Attributes:
        project: the project's ID.
        region: of the subnetwork.
        name: of the network and of its parts.
        private_nodes: whether nodes have no external address, so that they reach the internet through Cloud NAT.
        proxies_name: of the subnetwork for the proxies of an internal load balancer; empty: there is none.
        gcloud_environment: variables that give gcloud the credentials and endpoints of Google's provider.
        depends_on: the API of Compute Engine.
        hooks: retries while that is not ready (`ProjectServices.hooks`).
    """

    project: str
    region: str
    name: str
    private_nodes: bool
    proxies_name: str = ""
    gcloud_environment: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class ClusterNetwork(pulumi.ComponentResource):
    """A VPC network with one subnetwork: new organizations create projects without the network ``default``.

    Attributes:
        network: its name.
        subnetwork: its name; its secondary ranges are `PODS_RANGE` and `SERVICES_RANGE`.
        parts: the resources that a cluster needs, for those that must be deleted before them.
    """

    network: pulumi.Output[str]
    subnetwork: pulumi.Output[str]
    parts: list[pulumi.Resource]

    def __init__(self, name: str, args: ClusterNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ClusterNetwork", name, {}, opts)
        options = pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks)
        network = gcp.compute.Network(
            "vpc",
            name=args.name,
            project=args.project,
            description="The hybrid chat's cluster",
            auto_create_subnetworks=False,
            routing_mode="REGIONAL",
            opts=options,
        )
        subnetwork = gcp.compute.Subnetwork(
            "subnet",
            name=args.name,
            project=args.project,
            region=args.region,
            network=network.id,
            ip_cidr_range=NODES,
            # Nodes without an external address reach Google's APIs (images, Vertex AI, Firestore) through this.
            private_ip_google_access=True,
            secondary_ip_ranges=[
                gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name=name, ip_cidr_range=block)
                for name, block in ((PODS_RANGE, PODS), (SERVICES_RANGE, SERVICES))
            ],
            opts=options,
        )
        self.network, self.subnetwork = network.name, subnetwork.name
        self.parts = [network, subnetwork, self._leftovers(args, network)]
        if args.proxies_name:
            self.parts.append(self._proxies(args, network))
        if args.private_nodes:
            self.parts += self._nat(args, network, subnetwork)
        self.register_outputs({"network": self.network, "subnetwork": self.subnetwork})

    def _proxies(self, args: ClusterNetworkArgs, network: gcp.compute.Network) -> gcp.compute.Subnetwork:
        """Create the subnetwork for Google's proxies, of which a network has one in a region."""
        return gcp.compute.Subnetwork(
            "proxies",
            name=args.proxies_name,
            project=args.project,
            region=args.region,
            network=network.id,
            ip_cidr_range=PROXIES,
            purpose="REGIONAL_MANAGED_PROXY",
            role="ACTIVE",
            opts=pulumi.ResourceOptions(parent=self, hooks=args.hooks),
        )

    def _leftovers(self, args: ClusterNetworkArgs, network: gcp.compute.Network) -> command.local.Command:
        """Register a script that runs when the stack is destroyed: after the cluster, and before the network."""
        return command.local.Command(
            "leftovers",
            delete=f"sh {shlex.quote(os.path.relpath(_LEFTOVERS))}",
            environment={"PROJECT": args.project, "NETWORK": network.name, **args.gcloud_environment},
            logging=command.local.Logging.STDERR,
            add_previous_output_in_env=False,
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _nat(
        self, args: ClusterNetworkArgs, network: gcp.compute.Network, subnetwork: gcp.compute.Subnetwork
    ) -> list[pulumi.Resource]:
        """Create a way out for nodes without an external address: Hugging Face and Docker Hub are not Google's."""
        options = pulumi.ResourceOptions(parent=self, hooks=args.hooks)
        router = gcp.compute.Router(
            "router", name=args.name, project=args.project, region=args.region, network=network.id, opts=options
        )
        nat = gcp.compute.RouterNat(
            "nat",
            name=args.name,
            project=args.project,
            region=args.region,
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[
                gcp.compute.RouterNatSubnetworkArgs(name=subnetwork.id, source_ip_ranges_to_nats=["ALL_IP_RANGES"])
            ],
            opts=options,
        )
        return [router, nat]
