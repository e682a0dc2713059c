"""A fake Kubernetes API on loopback that lists pods like a real one, to authorized clients.

    async with FakeKubernetes(folder) as kubernetes:
        kubernetes.pods = [pod(unschedulable("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."))]
        PodWatch("chat/app=gemma", url=kubernetes.url, folder=kubernetes.folder)

Shapes: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/ and, for refusals, Status
(https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/).
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from tests.certificates import authority

if TYPE_CHECKING:
    from pathlib import Path

CREATED = "2026-11-25T20:00:00Z"
LATER = "2026-11-25T20:05:00Z"


class FakeKubernetes:
    """One API server, with TLS from its own certificate authority.

    Args:
        folder: gets what a pod's service account has: ``token`` and ``ca.crt``.
        namespace: the only one whose pods the account may list.

    Attributes:
        pods: what there is, in any namespace.
        requests: path and query of each request.
        reply: answer this instead.
    """

    def __init__(self, folder: Path, *, namespace: str = "chat") -> None:
        self.folder = folder
        self.pods: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.reply: web.Response | None = None
        self.url = ""
        self._namespace = namespace
        self._token = ""
        self._certificate = authority(folder / "ca.crt", folder / "server.pem")
        self.new_token("first")

    def new_token(self, token: str) -> None:
        """Change the token, as the kubelet does every hour."""
        self._token = token
        (self.folder / "token").write_text(token)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{namespace}/pods", self._list)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(self._certificate)
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=tls).start()
        self.url = f"https://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        self.requests.append(request.path_qs)
        if self.reply is not None:
            return self.reply
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            return _refusal(401, "Unauthorized", "Unauthorized")
        namespace = request.match_info["namespace"]
        if namespace != self._namespace:
            who = 'User "system:serviceaccount:chat:gradio-chat-ksa"'
            what = f'cannot list resource "pods" in API group "" in the namespace "{namespace}"'
            return _refusal(403, "Forbidden", f"pods is forbidden: {who} {what}")
        name, _, value = request.query["labelSelector"].partition("=")
        found = [
            each
            for each in self.pods
            if each["metadata"]["namespace"] == namespace and each["metadata"]["labels"].get(name) == value
        ]
        return web.json_response(
            {"kind": "PodList", "apiVersion": "v1", "metadata": {"resourceVersion": "4711"}, "items": found}
        )


def pod(
    status: dict[str, Any], *, namespace: str = "chat", app: str = "gemma", deleted: bool = False
) -> dict[str, Any]:
    """Return a pod with a status from one of the functions below."""
    metadata = {
        "name": f"{app}-deployment-7d4b9c6f5d-x2x7k",
        "namespace": namespace,
        "labels": {"app": app, "pod-template-hash": "7d4b9c6f5d"},
        "creationTimestamp": CREATED,
    }
    if deleted:
        metadata |= {"deletionTimestamp": LATER, "deletionGracePeriodSeconds": 130}
    return {"metadata": metadata, "spec": {"containers": [{"name": "vllm", "image": "vllm"}]}, "status": status}


def unschedulable(message: str, *, reason: str = "Unschedulable") -> dict[str, Any]:
    """Return the status of a pod that fits no node."""
    condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
    return {
        "phase": "Pending",
        "conditions": [condition | {"lastProbeTime": None, "lastTransitionTime": LATER}],
        "qosClass": "Guaranteed",
    }


def new() -> dict[str, Any]:
    """Return the status of a pod before scheduling."""
    return {"phase": "Pending", "qosClass": "Guaranteed"}


def waiting(reason: str, message: str = "", *, restarts: int = 0, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the status of a pod on a node, whose container does not run."""
    state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    phase = "Running" if restarts else "Pending"
    return {
        "phase": phase,
        "conditions": _conditions(ready=False),
        "containerStatuses": [_container(state, restarts, last)],
    }


def running(*, ready: bool) -> dict[str, Any]:
    """Return the status of a pod whose container runs."""
    container = _container({"running": {"startedAt": LATER}}, 0, None) | {"ready": ready, "started": ready}
    return {"phase": "Running", "conditions": _conditions(ready=ready), "containerStatuses": [container]}


def evicted() -> dict[str, Any]:
    """Return the status of an evicted pod."""
    return {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}


def ended(reason: str, exit_code: int) -> dict[str, Any]:
    """Return how a container's last run ended."""
    times = {"startedAt": CREATED, "finishedAt": LATER}
    return {"terminated": {"exitCode": exit_code, "reason": reason, "containerID": "containerd://1"} | times}


def _conditions(*, ready: bool) -> list[dict[str, Any]]:
    states = {"PodScheduled": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    return [
        {"type": kind, "status": str(state), "lastProbeTime": None, "lastTransitionTime": LATER}
        for kind, state in states.items()
    ]


def _container(state: dict[str, Any], restarts: int, last: dict[str, Any] | None) -> dict[str, Any]:
    return {
        "name": "vllm",
        "state": state,
        "lastState": last or {},
        "ready": False,
        "restartCount": restarts,
        "image": "vllm",
        "imageID": "",
        "started": False,
    }


def _refusal(status: int, reason: str, message: str) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    return web.json_response(body | {"message": message, "reason": reason, "code": status}, status=status)
