"""A fake Kubernetes API on loopback: real HTTPS, tokens, rights, resource versions and conflicts.

    async with FakeKubernetes(folder) as kubernetes:
        kubernetes.pods = [pod(unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."))]
        api = KubernetesApi(url=kubernetes.url, folder=kubernetes.folder)

It has what a chat reads and changes: pods, their logs, events, Deployments and LeaderWorkerSets with their scale,
ConfigMaps; pods and events can be watched (`kubernetes_watch`). Refusals are
objects of the kind Status (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/).
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from tests.certificates import authority
from tests.fakes.kubernetes_objects import deployment, pod
from tests.fakes.kubernetes_watch import EXPIRED, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from tests.fakes.kubernetes_watch import Matches

CHAT_RIGHTS = frozenset({
    ("list", "pods"),
    ("watch", "pods"),
    ("list", "events"),
    ("watch", "events"),
    ("get", "pods/log"),
    ("get", "deployments"),
    ("get", "deployments/scale"),
    ("patch", "deployments/scale"),
    ("get", "configmaps"),
    ("patch", "configmaps"),
})  # fmt: skip
"""What the stack grants to a chat whose Gemma sleeps."""


class FakeKubernetes:
    """One API server, with TLS from its own certificate authority.

    Args:
        folder: gets what a pod's service account has: ``token`` and ``ca.crt``.
        namespace: the only one that the account has rights in.
        tls: whether it speaks HTTPS; without, many requests take less time.

    Attributes:
        pods, events: what there is, in any namespace; another value is a change of each object that differs.
        watched: "pods", "events" -> their history and the watches of them.
        expires_at_once: refuse a watch from a version that is too old with HTTP 410, in place of an event ERROR.
        logs: pod's name -> the log of its container; of the last run under ``NAME previous``.
        deployments: name -> Deployment or LeaderWorkerSet.
        configmaps: name -> object. Each change raises its resource version.
        rights: of the account, verb and resource.
        latency: seconds before each answer.
        is_away: answer nothing: connections are closed.
        on_scale: called with the replicas after each change of a scale.
        scales: every number of replicas that was set.
        conflicts: how many changes were refused because of an old resource version.
        requests: path and query of each request.
        changes: path of each request to change something.
        reply: answer this status and text instead.
    """

    def __init__(self, folder: Path, *, namespace: str = "chat", tls: bool = True) -> None:
        self.folder = folder
        self._version = 4711
        self.watched = {
            "pods": Watched("Pod", self._next_version),
            "events": Watched("Event", self._next_version, is_cached=False),
        }
        self.expires_at_once = False
        self.logs: dict[str, str] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.configmaps: dict[str, dict[str, Any]] = {}
        self.rights = set(CHAT_RIGHTS)
        self.latency = 0.0
        self.is_away = False
        self._refusals = 0
        self.on_scale: Callable[[int], None] = lambda _: None
        self.scales: list[int] = []
        self.conflicts = 0
        self.requests: list[str] = []
        self.changes: list[str] = []
        self.reply: tuple[int, str] | None = None
        self.url = ""
        self.namespace = namespace
        self._tls = tls
        self._token = ""
        self._certificate = authority(folder / "ca.crt", folder / "server.pem")
        self.new_token("first")

    @property
    def pods(self) -> tuple[dict[str, Any], ...]:
        return self.watched["pods"].objects

    @pods.setter
    def pods(self, pods: Iterable[dict[str, Any]]) -> None:
        self.watched["pods"].set(pods)

    @property
    def events(self) -> tuple[dict[str, Any], ...]:
        return self.watched["events"].objects

    @events.setter
    def events(self, events: Iterable[dict[str, Any]]) -> None:
        self.watched["events"].set(events)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return sum(each.open for each in self.watched.values())

    def new_token(self, token: str) -> None:
        """Change the token, as the kubelet does every hour."""
        self._token = token
        (self.folder / "token").write_text(token)

    def add_deployment(self, replicas: int, name: str = "gemma-deployment") -> None:
        """Add a Deployment and the empty ConfigMap of its use, as the stack creates them."""
        self.deployments[name] = deployment(replicas, name=name, version=self._next_version())
        use = {"name": f"{name}-use", "namespace": self.namespace, "resourceVersion": self._next_version()}
        self.configmaps[f"{name}-use"] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": use}

    async def add_pod(self, status: dict[str, Any]) -> None:
        """Add a pod of Gemma."""
        self.pods = [*self.pods, pod(status, namespace=self.namespace)]

    async def add_event(self, event: dict[str, Any]) -> None:
        """Add an event."""
        self.events = [*self.events, event]

    def account(self, replica: int) -> Path:  # they share one token here
        """Return the folder of one replica's service account."""
        return self.folder

    async def touch(self, name: str = "gemma-deployment") -> None:
        """Raise a Deployment's resource version, as each change of its status does."""
        self.deployments[name]["metadata"]["resourceVersion"] = self._next_version()

    async def forbid_scaling(self) -> None:
        """Take the right to scale from the account."""
        self.rights -= {("patch", "deployments/scale")}

    async def stop(self) -> None:
        """Answer nothing any more: all connections break."""
        self.is_away = True
        self._drop()

    def _drop(self) -> None:
        for each in self.watched.values():
            each.drop()

    async def start(self) -> None:
        """Answer again; the first requests are refused, as a real server has not read the roles yet."""
        self.is_away = False
        self._refusals = 3

    def scale_changes(self) -> int:
        """Return how many requests to change the scale there were, refused ones too."""
        return sum(path.endswith("/scale") for path in self.changes)

    def replicas(self, name: str = "gemma-deployment") -> int:
        """Return the replicas that a Deployment should have."""
        return int(self.deployments[name]["spec"]["replicas"])

    async def __aenter__(self) -> Self:
        app = web.Application()
        core, apps = "/api/v1/namespaces/{namespace}", "/apis/apps/v1/namespaces/{namespace}"
        app.router.add_get(f"{core}/pods", self._pods)
        app.router.add_get(f"{core}/pods/{{name}}/log", self._log)
        app.router.add_get(f"{core}/events", self._events)
        app.router.add_get(f"{core}/configmaps/{{name}}", self._configmap)
        app.router.add_patch(f"{core}/configmaps/{{name}}", self._configmap)
        groups = "/apis/leaderworkerset.x-k8s.io/v1/namespaces/{namespace}"
        for workloads in (f"{apps}/{{kind:deployments}}", f"{groups}/{{kind:leaderworkersets}}"):
            app.router.add_get(f"{workloads}/{{name}}", self._deployment)
            app.router.add_get(f"{workloads}/{{name}}/scale", self._scale)
            app.router.add_patch(f"{workloads}/{{name}}/scale", self._scale)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        tls = None
        if self._tls:
            tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            tls.load_cert_chain(self._certificate)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"http{'s' * self._tls}://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._drop()
        await self._runner.cleanup()

    def _next_version(self) -> str:
        self._version += 1
        return str(self._version)

    async def _refused(self, request: web.Request, verb: str, resource: str) -> web.Response | None:
        """Return the refusal of a request; None for one that is allowed."""
        self.requests.append(request.path_qs)
        if verb == "patch":
            self.changes.append(request.path)
        if self.is_away and request.transport is not None:
            request.transport.abort()
        await asyncio.sleep(self.latency)
        if self.reply is not None:
            return web.Response(status=self.reply[0], text=self.reply[1])
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return _refusal(401, "Unauthorized", "Unauthorized")
        namespace = request.match_info["namespace"]
        self._refusals -= (is_starting := self._refusals > 0)
        if is_starting or namespace != self.namespace or (verb, resource) not in self.rights:
            who = 'User "system:serviceaccount:chat:gradio-chat-ksa"'
            what = f'cannot {verb} resource "{resource}" in API group "" in the namespace "{namespace}"'
            return _refusal(403, "Forbidden", f"{resource} is forbidden: {who} {what}")
        return None

    async def _pods(self, request: web.Request) -> web.StreamResponse:
        name, _, value = request.query["labelSelector"].partition("=")
        namespace = request.match_info["namespace"]

        def matches(pod: dict[str, Any]) -> bool:
            metadata = pod["metadata"]
            return bool(metadata["namespace"] == namespace and metadata["labels"].get(name) == value)

        return await self._collection(request, "pods", matches)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        return await self._collection(request, "events", lambda _: True)

    async def _collection(self, request: web.Request, name: str, matches: Matches) -> web.StreamResponse:
        verb, watched = "watch" if request.query.get("watch") == "true" else "list", self.watched[name]
        if refusal := await self._refused(request, verb, name):
            return refusal
        if verb == "list":
            found = [each for each in watched.objects if matches(each)]
            return _list(f"{name[:-1].title()}List", found, str(self._version))
        if self.expires_at_once and int(request.query["resourceVersion"]) < watched.oldest:
            return web.json_response(EXPIRED | {"message": "too old resource version"}, status=410)
        return await watched.serve(request, matches)

    async def _log(self, request: web.Request) -> web.Response:
        if refusal := await self._refused(request, "get", "pods/log"):
            return refusal
        name = request.match_info["name"] + (" previous" if request.query.get("previous") == "true" else "")
        if name not in self.logs:
            return _refusal(400, "BadRequest", "previous terminated container not found")
        return web.Response(text=self.logs[name])

    async def _deployment(self, request: web.Request) -> web.Response:
        if refusal := await self._refused(request, "get", request.match_info["kind"]):
            return refusal
        found = self._workload(request)
        return web.json_response(found) if found else _refusal(404, "NotFound", "not found")

    def _workload(self, request: web.Request) -> dict[str, Any] | None:
        found = self.deployments.get(request.match_info["name"])
        return found if found and f"{found['kind'].lower()}s" == request.match_info["kind"] else None

    async def _scale(self, request: web.Request) -> web.Response:
        if refusal := await self._refused(request, request.method.lower(), f"{request.match_info['kind']}/scale"):
            return refusal
        found = self._workload(request)
        if found is None:
            return _refusal(404, "NotFound", "not found")
        if request.method == "PATCH":
            change = await request.json()
            if conflict := self._conflict(found, change):
                return conflict
            found["spec"]["replicas"] = change["spec"]["replicas"]
            found["metadata"]["resourceVersion"] = self._next_version()
            self.scales.append(change["spec"]["replicas"])
            self.on_scale(change["spec"]["replicas"])
        scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": dict(found["metadata"])}
        return web.json_response(scale | {"spec": {"replicas": found["spec"]["replicas"]}, "status": {"replicas": 0}})

    async def _configmap(self, request: web.Request) -> web.Response:
        if refusal := await self._refused(request, request.method.lower(), "configmaps"):
            return refusal
        found = self.configmaps.get(request.match_info["name"])
        if found is None:
            return _refusal(404, "NotFound", "configmaps not found")
        if request.method == "PATCH":
            change = await request.json()
            if conflict := self._conflict(found, change):
                return conflict
            merged = {**found.get("data", {}), **change.get("data", {})}
            found["data"] = {name: value for name, value in merged.items() if value is not None}
            found["metadata"]["resourceVersion"] = self._next_version()
        return web.json_response(found)

    def _conflict(self, found: dict[str, Any], change: dict[str, Any]) -> web.Response | None:
        version = change.get("metadata", {}).get("resourceVersion")
        if version in (None, found["metadata"]["resourceVersion"]):
            return None
        self.conflicts += 1
        return _refusal(
            409, "Conflict", "the object has been modified; please apply your changes to the latest version"
        )


def _list(kind: str, items: list[dict[str, Any]], version: str) -> web.Response:
    return web.json_response(
        {"kind": kind, "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}
    )


def _refusal(status: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return web.json_response(body | {"message": message, "reason": reason, "code": status}, status=status)
