"""`make doctor` and `make up` against a Google Cloud project: what would stop the stack is said first."""

import json

import pytest

from tests.fakes.google_cloud.cloud import PERSON

# What a project has before its first `make up`: another program used Compute Engine.
USED = ("compute", "container", "firestore", "orgpolicy")
LONE = "The project my-project belongs to no organization, so Google's own sign-in"


@pytest.fixture
def project(online, google):
    google.enable(*USED)
    return online


@pytest.mark.slow
def test_a_project_that_has_everything_passes(project):
    output, _ = project.run("doctor")
    for line in ("project my-project", "billing", "GPU quotas", "organization policies", "the project is in an org"):
        assert f"  ok       {line}" in output


def test_a_fresh_project_lacks_nothing_that_make_up_does_not_bring(online):
    lines = online.run("doctor")[0].splitlines()
    later = [line for line in lines if line.startswith("  later")]
    assert any("APIs: make up enables" in line for line in later)
    assert any(
        line.endswith("GPU quotas: the API compute.googleapis.com is not enabled in the project") for line in later
    )


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["up", "preview"])
def test_a_project_without_billing_is_refused_with_the_link(project, google, verb):
    google.switches.billing = ""
    assert "billing/linkedaccount?project=my-project" in project.missing(verb)[0]


@pytest.mark.slow
def test_a_fresh_project_is_told_of_the_quota_that_is_zero_everywhere(project, google):
    google.switches.all_gpus = 0
    output, _ = project.run("up")
    assert "Gemma will wait for a GPU: GPUS_ALL_REGIONS is 0 in all regions, and 1 needed. Ask" in output
    google.switches.region_gpus["us-central1"] = 0
    sentence = "and NVIDIA_L4_GPUS is 0 in us-central1, and 1 needed (there is some in europe-west4, us-east4)"
    assert sentence in project.run("up")[0]
    project.configure(gemma="none")
    assert "Gemma will wait" not in project.run("up")[0]


@pytest.mark.slow
def test_quotas_of_several_gpus_count(project):
    project.configure(gemma="l4x4", huggingFaceToken=None)
    sentence = "GPUS_ALL_REGIONS is 1 in all regions and NVIDIA_L4_GPUS is 1 in us-central1, and 4 needed. Ask"
    assert sentence in project.run("up")[0]


@pytest.mark.slow
def test_quotas_count_for_each_server_of_gemma(project, google):
    project.configure(gemmaMaxReplicas="3", releaseChannel="RAPID")
    google.switches.versions["RAPID"] = "1.36.0-gke.1"
    google.switches.all_gpus = 2
    google.switches.region_gpus["us-central1"] = 3
    assert "GPUS_ALL_REGIONS is 2 in all regions, and 3 needed. Ask" in project.run("up")[0]


@pytest.mark.slow
def test_an_existing_network_is_looked_up(project, google):
    base = "compute.v1/projects/my-project"
    project.configure(network="lan")
    assert "network is lan, which the project my-project does not have" in project.missing("up")[0]
    google.resources[f"{base}/global/networks/lan"] = {"name": "lan", "autoCreateSubnetworks": False}
    assert "a custom-mode network, which needs a subnetwork in us-central1" in project.missing("up")[0]
    project.configure(subnetwork="lan-us")
    assert "subnetwork is lan-us, which us-central1 does not have" in project.missing("up")[0]
    google.resources[f"{base}/regions/us-central1/subnetworks/lan-us"] = {"name": "lan-us"}
    assert "  ok       network lan\n" in project.run("doctor")[0]


@pytest.mark.slow
def test_organization_policies_are_named_before_they_refuse(project, google):
    google.switches.policies["compute.vmExternalIpAccess"] = [{"denyAll": True}]
    assert "pulumi config set privateNodes true" in project.missing("up")[0]
    project.configure(privateNodes="true")
    project.run("up")
    rules = google.switches.policies["iam.allowedPolicyMemberDomains"] = [{"values": {"allowedValues": ["C01"]}}]
    assert "policy iam.allowedPolicyMemberDomains: people of other domains" in project.run("up")[0]
    rules[:] = [{"allowAll": True}]
    assert "allowedPolicyMemberDomains" not in project.run("up")[0]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["up", "preview", "doctor"])
def test_sign_in_that_would_admit_no_user_is_reported_before_anything_is_created(project, google, verb):
    google.switches.organization = ""
    assert LONE in "".join(project.run(verb, status=1))
    google.switches.folder = "987"
    assert LONE not in project.run(verb)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"exposure": "private"},
        {"exposure": "public-http"},
        {"identity": "anonymous"},
        {"oauthClientId": "1-a.apps.googleusercontent.com", "oauthClientSecret": None, "allowedPeople": '["a.org"]'},
    ],
)
def test_other_sign_ins_need_no_organization(project, google, settings):
    google.switches.organization = ""
    project.configure(**settings)
    assert LONE not in project.run("up")[0]


@pytest.mark.slow
def test_a_cluster_that_the_stack_has_no_record_of_is_refused_and_its_own_is_not(project, google):
    key = "container.v1/projects/my-project/locations/us-central1/clusters/gradio-chat-cluster"
    google.resources[key] = {"name": "gradio-chat-cluster"}
    assert "gcloud container clusters delete gradio-chat-cluster" in project.missing("up")[0]
    state = {"deployment": {"resources": [{"type": "gcp:container/cluster:Cluster"}]}}
    project.answer("pulumi stack export", json.dumps(state))
    project.run("up")
    project.answer("pulumi stack export", status=1)
    assert "  later    names: the stack's state cannot be read" in project.run("doctor")[0]


@pytest.mark.slow
def test_a_word_is_embedded_where_the_settings_say(project, google):
    project.configure(embeddings="gemini")
    unknown = "  later    embeddings: the API aiplatform.googleapis.com is not enabled in the project\n"
    assert unknown in project.run("doctor")[0]
    google.enable("aiplatform")
    for location, model in {"": "2", "eu": "2", "europe-west4": "001"}.items():
        project.configure(vertexLocation=location)
        line = f"  ok       embedding model gemini-embedding-{model} at {location or 'global'}\n"
        assert line in project.run("doctor")[0]
    project.configure(embeddingsModel="gemini-embedding-2")
    sentence = "no embedding model gemini-embedding-2 at europe-west4, so documents would be found by words alone: "
    assert f"{sentence}pulumi config set embeddingsModel gemini-embedding-001\n" in project.run("up")[0]
    google.switches.denied.add("aiplatform.embeddings")
    assert "Your account may not use the embedding model gemini-embedding-2" in project.run("up")[0]


def test_nothing_is_embedded_where_the_embeddings_are_not_vertex_ai(project, google):
    google.enable("aiplatform")
    project.configure(embeddings="server", embeddingsUrl="http://tei.embeddings.svc:8080")
    project.run("doctor")
    assert "aiplatform.embeddings" not in google.calls


def test_the_token_of_hugging_face_is_read_for_its_check_and_never_printed(project, google):
    project.configure(gemma="l4x2", huggingFaceToken=None)
    project.answer("pulumi config get huggingFaceToken", "hf_thetoken")
    google.switches.gated.add("google/gemma-3-12b-it")
    sentences = project.missing("up")
    assert "accept their terms at https://huggingface.co/google/gemma-3-12b-it" in sentences[0]
    assert "hf_thetoken" not in "".join(sentences)


def test_nothing_is_checked_without_credentials(project, google):
    project.answer("gcloud auth application-default", status=1)
    project.answer("gcloud auth print-access-token", status=1)
    output, _ = project.run("doctor", status=1)
    assert "later    the project my-project: without Google's credentials it cannot be checked" in output
    assert google.calls == []


@pytest.mark.slow
def test_an_access_token_in_the_environment_is_used(project, google, monkeypatch):
    project.answer("gcloud auth application-default", status=1)
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", PERSON)
    assert "  ok       billing\n" in project.run("doctor")[0]
    monkeypatch.setenv("GOOGLE_OAUTH_ACCESS_TOKEN", "expired")
    output, _ = project.run("doctor")
    assert "  later    billing: the credentials are not accepted: gcloud auth application-default login" in output


def test_googles_token_is_sent_to_google_only(project, google, monkeypatch):
    sent = []
    monkeypatch.setattr(google, "other_answer", lambda method, _: (200, sent.append(method) or {}))
    headers = []
    answer = google.answer
    monkeypatch.setattr(
        google, "answer", lambda verb, url, given, body: headers.append((url, given)) or answer(verb, url, given, body)
    )
    project.run("doctor")
    assert sent == ["huggingface.models"]
    assert {"googleapis.com"} == {url.split("/")[2].partition(".")[2] for url, _ in headers}


@pytest.mark.slow
def test_without_the_internet_each_check_says_so(computer):
    computer.answer("gcloud auth application-default print-access-token", PERSON)
    output, _ = computer.run("doctor")
    assert "  later    billing: cloudbilling.googleapis.com cannot be reached" in output


@pytest.mark.slow
def test_a_program_that_does_not_end_is_given_up(computer, monkeypatch):
    monkeypatch.setattr("stacks.preflight.programs.TIMEOUT_SECONDS", 0.2)
    (computer.bin / "gcloud").write_text("#!/bin/sh\nexec sleep 60\n")
    (computer.bin / "sleep").symlink_to("/bin/sleep")
    output, _ = computer.run("doctor", status=1)
    assert "gcloud is not logged in" in output
