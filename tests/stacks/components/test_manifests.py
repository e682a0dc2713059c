"""Documents of manifests/ are read, validated and applied unchanged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pytest
import yaml

from gemma.profiles import PROFILES
from stacks.components.manifests import FOLDER, InvalidManifest, Manifest, apply_manifest
from tests.stacks.recording import run

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\nspec: {size: 1}\n"

WRONG = {
    "not YAML": ("a: [", "manifests/x.yaml is not YAML"),
    "empty": ("# nothing\n", "manifests/x.yaml has no document"),
    "a list": ("- a\n", "document 1: it is not a mapping"),
    "without a kind": (GOOD.replace("kind: Thing\n", ""), "document 1: kind is missing"),
    "without a version": (GOOD.replace("apiVersion: example.org/v1\n", ""), "document 1: apiVersion is missing"),
    "without a name": (GOOD.replace("name: a", ""), "document 1: metadata.name is missing"),
    "without a spec": (GOOD.replace("spec: {size: 1}", ""), "document 1: spec is missing"),
    "with another key": (GOOD + "data: {}\n", "document 1: data cannot be applied: only metadata and spec can"),
    "with an invalid second document": (f"{GOOD}---\nkind: Thing\n", "document 2: apiVersion is missing"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG.keys())
def test_an_invalid_file_is_rejected_with_its_name_and_the_reason(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InvalidManifest, match=r"manifests/x\.yaml") as error:
        Manifest.read("x.yaml", tmp_path)
    assert message in str(error.value)


def test_a_missing_file_is_rejected_with_its_name() -> None:
    with pytest.raises(InvalidManifest, match=r"manifests/none.yaml cannot be read \(No such file or directory\)"):
        Manifest.read("none.yaml")


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_every_file_is_valid_and_used(file: str) -> None:
    assert Manifest.read(file).name
    files = [path for folder in ("stacks", "gemma") for path in (FOLDER.parent / folder).rglob("*.py")]
    program = "".join(path.read_text(encoding="utf-8") for path in files)
    assert file in program, "nothing applies it"


def test_each_document_becomes_a_resource_in_the_namespace(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"{GOOD}---\n{GOOD.replace('name: a', 'name: b')}")
    deployed = run(
        lambda: apply_manifest(
            Manifest.read("x.yaml", tmp_path), parent=pulumi.ComponentResource("t:t:T", "t"), namespace="here"
        )
    )
    things = deployed.of_type("Thing")
    assert sorted((t["metadata.name"], t["metadata.namespace"], t["spec.size"]) for t in things) == [
        ("a", "here", 1),
        ("b", "here", 1),
    ]


@pytest.mark.parametrize("name", PROFILES)
def test_a_compute_class_offers_the_profiles_gpu_first_and_on_demand_only_where_it_is_sold(name: str) -> None:
    profile = PROFILES[name]
    manifest = yaml.safe_load((FOLDER / profile.compute_class).read_text(encoding="utf-8"))
    assert manifest["metadata"]["name"] == f"gemma-{name}"
    priorities = manifest["spec"]["priorities"]
    assert (priorities[0]["gpu"]["type"], priorities[0]["gpu"]["count"]) == (profile.accelerator, profile.gpus)
    assert {priority["gpu"]["count"] for priority in priorities} == {profile.gpus}
    on_demand = [p for p in priorities if "flexStart" not in p and not p.get("spot")]
    assert bool(on_demand) is profile.on_demand
    others = [number for number, p in enumerate(priorities) if p["gpu"]["type"] != profile.accelerator]
    assert not others or others == [len(priorities) - 1], "a dearer GPU is the last way"
