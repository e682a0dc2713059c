"""GKE's Inference Gateway: an internal load balancer that sends each question to the best of Gemma's servers.

Written from Google's documentation and llm-d's chart, and not tried on Google Cloud:
https://docs.cloud.google.com/kubernetes-engine/docs/how-to/deploy-gke-inference-gateway
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_gcp as gcp

from stacks.components.endpoint_picker import CHOICES_PORT, POOL_GROUP, EndpointPicker, EndpointPickerArgs
from stacks.components.manifests import Manifest, custom_object
from stacks.components.model_pod import APP, CONTAINER_PORT, HEALTH
from stacks.components.workloads import metadata

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GATEWAY, NETWORKING = "gateway.networking.k8s.io", "networking.gke.io"
PORT = 80
ANSWER_SECONDS = 3600
"""The longest time for streaming an answer; the load balancer's default, 30 s, would cut it off."""
DRAIN_SECONDS = 120
"""For the running answers of a server that ends; longer than vLLM's own 110 s."""


def internal_address(
    name: str,
    *,
    project: str,
    region: str,
    subnetwork: pulumi.Input[str],
    labels: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> gcp.compute.Address:
    """Reserve an internal address, so that the chat and the network policies know it before the Gateway exists.

    Args:
        name: of the address.
        project: the project's ID.
        region: of the cluster.
        subnetwork: name of the cluster's subnetwork.
        labels: of the address.
        opts: parent, what the address needs, hooks.
    """
    return gcp.compute.Address(
        "gemma-address",
        name=name,
        project=project,
        region=region,
        description="The load balancer in front of Gemma",
        labels=labels,
        address_type="INTERNAL",
        # Google's guides reserve addresses of internal Application Load Balancers so.
        purpose="SHARED_LOADBALANCER_VIP",
        subnetwork=pulumi.Output.concat(f"projects/{project}/regions/{region}/subnetworks/", subnetwork),
        opts=opts,
    )


@dataclass(frozen=True)
class InferenceGatewayArgs:
    """Arguments of `InferenceGateway`.

    Attributes:
        namespace: of the servers, and of all its objects.
        name: of the Gateway, its route, its pool and its policies.
        address_name: of the internal address.
        picker: name of the endpoint picker.
        picker_account: its service account.
        picker_image: its image.
        google_depends_on: the API through which the load balancer asks the picker.
        depends_on: what must exist before the picker runs.
    """

    namespace: pulumi.Input[str]
    name: str
    address_name: pulumi.Input[str]
    picker: str
    picker_account: str
    picker_image: str
    google_depends_on: Sequence[pulumi.Resource] = field(default=(), compare=False)
    depends_on: Sequence[pulumi.Resource] = field(default=(), compare=False)


class InferenceGateway(pulumi.ComponentResource):
    """A regional internal load balancer over the pods of Gemma, with an endpoint picker.

    Nothing here waits for GKE to accept it: the load balancer has no server until there are GPUs.

    It is deleted in this order: the route and the policies; the pool and the Gateway, whose finalizer waits until GKE
    has deleted all parts of the load balancer; the address; the cluster; the subnetwork of the proxies.
    """

    def __init__(self, name: str, args: InferenceGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:InferenceGateway", name, {}, opts)
        self._args = args
        picker = EndpointPicker(
            "picker",
            EndpointPickerArgs(
                namespace=args.namespace,
                name=args.picker,
                account=args.picker_account,
                image=args.picker_image,
                pool=args.name,
                monitoring=Manifest.read("gemma-picker-monitoring.yaml"),
                depends_on=args.depends_on,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        pool = self._object(
            POOL_GROUP,
            "InferencePool",
            {
                "selector": {"matchLabels": {"app": APP}},
                "targetPorts": [{"number": CONTAINER_PORT}],
                "appProtocol": "http",
                "endpointPickerRef": {
                    "name": picker.service.metadata.name,
                    "port": {"number": CHOICES_PORT},
                    # Without the picker, questions go to any server.
                    "failureMode": "FailOpen",
                },
            },
        )
        gateway = self._gateway()
        self._policies(pool)
        to_pool = {"group": POOL_GROUP, "kind": "InferencePool", "name": args.name}
        self._object(
            GATEWAY,
            "HTTPRoute",
            {
                "parentRefs": [{"name": args.name, "sectionName": "http"}],
                # Not vLLM's other paths, such as its metrics.
                "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/v1"}}], "backendRefs": [to_pool]}],
            },
            depends_on=[gateway, pool],
        )
        self.register_outputs({})

    def _gateway(self) -> pulumi.Resource:
        same_namespace = {"namespaces": {"from": "Same"}, "kinds": [{"group": GATEWAY, "kind": "HTTPRoute"}]}
        spec = {
            "gatewayClassName": "gke-l7-rilb",
            "addresses": [{"type": "NamedAddress", "value": self._args.address_name}],
            "listeners": [{"name": "http", "protocol": "HTTP", "port": PORT, "allowedRoutes": same_namespace}],
        }
        return self._object(
            GATEWAY,
            "Gateway",
            spec,
            depends_on=self._args.google_depends_on,
            # Google Cloud takes minutes to create and delete the load balancer.
            custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m", delete="20m"),
        )

    def _policies(self, pool: pulumi.Resource) -> None:
        at_pool = {"group": POOL_GROUP, "kind": "InferencePool", "name": self._args.name}
        http_check = {"portSpecification": "USE_FIXED_PORT", "port": CONTAINER_PORT, "requestPath": HEALTH}
        # A server that ends, or a new one, is seen within seconds.
        health = {"checkIntervalSec": 2, "timeoutSec": 2, "config": {"type": "HTTP", "httpHealthCheck": http_check}}
        backend = {
            "timeoutSec": ANSWER_SECONDS,
            "connectionDraining": {"drainingTimeoutSec": DRAIN_SECONDS},
        }
        for kind, default in (("GCPBackendPolicy", backend), ("HealthCheckPolicy", health)):
            self._object(NETWORKING, kind, {"default": default, "targetRef": at_pool}, depends_on=[pool])

    def _object(
        self,
        group: str,
        kind: str,
        spec: dict[str, Any],
        *,
        depends_on: Sequence[pulumi.Resource] = (),
        custom_timeouts: pulumi.CustomTimeouts | None = None,
    ) -> pulumi.Resource:
        return custom_object(
            f"{group}/v1",
            kind,
            metadata(self._args.name, self._args.namespace, APP),
            spec,
            pulumi.ResourceOptions(parent=self, depends_on=depends_on, custom_timeouts=custom_timeouts),
        )
