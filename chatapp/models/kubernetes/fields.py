"""Fields of Kubernetes' objects, read without trust: each may be missing, or of another type."""

from __future__ import annotations

from datetime import datetime
from typing import Any

MAX_TEXT = 4000
"""Characters of one field; longer ones are cut."""


def at(value: object, *path: str) -> Any:  # noqa: ANN401  # any JSON
    """Return the value at a path of keys; None where there is none."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text(value: object) -> str:
    """Return a text; "" for anything else."""
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def objects(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def ms(timestamp: object) -> int | None:
    """Return an RFC 3339 time in milliseconds since the epoch; None where it is none."""
    try:
        return int(datetime.fromisoformat(text(timestamp)).timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def condition(thing: object, kind: str) -> dict[str, Any]:
    """Return a condition of an object's status; empty where it has none."""
    return next((each for each in objects(at(thing, "status", "conditions")) if each.get("type") == kind), {})


def name_of(thing: object) -> str:
    """Return an object's name."""
    return text(at(thing, "metadata", "name"))


def since_creation(thing: object) -> int | None:
    """Return when an object was created, in milliseconds since the epoch."""
    return ms(at(thing, "metadata", "creationTimestamp"))
