"""What a rule sees of a resource: its inputs, some of which nobody knows before the update."""

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
"""In place of a value that a preview does not know: no rule complains about it, and the update looks again."""


@dataclass(frozen=True)
class Resource:
    """One resource.

    Attributes:
        type: Pulumi's token (``kubernetes:apps/v1:Deployment``).
        name: in the program.
        inputs: as the provider gets them: camelCase, plain dicts and lists, without nulls, with `UNKNOWN`.
    """

    type: str
    name: str
    inputs: Mapping[str, Any]

    @classmethod
    def of(cls, args: ResourceValidationArgs) -> Resource:
        """Return what the engine handed to a policy."""
        return cls(args.resource_type, args.name, _plain(args.props))

    @property
    def package(self) -> str:
        """The provider: gcp, kubernetes ..."""
        return self.type.partition(":")[0]

    @property
    def kind(self) -> str:
        """The type's last part: Deployment, IAMMember ..."""
        return self.type.rpartition(":")[2]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def at(value: Any, *path: str) -> Any:  # noqa: ANN401 - any property
    """Return what is at a path; `UNKNOWN` if it, or what it is in, is not known; `None` if there is nothing."""
    for key in path:
        if value is UNKNOWN:
            return UNKNOWN
        value = value.get(key) if isinstance(value, dict) else None
    return value


def items(value: Any, *path: str) -> list[Any]:  # noqa: ANN401 - any property
    """Return the items of the list at a path; none if there is no list, or none that is known."""
    found = at(value, *path)
    return found if isinstance(found, list) else []


def keys(value: Any, *path: str) -> list[str]:  # noqa: ANN401 - any property
    """Return the keys of the mapping at a path; none if there is no mapping, or none that is known."""
    found = at(value, *path)
    return list(found) if isinstance(found, dict) else []


def _plain(value: Any) -> Any:  # noqa: ANN401 - any property
    """Take the SDK's wrapping off, which raises an error wherever something unknown is touched."""
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
