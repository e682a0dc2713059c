"""Why a model that runs in this cluster is not there: what Kubernetes says of its pods.

`PodWatch` asks, `status_of` reads. The API is asked only while somebody looks at a model that does not answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import structlog

from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState, ModelStatus

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ACCOUNT_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SECONDS: Final = 2.0
_MOST_PODS = 20
_MAX_BODY_BYTES = 4 << 20

_IMAGE_PROBLEMS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONTAINER_PROBLEMS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
# What a scheduler says when what is missing are the machines with GPUs: GKE makes them only then, and may find none.
_GPU_WORDS = ("nvidia.com/gpu", "node affinity", "node selector", "taint")
log = structlog.get_logger(__name__)


class PodWatch:
    """Asks the Kubernetes API for the pods of one model, as the service account of the chat's own pod.

    Args:
        pods: ``NAMESPACE/LABEL=VALUE``.
        url: the API's address; empty: as every pod is told it.
        folder: with the account's ``token``, which changes while the chat runs, and the API's ``ca.crt``.
    """

    def __init__(self, pods: str, *, url: str = "", folder: Path = ACCOUNT_FOLDER) -> None:
        namespace, _, selector = pods.partition("/")
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._query = {"labelSelector": selector, "limit": str(_MOST_PODS)}
        self._url = url
        self._folder = folder
        self._logged: object = None

    async def status(self) -> ModelStatus | None:
        """Say why the model is not there, None where Kubernetes holds it to be there, or does not answer.

        Never raises; takes `SECONDS` at most.
        """
        try:
            async with asyncio.timeout(SECONDS):
                pods = await self._pods()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._log_once("pods_unknown", error=type(error).__name__, detail=str(error)[:200])
            return None
        found = status_of(pods)
        if found is None:
            return None
        self._log_once("model_is_away", state=found.status.state.value, words=found.words)
        return found.status

    async def _pods(self) -> list[Any]:
        url = self._url or _api_address()
        tls = ssl.create_default_context(cafile=self._folder / "ca.crt") if url.startswith("https:") else True
        token = (self._folder / "token").read_text(encoding="ascii").strip()
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, trust_env=False) as session,
            session.get(url + self._path, params=self._query, ssl=tls, allow_redirects=False) as response,
        ):
            body = await response.content.read(_MAX_BODY_BYTES)
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
        answer = json.loads(body)
        items = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(items, list):
            raise ValueError("no list of pods")  # noqa: TRY004  # what a server sends is a value
        return items

    def _log_once(self, event: str, **facts: str) -> None:
        """Log what is new: a page asks every few seconds."""
        if self._logged != (event, facts):
            self._logged = event, facts
            log.info(event, **facts)


@dataclass(frozen=True, slots=True)
class Found:
    """What was found: for people, and in Kubernetes' own words, for the log."""

    status: ModelStatus
    words: str = ""


def status_of(pods: Iterable[object]) -> Found | None:
    """Return what the pods' states mean for the model they are; None if one of them is ready.

    The pod that is nearest to being ready counts. Source of the fields and reasons:
    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus
    """
    alive = [pod for pod in pods if isinstance(pod, dict) and not _at(pod, "metadata", "deletionTimestamp")]
    if any(_is_ready(pod) for pod in alive):
        return None
    if not alive:
        reason = Sentence("it is switched off, or its Pods cannot be created")
        return Found(ModelStatus(ModelState.UNAVAILABLE, reason, Sentence("check its Deployment in the cluster")))
    return min((_status(pod) for pod in alive), key=lambda found: _NEAREST.index(found.status.state))


_NEAREST: Final = (ModelState.LOADING, ModelState.WAITING, ModelState.UNAVAILABLE)


def _status(pod: dict[str, Any]) -> Found:
    scheduled = _condition(pod, "PodScheduled")
    created = _ms(_at(pod, "metadata", "creationTimestamp"))
    phase = _text(_at(pod, "status", "phase"))
    if phase in {"Failed", "Succeeded"}:
        why = _text(_at(pod, "status", "reason")) or phase
        return _unavailable(Sentence("its Pod has stopped ({why})", why=why), _LOOK_AT_LOG, created, pod)
    if scheduled.get("status") == "False":
        return _waiting(scheduled, created)
    for container in _containers(pod):
        if found := _stuck(container, pod):
            return found
    started = [_ms(_at(container, "state", "running", "startedAt")) for container in _containers(pod)]
    if started and all(started):
        status = ModelStatus(
            ModelState.LOADING, Sentence("its weights are being loaded"), _WAIT, max(filter(None, started))
        )
        return Found(status)
    since = _ms(scheduled.get("lastTransitionTime")) or created
    reason = Sentence("its container is being created and its image pulled")
    return Found(ModelStatus(ModelState.LOADING, reason, _WAIT, since))


_WAIT: Final = Sentence("wait a few minutes, or choose another model")
_LOOK_AT_LOG: Final = Sentence("check its log in the cluster")


def _waiting(scheduled: Mapping[str, Any], created: int | None) -> Found:
    words = _text(scheduled.get("message"))
    reason = (
        Sentence("no node with free GPUs is available yet")
        if not words or any(word in words for word in _GPU_WORDS)
        else Sentence("no node with enough free capacity is available yet")
    )
    fix = Sentence("wait (minutes or hours), choose another model, or check the project's GPU quota")
    since = created or _ms(scheduled.get("lastTransitionTime"))
    return Found(ModelStatus(ModelState.WAITING, reason, fix, since), words)


def _stuck(container: Mapping[str, Any], pod: dict[str, Any]) -> Found | None:
    """Return what keeps a container from starting, None if nothing is known to."""
    why, words = (_text(_at(container, "state", "waiting", part)) for part in ("reason", "message"))
    last = _at(container, "lastState", "terminated")
    since = _ms(_at(last, "finishedAt"))
    if why == "CrashLoopBackOff":
        reason = Sentence("it crashes repeatedly on startup ({how})", how=_text(_at(last, "reason")) or why)
        return _unavailable(reason, _LOOK_AT_LOG, since, pod, words)
    if why in _IMAGE_PROBLEMS:
        fix = Sentence("check the name of its container image and the permission to pull it")
        return _unavailable(Sentence("its container image cannot be pulled ({why})", why=why), fix, since, pod, words)
    if why in _CONTAINER_PROBLEMS:
        fix = Sentence("check its Deployment and the Secrets that it names")
        return _unavailable(Sentence("its container cannot be created ({why})", why=why), fix, since, pod, words)
    return None


def _unavailable(reason: Sentence, fix: Sentence, since_ms: int | None, pod: dict[str, Any], words: str = "") -> Found:
    since_ms = since_ms or _ms(_at(pod, "metadata", "creationTimestamp"))
    return Found(ModelStatus(ModelState.UNAVAILABLE, reason, fix, since_ms), words)


def _is_ready(pod: dict[str, Any]) -> bool:
    return _condition(pod, "Ready").get("status") == "True"


def _condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((each for each in _objects(pod, "conditions") if each.get("type") == kind), {})


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return _objects(pod, "containerStatuses")


def _objects(pod: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = _at(pod, "status", name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _at(value: object, *path: str) -> Any:  # noqa: ANN401  # any JSON
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    return value[:1000] if isinstance(value, str) else ""


def _ms(timestamp: object) -> int | None:
    try:
        return int(datetime.fromisoformat(_text(timestamp)).timestamp() * 1000)
    except ValueError:
        return None


def _api_address() -> str:
    """Return the address that every pod is told.

    Raises:
        ValueError: this is no pod.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ValueError("KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
