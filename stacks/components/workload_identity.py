"""The chat's roles on Google Cloud, granted by Workload Identity instead of a key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp
import pulumi_random as random

if TYPE_CHECKING:
    from collections.abc import Sequence

# What asking Gemini, counting its tokens and embeddings need; roles/aiplatform.user also changes models, data sets and
# jobs. Of embeddings Google names no permission: `predict` (gemini-embedding-001) is refused without this one, as users
# report; for `embedContent` (gemini-embedding-2) it was not tried.
# https://cloud.google.com/vertex-ai/generative-ai/docs/access-control ("make prompt
# requests"), https://cloud.google.com/vertex-ai/docs/reference/rest/v1beta1/projects.locations.endpoints/countTokens
GEMINI_PERMISSIONS = ("aiplatform.endpoints.predict",)


@dataclass(frozen=True)
class WorkloadIdentityArgs:
    """Arguments of `WorkloadIdentity`.

    Attributes:
        project: the project's ID.
        namespace: the namespace of the account.
        account: the Kubernetes service account.
        gemini_role: the first part of the ID of the custom role for Gemini.
        database: the only Firestore database that the account may use.
        depends_on: the cluster: a project's first cluster creates its workload identity pool. By then the project's
            record, which has its number, can be read too; a lookup has no hook to retry it.
        hooks: retries while the pool does not exist (`ProjectServices.hooks`).
    """

    project: str
    namespace: str
    account: str
    gemini_role: str
    database: str
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class WorkloadIdentity(pulumi.ComponentResource):
    """The roles of one Kubernetes service account: Gemini on Vertex AI, and one Firestore database.

    Attributes:
        principal: the account as IAM names it.
        project_number: the project's number.
        parent: the project's organization or folder; empty: none. Only organizations have folders.
        bindings: the roles, for workloads that need them at their start.
    """

    principal: pulumi.Output[str]
    project_number: pulumi.Output[str]
    parent: pulumi.Output[str]
    bindings: list[gcp.projects.IAMMember]

    def __init__(self, name: str, args: WorkloadIdentityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:WorkloadIdentity", name, {}, opts)
        record = gcp.organizations.get_project_output(
            project_id=args.project, opts=pulumi.InvokeOutputOptions(parent=self, depends_on=args.depends_on)
        )
        self.project_number = record.number
        # A project in a folder has no org_id.
        self.parent = pulumi.Output.all(record.org_id, record.folder_id).apply(lambda ids: ids[0] or ids[1] or "")
        self._project, self._namespace = args.project, args.namespace
        self.principal = self.principal_of(args.account)
        options = pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks)
        self.bindings = [
            gcp.projects.IAMMember(
                "vertex-ai",
                project=args.project,
                role=self._gemini_role(args).name,
                member=self.principal,
                opts=options,
            ),
            gcp.projects.IAMMember(
                "history",
                project=args.project,
                role="roles/datastore.user",
                member=self.principal,
                condition={
                    "title": f"only-{args.database}",
                    "description": "The chat's own database, and no other of the project",
                    "expression": f'resource.name=="projects/{args.project}/databases/{args.database}"',
                },
                opts=options,
            ),
        ]
        self.register_outputs({"principal": self.principal})

    def principal_of(self, account: str) -> pulumi.Output[str]:
        """Return a Kubernetes service account of the namespace as IAM names it."""
        return pulumi.Output.format(
            "principal://iam.googleapis.com/projects/{0}/locations/global/workloadIdentityPools/{1}.svc.id.goog"
            "/subject/ns/{2}/sa/{3}",
            self.project_number,
            self._project,
            self._namespace,
            account,
        )

    def _gemini_role(self, args: WorkloadIdentityArgs) -> gcp.projects.IAMCustomRole:
        # A deleted role keeps its ID for 7 to 37 days, and in most of them it can be neither restored nor created again
        # (terraform-google-bastion-host#14). Each deployment has an ID of its own, which the state remembers.
        ending = random.RandomString(
            "role-ending", length=6, special=False, upper=False, opts=pulumi.ResourceOptions(parent=self)
        )
        return gcp.projects.IAMCustomRole(
            "ask-gemini",
            project=args.project,
            role_id=pulumi.Output.concat(args.gemini_role, "_", ending.result),
            title="Hybrid chat: ask Gemini",
            description="Gemini's answers and the number of its tokens, and nothing else of Vertex AI",
            permissions=list(GEMINI_PERMISSIONS),
            opts=pulumi.ResourceOptions(parent=self, depends_on=args.depends_on, hooks=args.hooks),
        )
