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
