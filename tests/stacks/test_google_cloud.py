"""The fake of Google Cloud answers HTTPS, and refuses what Google refuses."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.google_cloud.cloud import PERSON, SERVICE, Cloud
from tests.fakes.google_cloud.server import serving
from tests.stacks.google_api import address
from tests.stacks.google_requests import Request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROJECT = "my-proj-1"
COMPUTE = {"project": PROJECT}
NETWORK = Request("compute.v1", "compute.networks.insert", COMPUTE, {"name": "lan", "autoCreateSubnetworks": False})
SUBNETWORK = Request(
    "compute.v1",
    "compute.subnetworks.insert",
    {"project": PROJECT, "region": "us-central1"},
    {"name": "lan", "network": f"projects/{PROJECT}/global/networks/lan", "ipCidrRange": "10.0.0.0/22"},
)
DATABASE = Request(
    "firestore.v1",
    "firestore.projects.databases.create",
    {"parent": f"projects/{PROJECT}", "databaseId": "chat"},
    {"locationId": "nam5", "type": "FIRESTORE_NATIVE"},
)


def field_change(name: str) -> Request:
    path = f"projects/{PROJECT}/databases/chat/collectionGroups/chats/fields/{name}"
    method = "firestore.projects.databases.collectionGroups.fields.patch"
    body = {"name": path, "indexConfig": {"indexes": []}}
    return Request("firestore.v1", method, {"name": path, "updateMask": "indexConfig"}, body)


class Client:
    """Sends requests to a cloud as a program of a person does."""

    def __init__(self, cloud: Cloud, token: str = PERSON) -> None:
        self.cloud, self.token = cloud, token

    def send(self, request: Request, **headers: str) -> tuple[int, dict[str, Any]]:
        verb, url = address(request)
        token = {"authorization": f"Bearer {self.token}"}
        return self.cloud.answer(verb, url, token | headers, request.body)

    def made(self, request: Request) -> None:
        """Send a request and wait for its operation."""
        status, answer = self.send(request)
        assert status == 200, answer
        for operation in self.cloud.operations.values():
            while not operation.is_done:
                operation.poll()

    def refused(self, request: Request, **headers: str) -> str:
        status, answer = self.send(request, **headers)
        assert status >= 400, answer
        return f"{status} {json.dumps(answer)}"


@pytest.fixture
def cloud() -> Cloud:
    made = Cloud(PROJECT)
    made.enable("compute", "container", "firestore", "iam", "cloudresourcemanager")
    return made


@pytest.fixture
def environment(cloud: Cloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with serving(cloud, tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield variables


def read(url: str, token: str = PERSON, *, timeout: float = 10) -> Any:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
    opener = urllib.request.build_opener()  # `urlopen` would remember the proxy of an earlier test
    with opener.open(request, timeout=timeout) as answer:
        return json.load(answer)


@pytest.mark.usefixtures("environment")
def test_googles_own_addresses_are_answered_over_https() -> None:
    networks = read(f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}/global/networks")
    assert [each["name"] for each in networks["items"]] == ["default"]
    record = read(f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}")
    assert record["parent"] == {"type": "organization", "id": "123456789"}
    with pytest.raises(urllib.error.HTTPError, match="401"):
        read(f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}", token="of-another")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        read("https://pubsub.googleapis.com/v1/projects/x/topics")


def test_a_program_without_the_authority_refuses_the_fake(environment: dict[str, str]) -> None:
    handler = urllib.request.ProxyHandler({"https": environment["HTTPS_PROXY"]})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    opener = urllib.request.build_opener(handler, urllib.request.HTTPSHandler(context=context))
    with pytest.raises(urllib.error.URLError, match="CERTIFICATE_VERIFY_FAILED"):
        opener.open("https://compute.googleapis.com/", timeout=10)


def test_an_api_is_refused_until_a_while_after_it_was_enabled(cloud: Cloud) -> None:
    client = Client(cloud)
    del cloud.enabled["compute.googleapis.com"]
    assert "SERVICE_DISABLED" in client.refused(NETWORK)
    name = f"projects/{PROJECT}/services/compute.googleapis.com"
    client.made(Request("serviceusage.v1", "serviceusage.services.enable", {"name": name}))
    assert "SERVICE_DISABLED" in client.refused(NETWORK)
    cloud.wait(30)
    client.made(NETWORK)


def test_an_operation_takes_time_and_what_it_makes_cannot_be_used_before(cloud: Cloud) -> None:
    client = Client(cloud)
    assert "cannot be found" in client.refused(SUBNETWORK)
    _, operation = client.send(NETWORK)
    assert operation["status"] == "RUNNING"
    assert "resourceNotReady" in client.refused(SUBNETWORK)
    reading = Request("compute.v1", "compute.globalOperations.get", COMPUTE | {"operation": operation["name"]})
    assert [client.send(reading)[1]["status"] for _ in range(3)] == ["RUNNING", "DONE", "DONE"]
    client.made(SUBNETWORK)
    assert "already exists" in client.refused(NETWORK)
    deletion = Request("compute.v1", "compute.networks.delete", COMPUTE | {"network": "lan"})
    assert "resourceInUseByAnotherResource" in client.refused(deletion)


def test_fields_of_a_database_are_changed_one_after_the_other(cloud: Cloud) -> None:
    client = Client(cloud)
    assert "404" in client.refused(field_change("a"))
    client.made(DATABASE)
    assert client.send(field_change("a"))[0] == 200
    assert "409" in (contention := client.refused(field_change("b")))
    assert "too much contention" in contention
    cloud.switches.contends = False
    assert client.send(field_change("b"))[0] == 200


def test_a_person_without_a_quota_project_is_refused_by_the_apis_that_want_one(cloud: Cloud) -> None:
    cloud.enable("billingbudgets")
    budget = Request(
        "billingbudgets.v1", "billingbudgets.billingAccounts.budgets.list", {"parent": "billingAccounts/0"}
    )
    refused = Client(cloud).refused(budget)
    assert "SERVICE_DISABLED" in refused
    assert "projects/764086051850" in refused
    assert Client(cloud).send(budget, **{"x-goog-user-project": PROJECT})[0] == 200
    assert Client(cloud, SERVICE).send(budget)[0] == 200


def test_a_project_without_billing_enables_no_api_that_costs(cloud: Cloud) -> None:
    cloud.switches.billing = ""
    name = f"projects/{PROJECT}/services/compute.googleapis.com"
    enabling = Request("serviceusage.v1", "serviceusage.services.enable", {"name": name})
    assert "UREQ_PROJECT_BILLING_NOT_FOUND" in Client(cloud).refused(enabling)
    assert "BILLING_DISABLED" in Client(cloud).refused(NETWORK)


def test_a_body_is_checked_against_googles_description(cloud: Cloud) -> None:
    broken = Request("compute.v1", "compute.networks.insert", COMPUTE, {"name": "Lan", "color": "blue"})
    assert "has no property color" in Client(cloud).refused(broken) or "does not match" in Client(cloud).refused(broken)


def test_a_role_for_an_account_or_pool_that_does_not_exist_is_refused(cloud: Cloud) -> None:
    client = Client(cloud)

    def policy(member: str) -> Request:
        body = {"policy": {"bindings": [{"role": "roles/viewer", "members": [member]}]}}
        return Request(
            "cloudresourcemanager.v1", "cloudresourcemanager.projects.setIamPolicy", {"resource": PROJECT}, body
        )

    account = f"nodes@{PROJECT}.iam.gserviceaccount.com"
    assert "does not exist" in client.refused(policy(f"serviceAccount:{account}"))
    pool = f"projects/1/locations/global/workloadIdentityPools/{PROJECT}.svc.id.goog/subject/ns/a/sa/b"
    assert "Identity Pool does not exist" in client.refused(policy(f"principal://iam.googleapis.com/{pool}"))
    creation = {"accountId": "nodes", "serviceAccount": {}}
    parent = {"name": f"projects/{PROJECT}"}
    client.made(Request("iam.v1", "iam.projects.serviceAccounts.create", parent, creation))
    assert client.send(policy(f"serviceAccount:{account}"))[0] == 200
    stale = policy(f"serviceAccount:{account}")
    stale.body["policy"]["etag"] = "0"
    assert "concurrent policy changes" in client.refused(stale)


def test_a_deleted_name_is_held(cloud: Cloud) -> None:
    cloud.enable("servicemanagement")
    client = Client(cloud)
    name = f"chat-abc123.endpoints.{PROJECT}.cloud.goog"
    body = {"serviceName": name, "producerProjectId": PROJECT}
    creation = Request("servicemanagement.v1", "servicemanagement.services.create", {}, body)
    client.made(creation)
    client.made(Request("servicemanagement.v1", "servicemanagement.services.delete", {"serviceName": name}))
    assert "reserved" in client.refused(creation)
    cloud.wait(31 * 86_400)
    client.made(creation)


@pytest.mark.slow
@pytest.mark.usefixtures("environment")
def test_what_hangs_ends_with_the_server_and_what_is_denied_or_fails_says_so(cloud: Cloud) -> None:
    url = f"https://compute.googleapis.com/compute/v1/projects/{PROJECT}"
    for switch, answer in (("denied", "403"), ("failing", "503")):
        getattr(cloud.switches, switch).add("compute.projects.get")
        with pytest.raises(urllib.error.HTTPError, match=answer):
            read(url)
        getattr(cloud.switches, switch).clear()
    cloud.switches.hanging.add("compute.")
    with pytest.raises(OSError, match="timed out"):
        read(url, timeout=0.5)
