"""Gemma's weights in a bucket: who may read and write it, who has the token, what waits for what."""

from __future__ import annotations

import json
import re

import pytest

from chatapp.weights.__main__ import WeightsSettings
from chatapp.weights.errors import EXIT_PERMANENT as PROGRAMS_STATUS
from gemma.profiles import GEMMA_3, PROFILES, REVISIONS
from stacks.components.model_weights import EXIT_PERMANENT
from stacks.settings import InvalidSettings, Settings
from tests.stacks.components.test_vllm_arguments import DATA
from tests.stacks.deployments import GCP, KUBERNETES, PRIVATE, PROJECT, TOKEN, of_profile
from tests.stacks.recording import Deployed, Registered, deploy, seen

pytestmark = pytest.mark.slow  # many deployments

BUCKET = "my-proj-1-gemma-weights"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def job(run: Deployed) -> Registered:
    (found,) = run.of_type("Job")
    return found


def server(run: Deployed) -> Registered:
    return run.one("Deployment", "gemma-deployment")


def variables(resource: Registered) -> dict[str, dict]:
    (container,) = resource["spec.template.spec.containers"]
    return {variable["name"]: variable for variable in container["env"]}


def test_vllm_streams_what_the_job_copied() -> None:
    run = seen(PRIVATE)
    values = {name: variable.get("value", "") for name, variable in variables(job(run)).items()}
    settings = WeightsSettings.model_validate(values)
    assert (settings.model, settings.revision, settings.bucket) == (GEMMA_3, REVISIONS[GEMMA_3], BUCKET)
    model, *options = server(run)["spec.template.spec.containers.0.args"]
    assert model == f"gs://{BUCKET}/{GEMMA_3}/{REVISIONS[GEMMA_3]}"
    assert "--load-format=runai_streamer" in options
    assert not any(option.startswith("--revision") for option in options), "the path names it"
    assert {option.partition("=")[0] for option in options} <= set(DATA["options"])
    assert '--limit-mm-per-prompt={"image":2}' in options, "by the model's name, not by the path"


@pytest.mark.parametrize(
    "profile",
    ["l4x1", "l4x4", *(pytest.param(p, marks=pytest.mark.long) for p in PROFILES if p not in {"l4x1", "l4x4"})],
)
def test_the_streamers_buffers_fit_into_the_memory_of_each_profile(profile: str) -> None:
    settings = {"weightsBucket": "true", "image": "example.org/chat:1"}
    commit = {} if PROFILES[profile].model else {"gemmaRevision": COMMIT}
    run = deploy(GCP | TOKEN | of_profile(profile) | settings | commit)
    groups = run.of_type("LeaderWorkerSet")
    pod = "spec.leaderWorkerTemplate.workerTemplate" if groups else "spec.template"
    (option,) = (
        it for it in (groups[0] if groups else server(run))[f"{pod}.spec.containers.0.args"] if "loader-extra" in it
    )
    given = json.loads(option.partition("=")[2])
    gpus = PROFILES[profile].gpus
    assert given["memory_limit"] * gpus <= PROFILES[profile].memory * 2**30 / 3
    assert given.get("distributed", False) == (gpus > 1)


def test_only_the_job_has_the_token() -> None:
    run = seen(PRIVATE)
    assert variables(job(run))["HF_TOKEN"]["valueFrom"]["secretKeyRef"]["name"] == "gemma-weights-token"
    assert "HF_TOKEN" not in variables(server(run))
    names = {secret["metadata.name"] for secret in run.of_type("kubernetes:core/v1:Secret")}
    assert "gemma-weights-token" in names
    assert "hf-secret" not in names
    without = deploy(GCP | {"weightsBucket": "true", "exposure": "private"})
    assert "HF_TOKEN" not in variables(job(without))


def test_the_bucket_is_open_to_exactly_two_accounts() -> None:
    run = seen(PRIVATE)
    grants = {
        (grant["role"], grant["member"].rpartition("/")[2])
        for grant in run.of_type("storage/bucketIAMMember:BucketIAMMember")
        if grant["bucket"] == BUCKET
    }
    assert grants == {
        ("roles/storage.objectUser", "gemma-weights-ksa"),
        ("roles/storage.objectViewer", "gemma-ksa"),
        ("roles/storage.bucketViewer", "gemma-ksa"),
    }
    assert job(run)["spec.template.spec.serviceAccountName"] == "gemma-weights-ksa"
    assert server(run)["spec.template.spec.serviceAccountName"] == "gemma-ksa"
    bucket = run.one("storage/bucket:Bucket", BUCKET)
    assert (bucket["location"], bucket["publicAccessPrevention"]) == ("us-central1", "enforced")
    assert bucket["forceDestroy"] is True, "it is deleted with the stack"
    assert bucket["labels"] == {"hybrid-chat": "dev"}


def test_the_server_waits_for_the_job_and_the_chat_does_not() -> None:
    run = seen(PRIVATE)
    assert run.needs(server(run), job(run))
    assert run.needs(job(run), run.one("storage/bucketIAMMember:BucketIAMMember", "weights-write"))
    assert not run.needs(run.one("Deployment", "gradio-chat-deployment"), job(run))
    assert run.needs(job(run), run.one("docker:index/image:Image")), "it runs the chat's image"


def test_another_model_gets_a_job_of_its_own_and_a_new_image_does_not() -> None:
    first = job(seen(PRIVATE))
    other = job(deploy(PRIVATE | {"gemmaRevision": COMMIT}))
    assert first.urn != other.urn
    assert first["metadata.name"] != other["metadata.name"]
    assert list(first.request.ignoreChanges) == ["spec"]


def test_an_error_for_good_ends_the_job() -> None:
    assert EXIT_PERMANENT == PROGRAMS_STATUS
    spec = job(seen(PRIVATE))["spec"]
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"] == {"containerName": "copy", "operator": "In", "values": [EXIT_PERMANENT]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never", "Kubernetes wants that with a failure policy"


def test_without_the_setting_nothing_of_it_exists() -> None:
    run = seen(GCP)
    assert run.of_type("Job") == []
    assert not any(bucket["name"] == BUCKET for bucket in run.of_type("storage/bucket:Bucket"))
    model, revision, *_ = server(run)["spec.template.spec.containers.0.args"]
    assert not model.startswith("gs://")
    assert revision.startswith("--revision=")


def test_its_api_is_enabled_without_builds_too() -> None:
    run = deploy(GCP | {"weightsBucket": "true", "exposure": "private", "image": "example.org/chat:1"})
    services = [service["service"] for service in run.of_type("projects/service:Service")]
    assert services.count("storage.googleapis.com") == 1


WRONG = {
    "without Gemma": (GCP | {"gemma": "none"}, "weightsBucket has no effect without GPUs of this stack"),
    "on another cluster": (KUBERNETES, "weightsBucket has no effect on platform kubernetes"),
    "another model": (GCP | {"gemmaModel": "team/gemma-4"}, "gemmaRevision is not set: set it to a commit"),
    "a branch": (GCP | {"gemmaRevision": "main"}, "gemmaRevision is main: set it to a commit"),
}


@pytest.mark.parametrize(("config", "told"), WRONG.values(), ids=WRONG)
def test_what_cannot_work_is_refused(config: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidSettings, match=re.escape(told)):
        Settings.checked(config | {"weightsBucket": True})


def test_another_model_at_a_commit_is_accepted() -> None:
    config = GCP | {"gemmaModel": "team/gemma-4", "gemmaRevision": COMMIT, "weightsBucket": True}
    assert Settings.checked(config).weights == ("team/gemma-4", COMMIT)
    assert Settings.checked(config).project == PROJECT
