"""Every container image that a deployment runs or builds with is pinned by its digest, or is an exception here."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from stacks.policies.containers import Container, in_pod
from stacks.policies.properties import Resource
from tests.stacks.deployments import DEPLOYMENTS, KUBERNETES
from tests.stacks.recording import ROOT, seen

if TYPE_CHECKING:
    from collections.abc import Iterator

PINNED = re.compile(r"[^@\s]+@sha256:[0-9a-f]{64}")
EXCEPTIONS = {
    "vllm/vllm-openai:v0.33.0": "no public source of its digest was found; SECURITY.md says how to add it",
    "ghcr.io/llm-d/llm-d-router-endpoint-picker:v0.9.0": "as above",
    KUBERNETES["image"]: "the operator's own image, which is named in the settings of these tests",
}


def _images(config: dict[str, str]) -> Iterator[str]:
    deployed = seen(config)
    for resource in deployed.resources:
        containers: Iterator[Container] = in_pod(Resource(resource.type, resource.name, resource.inputs))
        yield from (container.inputs["image"] for container in containers)
    for command in deployed.of_type("Command"):
        build = json.loads(command.inputs.get("environment", {}).get("BUILD", "{}"))
        yield from (step["name"] for step in build.get("steps", []))


@pytest.mark.slow
@pytest.mark.parametrize("config", [pytest.param(config, id=name) for name, config in DEPLOYMENTS.items()])
def test_a_deployment_runs_and_builds_with_pinned_images_only(config: dict[str, str]) -> None:
    images = set(_images(config))
    assert images
    # An image that this deployment builds on the same machine has no digest, and is not pulled.
    own = {image for image in images if re.fullmatch(r"hybrid-chat:[0-9a-f]{16}", image)}
    assert {image for image in images - own if not PINNED.fullmatch(image)} <= set(EXCEPTIONS)


def test_no_manifest_names_an_image_of_its_own() -> None:
    for path in (ROOT / "manifests").glob("*.yaml"):
        assert not re.search(r"^\s*image:", path.read_text(), re.MULTILINE), path.name


def test_the_dockerfile_builds_on_pinned_images_only() -> None:
    text = (ROOT / "chatapp/Dockerfile").read_text()
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    for base in bases:
        assert PINNED.fullmatch(re.sub(r"\$\{(\w+)\}", lambda name: arguments[name[1]], base)), base


def test_each_exception_is_in_use() -> None:
    used = {image for config in DEPLOYMENTS.values() for image in _images(config)}
    assert set(EXCEPTIONS) <= used
