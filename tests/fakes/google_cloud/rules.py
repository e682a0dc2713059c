"""What Google refuses when a resource is created or deleted, and what else then happens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.fakes.google_cloud import errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.google_cloud.cloud import Cloud
    from tests.fakes.google_cloud.routing import Call

Json = dict[str, Any]


def before_create(cloud: Cloud, call: Call, resource: Json) -> None:
    """Refuse a resource whose place, billing or references are missing.

    Raises:
        ApiError: Google would refuse it.
    """
    if call.service not in {"iam.googleapis.com", "servicemanagement.googleapis.com"} and not cloud.switches.billing:
        raise errors.ApiError(
            403,
            f"This API method requires billing to be enabled on project #{cloud.number}.",
            reason="BILLING_DISABLED",
            consumer=f"projects/{cloud.number}",
        )
    place = re.search(r"/(?:locations|regions)/([^/]+)", call.path)
    location = place[1] if place else str(resource.get("location") or resource.get("locationId") or "")
    allowed = [
        value
        for rule in cloud.switches.policies.get("gcp.resourceLocations", ())
        for value in (rule.get("values") or {}).get("allowedValues", ())
    ]
    if allowed and location and location.lower() not in allowed:
        raise errors.precondition(f"'{location}' violates constraint 'constraints/gcp.resourceLocations'")
    for field in ("network", "subnetwork"):
        if field in resource and call.api == "compute.v1":
            _existing(cloud, f"compute.v1/{_relative(str(resource[field]))}")
    if call.method == "container.projects.locations.clusters.create":
        _check_cluster(cloud, call, resource)
    elif call.method == "logging.projects.sinks.create":
        _existing(cloud, f"logging.v2/{resource['destination'].partition('/')[2]}")
    elif call.method == "billingbudgets.billingAccounts.budgets.create":
        account = call.path.split("/")[1]
        if account != cloud.switches.billing:
            raise errors.forbidden("billing.budgets.create", f"billingAccounts/{account}")


def check_router(cloud: Cloud, call: Call) -> Json:
    """Set a router's NAT, whose subnetworks must exist.

    Raises:
        ApiError: one does not.
    """
    key = f"{call.api}/{call.path}"
    _existing(cloud, key)
    for nat in call.body.get("nats", ()):
        for subnetwork in nat.get("subnetworks", ()):
            _existing(cloud, f"compute.v1/{_relative(subnetwork['name'])}")
    place = call.path.rpartition("/routers/")[0]
    return cloud.start(call, place, call.path, lambda: cloud.resources[key].update(call.body))


def _relative(link: str) -> str:
    """Return the path of a resource, of which the provider may send the whole address."""
    return link[link.index("projects/") :] if "projects/" in link else link


def _existing(cloud: Cloud, key: str) -> Json:
    path = key.partition("/")[2]
    if key in cloud.resources:
        return cloud.resources[key]
    if cloud.under_way(path):
        raise errors.ApiError(400, f"The resource '{path}' is not ready", reason="resourceNotReady")
    raise errors.invalid(f"Invalid value: the referenced resource '{path}' cannot be found")


def _check_cluster(cloud: Cloud, call: Call, cluster: Json) -> None:
    """Refuse a cluster whose network or node account is missing."""
    region, project = call.path.split("/")[3], cloud.project
    network = str(cluster.get("network", "default")).rpartition("/")[2]
    found = _existing(cloud, f"compute.v1/projects/{project}/global/networks/{network}")
    subnetwork = str(cluster.get("subnetwork", "")).rpartition("/")[2]
    if subnetwork:
        ranges = _existing(cloud, f"compute.v1/projects/{project}/regions/{region}/subnetworks/{subnetwork}")
        known = {each["rangeName"] for each in ranges.get("secondaryIpRanges", ())}
        policy = cluster.get("ipAllocationPolicy", {})
        for field in ("clusterSecondaryRangeName", "servicesSecondaryRangeName"):
            if field in policy and policy[field] not in known:
                raise errors.invalid(f"services or pods secondary range {policy[field]} does not exist in {subnetwork}")
    elif not found.get("autoCreateSubnetworks"):
        raise errors.invalid(f"Network '{network}' is a custom-mode network: a subnetwork must be specified")
    account = cluster["autoscaling"]["autoprovisioningNodePoolDefaults"]["serviceAccount"]
    _existing(cloud, f"iam.v1/projects/{project}/serviceAccounts/{account}")
    is_private = (cluster.get("networkConfig") or {}).get("defaultEnablePrivateNodes")
    if not is_private and any(r.get("denyAll") for r in cloud.switches.policies.get("compute.vmExternalIpAccess", ())):
        raise errors.precondition(f"Constraint constraints/compute.vmExternalIpAccess violated for project {project}")


def on_created(cloud: Cloud, call: Call, path: str, resource: Json) -> None:
    """Add what Google computes, and what else the resource brings."""
    if call.method == "container.projects.locations.clusters.create":
        resource |= {"status": "RUNNING", "endpoint": "198.51.100.9", "location": path.split("/")[3]}
        # The first cluster of a project makes its workload identity pool, which stays.
        cloud.resources[f"iam.pool/{cloud.project}.svc.id.goog"] = {}
        network = str(resource.get("network", "default")).rpartition("/")[2]
        add_firewall_rule(cloud, f"gke-{resource['name']}-1a2b-all", network)
    elif call.method == "iam.projects.serviceAccounts.create":
        resource |= {"email": path.rpartition("/")[2], "name": path, "uniqueId": "117"}
    elif call.method == "compute.globalAddresses.insert":
        resource |= {"address": "203.0.113.9", "status": "RESERVED"}
    elif call.method == "compute.addresses.insert":
        resource |= {"address": "10.10.0.9", "status": "RESERVED"}
    elif call.method == "logging.projects.locations.buckets.createAsync":
        resource["lifecycleState"] = "ACTIVE"


def add_firewall_rule(cloud: Cloud, name: str, network: str) -> None:
    """Add a rule that GKE makes in a network."""
    base = f"projects/{cloud.project}/global"
    rule = {"name": name, "network": f"https://www.googleapis.com/compute/v1/{base}/networks/{network}"}
    cloud.resources[f"compute.v1/{base}/firewalls/{name}"] = rule


def before_delete(cloud: Cloud, call: Call) -> None:
    """Refuse to delete what another resource uses.

    Raises:
        ApiError: it is in use.
    """
    if call.api != "compute.v1":
        return
    for user in _users(cloud, call.path):
        raise errors.ApiError(
            400,
            f"The resource '{call.path}' is already being used by '{user}'",
            reason="resourceInUseByAnotherResource",
        )


def _users(cloud: Cloud, path: str) -> Iterator[str]:
    collection, name = path.split("/")[-2:]
    for key, other in cloud.resources.items():
        if key == f"compute.v1/{path}":
            continue
        values = [str(value) for field, value in other.items() if field in _REFERENCES]
        of_cluster = str(other.get(collection[:-1])).rpartition("/")[2] if key.startswith("container.v1/") else ""
        if of_cluster == name or any(value.endswith(f"/{path}") or value == path for value in values):
            yield key.partition("/")[2]


# The fields by which a resource of Compute Engine uses another one; "proxies" is the fake's own, of a load balancer.
_REFERENCES = {"proxies", "network", "subnetwork", "address", "certificate", "sslPolicy", "securityPolicy", "target"}


def on_deleted(cloud: Cloud, call: Call, resource: Json) -> None:
    """Delete what goes with a resource, and mark a deleted account in the policies that name it."""
    if call.method == "container.projects.locations.clusters.delete":
        prefix = f"gke-{resource['name']}-"
        for name in [name for name in cloud.of_kind("compute.v1", "firewalls") if name.startswith(prefix)]:
            del cloud.resources[f"compute.v1/projects/{cloud.project}/global/firewalls/{name}"]
    elif call.method == "iam.projects.serviceAccounts.delete":
        member = f"serviceAccount:{resource['email']}"
        for policy in cloud.policies.values():
            for binding in policy.get("bindings", ()):
                binding["members"] = [
                    f"deleted:{member}?uid={resource['uniqueId']}" if each == member else each
                    for each in binding["members"]
                ]
