"""Every request that the stack causes is one that Google describes: names, types, enums, patterns, required fields.

It is checked against the discovery documents, without Google: what they do not say (quotas, rights, rules in prose) is
not checked.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from tests.stacks.deployments import (
    DEPLOYMENTS,
    EUROPEAN,
    GCP,
    INFERENCE_GATEWAY,
    MORE_DEPLOYMENTS,
    OWN_IAP_CLIENT,
    PUBLIC_HTTP,
)
from tests.stacks.google_api import documents, problems
from tests.stacks.google_requests import REQUESTS, Request
from tests.stacks.recording import seen

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stacks.recording import Deployed

pytestmark = pytest.mark.slow  # many deployments, and requests of each kind

DOCUMENTS = documents()
# Each kind of resource at least once.
REPRESENTATIVE = {
    "default": GCP,
    "own client, Cloud Armor": OWN_IAP_CLIENT,
    "budget": PUBLIC_HTTP,
    "logs of its own": EUROPEAN,
    "an internal load balancer": INFERENCE_GATEWAY,
    **{name: MORE_DEPLOYMENTS[name] for name in ("gcp, private nodes", "gcp, all Google accounts")},
}
OTHERS = {
    name: config
    for name, config in {**DEPLOYMENTS, **MORE_DEPLOYMENTS}.items()
    if "gcp:project" in config and config not in REPRESENTATIVE.values()
}
# What the provider sends by itself, and Google ignores.
ACCEPTED = {
    "body.cluster.autoscaling.autoprovisioningNodePoolDefaults.minCpuPlatform is deprecated",
    "body.region is set by Google only",  # of a router
}


def problems_of(run: Deployed) -> dict[str, list[str]]:
    every = {
        resource.urn: [
            problem
            for problem in problems(REQUESTS[resource.type](resource.inputs), DOCUMENTS)
            if problem not in ACCEPTED
        ]
        for resource in run.resources
        if resource.type in REQUESTS
    }
    return {urn: found for urn, found in every.items() if found}


@pytest.mark.parametrize("config", REPRESENTATIVE.values(), ids=REPRESENTATIVE)
def test_google_describes_each_request_of_a_deployment(config: dict[str, str]) -> None:
    assert problems_of(seen(config)) == {}


@pytest.mark.long
@pytest.mark.parametrize("config", OTHERS.values(), ids=OTHERS)
def test_google_describes_each_request_of_every_other_deployment(config: dict[str, str]) -> None:
    assert problems_of(seen(config)) == {}


def test_each_kind_of_resource_of_google_has_its_request() -> None:
    runs = [seen(config) for config in REPRESENTATIVE.values()]
    kinds = {r.type for run in runs for r in run.resources if r.type.startswith("gcp:")}
    assert kinds == REQUESTS.keys()
    assert len(kinds) >= 20
    assert {document["revision"][:4] for document in DOCUMENTS.values()} == {"2026"}


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(body: dict[str, Any]) -> None:
        *parents, name = path.split(".")
        for parent in parents:
            body = body[int(parent)] if isinstance(body, list) else body[parent]
        if value is None:
            del body[name]
        else:
            body[name] = value

    return change


BROKEN: dict[str, tuple[str, dict[str, str], str, Any, str]] = {
    "a network without a name": ("Network", GCP, "name", None, "body.name is missing"),
    "capital letters in a name": ("Network", GCP, "name", "Chat", "does not match"),
    "another routing mode": ("Network", GCP, "routingConfig.routingMode", "LOCAL", "allowed are GLOBAL, REGIONAL"),
    "a misspelled field": ("Subnetwork", GCP, "privateIPGoogleAccess", True, "has no property privateIPGoogleAccess"),
    "proxies of another kind": (
        "Subnetwork",
        INFERENCE_GATEWAY,
        "purpose",
        "MANAGED_PROXY",
        "allowed are GLOBAL_MANAGED_PROXY, ",
    ),
    "an address for something else": (
        "compute/address:Address",
        INFERENCE_GATEWAY,
        "purpose",
        "GATEWAY",
        "allowed are DNS_RESOLVER, ",
    ),
    "a number for a range": ("Subnetwork", GCP, "ipCidrRange", 10, "body.ipCidrRange is 10, not string"),
    "another channel": ("Cluster", GCP, "cluster.releaseChannel.channel", "FAST", "allowed are UNSPECIFIED, RAPID"),
    "another gateway": (
        "Cluster",
        GCP,
        "cluster.networkConfig.gatewayApiConfig.channel",
        "CHANNEL_BETA",
        "allowed are CHANNEL_UNSPECIFIED",
    ),
    "a text for a switch": ("Cluster", GCP, "cluster.autopilot.enabled", "yes", "not boolean"),
    "a field of Google's": ("Cluster", GCP, "cluster.status", "RUNNING", "is set by Google only"),
    "a request without a cluster": ("Cluster", GCP, "cluster", None, "body.cluster is missing"),
    "another type of database": ("Database", GCP, "type", "MONGODB", "allowed are DATABASE_TYPE_UNSPECIFIED"),
    "an order of an index": (
        "Field",
        GCP,
        "indexConfig.indexes",
        [{"queryScope": "COLLECTION", "fields": [{"order": "UP"}]}],
        "allowed are ORDER_UNSPECIFIED",
    ),
    "another format of images": ("repository:Repository", GCP, "format", "OCI", "allowed are FORMAT_UNSPECIFIED"),
    "a rule without a number": (
        "SecurityPolicy",
        OWN_IAP_CLIENT,
        "rules.0.priority",
        "first",
        "rules[0].priority is 'first', not integer",
    ),
    "an old version of TLS": ("SSLPolicy", GCP, "minTlsVersion", "SSL_3", "allowed are TLS_1_0"),
    "a budget of words": ("Budget", PUBLIC_HTTP, "amount.specifiedAmount.units", 1.5, "not string"),
    "an alert for something else": (
        "Budget",
        PUBLIC_HTTP,
        "thresholdRules.0.spendBasis",
        "PROFIT",
        "allowed are BASIS_UNSPECIFIED",
    ),
    "a sink without a destination": ("ProjectSink", EUROPEAN, "destination", None, "body.destination is missing"),
    "an exclusion without a filter": ("ProjectExclusion", EUROPEAN, "filter", None, "body.filter is missing"),
}


@pytest.mark.parametrize(("kind", "config", "path", "value", "problem"), BROKEN.values(), ids=BROKEN)
def test_what_google_would_refuse_is_found(
    kind: str, config: dict[str, str], path: str, value: Any, problem: str
) -> None:
    resource = next(r for r in seen(config).resources if r.type.startswith("gcp:") and r.type.endswith(kind))
    request = copy.deepcopy(REQUESTS[resource.type](resource.inputs))
    _set(path, value)(request.body)
    assert any(problem in found for found in problems(request, DOCUMENTS)), list(problems(request, DOCUMENTS))


def test_a_wrong_or_missing_parameter_is_found() -> None:
    resource = seen(GCP).one("container/cluster:Cluster")
    request = REQUESTS[resource.type](resource.inputs)
    for parameters, problem in (
        ({}, "the parameter parent is missing"),
        ({"parent": "projects/p/zones/z"}, "does not match"),
        ({"parent": "projects/p/locations/l", "zone": "z"}, "there is no parameter zone"),
    ):
        broken = Request(request.api, request.method, parameters, request.body)
        assert any(problem in found for found in problems(broken, DOCUMENTS)), problem
