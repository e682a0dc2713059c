"""NetworkPolicies: all traffic in the namespace is denied, except for what is allowed here.

A NetworkPolicy knows addresses and no names. Gemini, Firestore, the sign-in and Hugging Face have changing public
addresses, so their traffic may go to port 443 of the whole internet, but to no private network: neither to other pods
and nodes, nor to networks that are connected to the cluster's.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import pulumi
import pulumi_kubernetes as kubernetes
from pulumi_kubernetes.networking import v1

from stacks.components.chat_pod import APP as CHAT
from stacks.components.chat_pod import METRICS_PORT, PORT
from stacks.components.endpoint_picker import APP as PICKER
from stacks.components.endpoint_picker import CHOICES_PORT, HEALTH_PORT
from stacks.components.endpoint_picker import METRICS_PORT as PICKER_METRICS_PORT
from stacks.components.model_group import LEADER
from stacks.components.model_pod import APP as GEMMA
from stacks.components.model_pod import CONTAINER_PORT
from stacks.components.model_weights import APP as WEIGHTS
from stacks.components.workloads import metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HTTPS, DNS = 443, 53
# The API server's ports: kubeadm, k3s and kind (6443), minikube (8443), MicroK8s (16443); GKE's is 443. Policies see
# the port of the pod or machine behind a Service.
API_SERVER_PORTS = (6443, 8443, 16443)
# Namespaces of Google's managed Prometheus; the second one on Autopilot.
COLLECTORS = ("gmp-system", "gke-gmp-system")
# Where GKE's own agent runs, which reads the metrics that an autoscaler uses.
METRICS_AGENT = "kube-system"
# GKE's metadata server, for Workload Identity: with Dataplane V2, as on Autopilot, and without it;
# https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity
METADATA_SERVER = {"169.254.169.254/32": (80, 8080), "169.254.169.252/32": (987, 988)}
# Networks that are not the internet: private and shared ones, the machine itself, link-local ones (metadata servers),
# multicast and reserved ones. https://www.iana.org/assignments/iana-ipv4-special-registry
INTERNAL = (
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "224.0.0.0/4",
    "240.0.0.0/4",
)
# Where an API server can be.
PRIVATE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
INTERNAL_IPV6 = ("::1/128", "fc00::/7", "fe80::/10", "ff00::/8")


@dataclass(frozen=True)
class GemmasLoadBalancer:
    """The internal load balancer between the chat and the servers of Gemma.

    Attributes:
        address: where the chat reaches it.
        port: there.
        proxies: the range of its proxies, which send the questions and ask the endpoint picker.
        health_checks: networks of its health checks.
    """

    address: pulumi.Input[str]
    port: int
    proxies: str
    health_checks: Sequence[str]


@dataclass(frozen=True)
class NetworkIsolationArgs:
    """Arguments of `NetworkIsolation`.

    Attributes:
        namespace: of the chat and of Gemma.
        browsers: source networks of browsers' requests: those of a load balancer; ``anywhere``; ``nowhere``, which
            allows only what the pod's own node forwards (`kubectl port-forward`).
        on_gke: whether pods use GKE's metadata server, and GKE collects the metrics.
        own_gemma: whether Gemma is in this namespace, and the chat reads its state with the Kubernetes API.
        gemma_in_groups: whether a server of Gemma is a group of pods, of which the leader alone answers.
        scales_gemma: whether GKE's agent reads Gemma's queue for an autoscaler.
        gemmas_load_balancer: in front of Gemma; `None`: the chat reaches the servers themselves.
        weights_in_bucket: whether a Job copies Gemma's weights to a bucket, from which Gemma reads them.
        gemma_url: another server of Gemma; empty: none.
        embeddings_url: the server of embeddings; empty: none, or Gemini.
        otel_endpoint: the collector that gets traces; empty: none.
        control_plane: the private address of GKE's control plane; empty or `None`: unknown.
    """

    namespace: pulumi.Input[str]
    browsers: Sequence[str] | Literal["anywhere", "nowhere"]
    on_gke: bool
    own_gemma: bool
    gemma_in_groups: bool = False
    scales_gemma: bool = False
    gemmas_load_balancer: GemmasLoadBalancer | None = None
    weights_in_bucket: bool = False
    gemma_url: str = ""
    embeddings_url: str = ""
    otel_endpoint: str = ""
    control_plane: pulumi.Input[str | None] = ""


class NetworkIsolation(pulumi.ComponentResource):
    """NetworkPolicies; the cluster's network plugin must support them (GKE's and kind's do, minikube's does not).

    Probes come from the pod's own node, whose traffic to its pods is always allowed.
    """

    def __init__(self, name: str, args: NetworkIsolationArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:NetworkIsolation", name, {}, opts)
        self._namespace = args.namespace
        self._policy("default-deny", "hybrid-chat", pods={}, ingress=[], egress=[])
        self._policy("chat", CHAT, pods={"app": CHAT}, ingress=_chat_ingress(args), egress=_chat_egress(args))
        if args.own_gemma:
            asked = _ingress(_gemma_peers(args), CONTAINER_PORT)
            # vLLM's processes on several machines connect to each other at ports that they choose.
            among = [_pods(GEMMA)] if args.gemma_in_groups else []
            self._policy(
                "gemma",
                GEMMA,
                pods={"app": GEMMA},
                ingress=[_ingress(among)] if among else [asked],
                # For weights: from Hugging Face, which needs no identity, or from the bucket, which needs Gemma's own.
                egress=[
                    _dns(),
                    _egress(_internet(), HTTPS),
                    *(_identity() if args.weights_in_bucket else []),
                    *([_egress(among)] if among else []),
                ],
            )
            if among:
                self._policy("gemma-leader", GEMMA, pods={"app": GEMMA} | LEADER, ingress=[asked], egress=[])
        if args.gemmas_load_balancer:
            self._picker(args, args.gemmas_load_balancer)
        if args.weights_in_bucket:
            self._policy(
                "weights",
                WEIGHTS,
                pods={"app": WEIGHTS},
                ingress=[],
                egress=[_dns(), _egress(_internet(), HTTPS), *_identity()],
            )
        self.register_outputs({})

    def _picker(self, args: NetworkIsolationArgs, balancer: GemmasLoadBalancer) -> None:
        self._policy(
            "gemma-picker",
            PICKER,
            pods={"app": PICKER},
            ingress=[
                _ingress([_network(balancer.proxies)], CHOICES_PORT),
                _ingress([_network(each) for each in balancer.health_checks], HEALTH_PORT),
                _ingress(_collectors(), PICKER_METRICS_PORT),
            ],
            # It watches pods, and reads the metrics of the servers.
            egress=[_dns(), _egress([_pods(GEMMA)], CONTAINER_PORT), _control_plane(args.control_plane)],
        )

    def _policy(
        self,
        name: str,
        component: str,
        *,
        pods: dict[str, str],
        ingress: list[v1.NetworkPolicyIngressRuleArgs],
        egress: list[v1.NetworkPolicyEgressRuleArgs],
    ) -> None:
        v1.NetworkPolicy(
            name,
            metadata=metadata(name, self._namespace, component),
            # Empty lists are left out, as in what Kubernetes returns: else each refresh would show a difference.
            spec=v1.NetworkPolicySpecArgs(
                pod_selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels=pods or None),
                policy_types=["Ingress", "Egress"],
                ingress=ingress or None,
                egress=egress or None,
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _gemma_peers(args: NetworkIsolationArgs) -> list[v1.NetworkPolicyPeerArgs]:
    collectors = _collectors() if args.on_gke else []
    readers = [*collectors, *([_namespaces(METRICS_AGENT)] if args.scales_gemma else [])]
    balancer = args.gemmas_load_balancer
    if not balancer:
        return [_pods(CHAT), *readers]
    # The chat has its way through the load balancer only, so that each question goes to the server that is chosen.
    networks = [_network(each) for each in (balancer.proxies, *balancer.health_checks)]
    return [*networks, _pods(PICKER), *readers]


def _chat_ingress(args: NetworkIsolationArgs) -> list[v1.NetworkPolicyIngressRuleArgs]:
    rules: list[v1.NetworkPolicyIngressRuleArgs] = []
    if args.browsers == "anywhere":
        rules.append(_ingress([], PORT))
    elif args.browsers != "nowhere":
        rules.append(_ingress([_network(network) for network in args.browsers], PORT))
    # Outside GKE the collector's namespace is unknown; the metrics contain no names and no text.
    rules.append(_ingress(_collectors() if args.on_gke else [_any_namespace()], METRICS_PORT))
    return rules


def _chat_egress(args: NetworkIsolationArgs) -> list[v1.NetworkPolicyEgressRuleArgs]:
    rules = [_dns(), _egress(_internet(), HTTPS)]
    if args.on_gke:
        rules += _identity()
    if args.own_gemma:
        rules.append(_to_gemma(args))
        rules += [_control_plane(args.control_plane)] if args.on_gke else _api_server()
    for url in (args.gemma_url, args.embeddings_url, args.otel_endpoint):
        if url:
            rules += _server(url)
    return rules


def _to_gemma(args: NetworkIsolationArgs) -> v1.NetworkPolicyEgressRuleArgs:
    balancer = args.gemmas_load_balancer
    if balancer is None:
        return _egress([_pods(GEMMA, LEADER if args.gemma_in_groups else {})], CONTAINER_PORT)
    address = pulumi.Output.concat(balancer.address, "/32")
    return _egress([v1.NetworkPolicyPeerArgs(ip_block=v1.IPBlockArgs(cidr=address))], balancer.port)


def _identity() -> list[v1.NetworkPolicyEgressRuleArgs]:
    """Allow GKE's metadata server, which gives a pod the tokens of its service account."""
    return [_egress([_network(network)], *ports) for network, ports in METADATA_SERVER.items()]


def _control_plane(address: pulumi.Input[str | None]) -> v1.NetworkPolicyEgressRuleArgs:
    """Allow GKE's Kubernetes API, whose public address, if it has one, is allowed anyway."""

    def peers(known: str | None) -> list[v1.NetworkPolicyPeerArgs]:
        return [_network(f"{known}/32")] if known else _private_networks()

    return v1.NetworkPolicyEgressRuleArgs(to=pulumi.Output.from_input(address).apply(peers), ports=_ports([HTTPS]))


def _api_server() -> list[v1.NetworkPolicyEgressRuleArgs]:
    """Allow another cluster's Kubernetes API, whose address is unknown: policies see it in place of the Service's."""
    return [_egress(_private_networks(), HTTPS), _egress([], *API_SERVER_PORTS)]


def _server(url: str) -> list[v1.NetworkPolicyEgressRuleArgs]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    with suppress(ValueError):  # a name
        return [_egress([_network(str(ipaddress.ip_network(parts.hostname or "")))], port)]
    rules = [_egress([], port)]
    # SERVICE.NAMESPACE or SERVICE.NAMESPACE.svc...: its pods may listen on another port than the Service.
    in_cluster = re.fullmatch(r"[a-z0-9-]+\.([a-z0-9-]+)(?:\.svc(?:\..+)?)?", parts.hostname or "")
    if in_cluster:
        rules.append(_egress([_namespaces(in_cluster[1])]))
    return rules


def _dns() -> v1.NetworkPolicyEgressRuleArgs:
    # To any address: the DNS server is a pod of the cluster, a cache on the node, or Google's Cloud DNS.
    ports = [v1.NetworkPolicyPortArgs(port=DNS, protocol=protocol) for protocol in ("UDP", "TCP")]
    return v1.NetworkPolicyEgressRuleArgs(ports=ports)


def _ingress(peers: list[v1.NetworkPolicyPeerArgs], *ports: int) -> v1.NetworkPolicyIngressRuleArgs:
    """Return a rule; no peers: any source; no ports: all."""
    return v1.NetworkPolicyIngressRuleArgs(from_=peers or None, ports=_ports(ports) if ports else None)


def _egress(peers: list[v1.NetworkPolicyPeerArgs], *ports: int) -> v1.NetworkPolicyEgressRuleArgs:
    """Return a rule; no peers: any destination; no ports: all."""
    return v1.NetworkPolicyEgressRuleArgs(to=peers or None, ports=_ports(ports) if ports else None)


def _ports(ports: Sequence[int]) -> list[v1.NetworkPolicyPortArgs]:
    return [v1.NetworkPolicyPortArgs(port=port, protocol="TCP") for port in ports]


def _any_namespace() -> v1.NetworkPolicyPeerArgs:
    return v1.NetworkPolicyPeerArgs(namespace_selector=kubernetes.meta.v1.LabelSelectorArgs())


def _namespaces(*names: str) -> v1.NetworkPolicyPeerArgs:
    requirement = kubernetes.meta.v1.LabelSelectorRequirementArgs(
        key="kubernetes.io/metadata.name", operator="In", values=list(names)
    )
    return v1.NetworkPolicyPeerArgs(
        namespace_selector=kubernetes.meta.v1.LabelSelectorArgs(match_expressions=[requirement])
    )


def _collectors() -> list[v1.NetworkPolicyPeerArgs]:
    return [_namespaces(*COLLECTORS)]


def _pods(app: str, more: Mapping[str, str] | None = None) -> v1.NetworkPolicyPeerArgs:
    labels = {"app": app, **(more or {})}
    return v1.NetworkPolicyPeerArgs(pod_selector=kubernetes.meta.v1.LabelSelectorArgs(match_labels=labels))


def _internet() -> list[v1.NetworkPolicyPeerArgs]:
    blocks = {"0.0.0.0/0": INTERNAL, "::/0": INTERNAL_IPV6}
    return [
        v1.NetworkPolicyPeerArgs(ip_block=v1.IPBlockArgs(cidr=cidr, except_=list(internal)))
        for cidr, internal in blocks.items()
    ]


def _private_networks() -> list[v1.NetworkPolicyPeerArgs]:
    return [_network(cidr) for cidr in PRIVATE]


def _network(cidr: str) -> v1.NetworkPolicyPeerArgs:
    return v1.NetworkPolicyPeerArgs(ip_block=v1.IPBlockArgs(cidr=cidr))
