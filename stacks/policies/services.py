"""Rules for access to the chat from the internet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .properties import UNKNOWN, at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .properties import Resource

# GKE's annotation for an internal load balancer, and its older name.
_INTERNAL = ("networking.gke.io/load-balancer-type", "cloud.google.com/load-balancer-type")


def not_public(resource: Resource) -> Iterator[str]:
    """A Service of type LoadBalancer is public and unencrypted, which should be a decision and not an accident."""
    if resource.package != "kubernetes" or resource.kind != "Service":
        return
    annotations = [at(resource.inputs, "metadata", "annotations", name) for name in _INTERNAL]
    is_internal = any(value is UNKNOWN or str(value).lower() == "internal" for value in annotations)
    if at(resource.inputs, "spec", "type") == "LoadBalancer" and not is_internal:
        yield (
            f"{resource} is public and unencrypted: anyone who finds its address can use it, and its traffic can be "
            "read; for more than a trial, keep it inside the cluster or put a proxy with TLS and a sign-in before it."
        )
