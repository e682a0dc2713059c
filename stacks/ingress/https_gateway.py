"""HTTPS: Google's global load balancer in front of the chat, as a Gateway in the cluster."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as kubernetes

from stacks.components.chat_pod import APP, HEALTH, PORT, PRE_STOP_SECONDS, SHUTDOWN_SECONDS
from stacks.components.manifests import custom_object
from stacks.components.waiting import condition
from stacks.components.workloads import metadata
from stacks.ingress.cloud_armor import armor_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# Source networks of all requests from Google's load balancer, health checks included:
# https://cloud.google.com/load-balancing/docs/https#firewall-rules
LOAD_BALANCER_NETWORKS = ("35.191.0.0/16", "130.211.0.0/22")
GATEWAY, NETWORKING = "gateway.networking.k8s.io", "networking.gke.io"
ANSWER_SECONDS = 3600
"""The longest time for streaming an answer; the load balancer's default, 30 s, would cut it off."""


@dataclass(frozen=True)
class IapClient:
    """The user's own OAuth client for Identity-Aware Proxy.

    Attributes:
        client_id: its ID.
        client_secret: its secret.
        secret_name: name of the Kubernetes Secret for `client_secret`.
    """

    client_id: str
    client_secret: pulumi.Input[str]
    secret_name: str


@dataclass(frozen=True)
class HttpsGatewayArgs:
    """Arguments of `HttpsGateway`.

    Attributes:
        project: the project's ID.
        namespace: of the chat.
        name: of the Gateway, its routes and policies.
        chat_service: name of the chat's Service.
        host: the domain name.
        address_name: of the global address.
        certificate_name: of the certificate for `host`.
        policy_name: of the TLS policy and of Cloud Armor's policy, in the project.
        behind_iap: whether people sign in at Identity-Aware Proxy before a request reaches the chat.
        iap_client: `None`: Google's own.
        cloud_armor: whether Cloud Armor filters requests.
        depends_on: what must be created before it and deleted after it: address, certificate, IAM bindings.
        google_depends_on: the API of Compute Engine.
        hooks: retries while that is not ready (`ProjectServices.hooks`).
    """

    project: str
    namespace: pulumi.Input[str]
    name: str
    chat_service: pulumi.Input[str]
    host: pulumi.Input[str]
    address_name: pulumi.Input[str]
    certificate_name: pulumi.Input[str]
    policy_name: str
    behind_iap: bool = False
    iap_client: IapClient | None = None
    cloud_armor: bool = False
    depends_on: Sequence[pulumi.Resource] = ()
    google_depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class HttpsGateway(pulumi.ComponentResource):
    """A global load balancer with TLS 1.2 or newer, which redirects HTTP to HTTPS.

    It is deleted in this order: the routes; the Gateway, whose finalizer waits until GKE has deleted all parts of the
    load balancer; address, certificate and policies; the cluster last. Without the cluster's controller, network
    endpoint groups and firewall rules would be left behind, and block the deletion of the network.

    Attributes:
        url: for a browser.
    """

    url: pulumi.Output[str]

    def __init__(self, name: str, args: HttpsGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:HttpsGateway", name, {}, opts)
        self._args = args
        in_google = pulumi.ResourceOptions(parent=self, depends_on=args.google_depends_on, hooks=args.hooks)
        tls = gcp.compute.SSLPolicy(
            "tls",
            name=args.policy_name,
            project=args.project,
            profile="MODERN",
            min_tls_version="TLS_1_2",
            opts=in_google,
        )
        armor = None
        if args.cloud_armor:
            armor = gcp.compute.SecurityPolicy(
                "armor",
                name=args.policy_name,
                project=args.project,
                description="In front of the hybrid chat",
                rules=armor_rules(),
                opts=in_google,
            )
        gateway = self._gateway([tls, *args.depends_on])
        at_gateway = {"group": GATEWAY, "kind": "Gateway", "name": args.name}
        gateway_policy = self._object(
            NETWORKING,
            "GCPGatewayPolicy",
            {"default": {"sslPolicy": tls.name}, "targetRef": at_gateway},
            depends_on=[gateway],
        )
        needed = self._service_policies(armor)
        # The routes are created at the same time as the policies of the chat's Service, and not after them: the update
        # waits until GKE has attached those, which it may do only for a Service that a route uses. A request that comes
        # before them finds no way in: the chat itself verifies each sign-in and each token of the proxy.
        self._routes([gateway, gateway_policy, *needed])
        self.url = pulumi.Output.concat("https://", args.host)
        self.register_outputs({"url": self.url})

    def _gateway(self, depends_on: Sequence[pulumi.Resource]) -> pulumi.Resource:
        same_namespace = {"namespaces": {"from": "Same"}, "kinds": [{"group": GATEWAY, "kind": "HTTPRoute"}]}
        tls = {
            "mode": "Terminate",
            "options": {"networking.gke.io/pre-shared-certs": self._args.certificate_name},
        }
        spec = {
            "gatewayClassName": "gke-l7-global-external-managed",
            "addresses": [{"type": "NamedAddress", "value": self._args.address_name}],
            "listeners": [
                {"name": "http", "protocol": "HTTP", "port": 80, "allowedRoutes": same_namespace},
                {"name": "https", "protocol": "HTTPS", "port": 443, "tls": tls, "allowedRoutes": same_namespace},
            ],
        }
        # Google Cloud takes minutes to create and delete the load balancer.
        timeouts = pulumi.CustomTimeouts(create="20m", update="20m", delete="20m")
        return self._object(GATEWAY, "Gateway", spec, depends_on=depends_on, custom_timeouts=timeouts)

    def _service_policies(self, armor: gcp.compute.SecurityPolicy | None) -> list[pulumi.Resource]:
        """Create the load balancer's policies for the chat's Service, and return what they depend on.

        The update waits until GKE has attached them, so that a rejected one fails it (types.go of
        GoogleCloudPlatform/gke-gateway-api: condition Attached; reasons for False: Invalid, Conflicted,
        TargetNotFound). Google's guide "Configure Gateway resources using Policies" shows the condition three minutes
        after the creation. Identity-Aware Proxy cannot have a policy of its own: a Service has one GCPBackendPolicy,
        and a second one is Conflicted.
        """
        args = self._args
        settings: dict[str, Any] = {
            "timeoutSec": ANSWER_SECONDS,
            # Temporary chats, and the latest writes of a page, are in one replica.
            "sessionAffinity": {"type": "GENERATED_COOKIE", "cookieTtlSec": 86_400},
            # As long as a pod that ends writes answers.
            "connectionDraining": {"drainingTimeoutSec": PRE_STOP_SECONDS + SHUTDOWN_SECONDS},
            "logging": {"enabled": True},
        }
        dependencies: list[pulumi.Resource] = [*args.depends_on]
        if armor:
            settings["securityPolicy"] = armor.name
            dependencies.append(armor)
        if args.behind_iap:
            settings["iap"] = {"enabled": True}
            if args.iap_client:
                secret = self._client_secret(args.iap_client)
                settings["iap"] |= {
                    "clientID": args.iap_client.client_id,
                    "oauth2ClientSecret": {"name": secret.metadata.name},
                }
                dependencies.append(secret)
        http_check = {"portSpecification": "USE_FIXED_PORT", "port": PORT, "requestPath": HEALTH}
        health = {"type": "HTTP", "httpHealthCheck": http_check}
        at_service = {"group": "", "kind": "Service", "name": args.chat_service}
        for kind, default in (("GCPBackendPolicy", settings), ("HealthCheckPolicy", {"config": health})):
            self._object(
                NETWORKING,
                kind,
                {"default": default, "targetRef": at_service},
                depends_on=dependencies,
                # Google Cloud takes minutes to create the load balancer that they are attached to.
                custom_timeouts=pulumi.CustomTimeouts(create="20m", update="20m"),
                annotations=condition("Attached"),
            )
        return dependencies

    def _client_secret(self, client: IapClient) -> kubernetes.core.v1.Secret:
        return kubernetes.core.v1.Secret(
            "iap-client",
            metadata=metadata(client.secret_name, self._args.namespace, APP),
            type="Opaque",
            string_data={"key": pulumi.Output.secret(client.client_secret)},  # GKE requires this key
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _routes(self, depends_on: Sequence[pulumi.Resource]) -> None:
        args = self._args
        to_chat = {"backendRefs": [{"name": args.chat_service, "port": PORT}]}
        redirect = {"scheme": "https", "statusCode": 301}
        to_https = {"filters": [{"type": "RequestRedirect", "requestRedirect": redirect}]}
        for listener, rule, suffix in (("https", to_chat, ""), ("http", to_https, "-redirect")):
            spec = {
                "parentRefs": [{"name": args.name, "sectionName": listener}],
                "hostnames": [args.host],
                "rules": [rule],
            }
            self._object(GATEWAY, "HTTPRoute", spec, name=f"{args.name}{suffix}", depends_on=depends_on)

    def _object(
        self,
        group: str,
        kind: str,
        spec: dict[str, Any],
        *,
        name: str = "",
        depends_on: Sequence[pulumi.Resource] = (),
        custom_timeouts: pulumi.CustomTimeouts | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> pulumi.Resource:
        name = name or self._args.name
        return custom_object(
            f"{group}/v1",
            kind,
            metadata(name, self._args.namespace, APP, annotations),
            spec,
            pulumi.ResourceOptions(parent=self, depends_on=depends_on, custom_timeouts=custom_timeouts),
        )
