"""Custom objects are checked against their definitions: each kind of mistake is reported."""

from __future__ import annotations

import datetime
import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.stacks.custom_resources import DOCUMENTED, FILE, SOURCES, definitions, problems, with_defaults
from tests.stacks.deployments import INFERENCE_GATEWAY, OWN_IAP_CLIENT, SEVERAL_MACHINES
from tests.stacks.recording import seen

if TYPE_CHECKING:
    from collections.abc import Callable

Json = dict[str, Any]


@pytest.fixture(scope="module")
def valid() -> dict[str, Json]:
    """Return kind -> an object that a deployment creates (of HTTPRoute, the one to the chat)."""
    # Of a kind that several have, the last one's.
    runs = [seen(INFERENCE_GATEWAY), seen(SEVERAL_MACHINES), seen(OWN_IAP_CLIENT)]
    documents = [resource.inputs for run in runs for resource in run.resources]
    redirect = "gradio-chat-redirect"
    return {
        document["kind"]: document
        for document in documents
        if document.get("kind") in kinds() and document["metadata"]["name"] != redirect
    }


def kinds() -> set[str]:
    return {kind.rpartition(" ")[2] for kind in [*SOURCES, *DOCUMENTED]}


@pytest.mark.slow
def test_a_deployment_has_an_object_of_each_defined_kind(valid: dict[str, Json]) -> None:
    assert set(valid) == kinds()
    for document in valid.values():
        assert problems(document) == []


def test_each_definition_names_its_source_and_date() -> None:
    data = json.loads(FILE.read_text(encoding="utf-8"))
    assert set(data) == {*SOURCES, *DOCUMENTED} == set(definitions())
    for kind, entry in data.items():
        assert kind in DOCUMENTED or SOURCES[kind].revision in entry["source"]
        assert datetime.date.fromisoformat(entry["date"]).year >= 2026


def test_what_was_worked_out_is_what_its_file_says() -> None:
    data = json.loads(FILE.read_text(encoding="utf-8"))
    for kind, file in DOCUMENTED.items():
        assert data[kind] == yaml.safe_load(FILE.with_name(file).read_text(encoding="utf-8"))
        assert "worked out" in data[kind]["note"]


@pytest.mark.parametrize("kind", sorted(kinds()))
def test_an_unknown_field_is_reported(kind: str, valid: dict[str, Json]) -> None:
    document = deepcopy(valid[kind])
    document["spec"]["timeoutSecs"] = 30
    assert any("timeoutSecs" in each for each in problems(document))


def _set(path: str, value: Any) -> Callable[[Json], None]:
    *parents, last = path.split(".")

    def change(spec: Any) -> None:
        for part in parents:
            spec = spec[int(part)] if part.isdigit() else spec[part]
        spec[last] = value

    return change


def _without(path: str) -> Callable[[Json], None]:
    *parents, last = path.split(".")

    def change(spec: Any) -> None:
        for part in parents:
            spec = spec[int(part)] if part.isdigit() else spec[part]
        del spec[last]

    return change


MISTAKES = [
    ("Gateway", _without("gatewayClassName"), "'gatewayClassName' is a required property"),
    ("Gateway", _set("listeners.1.port", 0), "spec.listeners[1].port"),
    ("Gateway", _set("listeners.1.protocol", "HTTP"), "tls must not be specified for protocols"),
    ("Gateway", _set("listeners.1.name", "http"), 'spec.listeners: ["http"] is repeated'),
    ("Gateway", _set("addresses.0.type", "named address"), "does not match"),
    ("HTTPRoute", _set("rules.0.filters", [{"type": "RequestRedirect"}]), "filter.requestRedirect must be specified"),
    ("HTTPRoute", _set("rules.0.matches", [{"path": {"value": "chat"}}]), "must be an absolute path"),
    ("HTTPRoute", _without("rules.0.backendRefs.0.port"), "Must have port for Service reference"),
    ("GCPBackendPolicy", _set("default.timeoutSec", "3600"), "spec.default.timeoutSec: '3600' is not of type"),
    ("GCPBackendPolicy", _set("default.iap.clientId", "1"), "clientId"),
    ("GCPBackendPolicy", _without("targetRef.kind"), "'kind' is a required property"),
    ("GCPGatewayPolicy", _set("default.sslPolicy", 1), "spec.default.sslPolicy"),
    ("HealthCheckPolicy", _set("default.config.type", "HTTPX"), "'HTTPX' is not one of"),
    ("HealthCheckPolicy", _without("default.config.httpHealthCheck.port"), "spec.default.config.httpHealthCheck"),
    ("HealthCheckPolicy", _set("default.config.tcpHealthCheck", {}), "spec.default.config"),
    ("InferencePool", _without("selector"), "'selector' is a required property"),
    ("InferencePool", _without("endpointPickerRef.port"), "port is required when kind is 'Service'"),
    ("InferencePool", _set("targetPorts", [{"number": 1}] * 2), "port number must be unique"),
    ("InferencePool", _set("endpointPickerRef.failureMode", "Open"), "'Open' is not one of"),
    ("LeaderWorkerSet", _set("leaderWorkerTemplate.restartPolicy", "Always"), "'Always' is not one of"),
    ("LeaderWorkerSet", _set("replicas", -1), "spec.replicas"),
    ("LeaderWorkerSet", _without("leaderWorkerTemplate.workerTemplate"), "'workerTemplate' is a required property"),
    ("LeaderWorkerSet", _set("leaderWorkerTemplate.leaderTemplate.spec.containers.0.cpu", "1"), "cpu"),
    ("PodMonitoring", _set("endpoints.0.interval", 30), "is not of type 'string'"),
    ("PodMonitoring", _set("endpoints.0.interval", "30 seconds"), "is not a 'duration'"),
    ("PodMonitoring", _set("endpoints.0.timeout", "1m"), "spec.endpoints[0]: "),
    ("PodMonitoring", _set("endpoints.0.port", 0), "Port is required"),
    ("AutoscalingMetric", _set("metrics.0.pod.containers.0.endpoint.port", "http"), "is not of type 'integer'"),
    ("AutoscalingMetric", _set("metrics.0.pod.containers.0.metrics.0.gauge.name", "vllm:waiting"), "does not match"),
    ("AutoscalingMetric", _without("metrics.0.pod.selector"), "'selector' is a required property"),
    ("AutoscalingMetric", _without("metrics.0.pod.containers.0.metrics.0.gauge"), "'gauge' is a required property"),
    ("ComputeClass", _set("priorities.1.spot", True), "spec.priorities[1]"),
    ("ComputeClass", _set("priorities.0.machineFamily", "g2"), "spec.priorities[0]"),
    ("ComputeClass", _set("priorities.0.gpu.driverVersion", "newest"), "is not one of"),
    ("ComputeClass", _set("priorities.1.maxRunDurationSeconds", "604800"), "is not of type 'integer'"),
]


@pytest.mark.parametrize(("kind", "mistake", "told"), MISTAKES)
def test_a_mistake_is_reported(kind: str, mistake: Callable[[Json], None], told: str, valid: dict[str, Json]) -> None:
    document = deepcopy(valid[kind])
    mistake(document["spec"])
    assert any(told in each for each in problems(document)), problems(document)


def test_durations_are_compared_as_times(valid: dict[str, Json]) -> None:
    document = deepcopy(valid["PodMonitoring"])
    document["spec"]["endpoints"][0] |= {"interval": "1m", "timeout": "9s"}
    assert problems(document) == []


def test_a_missing_field_with_a_default_is_no_mistake(valid: dict[str, Json]) -> None:
    document = deepcopy(valid["ComputeClass"])
    del document["spec"]["activeMigration"]["optimizeRulePriority"]  # required, and false by default
    assert problems(document) == []


def test_a_kind_without_a_definition_is_reported() -> None:
    (problem,) = problems({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute", "spec": {}})
    assert problem.startswith("gateway.networking.k8s.io/v1 GRPCRoute has no definition")


def test_defaults_are_filled_in_at_every_depth() -> None:
    schema = {
        "properties": {
            "list": {"items": {"properties": {"size": {"default": 3}}}},
            "map": {"additionalProperties": {"properties": {"size": {"default": 4}}}},
            "whole": {"default": {"size": 5}},
        }
    }
    value = {"list": [{}, {"size": 1}], "map": {"a": {}}}
    assert with_defaults(value, schema) == {
        "list": [{"size": 3}, {"size": 1}],
        "map": {"a": {"size": 4}},
        "whole": {"size": 5},
    }
    assert value == {"list": [{}, {"size": 1}], "map": {"a": {}}}
