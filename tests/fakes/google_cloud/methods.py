"""The methods of Google's APIs that the fake answers, beyond those that create the stack's resources."""

from __future__ import annotations

from tests.stacks.google_requests import Request

WITHOUT_A_BODY: dict[str, tuple[str, ...]] = {
    "artifactregistry.v1": (
        "artifactregistry.projects.locations.operations.get",
        *(
            f"artifactregistry.projects.locations.repositories.{verb}"
            for verb in ("get", "list", "delete", "getIamPolicy")
        ),
    ),
    "billingbudgets.v1": tuple(f"billingbudgets.billingAccounts.budgets.{verb}" for verb in ("get", "list", "delete")),
    "cloudasset.v1": ("cloudasset.searchAllResources",),
    "cloudbilling.v1": ("cloudbilling.projects.getBillingInfo",),
    "cloudresourcemanager.v1": ("cloudresourcemanager.projects.get",),
    "compute.v1": (
        "compute.projects.get",
        "compute.regions.get",
        "compute.regions.list",
        "compute.globalOperations.get",
        "compute.regionOperations.get",
        "compute.globalOperations.wait",
        "compute.regionOperations.wait",
        "compute.routers.delete",
        *(
            f"compute.{collection}.{verb}"
            for collection in (
                "networks",
                "firewalls",
                "globalAddresses",
                "globalForwardingRules",
                "targetHttpsProxies",
                "targetHttpProxies",
                "urlMaps",
                "backendServices",
                "healthChecks",
                "sslCertificates",
                "sslPolicies",
                "securityPolicies",
            )
            for verb in ("get", "list", "delete")
        ),
        *(
            f"compute.{collection}.{verb}"
            for collection in ("addresses", "subnetworks", "routers", "networkEndpointGroups", "disks")
            for verb in ("get", "list", "aggregatedList", "delete")
        ),
    ),
    "container.v1": (
        *(f"container.projects.locations.clusters.{verb}" for verb in ("get", "list", "delete")),
        "container.projects.locations.operations.get",
        "container.projects.locations.getServerConfig",
    ),
    "firestore.v1": (
        *(f"firestore.projects.databases.{verb}" for verb in ("get", "list", "delete")),
        "firestore.projects.databases.operations.get",
        *(f"firestore.projects.databases.collectionGroups.fields.{verb}" for verb in ("get", "list")),
        "firestore.projects.locations.backups.list",
    ),
    "iam.v1": (
        *(f"iam.projects.serviceAccounts.{verb}" for verb in ("get", "list", "delete")),
        *(f"iam.projects.roles.{verb}" for verb in ("get", "list", "delete")),
    ),
    "logging.v2": (
        "logging.projects.locations.operations.get",
        *(
            f"logging.projects.{collection}.{verb}"
            for collection in ("sinks", "exclusions", "locations.buckets")
            for verb in ("get", "list", "delete")
        ),
    ),
    "monitoring.v1": tuple(f"monitoring.projects.dashboards.{verb}" for verb in ("get", "list", "delete")),
    "monitoring.v3": tuple(
        f"monitoring.projects.{collection}.{verb}"
        for collection in ("alertPolicies", "notificationChannels")
        for verb in ("get", "list", "delete")
    ),
    "orgpolicy.v2": ("orgpolicy.projects.policies.getEffectivePolicy",),
    "servicemanagement.v1": (
        "servicemanagement.operations.get",
        *(f"servicemanagement.services.{verb}" for verb in ("get", "list", "delete", "getConfig")),
    ),
    "serviceusage.v1": ("serviceusage.services.get", "serviceusage.services.list", "serviceusage.operations.get"),
    "storage.v1": tuple(f"storage.buckets.{verb}" for verb in ("get", "list", "delete", "getIamPolicy")),
}
"""API -> its methods."""

_POLICY = {"options": {"requestedPolicyVersion": 3}}
WITH_A_BODY = (
    Request(
        "cloudbuild.v1",
        "cloudbuild.projects.builds.create",
        {"projectId": "p"},
        {
            "steps": [{"name": "gcr.io/cloud-builders/docker", "env": ["A=b"], "args": ["build"]}],
            "images": ["us-central1-docker.pkg.dev/p/r/chat:1"],
            "serviceAccount": "projects/p/serviceAccounts/a@p.iam.gserviceaccount.com",
            "logsBucket": "gs://b/log",
            "options": {"logging": "GCS_ONLY"},
            "timeout": "1200s",
        },
    ),
    Request(
        "compute.v1",
        "compute.advice.capacity",
        {"project": "p", "region": "r"},
        {
            "instanceProperties": {"scheduling": {"provisioningModel": "SPOT"}},
            "instanceFlexibilityPolicy": {"instanceSelections": {"gemma": {"machineTypes": ["g2-standard-8"]}}},
            "size": 1,
            "distributionPolicy": {"targetShape": "ANY_SINGLE_ZONE"},
        },
    ),
    Request(
        "cloudresourcemanager.v1",
        "cloudresourcemanager.projects.getIamPolicy",
        {"resource": "p"},
        _POLICY,
    ),
    Request(
        "cloudresourcemanager.v1",
        "cloudresourcemanager.projects.testIamPermissions",
        {"resource": "p"},
        {"permissions": ["resourcemanager.projects.get"]},
    ),
    Request(
        "serviceusage.v1",
        "serviceusage.services.batchEnable",
        {"parent": "projects/p"},
        {"serviceIds": ["compute.googleapis.com"]},
    ),
    Request("iap.v1", "iap.getIamPolicy", {"resource": "projects/p/iap_web"}, _POLICY),
    Request(
        "servicemanagement.v1", "servicemanagement.services.create", {}, {"serviceName": "a", "producerProjectId": "p"}
    ),
    Request(
        "servicemanagement.v1",
        "servicemanagement.services.rollouts.create",
        {"serviceName": "a"},
        {"serviceName": "a", "trafficPercentStrategy": {"percentages": {"1": 100.0}}},
    ),
)
"""An example of each, which touches the schemas that the fake checks."""
