"""A small client of the Kubernetes API, for the service account of the pod that the chat runs in."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp

from chatapp.models.kubernetes.fields import at, text

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping

ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TIMEOUT_SECONDS: Final = 1.4
"""Twice that, for objects and then logs, fits into the time of a model's status (`chatapp.models.catalog`)."""
WATCH_SECONDS: Final = 300
"""After which the API is asked to end a watch: the next one is opened with the token of that time."""
SILENT_SECONDS: Final = 90.0
"""Without a byte, after which the connection of a watch counts as broken. A bookmark comes about once a minute
(`defaultBookmarkFrequency` in k8s.io/apiserver/pkg/storage/cacher), but none for events, which API servers do not cache
(kubernetes/kubernetes#96052, #120348): a watch of them is also opened again where nothing happens for so long."""
MAX_BODY_BYTES: Final = 4 << 20
"""Of an answer; of one change, in a watch."""
_MERGE_PATCH: Final = "application/merge-patch+json"


class KubernetesError(Exception):
    """The API did not do what it was asked.

    Attributes:
        status: the HTTP status, or that of an event ERROR of a watch; 0 where there was no answer.
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

    @property
    def is_expired(self) -> bool:
        """Whether the version to watch from is too old: list again."""
        return self.status == 410


class KubernetesApi:
    """Requests to one API server, each bounded in time and by `MAX_BODY_BYTES`.

    Args:
        url: the API's address; empty: from the environment of every pod.
        folder: holds the account's ``token``, which changes while the chat runs, and the API's ``ca.crt``.
        timeout: seconds for each request; of a watch, until it begins.
    """

    def __init__(self, *, url: str = "", folder: Path = ACCOUNT_FOLDER, timeout: float = TIMEOUT_SECONDS) -> None:
        self.timeout = timeout
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

    @asynccontextmanager
    async def watch(
        self, path: str, *, version: str, **query: str
    ) -> AsyncIterator[AsyncGenerator[tuple[str, dict[str, Any]]]]:
        """Open a watch of a list; the connection is closed at the end of the context.

        It yields each change after a version of the list, until the API ends it after `WATCH_SECONDS`: its type
        ("ADDED", "MODIFIED", "DELETED", or "BOOKMARK", which has only a newer version) and the object.

        Raises:
            KubernetesError: as `get`, on opening and on reading; the connection broke, or was silent for
                `SILENT_SECONDS`; the version is too old (see `KubernetesError.is_expired`).
        """
        query |= {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        query |= {"timeoutSeconds": str(WATCH_SECONDS)}
        # Without a limit for the whole: the client's default is five minutes.
        silence = aiohttp.ClientTimeout(total=None, sock_read=SILENT_SECONDS)
        async with AsyncExitStack() as opened:
            with _kubernetes_errors():
                async with asyncio.timeout(self.timeout):
                    response = await opened.enter_async_context(self._response("GET", path, query, timeout=silence))
            changes = await opened.enter_async_context(aclosing(_changes(response.content)))
            yield changes

    async def _request(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> bytes:
        with _kubernetes_errors():
            async with asyncio.timeout(self.timeout), self._response(method, path, query or {}, body) as response:
                return await _body(response)

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: bytes | None = None,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109  # the client's
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._url or _api_address()
        tls = ssl.create_default_context(cafile=self._folder / "ca.crt") if url.startswith("https:") else True
        token = (self._folder / "token").read_text(encoding="ascii").strip()
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = _MERGE_PATCH
        async with (
            aiohttp.ClientSession(headers=headers, trust_env=False) as session,
            session.request(
                method, url + path, params=dict(query), data=body, ssl=tls, allow_redirects=False, timeout=timeout
            ) as response,
        ):
            if response.status != 200:
                message = _message(await _body(response))
                raise KubernetesError(f"HTTP {response.status}: {message}", status=response.status)
            yield response


@contextmanager
def _kubernetes_errors() -> Iterator[None]:
    """Raise `KubernetesError` in place of what a client of HTTP raises."""
    try:
        yield
    except KubernetesError:
        raise
    except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
        raise KubernetesError(f"{type(error).__name__}: {error}"[:300]) from error


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, of which the rest after `MAX_BODY_BYTES` is not read."""
    content = await response.content.read(MAX_BODY_BYTES)
    while len(content) < MAX_BODY_BYTES and (more := await response.content.read(MAX_BODY_BYTES - len(content))):
        content += more
    return content


async def _changes(content: aiohttp.StreamReader) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
    """Yield the changes of a watch: each is a line with a JSON object.

    Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes
    """
    rest = b""
    while True:
        with _kubernetes_errors():
            chunk = await content.readany()
        if not chunk:
            return
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_BODY_BYTES:
            raise KubernetesError("a change is too large")
        for line in lines:
            change = _object(line)
            kind, thing = text(change.get("type")), change.get("object")
            if kind == "ERROR":
                code = at(thing, "code")
                raise KubernetesError(text(at(thing, "message"))[:300], status=code if isinstance(code, int) else 0)
            if isinstance(thing, dict):
                yield kind, thing


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
