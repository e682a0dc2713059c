"""The pins: complete, in agreement, and tied to no package index."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
REQUIREMENTS = ROOT / "requirements"
COMPILED = sorted(path.stem for path in REQUIREMENTS.glob("*.in"))


def wanted(name: str) -> set[str]:
    """Return the names that NAME.in asks for, in files that it includes too."""
    names = set()
    for line in (REQUIREMENTS / f"{name}.in").read_text().splitlines():
        if included := re.fullmatch(r"-r (\w+)\.in", line):
            names |= wanted(included[1])
        elif line and not line.startswith("#"):
            names.add(canonicalize_name(Requirement(line).name))
    return names


def pins(name: str) -> dict[str, set[tuple[str, str]]]:
    """Return for each package of NAME.txt its pins: a version, and where it counts."""
    found: dict[str, set[tuple[str, str]]] = {}
    text = (REQUIREMENTS / f"{name}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=sha256:", line)
        assert hashes, f"no hash: {line}"
        assert all(re.fullmatch(r"[0-9a-f]{64}\s*", digest) for digest in hashes), line
        parsed = Requirement(requirement)
        (specifier,) = parsed.specifier
        assert specifier.operator == "==", line
        found.setdefault(canonicalize_name(parsed.name), set()).add((specifier.version, str(parsed.marker or "")))
    return found


@pytest.mark.parametrize("name", COMPILED)
def test_everything_wanted_is_pinned_with_its_hashes(name):
    assert wanted(name) <= pins(name).keys()


@pytest.mark.parametrize("name", sorted({*COMPILED} - {"embedded"}))
def test_whatever_a_pinned_package_needs_is_pinned_too(name):
    """Since they are installed without their dependencies. (The demo model's are left out on purpose.)"""
    pinned = pins(name)
    to_see = [(package, "") for package in wanted(name)]
    seen = set(to_see)
    while to_see:
        package, extra = to_see.pop()
        for needed in map(Requirement, requires(package) or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                found = canonicalize_name(needed.name)
                assert found in pinned, f"{package} needs {needed}"
                new = {(found, one) for one in ("", *needed.extras)} - seen
                seen |= new
                to_see += new
    assert len(seen) > len(wanted(name))


def test_the_chat_is_tested_with_the_versions_that_it_runs_with():
    chat, dev = pins("chat"), pins("dev")
    assert chat == {name: dev[name] for name in chat}


def test_versions_that_the_stack_shares_with_the_checks_agree():
    stack, dev = pins("stack"), pins("dev")
    shared = stack.keys() & dev.keys()
    assert shared
    assert {name: stack[name] for name in shared} == {name: dev[name] for name in shared}


def test_nothing_ties_an_install_to_an_address():
    for path in [*REQUIREMENTS.glob("*.in"), *REQUIREMENTS.glob("*.txt"), ROOT / "requirements.txt"]:
        assert not re.search(r"://|^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", path.read_text(), re.MULTILINE), (
            path
        )


@pytest.mark.slow
def test_pip_accepts_what_pulumi_installs():
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "-r", "requirements.txt"]
    result = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    releases = (release.rpartition("-") for release in result.stdout.splitlines()[-1].split()[2:])
    would_install = {canonicalize_name(name): version for name, _, version in releases}
    assert {name: {(version, "")} for name, version in would_install.items()}.items() <= pins("stack").items()
    assert {"pulumi", "pulumi-gcp"} <= would_install.keys()
