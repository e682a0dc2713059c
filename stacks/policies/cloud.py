"""Rules for Google Cloud: who may do what, and what `pulumi destroy` leaves behind."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from .properties import UNKNOWN, at, items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .properties import Resource

# IAMMember of a project, BucketIAMBinding, RepositoryIamPolicy ...: one kind for nearly everything that Google has.
_IAM = re.compile(r"\w*I[aA][mM](Member|Binding|Policy)")

_PRIMITIVE = {f"roles/{name}" for name in ("owner", "editor", "viewer", "admin", "writer", "reader")}
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
_EVERYBODY = {"allUsers", "allAuthenticatedUsers"}

# Type -> (property, the values that are right, `None` being "not set", what happens otherwise).
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
        ("disableOnDestroy", (False,), "the API would be taken from everything else in the project"),
    ),
}


def no_broad_role(resource: Resource) -> Iterator[str]:
    """Nobody gets a role for everything or for acting as a service account, so that a break-in stays in one place."""
    for role, _ in _bindings(resource):
        if role in _PRIMITIVE:
            yield (
                f"{resource} grants {role}, a role for the whole of Google Cloud: whoever takes over its member could "
                "use everything there; grant a predefined role of the one service that is needed."
            )
        if role in _IMPERSONATION:
            yield (
                f"{resource} grants {role}, a role for acting as a service account: its member gets that account's "
                "rights on top of its own; grant the member itself what it needs."
            )


def no_public_member(resource: Resource) -> Iterator[str]:
    """Nobody without a name gets a role, because what everybody may do is done by strangers, at the owner's cost."""
    for role, members in _bindings(resource):
        for member in members:
            if member in _EVERYBODY:
                yield (
                    f"{resource} grants {role} to {member}, which is everybody on the internet: name the users, groups "
                    "or service accounts that need it."
                )


def destroy_removes_it(resource: Resource) -> Iterator[str]:
    """What the stack made goes with `pulumi destroy`, and nothing else, so that nothing goes on costing money."""
    for name, right, otherwise in _DELETION.get(resource.type, ()):
        value = at(resource.inputs, name)
        if value is not UNKNOWN and value not in right:
            is_now = "not set" if value is None else json.dumps(value)
            yield (
                f"{resource} has {name} {is_now}: at `pulumi destroy` {otherwise}; set it to {json.dumps(right[0])}."
            )


def _bindings(resource: Resource) -> Iterator[tuple[Any, list[Any]]]:
    """Yield (role, members) of a resource of IAM; none of another resource."""
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
        return None  # Google refuses it, in better words
