"""The request that Google's provider sends to create each kind of resource, from the resource's inputs.

Most inputs are fields of the request's body; what is not, or has another name, is written out here, as the provider's
source has it (github.com/hashicorp/terraform-provider-google at e03b7622, August 2026, google/services/*/resource_*.go,
the functions Create and expand*). A request is checked against Google's own description of the method (`google_api`).

What is left out, because it changes nothing that is checked: empty and false values, which Google's JSON treats as
absent; a cluster's ``nodeConfig``, ``legacyAbac`` and ``shieldedNodes``, which the provider always sends with its own
defaults; and batches, in which the provider enables up to 20 APIs with one request.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = dict[str, Any]


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        api: the discovery document, ``container.v1``.
        method: the method's ID in it.
        parameters: of path and query.
        body: as JSON.
    """

    api: str
    method: str
    parameters: Json
    body: Json = field(default_factory=dict)


def _without(inputs: Mapping[str, Any], *names: str, **more: Any) -> Json:
    # What only the provider knows.
    provider_only = {"project", "region", "deletionPolicy", "forceDestroy"}
    return {key: value for key, value in inputs.items() if key not in provider_only | set(names)} | more


def _compute(method: str, inputs: Mapping[str, Any], body: Json) -> Request:
    parameters = {key: inputs[key] for key in ("project", "region") if key in inputs}
    if "region" in inputs:
        body = {**body, "region": f"projects/{inputs['project']}/regions/{inputs['region']}"}
    return Request("compute.v1", f"compute.{method}", parameters, body)


def _binding(inputs: Mapping[str, Any]) -> Json:
    members = inputs.get("members") or [inputs["member"]]
    condition = {"condition": inputs["condition"]} if "condition" in inputs else {}
    return {"bindings": [{"role": inputs["role"], "members": members, **condition}]}


def _field(inputs: Mapping[str, Any]) -> Request:
    indexes = [
        {"queryScope": index["queryScope"], "fields": [{"fieldPath": inputs["field"], "order": index["order"]}]}
        for index in inputs["indexConfig"].get("indexes", [])
    ]
    database = f"projects/{inputs['project']}/databases/{inputs['database']}"
    name = f"{database}/collectionGroups/{inputs['collection']}/fields/{inputs['field']}"
    ttl = {"ttlConfig": inputs["ttlConfig"]} if "ttlConfig" in inputs else {}
    # Creating sends no mask, so that Firestore changes both parts.
    body = {"indexConfig": {"indexes": indexes} if indexes else {}, **ttl}
    method = "firestore.projects.databases.collectionGroups.fields.patch"
    return Request("firestore.v1", method, {"name": name}, body)


def _cluster(inputs: Mapping[str, Any]) -> Request:
    window = inputs["maintenancePolicy"]["recurringWindow"]
    times = {"startTime": window["startTime"], "endTime": window["endTime"]}
    project = inputs["project"]
    network = {"network": _link(inputs["network"], f"projects/{project}/global/networks")}
    if "subnetwork" in inputs:
        network["subnetwork"] = _link(
            inputs["subnetwork"], f"projects/{project}/regions/{inputs['location']}/subnetworks"
        )
    is_private = (inputs.get("privateClusterConfig") or {}).get("enablePrivateNodes")
    private = {"defaultEnablePrivateNodes": True} if is_private else {}
    cluster = _without(
        inputs,
        "privateClusterConfig",
        "enableAutopilot",
        "deletionProtection",
        "location",
        "gatewayApiConfig",
        "clusterAutoscaling",
        autopilot={"enabled": inputs["enableAutopilot"]},
        maintenancePolicy={"window": {"recurringWindow": {"window": times, "recurrence": window["recurrence"]}}},
        networkConfig={"gatewayApiConfig": inputs["gatewayApiConfig"], **private},
        autoscaling={
            "autoprovisioningNodePoolDefaults": {
                **inputs["clusterAutoscaling"]["autoProvisioningDefaults"],
                "minCpuPlatform": "automatic",
            },
        },
        releaseChannel=inputs["releaseChannel"],
        **network,
    )
    if "ipAllocationPolicy" in cluster:
        cluster["ipAllocationPolicy"] = {"useIpAliases": True, **cluster["ipAllocationPolicy"]}
    parent = f"projects/{inputs['project']}/locations/{inputs['location']}"
    method = "container.projects.locations.clusters.create"
    return Request("container.v1", method, {"parent": parent}, {"cluster": cluster})


def _link(name: str, collection: str) -> str:
    """Return the path of what may be named by its name alone."""
    return name if "/" in name else f"{collection}/{name}"


def _repository(inputs: Mapping[str, Any]) -> Request:
    parent = f"projects/{inputs['project']}/locations/{inputs['location']}"
    policies = {policy["id"]: policy for policy in inputs["cleanupPolicies"]}
    body = _without(inputs, "location", "repositoryId", cleanupPolicies=policies, mode="STANDARD_REPOSITORY")
    parameters = {"parent": parent, "repositoryId": inputs["repositoryId"]}
    return Request("artifactregistry.v1", "artifactregistry.projects.locations.repositories.create", parameters, body)


def _repository_policy(inputs: Mapping[str, Any]) -> Request:
    place = f"projects/{inputs['project']}/locations/{inputs['location']}"
    resource = f"{place}/repositories/{inputs['repository']}"
    method = "artifactregistry.projects.locations.repositories.setIamPolicy"
    return Request("artifactregistry.v1", method, {"resource": resource}, {"policy": _binding(inputs)})


def _bucket(inputs: Mapping[str, Any]) -> Request:
    uniform = {"enabled": inputs["uniformBucketLevelAccess"]}
    body = _without(
        inputs,
        "uniformBucketLevelAccess",
        "publicAccessPrevention",
        "lifecycleRules",
        iamConfiguration={
            "uniformBucketLevelAccess": uniform,
            "publicAccessPrevention": inputs["publicAccessPrevention"],
        },
        **({"lifecycle": {"rule": inputs["lifecycleRules"]}} if "lifecycleRules" in inputs else {}),
    )
    return Request("storage.v1", "storage.buckets.insert", {"project": inputs["project"]}, body)


def _endpoint(inputs: Mapping[str, Any]) -> Request:
    contents = base64.b64encode(inputs["openapiConfig"].encode()).decode()
    file = {"filePath": "heredoc.yaml", "fileType": "OPEN_API_YAML", "fileContents": contents}
    body = {"configSource": {"files": [file]}}
    method = "servicemanagement.services.configs.submit"
    return Request("servicemanagement.v1", method, {"serviceName": inputs["serviceName"]}, body)


def _nat(inputs: Mapping[str, Any]) -> Request:
    nat = _without(
        inputs,
        "router",
        "subnetworks",
        subnetworks=[
            {"name": each["name"], "sourceIpRangesToNat": each["sourceIpRangesToNats"]}
            for each in inputs["subnetworks"]
        ],
        type="PUBLIC",
        udpIdleTimeoutSec=30,
        icmpIdleTimeoutSec=30,
        tcpEstablishedIdleTimeoutSec=1200,
        tcpTransitoryIdleTimeoutSec=30,
        tcpTimeWaitTimeoutSec=120,
    )
    parameters = {key: inputs[key] for key in ("project", "region", "router")}
    return Request("compute.v1", "compute.routers.patch", parameters, {"nats": [nat]})


def _armor(inputs: Mapping[str, Any]) -> Request:
    def as_sent(rule: Json) -> Json:
        match = {key: value for key, value in rule["match"].items() if key != "config"}
        if "config" in rule["match"]:
            match["config"] = {"srcIpRanges": rule["match"]["config"]["srcIpRanges"]}
        return {**rule, "match": match}

    body = _without(inputs, rules=[as_sent(rule) for rule in inputs["rules"]])
    return _compute("securityPolicies.insert", inputs, body)


def _service_account(inputs: Mapping[str, Any]) -> Request:
    body = {"accountId": inputs["accountId"], "serviceAccount": {"displayName": inputs["displayName"]}}
    parameters = {"name": f"projects/{inputs['project']}"}
    return Request("iam.v1", "iam.projects.serviceAccounts.create", parameters, body)


def _role(inputs: Mapping[str, Any]) -> Request:
    role = _without(inputs, "roleId", "permissions", includedPermissions=inputs["permissions"], stage="GA")
    parameters = {"parent": f"projects/{inputs['project']}"}
    return Request("iam.v1", "iam.projects.roles.create", parameters, {"roleId": inputs["roleId"], "role": role})


def _web_policy(inputs: Mapping[str, Any]) -> Request:
    parameters = {"resource": f"projects/{inputs['project']}/iap_web"}
    return Request("iap.v1", "iap.setIamPolicy", parameters, {"policy": _binding(inputs)})


def _budget(inputs: Mapping[str, Any]) -> Request:
    parameters = {"parent": f"billingAccounts/{inputs['billingAccount']}"}
    scope = {**inputs["budgetFilter"], "creditTypesTreatment": "INCLUDE_ALL_CREDITS"}
    body = _without(inputs, "billingAccount", budgetFilter=scope)
    return Request("billingbudgets.v1", "billingbudgets.billingAccounts.budgets.create", parameters, body)


def _log_bucket(inputs: Mapping[str, Any]) -> Request:
    parent = f"projects/{inputs['project']}/locations/{inputs['location']}"
    body = _without(inputs, "bucketId", "location")
    parameters = {"parent": parent, "bucketId": inputs["bucketId"]}
    return Request("logging.v2", "logging.projects.locations.buckets.createAsync", parameters, body)


def _sink(inputs: Mapping[str, Any]) -> Request:
    unique = inputs["uniqueWriterIdentity"]
    parameters = {"parent": f"projects/{inputs['project']}", "uniqueWriterIdentity": unique}
    return Request("logging.v2", "logging.projects.sinks.create", parameters, _without(inputs, "uniqueWriterIdentity"))


def _monitored(collection: str, inputs: Mapping[str, Any], body: Json, version: str = "v3") -> Request:
    method = f"monitoring.projects.{collection}.create"
    key = "name" if version == "v3" else "parent"
    return Request(f"monitoring.{version}", method, {key: f"projects/{inputs['project']}"}, body)


REQUESTS: dict[str, Callable[[Mapping[str, Any]], Request]] = {
    "gcp:artifactregistry/repository:Repository": _repository,
    "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember": _repository_policy,
    "gcp:billing/budget:Budget": _budget,
    "gcp:compute/address:Address": lambda it: _compute("addresses.insert", it, _without(it)),
    "gcp:compute/globalAddress:GlobalAddress": lambda it: _compute(
        "globalAddresses.insert", it, _without(it, addressType="EXTERNAL", networkTier="PREMIUM")
    ),
    "gcp:compute/managedSslCertificate:ManagedSslCertificate": lambda it: _compute(
        "sslCertificates.insert", it, _without(it, type="MANAGED")
    ),
    "gcp:compute/network:Network": lambda it: _compute(
        "networks.insert",
        it,
        _without(
            it,
            "routingMode",
            routingConfig={"routingMode": it["routingMode"]},
            networkFirewallPolicyEnforcementOrder="AFTER_CLASSIC_FIREWALL",
        ),
    ),
    "gcp:compute/router:Router": lambda it: _compute("routers.insert", it, _without(it)),
    "gcp:compute/routerNat:RouterNat": _nat,
    "gcp:compute/sSLPolicy:SSLPolicy": lambda it: _compute("sslPolicies.insert", it, _without(it)),
    "gcp:compute/securityPolicy:SecurityPolicy": _armor,
    "gcp:compute/subnetwork:Subnetwork": lambda it: _compute("subnetworks.insert", it, _without(it)),
    "gcp:container/cluster:Cluster": _cluster,
    "gcp:endpoints/service:Service": _endpoint,
    "gcp:firestore/backupSchedule:BackupSchedule": lambda it: Request(
        "firestore.v1",
        "firestore.projects.databases.backupSchedules.create",
        {"parent": f"projects/{it['project']}/databases/{it['database']}"},
        _without(it, "database"),
    ),
    "gcp:firestore/database:Database": lambda it: Request(
        "firestore.v1",
        "firestore.projects.databases.create",
        {"parent": f"projects/{it['project']}", "databaseId": it["name"]},
        _without(it, name=f"projects/{it['project']}/databases/{it['name']}"),
    ),
    "gcp:firestore/field:Field": _field,
    "gcp:iap/webIamBinding:WebIamBinding": _web_policy,
    "gcp:iap/webIamMember:WebIamMember": _web_policy,
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": _log_bucket,
    "gcp:logging/projectExclusion:ProjectExclusion": lambda it: Request(
        "logging.v2", "logging.projects.exclusions.create", {"parent": f"projects/{it['project']}"}, _without(it)
    ),
    "gcp:logging/projectSink:ProjectSink": _sink,
    "gcp:monitoring/alertPolicy:AlertPolicy": lambda it: _monitored("alertPolicies", it, _without(it)),
    "gcp:monitoring/dashboard:Dashboard": lambda it: _monitored(
        "dashboards", it, json.loads(it["dashboardJson"]), "v1"
    ),
    "gcp:monitoring/notificationChannel:NotificationChannel": lambda it: _monitored(
        "notificationChannels", it, _without(it)
    ),
    "gcp:projects/iAMCustomRole:IAMCustomRole": _role,
    "gcp:projects/iAMMember:IAMMember": lambda it: Request(
        "cloudresourcemanager.v1",
        "cloudresourcemanager.projects.setIamPolicy",
        {"resource": it["project"]},
        {"policy": _binding(it)},
    ),
    "gcp:projects/service:Service": lambda it: Request(
        "serviceusage.v1",
        "serviceusage.services.enable",
        {"name": f"projects/{it['project']}/services/{it['service']}"},
    ),
    "gcp:serviceaccount/account:Account": _service_account,
    "gcp:storage/bucket:Bucket": _bucket,
    "gcp:storage/bucketIAMMember:BucketIAMMember": lambda it: Request(
        "storage.v1", "storage.buckets.setIamPolicy", {"bucket": it["bucket"]}, _binding(it)
    ),
}
"""Pulumi's type -> the request."""


POLICIES = {kind for kind in REQUESTS if kind.endswith(("IAMMember", "IamMember", "IamBinding"))}
"""Types that change one binding of a policy: the provider reads the policy, changes it, and sets all of it."""


def before(request: Request) -> tuple[Request, ...]:
    """Return what the provider sends before a request, for what it creates in more than one step."""
    if request.api != "servicemanagement.v1":
        return ()
    name = request.parameters["serviceName"]
    body = {"serviceName": name, "producerProjectId": name.split(".endpoints.")[1].removesuffix(".cloud.goog")}
    return (Request("servicemanagement.v1", "servicemanagement.services.create", {}, body),)


def _deleted(api: str, method: str, **parameters: str) -> Callable[[Mapping[str, Any]], Request]:
    return lambda it: Request(api, method, {name: text.format_map(it) for name, text in parameters.items()})


def _deleted_compute(collection: str, name: str, **more: str) -> Callable[[Mapping[str, Any]], Request]:
    return _deleted("compute.v1", f"compute.{collection}.delete", project="{project}", **{name: "{name}"}, **more)


_ACCOUNT = "projects/{project}/serviceAccounts/{accountId}@{project}.iam.gserviceaccount.com"
_CLUSTER = "projects/{project}/locations/{location}/clusters/{name}"
_REPOSITORY = "projects/{project}/locations/{location}/repositories/{repositoryId}"
_LOG_BUCKET = "projects/{project}/locations/{location}/buckets/{bucketId}"
DELETIONS: dict[str, Callable[[Mapping[str, Any]], Request]] = {
    "gcp:artifactregistry/repository:Repository": _deleted(
        "artifactregistry.v1", "artifactregistry.projects.locations.repositories.delete", name=_REPOSITORY
    ),
    "gcp:billing/budget:Budget": _deleted(
        "billingbudgets.v1",
        "billingbudgets.billingAccounts.budgets.delete",
        name="billingAccounts/{billingAccount}/budgets/1",
    ),
    "gcp:compute/address:Address": _deleted_compute("addresses", "address", region="{region}"),
    "gcp:compute/globalAddress:GlobalAddress": _deleted_compute("globalAddresses", "address"),
    "gcp:compute/managedSslCertificate:ManagedSslCertificate": _deleted_compute("sslCertificates", "sslCertificate"),
    "gcp:compute/network:Network": _deleted_compute("networks", "network"),
    "gcp:compute/router:Router": _deleted_compute("routers", "router", region="{region}"),
    "gcp:compute/sSLPolicy:SSLPolicy": _deleted_compute("sslPolicies", "sslPolicy"),
    "gcp:compute/securityPolicy:SecurityPolicy": _deleted_compute("securityPolicies", "securityPolicy"),
    "gcp:compute/subnetwork:Subnetwork": _deleted_compute("subnetworks", "subnetwork", region="{region}"),
    "gcp:container/cluster:Cluster": _deleted(
        "container.v1", "container.projects.locations.clusters.delete", name=_CLUSTER
    ),
    "gcp:endpoints/service:Service": _deleted(
        "servicemanagement.v1", "servicemanagement.services.delete", serviceName="{serviceName}"
    ),
    "gcp:firestore/database:Database": _deleted(
        "firestore.v1", "firestore.projects.databases.delete", name="projects/{project}/databases/{name}"
    ),
    "gcp:logging/projectBucketConfig:ProjectBucketConfig": _deleted(
        "logging.v2", "logging.projects.locations.buckets.delete", name=_LOG_BUCKET
    ),
    "gcp:logging/projectExclusion:ProjectExclusion": _deleted(
        "logging.v2", "logging.projects.exclusions.delete", name="projects/{project}/exclusions/{name}"
    ),
    "gcp:logging/projectSink:ProjectSink": _deleted(
        "logging.v2", "logging.projects.sinks.delete", sinkName="projects/{project}/sinks/{name}"
    ),
    "gcp:monitoring/alertPolicy:AlertPolicy": _deleted(
        "monitoring.v3", "monitoring.projects.alertPolicies.delete", name="projects/{project}/alertPolicies/1"
    ),
    "gcp:monitoring/dashboard:Dashboard": _deleted(
        "monitoring.v1", "monitoring.projects.dashboards.delete", name="projects/{project}/dashboards/1"
    ),
    "gcp:monitoring/notificationChannel:NotificationChannel": _deleted(
        "monitoring.v3",
        "monitoring.projects.notificationChannels.delete",
        name="projects/{project}/notificationChannels/1",
    ),
    "gcp:projects/iAMCustomRole:IAMCustomRole": _deleted(
        "iam.v1", "iam.projects.roles.delete", name="projects/{project}/roles/{roleId}"
    ),
    "gcp:serviceaccount/account:Account": _deleted("iam.v1", "iam.projects.serviceAccounts.delete", name=_ACCOUNT),
    "gcp:storage/bucket:Bucket": _deleted("storage.v1", "storage.buckets.delete", bucket="{name}"),
}
"""Pulumi's type -> the request that deletes it, with "1" for a name that Google gives.

APIs stay enabled, fields and the schedule of backups go with their database, and a router's NAT goes with it."""
