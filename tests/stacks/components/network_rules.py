"""Evaluates NetworkPolicies as Kubernetes does: which connections are allowed.

https://kubernetes.io/docs/concepts/services-networking/network-policies/: a pod that some policy selects for a
direction is isolated in that direction; the rules of all policies add up; a connection needs the sender's egress and
the receiver's ingress.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Peer:
    """A pod (with a namespace), or an address outside the cluster (without)."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    address: str = ""


def reaches(
    policies: Iterable[Mapping[str, Any]], sender: Peer, receiver: Peer, port: int, protocol: str = "TCP"
) -> bool:
    """Whether `sender` may open a connection to `receiver`; each policy is the object as Kubernetes gets it."""
    policies = list(policies)
    return _allowed(policies, "Egress", sender, receiver, port, protocol) and _allowed(
        policies, "Ingress", receiver, sender, port, protocol
    )


def _allowed(
    policies: Sequence[Mapping[str, Any]], direction: str, pod: Peer, other: Peer, port: int, protocol: str
) -> bool:
    if not pod.namespace:
        return True  # policies apply to pods only
    isolating = [
        policy
        for policy in policies
        if direction in policy["spec"]["policyTypes"]
        and policy["metadata"]["namespace"] == pod.namespace
        and _selects(policy["spec"]["podSelector"], pod.labels)
    ]
    rules, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    return not isolating or any(
        _port_fits(rule.get("ports"), port, protocol) and _peer_fits(rule.get(peers), other, policy)
        for policy in isolating
        for rule in policy["spec"].get(rules, [])
    )


def _port_fits(ports: Sequence[Mapping[str, Any]] | None, port: int, protocol: str) -> bool:
    return not ports or any((entry["port"], entry["protocol"]) == (port, protocol) for entry in ports)


def _peer_fits(peers: Sequence[Mapping[str, Any]] | None, other: Peer, policy: Mapping[str, Any]) -> bool:
    return not peers or any(_one_fits(peer, other, policy["metadata"]["namespace"]) for peer in peers)


def _one_fits(peer: Mapping[str, Any], other: Peer, namespace: str) -> bool:
    if "ipBlock" in peer:
        block = peer["ipBlock"]
        assert set(block) <= {"cidr", "except"}
        excepted = any(_is_in(other.address, cidr) for cidr in block.get("except", []))
        return _is_in(other.address, block["cidr"]) and not excepted
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        fits = _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        fits = other.namespace == namespace
    return fits and _selects(peer.get("podSelector", {}), other.labels)


def _is_in(address: str, cidr: str) -> bool:
    return bool(address) and ipaddress.ip_address(address) in ipaddress.ip_network(cidr)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    assert set(selector) <= {"matchLabels", "matchExpressions"}
    for entry in selector.get("matchExpressions", []):
        assert entry["operator"] == "In"
        if labels.get(entry["key"]) not in entry["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()
