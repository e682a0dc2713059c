"""After a destroy: what of the stack is still in the project or in the cluster, and the command that deletes it."""

import json

import pytest

from stacks.names import Names
from stacks.preflight.kinds import KINDS, Owner

PROJECT = "my-project"
ACCOUNT = "01AB23-45CD67-89EF01"
COMPUTE = f"https://www.googleapis.com/compute/v1/projects/{PROJECT}"
NETWORK = f"{COMPUTE}/global/networks/gradio-chat-network"
ZONE = f"{COMPUTE}/zones/us-central1-a"
GATEWAY = "gkegw1-l1bg-hybrid-chat-gradio-chat-2jzr7e3xclhj"

# gcloud's list command -> (an entry of this stack, one that is not, the command that deletes the first one).
LEFT = {
    "container clusters": (
        {"name": "gradio-chat-cluster", "location": "us-central1"},
        {"name": "gradio-chat-cluster-test", "location": "us-central1"},
        "gcloud container clusters delete gradio-chat-cluster --region us-central1",
    ),
    "firestore databases": (
        {"name": f"projects/{PROJECT}/databases/chat-app-db", "locationId": "nam5"},
        {"name": f"projects/{PROJECT}/databases/(default)"},
        "gcloud firestore databases delete --database=chat-app-db",
    ),
    "firestore backups": (
        {
            "name": f"projects/{PROJECT}/locations/nam5/backups/b1",
            "database": f"projects/{PROJECT}/databases/chat-app-db",
        },
        {"name": f"projects/{PROJECT}/locations/nam5/backups/b2", "database": f"projects/{PROJECT}/databases/shop"},
        "gcloud firestore backups delete --backup=b1 --location=nam5",
    ),
    "artifacts repositories": (
        {"name": f"projects/{PROJECT}/locations/us-central1/repositories/chat-app-repo"},
        {"name": f"projects/{PROJECT}/locations/us-central1/repositories/chat"},
        "gcloud artifacts repositories delete chat-app-repo --location us-central1",
    ),
    "storage buckets": (
        {"name": f"{PROJECT}-chat-build"},
        {"name": f"{PROJECT}-chat-build-test"},
        f"gcloud storage rm --recursive gs://{PROJECT}-chat-build",
    ),
    "billing budgets": (
        {
            "name": f"billingAccounts/{ACCOUNT}/budgets/1a-2b",
            "displayName": "hybrid-chat",
            "budgetFilter": {"projects": ["projects/123456789012"]},
        },
        # Of the same stack in another project, which the same account pays for.
        {
            "name": f"billingAccounts/{ACCOUNT}/budgets/3c-4d",
            "displayName": "hybrid-chat",
            "budgetFilter": {"projects": ["projects/210987654321"]},
        },
        f"gcloud billing budgets delete 1a-2b --billing-account={ACCOUNT}",
    ),
    "monitoring policies": (
        {"name": f"projects/{PROJECT}/alertPolicies/1", "displayName": "hybrid-chat: The GPU is idle"},
        {"name": f"projects/{PROJECT}/alertPolicies/2", "displayName": "hybrid-chat-test: The GPU is idle"},
        f"gcloud monitoring policies delete projects/{PROJECT}/alertPolicies/1",
    ),
    "monitoring dashboards": (
        {"name": f"projects/{PROJECT}/dashboards/1", "displayName": "hybrid-chat"},
        {"name": f"projects/{PROJECT}/dashboards/2", "displayName": "shop"},
        f"gcloud monitoring dashboards delete projects/{PROJECT}/dashboards/1",
    ),
    "beta monitoring channels": (
        {"name": f"projects/{PROJECT}/notificationChannels/1", "displayName": "hybrid-chat"},
        {"name": f"projects/{PROJECT}/notificationChannels/2", "displayName": "hybrid-chat-test"},
        f"gcloud beta monitoring channels delete projects/{PROJECT}/notificationChannels/1 --force",
    ),
    "logging sinks": (
        {"name": "hybrid-chat", "destination": f"logging.googleapis.com/projects/{PROJECT}/locations/eu/buckets/b"},
        {"name": "_Default"},
        "gcloud logging sinks delete hybrid-chat",
    ),
    "logging buckets": (
        {"name": f"projects/{PROJECT}/locations/eu/buckets/hybrid-chat-x7k2p9", "lifecycleState": "ACTIVE"},
        {"name": f"projects/{PROJECT}/locations/eu/buckets/hybrid-chat-a1b2c3", "lifecycleState": "DELETE_REQUESTED"},
        "gcloud logging buckets delete hybrid-chat-x7k2p9 --location=eu",
    ),
    "iam service-accounts": (
        {"email": f"chat-nodes@{PROJECT}.iam.gserviceaccount.com", "name": f"projects/{PROJECT}/serviceAccounts/1"},
        {"email": "chat-nodes@other.iam.gserviceaccount.com"},
        f"gcloud iam service-accounts delete chat-nodes@{PROJECT}.iam.gserviceaccount.com",
    ),
    f"projects get-iam-policy {PROJECT}": (
        {
            "bindings": {
                "members": f"deleted:serviceAccount:chat-build@{PROJECT}.iam.gserviceaccount.com?uid=1",
                "role": "roles/viewer",
            }
        },
        {"bindings": {"members": "user:ann@example.org", "role": "roles/owner"}},
        f"gcloud projects remove-iam-policy-binding {PROJECT} --all --role=roles/viewer "
        f"--member='deleted:serviceAccount:chat-build@{PROJECT}.iam.gserviceaccount.com?uid=1'",
    ),
    "endpoints services": (
        {"serviceName": f"chat-x7k2p9.endpoints.{PROJECT}.cloud.goog"},
        {"serviceName": f"chat-test-x7k2p9.endpoints.{PROJECT}.cloud.goog"},
        f"gcloud endpoints services delete chat-x7k2p9.endpoints.{PROJECT}.cloud.goog",
    ),
    **{
        f"compute {listing}": (
            {"name": GATEWAY},
            {"name": GATEWAY.replace("hybrid-chat", "hybrid-chat-test")},
            f"gcloud compute {listing} delete {GATEWAY} --global",
        )
        for listing in (
            "forwarding-rules",
            "target-https-proxies",
            "target-http-proxies",
            "url-maps",
            "backend-services",
            "health-checks",
        )
    },
    "compute network-endpoint-groups": (
        {"name": "k8s1-8f-default-x", "network": NETWORK, "zone": ZONE},
        {"name": "k8s1-8f-default-x", "network": NETWORK.replace("gradio-chat", "shop"), "zone": ZONE},
        "gcloud compute network-endpoint-groups delete k8s1-8f-default-x --zone=us-central1-a",
    ),
    "compute ssl-certificates": (
        {"name": Names("dev").certificate("chat.example.org")},
        {"name": Names("test").certificate("chat.example.org")},
        f"gcloud compute ssl-certificates delete {Names('dev').certificate('chat.example.org')} --global",
    ),
    "compute ssl-policies": (
        {"name": "gradio-chat-edge"},
        {"name": "edge"},
        "gcloud compute ssl-policies delete gradio-chat-edge",
    ),
    "compute security-policies": (
        {"name": "gradio-chat-edge"},
        {"name": "edge"},
        "gcloud compute security-policies delete gradio-chat-edge",
    ),
    "compute addresses": (
        {"name": "gradio-chat-address"},
        {"name": "gradio-chat-address-test"},
        "gcloud compute addresses delete gradio-chat-address --global",
    ),
    "compute disks": (
        {"name": "pvc-1", "zone": ZONE, "labels": {"goog-k8s-cluster-name": "gradio-chat-cluster"}},
        {"name": "pvc-2", "zone": ZONE, "labels": {"goog-k8s-cluster-name": "shop"}},
        "gcloud compute disks delete pvc-1 --zone=us-central1-a",
    ),
    "compute firewall-rules": (
        {"name": "k8s-1a2b-node-http-hc", "network": NETWORK},
        {"name": "allow-ssh", "network": f"{COMPUTE}/global/networks/default"},
        "gcloud compute firewall-rules delete k8s-1a2b-node-http-hc",
    ),
    **{
        f"compute {listing}": (
            {"name": "gradio-chat-network", "region": f"{COMPUTE}/regions/us-central1"},
            {"name": "default", "region": f"{COMPUTE}/regions/us-central1"},
            f"gcloud compute {listing} delete gradio-chat-network{region}",
        )
        for listing, region in (
            ("routers", " --region us-central1"),
            ("networks subnets", " --region us-central1"),
            ("networks", ""),
        )
    },
}
ASSETS = "gcloud asset search-all-resources"


@pytest.fixture
def project(computer):
    """A project in which every list can be read, and is empty."""
    computer.answer("gcloud", "[]")
    computer.answer(f"gcloud projects describe {PROJECT} --format=value(projectNumber)", "123456789012")
    billed = f"gcloud billing projects describe {PROJECT} --format=value(billingAccountName)"
    computer.answer(billed, f"billingAccounts/{ACCOUNT}")
    return computer


def command_of(listing):
    return f"gcloud {listing}" if "get-iam-policy" in listing else f"gcloud {listing} list"


def test_every_kind_has_an_example():
    owner = Owner(Names("dev"), PROJECT, "us-central1")
    listings = {
        kind.listing.format(project=PROJECT, region=owner.region, billing_account=ACCOUNT).partition(" --")[0]
        for kind in KINDS
    }
    assert listings == {command_of(listing).removeprefix("gcloud ") for listing in LEFT}


def test_a_part_of_an_internal_load_balancer_is_deleted_in_its_region(project):
    region = f"{COMPUTE}/regions/us-central1"
    gateway = GATEWAY.replace("gradio-chat", "gemma")
    project.answer("gcloud compute addresses list", json.dumps([{"name": "gradio-chat-gemma", "region": region}]))
    project.answer("gcloud compute forwarding-rules list", json.dumps([{"name": gateway, "region": region}]))
    subnetworks = [{"name": "gradio-chat-proxies", "region": region}, {"name": "proxies", "region": region}]
    project.answer("gcloud compute networks subnets list", json.dumps(subnetworks))
    output = project.run("remains")[0]
    assert "Still there, 3 of this stack" in output
    for command in (
        f"forwarding-rules delete {gateway}",
        "addresses delete gradio-chat-gemma",
        "networks subnets delete gradio-chat-proxies",
    ):
        assert f"gcloud compute {command} --region us-central1 --project {PROJECT}" in output


def test_nothing_left_is_said_with_what_was_listed(project):
    output, _ = project.run("remains")
    assert f"Nothing of this stack was found ({len(KINDS)} kinds of resources were listed)." in output
    assert "What stays in any case: the enabled APIs" in output
    assert "Not readable" not in output


def test_each_resource_of_the_stack_is_listed_with_the_command_that_deletes_it(project):
    for listing, (mine, other, _) in LEFT.items():
        project.answer(command_of(listing), json.dumps([other, mine]))
    lines = project.run("remains")[0].splitlines()
    assert f"Still there, {len(LEFT)} of this stack" in lines[1]
    for _, _, delete in LEFT.values():
        found = [line for line in lines if f": {delete}" in line]
        assert len(found) == 1, delete
        assert PROJECT in found[0]
    assert lines[2].startswith("  GKE cluster"), "in the order in which they can be deleted"
    assert lines[-2].startswith("  network gradio-chat-network")


def test_the_bucket_of_gemmas_weights_is_listed_too(project):
    project.answer("gcloud storage buckets list", json.dumps([{"name": f"{PROJECT}-gemma-weights"}]))
    assert f"gcloud storage rm --recursive gs://{PROJECT}-gemma-weights" in project.run("remains")[0]


def test_another_stack_has_its_own_names(project, monkeypatch):
    monkeypatch.setenv("STACK", "team/test")
    project.answer("gcloud container clusters list", json.dumps([LEFT["container clusters"][1]]))
    assert "gcloud container clusters delete gradio-chat-cluster-test --region" in project.run("remains")[0]


def test_what_may_not_be_read_comes_from_asset_inventory_if_that_may(project):
    for command in ("gcloud container clusters list", "gcloud endpoints services list"):
        project.answer(command, "", status=1)
    assets = [
        {
            "assetType": "container.googleapis.com/Cluster",
            "name": f"//container.googleapis.com/projects/{PROJECT}/locations/us-central1/clusters/gradio-chat-cluster",
            "location": "us-central1",
        },
        {"assetType": "compute.googleapis.com/Network", "name": f"//compute/{PROJECT}/networks/gradio-chat-network"},
        {
            "assetType": "compute.googleapis.com/Instance",
            "name": "//compute/gk3-node",
            "labels": {"hybrid-chat": "dev"},
        },
        {"assetType": "compute.googleapis.com/Instance", "name": "//compute/vm", "labels": {"hybrid-chat": "test"}},
        {"assetType": "k8s.io/Pod", "name": "//k8s/pod", "labels": {"hybrid-chat": "dev"}},
    ]
    project.answer(ASSETS, json.dumps(assets))
    lines = project.run("remains")[0].splitlines()
    assert "Still there, 2 of" in lines[1], "the network's own list, which is newer, does not have it"
    assert "GKE cluster gradio-chat-cluster (Cloud Asset Inventory can be some minutes behind): gcloud" in lines[2]
    assert lines[3].startswith("  Instance gk3-node")
    assert "Not readable for this account, or the API is not enabled: name of Cloud Endpoints." in lines[4]


@pytest.mark.slow
@pytest.mark.parametrize("answer", ["", "not JSON", '{"error": {"code": 403}}', "null"])
def test_lists_that_cannot_be_read_fail_nothing(project, answer):
    project.answer("gcloud", answer, status=0 if answer else 1)
    output, errors = project.run("remains")
    assert "Not readable for this account, or the API is not enabled: GKE cluster, Firestore database," in output
    assert "Nothing of this stack was found" not in output
    assert errors == ""


@pytest.mark.slow
def test_lists_that_do_not_end_are_given_up_with_all_that_they_started(project, monkeypatch):
    monkeypatch.setattr("stacks.preflight.programs.TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr("stacks.preflight.remains.DEADLINE_SECONDS", 0.5)
    (project.bin / "gcloud").write_text("#!/bin/sh\nsleep 20\n")  # not exec: the child outlives its shell
    (project.bin / "sleep").symlink_to("/bin/sleep")
    assert "Not readable" in project.run("remains")[0]


def test_without_the_billing_account_the_budget_is_named_as_unread(project):
    project.answer("gcloud billing projects describe", "", status=1)
    output, _ = project.run("remains")
    assert "Not readable for this account, or the API is not enabled: budget." in output
    assert not any("budgets list" in call for call in project.calls())


def test_a_preview_of_the_destroy_lists_nothing(project, monkeypatch):
    monkeypatch.setenv("ARGS", "--preview-only --diff")
    assert project.run("remains") == ("", "")


def test_without_gcloud_nothing_is_looked_up(project):
    project.lacks("gcloud")
    assert "was not looked up" in project.run("remains")[0]


def test_the_namespace_and_kept_volumes_of_another_cluster_are_listed(computer):
    computer.configure(platform="kubernetes")
    volumes = [
        {"metadata": {"name": "pv-1"}, "spec": {"claimRef": {"namespace": "hybrid-chat"}}},
        {"metadata": {"name": "pv-2"}, "spec": {"claimRef": {"namespace": "shop"}}},
        {"metadata": {"name": "pv-3"}, "spec": {}},
    ]
    computer.answer("kubectl --context=kind-chat get namespace hybrid-chat", "namespace/hybrid-chat")
    computer.answer("kubectl --context=kind-chat get persistentvolumes", json.dumps({"items": volumes}))
    lines = computer.run("remains")[0].splitlines()
    assert lines[0].endswith("namespace hybrid-chat: kubectl --context=kind-chat delete namespace hybrid-chat")
    assert lines[1].endswith("pv-1: kubectl --context=kind-chat delete persistentvolume pv-1")
    assert len(lines) == 2
    computer.answer("kubectl", "")
    assert "Nothing of the stack dev was found" in computer.run("remains")[0]
    computer.answer("kubectl", "", status=1)
    assert "kubectl does not reach it" in computer.run("remains")[0]
