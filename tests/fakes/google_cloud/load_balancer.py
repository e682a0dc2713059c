"""What GKE's controller makes in the project for a Gateway or a Service of type LoadBalancer, and what it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fakes.google_cloud.rules import add_firewall_rule

if TYPE_CHECKING:
    from tests.fakes.google_cloud.cloud import Cloud

Json = dict[str, Any]
HEALTH_RULE = "k8s-1a2b3c-node-http-hc"


class Controller:
    """GKE's controller of one cluster; it works while the cluster exists."""

    def __init__(self, cloud: Cloud, cluster: str, region: str, network: str) -> None:
        self._cloud, self._network = cloud, network
        self._cluster = f"container.v1/projects/{cloud.project}/locations/{region}/clusters/{cluster}"
        self._zone = f"projects/{cloud.project}/zones/{region}-a"
        self._base = f"projects/{cloud.project}/global"
        self._regional = f"projects/{cloud.project}/regions/{region}"
        self._rules: list[str] = []

    @property
    def is_there(self) -> bool:
        """Whether the cluster exists."""
        return self._cluster in self._cloud.resources

    def has(self, collection: str, name: str) -> bool:
        """Return whether a global resource exists that a Gateway names."""
        return f"compute.v1/{self._base}/{collection}/{name}" in self._cloud.resources

    def make(self, namespace: str, gateway: str, *, address: str, certificate: str) -> None:
        """Make a load balancer for a Gateway.

        Raises:
            LookupError: its address or certificate does not exist, so that it would wait for ever.
        """
        for collection, name in (("addresses", address), ("sslCertificates", certificate)):
            if not self.has(collection, name):
                raise LookupError(f"the Gateway {gateway} waits for {collection} {name}")
        name = f"gkegw1-l1bg-{namespace}-{gateway}-2jzr7e3xclhj"
        for collection, more in (
            ("healthChecks", {}),
            ("backendServices", {}),
            ("urlMaps", {}),
            ("targetHttpsProxies", {"certificate": f"{self._base}/sslCertificates/{certificate}"}),
            ("targetHttpProxies", {}),
            ("forwardingRules", {"address": f"{self._base}/addresses/{address}"}),
        ):
            self._cloud.resources[f"compute.v1/{self._base}/{collection}/{name}"] = {"name": name, **more}
        self._add_rule("gkegw1-l7-1a2b-global")
        link = f"https://www.googleapis.com/compute/v1/{self._base}/networks/{self._network}"
        self._cloud.resources[f"compute.v1/{self._zone}/networkEndpointGroups/k8s1-8f-chat"] = {
            "name": "k8s1-8f-chat",
            "network": link,
            "zone": f"https://www.googleapis.com/compute/v1/{self._zone}",
        }

    def make_internal(self, namespace: str, gateway: str, *, address: str) -> None:
        """Make a regional internal load balancer for a Gateway.

        Raises:
            LookupError: its address, or the proxy-only subnetwork of the network, does not exist.
        """
        reserved = f"{self._regional}/addresses/{address}"
        if f"compute.v1/{reserved}" not in self._cloud.resources:
            raise LookupError(f"the Gateway {gateway} waits for the address {address}")
        name = f"gkegw1-l1bg-{namespace}-{gateway}-8d2k5m1qz0rt"
        parts = {
            "backendServices": {},
            "urlMaps": {},
            "targetHttpProxies": {},
            "forwardingRules": {"address": reserved, "proxies": self._proxies(gateway)},
        }
        for collection, more in parts.items():
            self._cloud.resources[f"compute.v1/{self._regional}/{collection}/{name}"] = {"name": name, **more}
        self._add_rule(f"gkegw1-l7-1a2b-{self._regional.rpartition('/')[2]}")

    def _proxies(self, gateway: str) -> str:
        for key, resource in self._cloud.resources.items():
            is_there = key.startswith(f"compute.v1/{self._regional}/subnetworks/")
            in_network = str(resource.get("network", "")).endswith(f"/{self._network}")
            if is_there and in_network and resource.get("purpose") == "REGIONAL_MANAGED_PROXY":
                return key.partition("/")[2]
        raise LookupError(f"the Gateway {gateway} waits for a proxy-only subnetwork in {self._network}")

    def make_plain(self) -> None:
        """Make a network load balancer for a Service, with its rule for health checks."""
        self._add_rule(HEALTH_RULE)

    def _add_rule(self, name: str) -> None:
        self._rules.append(name)
        add_firewall_rule(self._cloud, name, self._network)

    def remove(self) -> None:
        """Delete all load balancers, if the cluster exists; a firewall rule stays where the switch says so."""
        if not self.is_there:
            return
        for key in list(self._cloud.resources):
            name = key.rpartition("/")[2]
            if key.startswith("compute.v1/") and name.startswith(("gkegw1-", "k8s")):
                del self._cloud.resources[key]
        # What someone else deleted before, the controller had made again.
        for name in self._rules if self._cloud.switches.leaves_firewall_rule else ():
            add_firewall_rule(self._cloud, name, self._network)
