"""The project's APIs, and retries until they are ready."""

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
"""Google's provider reads the project through this API whenever it enables another one."""

# Errors of a new project, while Google Cloud has not propagated an API, a service account or a workload identity pool
# that was created moments before.
_NOT_PROPAGATED = re.compile(
    "SERVICE_DISABLED|has not been used in project|it is disabled|Identity Pool does not exist"
    "|[Ss]ervice account .* does not exist"
)


# The provider created the resource and failed to read it. Creating it again would end in "already exists", and the
# resource would be missing in the state. The next run continues from there.
_CREATED = re.compile("Error (when )?(reading|waiting)|after creation")
# Creating these is idempotent.
_IDEMPOTENT = ("gcp:projects/service:Service", "IAMMember", "IamMember", "IamBinding")


def propagation_retry(name: str, *, minutes: float = 8) -> pulumi.ErrorHook:
    """Return a hook that retries an operation while an API or an account has not propagated.

    An enabled API is ready after seconds or minutes, and only the operation itself shows when. The backoff grows from 5
    to 30 s and ends after `minutes`; any other error is shown at once.

    Args:
        name: the hook's name, unique in the stack.
        minutes: how long to retry; Google's documentation says "a few minutes".
    """

    async def wait(failure: pulumi.ErrorHookArgs) -> bool:
        newest = failure.errors[0]
        waited = sum(_backoff(attempt) for attempt in range(len(failure.errors) - 1))
        if not _NOT_PROPAGATED.search(newest) or waited >= minutes * 60:
            return False
        is_new = failure.failed_operation == "create" and not failure.type.endswith(_IDEMPOTENT)
        if is_new and _CREATED.search(newest):
            return False
        await sleep(_backoff(len(failure.errors) - 1))
        return True

    return pulumi.ErrorHook(name, wait)


def _backoff(attempt: int) -> float:
    return min(30.0, 5.0 * 1.5**attempt)


@dataclass(frozen=True)
class ProjectServicesArgs:
    """Arguments of `ProjectServices`.

    Attributes:
        project: the project's ID.
        apis: names such as ``container.googleapis.com``.
    """

    project: str
    apis: Sequence[str]


class ProjectServices(pulumi.ComponentResource):
    """Enabled APIs. They stay enabled when the stack is destroyed: others in the project may use them.

    Attributes:
        hooks: for each resource that needs one of the APIs (`propagation_retry`).
    """

    hooks: pulumi.ResourceHookBinding

    def __init__(self, name: str, args: ProjectServicesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:ProjectServices", name, {}, opts)
        self.hooks = pulumi.ResourceHookBinding(on_error=[propagation_retry(f"{name}-patience")])
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
