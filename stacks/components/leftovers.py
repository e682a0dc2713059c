"""Advice about resources that an interrupted `up` created and did not record in the stack's state."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pulumi

from stacks.components import waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

# Helm says "cannot re-use a name that is still in use".
_EXISTS = re.compile(r"already ?exists|Error 409: .*exists|alreadyExists|name that is still in use", re.IGNORECASE)
DELETE_COMMANDS = {
    "gcp:container/cluster:Cluster": "gcloud container clusters delete {name} --region {location} --project {project}",
    "gcp:artifactregistry/repository:Repository": (
        "gcloud artifacts repositories delete {repositoryId} --location {location} --project {project}"
    ),
    "gcp:storage/bucket:Bucket": "gcloud storage rm --recursive gs://{name}",
    "gcp:serviceaccount/account:Account": (
        "gcloud iam service-accounts delete {accountId}@{project}.iam.gserviceaccount.com --project {project}"
    ),
    # The provider restores it from the deleted ones.
    "gcp:projects/iAMCustomRole:IAMCustomRole": "gcloud iam roles delete {roleId} --project {project}",
    "gcp:compute/network:Network": "gcloud compute networks delete {name} --project {project}",
    "gcp:compute/subnetwork:Subnetwork": (
        "gcloud compute networks subnets delete {name} --region {region} --project {project}"
    ),
    "gcp:compute/router:Router": "gcloud compute routers delete {name} --region {region} --project {project}",
    "gcp:compute/address:Address": "gcloud compute addresses delete {name} --region {region} --project {project}",
    "gcp:compute/globalAddress:GlobalAddress": ("gcloud compute addresses delete {name} --global --project {project}"),
    "gcp:compute/sSLPolicy:SSLPolicy": "gcloud compute ssl-policies delete {name} --project {project}",
    "gcp:compute/securityPolicy:SecurityPolicy": "gcloud compute security-policies delete {name} --project {project}",
    "gcp:compute/managedSslCertificate:ManagedSslCertificate": (
        "gcloud compute ssl-certificates delete {name} --global --project {project}"
    ),
}
"""Pulumi's type -> the command that deletes it; `{...}` are inputs of the resource."""
# What holds conversations is taken over, and never deleted. Type -> its ID for `pulumi import`.
_IMPORT = {
    "gcp:firestore/database:Database": "projects/{project}/databases/{name}",
    "kubernetes:core/v1:PersistentVolumeClaim": "{namespace}/{name}",
}


def advice(resource_type: str, urn: str, inputs: Mapping[str, Any], error: str) -> str | None:
    """Return how to go on where a resource exists that is not in the stack's state; `None`: another error.

    Args:
        resource_type: Pulumi's token, such as ``gcp:container/cluster:Cluster``.
        urn: of the resource.
        inputs: its inputs.
        error: the provider's message.
    """
    if not _EXISTS.search(error):
        return None
    values = dict(inputs)
    if resource_type.startswith("kubernetes:"):
        metadata = inputs.get("metadata") or {}
        values |= {"name": metadata.get("name", ""), "namespace": metadata.get("namespace", "")}
    name = urn.rpartition("::")[2]
    begin = f"{name} exists, and this stack has no record of it: most likely an earlier run was interrupted. "
    try:
        if resource_type in _IMPORT:
            parent = _parent(urn)
            identifier = _IMPORT[resource_type].format_map(values)
            return (
                f"{begin}It may hold conversations, so take it over: pulumi import {resource_type} {name} {identifier} "
                f"--parent parent={parent} (with --provider for an object in a cluster), then run make up again."
            )
        if resource_type == "kubernetes:helm.sh/v3:Release":
            command = f"helm uninstall {inputs['name']} --namespace {inputs['namespace']}"
            return f"{begin}If nothing else uses it: {command}, then make up again."
        if resource_type.startswith("kubernetes:"):
            kind = resource_type.rpartition(":")[2].lower()
            where = f"--namespace {values['namespace']} " if values["namespace"] else ""
            return f"{begin}If nothing else uses it: kubectl {where}delete {kind} {values['name']}, then make up again."
        if resource_type in DELETE_COMMANDS:
            command = DELETE_COMMANDS[resource_type].format_map(values)
            return f"{begin}If nothing else uses it: {command}, then run make up again."
    except KeyError:  # an input that is not known
        pass
    return f"{begin}docs/operate.md, After an interrupted run, says how to go on."


def leftover_hook(name: str) -> pulumi.ErrorHook:
    """Return a hook that logs `advice` of this module or of `waiting`, and retries nothing; `name` is unique."""

    def tell(failure: pulumi.ErrorHookArgs) -> bool:
        inputs, error = failure.new_inputs or {}, failure.errors[0]
        hint = advice(failure.type, failure.urn, inputs, error) or waiting.advice(failure.type, inputs, error)
        if hint:
            pulumi.log.error(hint)
        return False

    return pulumi.ErrorHook(name, tell)


def with_hook(hook: pulumi.ErrorHook, prefix: str) -> pulumi.ResourceTransformation:
    """Return a transformation that adds `hook` to each child whose type begins with `prefix` and that has none."""

    def add(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        if not args.type_.startswith(prefix) or (args.opts.hooks and args.opts.hooks.on_error):
            return None
        binding = pulumi.ResourceHookBinding(on_error=[hook])
        options = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(hooks=binding))
        return pulumi.ResourceTransformationResult(args.props, options)

    return add


def _parent(urn: str) -> str:
    """Return the URN of the component that a resource is in, which has the same name as in `HybridChat`."""
    head, chain, name = urn.rsplit("::", 2)
    kinds = chain.split("$")[:-1]
    component = {"ChatDatabase": "database", "ChatApp": "chat"}.get(kinds[-1].rpartition(":")[2], name) if kinds else ""
    return f"{head}::{'$'.join(kinds)}::{component}"
