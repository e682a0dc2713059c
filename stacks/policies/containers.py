"""Rules for whatever runs containers in Kubernetes."""

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
_POD: dict[str, tuple[str, ...]] = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", *_TEMPLATE),
    **dict.fromkeys(
        ("DaemonSet", "Deployment", "Job", "ReplicaSet", "ReplicationController", "StatefulSet"), _TEMPLATE
    ),
}
"""Where each kind has its pod."""
_SERVERS = {"DaemonSet", "Deployment", "StatefulSet"}

_AMOUNT = re.compile(r"(\d+\.?\d*|\.\d+)([a-zA-Z]*)")
_UNITS = {
    **{unit: Decimal(10) ** (3 * power) for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P"), -3)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), 1)},
}


@dataclass(frozen=True)
class Container:
    """A container in its pod, both as Kubernetes writes them."""

    title: str
    inputs: Any
    pod: Any

    def inherited(self, *path: str) -> Any:  # noqa: ANN401 - any property
        """Return a setting of the security context, which is the pod's where the container has none."""
        own = at(self.inputs, "securityContext", *path)
        return at(self.pod, "securityContext", *path) if own is None else own


def fixed_image(resource: Resource) -> Iterator[str]:
    """An image has a tag that stays or a digest, so that a pod that starts again runs the same program."""
    for container in in_pod(resource):
        image = at(container.inputs, "image")
        if image is not UNKNOWN and not _is_fixed(image or ""):
            yield (
                f"{resource}: {container.title} runs the image {image or '(none)'}, whose content can change under it: "
                "name a version's tag (not latest) or, better, a digest."
            )


def requests_equal_limits(resource: Resource) -> Iterator[str]:
    """A container requests just what it is limited to, because GKE Autopilot would change it, at every update again."""
    for container in in_pod(resource):
        different = []
        for name in ("cpu", "memory", "ephemeral-storage"):
            request, limit = (at(container.inputs, "resources", part, name) for part in ("requests", "limits"))
            if not _is_same(request, limit):
                different.append(f"{name} (request {_shown(request)}, limit {_shown(limit)})")
        if different:
            yield (
                f"{resource}: {container.title} has requests that are not its limits: {', '.join(different)}; GKE "
                "Autopilot fills in and changes those, so set both to the same amount."
            )


def confined(resource: Resource) -> Iterator[str]:
    """A container runs as nobody special and can't become it, so that code that breaks in can't reach the node."""
    for container in in_pod(resource):
        missing = [setting for setting, is_right in _confinement(container) if not is_right]
        if missing:
            yield (
                f"{resource}: {container.title} is not confined, and what breaks into it could reach the node: set "
                f"{', '.join(missing)} in its securityContext."
            )


def probed(resource: Resource) -> Iterator[str]:
    """A server has probes, so that nobody is sent to one that still starts, and one that hangs is started again."""
    if resource.kind not in _SERVERS:
        return
    for container in in_pod(resource, with_init=False):
        if at(container.inputs, "startupProbe") is None and at(container.inputs, "readinessProbe") is None:
            yield (
                f"{resource}: {container.title} has neither a startupProbe nor a readinessProbe, so requests come "
                "before it can answer: add one."
            )
        if at(container.inputs, "livenessProbe") is None:
            yield (f"{resource}: {container.title} has no livenessProbe, so it stays when it hangs: add one.")


def no_service_account_token(resource: Resource) -> Iterator[str]:
    """No pod gets a key to the Kubernetes API unasked, which a break-in could use; what needs one mounts it by name."""
    if resource.package != "kubernetes":
        return
    if resource.kind in _POD:
        setting = at(resource.inputs, *_POD[resource.kind], "automountServiceAccountToken")
    elif resource.kind == "ServiceAccount":
        setting = at(resource.inputs, "automountServiceAccountToken")
    else:
        return
    if setting is not UNKNOWN and setting is not False:
        yield (
            f"{resource} gives its pods a token of the Kubernetes API, with which a break-in could go on: set "
            "automountServiceAccountToken to false."
        )


def in_pod(resource: Resource, *, with_init: bool = True) -> Iterator[Container]:
    """Yield the containers that a resource runs; none if it runs none."""
    if resource.package != "kubernetes" or resource.kind not in _POD:
        return
    pod = at(resource.inputs, *_POD[resource.kind])
    for key, title in (("containers", "container"), *([("initContainers", "init container")] if with_init else [])):
        for inputs in items(pod, key):
            yield Container(f"{title} {at(inputs, 'name')}", inputs, pod)


def _is_fixed(image: str) -> bool:
    if "@" in image:
        return True
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag not in {"", "latest"}


def _is_same(request: object, limit: object) -> bool:
    if request is None or limit is None:  # wrong, whatever the other will be
        return False
    return UNKNOWN in (request, limit) or _number(request) == _number(limit)


def _number(amount: object) -> Decimal | str:
    """Return an amount as a number (500m and 0.5 are the same); what is none, as text."""
    text = str(amount)
    parts = _AMOUNT.fullmatch(text)
    return Decimal(parts[1]) * _UNITS[parts[2]] if parts and parts[2] in _UNITS else text


def _shown(amount: object) -> str:
    return "none" if amount is None else str(amount)


def _confinement(container: Container) -> Iterator[tuple[str, bool]]:
    """Yield (setting, whether it is right or not known yet)."""
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
