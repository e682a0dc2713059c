"""`make doctor` and `make up` report what in the Google Cloud project would stop the stack."""

import json

import pytest

ENABLED = "gcloud services list --enabled"
ALL_GPUS = "gcloud compute project-info describe"
REGION_GPUS = "gcloud compute regions describe us-central1"


def quotas(**limits):
    return json.dumps({"quotas": [{"metric": name, "limit": limit} for name, limit in limits.items()]})


@pytest.fixture
def project(computer):
    """A project with billing, the API of Compute Engine and one L4."""
    computer.answer("gcloud billing projects describe my-project", "True")
    computer.answer(ENABLED, "compute.googleapis.com")
    computer.answer(ALL_GPUS, quotas(CPUS=100, GPUS_ALL_REGIONS=1))
    computer.answer(REGION_GPUS, quotas(NVIDIA_L4_GPUS=1))
    return computer


def test_a_project_that_has_everything_passes(project):
    output, _ = project.run("doctor")
    assert "  ok       billing\n" in output
    assert "  ok       GPU quotas\n" in output


def test_a_project_without_billing_is_refused_with_the_link(project):
    project.answer("gcloud billing projects describe my-project", "False")
    assert "billing/linkedaccount?project=my-project" in project.missing("up")[0]


def test_a_fresh_project_is_told_of_the_quota_that_is_zero_everywhere(project):
    project.answer(ALL_GPUS, quotas(GPUS_ALL_REGIONS=0))
    output, _ = project.run("up")
    assert "Gemma will wait for a GPU: GPUS_ALL_REGIONS is 0 in all regions, and 1 needed" in output
    project.answer(REGION_GPUS, quotas(NVIDIA_L4_GPUS=0))
    assert "and NVIDIA_L4_GPUS is 0 in us-central1" in project.run("up")[0]
    project.configure(gemma="none")
    assert "Gemma will wait" not in project.run("up")[0]


def test_quotas_of_several_gpus_count(project):
    project.configure(gemma="l4x4", huggingFaceToken=None)
    assert (
        "GPUS_ALL_REGIONS is 1 in all regions and NVIDIA_L4_GPUS is 1 in us-central1, and 4 needed"
        in (project.run("up")[0])
    )


@pytest.mark.parametrize("status", [0, 1])
def test_what_cannot_be_read_stops_nothing(project, status):
    for command in ("gcloud billing", ALL_GPUS, REGION_GPUS):
        project.answer(command, "not JSON" if status == 0 else "", status=status)
    project.answers = {key: value for key, value in project.answers.items() if not key.startswith("gcloud billing p")}
    output, _ = project.run("doctor")
    assert "  later    billing: it cannot be read" in output
    assert "  later    GPU quotas: they cannot be read" in output


def test_without_the_api_of_compute_engine_quotas_are_checked_later(project):
    project.answer(ENABLED, "")
    assert "  later    GPU quotas and the network" in project.run("doctor")[0]
    assert not any(call.startswith("gcloud compute") for call in project.calls())


def test_an_existing_network_is_looked_up(project):
    describe = "gcloud compute networks describe lan"
    project.configure(network="lan")
    project.answer(describe, status=1)
    assert "network is lan, which cannot be read in the project my-project" in project.missing("up")[0]
    project.answer(describe, "False")
    assert "a custom-mode network, which needs a subnetwork in us-central1" in project.missing("up")[0]
    project.configure(subnetwork="lan-us")
    project.run("up")
    project.answer(describe, "True")
    project.configuration.pop("hybrid-chat:subnetwork")
    assert "  ok       network lan\n" in project.run("doctor")[0]


def test_organization_policies_are_named_before_they_refuse(project):
    deny = json.dumps({"spec": {"rules": [{"denyAll": True}]}})
    project.answer("gcloud org-policies describe compute.vmExternalIpAccess", deny)
    assert "pulumi config set privateNodes true" in project.missing("up")[0]
    project.configure(privateNodes="true")
    project.run("up")
    rules = json.dumps({"spec": {"rules": [{"values": {"allowedValues": ["C01"]}}]}})
    project.answer("gcloud org-policies describe iam.allowedPolicyMemberDomains", rules)
    assert "policy iam.allowedPolicyMemberDomains: people of other domains" in project.run("up")[0]
    allow = json.dumps({"spec": {"rules": [{"allowAll": True}]}})
    project.answer("gcloud org-policies describe iam.allowedPolicyMemberDomains", allow)
    assert "allowedPolicyMemberDomains" not in project.run("up")[0]


def test_a_program_that_does_not_end_is_given_up(project, monkeypatch):
    monkeypatch.setattr("stacks.preflight.programs.TIMEOUT_SECONDS", 0.2)
    (project.bin / "gcloud").write_text("#!/bin/sh\nexec sleep 60\n")
    (project.bin / "sleep").symlink_to("/bin/sleep")
    output, _ = project.run("doctor", status=1)
    assert "gcloud is not logged in" in output
    assert "  later    billing: it cannot be read" in output
