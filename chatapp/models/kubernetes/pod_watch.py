"""Why a model in the chat's own cluster is down: keeps what Kubernetes says of it, which `diagnosis` interprets."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from chatapp.models.kubernetes.api import KubernetesApi, KubernetesError
from chatapp.models.kubernetes.diagnosis import Observation, diagnose, living_servers
from chatapp.models.kubernetes.fields import at, condition, name_of, objects, text
from chatapp.models.kubernetes.reflector import Reflector

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chatapp.models import ModelStatus
    from chatapp.models.kubernetes.workload import Workload

LOG_SECONDS: Final = 5.0
"""For which the log of a container that starts is fresh: it has the percentages, and cannot be watched."""
_MAX_PODS = 20
_MAX_EVENTS = 300
# vLLM's traceback, that of its API server after it, and progress bars.
_LOG = {"tailLines": "400", "limitBytes": "262144"}
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Log:
    """The end of a log, and when it was read, on the clock of the event loop."""

    end: str
    read_at: float


class PodWatch:
    """Knows the pods of one model and their events, by a watch while its status is read again and again.

    The workload is read where no server lives, as only then it says more than they do; logs while a container starts,
    and once after it ended.

    Args:
        pods: ``NAMESPACE/LABEL=VALUE``.
        workload: the model's, in this namespace; None: not known.
        sleeps: the chat scales it to zero.
        api: sends the requests.

    Attributes:
        on_change: each is called as soon as a watch shows that the model's status has changed.
    """

    def __init__(
        self, pods: str, *, workload: Workload | None = None, sleeps: bool = False, api: KubernetesApi | None = None
    ) -> None:
        self.on_change: list[Callable[[], None]] = []
        self._namespace, _, selector = pods.partition("/")
        self._workload = workload
        self._sleeps = sleeps
        self._api = api or KubernetesApi()
        self._pods = self._reflector("pods", _MAX_PODS, labelSelector=selector)
        self._events = self._reflector("events", _MAX_EVENTS)
        self._logs: dict[tuple[object, ...], _Log] = {}
        self._seen = Observation([])
        self._status: ModelStatus | None = None
        self._logged: object = None
        self._is_refusal_logged = False

    async def status(self) -> ModelStatus | None:
        """Return why the model is down; None where a pod is ready, or Kubernetes does not answer.

        Never raises. After a failure it does not ask again for a while.
        """
        try:
            await self._look()
        except KubernetesError as error:
            self._log_once("pods_unknown", detail=str(error)[:200])
            return None
        diagnosis = diagnose(self._seen)
        self._status = diagnosis.status if diagnosis else None
        if diagnosis is None:
            return None
        self._log_once("model_is_down", state=diagnosis.status.state.value, message=diagnosis.message)
        return diagnosis.status

    async def aclose(self) -> None:
        """Close the connections."""
        await asyncio.gather(self._pods.aclose(), self._events.aclose())

    def _reflector(self, name: str, most: int, **query: str) -> Reflector:
        return Reflector(
            self._api,
            f"/api/v1/namespaces/{self._namespace}/{name}",
            query,
            most=most,
            on_change=self._compare,
            on_refusal=self._log_refusal,
        )

    async def _look(self) -> None:
        """Bring what is known up to date. Only the pods are indispensable: the account may lack the other rights.

        Raises:
            KubernetesError: the pods are not known.
        """
        _, events_known = await asyncio.gather(self._pods.look(), self._look_at_events())
        pods = self._pods.copy
        workload, logs = await asyncio.gather(self._read_workload(pods), self._read_logs(pods))
        events = self._events.copy if events_known else []
        self._seen = self._observation(pods, events, workload, logs)

    def _observation(
        self, pods: Sequence[object], events: Sequence[object], workload: object, logs: Mapping[str, str]
    ) -> Observation:
        kind = self._workload.kind if self._workload else "Deployment"
        return Observation(pods, events, workload, logs, self._sleeps, kind)

    async def _look_at_events(self) -> bool:
        try:
            await self._events.look()
        except KubernetesError:
            return False
        return True

    async def _read_workload(self, pods: list[dict[str, Any]]) -> dict[str, Any] | None:
        if living_servers(pods) or not self._workload:
            return None
        try:
            return await self._api.get(self._workload.path(self._namespace))
        except KubernetesError:
            return None

    async def _read_logs(self, pods: list[dict[str, Any]]) -> dict[str, str]:
        ends = await asyncio.gather(*(self._log_of(pod) for pod in pods))
        self._logs = {key: read for key, read in ends if read}
        return {name_of(pod): read.end for pod, (_, read) in zip(pods, ends, strict=True) if read}

    async def _log_of(self, pod: Mapping[str, Any]) -> tuple[tuple[object, ...], _Log | None]:
        """Return the end of the log of a container that starts, or of its last run where it crashed; else None."""
        query = _log_query(pod)
        key = (name_of(pod), at(pod, "metadata", "uid"), *(query or {}).items(), *_run(pod))
        if query is None:
            return key, None
        now, known = asyncio.get_running_loop().time(), self._logs.get(key)
        if known and (now - known.read_at < LOG_SECONDS or (known.end and not _is_running(pod))):
            return key, known
        try:
            end = await self._api.log(self._namespace, name_of(pod), **query)
        except KubernetesError:
            end = ""
        return key, _Log(end, now)

    def _compare(self) -> None:
        """Tell of a change of the status."""
        seen = self._seen
        diagnosis = diagnose(self._observation(self._pods.copy, self._events.copy, seen.workload, seen.logs))
        status = diagnosis.status if diagnosis else None
        if status != self._status:
            self._status = status
            for changed in self.on_change:
                changed()

    def _log_refusal(self, error: KubernetesError) -> None:
        if not self._is_refusal_logged:
            self._is_refusal_logged = True
            log.info("pods_not_watched", detail=str(error)[:200])

    def _log_once(self, event: str, **fields: str) -> None:
        """Log an event once: a page requests the status every few seconds."""
        if self._logged != (event, fields):
            self._logged = event, fields
            log.info(event, **fields)


def _log_query(pod: Mapping[str, Any]) -> dict[str, str] | None:
    """Return which log says more than the pod does; None for none."""
    if condition(pod, "Ready").get("status") == "True" or at(pod, "metadata", "deletionTimestamp"):
        return None
    container = _main(pod)
    query = {**_LOG, "container": text(at(container, "name"))}
    if at(container, "state", "running"):
        return None if at(container, "started") is True else query
    if at(container, "state", "terminated"):
        return query
    return {**query, "previous": "true"} if at(container, "lastState", "terminated") else None


def _main(pod: Mapping[str, Any]) -> object:
    return next(iter(objects(at(pod, "status", "containerStatuses"))), None)


def _is_running(pod: Mapping[str, Any]) -> bool:
    return bool(at(_main(pod), "state", "running"))


def _run(pod: Mapping[str, Any]) -> tuple[object, bool]:
    """Return what tells one run of a container from the next, and from its end."""
    restarts = at(_main(pod), "restartCount")
    return restarts if isinstance(restarts, int) else 0, _is_running(pod)
