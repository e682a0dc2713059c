"""Rules for Kubernetes workloads and their containers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .properties import UNKNOWN, at, items

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .properties import Resource

_TEMPLATE = ("spec", "template", "spec")
_PODS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Pod": (("spec",),),
    "CronJob": (("spec", "jobTemplate", *_TEMPLATE),),
    **dict.fromkeys(
        ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"), (_TEMPLATE,)
    ),
    "LeaderWorkerSet": tuple(
        ("spec", "leaderWorkerTemplate", template, "spec") for template in ("leaderTemplate", "workerTemplate")
    ),
}
"""Kind -> paths of its pod specs; the first one's pods get requests."""
_SERVERS = {"DaemonSet", "Deployment", "LeaderWorkerSet", "StatefulSet"}

_AMOUNT = re.compile(r"(\d+\.?\d*|\.\d+)([a-zA-Z]*)")
_UNITS = {
    **{unit: Decimal(10) ** (3 * power) for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P"), -3)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)},
}


@dataclass(frozen=True)
class Container:
    """A container and its pod, as in the Kubernetes API."""

    title: str
    inputs: Any
    pod: Any

    def inherited(self, *path: str) -> Any:  # noqa: ANN401 - any property
        """Return a setting of the container's security context, or else of the pod's."""
        value = at(self.inputs, "securityContext", *path)
        return at(self.pod, "securityContext", *path) if value is None else value


def fixed_image(resource: Resource) -> Iterator[str]:
    """An image has a version tag or a digest, so that a restarted pod runs the same program."""
    for container in in_pod(resource):
        image = at(container.inputs, "image")
        if image is not UNKNOWN and not _is_fixed(image or ""):
            yield (
                f"{resource}: {container.title} runs the image {image or '(none)'}, whose content can change: use a "
                "version tag (not latest) or, better, a digest."
            )


def requests_equal_limits(resource: Resource) -> Iterator[str]:
    """Requests equal limits, because GKE Autopilot would change them again at every update."""
    for container in in_pod(resource):
        different = []
        for name in ("cpu", "memory", "ephemeral-storage"):
            request, limit = (at(container.inputs, "resources", part, name) for part in ("requests", "limits"))
            if not _is_same(request, limit):
                different.append(f"{name} (request {_shown(request)}, limit {_shown(limit)})")
        if different:
            yield (
                f"{resource}: {container.title} has requests that differ from its limits: {', '.join(different)}; "
                "GKE Autopilot changes those, so set both to the same amount."
            )


def restricted(resource: Resource) -> Iterator[str]:
    """A container runs without privileges and cannot gain any, so that an attacker in it cannot reach the node."""
    for container in in_pod(resource):
        missing = [setting for setting, is_set in _restrictions(container) if not is_set]
        if missing:
            yield (
                f"{resource}: {container.title} is not restricted, so an attacker in it could reach the node: set "
                f"{', '.join(missing)} in its securityContext."
            )


def probed(resource: Resource) -> Iterator[str]:
    """A server has probes, so that a starting one gets no requests and a hanging one is restarted."""
    if resource.kind not in _SERVERS:
        return
    for container in _in_pod(resource, _PODS[resource.kind][0], with_init=False):
        if at(container.inputs, "startupProbe") is None and at(container.inputs, "readinessProbe") is None:
            yield (
                f"{resource}: {container.title} has neither a startupProbe nor a readinessProbe, so it gets requests "
                "before it is ready: add one."
            )
        if at(container.inputs, "livenessProbe") is None:
            yield (
                f"{resource}: {container.title} has no livenessProbe, so it is not restarted when it hangs: add one."
            )


def no_service_account_token(resource: Resource) -> Iterator[str]:
    """No pod mounts a token of the Kubernetes API by default, which an attacker could use; mount it explicitly."""
    if resource.package != "kubernetes":
        return
    if resource.kind in _PODS:
        paths = [(*path, "automountServiceAccountToken") for path in _PODS[resource.kind]]
    elif resource.kind == "ServiceAccount":
        paths = [("automountServiceAccountToken",)]
    else:
        return
    if not all(at(resource.inputs, *path) in (UNKNOWN, False) for path in paths):
        yield (
            f"{resource} gives its pods a token of the Kubernetes API, which an attacker could use: set "
            "automountServiceAccountToken to false."
        )


def in_pod(resource: Resource) -> Iterator[Container]:
    """Yield the containers of a workload; nothing for another resource."""
    for path in _PODS.get(resource.kind, ()):
        yield from _in_pod(resource, path)


def _in_pod(resource: Resource, path: tuple[str, ...], *, with_init: bool = True) -> Iterator[Container]:
    if resource.package != "kubernetes":
        return
    pod = at(resource.inputs, *path)
    for key, title in (("containers", "container"), *([("initContainers", "init container")] if with_init else [])):
        for inputs in items(pod, key):
            yield Container(f"{title} {at(inputs, 'name')}", inputs, pod)


def _is_fixed(image: str) -> bool:
    if "@" in image:
        return True
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag not in {"", "latest"}


def _is_same(request: object, limit: object) -> bool:
    if request is None or limit is None:  # wrong, even if the other is unknown
        return False
    return UNKNOWN in (request, limit) or _number(request) == _number(limit)


def _number(amount: object) -> Decimal | str:
    """Return a quantity as a number (500m equals 0.5), and an invalid one as text."""
    text = str(amount)
    parts = _AMOUNT.fullmatch(text)
    return Decimal(parts[1]) * _UNITS[parts[2]] if parts and parts[2] in _UNITS else text


def _shown(amount: object) -> str:
    return "none" if amount is None else str(amount)


def _restrictions(container: Container) -> Iterator[tuple[str, bool]]:
    """Yield (setting, whether it is set or unknown)."""
    own = at(container.inputs, "securityContext")
    dropped, added = at(own, "capabilities", "drop"), at(own, "capabilities", "add")
    yield "runAsNonRoot: true", container.inherited("runAsNonRoot") in (True, UNKNOWN)
    yield "a runAsUser that is not 0", container.inherited("runAsUser") != 0
    yield "allowPrivilegeEscalation: false", at(own, "allowPrivilegeEscalation") in (False, UNKNOWN)
    yield "privileged: false", at(own, "privileged") is not True
    yield "capabilities.drop: [ALL]", dropped is UNKNOWN or bool({"ALL", UNKNOWN} & set(dropped or ()))
    yield "no capabilities.add", not added or added is UNKNOWN
    yield (
        "seccompProfile.type: RuntimeDefault",
        container.inherited("seccompProfile", "type")
        in (
            "RuntimeDefault",
            UNKNOWN,
        ),
    )
