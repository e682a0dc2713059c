"""After an interrupted run: the command that goes on is named, and what holds conversations is never deleted."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from stacks.components import leftovers
from tests.stacks.deployments import GCP, KUBERNETES, SEVERAL_MACHINES
from tests.stacks.recording import ROOT, Registered, seen

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

EXISTS = "googleapi: Error 409: Already exists: projects/my-proj-1/locations/us-central1/clusters/c., alreadyExists"
SERVICE_EXISTS = 'resource hybrid-chat/gradio-chat-service was not successfully created: services "x" already exists'


def advice_for(resource: Registered, error: str = EXISTS) -> str:
    # The URN as the engine makes it, with the types of all parents.
    head, chain, _ = resource.request.parent.rsplit("::", 2)
    urn = f"{head}::{chain}${resource.type}::{resource.name}"
    return leftovers.advice(resource.type, urn, resource.inputs, error) or ""


def test_each_google_resource_that_is_paid_for_has_a_command_that_deletes_it() -> None:
    run = seen(GCP)
    cluster = advice_for(run.one("container/cluster:Cluster"))
    assert "gcloud container clusters delete gradio-chat-cluster --region us-central1 --project my-proj-1" in cluster, (
        cluster
    )
    role = advice_for(run.one("IAMCustomRole"))
    assert "gcloud iam roles delete gradio_chat_gemini_x7k2p9 --project my-proj-1" in role
    for kind in ("Bucket", "GlobalAddress", "Repository", "Network", "Subnetwork"):
        assert "gcloud" in advice_for(run.one(kind)), kind


def test_the_database_is_imported_and_not_deleted() -> None:
    database = seen(GCP).one("firestore/database:Database")
    text = advice_for(database)
    assert "pulumi import gcp:firestore/database:Database database projects/my-proj-1/databases/chat-app-db" in text
    assert f"--parent parent={database.request.parent} " in text
    assert "delete" not in text


def test_the_volume_is_imported_and_not_deleted() -> None:
    claim = seen(KUBERNETES).one("PersistentVolumeClaim")
    text = advice_for(claim, 'persistentvolumeclaims "gradio-chat-data" already exists')
    assert "pulumi import kubernetes:core/v1:PersistentVolumeClaim history hybrid-chat/gradio-chat-data" in text
    assert f"--parent parent={claim.request.parent} " in text
    assert "delete" not in text


@pytest.mark.parametrize(
    "error",
    [
        "cannot re-use a name that is still in use",
        'Unable to continue with install: ClusterRole "lws-manager-role" in namespace "" exists and cannot be imported '
        "into the current release: rendered manifests contain a resource that already exists.",
    ],
)
def test_a_chart_has_the_command_of_helm(error: str) -> None:
    chart = seen(SEVERAL_MACHINES).one("Release")
    assert "helm uninstall lws --namespace lws-system, then make up again" in advice_for(chart, error)


def test_another_object_in_the_cluster_has_the_command_of_kubectl() -> None:
    service = seen(KUBERNETES).one("kubernetes:core/v1:Service")
    assert "kubectl --namespace hybrid-chat delete service gradio-chat-service" in advice_for(service, SERVICE_EXISTS)


@pytest.mark.parametrize("config", [GCP, KUBERNETES], ids=["gcp", "kubernetes"])
def test_every_resource_that_can_exist_already_has_some_advice(config: Mapping[str, str]) -> None:
    for resource in seen(config).resources:
        if resource.is_custom:
            assert "interrupted" in advice_for(resource, SERVICE_EXISTS)


def test_other_errors_have_none() -> None:
    inputs: dict[str, Any] = {"name": "c"}
    assert leftovers.advice("gcp:container/cluster:Cluster", "urn:pulumi:dev::p::t::c", inputs, "Error 403") is None


# A fake of gcloud: lists what $STATE has, and records what is deleted.
GCLOUD = """#!/bin/sh
echo "$*" >>"$STATE/calls"
case "$*" in
"compute firewall-rules list"*) cat "$STATE/rules" ;;
"compute network-endpoint-groups list"*) cat "$STATE/groups" ;;
*fails*) exit 1 ;;
esac
"""


def run_script(folder: Path, rules: str, groups: str) -> tuple[int, list[str]]:
    (folder / "gcloud").write_text(GCLOUD)
    (folder / "gcloud").chmod(0o755)
    (folder / "rules").write_text(rules)
    (folder / "groups").write_text(groups)
    (folder / "calls").touch()
    result = subprocess.run(
        ["sh", ROOT / "stacks/components/network_leftovers.sh"],
        env={"PATH": f"{folder}:{os.environ['PATH']}", "STATE": str(folder), "PROJECT": "p", "NETWORK": "net"},
        check=False,
        stdin=subprocess.DEVNULL,
    )
    calls = (folder / "calls").read_text().splitlines()
    return result.returncode, [call for call in calls if " delete " in call]


def test_what_gke_left_in_the_network_is_deleted(tmp_path: Path) -> None:
    status, deleted = run_script(
        tmp_path, "k8s-1-node-http-hc\ngke-c-vms\n", "k8s1-a-b us-central1-a\nk8s1-c us-central1-b\n"
    )
    assert status == 0
    assert deleted == [
        "compute firewall-rules delete k8s-1-node-http-hc --project=p --quiet",
        "compute firewall-rules delete gke-c-vms --project=p --quiet",
        "compute network-endpoint-groups delete k8s1-a-b --zone=us-central1-a --project=p --quiet",
        "compute network-endpoint-groups delete k8s1-c --zone=us-central1-b --project=p --quiet",
    ]


def test_nothing_left_deletes_nothing(tmp_path: Path) -> None:
    assert run_script(tmp_path, "", "") == (0, [])


def test_a_failed_deletion_fails_and_the_others_are_still_deleted(tmp_path: Path) -> None:
    status, deleted = run_script(tmp_path, "k8s-fails\nk8s-2\n", "k8s-3 us-central1-a\n")
    assert status == 1
    assert len(deleted) == 3
