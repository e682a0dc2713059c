"""`residency` binds every location of a deployment, and refuses one that lies outside before anything is created."""

from __future__ import annotations

import re

import pytest

from stacks.settings import InvalidSettings, Settings
from stacks.validation.residency import RESIDENCIES
from tests.stacks.deployments import EUROPEAN, GCP, GOOGLE_SIGN_IN, PROJECT
from tests.stacks.recording import Deployed, deploy, seen

AMERICAN = GCP | {"residency": "us", "gemma": "none"}
EU = re.compile(r"(?:europe-(?!west[26]\b)[a-z]+\d+|eur3|eu)$")
US = re.compile(r"(?:us-[a-z]+\d+|nam[57]|us)$")
LOCATION = ("location", "locationId", "region")


def locations(run: Deployed) -> dict[str, str]:
    """Return each location among the inputs of Google's resources, and that of Gemini."""
    every = {
        f"{resource.urn} {key}": str(resource.inputs[key]).lower()
        for resource in run.resources
        if resource.type.startswith("gcp:")
        for key in LOCATION
        if key in resource.inputs
    }
    (container,) = run.one("Deployment", "gradio-chat-deployment")["spec.template.spec.containers"]
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    build = run.one("Command", "build")["environment"]["REGION"]
    return every | {"Gemini": variables["GOOGLE_CLOUD_LOCATION"], "Cloud Build": build}


@pytest.mark.slow
@pytest.mark.parametrize(("config", "inside"), [(EUROPEAN, EU), (AMERICAN, US)], ids=["eu", "us"])
def test_every_location_lies_inside(config: dict[str, str], inside: re.Pattern[str]) -> None:
    every = locations(deploy(config))
    kinds = {key.rpartition("::")[0].rpartition("$")[2] for key in every}
    expected = {"firestore/database:Database", "container/cluster:Cluster", "storage/bucket:Bucket"}
    expected |= {"artifactregistry/repository:Repository", "logging/projectBucketConfig:ProjectBucketConfig"}
    assert {f"gcp:{kind}" for kind in expected} <= kinds
    assert {key: place for key, place in every.items() if not inside.match(place)} == {}


def test_the_chat_knows_that_no_location_outside_may_be_suggested() -> None:
    for config, expected in ((EUROPEAN, "eu"), (GCP, None)):
        (container,) = seen(config).one("Deployment", "gradio-chat-deployment")["spec.template.spec.containers"]
        values = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert values.get("CHAT_RESIDENCY") == expected


def test_without_it_the_defaults_are_as_before_and_the_logs_stay_in_the_project() -> None:
    run = seen(GCP)
    assert (locations(run)["Gemini"], locations(run)["Cloud Build"]) == ("global", "global")
    assert run.one("firestore/database:Database")["locationId"] == "nam5"
    assert not any(r.type.startswith("gcp:logging") for r in run.resources)


def test_the_logs_of_cluster_and_load_balancer_go_to_a_bucket_of_their_own_and_to_no_other() -> None:
    run = seen(EUROPEAN)
    bucket, sink, exclusion = (run.one(kind) for kind in ("ProjectBucketConfig", "ProjectSink", "ProjectExclusion"))
    assert sink["destination"] == f"logging.googleapis.com/projects/{PROJECT}/locations/eu/buckets/{bucket['bucketId']}"
    assert sink["filter"] == exclusion["filter"]
    for part in ('cluster_name="gradio-chat-cluster"', 'location:"europe-west4"', "-hybrid-chat-"):
        assert part in sink["filter"]
    assert run.needs(exclusion, sink), "an entry that is excluded before the sink exists is lost"
    assert bucket["bucketId"] != sink["name"], "Google holds the name of a deleted bucket for 7 days"
    assert any(r["service"] == "logging.googleapis.com" for r in run.of_type("projects/service:Service"))


WRONG = {
    "the default region": ({"gcp:region": ""}, "gcp:region is us-central1, which lies outside of the European Union"),
    "London": ({"gcp:region": "europe-west2"}, "gcp:region is europe-west2, which lies outside"),
    "Zurich": ({"gcp:region": "europe-west6"}, "pulumi config set gcp:region europe-west4"),
    "an American database": ({"databaseLocation": "nam5"}, "databaseLocation is nam5, which lies outside"),
    "a database in Zurich": ({"databaseLocation": "europe-west6"}, "it holds the conversations; remove the setting"),
    "the model anywhere": ({"vertexLocation": "global"}, "vertexLocation is global, which gives no residency"),
    "the model in the United States": ({"vertexLocation": "us"}, "vertexLocation is us, which lies outside"),
    "the model in Iowa": ({"vertexLocation": "us-central1"}, "remove the setting (eu), or choose a region of the"),
    "a build anywhere": ({"buildRegion": "global"}, "buildRegion is global, which gives no residency"),
    "a build in Iowa": ({"buildRegion": "us-central1"}, "buildRegion is us-central1, which lies outside"),
    "another server": ({"gemmaUrl": "https://gemma.example.org"}, "the stack cannot know where that server is"),
}


@pytest.mark.parametrize(("config", "message"), WRONG.values(), ids=WRONG)
def test_what_lies_outside_is_refused_in_words(config: dict[str, str], message: str) -> None:
    values = {key: value for key, value in (EUROPEAN | config).items() if value}
    with pytest.raises(InvalidSettings, match=re.escape(message)):
        deploy(values)


def test_everything_outside_is_reported_at_once() -> None:
    wrong = EUROPEAN | {"gcp:region": "asia-east1", "databaseLocation": "nam7", "vertexLocation": "global"}
    with pytest.raises(InvalidSettings, match="3 settings are wrong"):
        deploy(wrong)


@pytest.mark.parametrize(
    "config",
    [
        {"databaseLocation": "europe-west3", "vertexLocation": "europe-west1", "gcp:region": "europe-north1"},
        {"vertexLocation": "eu", "databaseLocation": "eur3"},
        {"buildRegion": "europe-west1"},
    ],
    ids=str,
)
def test_another_place_inside_is_accepted(config: dict[str, str]) -> None:
    assert Settings.checked(EUROPEAN | config).residency == "eu"


def test_the_defaults_of_each_residency_are_inside_of_it() -> None:
    for name, residency in RESIDENCIES.items():
        assert Settings.checked(GCP | {"residency": name, "gcp:region": residency.region}).residency == name


def test_another_cluster_has_no_residency() -> None:
    with pytest.raises(InvalidSettings, match="residency has no effect on platform kubernetes"):
        Settings.checked({"platform": "kubernetes", "residency": "eu"})


@pytest.mark.slow
def test_a_running_database_is_not_moved_by_it() -> None:
    with pytest.raises(Exception, match="databaseLocation"):
        deploy(EUROPEAN, remembered={"database-location": "nam5"})


@pytest.mark.slow
def test_the_load_balancers_logs_are_those_of_the_stack_alone() -> None:
    run = deploy(GOOGLE_SIGN_IN | {"residency": "us"})
    pattern = re.search(r'backend_service_name=~"([^"]+)"', run.one("ProjectSink")["filter"])
    assert pattern is not None
    assert re.match(pattern[1], "gkegw1-x7k2-hybrid-chat-gradio-chat-service-7860-abc")
    assert not re.match(pattern[1], "gkegw1-x7k2-shop-frontend-80-abc")
