"""Checks of the Google Cloud project: that it exists, its parent, billing, rights, APIs, policies and names in use.

What cannot be read, because an API is not enabled yet, a right is missing or Google does not answer, is reported as
such and stops nothing.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from stacks.apis import apis_of
from stacks.components.leftovers import DELETE_COMMANDS
from stacks.names import Names
from stacks.preflight.checks import Check, Finding, Project, run_checks
from stacks.preflight.google_api import AbsentError, ForbiddenError, GoogleApi, UnreadableError, access_token
from stacks.preflight.google_cluster import CLUSTER_CHECKS
from stacks.preflight.google_embeddings import CHECK as EMBEDDINGS
from stacks.preflight.google_sign_in import SIGN_IN_CHECKS
from stacks.preflight.hugging_face import CHECK as HUGGING_FACE
from stacks.preflight.programs import output_of
from stacks.preflight.pulumi_cli import recorded_types
from stacks.preflight.report import Report
from stacks.preflight.stack import Stack
from stacks.settings import Settings

# Organization policy -> what it stops here.
POLICIES = {
    "iam.allowedPolicyMemberDomains": "people of other domains cannot be admitted by Identity-Aware Proxy",
    "compute.trustedImageProjects": "nodes may not boot GKE's images (project gke-node-images must be allowed)",
    "gcp.resourceLocations": "the region and the database's location must be among the allowed ones",
}
_CLUSTER = "gcp:container/cluster:Cluster"
_NO_ADDRESSES = "compute.vmExternalIpAccess"
# What the first `make up` creates; a later one needs less.
_RIGHTS = (
    "artifactregistry.repositories.create",
    "cloudbuild.builds.create",
    "compute.networks.create",
    "container.clusters.create",
    "datastore.databases.create",
    "iam.roles.create",
    "iam.serviceAccounts.actAs",
    "iam.serviceAccounts.create",
    "resourcemanager.projects.setIamPolicy",
    "serviceusage.services.enable",
    "serviceusage.services.use",
    "storage.buckets.create",
)


def check_project(report: Report, stack: Stack, settings: Settings, *, stack_exists: bool) -> None:
    """Check what only the project decides; nothing where no project is set.

    Args:
        report: where the results go.
        stack: the stack.
        settings: its settings.
        stack_exists: whether Pulumi has it.
    """
    if not settings.project:
        return
    token = access_token()
    if not token:
        report.later(f"the project {settings.project}: without Google's credentials it cannot be checked")
        return
    hugging_face = ""
    if settings.gpu_profile and settings.hugging_face_token.get_secret_value():
        key = ("pulumi", "config", "get", "huggingFaceToken", "--stack", stack.name, "--non-interactive")
        hugging_face = output_of(*key) or ""
    api = GoogleApi(settings.project, token)
    project = Project(
        settings,
        Names(stack.name.rpartition("/")[2]),
        api,
        recorded=recorded_types(stack) if stack_exists else (),
        hugging_face_token=hugging_face,
    )
    run_checks(report, CHECKS, project)


def _exists(project: Project) -> Iterable[Finding]:
    name = project.settings.project
    try:
        state = project.record.get("lifecycleState")
    except (AbsentError, ForbiddenError):
        yield (
            "fail",
            f"The project {name} does not exist, or your account may not read it: gcloud projects list shows yours",
        )
        return
    if state == "ACTIVE":
        yield "pass", f"project {name}"
    else:
        yield (
            "fail",
            f"The project {name} is being deleted: gcloud projects undelete {name}, or set another gcp:project",
        )


def _billing(project: Project) -> Iterable[Finding]:
    name = project.settings.project
    answer = project.api.read(f"https://cloudbilling.googleapis.com/v1/projects/{name}/billingInfo")
    if answer.get("billingEnabled"):
        yield "pass", "billing"
    else:
        yield (
            "fail",
            f"The project {name} has no active billing account, without which Google enables none of the APIs: link "
            f"one at https://console.cloud.google.com/billing/linkedaccount?project={name}",
        )


def _rights(project: Project) -> Iterable[Finding]:
    name = project.settings.project
    url = f"https://cloudresourcemanager.googleapis.com/v1/projects/{name}:testIamPermissions"
    granted = project.api.read(url, {"permissions": list(_RIGHTS)}).get("permissions") or []
    lacking = [right for right in _RIGHTS if right not in granted]
    if not lacking:
        yield "pass", "rights of your account in the project"
    else:
        yield (
            "note",
            f"Your account lacks rights in the project {name} that a first make up needs ({', '.join(lacking)}). Its "
            f"owner can grant them: gcloud projects add-iam-policy-binding {name} --member=user:YOUR_ADDRESS "
            "--role=roles/owner",
        )


def _apis(project: Project) -> Iterable[Finding]:
    name = project.settings.project
    url = f"https://serviceusage.googleapis.com/v1/projects/{name}/services?filter=state:ENABLED&pageSize=200"
    enabled: set[str] = set()
    page = ""
    while True:
        answer = project.api.read(f"{url}&pageToken={page}" if page else url)
        enabled |= {str((each.get("config") or {}).get("name")) for each in answer.get("services") or []}
        page = str(answer.get("nextPageToken") or "")
        if not page:
            break
    missing = [api for api in apis_of(project.settings) if api not in enabled]
    if missing:
        short = ", ".join(api.partition(".")[0] for api in missing)
        yield "later", f"APIs: make up enables {len(missing)} of them ({short})"
    else:
        yield "pass", "APIs"


def _policies(project: Project) -> Iterable[Finding]:
    found = False
    if not project.settings.private_nodes and any(rule.get("denyAll") for rule in _rules(project, _NO_ADDRESSES)):
        found = True
        yield (
            "fail",
            f"Your organization allows no external addresses (policy {_NO_ADDRESSES}), which the cluster's nodes would "
            "have: pulumi config set privateNodes true",
        )
    for policy, consequence in POLICIES.items():
        if any(True for _ in _rules(project, policy)):
            found = True
            yield "note", f"Your organization sets the policy {policy}: {consequence}."
    if not found:
        yield "pass", "organization policies"


def _rules(project: Project, policy: str) -> Iterator[dict[str, Any]]:
    """Yield the rules of the policy that applies to the project, those that restrict something."""
    base = f"https://orgpolicy.googleapis.com/v2/projects/{project.settings.project}/policies"
    try:
        answer = project.api.read(f"{base}/{policy}:getEffectivePolicy")
    except AbsentError:
        return
    for rule in (answer.get("spec") or {}).get("rules") or []:
        if not rule.get("allowAll"):
            yield rule


def _names(project: Project) -> Iterable[Finding]:
    """Report what has the stack's names, and is not in the stack's record: `make up` would end in "already exists"."""
    settings, names = project.settings, project.names
    base = f"projects/{settings.project}"
    cluster = f"https://container.googleapis.com/v1/{base}/locations/{settings.region}/clusters/{names.cluster}"
    database = f"https://firestore.googleapis.com/v1/{base}/databases/{names.database}"
    values = {"project": settings.project, "location": settings.region, "name": names.cluster}
    delete = DELETE_COMMANDS[_CLUSTER].format_map(values)
    move = "it may hold conversations; docs/operate.md, After an interrupted run, says how to take it over"
    taken = []
    if project.recorded is None:
        yield "later", "names: the stack's state cannot be read"
        return
    for url, kind, name, what in (
        (cluster, _CLUSTER, f"cluster {names.cluster}", f"if nothing uses it: {delete}"),
        (database, "gcp:firestore/database:Database", f"database {names.database}", move),
    ):
        if kind in project.recorded:
            continue
        try:
            project.api.read(url)
        except AbsentError:
            continue
        except UnreadableError as error:
            if "not enabled" not in str(error):  # without the API, there is none
                raise
            continue
        taken.append(f"{name} ({what})")
    if taken:
        yield (
            "fail",
            "The project has resources with this stack's names, and the stack has no record of them: "
            f"{'; '.join(taken)}. Another stack name avoids them: make up STACK=NAME",
        )
    else:
        yield "pass", "names"


CHECKS = (
    Check("the project", _exists),
    Check("billing", _billing),
    Check("rights", _rights),
    Check("APIs", _apis),
    Check("organization policies", _policies),
    Check("names", _names),
    *CLUSTER_CHECKS,
    *SIGN_IN_CHECKS,
    EMBEDDINGS,
    HUGGING_FACE,
)
"""In the order of the report."""
