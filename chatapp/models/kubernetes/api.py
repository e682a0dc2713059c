"""A small client of the Kubernetes API, for the service account of the pod that the chat runs in."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from chatapp.models.kubernetes.fields import text

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS: Final = 1.4
"""Twice that, for objects and then logs, fits into the time of a model's status (`chatapp.models.catalog`)."""
MAX_BODY_BYTES: Final = 4 << 20
_MERGE_PATCH: Final = "application/merge-patch+json"


class KubernetesError(Exception):
    """The API did not do what it was asked.

    Attributes:
        status: the HTTP status; 0 where there was no answer.
    """

    def __init__(self, message: str, *, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_conflict(self) -> bool:
        """Whether another writer was faster: read again."""
        return self.status == 409

    @property
    def is_forbidden(self) -> bool:
        """Whether the account lacks the right, so that a retry does not help until someone grants it."""
        return self.status in {401, 403}


class KubernetesApi:
    """Requests to one API server, each bounded in time and by `MAX_BODY_BYTES`.

    Args:
        url: the API's address; empty: from the environment of every pod.
        folder: holds the account's ``token``, which changes while the chat runs, and the API's ``ca.crt``.
        timeout: seconds for each request.
    """

    def __init__(self, *, url: str = "", folder: Path = ACCOUNT_FOLDER, timeout: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout
        self._url = url
        self._folder = folder

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return an object or a list.

        Raises:
            KubernetesError: there is none, the account may not read it, or the API does not answer.
        """
        return _object(await self._request("GET", path, query=query))

    async def log(self, namespace: str, pod: str, **query: str) -> str:
        """Return the end of a container's log.

        Raises:
            KubernetesError: as `get`.
        """
        body = await self._request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log", query=query)
        return body.decode("utf-8", "replace")

    async def patch(self, path: str, change: Mapping[str, Any]) -> dict[str, Any]:
        """Merge a change into an object and return it.

        With ``metadata.resourceVersion`` in the change, only if the object still has this version.

        Raises:
            KubernetesError: a conflict (see `KubernetesError.is_conflict`), or as `get`.
        """
        query = {"fieldManager": "hybrid-chat"}  # as which others see who set a field
        return _object(await self._request("PATCH", path, query=query, body=json.dumps(change).encode()))

    async def _request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._answer(method, path, query or {}, body)
        except KubernetesError:
            raise
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise KubernetesError(f"{type(error).__name__}: {error}"[:300]) from error

    async def _answer(self, method: str, path: str, query: Mapping[str, str], body: bytes | None) -> bytes:
        url = self._url or _api_address()
        tls = ssl.create_default_context(cafile=self._folder / "ca.crt") if url.startswith("https:") else True
        token = (self._folder / "token").read_text(encoding="ascii").strip()
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = _MERGE_PATCH
        async with (
            aiohttp.ClientSession(headers=headers, trust_env=False) as session,
            session.request(
                method, url + path, params=dict(query), data=body, ssl=tls, allow_redirects=False
            ) as response,
        ):
            content = await response.content.read(MAX_BODY_BYTES)
            while len(content) < MAX_BODY_BYTES and (
                more := await response.content.read(MAX_BODY_BYTES - len(content))
            ):
                content += more
            if response.status != 200:
                raise KubernetesError(f"HTTP {response.status}: {_message(content)}", status=response.status)
        return content


def _object(body: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise KubernetesError("the answer is not JSON") from error
    if not isinstance(answer, dict):
        raise KubernetesError("the answer is no object")
    return answer


def _message(body: bytes) -> str:
    """Return the message of a refusal (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/)."""
    try:
        return text(_object(body).get("message"))[:300]
    except KubernetesError:
        return ""


def _api_address() -> str:
    """Return the address from the environment of every pod.

    Raises:
        ValueError: this process does not run in a pod.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ValueError("KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
