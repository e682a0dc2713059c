"""The program with the real engine and provider, against the API server of KUBECONFIG (run with -m engine).

Needs `pulumi` with the Kubernetes provider's plugin, and a cluster for namespaces named hybrid-chat-*, such as kind or
minikube. An API server and its controllers without a real node are enough if something marks pods as ready.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from stacks.components.image_source import Source
from tests.stacks.recording import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.skipif(not shutil.which("pulumi"), reason="needs the pulumi CLI")]
IMAGE = os.environ.get("CHAT_IMAGE", "example.org/chat:1")


class Stack:
    """A stack with its state in a folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name, self.folder = name, folder
        for source in (
            "__main__.py",
            "Pulumi.yaml",
            "gemma",
            "stacks",
            "manifests",
            ".dockerignore",
            *Source.of(ROOT).files,
        ):
            target = folder / source
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, target)
        (folder / ".venv").symlink_to(ROOT / ".venv")
        (folder / "state").mkdir()
        self.pulumi("stack", "init", name)
        self.set("platform", "kubernetes")
        self.set("image", IMAGE)

    @property
    def namespace(self) -> str:
        return f"hybrid-chat-{self.name}"

    def pulumi(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PULUMI_BACKEND_URL": f"file://{self.folder}/state",
            "PULUMI_CONFIG_PASSPHRASE": "engine",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }
        done = subprocess.run(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def set(self, key: str, value: str, *options: str) -> None:
        self.pulumi("config", "set", key, value, *options)

    def up(self, *options: str) -> dict[str, int]:
        """Deploy, and return operation -> number of resources (create, update, delete, same)."""
        self.pulumi("up", "--yes", "--skip-preview", *options)
        history = json.loads(self.pulumi("stack", "history", "--json", "--page-size", "1").stdout)
        return history[0]["resourceChanges"]

    def state(self) -> str:
        return self.pulumi("stack", "export").stdout


def kubectl(*arguments: str) -> str:
    return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack(f"t{secrets.token_hex(3)}", tmp_path)
    yield made
    made.pulumi("destroy", "--yes", "--skip-preview", check=False)


def test_a_stack_is_created_updated_and_destroyed(stack: Stack) -> None:
    assert "to create" in stack.pulumi("preview").stdout
    assert set(stack.up()) == {"create"}
    assert set(stack.up("--expect-no-changes")) == {"same"}
    stack.pulumi("refresh", "--yes", "--expect-no-changes")
    stack.set("theme", "green")
    assert stack.up()["update"] == 1, "only the chat's Deployment"
    variables = kubectl("--namespace", stack.namespace, "get", "deployment", "gradio-chat-deployment", "--output=yaml")
    assert "value: green" in variables
    stack.pulumi("destroy", "--yes", "--skip-preview")
    assert stack.namespace not in kubectl("get", "namespaces", "--output=name")
    assert stack.namespace not in kubectl("get", "persistentvolumes", "--output=yaml")


def test_two_stacks_share_a_cluster(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = Stack(f"{stack.name}b", tmp_path_factory.mktemp("other"))
    try:
        stack.up()
        assert set(other.up()) == {"create"}
    finally:
        other.pulumi("destroy", "--yes", "--skip-preview")
    assert set(stack.up("--refresh")) == {"same"}


def test_missing_gpus_delay_nothing_and_secrets_stay_secret(stack: Stack) -> None:
    stack.set("gemma", "l4x2")
    stack.set("huggingFaceToken", "hf_neverInPlainText", "--secret")
    stack.set("geminiApiKey", "AIzaFirst", "--secret")
    stack.up()
    pods = json.loads(kubectl("--namespace", stack.namespace, "get", "pods", "--selector=app=gemma", "--output=json"))
    assert [pod["status"]["phase"] for pod in pods["items"]] == ["Pending"]
    before = kubectl("--namespace", stack.namespace, "get", "pods", "--selector=app=gradio-chat", "--output=name")
    stack.set("geminiApiKey", "AIzaSecond", "--secret")
    assert stack.up()["update"] == 2, "the Secret, and the chat that reads it"
    after = kubectl("--namespace", stack.namespace, "get", "pods", "--selector=app=gradio-chat", "--output=name")
    assert before != after
    for secret in ("hf_neverInPlainText", "AIzaFirst", "AIzaSecond"):
        assert secret not in stack.state()


def test_all_wrong_settings_are_reported_and_nothing_is_created(stack: Stack) -> None:
    stack.set("theme", "red")
    stack.set("gema", "none")
    stack.set("huggingFaceToken", "hf_inPlainText", "--plaintext")
    failed = stack.pulumi("up", "--yes", "--skip-preview", check=False)
    assert failed.returncode != 0
    for message in ("theme is 'red': allowed: blue, green", "did you mean gemma?", "is stored in plain text"):
        assert message in failed.stdout + failed.stderr
    assert "Traceback" not in failed.stdout + failed.stderr
    assert stack.namespace not in kubectl("get", "namespaces", "--output=name")
