"""The pins are complete, agree with each other, and name no package index."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stacks.settings import Settings

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
COMPILED = sorted(path.stem for path in REQUIREMENTS.glob("*.in"))


def required(name: str) -> set[str]:
    """Return the packages that NAME.in lists, with those of the files that it includes."""
    names = set()
    for line in (REQUIREMENTS / f"{name}.in").read_text().splitlines():
        if included := re.fullmatch(r"-r (\w+)\.in", line):
            names |= required(included[1])
        elif line and not line.startswith("#"):
            names.add(canonicalize_name(Requirement(line).name))
    return names


def pins(name: str) -> dict[str, set[tuple[str, str]]]:
    """Return each package of NAME.txt with its pins: a version, and the marker that says where it applies."""
    pinned: dict[str, set[tuple[str, str]]] = {}
    text = (REQUIREMENTS / f"{name}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=sha256:", line)
        assert hashes, f"no hash: {line}"
        assert all(re.fullmatch(r"[0-9a-f]{64}\s*", digest) for digest in hashes), line
        parsed = Requirement(requirement)
        (specifier,) = parsed.specifier
        assert specifier.operator == "==", line
        pinned.setdefault(canonicalize_name(parsed.name), set()).add((specifier.version, str(parsed.marker or "")))
    return pinned


@pytest.mark.parametrize("name", COMPILED)
def test_every_requirement_is_pinned_with_its_hashes(name):
    assert required(name) <= pins(name).keys()


@pytest.mark.parametrize("name", sorted({*COMPILED} - {"embedded", "uv", "vllm"}))
def test_every_dependency_of_a_pinned_package_is_pinned(name):
    """The pins are installed with --no-deps.

    Left out: the demo model, whose dependencies are left out on purpose, and vLLM, which is not installed here.
    """
    pinned = pins(name)
    queue = [(package, "") for package in required(name)]
    seen = set(queue)
    while queue:
        package, extra = queue.pop()
        for dependency in map(Requirement, requires(package) or ()):
            if dependency.marker is None or dependency.marker.evaluate({"extra": extra}):
                dependency_name = canonicalize_name(dependency.name)
                assert dependency_name in pinned, f"{package} needs {dependency}"
                new = {(dependency_name, one) for one in ("", *dependency.extras)} - seen
                seen |= new
                queue += new
    assert len(seen) > len(required(name))


def test_uv_has_no_dependencies():
    assert not requires("uv")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["chat", "uv"])
def test_tests_run_with_the_versions_that_people_run(name):
    assert pins(name) == {package: pins("dev")[package] for package in pins(name)}


def test_versions_that_the_stack_shares_with_dev_agree():
    stack, dev = pins("stack"), pins("dev")
    shared = stack.keys() & dev.keys()
    assert shared
    assert {name: stack[name] for name in shared} == {name: dev[name] for name in shared}


def test_a_workstation_runs_the_vllm_that_the_stack_deploys():
    image = Settings.model_fields["gemma_image"].default
    assert pins("vllm")["vllm"] == {(image.rpartition(":v")[2], "")}


def test_no_file_names_a_package_index():
    for path in [*REQUIREMENTS.glob("*.in"), *REQUIREMENTS.glob("*.txt"), ROOT / "requirements.txt"]:
        assert not re.search(r"://|^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", path.read_text(), re.MULTILINE), (
            path
        )


@pytest.mark.slow
def test_pip_accepts_the_requirements_of_pulumis_toolchain():
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-r", "requirements.txt"]
    result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    releases = (release.rpartition("-") for release in result.stdout.splitlines()[-1].split()[2:])
    would_install = {canonicalize_name(name): version for name, _, version in releases}
    assert {name: {(version, "")} for name, version in would_install.items()}.items() <= pins("stack").items()
    assert {"pulumi", "pulumi-gcp"} <= would_install.keys()
