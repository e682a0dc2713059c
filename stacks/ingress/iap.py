"""Identity-Aware Proxy: who may pass, and how the chat knows that somebody did."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

from stacks.ingress.sign_in import EVERYBODY, GROUP

if TYPE_CHECKING:
    from collections.abc import Sequence

IAP_API = "iap.googleapis.com"
ROLE = "roles/iap.httpsResourceAccessor"
CALLBACK = "https://iap.googleapis.com/v1/oauth/clientIds/{}:handleRedirect"
"""Where Google sends people back to after the sign-in, with a client of one's own."""


@dataclass(frozen=True)
class IdentityAwareProxyArgs:
    """Who may pass.

    Attributes:
        project: the project's ID.
        host: the name people type, which no other deployment has.
        project_number: its number.
        organization: that the project belongs to; empty: none.
        people: addresses, ``group:`` and a group's address, domains, ``*``; none: whoever runs Pulumi.
        has_own_client: whether an OAuth client of one's own takes the place of Google's.
        depends_on: the API.
        hooks: what to do while it does not answer yet.
    """

    project: str
    host: pulumi.Input[str]
    project_number: pulumi.Input[str]
    organization: pulumi.Input[str]
    people: Sequence[str] = ()
    has_own_client: bool = False
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class IdentityAwareProxy(pulumi.ComponentResource):
    """The people that Google's load balancer lets through to the chat, and to no other part of the project.

    The role is given for the project's web resources, since GKE names the load balancer's part for the chat, and by
    another name each time it makes one; a condition narrows it to the chat's host.

    Attributes:
        audience: for whom the proxy signs its tokens; ``*`` stands for the number that GKE's part of it gets.
        people: who may pass, as the settings write them.
        bindings: the roles.
    """

    audience: pulumi.Output[str]
    people: pulumi.Output[list[str]]
    bindings: list[pulumi.CustomResource]

    def __init__(self, name: str, args: IdentityAwareProxyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:IdentityAwareProxy", name, {}, opts)
        if args.people:
            self.people = pulumi.Output.from_input(list(args.people))
        else:
            runner = gcp.organizations.get_client_open_id_user_info_output(opts=pulumi.InvokeOutputOptions(parent=self))
            self.people = runner.email.apply(lambda email: [_checked_runner(email)])
        self.bindings = self._bindings(args)
        if not args.has_own_client:
            pulumi.Output.all(args.organization, args.project).apply(lambda known: self._warn_without(*known))
        self.audience = pulumi.Output.format("/projects/{0}/global/backendServices/*", args.project_number)
        self.register_outputs({"audience": self.audience})

    def _bindings(self, args: IdentityAwareProxyArgs) -> list[pulumi.CustomResource]:
        """Give the role to all at once: one resource for each person would, renamed, take away what another gave."""
        options = pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks)
        if EVERYBODY in args.people:  # for whom IAM allows no condition
            return [
                gcp.iap.WebIamMember(
                    "may-pass", project=args.project, role=ROLE, member="allAuthenticatedUsers", opts=options
                )
            ]
        only_here = gcp.iap.WebIamBindingConditionArgs(
            title="only-the-chat",
            description="The hybrid chat, and nothing else in the project",
            expression=pulumi.Output.concat('request.host == "', args.host, '"'),
        )
        members = self.people.apply(lambda people: sorted({iap_member(person) for person in people}))
        return [
            gcp.iap.WebIamBinding(
                "may-pass", project=args.project, role=ROLE, members=members, condition=only_here, opts=options
            )
        ]

    def _warn_without(self, organization: str, project: str) -> None:
        if not organization:
            pulumi.log.warn(
                f"The project {project} belongs to no organization, and identity is iap without oauthClientId: the "
                "client that Google itself has for Identity-Aware Proxy lets in only people of the project's "
                "organization, so that nobody will get in. Either make an OAuth client (docs/deploy.md says how) and "
                "set oauthClientId, oauthClientSecret and allowedPeople: then the chat signs people in itself "
                "(identity google). Or set identity to iap as well, and Identity-Aware Proxy uses that client.",
                self,
            )


def iap_member(person: str) -> str:
    """Return whom IAM takes for `person`: an address, ``group:`` and a group's address, or a domain."""
    if person.startswith(GROUP):
        return person
    if "@" not in person:
        return f"domain:{person}"
    return f"serviceAccount:{person}" if person.endswith(".gserviceaccount.com") else f"user:{person}"


def _checked_runner(email: str | None) -> str:
    if email and re.fullmatch(r"[^\s@]+@[^\s@]+", email):
        return email.lower()
    raise pulumi.RunError(
        "allowedPeople is not set, and Google does not say the address of whoever runs this. Name who may use the "
        "chat: pulumi config set --path 'allowedPeople[0]' YOUR_ADDRESS"
    )
