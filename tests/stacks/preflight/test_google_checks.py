"""Every check of the Google Cloud project passing, warning, failing, timing out and forbidden, over HTTPS."""

import pytest

from stacks.names import Names
from stacks.preflight.checks import Project, run_checks
from stacks.preflight.google_api import GoogleApi
from stacks.preflight.google_project import CHECKS
from stacks.preflight.report import Report
from stacks.settings import Settings
from tests.fakes.google_cloud.cloud import PERSON
from tests.stacks.deployments import of_profile

STATES = ("pass", "note", "fail", "timing out", "forbidden")
CLIENT = {"oauthClientId": "123456789012-a.apps.googleusercontent.com", "oauthClientSecret": "s", "identity": "iap"}
OTHER_CLIENT = CLIENT | {"oauthClientId": "99-a.apps.googleusercontent.com"}
GATED = {"gemma": "l4x2", "huggingFaceToken": "hf_abcdefghij"}
EMBEDDED = {"embeddings": "gemini"}
DENIED = "this account may not read it"


class Row:
    """One check in one state.

    Args:
        text: what the report says.
        settings: of the stack.
        switches: of the cloud.
        apis: that are enabled.
        made: resources that exist, ``api/path`` -> the resource.
        recorded: types in the stack's state.
    """

    def __init__(self, text, *, settings=None, apis=(), made=None, recorded=(), **switches):
        self.text, self.settings, self.switches, self.apis = text, settings or {}, switches, apis
        self.made, self.recorded = made or {}, recorded


def never(reason):
    """Say why a check has no such state."""
    return reason


LAN = "compute.v1/projects/my-project/global/networks/lan"
PROXIES = "compute.v1/projects/my-project/regions/us-central1/subnetworks/proxies"
OF_LAN = {
    "network": "https://www.googleapis.com/compute/v1/projects/my-project/global/networks/lan",
    "ipCidrRange": "10.129.0.0/23",
    "purpose": "REGIONAL_MANAGED_PROXY",
    "role": "ACTIVE",
}
BALANCED = {"network": "lan", "gemmaRouting": "inference-gateway", "proxyRange": "10.129.0.0/23"}
BALANCED |= {"gemmaMaxReplicas": "2", "releaseChannel": "RAPID"}
ADDRESS = {"compute.v1/projects/my-project/global/addresses/gradio-chat-address": {"address": "203.0.113.9"}}
CLUSTER = "container.v1/projects/my-project/locations/us-central1/clusters/gradio-chat-cluster"
ONLY_NOTED = never("it is reported and stops nothing: what it lacks can be had after make up")
DOMAIN = {"domain": "chat.example.org"}

# title -> a row for each state.
TABLE = {
    "the project": (
        Row("project my-project"),
        never("a project exists or not"),
        Row("does not exist, or your account may not read it", denied={"cloudresourcemanager.projects.get"}),
        Row("did not answer within", hanging={"cloudresourcemanager.projects.get"}),
        Row("your account may not read it: gcloud projects list", denied={"cloudresourcemanager.projects.get"}),
    ),
    "billing": (
        Row("billing"),
        never("without billing, no API can be enabled"),
        Row("has no active billing account", billing=""),
        Row("did not answer within", hanging={"cloudbilling."}),
        Row(DENIED, denied={"cloudbilling."}),
    ),
    "rights": (
        Row("rights of your account"),
        Row(
            "lacks rights in the project my-project that a first make up needs (iam.roles.create)",
            denied={"iam.roles.create"},
        ),
        never("an update of a deployment needs fewer rights than its first make up"),
        Row("did not answer within", hanging={"cloudresourcemanager.projects.test"}),
        Row(DENIED, denied={"cloudresourcemanager.projects.test"}),
    ),
    "APIs": (
        Row(
            "APIs",
            settings={"exposure": "private", "gemma": "none"},
            apis=(
                "cloudresourcemanager",
                "iam",
                "compute",
                "container",
                "containerfilesystem",
                "firestore",
                "aiplatform",
                "artifactregistry",
                "cloudbuild",
                "storage",
            ),
        ),
        never("make up enables what is missing (later)"),
        never("make up enables what is missing (later)"),
        Row("did not answer within", hanging={"serviceusage."}),
        Row(DENIED, denied={"serviceusage."}),
    ),
    "organization policies": (
        Row("organization policies", apis=("orgpolicy",)),
        Row(
            "policy iam.allowedPolicyMemberDomains: people of other domains",
            apis=("orgpolicy",),
            policies={"iam.allowedPolicyMemberDomains": [{"values": {"allowedValues": ["C01"]}}]},
        ),
        Row(
            "pulumi config set privateNodes true",
            apis=("orgpolicy",),
            policies={"compute.vmExternalIpAccess": [{"denyAll": True}]},
        ),
        Row("did not answer within", hanging={"orgpolicy."}),
        Row(DENIED, apis=("orgpolicy",), denied={"orgpolicy."}),
    ),
    "names": (
        Row("names", apis=("container", "firestore"), made={CLUSTER: {}}, recorded=("gcp:container/cluster:Cluster",)),
        never("a name in use ends make up with 'already exists'"),
        Row(
            "gcloud container clusters delete gradio-chat-cluster --region us-central1 --project my-project",
            apis=("container",),
            made={CLUSTER: {}},
        ),
        Row("did not answer within", hanging={"container."}),
        Row(DENIED, apis=("container",), denied={"container."}),
    ),
    "network": (
        Row("network lan", settings={"network": "lan"}, apis=("compute",), made={LAN: {"autoCreateSubnetworks": True}}),
        never("a network serves or not"),
        Row(
            "a custom-mode network, which needs a subnetwork in us-central1",
            settings={"network": "lan"},
            apis=("compute",),
            made={LAN: {"autoCreateSubnetworks": False}},
        ),
        Row("did not answer within", settings={"network": "lan"}, hanging={"compute."}),
        Row(DENIED, settings={"network": "lan"}, apis=("compute",), denied={"compute.networks.get"}),
    ),
    "proxy-only subnetwork": (
        Row("proxy-only subnetwork 10.129.0.0/23", settings=BALANCED, apis=("compute",), made={PROXIES: OF_LAN}),
        never("the load balancer gets its address or waits for ever"),
        Row(
            "--purpose=REGIONAL_MANAGED_PROXY --role=ACTIVE --network=lan --region=us-central1 --range=10.129.0.0/23",
            settings=BALANCED,
            apis=("compute",),
            made={PROXIES: OF_LAN | {"network": "projects/my-project/global/networks/other"}},
        ),
        Row("did not answer within", settings=BALANCED, hanging={"compute."}),
        Row(DENIED, settings=BALANCED, apis=("compute",), denied={"compute.subnetworks.list"}),
    ),
    "GPU quotas": (
        Row("GPU quotas", apis=("compute",)),
        Row("GPUS_ALL_REGIONS is 0 in all regions, and 1 needed. Ask", apis=("compute",), all_gpus=0),
        ONLY_NOTED,
        Row("did not answer within", hanging={"compute."}),
        Row(DENIED, apis=("compute",), denied={"compute.projects.get"}),
    ),
    "GPU capacity": (
        Row("GPU capacity: high for g2-standard-8 in us-central1 (us-central1-a) (0.9 of 1", apis=("compute",)),
        Row(
            "the chance of a machine g2-standard-8 in us-central1 (us-central1-a) is low",
            apis=("compute",),
            capacity=0.2,
        ),
        ONLY_NOTED,
        Row("did not answer within", hanging={"compute.advice"}),
        Row(DENIED, apis=("compute",), denied={"compute.advice"}),
    ),
    "GKE's version": (
        Row("GKE 1.34.1-gke.1000000", apis=("container",)),
        Row(
            "too old to look for a GPU in several ways",
            settings={"gpuFallback": "true"},
            apis=("container",),
            versions={"REGULAR": "1.29.9-gke.1"},
        ),
        Row("GKE has no release channel REGULAR in us-central1", apis=("container",), versions={}),
        Row("did not answer within", hanging={"container."}),
        Row(DENIED, apis=("container",), denied={"container."}),
    ),
    "organization": (
        Row("the project is in a folder", folder="987654"),
        never("Google's own client admits the members of an organization, or no one"),
        Row("belongs to no organization, so Google's own sign-in", organization=""),
        Row("did not answer within", hanging={"cloudresourcemanager."}),
        Row(DENIED, denied={"cloudresourcemanager.projects.get"}),
    ),
    "OAuth client": (
        Row("OAuth client of this project", settings=CLIENT),
        Row("belongs to the project with the number 99, and this one has 123456789012", settings=OTHER_CLIENT),
        never("a client of another project works too; its form is checked with the settings"),
        Row("did not answer within", settings=CLIENT, hanging={"cloudresourcemanager."}),
        Row(DENIED, settings=CLIENT, denied={"cloudresourcemanager.projects.get"}),
    ),
    "DNS record": (
        Row(
            "DNS record of chat.example.org",
            settings=DOMAIN,
            apis=("compute",),
            made=ADDRESS,
            records={"chat.example.org": ["203.0.113.9"]},
        ),
        Row(
            "leads to 192.0.2.1, and the chat's address is 203.0.113.9",
            settings=DOMAIN,
            apis=("compute",),
            made=ADDRESS,
            records={"chat.example.org": ["192.0.2.1"]},
        ),
        ONLY_NOTED,
        Row("did not answer within", settings=DOMAIN, hanging={"dns."}),
        Row(DENIED, settings=DOMAIN, apis=("compute",), denied={"compute.globalAddresses"}),
    ),
    "embeddings": (
        Row("embedding model gemini-embedding-2 at global", settings=EMBEDDED, apis=("aiplatform",)),
        Row(
            "pulumi config set embeddingsModel gemini-embedding-2",
            settings=EMBEDDED | {"embeddingsModel": "gemini-embedding-9"},
            apis=("aiplatform",),
        ),
        never("documents are found by words, too"),
        Row("did not answer within", settings=EMBEDDED, apis=("aiplatform",), hanging={"aiplatform."}),
        Row(
            "Your account may not use the embedding model gemini-embedding-2",
            settings=EMBEDDED,
            apis=("aiplatform",),
            denied={"aiplatform.embeddings"},
        ),
    ),
    "weights on Hugging Face": (
        Row("weights google/gemma-3-12b-it", settings=GATED),
        never("weights are given out or not"),
        Row(
            "accept their terms at https://huggingface.co/google/gemma-3-12b-it",
            settings=GATED,
            gated={"google/gemma-3-12b-it"},
        ),
        Row("did not answer within", settings=GATED, hanging={"huggingface."}),
        Row("accept their terms", settings=GATED, denied={"huggingface."}),
    ),
}
STATUS = {"timing out": "later", "forbidden": "later"}
# Where "forbidden" is the answer itself.
FORBIDDEN = {"the project": "fail", "weights on Hugging Face": "fail", "embeddings": "note"}
ROWS = [
    pytest.param(title, state, row, id=f"{title}, {state}")
    for title, rows in TABLE.items()
    for state, row in zip(STATES, rows, strict=True)
    if isinstance(row, Row)
]


def report_of(google, row, title, capsys):
    """Run one check and return its lines."""
    for name, value in row.switches.items():
        setattr(google.switches, name, value)
    google.enable(*row.apis)
    google.resources |= row.made
    settings = Settings.checked({"gcp:project": "my-project", **row.settings})
    check = next(check for check in CHECKS if check.title == title)
    assert check.applies(settings)
    report = Report(detailed=True)
    project = Project(
        settings, Names("dev"), GoogleApi("my-project", PERSON), recorded=row.recorded, hugging_face_token="hf_x"
    )
    run_checks(report, [check], project)
    return report, capsys.readouterr().out.splitlines()


def test_every_check_has_its_five_rows():
    assert [check.title for check in CHECKS] == list(TABLE)
    for title, rows in TABLE.items():
        assert len(rows) == len(STATES), title
        assert all(isinstance(row, Row) or row for row in rows), f"{title}: say why it has no such state"
        assert isinstance(rows[0], Row), f"{title} can pass"


@pytest.mark.slow
@pytest.mark.parametrize(("title", "state", "row"), ROWS)
def test_each_check_reports_each_state(google, title, state, row, capsys, monkeypatch):
    if state == "timing out":
        monkeypatch.setattr("stacks.preflight.google_api.TIMEOUT_SECONDS", 0.3)
    report, lines = report_of(google, row, title, capsys)
    status = STATUS.get(state, state)
    if state == "forbidden":
        status = FORBIDDEN.get(title, status)
    word = {"pass": "ok", "note": "note", "fail": "missing", "later": "later"}[status]
    matching = [line for line in lines if row.text in line]
    assert matching, lines
    assert matching[0].split()[0] == word
    assert report.is_complete == (status != "fail")


def test_a_check_that_does_not_end_is_given_up(google, capsys, monkeypatch):
    monkeypatch.setattr("stacks.preflight.checks.DEADLINE_SECONDS", 0.2)
    report, lines = report_of(google, Row("", hanging={"cloudbilling."}), "billing", capsys)
    assert lines == ["  later    billing: Google did not answer within 0.2 seconds"]
    assert report.is_complete


@pytest.mark.parametrize(
    ("capacity", "settings", "line"),
    [
        (0.7, {}, "  ok       GPU capacity: high for g2-standard-8"),
        (0.6, {}, "  ok       GPU capacity: medium for g2-standard-8"),
        (0.4, GATED | {"gemma": "h100"}, "  ok       GPU capacity: medium for a3-highgpu-1g"),
        (
            0.3,
            of_profile("h100x16"),
            "  note     Gemma may wait for a GPU: the chance of 2 machines a3-highgpu-8g",
        ),
        (0.3, {}, "  note     Gemma may wait for a GPU: the chance of a machine g2-standard-8"),
        (None, {}, "  later    GPU capacity: Compute Engine has no advice on g2-standard-8 in us-central1"),
    ],
)
def test_the_advice_on_capacity_is_told_in_the_documentations_words(google, capsys, capacity, settings, line):
    row = Row("", settings=settings, apis=("compute",), capacity=capacity)
    report, lines = report_of(google, row, "GPU capacity", capsys)
    assert lines[0].startswith(line)
    assert report.is_complete


def test_the_quota_is_for_the_gpus_of_all_machines(google, capsys):
    row = Row("", settings=of_profile("h100x16"), apis=("compute",), all_gpus=15)
    _, (line,) = report_of(google, row, "GPU quotas", capsys)
    assert "GPUS_ALL_REGIONS is 15 in all regions" in line
    assert "and 16 needed" in line


@pytest.mark.parametrize(("version", "passes"), [("1.35.0-gke.9", False), ("1.35.1-gke.1396000", True)])
def test_a_version_that_cannot_scale_on_the_queue_fails(google, capsys, version, passes):
    row = Row(
        "",
        settings={"gemmaMaxReplicas": "2", "releaseChannel": "RAPID"},
        apis=("container",),
        versions={"RAPID": version},
    )
    report, (line,) = report_of(google, row, "GKE's version", capsys)
    assert report.is_complete is passes
    assert ("pulumi config rm gemmaMaxReplicas" in line) is not passes


@pytest.mark.parametrize(
    ("changed", "line"),
    {
        "another range": ({"ipCidrRange": "10.9.0.0/23"}, "pulumi config set proxyRange 10.9.0.0/23"),
        "a reserve": ({"role": "BACKUP"}, "lan has no proxy-only subnetwork in us-central1"),
        "of the old kind": ({"purpose": "INTERNAL_HTTPS_LOAD_BALANCER"}, "lan has no proxy-only subnetwork"),
    }.values(),
)
def test_only_an_active_proxy_only_subnetwork_with_the_range_that_is_set_passes(google, capsys, changed, line):
    row = Row("", settings=BALANCED, apis=("compute",), made={PROXIES: OF_LAN | changed})
    report, (told,) = report_of(google, row, "proxy-only subnetwork", capsys)
    assert not report.is_complete
    assert line in told


@pytest.mark.parametrize(("fallback", "is_named"), [("false", True), ("true", False)])
def test_only_a_deployment_without_the_fallback_is_told_of_it(google, capsys, fallback, is_named):
    row = Row("", settings={"gpuFallback": fallback}, apis=("compute",), capacity=0.1)
    _, (line,) = report_of(google, row, "GPU capacity", capsys)
    assert ("gpuFallback true" in line) is is_named


@pytest.mark.parametrize("title", [check.title for check in CHECKS])
def test_an_api_that_fails_is_reported_and_stops_nothing(google, title, capsys):
    row = TABLE[title][0]
    row = Row("", settings=row.settings, apis=row.apis, made=row.made, failing={""})
    report, lines = report_of(google, row, title, capsys)
    assert report.is_complete
    assert len(lines) == 1
    assert lines[0].startswith("  later    ")
    assert lines[0].endswith("answers with status 503")
