"""The program with the real engine and Google's real provider, against the fake of Google Cloud (run with -m engine).

Needs `pulumi` with the plugins of gcp, random and command. The provider reaches the fake through `HTTPS_PROXY`, with
Google's own addresses. Only resources of Google are deployed: the cluster of the fake has no API server.

Not run yet: the machine that these tests were written on cannot get the plugins. A method that the provider uses and
the fake lacks answers 501 with its address; `tests/fakes/google_cloud/methods.py` is where it goes.
"""

from __future__ import annotations

import os
import secrets
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.fakes.google_cloud import gcloud
from tests.fakes.google_cloud.cloud import PERSON, Cloud
from tests.fakes.google_cloud.server import serving
from tests.stacks.deployments import PROJECT
from tests.stacks.recording import BILLING, ROOT
from tests.stacks.test_engine import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.engine, pytest.mark.skipif(not shutil.which("pulumi"), reason="needs the pulumi CLI")]
TARGETS = ("**gcp:**", "**random:**", "**pulumi:index:Stash**", "**command:local:Command::leftovers")


@pytest.fixture
def cloud() -> Cloud:
    return Cloud(PROJECT, billing=BILLING, request_seconds=1, api_seconds=10)


@pytest.fixture
def stack(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    folder = tmp_path / "fake"
    folder.mkdir()
    gcloud.install(folder, ROOT)
    with serving(cloud, folder) as variables:
        for name, value in {**variables, "PATH": f"{folder}:{os.environ['PATH']}"}.items():
            monkeypatch.setenv(name, value)
        made = Stack(f"t{secrets.token_hex(3)}", tmp_path)
        made.set("platform", "gcp")
        made.set("gcp:project", PROJECT)
        made.set("gcp:accessToken", PERSON, "--secret")
        yield made
        made.pulumi("destroy", "--yes", "--skip-preview", check=False)


def targets() -> list[str]:
    return [part for target in TARGETS for part in ("--target", target)]


def test_the_provider_makes_and_deletes_everything_of_google(stack: Stack, cloud: Cloud) -> None:
    cloud.switches.leaves_firewall_rule = True
    stack.pulumi("up", "--yes", "--skip-preview", *targets())
    assert len(cloud.of_kind("container.v1", "clusters")) == 1
    assert len(cloud.of_kind("firestore.v1", "databases")) == 1
    stack.pulumi("destroy", "--yes", "--skip-preview")
    left = {key for key in cloud.resources if not key.startswith("iam.pool/") and not key.endswith("/networks/default")}
    assert left == set()


def test_a_project_without_billing_is_refused_at_once_with_advice(stack: Stack, cloud: Cloud) -> None:
    cloud.switches.billing = ""
    failed = stack.pulumi("up", "--yes", "--skip-preview", *targets(), check=False)
    assert failed.returncode != 0
    assert "no active billing account" in failed.stdout + failed.stderr
    assert cloud.of_kind("container.v1", "clusters") == {}
    assert cloud.of_kind("compute.v1", "networks").keys() <= {"default"}


def test_a_budget_of_a_person_is_charged_to_the_project(stack: Stack, cloud: Cloud) -> None:
    stack.set("monthlyBudget", "300")
    stack.pulumi("up", "--yes", "--skip-preview", *targets())
    assert len(cloud.of_kind("billingbudgets.v1", "budgets")) == 1
