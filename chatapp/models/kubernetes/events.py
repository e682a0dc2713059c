"""Kubernetes' events: what happened to a pod lately.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/: `lastTimestamp` is null in events of
the newer API, which have `eventTime` and `series`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.models.kubernetes.fields import at, ms, text

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Event:
    """One event.

    Attributes:
        reason: in CamelCase, such as ``FailedScaleUp``.
        message: in words, as Kubernetes wrote them.
        at_ms: when it happened last, milliseconds since the epoch.
    """

    reason: str
    message: str
    at_ms: int


def events_of(events: Iterable[object], *, name: str, kind: str = "Pod", prefix: bool = False) -> list[Event]:
    """Return the events about one object, the newest first; with ``prefix``, about all whose names begin like this."""
    found = []
    for event in events:
        about = at(event, "involvedObject") or at(event, "regarding")
        its_name = text(at(about, "name"))
        if at(about, "kind") == kind and (its_name == name or (prefix and its_name.startswith(f"{name}-"))):
            found.append(
                Event(text(at(event, "reason")), text(at(event, "message") or at(event, "note")), _time(event))
            )
    return sorted(found, key=lambda event: -event.at_ms)


def latest(events: Iterable[Event], *reasons: str) -> Event | None:
    """Return the newest event with one of these reasons."""
    return next((event for event in events if event.reason in reasons), None)


def _time(event: object) -> int:
    times = (
        at(event, "series", "lastObservedTime"),
        at(event, "lastTimestamp"),
        at(event, "eventTime"),
        at(event, "metadata", "creationTimestamp"),
    )
    return next((value for value in map(ms, times) if value is not None), 0)
