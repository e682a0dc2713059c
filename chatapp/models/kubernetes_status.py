"""The status of a model that runs in the chat's own cluster, from the state of its pods.

`PodWatch` requests it from the Kubernetes API, only when the model does not answer; `diagnose` interprets it.
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
TIMEOUT_SECONDS: Final = 2.0
_MAX_PODS = 20
_MAX_BODY_BYTES = 4 << 20

_IMAGE_PROBLEMS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONTAINER_PROBLEMS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
# In the scheduler's message while nodes with GPUs are missing: GKE adds them on demand, and may find none.
_GPU_WORDS = ("nvidia.com/gpu", "node affinity", "node selector", "taint")
log = structlog.get_logger(__name__)


class PodWatch:
    """Watches the pods of one model through the Kubernetes API, as the service account of the chat's pod.

    Args:
        pods: ``NAMESPACE/LABEL=VALUE``.
        url: the API's address; empty: from the environment of every pod.
        folder: holds the account's ``token``, which changes while the chat runs, and the API's ``ca.crt``.
    """

    def __init__(self, pods: str, *, url: str = "", folder: Path = ACCOUNT_FOLDER) -> None:
        namespace, _, selector = pods.partition("/")
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._query = {"labelSelector": selector, "limit": str(_MAX_PODS)}
        self._url = url
        self._folder = folder
        self._logged: object = None

    async def status(self) -> ModelStatus | None:
        """Return why the model is down; None where a pod is ready, or Kubernetes does not answer.

        Never raises; takes `TIMEOUT_SECONDS` at most.
        """
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                pods = await self._pods()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            self._log_once("pods_unknown", error=type(error).__name__, detail=str(error)[:200])
            return None
        diagnosis = diagnose(pods)
        if diagnosis is None:
            return None
        self._log_once("model_is_down", state=diagnosis.status.state.value, message=diagnosis.message)
        return diagnosis.status

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
            raise ValueError("no list of pods")  # noqa: TRY004  # a value of the response
        return items

    def _log_once(self, event: str, **fields: str) -> None:
        """Log an event once: a page requests the status every few seconds."""
        if self._logged != (event, fields):
            self._logged = event, fields
            log.info(event, **fields)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The status for people, and Kubernetes' own message for the log."""

    status: ModelStatus
    message: str = ""


def diagnose(pods: Iterable[object]) -> Diagnosis | None:
    """Return the status of a model from its pods; None if one of them is ready.

    The pod that is closest to ready counts. Source of the fields and reasons:
    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus
    """
    alive = [pod for pod in pods if isinstance(pod, dict) and not _at(pod, "metadata", "deletionTimestamp")]
    if any(_is_ready(pod) for pod in alive):
        return None
    if not alive:
        reason = Sentence("it is switched off, or its Pods cannot be created")
        return Diagnosis(ModelStatus(ModelState.UNAVAILABLE, reason, Sentence("check its Deployment in the cluster")))
    return min((_status(pod) for pod in alive), key=lambda diagnosis: _CLOSEST_TO_READY.index(diagnosis.status.state))


_CLOSEST_TO_READY: Final = (ModelState.LOADING, ModelState.WAITING, ModelState.UNAVAILABLE)


def _status(pod: dict[str, Any]) -> Diagnosis:
    scheduled = _condition(pod, "PodScheduled")
    created = _ms(_at(pod, "metadata", "creationTimestamp"))
    phase = _text(_at(pod, "status", "phase"))
    if phase in {"Failed", "Succeeded"}:
        reason = _text(_at(pod, "status", "reason")) or phase
        return _unavailable(Sentence("its Pod has stopped ({why})", why=reason), _CHECK_LOG, created, pod)
    if scheduled.get("status") == "False":
        return _waiting(scheduled, created)
    for container in _containers(pod):
        if diagnosis := _container_failure(container, pod):
            return diagnosis
    started = [_ms(_at(container, "state", "running", "startedAt")) for container in _containers(pod)]
    if started and all(started):
        status = ModelStatus(
            ModelState.LOADING, Sentence("its weights are being loaded"), _WAIT, max(filter(None, started))
        )
        return Diagnosis(status)
    since = _ms(scheduled.get("lastTransitionTime")) or created
    reason = Sentence("its container is being created and its image pulled")
    return Diagnosis(ModelStatus(ModelState.LOADING, reason, _WAIT, since))


_WAIT: Final = Sentence("wait a few minutes, or choose another model")
_CHECK_LOG: Final = Sentence("check its log in the cluster")


def _waiting(scheduled: Mapping[str, Any], created: int | None) -> Diagnosis:
    message = _text(scheduled.get("message"))
    reason = (
        Sentence("no node with free GPUs is available yet")
        if not message or any(word in message for word in _GPU_WORDS)
        else Sentence("no node with enough free capacity is available yet")
    )
    fix = Sentence("wait (minutes or hours), choose another model, or check the project's GPU quota")
    since = created or _ms(scheduled.get("lastTransitionTime"))
    return Diagnosis(ModelStatus(ModelState.WAITING, reason, fix, since), message)


def _container_failure(container: Mapping[str, Any], pod: dict[str, Any]) -> Diagnosis | None:
    """Return why a container does not start, None if it seems to."""
    why, message = (_text(_at(container, "state", "waiting", part)) for part in ("reason", "message"))
    last = _at(container, "lastState", "terminated")
    since = _ms(_at(last, "finishedAt"))
    if why == "CrashLoopBackOff":
        reason = Sentence("it crashes repeatedly on startup ({how})", how=_text(_at(last, "reason")) or why)
        return _unavailable(reason, _CHECK_LOG, since, pod, message)
    if why in _IMAGE_PROBLEMS:
        fix = Sentence("check the name of its container image and the permission to pull it")
        return _unavailable(Sentence("its container image cannot be pulled ({why})", why=why), fix, since, pod, message)
    if why in _CONTAINER_PROBLEMS:
        fix = Sentence("check its Deployment and the Secrets that it names")
        return _unavailable(Sentence("its container cannot be created ({why})", why=why), fix, since, pod, message)
    return None


def _unavailable(
    reason: Sentence, fix: Sentence, since_ms: int | None, pod: dict[str, Any], message: str = ""
) -> Diagnosis:
    since_ms = since_ms or _ms(_at(pod, "metadata", "creationTimestamp"))
    return Diagnosis(ModelStatus(ModelState.UNAVAILABLE, reason, fix, since_ms), message)


def _is_ready(pod: dict[str, Any]) -> bool:
    return _condition(pod, "Ready").get("status") == "True"


def _condition(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((condition for condition in _objects(pod, "conditions") if condition.get("type") == kind), {})


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return _objects(pod, "containerStatuses")


def _objects(pod: dict[str, Any], name: str) -> list[dict[str, Any]]:
    values = _at(pod, "status", name)
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


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
    """Return the address from the environment of every pod.

    Raises:
        ValueError: this process does not run in a pod.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ValueError("KUBERNETES_SERVICE_HOST is not set: this is no pod of a cluster")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
