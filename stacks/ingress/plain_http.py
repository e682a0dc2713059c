"""Ingress without TLS: a plain load balancer, or a forwarded port (`https_gateway.py` is the one with TLS)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_kubernetes as kubernetes

from stacks.components.chat import sticky_service
from stacks.components.chat_pod import APP, PORT
from stacks.components.workloads import metadata

LOCAL_URL = f"http://127.0.0.1:{PORT}"
"""The chat's address with a forwarded port."""


@dataclass(frozen=True)
class PublicEndpointArgs:
    """Arguments of `PublicEndpoint`.

    Attributes:
        kind: ``public-http`` (a load balancer without encryption, open to the public) or ``private`` (no address: users
            of the cluster forward a port).
        namespace: of the chat.
        service_name: name of the load balancer's Service.
        chat_service: name of the chat's own Service.
        deployment: the chat's Deployment: a load balancer without pods behind it is not ready.
    """

    kind: Literal["public-http", "private"]
    namespace: pulumi.Input[str]
    service_name: str
    chat_service: pulumi.Input[str]
    deployment: pulumi.Resource


class PublicEndpoint(pulumi.ComponentResource):
    """The address of the chat.

    Attributes:
        url: for a browser.
        command: the port forwarding that `url` needs; `None`: none.
    """

    url: pulumi.Output[str]
    command: pulumi.Output[str] | None

    def __init__(self, name: str, args: PublicEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:PublicEndpoint", name, {}, opts)
        if args.kind == "public-http":
            pulumi.log.warn(
                "Anyone who finds the chat's address can use it, and the connection is not encrypted.", self
            )
            self.url, self.command = self._load_balancer(args), None
        else:
            self.url = pulumi.Output.from_input(LOCAL_URL)
            self.command = pulumi.Output.concat(
                "kubectl --namespace ", args.namespace, " port-forward service/", args.chat_service, f" {PORT}:{PORT}"
            )
        self.register_outputs({"url": self.url})

    def _load_balancer(self, args: PublicEndpointArgs) -> pulumi.Output[str]:
        service = kubernetes.core.v1.Service(
            "load-balancer",
            metadata=metadata(args.service_name, args.namespace, APP),
            # Local: only nodes that run the chat get requests, so that the affinity sees the browser's own address.
            spec=sticky_service("LoadBalancer", external_traffic_policy="Local"),
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[args.deployment],
                # Its forwarding rule and firewall rules must be deleted before the cluster.
                custom_timeouts=pulumi.CustomTimeouts(create="15m", update="15m", delete="15m"),
            ),
        )
        host = service.status.apply(_address)
        return pulumi.Output.concat("http://", host, f":{PORT}")


def _address(status: kubernetes.core.v1.outputs.ServiceStatus | None) -> str:
    """Return the load balancer's host name or address; IPv6 in brackets."""
    ingress = status.load_balancer.ingress if status and status.load_balancer else None
    if not ingress:
        return "pending"
    address = ingress[0].hostname or ingress[0].ip or "pending"
    return f"[{address}]" if ":" in address else address
