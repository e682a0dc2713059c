"""The project's APIs, and the wait until they answer."""

from __future__ import annotations

import re
from asyncio import sleep
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_API = "cloudresourcemanager.googleapis.com"
"""Google's provider reads the project through it whenever it enables another API."""

# What the errors of a new project say while Google's own parts do not know of each other yet: an API that was enabled a
# moment ago, a service account or a pool of identities that was made a moment ago.
_NOT_YET = re.compile(
    "SERVICE_DISABLED|has not been used in project|it is disabled|Identity Pool does not exist"
    "|[Ss]ervice account .* does not exist"
)


def patience(name: str, *, minutes: float = 8) -> pulumi.ErrorHook:
    """Return a hook that tries an operation again while Google says that an API or an account is not there yet.

    An API that was enabled answers after seconds or minutes, and nothing says when: the operation itself is the only
    true test. The wait grows from 5 to 30 s and ends after `minutes`; any other error is shown at once.

    Args:
        name: the hook's name, one of its kind in the stack.
        minutes: how long to go on; Google's documentation speaks of "a few minutes".
    """

    async def wait(failure: pulumi.ErrorHookArgs) -> bool:
        waited = sum(_pause(attempt) for attempt in range(len(failure.errors) - 1))
        if not _NOT_YET.search(failure.errors[0]) or waited >= minutes * 60:
            return False
        await sleep(_pause(len(failure.errors) - 1))
        return True

    return pulumi.ErrorHook(name, wait)


def _pause(attempt: int) -> float:
    return min(30.0, 5.0 * 1.5**attempt)


@dataclass(frozen=True)
class ProjectServicesArgs:
    """Which APIs.

    Attributes:
        project: the project's ID.
        apis: names such as ``container.googleapis.com``.
    """

    project: str
    apis: Sequence[str]


class ProjectServices(pulumi.ComponentResource):
    """Enabled APIs, which stay enabled when the stack goes: other things in the project may use them.

    Attributes:
        number: the project's number, known once its record can be read.
        hooks: for each resource that needs one of the APIs (`patience`).
    """

    number: pulumi.Output[str]
    hooks: pulumi.ResourceHookBinding

    def __init__(self, name: str, args: ProjectServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ProjectServices", name, {}, opts)
        self.hooks = pulumi.ResourceHookBinding(on_error=[patience(f"{name}-patience")])
        self._services: dict[str, gcp.projects.Service] = {}
        first = self._enabled(args.project, FIRST_API, depends_on=[])
        for api in args.apis:
            if api != FIRST_API:
                self._enabled(args.project, api, depends_on=[first])
        record = gcp.organizations.get_project_output(
            project_id=args.project, opts=pulumi.InvokeOutputOptions(parent=self, depends_on=[first])
        )
        self.number = record.number
        self.register_outputs({"number": self.number})

    def __getitem__(self, api: str) -> gcp.projects.Service:
        """Return the resource of an API, for ``depends_on``."""
        return self._services[api]

    def _enabled(self, project: str, api: str, *, depends_on: list[pulumi.Resource]) -> gcp.projects.Service:
        service = gcp.projects.Service(
            api.partition(".")[0],
            project=project,
            service=api,
            disable_on_destroy=False,
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on, hooks=self.hooks),
        )
        self._services[api] = service
        return service
