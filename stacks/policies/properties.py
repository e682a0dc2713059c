"""A resource's inputs for the rules; some are unknown during a preview."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pulumi_policy.proxy import UnknownValueError

if TYPE_CHECKING:
    from pulumi_policy import ResourceValidationArgs


class _Unknown:
    def __repr__(self) -> str:
        return "(known after the update)"


UNKNOWN: Final = _Unknown()
"""Replaces a value that is unknown during a preview: rules accept it, and check it during the update."""


@dataclass(frozen=True)
class Resource:
    """One resource.

    Attributes:
        type: Pulumi's token (``kubernetes:apps/v1:Deployment``).
        name: in the program.
        inputs: as the provider gets them: camelCase keys, plain dicts and lists, no nulls, with `UNKNOWN`.
    """

    type: str
    name: str
    inputs: Mapping[str, Any]

    @classmethod
    def of(cls, args: ResourceValidationArgs) -> Resource:
        """Return the resource that the engine passed to a policy."""
        return cls(args.resource_type, args.name, _plain(args.props))

    @property
    def package(self) -> str:
        """The provider: gcp, kubernetes ..."""
        return self.type.partition(":")[0]

    @property
    def kind(self) -> str:
        """The last part of the type: Deployment, IAMMember ..."""
        return self.type.rpartition(":")[2]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def at(value: Any, *path: str) -> Any:  # noqa: ANN401 - any property
    """Return the value at a path; `UNKNOWN` if it or its parent is unknown; `None` if it does not exist."""
    for key in path:
        if value is UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, dict) else None
    return value


def items(value: Any, *path: str) -> list[Any]:  # noqa: ANN401 - any property
    """Return the items of the list at a path; empty if there is no list, or it is unknown."""
    items_ = at(value, *path)
    return items_ if isinstance(items_, list) else []


def keys(value: Any, *path: str) -> list[str]:  # noqa: ANN401 - any property
    """Return the keys of the mapping at a path; empty if there is no mapping, or it is unknown."""
    mapping = at(value, *path)
    return list(mapping) if isinstance(mapping, dict) else []


def _plain(value: Any) -> Any:  # noqa: ANN401 - any property
    """Unwrap the SDK's proxy, which raises an error on access to an unknown value."""
    if isinstance(value, Mapping):
        plain = {key: _item(value, key) for key in value}
        return {key: item for key, item in plain.items() if item is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_item(value, index) for index in range(len(value))]
    return value


def _item(values: Any, key: str | int) -> Any:  # noqa: ANN401 - any property
    try:
        return _plain(values[key])
    except UnknownValueError:
        return UNKNOWN
