"""Looks up why a model in the chat's own cluster is down: collects what `diagnosis` interprets."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from chatapp.models.kubernetes.api import KubernetesApi, KubernetesError
from chatapp.models.kubernetes.diagnosis import Observation, diagnose
from chatapp.models.kubernetes.fields import at, condition, name_of, objects, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chatapp.models import ModelStatus
    from chatapp.models.kubernetes.workload import Workload

PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Between two requests while the API does not answer, growing."""
_MAX_PODS = "20"
_MAX_EVENTS = "300"
# vLLM's traceback, that of its API server after it, and progress bars.
_LOG = {"tailLines": "400", "limitBytes": "262144"}
log = structlog.get_logger(__name__)


class PodWatch:
    """Looks up the pods of one model in the Kubernetes API.

    Args:
        pods: ``NAMESPACE/LABEL=VALUE``.
        workload: the model's, in this namespace; None: not known.
        sleeps: the chat scales it to zero.
        api: sends the requests.
    """

    def __init__(
        self, pods: str, *, workload: Workload | None = None, sleeps: bool = False, api: KubernetesApi | None = None
    ) -> None:
        self._namespace, _, self._selector = pods.partition("/")
        self._workload = workload
        self._sleeps = sleeps
        self._api = api or KubernetesApi()
        self._logged: object = None
        self._pause = PAUSE_SECONDS
        self._next_at = float("-inf")

    async def status(self) -> ModelStatus | None:
        """Return why the model is down; None where a pod is ready, or Kubernetes does not answer.

        Never raises. After a failure it does not ask again for a while.
        """
        clock = asyncio.get_running_loop().time
        if clock() < self._next_at:
            return None
        try:
            seen = await self.observe()
        except KubernetesError as error:
            self._log_once("pods_unknown", detail=str(error)[:200])
            self._next_at = clock() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
            return None
        self._pause = PAUSE_SECONDS
        diagnosis = diagnose(seen)
        if diagnosis is None:
            return None
        self._log_once("model_is_down", state=diagnosis.status.state.value, message=diagnosis.message)
        return diagnosis.status

    async def observe(self) -> Observation:
        """Return what Kubernetes says now. Only the pods are indispensable: the account may lack the other rights.

        Raises:
            KubernetesError: the pods are not known.
        """
        listing, events, workload = await asyncio.gather(
            self._api.get(f"/api/v1/namespaces/{self._namespace}/pods", labelSelector=self._selector, limit=_MAX_PODS),
            self._optional(f"/api/v1/namespaces/{self._namespace}/events", limit=_MAX_EVENTS),
            self._optional(self._workload.path(self._namespace)) if self._workload else _nothing(),
        )
        pods = listing.get("items")
        if not isinstance(pods, list):
            raise KubernetesError("no list of pods")
        logs = await asyncio.gather(*(self._log_of(pod) for pod in objects(pods)))
        return Observation(
            pods=pods,
            events=objects(at(events, "items")),
            workload=workload,
            kind=self._workload.kind if self._workload else "Deployment",
            logs={name_of(pod): end for pod, end in zip(objects(pods), logs, strict=True)},
            sleeps=self._sleeps,
        )

    async def _optional(self, path: str, **query: str) -> dict[str, Any] | None:
        try:
            return await self._api.get(path, **query)
        except KubernetesError:
            return None

    async def _log_of(self, pod: Mapping[str, Any]) -> str:
        """Return the end of the log of a container that starts, or of its last run where it crashed; else ""."""
        if condition(pod, "Ready").get("status") == "True" or at(pod, "metadata", "deletionTimestamp"):
            return ""
        container = next(iter(objects(at(pod, "status", "containerStatuses"))), None)
        query = {**_LOG, "container": text(at(container, "name"))}
        if not (at(container, "state", "running") or at(container, "state", "terminated")):
            if not at(container, "lastState", "terminated"):
                return ""
            query["previous"] = "true"
        try:
            return await self._api.log(self._namespace, name_of(pod), **query)
        except KubernetesError:
            return ""

    def _log_once(self, event: str, **fields: str) -> None:
        """Log an event once: a page requests the status every few seconds."""
        if self._logged != (event, fields):
            self._logged = event, fields
            log.info(event, **fields)


async def _nothing() -> None:
    return None
