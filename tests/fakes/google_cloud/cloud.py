"""The state of one project, its switches, and the way of each request through it."""

from __future__ import annotations

import threading
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.fakes.google_cloud import errors
from tests.fakes.google_cloud.errors import ApiError
from tests.fakes.google_cloud.operations import Operation
from tests.fakes.google_cloud.routing import Call, call_of
from tests.stacks.google_api import documents, problems
from tests.stacks.google_requests import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json = dict[str, Any]

PERSON, SERVICE = "token-of-a-person", "token-of-a-service-account"
"""Access tokens: of `gcloud auth application-default login`, and of a service account of the project."""

# APIs that count a request against the caller's project, and refuse gcloud's own: golang/oauth2#702 (orgpolicy),
# cloud-foundation-fabric#2621 (cloudasset), terraform-provider-google#24500 (billingbudgets). No report has iap.
WANTS_QUOTA_PROJECT = frozenset(f"{name}.googleapis.com" for name in ("orgpolicy", "cloudasset", "billingbudgets"))
# APIs that answer a person without being enabled in the project that the request is about.
OF_THE_CALLER = frozenset(
    f"{name}.googleapis.com" for name in ("serviceusage", "cloudresourcemanager", "cloudbilling", "iam")
)
# Enabling these needs a billing account.
BILLED = frozenset(
    f"{name}.googleapis.com"
    for name in ("compute", "container", "containerfilesystem", "artifactregistry", "cloudbuild", "aiplatform")
)
REGIONS = ("us-central1", "us-east4", "europe-west4")
HELD_DAYS = {"servicemanagement.v1": 30, "iam.roles": 37, "logging.buckets": 7}


@dataclass
class Switches:
    """How this Google Cloud behaves.

    Attributes:
        organization: ID of the organization above the project; empty: none.
        folder: ID of the folder that the project is in.
        billing: the billing account; empty: none is linked.
        default_network: whether the project has the auto-mode network ``default``.
        all_gpus: quota of GPUs in all regions.
        region_gpus: region -> quota of L4 there.
        wants_quota_project: APIs that refuse a person's credentials without a quota project.
        policies: organization policy -> its rules.
        polls: how often an operation is read before it is done.
        api_seconds: how long an API is refused after it was enabled.
        role_seconds: how long a granted role is refused.
        request_seconds: how far each request moves the clock, for programs that cannot move it themselves.
        contends: whether changes of a database's fields at the same time are refused.
        leaves_firewall_rule: whether GKE leaves a load balancer's firewall rule behind (ingress-gce#1687).
        denied: methods, or the beginnings of their names, that this caller may not call.
        hanging: those that never answer.
        failing: those that answer 503.
        versions: release channel -> GKE's default version.
        gated: models on Hugging Face whose terms the token's owner has not accepted.
        capacity: Compute Engine's advice, the chance of a Spot machine; `None`: it has none.
        records: host -> addresses of its DNS records of type A.
    """

    organization: str = "123456789"
    folder: str = ""
    billing: str = "01AB23-45CD67-89EF01"
    default_network: bool = True
    all_gpus: int = 1
    region_gpus: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REGIONS, 1))
    wants_quota_project: frozenset[str] = WANTS_QUOTA_PROJECT
    policies: dict[str, list[Json]] = field(default_factory=dict)
    polls: int = 2
    api_seconds: float = 30
    role_seconds: float = 60
    request_seconds: float = 0
    contends: bool = True
    leaves_firewall_rule: bool = False
    denied: set[str] = field(default_factory=set)
    hanging: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    versions: dict[str, str] = field(
        default_factory=lambda: {
            "RAPID": "1.36.0-gke.1000000",
            "REGULAR": "1.34.1-gke.1000000",
            "STABLE": "1.34.1-gke.1000000",
        }
    )
    gated: set[str] = field(default_factory=set)
    capacity: float | None = 0.9
    records: dict[str, list[str]] = field(default_factory=dict)


class Cloud:
    """One project.

    Attributes:
        project: its ID.
        number: its number.
        switches: how Google behaves.
        now: the clock, in seconds; `wait` moves it, and requests where the switch says so.
        resources: ``api/path`` -> the resource as the API returns it.
        policies: ``api/path`` -> its IAM policy.
        enabled: API -> when it was enabled.
        held: ``api/path`` of what was deleted -> until when the name is refused.
        operations: ``api/name`` -> the operation.
        granted: (``api/path``, role, member) -> when.
        calls: every method that was called, in order.
    """

    def __init__(self, project: str = "my-proj-1", number: str = "123456789012", **switches: Any) -> None:
        self.project, self.number = project, number
        self.switches = Switches(**switches)
        self.now = 0.0
        self.resources: dict[str, Json] = {}
        self.policies: dict[str, Json] = {}
        self.enabled: dict[str, float] = {}
        self.held: dict[str, float] = {}
        self.operations: dict[str, Operation] = {}
        self.granted: dict[tuple[str, str, str], float] = {}
        self.calls: list[str] = []
        self.closing = threading.Event()
        self._lock = threading.RLock()
        if self.switches.default_network and self.switches.billing:
            network = {"name": "default", "autoCreateSubnetworks": True}
            self.resources[f"compute.v1/projects/{project}/global/networks/default"] = network

    def wait(self, seconds: float) -> None:
        """Move the clock."""
        with self._lock:
            self.now += seconds

    def enable(self, *apis: str) -> None:
        """Have these APIs enabled for long."""
        self.enabled |= {f"{api}.googleapis.com": -1e9 for api in apis}

    def of_kind(self, api: str, collection: str) -> dict[str, Json]:
        """Return name -> resource of a collection, wherever it is: ``of_kind("compute.v1", "networks")``."""
        return {
            key.rpartition("/")[2]: value
            for key, value in self.resources.items()
            if key.startswith(f"{api}/") and key.split("/")[-2] == collection
        }

    def answer(self, verb: str, url: str, headers: Mapping[str, str], body: Json) -> tuple[int, Json]:
        """Return status and body of the answer to one request; blocks where the request is to hang."""
        token = headers.get("authorization", "").removeprefix("Bearer ")
        call = call_of(verb, url, body, token)
        if call is None or call.method not in HANDLERS:
            return 501, ApiError(501, f"the fake has no method for {verb} {url}").body
        self.calls.append(call.method)
        try:
            self._interrupt(call.method)
            with self._lock:
                self.now += self.switches.request_seconds
                self._admit(call, headers.get("x-goog-user-project", ""))
                return 200, HANDLERS[call.method](self, call)
        except ApiError as error:
            return error.code, error.body

    def other_answer(self, method: str, answer: Callable[[], tuple[int, Json]]) -> tuple[int, Json]:
        """Return the answer of a service that is not Google Cloud's, with the same switches."""
        self.calls.append(method)
        try:
            self._interrupt(method)
        except ApiError as error:
            return error.code, error.body
        if self._matches(self.switches.denied, method):
            return 403, {"error": "forbidden"}
        return answer()

    def _interrupt(self, method: str) -> None:
        if self._matches(self.switches.hanging, method):
            self.closing.wait()
        if self._matches(self.switches.failing, method):
            raise ApiError(503, "The service is currently unavailable.")

    @staticmethod
    def _matches(names: set[str], method: str) -> bool:
        return any(method.startswith(name) for name in names)

    def _admit(self, call: Call, quota_project: str) -> None:
        """Refuse what Google refuses before it looks at the request's content, then what its schema does not allow."""
        if call.caller not in {PERSON, SERVICE}:
            raise ApiError(401, "Request had invalid authentication credentials.")
        if quota_project:
            self.check_enabled(call.service)
        elif call.service in self.switches.wants_quota_project and call.caller == PERSON:
            raise errors.no_quota_project(call.service)
        elif call.service not in OF_THE_CALLER or (
            call.caller == SERVICE and call.service != "serviceusage.googleapis.com"
        ):
            self.check_enabled(call.service)
        if call.project and call.project not in {self.project, self.number}:
            raise errors.forbidden(f"{call.service}.get", f"projects/{call.project}")
        if self._matches(self.switches.denied, call.method):
            raise errors.forbidden(call.method, call.path)
        request = Request(call.api, call.method, call.parameters, call.body)
        for problem in problems(request, documents()):
            if not problem.endswith(("is deprecated", "is set by Google only")):  # Google ignores these
                raise errors.invalid(f"Invalid JSON payload received. {problem}")

    def check_enabled(self, service: str) -> None:
        """Raise the error for an API that is not enabled, or was enabled moments ago.

        Raises:
            ApiError: it is not ready.
        """
        since = self.enabled.get(service)
        if since is None or self.now - since < self.switches.api_seconds:
            raise errors.not_enabled(service, self.number)

    def start(
        self, call: Call, place: str, target: str, finish: Callable[[], object], *, is_endless: bool = False
    ) -> Json:
        """Begin an operation and return it; `place` is the path before ``/operations``."""
        name = f"{place}/operations/operation-{uuid.uuid4().hex[:12]}".lstrip("/")
        operation = Operation(name, target, finish, self.switches.polls, self.now, is_endless)
        self.operations[f"{call.api}/{name}"] = operation
        return operation.as_json(call.api)

    def under_way(self, prefix: str) -> list[Operation]:
        """Return the operations that are not done, of resources below `prefix`.

        One that Google ends in its own time counts in the moment of its request only.
        """
        pending = [each for each in self.operations.values() if not each.is_done and each.target.startswith(prefix)]
        return [each for each in pending if not each.is_endless or each.at == self.now]


HANDLERS: dict[str, Callable[[Cloud, Call], Json]] = {}
"""Method -> what answers it; the modules of the APIs fill it in."""
