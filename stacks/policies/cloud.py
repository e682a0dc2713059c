"""Rules for Google Cloud: IAM roles, and what `pulumi destroy` leaves behind."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .properties import UNKNOWN, at, items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .properties import Resource

# IAMMember of a project, BucketIAMBinding, RepositoryIamPolicy ...: most services have their own.
_IAM = re.compile(r"\w*I[aA][mM](Member|Binding|Policy)")

_BASIC = {f"roles/{name}" for name in ("owner", "editor", "viewer", "admin", "writer", "reader")}
_IMPERSONATION = {
    f"roles/iam.{name}"
    for name in (
        "serviceAccountAdmin",
        "serviceAccountKeyAdmin",
        "serviceAccountOpenIdTokenCreator",
        "serviceAccountTokenCreator",
        "serviceAccountUser",
        "workloadIdentityUser",
    )
}
# Permissions of custom roles that lead to others.
_ESCALATING = re.compile(
    r".+\.setIamPolicy|iam\.roles\.(create|update)|iam\.serviceAccountKeys\.create"
    r"|iam\.serviceAccounts\.(actAs|getAccessToken|getOpenIdToken|implicitDelegation|signBlob|signJwt)"
)
_PUBLIC = {"allUsers", "allAuthenticatedUsers"}
# The owner's choice with allowedPeople *: everyone who signs in with a Google account may open the chat.
_CHOSEN = {("roles/iap.httpsResourceAccessor", "allAuthenticatedUsers")}

# Type -> (property, allowed values with `None` for "not set", the consequence of another value).
_DELETION: dict[str, tuple[tuple[str, tuple[object, ...], str], ...]] = {
    "gcp:firestore/database:Database": (
        ("deletionPolicy", ("DELETE",), "the database, its conversations and its cost would outlive the stack"),
        (
            "deleteProtectionState",
            ("DELETE_PROTECTION_DISABLED", "DELETE_PROTECTION_STATE_UNSPECIFIED", None),
            "Google would refuse to delete the database",
        ),
    ),
    "gcp:container/cluster:Cluster": (
        ("deletionProtection", (False,), "the cluster could not be deleted, and would go on costing money"),
    ),
    "gcp:storage/bucket:Bucket": (("forceDestroy", (True,), "a bucket with one object in it could not be deleted"),),
    "gcp:projects/service:Service": (
        ("disableOnDestroy", (False,), "the API would be disabled for everything else in the project"),
    ),
}


def no_broad_role(resource: Resource) -> Iterator[str]:
    """No role is basic, or allows impersonation or other roles, so that a compromised account stays contained."""
    for role, _ in _bindings(resource):
        if role in _BASIC:
            yield (
                f"{resource} grants {role}, a basic role for all of Google Cloud: an attacker who takes over its "
                "member could use everything; grant a predefined role of the one service that is needed."
            )
        if role in _IMPERSONATION:
            yield (
                f"{resource} grants {role}, a role for impersonating a service account: its member gets that account's "
                "roles in addition to its own; grant the member the roles that it needs."
            )
    if resource.package == "gcp" and resource.kind == "IAMCustomRole":
        for permission in items(resource.inputs, "permissions"):
            if permission is not UNKNOWN and _ESCALATING.fullmatch(permission):
                yield (
                    f"{resource} allows {permission}, with which its members can give themselves other roles: leave it "
                    "out of the custom role."
                )


def no_public_member(resource: Resource) -> Iterator[str]:
    """No role is granted to the public, because anyone on the internet could then use it at the owner's cost."""
    for role, members in _bindings(resource):
        for member in members:
            if member in _PUBLIC and (role, member) not in _CHOSEN:
                yield (
                    f"{resource} grants {role} to {member}, which is anyone on the internet: name the users, groups or "
                    "service accounts that need it."
                )


def destroy_removes_it(resource: Resource) -> Iterator[str]:
    """`pulumi destroy` deletes what the stack created and nothing else, so that no resource keeps costing money."""
    for name, allowed, consequence in _DELETION.get(resource.type, ()):
        value = at(resource.inputs, name)
        if value is not UNKNOWN and value not in allowed:
            current = "not set" if value is None else json.dumps(value)
            yield (
                f"{resource} has {name} {current}: at `pulumi destroy` {consequence}; set it to "
                f"{json.dumps(allowed[0])}."
            )


def _bindings(resource: Resource) -> Iterator[tuple[Any, list[Any]]]:
    """Yield (role, members) of an IAM resource; nothing for another resource."""
    if resource.package != "gcp" or not _IAM.fullmatch(resource.kind):
        return
    if resource.kind.endswith("Policy"):
        for binding in items(_policy(at(resource.inputs, "policyData")), "bindings"):
            yield at(binding, "role"), items(binding, "members")
    else:
        role, member = at(resource.inputs, "role"), at(resource.inputs, "member")
        yield role, [*items(resource.inputs, "members"), *([] if member is None else [member])]


def _policy(document: Any) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(document) if isinstance(document, str) else document
    except ValueError:
        return None  # Google rejects it, with a better message
