"""A real API server admits what the stack makes: no unknown field, no invalid value, no pod that is not restricted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.api_server import ApiServer, Refused, path_of, programs
from tests.stacks.deployments import DEPLOYMENTS, MORE_DEPLOYMENTS, SEVERAL_MACHINES
from tests.stacks.recording import seen

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine
BUILT_IN = ("v1", "apps/v1", "autoscaling/v2", "batch/v1", "policy/v1", "networking.k8s.io/v1")
BUILT_IN += ("rbac.authorization.k8s.io/v1", "scheduling.k8s.io/v1")


def objects() -> list[dict[str, Any]]:
    """Return each object of the kinds that every cluster has, once, the namespaces first."""
    found = {
        repr(resource.inputs): resource.inputs
        for config in (*DEPLOYMENTS.values(), *MORE_DEPLOYMENTS.values())
        for resource in seen(config).resources
        if resource.type.startswith("kubernetes:") and resource.inputs.get("apiVersion") in BUILT_IN
    }
    return sorted(found.values(), key=lambda each: each["kind"] != "Namespace")


async def test_every_object_and_every_pod_of_the_stack_is_admitted(tmp_path: Path) -> None:
    made = await asyncio.to_thread(objects)  # Pulumi runs an event loop of its own
    assert len([each for each in made if each["kind"] == "Namespace"]) == len(("the stack's", "the controller's"))
    group = (await asyncio.to_thread(seen, SEVERAL_MACHINES)).one("LeaderWorkerSet").inputs
    template = group["spec"]["leaderWorkerTemplate"]
    made += [pod(group, template[f"{part}Template"]) for part in ("leader", "worker")]
    wrong: list[str] = []
    pods = 0
    async with ApiServer(tmp_path, programs()) as server:
        for each in made:
            if each["kind"] == "Namespace":
                await server.create(each)
                continue
            has_pods = each["kind"] in {"Deployment", "Job"}
            pods += has_pods
            for thing in [each, pod(each, each["spec"]["template"])] if has_pods else [each]:
                try:
                    await server.create(thing, dryRun="All")
                except Refused as error:
                    wrong.append(f"{thing['kind']} {each['metadata']['name']}: {error}")
        gemma = next(each for each in made if each["kind"] == "Deployment")
        privileged = pod(gemma, {"spec": {"containers": [{"name": "a", "image": "a"}]}})
        with pytest.raises(Refused, match="unknown field"):
            await server.create(gemma | {"nonsense": 1}, dryRun="All")
        with pytest.raises(Refused, match="violates PodSecurity"):
            await server.request("POST", path_of(privileged), privileged, dryRun="All")
    assert wrong == []
    assert pods >= len(("chat", "Gemma", "the Job of the weights", "the endpoint picker"))


def pod(owner: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
    """Return a pod as the controller of a Deployment or Job would make it."""
    metadata = template.get("metadata", {}) | {"namespace": owner["metadata"]["namespace"], "name": "one"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
