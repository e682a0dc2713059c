"""``make engine``: find, or get, what the tests with real engines need, and run them.

Some need an API server of their own, which they stop and start: ``etcd`` and ``kube-apiserver``. The others need
``pulumi`` with the plugins of its providers, and a cluster: that of KUBECONFIG, else one that ``kind`` makes, else an
API server with simulated nodes (kwok). What is missing is built by name from the Go module proxy, into a cache, once.
``--api-server`` gets and runs only what needs no Pulumi; ``--dry-run`` prints the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[2]
CLUSTER = "hybrid-chat-engine"
KUBERNETES = "1.37.2"
# Program -> (package, version), as `go install` gets it.
INSTALLED = {
    "pulumi": ("github.com/pulumi/pulumi/pkg/v3/cmd/pulumi", "v3.274.1"),
    "kwok": ("sigs.k8s.io/kwok/cmd/kwok", "v0.8.0"),
    "kwokctl": ("sigs.k8s.io/kwok/cmd/kwokctl", "v0.8.0"),
}
API_SERVER = ("etcd", "kube-apiserver")
"""What an API server alone needs; nothing runs in it, as it has no controllers."""
KUBERNETES_PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
ETCD = ("go.etcd.io/etcd/server/v3", "v3.6.16")
ETCD_MAIN = """package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
"""
# What the tests of Pulumi are in, and those of an API server alone.
WITH_PULUMI = ("tests/stacks/test_engine.py", "tests/stacks/test_engine_google.py")
WITH_API_SERVER = ("tests/chatapp/models/kubernetes", "tests/stacks/test_api_server.py")
PROVIDERS = ("kubernetes", "gcp", "random", "command")
# Volumes of the simulated cluster are folders, made and deleted by its controller manager.
STORAGE_CLASS = """{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "provisioner": "kubernetes.io/host-path",
"metadata": {"name": "folders", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}"""


def cache_folder() -> Path:
    """Return where what is built is kept."""
    return Path(os.environ.get("ENGINE_CACHE") or platformdirs.user_cache_path("hybrid-chat") / "engine")


def search_path() -> str:
    """Return PATH with what was built after it."""
    return f"{os.environ['PATH']}{os.pathsep}{cache_folder() / 'bin'}"


class Missing(Exception):
    """Something cannot be found or got; the message says what to do."""


@dataclass(frozen=True)
class Setup:
    """Gets programs.

    Attributes:
        cache: folder for what is built; it is searched after PATH.
        dry_run: whether commands are printed only.
    """

    cache: Path
    dry_run: bool = False

    @property
    def bin(self) -> Path:
        """The programs that were built."""
        return self.cache / "bin"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of all commands."""
        return os.environ | {"PATH": f"{os.environ['PATH']}{os.pathsep}{self.bin}"}

    def has(self, program: str) -> bool:
        """Return whether a program is on PATH or was built before."""
        return shutil.which(program, path=self.environment["PATH"]) is not None

    def path_of(self, program: str) -> str:
        """Return where a program is, or will be."""
        return shutil.which(program, path=self.environment["PATH"]) or str(self.bin / program)

    def run(self, *command: str, folder: Path | None = None, text: str | None = None, **variables: str) -> None:
        """Run a command, or print it.

        Raises:
            Missing: it fails.
        """
        _say("+", *command)
        if self.dry_run:
            return
        environment = self.environment | variables
        try:
            subprocess.run(command, cwd=folder, env=environment, input=text, text=True, check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Missing(f"{' '.join(command[:4])} failed: {error}") from error

    def output(self, *command: str) -> str | None:
        """Return what a command prints; `None`: it fails, or does not end within 30 s."""
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout

    def pulumi(self) -> None:
        """Find or build ``pulumi``, and install the plugins of the providers, in the versions of the SDKs."""
        self.install("pulumi", "https://www.pulumi.com/docs/install")
        listed = self.output("pulumi", "plugin", "ls", "--json") or "[]"
        there = {(plugin["name"], plugin["version"].lstrip("v")) for plugin in json.loads(listed)}
        for provider in PROVIDERS:
            version = metadata.version(f"pulumi-{provider}")
            if (provider, version) not in there:
                self.run("pulumi", "plugin", "install", "resource", provider, f"v{version}")
        if not self.has("pulumi-language-python"):
            raise Missing(
                "pulumi-language-python is missing: it comes with Pulumi's own archive, and not with what Go builds. "
                "Get that archive (https://www.pulumi.com/docs/install), and put its programs on PATH."
            )

    def install(self, program: str, otherwise: str) -> None:
        """Build one program that `go install` can get, unless it is there.

        Raises:
            Missing: it is not there, and Go is not installed either.
        """
        if self.has(program):
            return
        self._needs_go(program, otherwise)
        package, version = INSTALLED[program]
        self.run("go", "install", f"{package}@{version}", GOBIN=str(self.bin))

    def _needs_go(self, program: str, otherwise: str) -> None:
        if not self.has("go"):
            raise Missing(
                f"{program} is missing: install it ({otherwise}), or Go (https://go.dev/dl), which builds it."
            )

    @contextmanager
    def cluster(self) -> Iterator[str]:
        """Yield the path of a cluster's kubeconfig; what was made for it is deleted afterwards."""
        if not self.has("kubectl"):
            raise Missing("kubectl is missing: https://kubernetes.io/docs/tasks/tools")
        if given := os.environ.get("KUBECONFIG"):
            if self.output("kubectl", "--kubeconfig", given, "version", "--request-timeout=10s") is None:
                raise Missing(f"The cluster of KUBECONFIG ({given}) does not answer: start it, or unset KUBECONFIG.")
            yield given
            return
        # Never the current context of ~/.kube/config, which may be a cluster that people use.
        kubeconfig = str(self.cache / "kubeconfig")
        if self.has("kind") and self.output("docker", "version") is not None:
            create = ("kind", "create", "cluster", "--name", CLUSTER, "--kubeconfig", kubeconfig, "--wait=5m")
            delete = ("kind", "delete", "cluster", "--name", CLUSTER)
        else:
            self.control_plane()
            programs = [f"--{name}-binary={self.path_of(name)}" for name in (*KUBERNETES_PROGRAMS, "etcd")]
            programs.append(f"--kwok-controller-binary={self.path_of('kwok')}")  # it would be downloaded
            folders = "--extra-args=kube-controller-manager=enable-hostpath-provisioner=true"
            options = (f"--kubeconfig={kubeconfig}", "--runtime=binary", *programs, folders)
            create = ("kwokctl", "create", "cluster", f"--name={CLUSTER}", "--wait=5m", *options)
            delete = ("kwokctl", "delete", "cluster", f"--name={CLUSTER}", f"--kubeconfig={kubeconfig}")
        try:
            self.run(*create)
            if create[0] == "kwokctl":
                self.run("kwokctl", "scale", "node", f"--name={CLUSTER}", "--replicas=1")
                self.run("kubectl", "--kubeconfig", kubeconfig, "apply", "--filename=-", text=STORAGE_CLASS)
            yield kubeconfig
        finally:
            self.run(*delete)

    def control_plane(self) -> None:
        """Build an API server with its controllers and database, and kwok, which simulates nodes."""
        for program in ("kwok", "kwokctl"):
            self.install(program, "https://kwok.sigs.k8s.io")
        self.api_server(KUBERNETES_PROGRAMS)

    def api_server(self, programs: Iterable[str] = ("kube-apiserver",)) -> None:
        """Build these programs of Kubernetes and their database, unless they are there.

        Raises:
            Missing: they are not there, and cannot be built.
        """
        if not self.has("etcd"):
            self._needs_go("etcd", "https://etcd.io")
            folder = self._scratch("etcd", [ETCD])
            if not self.dry_run:
                (folder / "main.go").write_text(ETCD_MAIN, encoding="utf-8")
            self.run("go", "mod", "tidy", folder=folder)
            self.run("go", "build", "-o", str(self.bin / "etcd"), ".", folder=folder)
        missing = [program for program in programs if not self.has(program)]
        if missing:
            self._needs_go(missing[0], "https://kubernetes.io/releases/download")
            _say("Building Kubernetes takes half an hour to an hour, once.")
            folder = self._scratch("kubernetes", [("k8s.io/kubernetes", f"v{KUBERNETES}")], self._staging())
            packages = [f"k8s.io/kubernetes/cmd/{program}" for program in missing]
            for package in packages:
                self.run("go", "get", package, folder=folder)
            self.run("go", "build", "-o", f"{self.bin}{os.sep}", *packages, folder=folder)

    def _staging(self) -> list[str]:
        """Return the modules that Kubernetes replaces with folders of its own, which are published as v0.X.Y."""
        if self.dry_run:
            return []
        described = self.output("go", "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}")
        if described is None:
            raise Missing(f"The Go module k8s.io/kubernetes v{KUBERNETES} cannot be downloaded: is GOPROXY reachable?")
        text = Path(json.loads(described)["GoMod"]).read_text(encoding="utf-8")
        return re.findall(r"^\s*(\S+) => \./staging/", text, re.MULTILINE)

    def _scratch(self, name: str, required: list[tuple[str, str]], replaced: list[str] | None = None) -> Path:
        """Write a module that requires others: `go install` refuses those with replaced modules."""
        folder = self.cache / name
        if not self.dry_run:
            folder.mkdir(parents=True, exist_ok=True)
            staging = f"v0.{KUBERNETES.partition('.')[2]}"
            lines = [f"module {name}.scratch", "", "go 1.25"]
            lines += [f"require {module} {version}" for module, version in required]
            lines += [f"replace {module} => {module} {staging}" for module in replaced or []]
            (folder / "go.mod").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder


def _say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()  # before what a command prints


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status of the tests, or 1 if something is missing."""
    parser = argparse.ArgumentParser(prog="make engine", description=__doc__)
    parser.add_argument("--api-server", action="store_true", help="only the tests that need an API server alone")
    parser.add_argument("--dry-run", action="store_true", help="print the steps")
    options, rest = parser.parse_known_args(arguments)
    setup = Setup(cache_folder(), options.dry_run)
    if not options.dry_run:
        setup.bin.mkdir(parents=True, exist_ok=True)
    try:
        setup.api_server()
        if options.api_server:
            return _test(setup, [*WITH_API_SERVER, *rest], {})
        setup.pulumi()
        with setup.cluster() as kubeconfig:
            return _test(setup, [*WITH_API_SERVER, *WITH_PULUMI, *rest], {"KUBECONFIG": kubeconfig})
    except Missing as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _test(setup: Setup, arguments: list[str], variables: dict[str, str]) -> int:
    command = [sys.executable, "-m", "pytest", "-m", "engine", *arguments]
    _say("+", *command)
    if setup.dry_run:
        return 0
    return subprocess.run(command, cwd=ROOT, env=setup.environment | variables, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
