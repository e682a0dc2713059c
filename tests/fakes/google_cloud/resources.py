"""Creating, reading, listing and deleting, which all APIs do in the same way."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from tests.fakes.google_cloud import errors
from tests.fakes.google_cloud.cloud import HANDLERS, HELD_DAYS
from tests.fakes.google_cloud.rules import before_create, before_delete, on_created, on_deleted
from tests.stacks.google_api import documents

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fakes.google_cloud.cloud import Cloud
    from tests.fakes.google_cloud.routing import Call

Json = dict[str, Any]


def _email(call: Call) -> str:
    return f"{call.body['accountId']}@{call.project}.iam.gserviceaccount.com"


# Method -> the last part of the new resource's path, and the part of the body that is the resource.
_NAMED: dict[str, Callable[[Call], str]] = {
    "artifactregistry.projects.locations.repositories.create": lambda call: call.parameters["repositoryId"],
    "billingbudgets.billingAccounts.budgets.create": lambda _: uuid.uuid4().hex,
    "container.projects.locations.clusters.create": lambda call: call.body["cluster"]["name"],
    "firestore.projects.databases.backupSchedules.create": lambda _: uuid.uuid4().hex,
    "firestore.projects.databases.create": lambda call: call.parameters["databaseId"],
    "iam.projects.roles.create": lambda call: call.body["roleId"],
    "iam.projects.serviceAccounts.create": _email,
    "logging.projects.locations.buckets.createAsync": lambda call: call.parameters["bucketId"],
    **dict.fromkeys(
        (f"monitoring.projects.{each}.create" for each in ("alertPolicies", "dashboards", "notificationChannels")),
        lambda _: uuid.uuid4().hex,
    ),
    "servicemanagement.services.create": lambda call: call.body["serviceName"],
}
_INNER = {
    "container.projects.locations.clusters.create": "cluster",
    "iam.projects.roles.create": "role",
    "iam.projects.serviceAccounts.create": "serviceAccount",
}
# API -> the field of a list's answer, where it is not the collection's name.
_LISTS = {"compute.v1": "items", "storage.v1": "items", "iam.projects.serviceAccounts.list": "accounts"}
# What is made at once; everything else takes an operation.
_AT_ONCE = ("iam.v1", "logging.v2", "storage.v1", "billingbudgets.v1", "monitoring.v1", "monitoring.v3")


def _is_at_once(call: Call) -> bool:
    return (call.api in _AT_ONCE and call.verb != "createAsync") or ".backupSchedules." in call.method


def _place(call: Call, path: str) -> str:
    """Return where an operation is: with the resource, or at the root of the API."""
    if call.api in {"compute.v1", "container.v1", "artifactregistry.v1", "logging.v2"}:
        return "/".join(path.split("/")[: 3 if "/global/" in path else 4])
    return path if call.api == "firestore.v1" else ""


def create(cloud: Cloud, call: Call) -> Json:
    """Create a resource, now or at the end of an operation."""
    name = _NAMED.get(call.method, lambda it: it.body["name"])(call)
    path = f"{call.path}/{name}"
    key = f"{call.api}/{path}"
    if cloud.held.get(key, -1) > cloud.now:
        raise errors.precondition(f"The name {name} was deleted and is reserved")
    if key in cloud.resources or cloud.under_way(path):
        raise errors.exists(path)
    body = call.body.get(_INNER.get(call.method, ""), call.body)
    resource = {**body, "name": _full_name(call, path, name)}
    before_create(cloud, call, resource)

    def finish() -> None:
        on_created(cloud, call, path, resource)
        cloud.resources[key] = resource

    if _is_at_once(call):
        finish()
        return resource
    return cloud.start(call, _place(call, path), path, finish)


def _full_name(call: Call, path: str, name: str) -> str:
    short = call.api in {"compute.v1", "container.v1", "storage.v1"} or ".sinks." in call.method
    return name if short or ".exclusions." in call.method else path


def get(cloud: Cloud, call: Call) -> Json:
    """Return a resource."""
    try:
        return cloud.resources[f"{call.api}/{call.path}"]
    except KeyError:
        raise errors.not_found(call.path) from None


def every(cloud: Cloud, call: Call) -> Json:
    """Return the resources of a collection; ``-`` stands for each location."""
    pattern = re.compile(re.escape(f"{call.api}/{call.path}").replace(r"/\-/", "/[^/]+/") + "/[^/]+")
    field = _LISTS.get(call.method) or _LISTS.get(call.api) or call.path.rpartition("/")[2]
    return {field: [value for key, value in cloud.resources.items() if pattern.fullmatch(key)]}


def aggregated(cloud: Cloud, call: Call) -> Json:
    """Return the resources of a collection by region or zone."""
    collection = call.path.rpartition("/")[2]
    items: dict[str, Json] = {}
    for key, value in cloud.resources.items():
        parts = key.split("/")
        if parts[0] == call.api and parts[-2] == collection:
            items.setdefault("/".join(parts[3:-2]), {collection: []})[collection].append(value)
    return {"items": items}


def delete(cloud: Cloud, call: Call) -> Json:
    """Delete a resource, now or at the end of an operation."""
    key = f"{call.api}/{call.path}"
    resource = get(cloud, call)
    if cloud.under_way(call.path):
        raise errors.aborted(f"The resource {call.path} is being changed")
    before_delete(cloud, call)

    def finish() -> None:
        for other in [other for other in cloud.resources if other.startswith(f"{key}/")]:
            del cloud.resources[other]
        del cloud.resources[key]
        cloud.policies.pop(key, None)
        kind = f"{call.api.partition('.')[0]}.{call.path.split('/')[-2]}"
        days = HELD_DAYS.get(call.api) or HELD_DAYS.get(kind)
        if days:
            cloud.held[key] = cloud.now + days * 86_400
        on_deleted(cloud, call, resource)

    if _is_at_once(call):
        finish()
        return {}
    return cloud.start(call, _place(call, call.path), call.path, finish)


def operation(cloud: Cloud, call: Call) -> Json:
    """Return an operation's state; each reading brings it nearer to its end."""
    started = cloud.operations.get(f"{call.api}/{call.path}")
    if started is None:
        raise errors.not_found(call.path)
    started.poll()
    return started.as_json(call.api)


def register() -> None:
    """Answer every method that has no handler of its own in one of these ways."""
    verbs = {
        "insert": create,
        "create": create,
        "createAsync": create,
        "get": get,
        "list": every,
        "aggregatedList": aggregated,
        "delete": delete,
    }
    for document in documents().values():
        for method in document["methods"]:
            if method in HANDLERS:
                continue
            collection, _, verb = method.rpartition(".")
            is_operation = collection.endswith(("operations", "Operations"))
            handler = operation if is_operation else verbs.get(verb)
            if handler:
                HANDLERS[method] = handler
