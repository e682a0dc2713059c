"""IAM policies: read, changed with an etag, and checked for members and roles that do not exist."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from tests.fakes.google_cloud import errors
from tests.fakes.google_cloud.cloud import HANDLERS

if TYPE_CHECKING:
    from tests.fakes.google_cloud.cloud import Cloud
    from tests.fakes.google_cloud.routing import Call

Json = dict[str, Any]
_OUTSIDE = ("projects/", "b/")


def policy_of(cloud: Cloud, call: Call) -> Json:
    """Return a resource's policy."""
    return copy.deepcopy(cloud.policies.get(_key(cloud, call), {"version": 3, "etag": "0", "bindings": []}))


def set_policy(cloud: Cloud, call: Call) -> Json:
    """Set a resource's policy.

    Raises:
        ApiError: it was changed since it was read, or names what does not exist.
    """
    key = _key(cloud, call)
    policy: Json = copy.deepcopy(call.body if call.api == "storage.v1" else call.body["policy"])
    before = cloud.policies.get(key, {"etag": "0", "bindings": []})
    if policy.get("etag", before["etag"]) != before["etag"]:
        raise errors.aborted(
            "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."
        )
    for binding in policy.get("bindings", ()):
        _check_role(cloud, binding["role"])
        for member in binding["members"]:
            _check_member(cloud, call, member)
            cloud.granted.setdefault((key, binding["role"], member), cloud.now)
    now = {(key, b["role"], m) for b in policy.get("bindings", ()) for m in b["members"]}
    for grant in [grant for grant in cloud.granted if grant[0] == key and grant not in now]:
        del cloud.granted[grant]
    policy["etag"] = str(int(before["etag"]) + 1)
    cloud.policies[key] = policy
    return copy.deepcopy(policy)


def has_role(cloud: Cloud, key: str, role: str, member: str) -> bool:
    """Return whether a member has a role on a resource, granted long enough ago."""
    since = cloud.granted.get((key, role, member))
    return since is not None and cloud.now - since >= cloud.switches.role_seconds


def permissions(cloud: Cloud, call: Call) -> Json:
    """Return which of the permissions the caller has: all but those that are denied."""
    wanted = call.body.get("permissions", ())
    return {"permissions": [each for each in wanted if each not in cloud.switches.denied]}


def _key(cloud: Cloud, call: Call) -> str:
    key = f"{call.api}/{call.path}"
    is_project = call.api in {"cloudresourcemanager.v1", "iap.v1"}
    if not is_project and key not in cloud.resources:
        raise errors.not_found(call.path)
    return key


def _check_role(cloud: Cloud, role: str) -> None:
    if role.startswith("projects/") and f"iam.v1/{role}" not in cloud.resources:
        raise errors.invalid(f"Role {role} is not supported for this resource.")


def _check_member(cloud: Cloud, call: Call, member: str) -> None:
    pool = re.search(r"/workloadIdentityPools/([^/]+)/", member)
    if pool and f"iam.pool/{pool[1]}" not in cloud.resources:
        raise errors.invalid(f"Identity Pool does not exist ({pool[1]}). Please check that you specified a valid one.")
    account = re.fullmatch(rf"serviceAccount:(.+@{re.escape(cloud.project)}\.iam\.gserviceaccount\.com)", member)
    if account and f"iam.v1/projects/{cloud.project}/serviceAccounts/{account[1]}" not in cloud.resources:
        raise errors.invalid(f"Service account {account[1]} does not exist.")
    domains = cloud.switches.policies.get("iam.allowedPolicyMemberDomains")
    if domains and call.api == "iap.v1" and member.startswith(("user:", "domain:", "all")):
        raise errors.precondition(
            "One or more users named in the policy do not belong to a permitted customer, perhaps due to an "
            "organization policy."
        )


HANDLERS.update(
    {
        method: handler
        for api in (
            "cloudresourcemanager.projects",
            "iap",
            "artifactregistry.projects.locations.repositories",
            "storage.buckets",
        )
        for method, handler in ((f"{api}.getIamPolicy", policy_of), (f"{api}.setIamPolicy", set_policy))
    }
)
HANDLERS["cloudresourcemanager.projects.testIamPermissions"] = permissions
