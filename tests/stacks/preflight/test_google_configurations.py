"""Projects that differ from each other, each from `make doctor` to `make up` to `make destroy`, on the fake."""

import json
import os
import subprocess
from pathlib import Path

import pulumi
import pytest

from stacks.apis import apis_of
from stacks.names import Names
from stacks.preflight.kinds import Owner
from stacks.preflight.remains import lines, look
from stacks.settings import Settings
from tests.fakes.google_cloud import gcloud
from tests.fakes.google_cloud.cloud import SERVICE, Cloud
from tests.fakes.google_cloud.load_balancer import HEALTH_RULE
from tests.stacks.deployments import (
    EUROPEAN,
    GCP,
    INFERENCE_GATEWAY,
    MORE_DEPLOYMENTS,
    OWN_IAP_CLIENT,
    PROJECT,
    PUBLIC_HTTP,
)
from tests.stacks.google_lifecycle import Lifecycle, RefusedError
from tests.stacks.preflight.conftest import ROOT
from tests.stacks.recording import BILLING, deploy, seen

LONE, FOLDERED = "lone-proj-1", "foldered-1"  # `recording` has them without an organization, and in a folder
BUDGET = {"monthlyBudget": "300"}

# What goes on: name -> (settings, project, switches, what doctor says).
GOES_ON = {
    "no network default": (GCP, PROJECT, {"default_network": False}, "ok       project"),
    "no GPU in all regions": (GCP, PROJECT, {"all_gpus": 0}, "note     Gemma will wait for a GPU: GPUS_ALL_REGIONS"),
    "in a folder": (
        GCP | {"gcp:project": FOLDERED},
        FOLDERED,
        {"folder": "987654"},
        "ok       the project is in a fold",
    ),
    "no organization, own client": (
        OWN_IAP_CLIENT | {"gcp:project": LONE},
        LONE,
        {"organization": ""},
        "note     oauthClientId belongs",
    ),
    "no organization, private": (
        GCP | {"gcp:project": LONE, "exposure": "private", "gemma": "none"},
        LONE,
        {"organization": ""},
        "ok       project",
    ),
    "a person's credentials, with a budget": (PUBLIC_HTTP, PROJECT, {}, "ok       rights"),
    "no external addresses, private nodes": (
        MORE_DEPLOYMENTS["gcp, private nodes"],
        PROJECT,
        {"policies": {"compute.vmExternalIpAccess": [{"denyAll": True}]}},
        "ok       project",
    ),
    "logs of its own": (EUROPEAN, PROJECT, {}, "ok       project"),
    "an internal load balancer": (
        INFERENCE_GATEWAY,
        PROJECT,
        {"versions": {"RAPID": "1.35.1-gke.1396000"}},
        "ok       GKE 1.35.1",
    ),
}
# What is refused: name -> (settings, project, switches, what doctor says, what the deployment itself would say).
REFUSED = {
    "no organization": (GCP | {"gcp:project": LONE}, LONE, {"organization": ""}, "belongs to no organization", ""),
    "no billing": (GCP, PROJECT, {"billing": ""}, "has no active billing account", "no active billing account"),
    "network default is chosen and there is none": (
        GCP | {"network": "default"},
        PROJECT,
        {"default_network": False},
        "network is default, which the project my-proj-1 does not have",
        "networks/default' cannot be found",
    ),
    "no external addresses": (
        GCP,
        PROJECT,
        {"policies": {"compute.vmExternalIpAccess": [{"denyAll": True}]}},
        "pulumi config set privateNodes true",
        "A policy of your organization forbids this",
    ),
}


@pytest.fixture
def cloud():
    """A project as `recording` has it; `prepared` makes it another one."""
    return Cloud(PROJECT, billing=BILLING)


def prepared(cloud, project, switches):
    """Make `cloud`, which is served already, the project of a configuration; other programs used some APIs there."""
    vars(cloud).update(vars(Cloud(project, **{"billing": BILLING} | switches)))
    if cloud.switches.billing:
        cloud.enable("compute", "container", "orgpolicy")


def doctor(computer, settings, *, status=0):
    """Run `make doctor` over HTTPS with a stack's settings, and return what it prints."""
    computer.configuration = {
        key if ":" in key else f"hybrid-chat:{key}": None if "Secret" in key or "Token" in key else value
        for key, value in settings.items()
    }
    return computer.run("doctor", status=status)[0]


def in_process(cloud):
    """Return a gcloud that reads the cloud without a program."""

    def read(verb, address):
        return cloud.answer(verb, f"https://{address}", {"authorization": f"Bearer {SERVICE}"}, {})

    def output_of(*command):
        return gcloud.output(read, tuple(command[1:]))

    return output_of


def cleaner(cloud):
    """Return what the stack's script does at destroy, without a program."""
    run = in_process(cloud)
    chosen = "--filter=network:/gradio-chat-network$ AND name~^(gke|k8s|gkegw)"

    def clean():
        for name in run(
            "gcloud", "compute", "firewall-rules", "list", f"--project={cloud.project}", chosen, "--format=value(name)"
        ).split():
            run("gcloud", "compute", "firewall-rules", "delete", name, f"--project={cloud.project}")

    return clean


def remains(cloud, monkeypatch):
    """Return what `make destroy` lists at its end."""
    monkeypatch.setattr("stacks.preflight.remains.output_of", in_process(cloud))
    owner = Owner(Names("dev"), cloud.project, "us-central1")
    return list(lines(look(owner), owner))


def kept(cloud):
    """Return what exists that a project does not have from the beginning, and that stays for a reason."""
    return {key for key in cloud.resources if not key.startswith("iam.pool/") and not key.endswith("/networks/default")}


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "project", "switches", "said"), GOES_ON.values(), ids=GOES_ON)
@pytest.mark.parametrize("leaves", [False, True], ids=["clean", "GKE leaves a firewall rule"])
def test_what_goes_on_ends_with_a_chat_and_then_with_nothing(
    request, cloud, monkeypatch, settings, project, switches, said, leaves
):
    run = seen(settings)
    prepared(cloud, project, switches | {"leaves_firewall_rule": leaves})
    if not leaves:
        assert said in doctor(request.getfixturevalue("online"), settings)
    life = Lifecycle(run, cloud, clean=cleaner(cloud))
    life.up()
    assert any(urn.endswith("apps/v1:Deployment::chat") for urn in life.made), "the chat"
    assert cloud.of_kind("container.v1", "clusters").keys() == {"gradio-chat-cluster"}
    before = remains(cloud, monkeypatch)
    assert "GKE cluster gradio-chat-cluster" in "\n".join(before), "the list sees what is there"
    life.destroy()
    assert kept(cloud) == set()
    assert all(policy["bindings"] == [] for policy in cloud.policies.values())
    assert "Nothing of this stack was found" in "\n".join(remains(cloud, monkeypatch))


@pytest.mark.slow
@pytest.mark.parametrize(("settings", "project", "switches", "said", "error"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_before_anything_is_made(request, cloud, settings, project, switches, said, error):
    prepared(cloud, project, switches)
    state = (dict(cloud.resources), dict(cloud.enabled))
    if error:
        run = seen(settings)
        unchecked = Cloud(project)
        unchecked.__dict__.update(cloud.__dict__ | {"resources": {}, "enabled": {}, "operations": {}, "policies": {}})
        with pytest.raises(RefusedError) as refused:
            Lifecycle(run, unchecked).up()
        assert error in str(refused.value) + refused.value.advice, "Google refuses it too, later"
        assert not unchecked.of_kind("container.v1", "clusters")
    else:
        with pytest.raises(pulumi.RunError, match=said):
            deploy(settings)
    computer = request.getfixturevalue("online")
    assert said in doctor(computer, settings, status=1)
    assert said in "".join(computer.run("up", status=1))
    assert (cloud.resources, cloud.enabled) == state, "make up ends with its checks"


def test_a_budget_without_a_provider_of_its_own_would_be_refused_for_a_person(cloud):
    run = seen(PUBLIC_HTTP)
    budget = run.one("Budget")
    provider = run.one("providers:gcp")
    assert budget.provider == provider.name
    overridden = provider.inputs.pop("userProjectOverride")
    try:
        with pytest.raises(RefusedError, match="requires a quota project") as refused:
            Lifecycle(run, cloud).up()
        assert "gcp:userProjectOverride true" in refused.value.advice
        Lifecycle(run, Cloud(PROJECT, billing=BILLING), token=SERVICE).up()
    finally:
        provider.inputs["userProjectOverride"] = overridden


@pytest.mark.parametrize(
    ("kind", "error"),
    {
        "firestore/field:Field": "too much contention|404",
        "compute/subnetwork:Subnetwork": "networks/gradio-chat-network'",
        "container/cluster:Cluster": "not found|cannot be found|not ready",
        "projects/iAMMember:IAMMember": "does not exist|not supported",
        "storage/bucketIAMMember:BucketIAMMember": "404|does not exist",
    }.items(),
)
def test_a_dependency_that_is_not_declared_is_refused(cloud, monkeypatch, kind, error):
    run = seen(GCP)
    monkeypatch.setattr("tests.stacks.google_lifecycle.PATIENCE", "no hook")
    monkeypatch.setattr("tests.stacks.google_lifecycle.Lifecycle._needs", _forgetting(kind))
    cloud.enable(*(api.partition(".")[0] for api in apis_of(Settings.checked(GCP))))
    with pytest.raises(RefusedError, match=error):
        Lifecycle(run, cloud).up()


def _forgetting(kind):
    whole = Lifecycle._needs

    def needs(self, resource):
        return set() if resource.type.endswith(kind) else whole(self, resource)

    return needs


def test_without_the_hook_an_api_that_is_not_ready_ends_the_deployment(cloud, monkeypatch):
    monkeypatch.setattr("tests.stacks.google_lifecycle.PATIENCE", "no hook")
    with pytest.raises(RefusedError, match="SERVICE_DISABLED"):
        Lifecycle(seen(GCP), cloud).up()


def test_a_role_that_takes_two_minutes_delays_the_build_and_one_that_takes_longer_ends_it(cloud):
    cloud.switches.role_seconds = 110
    Lifecycle(seen(GCP), cloud).up()
    slow = Cloud(PROJECT, billing=BILLING, role_seconds=1000)
    with pytest.raises(RefusedError, match=r"Command build: .*denied"):
        Lifecycle(seen(GCP), slow).up()


def test_what_a_failed_destroy_leaves_is_listed_with_its_commands(cloud, monkeypatch):
    cloud.switches.leaves_firewall_rule = True
    life = Lifecycle(seen(PUBLIC_HTTP), cloud)  # without the script
    life.up()
    with pytest.raises(RefusedError, match="already being used"):
        life.destroy()
    listed = "\n".join(remains(cloud, monkeypatch))
    assert f"gcloud compute firewall-rules delete {HEALTH_RULE} --project {PROJECT}" in listed
    assert f"gcloud compute networks delete gradio-chat-network --project {PROJECT}" in listed


@pytest.mark.slow
@pytest.mark.usefixtures("google")
def test_the_script_deletes_what_gke_left_with_gclouds_own_commands(cloud):
    cloud.switches.leaves_firewall_rule = True
    life = Lifecycle(seen(PUBLIC_HTTP), cloud)
    life.up()
    cloud.resources[f"compute.v1/projects/{PROJECT}/global/firewalls/mine"] = {"name": "mine", "network": "x/lan"}
    folder = Path(os.environ["SSL_CERT_FILE"]).parent
    gcloud.install(folder, ROOT)
    command = life._run.one("Command", "leftovers")
    environment = os.environ | {"PATH": f"{folder}:/usr/bin:/bin", **command["environment"]}
    subprocess.run(["sh", f"{ROOT}/stacks/components/network_leftovers.sh"], env=environment, check=True)
    assert cloud.of_kind("compute.v1", "firewalls").keys() == {"mine"}


@pytest.mark.slow
def test_an_interrupted_stack_is_found_by_its_names(cloud, request):
    run = seen(GCP)
    prepared(cloud, PROJECT, {})
    cloud.enable("firestore")
    Lifecycle(run, cloud).up()
    computer = request.getfixturevalue("online")
    output = doctor(computer, GCP, status=1)
    assert "cluster gradio-chat-cluster (if nothing uses it: gcloud container clusters delete" in output
    assert "database chat-app-db (it may hold conversations" in output
    recorded = [{"type": resource.type} for resource in run.resources]
    computer.answer("pulumi stack export", json.dumps({"deployment": {"resources": recorded}}))
    assert "ok       names" in doctor(computer, GCP)
