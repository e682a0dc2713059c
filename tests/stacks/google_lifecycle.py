"""What becomes of a recorded deployment on the fake of Google Cloud: created in dependency order, and destroyed.

Each resource sends the requests that Google's provider would send (`google_requests`). All that is ready begins at
once, as in Pulumi's engine, and each operation takes its time: what depends on another resource without saying so is
refused. Errors are retried where the resource has the stack's hook, with the hook's own rules.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

from stacks.components.retries import advice, is_transient
from tests.fakes.google_cloud.cloud import PERSON, Cloud
from tests.fakes.google_cloud.load_balancer import Controller
from tests.stacks.google_api import address
from tests.stacks.google_requests import DELETIONS, POLICIES, REQUESTS, Request, before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.stacks.recording import Deployed, Registered

Json = dict[str, Any]
PATIENCE = "services-patience"
_SECONDS_BETWEEN_RETRIES, _RETRIES = 15, 32  # as long as the hook: eight minutes


class RefusedError(Exception):
    """Google refused a request, and no retry helps.

    Attributes:
        resource: whose request it was.
        advice: what the stack says about the error; empty: nothing.
    """

    def __init__(self, resource: Registered, error: str) -> None:
        super().__init__(f"{resource.type} {resource.name}: {error}")
        self.resource = resource
        self.advice = advice(error) or ""


class Lifecycle:
    """One deployment on one cloud.

    Args:
        run: the recorded deployment.
        cloud: where it goes.
        token: whose credentials are used.
        clean: what runs in place of the script that deletes what GKE left behind.
    """

    def __init__(
        self, run: Deployed, cloud: Cloud, token: str = PERSON, clean: Callable[[], object] = lambda: None
    ) -> None:
        self._run, self._cloud, self._token, self._clean = run, cloud, token, clean
        self._custom = {r.urn: r for r in run.resources if r.is_custom}
        self.made: list[str] = []
        self._names: dict[str, str] = {}  # of resources by URN, as Google gave them
        clusters = run.of_type("container/cluster:Cluster")
        self._controller = None
        if clusters:
            cluster = clusters[0]
            network = str(cluster["network"]).rpartition("/")[2]
            self._controller = Controller(cloud, cluster["name"], cluster["location"], network)

    def up(self) -> None:
        """Create everything.

        Raises:
            RefusedError: at the first error that no retry mends; what was begun is finished, and nothing else begins.
        """
        needs = {urn: self._needs(resource) for urn, resource in self._custom.items()}
        self._in_order(needs, self._creation)

    def destroy(self) -> None:
        """Delete everything that was made, in the reverse order.

        Raises:
            RefusedError: as in `up`.
        """
        needs: dict[str, set[str]] = {urn: set() for urn in self.made}
        for urn in self.made:
            for earlier in self._needs(self._custom[urn]):
                if earlier in needs:
                    needs[earlier].add(urn)
        self._in_order(needs, self._deletion)

    def _needs(self, resource: Registered) -> set[str]:
        direct = set(resource.dependencies)
        if resource.request.provider:
            direct.add(resource.request.provider.rpartition("::")[0])
        return direct & self._custom.keys()

    def _in_order(self, needs: dict[str, set[str]], work: Callable[[Registered], Iterator[None]]) -> None:
        waiting = dict(needs)
        running: dict[str, Iterator[None]] = {}
        done: set[str] = set()
        refused: RefusedError | None = None
        while running or (waiting and refused is None):
            if refused is None:
                ready = [urn for urn, before in waiting.items() if before <= done]
                assert ready or running, f"nothing is ready of {list(waiting)[:3]}"
                for urn in ready:
                    del waiting[urn]
                    running[urn] = work(self._custom[urn])
            for urn, task in list(running.items()):
                try:
                    next(task)
                except StopIteration:
                    del running[urn]
                    done.add(urn)
                except RefusedError as error:
                    del running[urn]
                    refused = refused or error
            self._cloud.wait(1)
        if refused:
            raise refused

    def _creation(self, resource: Registered) -> Iterator[None]:
        if resource.type in REQUESTS:
            request = REQUESTS[resource.type](resource.inputs)
            for each in (*before(request), request):
                yield from self._sent(resource, lambda each=each: self._merged(resource, each, grant=True))
        elif resource.type == "command:local:Command" and "BUILD" in resource.inputs["environment"]:
            yield from self._build(resource)
        elif resource.type.startswith("kubernetes:"):
            self._object(resource)
        self.made.append(resource.urn)
        return
        yield

    def _deletion(self, resource: Registered) -> Iterator[None]:
        if resource.type in POLICIES:
            request = REQUESTS[resource.type](resource.inputs)
            yield from self._sent(resource, lambda: self._merged(resource, request, grant=False))
        elif resource.type in DELETIONS and not resource.request.deletedWith:
            deletion = DELETIONS[resource.type](resource.inputs)
            if str(deletion.parameters.get("name", "")).endswith("/1"):
                deletion = Request(deletion.api, deletion.method, {"name": self._names[resource.urn]})
            yield from self._sent(resource, lambda: deletion)
        elif resource.type == "command:local:Command" and "delete" in resource.inputs:
            self._clean()
        elif resource.type.startswith("kubernetes:") and self._controller and _is_exposed(resource):
            self._controller.remove()
        self.made.remove(resource.urn)

    def _sent(self, resource: Registered, request: Callable[[], Request]) -> Iterator[None]:
        """Send a request, again while the stack's hook would, and wait for its operation."""
        for attempt in range(_RETRIES + 1):
            sent = request()
            status, answer = self._answer(resource, sent)
            if status == 200:
                self._names[resource.urn] = str(answer.get("name", ""))
                break
            error = f"googleapi: Error {status}: {answer['error']['message']} {json.dumps(answer['error'])}"
            is_patient = PATIENCE in resource.request.hooks.on_error
            if not (is_patient and is_transient(error)) or attempt == _RETRIES:
                raise RefusedError(resource, error)
            for _ in range(_SECONDS_BETWEEN_RETRIES):
                yield
        name = str(answer.get("name", "")).rpartition("/")[2]
        for key, operation in list(self._cloud.operations.items()):
            if key.rpartition("/")[2] != name or resource.inputs.get("skipWait"):
                continue
            while not operation.is_done:
                yield
                operation.poll()
            if operation.error:
                raise RefusedError(resource, f"googleapi: Error: {operation.error['message']}")

    def _answer(self, resource: Registered, request: Request) -> tuple[int, Json]:
        verb, url = address(request)
        headers = {"authorization": f"Bearer {self._token}"}
        if resource.provider:
            provider = next(r for r in self._custom.values() if r.urn == resource.request.provider.rpartition("::")[0])
            if provider.inputs.get("userProjectOverride") == "true":
                headers["x-goog-user-project"] = provider.inputs["billingProject"]
        return self._cloud.answer(verb, url, headers, request.body)

    def _merged(self, resource: Registered, request: Request, *, grant: bool) -> Request:
        """Return a request to set a policy with the resource's binding in what is set now: read, modify, write."""
        if resource.type not in POLICIES:
            return request
        reading = request.method.replace("setIamPolicy", "getIamPolicy")
        status, policy = self._answer(resource, Request(request.api, reading, request.parameters))
        if status != 200:
            return request  # it will be refused for the same reason
        inner = request.body if request.api == "storage.v1" else request.body["policy"]
        bindings = copy.deepcopy(policy.get("bindings", []))
        for wanted in inner["bindings"]:
            same = [b for b in bindings if (b["role"], b.get("condition")) == (wanted["role"], wanted.get("condition"))]
            others = [b for b in bindings if b not in same]
            members = {member for binding in same for member in binding["members"]}
            members = members | set(wanted["members"]) if grant else members - set(wanted["members"])
            bindings = [*others, *([{**wanted, "members": sorted(members)}] if members else [])]
        merged = {"bindings": bindings, "etag": policy["etag"]}
        body = merged if request.api == "storage.v1" else {"policy": merged}
        return Request(request.api, request.method, request.parameters, body)

    def _build(self, resource: Registered) -> Iterator[None]:
        """Build the image as the script does, which retries five times while the account's roles are new."""
        environment = resource.inputs["environment"]
        body = json.loads(environment["BUILD"])
        request = Request(
            "cloudbuild.v1", "cloudbuild.projects.builds.create", {"projectId": environment["PROJECT"]}, body
        )
        for attempt in range(1, 6):
            status, answer = self._answer(resource, request)
            if status == 200:
                return
            if attempt == 5 or answer["error"]["status"] != "PERMISSION_DENIED":
                raise RefusedError(resource, answer["error"]["message"])
            for _ in range(30):
                yield

    def _object(self, resource: Registered) -> None:
        """Create an object in the cluster, of which GKE's controller makes a load balancer for some."""
        if self._controller is None:
            return
        if not self._controller.is_there:
            raise RefusedError(resource, "the cluster is unreachable")
        if resource.type.endswith(":Gateway"):
            addresses = [each["value"] for each in resource["spec.addresses"]]
            certificates = [
                each["tls"]["options"]["networking.gke.io/pre-shared-certs"]
                for each in resource["spec.listeners"]
                if "tls" in each
            ]
            metadata = resource.inputs["metadata"]
            if resource["spec.gatewayClassName"] == "gke-l7-rilb":
                self._controller.make_internal(metadata["namespace"], metadata["name"], address=addresses[0])
                return
            self._controller.make(
                metadata["namespace"], metadata["name"], address=addresses[0], certificate=certificates[0]
            )
        elif _is_exposed(resource):
            self._controller.make_plain()


def _is_exposed(resource: Registered) -> bool:
    """Return whether GKE's controller makes a load balancer for an object."""
    spec = resource.inputs.get("spec")
    return resource.type.endswith(":Gateway") or (isinstance(spec, dict) and spec.get("type") == "LoadBalancer")
