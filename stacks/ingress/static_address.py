"""The chat's public address: a static IP address, a domain name for it, and its TLS certificate."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


@dataclass(frozen=True)
class PublicAddressArgs:
    """Arguments of `PublicAddress`.

    Attributes:
        project: the project's ID.
        address_name: name of the global address.
        certificate_name: domain -> name of its certificate, a different one for each domain.
        domain: the user's own domain name; empty: a free one, from Cloud Endpoints and Google's DNS.
        labels: of the address.
        free_name: prefix of the free name, before a random suffix: Google reserves a deleted name for 30 days.
        depends_on: the API of Compute Engine and, for a free name, `NAME_APIS`.
        hooks: retries while an API is not ready (`ProjectServices.hooks`).
    """

    project: str
    address_name: str
    certificate_name: Callable[[str], str]
    domain: str = ""
    free_name: str = "chat"
    labels: Mapping[str, str] = field(default_factory=dict)
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class PublicAddress(pulumi.ComponentResource):
    """Address, domain name and certificate, for a load balancer that is created later.

    Attributes:
        address: an IPv4 address.
        address_name: its name in the project.
        host: the domain name.
        certificate_name: of the certificate, which Google issues once `host` resolves to a load balancer that uses it.
        parts: the resources, for those that must be deleted before them.
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
            labels=args.labels,
            opts=options,
        )
        self.address, self.address_name = address.address, address.name
        self.parts = [address]
        self.host = pulumi.Output.from_input(args.domain) if args.domain else self._free_name(args, options)
        certificate = gcp.compute.ManagedSslCertificate(
            "certificate",
            # Certificates are immutable: for another domain, Pulumi creates the new one, moves the load balancer to it,
            # and deletes the old one. That needs two names.
            name=self.host.apply(args.certificate_name),
            project=args.project,
            managed=gcp.compute.ManagedSslCertificateManagedArgs(domains=[self.host]),
            opts=options,
        )
        self.certificate_name = certificate.name
        self.parts.append(certificate)
        self.register_outputs({"host": self.host, "address": self.address})

    def _free_name(self, args: PublicAddressArgs, options: pulumi.ResourceOptions) -> pulumi.Output[str]:
        suffix = random.RandomString(
            "name-ending", length=6, special=False, upper=False, opts=pulumi.ResourceOptions(parent=self)
        )
        host = pulumi.Output.concat(f"{args.free_name}-", suffix.result, f".endpoints.{args.project}.cloud.goog")
        service = gcp.endpoints.Service(
            "name",
            service_name=host,
            project=args.project,
            openapi_config=pulumi.Output.all(host, self.address).apply(lambda args: _openapi(*args)),
            opts=options,
        )
        self.parts.append(service)
        # The service's output, so that the certificate is requested after the name exists.
        return service.service_name


def _openapi(host: str, address: str) -> str:
    """Return the smallest OpenAPI document that gives a name an address; JSON is also YAML."""
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
