"""Rules for who can reach the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .properties import UNKNOWN, at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .properties import Resource

# GKE's annotation and its older name: the address is one of the VPC network.
_INTERNAL = ("networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type")


def not_public(resource: Resource) -> Iterator[str]:
    """A load balancer's Service is open to everybody and encrypts nothing, which should be meant and not happen."""
    if resource.package != "kubernetes" or resource.kind != "Service":
        return
    annotations = [at(resource.inputs, "metadata", "annotations", name) for name in _INTERNAL]
    is_internal = any(value is UNKNOWN or str(value).lower() == "internal" for value in annotations)
    if at(resource.inputs, "spec", "type") == "LoadBalancer" and not is_internal:
        yield (
            f"{resource} is public and unencrypted: whoever finds its address can use it, and others can read along; "
            "for more than a trial, keep it inside the cluster or put a proxy with TLS and sign-in before it."
        )
