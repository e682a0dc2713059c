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


# What the provider says when the thing was made and only looking at it failed. To make it again would end in "already
# exists", and with it the thing would be lost to the state: it is left to the next run, which goes on from there.
_MADE_ALREADY = re.compile("Error (when )?(reading|waiting)|after creation")
# These can be made any number of times.
_REPEATABLE = ("gcp:projects/service:Service", "IAMMember", "IamMember", "IamBinding")


def patience(name: str, *, minutes: float = 8) -> pulumi.ErrorHook:
    """Return a hook that tries an operation again while Google says that an API or an account is not there yet.

    An API that was enabled answers after seconds or minutes, and nothing says when: the operation itself is the only
    true test. The wait grows from 5 to 30 s and ends after `minutes`; any other error is shown at once.

    Args:
        name: the hook's name, one of its kind in the stack.
        minutes: how long to go on; Google's documentation speaks of "a few minutes".
    """

    async def wait(failure: pulumi.ErrorHookArgs) -> bool:
        newest = failure.errors[0]
        waited = sum(_pause(attempt) for attempt in range(len(failure.errors) - 1))
        if not _NOT_YET.search(newest) or waited >= minutes * 60:
            return False
        is_new = failure.failed_operation == "create" and not failure.type.endswith(_REPEATABLE)
        if is_new and _MADE_ALREADY.search(newest):
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
        hooks: for each resource that needs one of the APIs (`patience`).
    """

    hooks: pulumi.ResourceHookBinding

    def __init__(self, name: str, args: ProjectServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ProjectServices", name, {}, opts)
        self.hooks = pulumi.ResourceHookBinding(on_error=[patience(f"{name}-patience")])
        self._services: dict[str, gcp.projects.Service] = {}
        first = self._enabled(args.project, FIRST_API, depends_on=[])
        for api in args.apis:
            if api != FIRST_API:
                self._enabled(args.project, api, depends_on=[first])
        self.register_outputs({})

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
