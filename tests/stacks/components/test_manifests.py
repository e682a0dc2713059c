"""Documents of manifests/ are read, checked and applied as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pytest
import yaml

from stacks.components.manifests import FOLDER, InvalidManifest, Manifest, applied
from tests.stacks.recording import run

if TYPE_CHECKING:
    from pathlib import Path

GOOD = "apiVersion: example.org/v1\nkind: Thing\nmetadata: {name: a}\nspec: {size: 1}\n"

WRONG = {
    "no YAML": ("a: [", "manifests/x.yaml is no YAML"),
    "empty": ("# nothing\n", "manifests/x.yaml holds no document"),
    "a list": ("- a\n", "document 1: it is no mapping"),
    "without a kind": (GOOD.replace("kind: Thing\n", ""), "document 1: kind is missing"),
    "without a version": (GOOD.replace("apiVersion: example.org/v1\n", ""), "document 1: apiVersion is missing"),
    "without a name": (GOOD.replace("name: a", ""), "document 1: metadata.name is missing"),
    "without a spec": (GOOD.replace("spec: {size: 1}", ""), "document 1: spec is missing"),
    "with something beside the spec": (GOOD + "data: {}\n", "document 1: data is not applied by this program"),
    "wrong in its second document": (f"{GOOD}---\nkind: Thing\n", "document 2: apiVersion is missing"),
}


@pytest.mark.parametrize(("text", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_is_refused_with_file_and_reason(text: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(InvalidManifest, match=r"manifests/x\.yaml") as refused:
        Manifest.read("x.yaml", tmp_path)
    assert sentence in str(refused.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(InvalidManifest, match=r"manifests/none.yaml cannot be read \(No such file or directory\)"):
        Manifest.read("none.yaml")


@pytest.mark.parametrize("file", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_every_file_is_good_and_used(file: str) -> None:
    assert Manifest.read(file).name
    program = "".join(path.read_text(encoding="utf-8") for path in (FOLDER.parent / "stacks").rglob("*.py"))
    assert file in program, "nothing applies it"


def test_each_document_becomes_a_resource_in_the_namespace(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text(f"{GOOD}---\n{GOOD.replace('name: a', 'name: b')}")
    deployed = run(
        lambda: applied(
            Manifest.read("x.yaml", tmp_path), parent=pulumi.ComponentResource("t:t:T", "t"), namespace="here"
        )
    )
    things = deployed.of_type("Thing")
    assert sorted((t["metadata.name"], t["metadata.namespace"], t["spec.size"]) for t in things) == [
        ("a", "here", 1),
        ("b", "here", 1),
    ]


def test_two_l4_are_asked_for_where_two_are_needed() -> None:
    priorities = yaml.safe_load((FOLDER / "compute-class-l4x2.yaml").read_text(encoding="utf-8"))["spec"]["priorities"]
    assert {priority["gpu"]["count"] for priority in priorities} == {2}
