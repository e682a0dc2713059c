"""The project's APIs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

from stacks.apis import FIRST_API
from stacks.components.retries import propagation_retry

if TYPE_CHECKING:
    from collections.abc import Sequence


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
