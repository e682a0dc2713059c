"""The chat's public name: an address that stays, a name that leads to it, and the certificate for that name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NAME_APIS = tuple(f"{api}.googleapis.com" for api in ("servicemanagement", "servicecontrol", "endpoints"))
"""What a free name of cloud.goog takes."""


@dataclass(frozen=True)
class PublicAddressArgs:
    """The name.

    Attributes:
        project: the project's ID.
        address_name: of the global address.
        certificate_name: from the domain, the name of its certificate: another one for each domain.
        domain: a name of one's own; empty: a free one, which Cloud Endpoints gives and Google's DNS answers for.
        free_name: what that begins with, before a random ending: Google keeps a deleted name for 30 days.
        depends_on: the APIs of Compute Engine and, for a free name, `NAME_APIS`.
        hooks: what to do while an API does not answer yet.
    """

    project: str
    address_name: str
    certificate_name: Callable[[str], str]
    domain: str = ""
    free_name: str = "chat"
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class PublicAddress(pulumi.ComponentResource):
    """Address, name and certificate; whoever serves there is made later.

    Attributes:
        address: an IPv4 address.
        address_name: its name in the project.
        host: the name people type.
        certificate_name: of the certificate, which Google issues once the name leads to a load balancer that has it.
        parts: for whoever must be gone before they are.
    """

    address: pulumi.Output[str]
    address_name: pulumi.Output[str]
    host: pulumi.Output[str]
    certificate_name: pulumi.Output[str]
    parts: list[pulumi.Resource]

    def __init__(self, name: str, args: PublicAddressArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:PublicAddress", name, {}, opts)
        options = pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks)
        address = gcp.compute.GlobalAddress(
            "address",
            name=args.address_name,
            project=args.project,
            description="The hybrid chat's load balancer",
            opts=options,
        )
        self.address, self.address_name = address.address, address.name
        self.parts = [address]
        self.host = pulumi.Output.from_input(args.domain) if args.domain else self._free_name(args, options)
        certificate = gcp.compute.ManagedSslCertificate(
            "certificate",
            # A certificate cannot be changed: the one for another domain is made beside it, the load balancer takes
            # it, and only then the old one goes. With one name for both, the new one could not be made.
            name=self.host.apply(args.certificate_name),
            project=args.project,
            managed=gcp.compute.ManagedSslCertificateManagedArgs(domains=[self.host]),
            opts=options,
        )
        self.certificate_name = certificate.name
        self.parts.append(certificate)
        self.register_outputs({"host": self.host, "address": self.address})

    def _free_name(self, args: PublicAddressArgs, options: pulumi.ResourceOptions) -> pulumi.Output[str]:
        ending = random.RandomString(
            "name-ending", length=6, special=False, upper=False, opts=pulumi.ResourceOptions(parent=self)
        )
        host = pulumi.Output.concat(f"{args.free_name}-", ending.result, f".endpoints.{args.project}.cloud.goog")
        service = gcp.endpoints.Service(
            "name",
            service_name=host,
            project=args.project,
            openapi_config=pulumi.Output.all(host, self.address).apply(lambda known: _leads_to(*known)),
            opts=options,
        )
        self.parts.append(service)
        # The service's own output: the certificate is asked for when the name is there.
        return service.service_name


def _leads_to(host: str, address: str) -> str:
    """Return the least OpenAPI document that gives a name an address; JSON is YAML too."""
    return json.dumps(
        {
            "swagger": "2.0",
            "info": {"title": "Hybrid chat", "description": "Only a name: no request passes here", "version": "1.0.0"},
            "host": host,
            "x-google-endpoints": [{"name": host, "target": address}],
            "paths": {},
        },
        indent=1,
    )
