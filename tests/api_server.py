"""A real Kubernetes API server for tests: etcd and kube-apiserver on loopback, with RBAC, and without any controller.

    async with ApiServer(folder, programs) as server:
        await server.create(namespace)
        token = await server.token("chat", "gradio-chat-ksa")

`make engine ARGS=--api-server` gets the two programs (`tests/stacks/engine_setup.py`).
"""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.certificates import authority
from tests.stacks.engine_setup import API_SERVER, search_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

START_SECONDS = 180.0  # on a busy machine
# Every request with its user, verb and status, once it was answered.
AUDIT = """{"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
"rules": [{"level": "Metadata"}]}"""
# Kind -> its plural where that is not the kind with an s.
PLURALS = {"NetworkPolicy": "networkpolicies", "PriorityClass": "priorityclasses"}
CLUSTER_WIDE = {"Namespace", "PriorityClass", "ClusterRole", "ClusterRoleBinding", "StorageClass"}


class Refused(Exception):
    """The API server refused a request.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ApiServer:
    """One API server; whoever holds `admin_token` may do everything.

    Args:
        folder: gets its data, certificates and logs.
        programs: where ``etcd`` and ``kube-apiserver`` are.

    Attributes:
        url: its address, the same after each start.
        ca: the file with the certificate of its authority.
    """

    def __init__(self, folder: Path, programs: Mapping[str, str]) -> None:
        self.folder = folder
        self.ca = folder / "ca.crt"
        self.url = ""
        self.admin_token = secrets.token_hex(16)
        self._programs = programs
        self._etcd: asyncio.subprocess.Process | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        self._write_keys()
        self._port, client, peer = _free_ports(3)
        self._etcd_url = f"http://127.0.0.1:{client}"
        self.url = f"https://127.0.0.1:{self._port}"
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self.admin_token}"},
            connector=aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=self.ca)),
            read_bufsize=1 << 20,
        )
        self._etcd = await self._run(
            "etcd",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={self._etcd_url}",
            f"--advertise-client-urls={self._etcd_url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )
        try:
            await self.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        for process in (self._process, self._etcd):
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()

    async def start(self, *, wait: bool = True) -> None:
        """Start the API server, and wait until it is ready."""
        keys = self.folder / "accounts.key"
        self._process = await self._run(
            "kube-apiserver",
            f"--etcd-servers={self._etcd_url}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
            f"--tls-cert-file={self.folder / 'server.pem'}",
            f"--tls-private-key-file={self.folder / 'server.pem'}",
            f"--token-auth-file={self.folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys}",
            f"--service-account-signing-key-file={keys}",
            f"--audit-policy-file={self.folder / 'audit.json'}",
            f"--audit-log-path={self.folder / 'audit.log'}",
            "--disable-admission-plugins=ServiceAccount",  # it waits for what a controller makes
        )
        if wait:
            await self.until_ready()

    async def until_ready(self) -> None:
        """Wait until it is ready for requests.

        Raises:
            RuntimeError: it has ended.
            TimeoutError: it is not ready within `START_SECONDS`.
        """
        async with asyncio.timeout(START_SECONDS):
            while True:
                if self._process is None or self._process.returncode is not None:
                    raise RuntimeError((self.folder / "kube-apiserver.log").read_text()[-4000:])
                with suppress(aiohttp.ClientError):
                    async with self._session.get(f"{self.url}/readyz") as response:
                        if response.status == 200:
                            return
                await asyncio.sleep(0.1)

    async def stop(self) -> None:
        """Kill the API server: all connections break, and new ones are refused. etcd keeps what there is."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str
    ) -> dict[str, Any]:
        """Send a request as the administrator.

        Raises:
            Refused: another status than success.
        """
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        async with self._session.request(
            method,
            self.url + path,
            params=query,
            data=None if body is None else json.dumps(body),
            headers={"Content-Type": kind},
        ) as response:
            answer: dict[str, Any] = await response.json(content_type=None)
        if response.status >= 300:
            raise Refused(response.status, str(answer.get("message")))
        return answer

    async def create(self, thing: Mapping[str, Any], **query: str) -> dict[str, Any]:
        """Create an object; unknown fields are an error.

        Raises:
            Refused: it is invalid, or not admitted.
        """
        return await self.request("POST", path_of(thing), thing, fieldValidation="Strict", **query)

    async def token(self, namespace: str, account: str) -> str:
        """Return a token of a service account, as the kubelet gets one for each pod."""
        wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        return str((await self.request("POST", path, wanted))["status"]["token"])

    async def watch(self, path: str, seen: Callable[[dict[str, Any]], None]) -> None:
        """Call a function with each object of a list, and with each change, for ever; after a break it lists again."""
        while True:
            with suppress(aiohttp.ClientError, Refused):
                listing = await self.request("GET", path)
                for item in listing["items"]:
                    seen(item)
                query = {"watch": "1", "resourceVersion": listing["metadata"]["resourceVersion"]}
                async with self._session.get(
                    self.url + path, params=query, timeout=aiohttp.ClientTimeout()
                ) as response:
                    async for line in response.content:
                        event = json.loads(line)
                        if event["type"] in {"ADDED", "MODIFIED"}:
                            seen(event["object"])
            await asyncio.sleep(0.05)

    def audit(self) -> list[dict[str, Any]]:
        """Return every request so far, as the API server's audit log has it."""
        log = self.folder / "audit.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def _write_keys(self) -> None:
        authority(self.ca, self.folder / "server.pem")
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self.folder / "accounts.key").write_bytes(key)
        (self.folder / "tokens.csv").write_text(f'{self.admin_token},admin,1,"system:masters"\n')
        (self.folder / "audit.json").write_text(AUDIT)

    async def _run(self, program: str, *arguments: str) -> asyncio.subprocess.Process:
        with (self.folder / f"{program}.log").open("ab") as log:
            return await asyncio.create_subprocess_exec(
                self._programs[program], *arguments, stdout=log, stderr=log, cwd=self.folder
            )


def programs() -> dict[str, str]:
    """Return where the two programs are; skips the test where they are not."""
    found = {name: shutil.which(name, path=search_path()) for name in API_SERVER}
    if missing := [name for name, path in found.items() if path is None]:
        pytest.skip(f"needs {' and '.join(missing)}: make engine ARGS=--api-server gets them")
    return {name: path for name, path in found.items() if path}


def path_of(thing: Mapping[str, Any]) -> str:
    """Return the path of the list that an object belongs to."""
    version, kind = thing["apiVersion"], thing["kind"]
    root = f"/apis/{version}" if "/" in version else f"/api/{version}"
    plural = PLURALS.get(kind, kind.lower() + "s")
    if kind in CLUSTER_WIDE:
        return f"{root}/{plural}"
    return f"{root}/namespaces/{thing['metadata']['namespace']}/{plural}"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
