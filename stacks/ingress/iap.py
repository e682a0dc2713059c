"""Identity-Aware Proxy: who is admitted, and the audience of its tokens, which the chat verifies."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

from stacks.validation.sign_in import NO_ORGANIZATION
from stacks.validation.types import ALL_PEOPLE, GROUP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stacks.settings import Settings

ROLE = "roles/iap.httpsResourceAccessor"
CALLBACK = "https://iap.googleapis.com/v1/oauth/clientIds/{}:handleRedirect"
"""The redirect URI after a sign-in with the user's own OAuth client."""


@dataclass(frozen=True)
class IdentityAwareProxyArgs:
    """Arguments of `IdentityAwareProxy`.

    Attributes:
        project: the project's ID.
        host: the domain name, unique to this deployment.
        project_number: the project's number.
        parent: the project's organization or folder; empty: none.
        people: addresses, ``group:`` and a group's address, domains, ``*``; empty: the account that runs Pulumi.
        has_own_client: whether the user's own OAuth client replaces Google's.
        depends_on: the API.
        hooks: retries while it is not ready (`ProjectServices.hooks`).
    """

    project: str
    host: pulumi.Input[str]
    project_number: pulumi.Input[str]
    parent: pulumi.Input[str]
    people: Sequence[str] = ()
    has_own_client: bool = False
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class IdentityAwareProxy(pulumi.ComponentResource):
    """Access through Google's load balancer to the chat, and to no other part of the project.

    The role is granted on all of the project's web resources, because GKE generates a new name whenever it creates the
    chat's backend service; a condition restricts it to the chat's host.

    Attributes:
        audience: of the proxy's tokens; ``*`` stands for the ID of the backend service.
        people: who is admitted, as in the settings.
        bindings: the IAM bindings.
    """

    audience: pulumi.Output[str]
    people: pulumi.Output[list[str]]
    bindings: list[pulumi.CustomResource]

    def __init__(self, name: str, args: IdentityAwareProxyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:IdentityAwareProxy", name, {}, opts)
        project = pulumi.Output.from_input(args.project)
        if not args.has_own_client:
            project = pulumi.Output.all(args.parent, args.project).apply(lambda both: _check_parent(*both))
        if args.people:
            self.people = pulumi.Output.from_input(list(args.people))
        else:
            runner = gcp.organizations.get_client_open_id_user_info_output(opts=pulumi.InvokeOutputOptions(parent=self))
            self.people = runner.email.apply(lambda email: [_check_runner(email)])
        self.bindings = self._bindings(args, project)
        # Of the checked project: the chat needs the audience, so that no chat is created which no one can open.
        self.audience = pulumi.Output.all(project, args.project_number).apply(
            lambda both: f"/projects/{both[1]}/global/backendServices/*"
        )
        self.register_outputs({"audience": self.audience})

    def _bindings(self, args: IdentityAwareProxyArgs, project: pulumi.Output[str]) -> list[pulumi.CustomResource]:
        """Grant the role in one binding: with one per person, a renamed one could remove what another grants."""
        options = pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks)
        if ALL_PEOPLE in args.people:  # IAM allows no condition for these
            return [
                gcp.iap.WebIamMember(
                    "may-pass", project=project, role=ROLE, member="allAuthenticatedUsers", opts=options
                )
            ]
        condition = gcp.iap.WebIamBindingConditionArgs(
            title="only-the-chat",
            description="The hybrid chat, and nothing else in the project",
            expression=pulumi.Output.concat('request.host == "', args.host, '"'),
        )
        members = self.people.apply(lambda people: sorted({iap_member(person) for person in people}))
        return [
            gcp.iap.WebIamBinding(
                "may-pass", project=project, role=ROLE, members=members, condition=condition, opts=options
            )
        ]


def refuse_without_organization(settings: Settings) -> None:
    """Look the project up, and refuse a sign-in that would admit no one, before any resource is registered.

    The proxy checks the parent too, but knows it only once the cluster exists: a preview and an update in a new project
    would run past it. A lookup that fails (no right to read the project, an API that is not enabled) is logged.

    Raises:
        pulumi.RunError: the project belongs to no organization, and Google's own OAuth client would be used.
    """
    if not settings.uses_googles_client:
        return
    project = settings.project
    try:
        # Not an output: those are resolved after the first resources are on their way.
        record = gcp.organizations.get_project(project_id=project)
    except Exception as error:  # noqa: BLE001 - Pulumi raises no narrower type for a failed lookup
        pulumi.log.warn(
            f"Whether the project {project} belongs to an organization cannot be read ({_first_line(error)}). Without "
            "one, Google's own sign-in admits no one to the chat: docs/deploy.md, Who gets in."
        )
        return
    _check_parent(record.org_id or record.folder_id, project)  # a project in a folder has no org_id


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _check_parent(parent: str, project: str) -> str:
    """Return `project`, if Google's own client would admit anyone: it is for members of the project's organization."""
    if parent:
        return project
    raise pulumi.RunError(NO_ORGANIZATION.format(project=project))


def iap_member(person: str) -> str:
    """Return the IAM member for `person`: an address, ``group:`` and a group's address, or a domain."""
    if person.startswith(GROUP_PREFIX):
        return person
    if "@" not in person:
        return f"domain:{person}"
    return f"serviceAccount:{person}" if person.endswith(".gserviceaccount.com") else f"user:{person}"


def _check_runner(email: str | None) -> str:
    if email and re.fullmatch(r"[^\s@]+@[^\s@]+", email):
        return email.lower()
    raise pulumi.RunError(
        "allowedPeople is not set, and Google does not return the address of the account that runs Pulumi. Name who "
        "may use the chat: pulumi config set --path 'allowedPeople[0]' YOUR_ADDRESS"
    )
