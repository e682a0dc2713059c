"""The status of a model from what Kubernetes says of it. Pure: no request, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState, ModelStatus
from chatapp.models.kubernetes.events import events_of, latest
from chatapp.models.kubernetes.failures import DISK_FULL, MEMORY, explain
from chatapp.models.kubernetes.fields import at, condition, ms, name_of, objects, since_creation, text
from chatapp.models.kubernetes.scheduling import WAIT, no_node
from chatapp.models.kubernetes.servers import group_of, is_ready, machines_of, servers_of
from chatapp.models.kubernetes.startup import progress
from chatapp.models.kubernetes.workload import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from chatapp.models.kubernetes.events import Event
    from chatapp.models.kubernetes.failures import Explanation
    from chatapp.models.kubernetes.workload import Kind

CHECK_LOG: Final = Sentence("check its log in the cluster")

_IMAGE_PROBLEMS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONTAINER_PROBLEMS = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
# Of a pod whose node goes away: a spot machine that is taken back, a node that is upgraded.
_NODE_GONE = {"Terminated", "NodeShutdown", "Shutdown", "Preempted", "Preempting", "NodeLost", "NodeAffinity"}
_CLOSEST_TO_READY: Final = (ModelState.LOADING, ModelState.WAITING, ModelState.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Observation:
    """What Kubernetes said at one moment; objects as its API returns them, which are not trusted to be complete.

    Attributes:
        pods: of the model.
        events: of the namespace.
        workload: of the model, such as its Deployment; None where it is not known. It counts where no server lives.
        kind: of the workload, as its API calls it.
        logs: pod's name -> the end of its container's log; of a container that ended, the log of its last run.
        sleeps: the chat itself scales the workload to zero, so zero replicas mean that the model is asleep.
    """

    pods: Sequence[object]
    events: Sequence[object] = ()
    workload: object = None
    logs: Mapping[str, str] = field(default_factory=dict)
    sleeps: bool = False
    kind: Kind = "Deployment"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The status for people, and Kubernetes' own message for the log."""

    status: ModelStatus
    message: str = ""


def diagnose(seen: Observation) -> Diagnosis | None:
    """Return the status of a model; None if one of its servers is ready, so that Kubernetes has no reason to tell.

    The server that is closest to ready counts. Source of the fields and reasons:
    https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#PodStatus
    """
    servers = living_servers(seen.pods)
    if any(is_ready(server[0]) for server in servers):
        return None
    if not servers:
        return _without_pods(seen, [pod for pod in seen.pods if isinstance(pod, dict)])
    return min((_of_server(server, seen) for server in servers), key=_distance)


def living_servers(pods: Iterable[object]) -> list[list[dict[str, Any]]]:
    """Return the pods of each server, without those that end."""
    return servers_of(pod for pod in pods if isinstance(pod, dict) and not at(pod, "metadata", "deletionTimestamp"))


def replicas(workload: object) -> int | None:
    """Return how many replicas a workload or its scale should have; None where it does not say."""
    count = at(workload, "spec", "replicas")
    return count if isinstance(count, int) and not isinstance(count, bool) else None


def _distance(diagnosis: Diagnosis) -> int:
    """Return how far from ready something is."""
    return _CLOSEST_TO_READY.index(diagnosis.status.state)


def _of_server(server: Sequence[dict[str, Any]], seen: Observation) -> Diagnosis:
    """Return the status of a server that is not ready: that of the pod which is furthest from it.

    vLLM starts on several machines only when it runs on all of them, so the leader's log says nothing of the one that
    is missing.
    """
    leader, count = server[0], machines_of(server)
    refused = events_of(seen.events, name=name_of(leader), kind="StatefulSet") if len(server) < count else []
    if event := latest(refused, "FailedCreate"):
        return _refused(event, seen)
    found = [(_PodReader(pod, seen).diagnosis(), not _runs(pod)) for pod in server if not is_ready(pod)]
    diagnosis, _ = max(found, key=lambda each: (_distance(each[0]), each[1]))
    status = diagnosis.status
    if count == 1 or status.state is not ModelState.WAITING:
        return diagnosis
    on_machines = sum(condition(pod, "PodScheduled").get("status") == "True" for pod in server)
    reason = Sentence(
        "it has {found} of its {count} machines: {reason}", found=on_machines, count=count, reason=status.reason
    )
    return replace(diagnosis, status=replace(status, reason=reason))


def _runs(pod: object) -> bool:
    return any(at(each, "state", "running") for each in objects(at(pod, "status", "containerStatuses")))


def _refused(event: Event, seen: Observation) -> Diagnosis:
    reason = Sentence("the cluster refuses its Pod")
    return Diagnosis(ModelStatus(ModelState.UNAVAILABLE, reason, _check(seen.kind), event.at_ms), event.message)


def _check(kind: Kind) -> Sentence:
    return Sentence("check its {kind} in the cluster", kind=kind)


def _without_pods(seen: Observation, ending: Sequence[dict[str, Any]]) -> Diagnosis:
    wanted = replicas(seen.workload)
    if wanted == 0:
        status = (
            ModelStatus(
                ModelState.ASLEEP, Sentence("it is asleep to save cost"), Sentence("send a message, which wakes it")
            )
            if seen.sleeps
            else ModelStatus(
                ModelState.UNAVAILABLE,
                Sentence("it is switched off"),
                Sentence("scale its {kind} to one replica", kind=seen.kind),
            )
        )
        return Diagnosis(status)
    failures = (_PodReader(pod, seen).failure_of_group() for pod in ending)
    if failure := next((failure for failure in failures if failure), None):
        return failure
    if ending:
        return Diagnosis(
            ModelStatus(ModelState.LOADING, Sentence("its last Pod is ending before the next one starts"), WAIT)
        )
    name = name_of(seen.workload)
    refused = (
        [*events_of(seen.events, name=name, kind=GROUP), *events_of(seen.events, name=name, kind="StatefulSet")]
        if seen.kind == GROUP
        else events_of(seen.events, name=name, kind="ReplicaSet", prefix=True)
    )
    if wanted and (event := latest(refused, "FailedCreate")):
        return _refused(event, seen)
    if wanted:
        return Diagnosis(ModelStatus(ModelState.LOADING, Sentence("its Pod is being created"), WAIT))
    reason = Sentence("it is switched off, or its Pods cannot be created")
    return Diagnosis(ModelStatus(ModelState.UNAVAILABLE, reason, _check(seen.kind)))


class _PodReader:
    """Reads one pod that is not ready."""

    def __init__(self, pod: dict[str, Any], seen: Observation) -> None:
        self._pod = pod
        self._events = events_of(seen.events, name=name_of(pod))
        self._log = text_of_log(seen.logs.get(name_of(pod), ""))
        self._created = since_creation(pod)
        self._kind = seen.kind

    def diagnosis(self) -> Diagnosis:
        pod = self._pod
        scheduled = condition(pod, "PodScheduled")
        if text(at(pod, "status", "phase")) in {"Failed", "Succeeded"}:
            return self._stopped()
        if scheduled.get("status") == "False":
            message = text(scheduled.get("message"))
            reason, fix = no_node(message, self._events)
            since = self._created or ms(scheduled.get("lastTransitionTime"))
            return Diagnosis(ModelStatus(ModelState.WAITING, reason, fix, since), message)
        containers = [
            *objects(at(pod, "status", "initContainerStatuses")),
            *objects(at(pod, "status", "containerStatuses")),
        ]
        for container in containers:
            if diagnosis := self._container_failure(container):
                return diagnosis
        main = objects(at(pod, "status", "containerStatuses"))
        started = [ms(at(container, "state", "running", "startedAt")) for container in main]
        if started and all(started):
            return self._running(main, max(filter(None, started)))
        return self._creating(ms(scheduled.get("lastTransitionTime")) or self._created)

    def _running(self, containers: Sequence[object], since: int) -> Diagnosis:
        if all(at(container, "started") is True for container in containers):
            event = latest(self._events, "Unhealthy")
            reason = Sentence("it has stopped answering, and the cluster restarts it")
            message = event.message if event else ""
            return Diagnosis(ModelStatus(ModelState.LOADING, reason, WAIT, event.at_ms if event else since), message)
        return Diagnosis(ModelStatus(ModelState.LOADING, progress(self._log), WAIT, since))

    def _creating(self, since: int | None) -> Diagnosis:
        event = latest(
            self._events,
            "Pulling",
            "Pulled",
            "FailedMount",
            "FailedAttachVolume",
            "FailedCreatePodSandBox",
            "Scheduled",
        )
        match event.reason if event else "":
            case "FailedMount" | "FailedAttachVolume":
                status = ModelStatus(
                    ModelState.LOADING, Sentence("one of its volumes cannot be mounted yet"), _check(self._kind), since
                )
            case "FailedCreatePodSandBox":
                status = ModelStatus(ModelState.LOADING, Sentence("its node is being prepared"), WAIT, since)
            case "Pulling":
                status = ModelStatus(
                    ModelState.LOADING, Sentence("its container image is being downloaded"), WAIT, since
                )
            case _:
                reason = Sentence("its container is being created and its image pulled")
                status = ModelStatus(ModelState.LOADING, reason, WAIT, since)
        return Diagnosis(status, event.message if event else "")

    def _stopped(self) -> Diagnosis:
        why, message = (text(at(self._pod, "status", part)) for part in ("reason", "message"))
        why = why or text(at(self._pod, "status", "phase"))
        if why in _NODE_GONE:
            reason = Sentence("its machine was taken back, and the cluster looks for another one")
            return Diagnosis(ModelStatus(ModelState.WAITING, reason, WAIT, self._created), message)
        if why == "Evicted" and re.search(r"ephemeral|emptydir|disk|inode", message, re.IGNORECASE):
            return self._unavailable(DISK_FULL, self._created, message)
        if why == "Evicted" and "memory" in message:
            return self._unavailable(MEMORY, self._created, message)
        ended = next(
            (
                end
                for each in objects(at(self._pod, "status", "containerStatuses"))
                if (end := at(each, "state", "terminated"))
            ),
            None,
        )
        words = text(at(ended, "message"))
        explanation = explain(self._log, words, message) or (
            Sentence("its Pod has stopped ({why})", why=why),
            CHECK_LOG,
        )
        return self._unavailable(explanation, self._created, message)

    def _container_failure(self, container: Mapping[str, Any]) -> Diagnosis | None:
        """Return why a container does not start or run, None if it seems to."""
        why, message = (text(at(container, "state", "waiting", part)) for part in ("reason", "message"))
        now = at(container, "state", "terminated")
        has_failed = isinstance(now, dict) and at(now, "exitCode") != 0
        last = now if has_failed else at(container, "lastState", "terminated")
        since = ms(at(last, "finishedAt")) or self._created
        if why == "CrashLoopBackOff" or has_failed:
            return self._unavailable(self._end_of(last, why), since, message or text(at(last, "message")))
        if why in _IMAGE_PROBLEMS:
            return self._unavailable(_image_problem(why, message, self._events), since, message)
        if why in _CONTAINER_PROBLEMS:
            return self._unavailable(_container_problem(why, message, self._kind), since, message)
        return None

    def failure_of_group(self) -> Diagnosis | None:
        """Return why its group is being replaced, None where it is not because of this pod.

        Where a container of a group starts again, LeaderWorkerSet deletes all its pods: the new ones know of no crash.
        """
        for container in objects(at(self._pod, "status", "containerStatuses")) if group_of(self._pod) else ():
            last = at(container, "lastState", "terminated")
            if last and at(last, "exitCode") != 0:
                since = ms(at(last, "finishedAt")) or self._created
                return self._unavailable(self._end_of(last, ""), since, text(at(last, "message")))
        return None

    def _end_of(self, last: object, why: str) -> Explanation:
        """Return why the last run of a container ended."""
        how = text(at(last, "reason"))
        if how == "OOMKilled":
            return MEMORY
        if explanation := explain(self._log, text(at(last, "message"))):
            return explanation
        killed = next((e for e in self._events if e.reason in {"Unhealthy", "Killing"} and "probe" in e.message), None)
        if killed and at(last, "exitCode") in {137, 143}:
            return Sentence("it took too long to start or to answer, and the cluster stopped it"), CHECK_LOG
        return Sentence("it crashes repeatedly on startup ({how})", how=how or why), CHECK_LOG

    def _unavailable(self, explanation: Explanation, since: int | None, message: str) -> Diagnosis:
        reason, fix = explanation
        return Diagnosis(ModelStatus(ModelState.UNAVAILABLE, reason, fix, since), message)


def text_of_log(log: object) -> str:
    """Return a log as text; "" for anything else."""
    return log if isinstance(log, str) else ""


def _image_problem(why: str, message: str, events: Sequence[Event]) -> Explanation:
    event = latest(events, "Failed")
    words = f"{message}\n{event.message if event else ''}"
    if re.search(r"no space left", words, re.IGNORECASE):
        return DISK_FULL
    if re.search(r"toomanyrequests|429|rate limit", words, re.IGNORECASE):
        return Sentence("the registry of its container image limits downloads at the moment"), WAIT
    if re.search(r"not found|manifest unknown|no match for platform|invalid reference", words, re.IGNORECASE):
        return Sentence("its container image does not exist"), Sentence(
            "check the name of its container image (gemmaImage)"
        )
    if re.search(r"unauthorized|denied|forbidden|403", words, re.IGNORECASE):
        return (
            Sentence("the cluster may not download its container image"),
            Sentence("give the cluster's nodes the permission to pull it (gemmaImage)"),
        )
    if re.search(r"timeout|no such host|connection refused|unreachable|tls handshake", words, re.IGNORECASE):
        return (
            Sentence("the registry of its container image cannot be reached"),
            Sentence("check the cluster's access to the internet"),
        )
    fix = Sentence("check the name of its container image and the permission to pull it")
    return Sentence("its container image cannot be pulled ({why})", why=why), fix


def _container_problem(why: str, message: str, kind: Kind) -> Explanation:
    if missing := re.search(r'(?:secret|configmap) "([\w.-]{1,253})" not found', message):
        return (
            Sentence("its Secret or ConfigMap {name} is missing", name=missing[1]),
            Sentence("run make up again"),
        )
    if explanation := explain(message):
        return explanation
    return (
        Sentence("its container cannot be created ({why})", why=why),
        Sentence("check its {kind} and the Secrets that it names", kind=kind),
    )
