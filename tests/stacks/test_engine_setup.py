"""`make engine` finds or gets each program; only fakes run here."""

from __future__ import annotations

import json
import shutil
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.stacks.engine_setup import PROVIDERS, ROOT, WITH_API_SERVER, WITH_PULUMI, main

# Logs its arguments; `go` makes what it is told to build.
PROGRAM = """#!/bin/sh
echo "${0##*/} $*" >>"$LOG"
case "${0##*/} $*" in
*"${FAIL:-nothing}"*) exit 1 ;;
"pulumi plugin ls"*) cat "$PLUGINS" ;;
"go mod download"*) echo "{\\"GoMod\\": \\"$GO_MOD\\"}" ;;
"go install"*) name=${2##*/}; name=${name%@*}; cp "$SELF" "$GOBIN/$name" ;;
"go build"*) case $3 in
    */) for it; do case $it in k8s.io/*) cp "$SELF" "$3${it##*/}" ;; esac; done ;;
    *) cp "$SELF" "$3" ;;
    esac ;;
esac
"""
SERVER = ("etcd", "kube-apiserver")
ALL = ("pulumi", "pulumi-language-python", "kubectl", "go", "kind", "docker", *SERVER)


class Computer:
    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capfd = monkeypatch, capfd
        self.bin, self.cache, self.log = folder / "path", folder / "cache", folder / "log"
        self.bin.mkdir()
        self.log.touch()
        program = folder / "program"
        program.write_text(PROGRAM)
        program.chmod(0o755)
        (folder / "go.mod").write_text("replace (\n\tk8s.io/api => ./staging/src/k8s.io/api\n)\n")
        for tool in ("sh", "cat", "cp"):
            (self.bin / tool).symlink_to(shutil.which(tool) or "")
        self.program = str(program)
        variables = {
            "PATH": str(self.bin),
            "LOG": str(self.log),
            "SELF": str(program),
            "PLUGINS": str(folder / "plugins.json"),
            "GO_MOD": str(folder / "go.mod"),
            "ENGINE_CACHE": str(self.cache),
            "KUBECONFIG": "",
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        self.plugin_list = folder / "plugins.json"
        self.plugins(*PROVIDERS)
        self.has("python")  # stands for pytest
        monkeypatch.setattr(sys, "executable", str(self.bin / "python"))

    def has(self, *programs: str) -> None:
        for program in programs:
            shutil.copy(self.program, self.bin / program)

    def plugins(self, *names: str) -> None:
        there = [{"name": name, "version": metadata.version(f"pulumi-{name}")} for name in names]
        self.plugin_list.write_text(json.dumps(there))

    def run(self, *arguments: str, status: int = 0, **variables: str) -> str:
        """Return the output and the errors."""
        for name, value in variables.items():
            self.monkeypatch.setenv(name, value)
        result = main(list(arguments))
        output = "".join(self.capfd.readouterr())
        assert result == status, output
        return output

    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Computer:
    return Computer(tmp_path, monkeypatch, capfd)


BUILT = ("go install", "go build", "go mod", "go get")


def test_with_everything_there_nothing_is_built_and_the_given_cluster_stays(computer: Computer) -> None:
    computer.has(*ALL)
    computer.run("-k", "claims", KUBECONFIG="given")
    assert computer.calls()[-1] == (
        "python -m pytest -m engine tests/chatapp/models/kubernetes tests/stacks/test_api_server.py "
        "tests/stacks/test_engine.py tests/stacks/test_engine_google.py -k claims"
    )
    assert not [call for call in computer.calls() if call.startswith((*BUILT, "kind", "pulumi plugin install"))]


def test_kind_makes_a_cluster_and_deletes_it(computer: Computer) -> None:
    computer.has(*ALL)
    computer.run()
    made = [call for call in computer.calls() if call.startswith("kind")]
    assert made[0].startswith("kind create cluster --name hybrid-chat-engine --kubeconfig ")
    assert made[-1] == "kind delete cluster --name hybrid-chat-engine"


def test_a_failed_kind_is_cleaned_up(computer: Computer) -> None:
    computer.has(*ALL)
    assert "kind create cluster --name failed" in computer.run(status=1, FAIL="kind create")
    assert computer.calls()[-1].startswith("kind delete")


def test_what_is_missing_is_built_once(computer: Computer) -> None:
    computer.has("pulumi-language-python", "kubectl", "go")
    computer.run()
    built = [call for call in computer.calls() if call.startswith(BUILT)]
    assert "go install github.com/pulumi/pulumi/pkg/v3/cmd/pulumi@v3.274.1" in built
    assert "go install sigs.k8s.io/kwok/cmd/kwok@v0.8.0" in built
    assert any(call.startswith("go build") and call.endswith("cmd/kube-scheduler") for call in built)
    module = (computer.cache / "kubernetes/go.mod").read_text()
    assert "require k8s.io/kubernetes v1.37.2" in module
    assert "replace k8s.io/api => k8s.io/api v0.37.2" in module
    cluster = [call for call in computer.calls() if call.startswith("kwokctl")]
    assert f"--kube-apiserver-binary={computer.cache}/bin/kube-apiserver" in cluster[0]
    assert f"--kwok-controller-binary={computer.cache}/bin/kwok" in cluster[0]
    assert cluster[-1].startswith("kwokctl delete cluster")
    computer.log.write_text("")
    computer.run()
    assert not [call for call in computer.calls() if call.startswith(BUILT)]


def test_an_api_server_alone_needs_no_pulumi(computer: Computer) -> None:
    computer.has("go")
    computer.run("--api-server", "-x")
    programs = sorted(path.name for path in (computer.cache / "bin").iterdir())
    assert programs == ["etcd", "kube-apiserver"]
    assert computer.calls()[-1] == (
        "python -m pytest -m engine tests/chatapp/models/kubernetes tests/stacks/test_api_server.py -x"
    )


def test_every_test_of_an_engine_is_run() -> None:
    named = [ROOT / path for path in (*WITH_API_SERVER, *WITH_PULUMI)]
    marked = [path for path in (ROOT / "tests").rglob("test_*.py") if "pytest.mark.engine" in path.read_text()]
    assert [path for path in marked if not {path, *path.parents} & set(named)] == [Path(__file__)]


def test_missing_plugins_are_installed_in_the_version_of_the_sdk(computer: Computer) -> None:
    computer.has(*ALL)
    computer.plugins("gcp", "random", "command")
    computer.run(KUBECONFIG="given")
    wanted = f"pulumi plugin install resource kubernetes v{metadata.version('pulumi-kubernetes')}"
    assert [call for call in computer.calls() if "plugin install" in call] == [wanted]


WITHOUT = {
    "no API server, no Go": (("pulumi", "kubectl"), {}, "etcd is missing: install it"),
    "no pulumi, no Go": ((*SERVER, "kubectl"), {}, "pulumi is missing: install it"),
    "no language host": ((*SERVER, "pulumi", "kubectl"), {}, "pulumi-language-python is missing"),
    "no kubectl": ((*SERVER, "pulumi", "pulumi-language-python"), {}, "kubectl is missing"),
    "no Go for a cluster": ((*SERVER, "pulumi", "pulumi-language-python", "kubectl"), {}, "kwok is missing"),
    "a refused plugin": (ALL, {"FAIL": "install resource gcp"}, "pulumi plugin install resource failed"),
    "a cluster that is away": (ALL, {"KUBECONFIG": "x", "FAIL": "kubectl --kubeconfig x"}, "does not answer"),
    "no module proxy": (
        ("pulumi", "pulumi-language-python", "kubectl", "go"),
        {"FAIL": "go mod download"},
        "is GOPROXY reachable?",
    ),
}


@pytest.mark.parametrize(("programs", "variables", "told"), WITHOUT.values(), ids=WITHOUT)
def test_what_cannot_be_got_is_said_with_what_to_do(
    computer: Computer, programs: tuple[str, ...], variables: dict[str, str], told: str
) -> None:
    computer.has(*programs)
    if "gcp" in variables.get("FAIL", ""):
        computer.plugins()
    output = computer.run(status=1, **variables)
    assert told in output
    assert "Traceback" not in output


def test_a_dry_run_changes_nothing(computer: Computer) -> None:
    computer.has("pulumi-language-python", "kubectl", "go")
    output = computer.run("--dry-run")
    assert "+ go install github.com/pulumi/pulumi/pkg/v3/cmd/pulumi@" in output
    assert "+ kwokctl create cluster" in output
    assert not [call for call in computer.calls() if call.startswith((*BUILT, "kwokctl"))]
    assert not computer.cache.exists()


def test_failed_tests_fail_the_command(computer: Computer) -> None:
    computer.has(*ALL)
    computer.run(status=1, KUBECONFIG="given", FAIL="-m pytest")
