"""What an update waits for, and what to look at when it waited in vain.

Pulumi's annotation `pulumi.com/waitFor` replaces its own waiting
(https://github.com/pulumi/pulumi-kubernetes/blob/master/CHANGELOG.md, 4.18.4 and 4.24.0).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# "timed out waiting for the condition", and of Pulumi's own waiting "'NAME' timed out waiting to be Ready".
_TIMED_OUT = "timed out waiting"


def all_replicas_ready(replicas: int) -> dict[str, str]:
    """Return the annotation of a Deployment with the strategy Recreate, whose new pods are to be ready.

    Pulumi's own waiting may end before the first new pod exists: while the old ones stop, the Deployment still has the
    old revision, with no replica left that is not ready. It then reports success for an image that cannot be pulled
    (seen in 2 of 4 tries). Kubernetes counts `updatedReplicas` of the new revision only, and Pulumi compares the
    observed generation.
    """
    return _wait_for(*(f"jsonpath={{.status.{count}}}={replicas}" for count in ("updatedReplicas", "readyReplicas")))


def condition(kind: str) -> dict[str, str]:
    """Return the annotation of an object that is to have a condition, for itself or for one of its parents.

    Conditions are in ``status.conditions``, ``status.ancestors`` or ``status.parents``. One that was set for an earlier
    version of the object does not count. The path is RFC 9535's; it was tried with github.com/theory/jsonpath 0.12,
    which Pulumi's provider uses.
    """
    is_current = "(@.observedGeneration==$.metadata.generation || !@.observedGeneration)"
    return _wait_for(f"jsonpath={{.status..conditions[?(@.type=='{kind}' && @.status=='True' && {is_current})].type}}")


def _wait_for(*expressions: str) -> dict[str, str]:
    return {"pulumi.com/waitFor": json.dumps(expressions) if len(expressions) > 1 else expressions[0]}


def advice(resource_type: str, inputs: Mapping[str, Any], error: str) -> str | None:
    """Return where the reason is, if an object did not become ready in time; `None`: another error.

    Args:
        resource_type: Pulumi's token, such as ``kubernetes:apps/v1:Deployment``.
        inputs: of the resource.
        error: the provider's message.
    """
    if _TIMED_OUT not in error or not resource_type.startswith("kubernetes:"):
        return None
    metadata = inputs.get("metadata") or {}
    kubectl = f"kubectl --namespace {metadata.get('namespace', 'hybrid-chat')} describe"
    kind, name = str(inputs.get("kind") or resource_type.rpartition(":")[2]), metadata.get("name", "")
    if kind == "Deployment":
        app = (metadata.get("labels") or {}).get("app", "gradio-chat")
        return f"The pods of {name} did not become ready in time. The reason is in: {kubectl} pods --selector app={app}"
    hint = ""
    if kind == "GCPBackendPolicy" and "iap" in ((inputs.get("spec") or {}).get("default") or {}):
        hint = (
            ". If it says that Identity-Aware Proxy needs a client, create one and set oauthClientId and "
            "oauthClientSecret (docs/deploy.md, Who gets in)"
        )
    return f"GKE did not accept {name} in time. The reason is in: {kubectl} {kind.lower()} {name}{hint}"
