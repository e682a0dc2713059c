"""The stack's namespace at a real API server, with what the tests of a sleeping Gemma use of `FakeKubernetes`.

No controller runs: a Deployment has no pods, and the test says what a scale does (`on_scale`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Self

from tests.api_server import ApiServer, path_of
from tests.fakes.kubernetes_objects import POD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

GEMMA = "gemma-deployment"
ACCOUNT = "gradio-chat-ksa"
NEEDED = ("Namespace", "ServiceAccount", "ConfigMap", "Role", "RoleBinding", "Deployment")


class RealKubernetes:
    """The objects of a stack that the chat reads and changes, made as the stack has them.

    Args:
        server: has none of these objects yet.
        objects: of the stack, in any order.
        folder: gets a folder with the token and the authority for each replica of the chat.
        replicas: of the chat; they share one account, and each has a token of its own.

    Attributes:
        deployments, configmaps: name -> object, as the last change said.
        on_scale: called with the replicas after each change of a scale.
        scales: every number of replicas that Gemma's Deployment had, without the first.
    """

    def __init__(
        self, server: ApiServer, objects: Iterable[Mapping[str, Any]], folder: Path, *, replicas: int = 2
    ) -> None:
        self.server = server
        self.url = server.url
        self.deployments: dict[str, dict[str, Any]] = {}
        self.configmaps: dict[str, dict[str, Any]] = {}
        self.on_scale: Callable[[int], None] = lambda _: None
        self.scales: list[int] = []
        self._objects = sorted(
            (each for each in objects if each["kind"] in NEEDED), key=lambda each: NEEDED.index(each["kind"])
        )
        self._folders = [folder / f"replica-{number}" for number in range(replicas)]
        self.namespace = next(each["metadata"]["name"] for each in self._objects if each["kind"] == "Namespace")
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for each in self._objects:
            await self.server.create(each)
        for folder in self._folders:
            folder.mkdir()
            (folder / "ca.crt").write_bytes(self.server.ca.read_bytes())
            (folder / "token").write_text(await self.server.token(self.namespace, ACCOUNT))
        core, apps = f"/api/v1/namespaces/{self.namespace}", f"/apis/apps/v1/namespaces/{self.namespace}"
        for path, seen in ((f"{apps}/deployments", self._deployment), (f"{core}/configmaps", self._configmap)):
            self._tasks.append(asyncio.create_task(self.server.watch(path, seen)))
        while not (GEMMA in self.deployments and f"{GEMMA}-use" in self.configmaps):
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def account(self, replica: int) -> Path:
        """Return the folder of one replica's service account."""
        return self._folders[replica]

    def replicas(self) -> int:
        """Return the replicas that Gemma should have."""
        return int(self.deployments[GEMMA]["spec"]["replicas"])

    async def add_pod(self, status: dict[str, Any]) -> None:
        """Add a pod of Gemma, as its Deployment has it."""
        template = self.deployments[GEMMA]["spec"]["template"]
        metadata = template["metadata"] | {"name": POD, "namespace": self.namespace}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        await self.server.create(pod)
        await self.server.request("PATCH", f"{path_of(pod)}/{POD}/status", {"status": status})

    async def add_event(self, event: dict[str, Any]) -> None:
        """Add an event of this namespace."""
        about = event["involvedObject"] | {"namespace": self.namespace}
        metadata = {"name": event["metadata"]["name"], "namespace": self.namespace}
        await self.server.create(event | {"metadata": metadata, "involvedObject": about})

    async def touch(self) -> None:
        """Raise the Deployment's resource version, as each change of its status does."""
        seen = int(self.deployments[GEMMA]["status"].get("observedGeneration", 0))
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{GEMMA}/status"
        await self.server.request("PATCH", path, {"status": {"observedGeneration": seen + 1}})

    async def forbid_scaling(self) -> None:
        """Take the right to scale from the chat's Role, and wait until the API server refuses it."""
        role = next(each for each in self._objects if each["kind"] == "Role")
        rules = [rule for rule in role["rules"] if "deployments/scale" not in rule["resources"]]
        reading = {"apiGroups": ["apps"], "resources": ["deployments/scale"], "verbs": ["get"]}
        await self.server.request("PATCH", f"{path_of(role)}/{role['metadata']['name']}", {"rules": [*rules, reading]})
        while await self._may("patch", "scale"):
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Kill the API server."""
        await self.server.stop()

    async def start(self) -> None:
        """Start it again; it may refuse requests for a while, as it does in a cluster."""
        await self.server.start(wait=False)

    def scale_changes(self) -> int:
        """Return how many requests of the chat to change the scale there were, refused ones too."""
        return sum(
            entry["verb"] == "patch" and entry["objectRef"].get("subresource") == "scale" for entry in self.of_chat()
        )

    def of_chat(self) -> list[dict[str, Any]]:
        """Return the requests of the chat's account, from the audit log."""
        user = f"system:serviceaccount:{self.namespace}:{ACCOUNT}"
        return [entry for entry in self.server.audit() if entry["user"].get("username") == user]

    async def _may(self, verb: str, subresource: str) -> bool:
        attributes = {"namespace": self.namespace, "verb": verb, "group": "apps", "resource": "deployments"}
        attributes |= {"subresource": subresource, "name": GEMMA}
        spec = {"user": f"system:serviceaccount:{self.namespace}:{ACCOUNT}", "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        answer = await self.server.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    def _deployment(self, found: dict[str, Any]) -> None:
        name = found["metadata"]["name"]
        before, self.deployments[name] = self.deployments.get(name), found
        count = found["spec"]["replicas"]
        if name == GEMMA and before is not None and count != before["spec"]["replicas"]:
            self.scales.append(count)
            self.on_scale(count)

    def _configmap(self, found: dict[str, Any]) -> None:
        self.configmaps[found["metadata"]["name"]] = found
