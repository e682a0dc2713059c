"""Every resource is valid for the Kubernetes API or for Google's provider."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re

import kubernetes_validate
import pulumi_gcp as gcp
import pytest

from tests.stacks.custom_resources import problems
from tests.stacks.deployments import all_deployments
from tests.stacks.recording import Registered, seen

pytestmark = pytest.mark.slow  # every object of many deployments against large schemas

VERSIONS = ("1.37.0", "1.36.0", "1.35.0")  # the newest three that the package supports
TYPED = {"core", "apps", "autoscaling", "batch", "policy", "rbac.authorization.k8s.io", "networking.k8s.io"}
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@pytest.fixture(scope="module", params=all_deployments())
def resources(request: pytest.FixtureRequest) -> list[Registered]:
    return seen(request.param).resources


def objects(resources: list[Registered]) -> list[Registered]:
    """Return the objects that the stack itself makes; a chart is none."""
    return [
        resource for resource in resources if resource.type.startswith("kubernetes:") and "metadata" in resource.inputs
    ]


def pods(resource: Registered) -> list[dict]:
    """Return the pods of a workload, with the labels that its controller adds; none of another resource."""
    if resource.type.endswith(":Deployment"):
        return [resource["spec.template"]]
    if resource.type.endswith(":LeaderWorkerSet"):
        parts = [resource[f"spec.leaderWorkerTemplate.{part}Template"] for part in ("leader", "worker")]
        index = "leaderworkerset.sigs.k8s.io/worker-index"
        return [
            pod | {"metadata": {"labels": pod["metadata"]["labels"] | {index: str(number)}}}
            for number, pod in enumerate(parts)
        ]
    return []


def test_every_kubernetes_object_is_valid_strictly_for_the_newest_three_versions(resources) -> None:
    for resource in objects(resources):
        if resource.type.split(":")[1].partition("/")[0] in TYPED:
            _is_valid(json.dumps(resource.inputs))


def test_every_custom_object_is_valid_for_its_published_definition(resources) -> None:
    for resource in objects(resources):
        if resource.type.split(":")[1].partition("/")[0] not in TYPED:
            assert problems(resource.inputs) == [], resource.urn


@functools.cache
def _is_valid(text: str) -> None:
    """Validate one object; most are the same in every deployment."""
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(text), version, strict=True)


def test_the_versions_are_the_newest_supported() -> None:
    assert kubernetes_validate.latest_version().startswith(VERSIONS[0].rpartition(".")[0])


def test_every_object_has_a_fixed_name_and_the_part_of_label(resources) -> None:
    for resource in objects(resources):
        metadata = resource["metadata"]
        assert NAME.fullmatch(metadata["name"]), "a generated name would change"
        if resource.type.split(":")[1].partition("/")[0] in TYPED:
            assert metadata["labels"]["app.kubernetes.io/part-of"] == "hybrid-chat"


def test_each_selector_matches_the_pods_of_one_workload(resources) -> None:
    workloads = [[pod["metadata"]["labels"] for pod in pods(r)] for r in resources if pods(r)]
    for resource in objects(resources):
        kind = resource.type.rpartition(":")[2]
        if kind == "Service":
            selector = resource["spec.selector"]
        elif kind in {"Deployment", "PodDisruptionBudget", "PodMonitoring"}:
            selector = resource["spec.selector.matchLabels"]
        else:
            continue
        found = [[labels for labels in each if selector.items() <= labels.items()] for each in workloads]
        assert len([each for each in found if each]) == 1, resource.urn
        assert kind != "Service" or sum(map(len, found)) == 1, "of a group, the leader alone answers"


def test_every_container_is_restricted_and_has_limits_and_probes(resources) -> None:
    for pod, answers in ((each["spec"], number == 0) for r in resources for number, each in enumerate(pods(r))):
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert answers is ({"startupProbe", "readinessProbe", "livenessProbe"} <= set(container))
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_google_input_exists_and_no_required_one_is_missing(resources) -> None:
    for resource in resources:
        if resource.type.startswith("gcp:"):
            _check(resource.inputs, _arguments(resource.type), resource.urn)


def _arguments(token: str) -> type:
    """Return the class of a resource's arguments: gcp:firestore/field:Field -> gcp.firestore.FieldArgs."""
    module, kind = re.fullmatch(r"gcp:(\w+)/\w+:(\w+)", token).groups()
    return getattr(getattr(gcp, module), f"{kind}Args")


def _check(inputs: dict, arguments: type, where: str) -> None:
    properties = _properties(arguments)
    unknown = set(inputs) - set(properties)
    assert not unknown, f"{where}: {arguments.__name__} has no {unknown}"
    missing = {name for name, (_, required) in properties.items() if required} - set(inputs)
    assert not missing, f"{where}: {arguments.__name__} needs {missing}"
    for name, value in inputs.items():
        nested = properties[name][0]
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and nested is not None:
                _check(item, nested, f"{where}.{name}")


@functools.cache
def _properties(arguments: type) -> dict[str, tuple[type | None, bool]]:
    """Return camelCase name -> (class of a nested value, whether it is required)."""
    parameters = inspect.signature(arguments.__init__).parameters
    module = inspect.getmodule(arguments)
    properties = {}
    for python_name, parameter in parameters.items():
        if python_name == "__self__":
            continue
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), python_name)
        nested = re.search(r"'(\w+Args)'", str(parameter.annotation))
        inner = getattr(module, nested[1], None) if nested else None
        if nested and inner is None:
            inner = getattr(importlib.import_module("._inputs", module.__package__), nested[1])
        properties[camel] = (inner, parameter.default is inspect.Parameter.empty)
    return properties


class TestTheCheck:
    def test_finds_a_misspelled_argument(self) -> None:
        with pytest.raises(AssertionError, match=r"has no {'deletionProtecton'}"):
            _check({"deletionProtecton": False}, gcp.container.ClusterArgs, "cluster")

    def test_finds_a_misspelled_nested_argument(self) -> None:
        with pytest.raises(AssertionError, match=r"has no {'chanel'}"):
            _check({"releaseChannel": {"chanel": "RAPID"}}, gcp.container.ClusterArgs, "cluster")

    def test_finds_a_missing_argument(self) -> None:
        with pytest.raises(AssertionError, match=r"needs {'locationId'}"):
            _check({"type": "FIRESTORE_NATIVE"}, gcp.firestore.DatabaseArgs, "database")
