"""How browsers reach the chat: the settings turned into address, sign-in and load balancer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from stacks.apis import IAP_API, NAME_APIS
from stacks.ingress.https_gateway import LOAD_BALANCER_NETWORKS, HttpsGateway, HttpsGatewayArgs, IapClient
from stacks.ingress.iap import IdentityAwareProxy, IdentityAwareProxyArgs
from stacks.ingress.outputs import https_outputs
from stacks.ingress.plain_http import LOCAL_URL, PublicEndpoint, PublicEndpointArgs
from stacks.ingress.static_address import PublicAddress, PublicAddressArgs
from stacks.settings import secret_output
from stacks.validation.types import GROUP_PREFIX

if TYPE_CHECKING:
    from stacks.components.chat import ChatApp
    from stacks.components.services import ProjectServices
    from stacks.components.workload_identity import WorkloadIdentity
    from stacks.names import Names
    from stacks.settings import Settings


@dataclass(frozen=True)
class GoogleProject:
    """What HTTPS needs of the Google Cloud project.

    Attributes:
        services: the APIs.
        workload_identity: has the project's number and parent.
    """

    services: ProjectServices
    workload_identity: WorkloadIdentity


class Ingress:
    """The ingress, created in two steps: the chat needs its public URL, and the load balancer needs the chat.

    Attributes:
        root_url: the public URL; `None`: the one that a browser uses.
        trusted_proxies: networks whose X-Forwarded-For the chat trusts, separated by commas; `None`: none.
        allowed_people: whom the chat admits, separated by commas; `None`: it does not check.
        iap_audience: audience of IAP's tokens; `None`: there is no IAP.
    """

    root_url: pulumi.Input[str] | None
    trusted_proxies: pulumi.Input[str] | None
    allowed_people: pulumi.Input[str] | None
    iap_audience: pulumi.Input[str] | None

    def __init__(
        self, settings: Settings, names: Names, parent: pulumi.Resource, google: GoogleProject | None = None
    ) -> None:
        self._settings, self._names, self._google = settings, names, google
        self._child = pulumi.ResourceOptions(parent=parent)
        self._address: PublicAddress | None = None
        self._iap: IdentityAwareProxy | None = None
        self.root_url = LOCAL_URL if settings.sign_in == "google" else None
        self.trusted_proxies = self.allowed_people = self.iap_audience = None
        if google and settings.ingress == "https":
            self._address = address = self._public_address(google)
            self.root_url = pulumi.Output.concat("https://", address.host)
            # The load balancer appends "the browser's address, its own address" to X-Forwarded-For.
            self.trusted_proxies = pulumi.Output.concat(",".join(LOAD_BALANCER_NETWORKS), ",", address.address, "/32")
        if settings.sign_in == "google":
            self.allowed_people = ",".join(settings.allowed_people)
        elif google and self._address and settings.sign_in == "iap":
            self._iap = self._identity_aware_proxy(google, self._address)
            self.iap_audience = self._iap.audience
            # Only IAP can look up the members of a group; the chat would refuse them.
            if not any(person.startswith(GROUP_PREFIX) for person in settings.allowed_people):
                self.allowed_people = self._iap.people.apply(",".join)

    def attach(self, chat: ChatApp, in_cluster: pulumi.ResourceOptions) -> dict[str, pulumi.Input[str]]:
        """Create the load balancer or port for `chat`; return outputs, ``url`` first.

        Args:
            chat: the chat.
            in_cluster: options of objects in the cluster.
        """
        if self._google and self._address:
            return self._https(chat, self._google.services, self._address, in_cluster)
        endpoint = PublicEndpoint(
            "endpoint",
            PublicEndpointArgs(
                kind="public-http" if self._settings.ingress == "public-http" else "private",
                namespace=chat.service.metadata.namespace,
                service_name=self._names.chat_public_service,
                chat_service=chat.service.metadata.name,
                deployment=chat.deployment,
            ),
            in_cluster,
        )
        return {"url": endpoint.url, **({"openWith": endpoint.command} if endpoint.command else {})}

    def _public_address(self, google: GoogleProject) -> PublicAddress:
        settings, names = self._settings, self._names
        apis = ("compute.googleapis.com", *(() if settings.domain else NAME_APIS))
        return PublicAddress(
            "address",
            PublicAddressArgs(
                project=settings.project,
                address_name=names.address,
                certificate_name=names.certificate,
                domain=settings.domain,
                free_name=names.free_name,
                labels=names.labels,
                depends_on=[google.services[api] for api in apis],
                hooks=google.services.hooks,
            ),
            self._child,
        )

    def _identity_aware_proxy(self, google: GoogleProject, address: PublicAddress) -> IdentityAwareProxy:
        settings = self._settings
        return IdentityAwareProxy(
            "iap",
            IdentityAwareProxyArgs(
                project=settings.project,
                host=address.host,
                project_number=google.workload_identity.project_number,
                parent=google.workload_identity.parent,
                people=settings.allowed_people,
                has_own_client=bool(settings.oauth_client_id),
                depends_on=[google.services[IAP_API]],
                hooks=google.services.hooks,
            ),
            self._child,
        )

    def _https(
        self, chat: ChatApp, services: ProjectServices, address: PublicAddress, in_cluster: pulumi.ResourceOptions
    ) -> dict[str, pulumi.Input[str]]:
        settings, names, iap = self._settings, self._names, self._iap
        client_secret = secret_output(settings.oauth_client_secret)
        client = None
        if iap and client_secret is not None:
            client = IapClient(settings.oauth_client_id, client_secret, names.iap_client_secret)
        gateway = HttpsGateway(
            "gateway",
            HttpsGatewayArgs(
                project=settings.project,
                namespace=chat.service.metadata.namespace,
                name=names.chat_gateway,
                chat_service=chat.service.metadata.name,
                host=address.host,
                address_name=address.address_name,
                certificate_name=address.certificate_name,
                policy_name=names.edge_policy,
                behind_iap=iap is not None,
                iap_client=client,
                cloud_armor=settings.cloud_armor,
                depends_on=[*address.parts, *(iap.bindings if iap else ())],
                google_depends_on=[services["compute.googleapis.com"]],
                hooks=services.hooks,
            ),
            in_cluster,
        )
        return {"url": gateway.url, **https_outputs(settings, address, iap.people if iap else None)}
