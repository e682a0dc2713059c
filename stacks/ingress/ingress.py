"""How people get in: what the settings make of it, before the chat (it is told) and in front of it (it is shown)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from stacks.ingress.access import Access
from stacks.ingress.https_gateway import LOAD_BALANCER_NETWORKS, HttpsGateway, HttpsGatewayArgs, OwnIapClient
from stacks.ingress.iap import IAP_API, IdentityAwareProxy, IdentityAwareProxyArgs
from stacks.ingress.outputs import first_minutes
from stacks.ingress.plain_http import LOCAL_URL, PublicEndpoint, PublicEndpointArgs
from stacks.ingress.sign_in import GROUP
from stacks.ingress.static_address import NAME_APIS, PublicAddress, PublicAddressArgs
from stacks.settings import secret_of

if TYPE_CHECKING:
    from stacks.components.chat import ChatApp
    from stacks.components.services import ProjectServices
    from stacks.components.workload_identity import WorkloadIdentity
    from stacks.names import Names
    from stacks.settings import Settings


@dataclass(frozen=True)
class GoogleProject:
    """What https stands on.

    Attributes:
        services: the APIs.
        identity: knows the project's number and organization.
    """

    services: ProjectServices
    identity: WorkloadIdentity


class Entrance:
    """The way in, in two steps: the chat must be told its address, and what stands before the chat needs the chat.

    Attributes:
        access: what the chat is told.
    """

    access: Access

    def __init__(
        self, settings: Settings, names: Names, parent: pulumi.Resource, google: GoogleProject | None = None
    ) -> None:
        self._settings, self._names, self._google = settings, names, google
        self._child = pulumi.ResourceOptions(parent=parent)
        self._address: PublicAddress | None = None
        self._proxy: IdentityAwareProxy | None = None
        if google and settings.way_in == "https":
            self._address = self._public_address(google)
            if settings.sign_in == "iap":
                self._proxy = self._identity_aware_proxy(google, self._address)
        self.access = self._access()

    def opened(self, chat: ChatApp, inside: pulumi.ResourceOptions) -> dict[str, pulumi.Input[str]]:
        """Put the way in before `chat`, with the options of what is in the cluster; return outputs, ``url`` first."""
        if self._google and self._address:
            return self._https(chat, self._google.services, self._address, inside)
        endpoint = PublicEndpoint(
            "endpoint",
            PublicEndpointArgs(
                kind="public-http" if self._settings.way_in == "public-http" else "private",
                namespace=chat.service.metadata.namespace,
                service_name=self._names.chat_public_service,
                chat_service=chat.service.metadata.name,
            ),
            inside,
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
                project_number=google.identity.project_number,
                organization=google.identity.organization,
                people=settings.allowed_people,
                has_own_client=bool(settings.oauth_client_id),
                depends_on=[google.services[IAP_API]],
                hooks=google.services.hooks,
            ),
            self._child,
        )

    def _access(self) -> Access:
        settings, address, proxy = self._settings, self._address, self._proxy
        root_url = pulumi.Output.concat("https://", address.host) if address else None
        proxies: list[pulumi.Input[str]] = []
        if address:
            # The load balancer writes "the browser's address, its own address" at the end of X-Forwarded-For.
            proxies = [*LOAD_BALANCER_NETWORKS, pulumi.Output.concat(address.address, "/32")]
        if proxy:
            # Into groups only IAP can look: the chat would refuse the people in them.
            has_groups = any(person.startswith(GROUP) for person in settings.allowed_people)
            people = [] if has_groups else [proxy.people.apply(",".join)]
            return Access("iap", root_url, people, iap_audience=proxy.audience, trusted_proxies=proxies)
        if settings.sign_in == "google":
            return Access(
                "google",
                root_url or LOCAL_URL,
                settings.allowed_people,
                client_id=settings.oauth_client_id,
                client_secret=secret_of(settings.oauth_client_secret),
                guests=settings.guests,
                trusted_proxies=proxies,
            )
        return Access("anonymous", root_url, trusted_proxies=proxies)

    def _https(
        self, chat: ChatApp, services: ProjectServices, address: PublicAddress, inside: pulumi.ResourceOptions
    ) -> dict[str, pulumi.Input[str]]:
        settings, names, proxy = self._settings, self._names, self._proxy
        client_secret = secret_of(settings.oauth_client_secret)
        client = None
        if proxy and client_secret is not None:
            client = OwnIapClient(settings.oauth_client_id, client_secret, names.iap_client_secret)
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
                behind_iap=proxy is not None,
                iap_client=client,
                cloud_armor=settings.cloud_armor,
                depends_on=[*address.parts, *(proxy.bindings if proxy else ())],
                google_depends_on=[services["compute.googleapis.com"]],
                hooks=services.hooks,
            ),
            inside,
        )
        return {"url": gateway.url, **first_minutes(settings, address, proxy.people if proxy else None)}
