"""Every object is one that the Kubernetes API, Google's provider and the chat itself accept."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import re

import kubernetes_validate
import pulumi_gcp as gcp
import pytest

from chatapp.config import settings as chat
from stacks.components.gpu_profiles import PROFILES
from tests.stacks.recording import Registered, seen

pytestmark = pytest.mark.slow  # every object of many deployments against large schemas

GCP = {"gcp:project": "my-proj-1"}
TOKEN = {"huggingFaceToken": "hf_abcdefghij"}
CLIENT = {"oauthClientId": "12-ab.apps.googleusercontent.com", "oauthClientSecret": "GOCSPX-secret"}
VERSIONS = ("1.37.0", "1.36.0", "1.35.0")  # the newest three that the package knows
DEPLOYMENTS = {
    **{f"gcp {profile}": GCP | TOKEN | {"gemma": profile} for profile in PROFILES},
    "gcp without Gemma": GCP | {"gemma": "none", "retentionDays": "30"},
    "gcp with a fallback": GCP | {"gpuFallback": "true"},
    "gcp, own sign-in, limits": GCP
    | CLIENT
    | {
        "allowedPeople": "ann@example.org example.com",
        "guests": "true",
        "cloudArmor": "true",
        "messagesPerMinute": "9",
        "tokensPerDay": "90000",
        "costPerDay": "0.5",
        "allTokensPerDay": "1000000",
        "allCostPerDay": "20",
    },
    "gcp, own name, own client of IAP": GCP | CLIENT | {"identity": "iap", "domain": "chat.example.org"},
    "gcp, everybody": GCP | {"identity": "anonymous"},
    "gcp, unencrypted": GCP | {"exposure": "public-http"},
    "gcp, private, image built by Docker": GCP | {"exposure": "private", "image": "docker"},
    "kubernetes": {"platform": "kubernetes", "image": "example.org/chat:1", "storageClass": "fast"},
    "kubernetes, public, GPUs": {"platform": "kubernetes", "exposure": "public-http", "gemma": "l4x4"} | TOKEN,
    "kubernetes, keys": {
        "platform": "kubernetes",
        "geminiApiKey": "AIza",
        "gemmaUrl": "http://x:1",
        "gemmaApiKey": "k",
    },
}
TYPED = {"core", "apps", "policy", "rbac.authorization.k8s.io", "networking.k8s.io"}
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


@pytest.fixture(scope="module", params=DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())
def resources(request: pytest.FixtureRequest) -> list[Registered]:
    return seen(request.param).resources


def objects(resources: list[Registered]) -> list[Registered]:
    return [resource for resource in resources if resource.type.startswith("kubernetes:")]


def test_every_kubernetes_object_is_valid_strictly_for_the_newest_three_versions(resources) -> None:
    for resource in objects(resources):
        if resource.type.split(":")[1].partition("/")[0] in TYPED:
            _is_valid(json.dumps(resource.inputs))


@functools.cache
def _is_valid(text: str) -> None:
    """Check one object; most are the same in every deployment."""
    for version in VERSIONS:
        kubernetes_validate.validate(json.loads(text), version, strict=True)


def test_the_versions_are_the_newest_that_are_known() -> None:
    assert kubernetes_validate.latest_version().startswith(VERSIONS[0].rpartition(".")[0])


def test_every_object_has_a_name_of_its_own_and_says_what_it_is_part_of(resources) -> None:
    for resource in objects(resources):
        metadata = resource["metadata"]
        assert NAME.fullmatch(metadata["name"]), "a generated name would change"
        if resource.type.split(":")[1].partition("/")[0] in TYPED:
            assert metadata["labels"]["app.kubernetes.io/part-of"] == "hybrid-chat"


def test_selectors_find_their_pods_and_no_others(resources) -> None:
    pods = [r["spec.template.metadata.labels"] for r in resources if r.type.endswith(":Deployment")]
    for resource in objects(resources):
        kind = resource.type.rpartition(":")[2]
        if kind == "Service":
            selector = resource["spec.selector"]
        elif kind in {"Deployment", "PodDisruptionBudget", "PodMonitoring"}:
            selector = resource["spec.selector.matchLabels"]
        else:
            continue
        assert sum(selector.items() <= labels.items() for labels in pods) == 1, resource.urn


def test_every_container_is_confined_and_bounded_and_probed(resources) -> None:
    for resource in resources:
        if not resource.type.endswith(":Deployment"):
            continue
        pod = resource["spec.template.spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"] == container["resources"]["limits"]
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= set(container)
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_every_google_input_is_one_that_its_class_knows_with_all_that_it_requires(resources) -> None:
    for resource in resources:
        if resource.type.startswith("gcp:"):
            _check(resource.inputs, _arguments(resource.type), resource.urn)


def _arguments(token: str) -> type:
    """Return the class of a resource's arguments: gcp:firestore/field:Field -> gcp.firestore.FieldArgs."""
    module, kind = re.fullmatch(r"gcp:(\w+)/\w+:(\w+)", token).groups()
    return getattr(getattr(gcp, module), f"{kind}Args")


def _check(inputs: dict, arguments: type, where: str) -> None:
    known = _properties(arguments)
    unknown = set(inputs) - set(known)
    assert not unknown, f"{where}: {arguments.__name__} has no {unknown}"
    missing = {name for name, (_, required) in known.items() if required} - set(inputs)
    assert not missing, f"{where}: {arguments.__name__} needs {missing}"
    for name, value in inputs.items():
        nested = known[name][0]
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and nested is not None:
                _check(item, nested, f"{where}.{name}")


@functools.cache
def _properties(arguments: type) -> dict[str, tuple[type | None, bool]]:
    """Return camelCase name -> (class of a nested value, whether it is required)."""
    parameters = inspect.signature(arguments.__init__).parameters
    module = inspect.getmodule(arguments)
    found = {}
    for python_name, parameter in parameters.items():
        if python_name == "__self__":
            continue
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), python_name)
        nested = re.search(r"'(\w+Args)'", str(parameter.annotation))
        inner = getattr(module, nested[1], None) if nested else None
        if nested and inner is None:
            inner = getattr(importlib.import_module("._inputs", module.__package__), nested[1])
        found[camel] = (inner, parameter.default is inspect.Parameter.empty)
    return found


class TestTheCheckItself:
    def test_finds_a_misspelt_argument(self) -> None:
        with pytest.raises(AssertionError, match=r"has no {'deletionProtecton'}"):
            _check({"deletionProtecton": False}, gcp.container.ClusterArgs, "cluster")

    def test_finds_a_misspelt_nested_argument(self) -> None:
        with pytest.raises(AssertionError, match=r"has no {'chanel'}"):
            _check({"releaseChannel": {"chanel": "RAPID"}}, gcp.container.ClusterArgs, "cluster")

    def test_finds_what_is_missing(self) -> None:
        with pytest.raises(AssertionError, match=r"needs {'locationId'}"):
            _check({"type": "FIRESTORE_NATIVE"}, gcp.firestore.DatabaseArgs, "database")


def expected_identity(config: dict[str, str]) -> str:
    if "gcp:project" not in config or config.get("exposure", "https") != "https":
        return "anonymous"
    return config.get("identity", "google" if "oauthClientId" in config else "iap")


@pytest.mark.parametrize("config", DEPLOYMENTS.values(), ids=DEPLOYMENTS.keys())
def test_the_chat_understands_its_environment(
    config: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path
) -> None:
    from chatapp.domain.conversation import Place

    run = seen(config)
    deployment = run.one("Deployment", "gradio-chat-deployment")
    secrets = {r["metadata.name"]: r["stringData"] for r in run.of_type("Secret")}
    environment = {}
    for variable in deployment["spec.template.spec.containers.0.env"]:
        if "value" in variable:
            environment[variable["name"]] = variable["value"]
        else:
            reference = variable["valueFrom"]["secretKeyRef"]
            environment[variable["name"]] = secrets[reference["name"]][reference["key"]]
    monkeypatch.chdir(tmp_path)  # no .env
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = chat.load_settings()
    assert chat.unknown_settings(environment) == []
    ports = {port["name"]: port["containerPort"] for port in deployment["spec.template.spec.containers.0.ports"]}
    assert (settings.port, settings.metrics_port) == (ports["http"], ports["metrics"])
    assert str(settings.data_dir) == "/data"
    assert settings.identity == expected_identity(config)
    assert settings.shutdown_seconds < deployment["spec.template.spec.terminationGracePeriodSeconds"]
    if "gcp:project" in config:
        assert (settings.store, settings.firestore_database) == ("firestore", "chat-app-db")
        assert settings.google_cloud_project == "my-proj-1"
        assert settings.session_secret.get_secret_value()
        assert settings.retention_days == (30 if "retentionDays" in config else None)
    else:
        assert settings.store == "sqlite"
    if config.get("gemma", "auto") != "none" and ("gemma" in config or "gcp:project" in config):
        assert settings.gemma_url == "http://gemma-service.hybrid-chat.svc.cluster.local:8000"
        assert (settings.gemma_place, settings.gemma_images) == (Place.OWN_GPUS, True)
        assert settings.gemma_pods == "hybrid-chat/app=gemma"
    else:
        assert (settings.gemma_place, settings.gemma_images, settings.gemma_pods) == (None, None, "")
