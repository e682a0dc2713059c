"""What the APIs answer that is more than creating, reading, listing and deleting."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from tests.fakes.google_cloud import access, errors
from tests.fakes.google_cloud.cloud import BILLED, HANDLERS
from tests.fakes.google_cloud.resources import register
from tests.fakes.google_cloud.rules import check_router

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fakes.google_cloud.cloud import Cloud
    from tests.fakes.google_cloud.routing import Call

Json = dict[str, Any]


def _enable(cloud: Cloud, call: Call) -> Json:
    service = call.path.rpartition("/")[2]
    if service in BILLED and not cloud.switches.billing:
        raise errors.no_billing(cloud.number, service)

    def finish() -> None:
        cloud.enabled.setdefault(service, cloud.now)

    return cloud.start(call, "", call.path, finish)


def _enable_several(cloud: Cloud, call: Call) -> Json:
    services = call.body["serviceIds"]
    if costly := [service for service in services if service in BILLED and not cloud.switches.billing]:
        raise errors.no_billing(cloud.number, ",".join(costly))

    def finish() -> None:
        for service in services:
            cloud.enabled.setdefault(service, cloud.now)

    return cloud.start(call, "", call.path, finish)


def _service(cloud: Cloud, call: Call) -> Json:
    name = call.path.rpartition("/")[2]
    return {"name": call.path, "state": "ENABLED" if name in cloud.enabled else "DISABLED", "config": {"name": name}}


def _services(cloud: Cloud, call: Call) -> Json:
    return {
        "services": [
            {"name": f"{call.path}/{name}", "state": "ENABLED", "config": {"name": name}} for name in cloud.enabled
        ]
    }


def _project(cloud: Cloud, _: Call) -> Json:
    switches = cloud.switches
    parent = {"type": "folder", "id": switches.folder} if switches.folder else None
    if switches.organization and not switches.folder:
        parent = {"type": "organization", "id": switches.organization}
    record = {"projectId": cloud.project, "projectNumber": cloud.number, "lifecycleState": "ACTIVE"}
    return record | ({"parent": parent} if parent else {})


def _billing(cloud: Cloud, call: Call) -> Json:
    account = cloud.switches.billing
    return {
        "name": f"{call.path}/billingInfo",
        "projectId": cloud.project,
        "billingAccountName": f"billingAccounts/{account}" if account else "",
        "billingEnabled": bool(account),
    }


def _policy(cloud: Cloud, call: Call) -> Json:
    constraint = call.path.rpartition("/")[2]
    rules = cloud.switches.policies.get(constraint, [{"allowAll": True}])
    return {"name": call.path, "spec": {"rules": rules}}


def _compute_project(cloud: Cloud, _: Call) -> Json:
    quotas = [{"metric": "GPUS_ALL_REGIONS", "limit": float(cloud.switches.all_gpus), "usage": 0.0}]
    return {"name": cloud.project, "quotas": quotas}


def _region(cloud: Cloud, name: str) -> Json:
    limit = cloud.switches.region_gpus[name]
    metrics = ("NVIDIA_L4_GPUS", "NVIDIA_A100_GPUS", "NVIDIA_H100_GPUS")
    return {"name": name, "quotas": [{"metric": metric, "limit": float(limit), "usage": 0.0} for metric in metrics]}


def _one_region(cloud: Cloud, call: Call) -> Json:
    name = call.parameters["region"]
    if name not in cloud.switches.region_gpus:
        raise errors.not_found(call.path)
    return _region(cloud, name)


def _regions(cloud: Cloud, _: Call) -> Json:
    return {"items": [_region(cloud, name) for name in cloud.switches.region_gpus]}


def _capacity(cloud: Cloud, call: Call) -> Json:
    region = call.parameters["region"]
    if region not in cloud.switches.region_gpus:
        raise errors.not_found(call.path)
    model = call.body["instanceProperties"]["scheduling"]["provisioningModel"]
    if model != "SPOT":  # the only one that the documentation names
        raise errors.invalid(f"Invalid value for field 'provisioningModel': '{model}'")
    if cloud.switches.capacity is None:
        return {}
    (selection,) = call.body["instanceFlexibilityPolicy"]["instanceSelections"].values()
    zone = f"https://www.googleapis.com/compute/v1/projects/{cloud.project}/zones/{region}-a"
    shard = {
        "instanceCount": call.body["size"],
        "machineType": selection["machineTypes"][0],
        "provisioningModel": model,
        "zone": zone,
    }
    scores = {"obtainability": cloud.switches.capacity, "estimatedUptime": "3600s"}
    return {"recommendations": [{"scores": scores, "shards": [shard]}]}


def _server_config(cloud: Cloud, _: Call) -> Json:
    channels = [
        {"channel": channel, "defaultVersion": version, "validVersions": [version]}
        for channel, version in cloud.switches.versions.items()
    ]
    return {"channels": channels, "defaultClusterVersion": cloud.switches.versions.get("REGULAR", "")}


def _field(cloud: Cloud, call: Call) -> Json:
    database = re.match(r"projects/[^/]+/databases/[^/]+", call.path)
    assert database, call.path
    key = f"{call.api}/{call.path}"
    if f"{call.api}/{database[0]}" not in cloud.resources:
        raise errors.not_found(database[0])
    if cloud.switches.contends and cloud.under_way(f"{database[0]}/"):
        raise errors.aborted("too much contention on these datastore entities. please try again.")
    mask = call.parameters.get("updateMask", "").split(",")
    body = {name: value for name, value in call.body.items() if mask == [""] or name in mask}

    def finish() -> None:
        cloud.resources[key] = {**cloud.resources.get(key, {}), **body, "name": call.path}

    return cloud.start(call, database[0], call.path, finish, is_endless="ttlConfig" in body)


def _config(cloud: Cloud, call: Call) -> Json:
    path = call.path.partition("/configs")[0]
    if f"{call.api}/{path}" not in cloud.resources:
        raise errors.not_found(path)
    return cloud.start(call, "", path, lambda: cloud.resources[f"{call.api}/{path}"].update(config="1"))


def _configuration(cloud: Cloud, call: Call) -> Json:
    service = cloud.resources.get(f"{call.api}/{call.path}")
    if service is None or not service.get("config"):
        raise errors.not_found(call.path)
    return {"name": call.path.rpartition("/")[2], "id": service["config"]}


def _rollout(cloud: Cloud, call: Call) -> Json:
    path = call.path.partition("/rollouts")[0]
    if not cloud.resources.get(f"{call.api}/{path}", {}).get("config"):
        raise errors.precondition(f"{path} has no configuration to roll out")
    return cloud.start(call, "", path, lambda: cloud.resources[f"{call.api}/{path}"].update(rollout="1"))


def _build(cloud: Cloud, call: Call) -> Json:
    account = call.body["serviceAccount"].rpartition("/")[2]
    bucket = call.body["logsBucket"].removeprefix("gs://").partition("/")[0]
    place, project, repository = call.body["images"][0].split("/")[:3]
    location = place.removesuffix("-docker.pkg.dev")
    registry = f"artifactregistry.v1/projects/{project}/locations/{location}/repositories/{repository}"
    member = f"serviceAccount:{account}"
    for key, role in ((f"storage.v1/b/{bucket}", "storage.admin"), (registry, "artifactregistry.writer")):
        if key not in cloud.resources:
            raise errors.not_found(key)
        if not access.has_role(cloud, key, f"roles/{role}", member):
            raise errors.forbidden(f"{role}", f"{member} on {key}")
    cloud.resources[f"{registry}/dockerImages/{call.body['images'][0].rpartition('/')[2]}"] = {"uri": "chat"}
    return {"name": "operations/build", "done": True, "metadata": {"build": {"status": "SUCCESS"}}}


def _assets(cloud: Cloud, call: Call) -> Json:
    kinds = {"networks": "compute.googleapis.com/Network", "clusters": "container.googleapis.com/Cluster"}

    def results() -> Iterator[Json]:
        for key, resource in cloud.resources.items():
            kind = kinds.get(key.split("/")[-2])
            if kind:
                yield {"assetType": kind, "name": f"//{key}", "labels": resource.get("resourceLabels", {})}

    del call
    return {"results": list(results())}


HANDLERS.update(
    {
        "serviceusage.services.enable": _enable,
        "serviceusage.services.batchEnable": _enable_several,
        "serviceusage.services.get": _service,
        "serviceusage.services.list": _services,
        "cloudresourcemanager.projects.get": _project,
        "cloudbilling.projects.getBillingInfo": _billing,
        "orgpolicy.projects.policies.getEffectivePolicy": _policy,
        "compute.projects.get": _compute_project,
        "compute.advice.capacity": _capacity,
        "compute.regions.get": _one_region,
        "compute.regions.list": _regions,
        "compute.routers.patch": check_router,
        "container.projects.locations.getServerConfig": _server_config,
        "firestore.projects.databases.collectionGroups.fields.patch": _field,
        "servicemanagement.services.configs.submit": _config,
        "servicemanagement.services.rollouts.create": _rollout,
        "servicemanagement.services.getConfig": _configuration,
        "cloudbuild.projects.builds.create": _build,
        "cloudasset.searchAllResources": _assets,
    }
)
register()
