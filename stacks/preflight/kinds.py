"""What a stack leaves in a Google Cloud project: how to list each kind, what of it is the stack's, how to delete it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from stacks.components.leftovers import DELETE_COMMANDS
from stacks.names import Names

Entry = Mapping[str, Any]
"""One resource, as `gcloud ... list --format=json` prints it."""


@dataclass(frozen=True)
class Owner:
    """The stack whose resources are looked for.

    Attributes:
        names: of the stack.
        project: the project's ID.
        region: of the cluster.
        number: the project's number; empty: unknown.
        billing_account: the ID of the account that pays for the project; empty: unknown, or none.
    """

    names: Names
    project: str
    region: str
    number: str = ""
    billing_account: str = ""

    def made_by_gke(self, name: str) -> bool:
        """Return whether GKE made this part of a load balancer for the stack's namespace (gkegw1-a1b2-NAMESPACE-...).

        https://cloud.google.com/kubernetes-engine/docs/how-to/deploying-gateways
        """
        return bool(re.match(rf"(gkegw\d|k8s\d)-\w+-{self.names.namespace}-(gradio|gemma|serve)", name))

    def has_label(self, entry: Entry) -> bool:
        """Return whether a label is the stack's own, or GKE's with the cluster's name."""
        labels = entry.get("labels") or {}
        return labels.get("goog-k8s-cluster-name") == self.names.cluster or bool(
            self.names.labels.items() <= labels.items()
        )


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of resource.

    Attributes:
        title: for a person.
        asset: its type in Cloud Asset Inventory; empty: it is not there.
        listing: gcloud's command that lists them; ``{region}``, ``{project}`` and ``{billing_account}`` are filled in.
        field: the path of the name in an entry; its last part counts.
        is_mine: whether a name, with its entry, is the stack's.
        delete: the command that deletes it; ``{name}``, ``{location}``, ``{scope}`` (of a part of a load balancer),
            ``{project}`` and ``{entry}`` are filled in.
    """

    title: str
    asset: str = ""
    listing: str
    field: str = "name"
    is_mine: Callable[[Owner, str, Entry], bool]
    delete: str


def _named(*attributes: str) -> Callable[[Owner, str, Entry], bool]:
    return lambda owner, name, _: name in {getattr(owner.names, attribute) for attribute in attributes}


def _accounts(owner: Owner, name: str, _: Entry) -> bool:
    domain = f"@{owner.project}.iam.gserviceaccount.com"
    return name in {owner.names.nodes_account + domain, owner.names.build_account + domain}


def _certificate(owner: Owner, name: str, _: Entry) -> bool:
    """Compare without the end, a digest of the domain (`Names.certificate`)."""
    return re.fullmatch(r"[0-9a-f]{6}", name[-6:]) is not None and owner.names.certificate("")[:-6] == name[:-6]


def _free_name(owner: Owner, name: str, _: Entry) -> bool:
    pattern = rf"{owner.names.free_name}-[a-z0-9]{{6}}\.endpoints\.{re.escape(owner.project)}\.cloud\.goog"
    return re.fullmatch(pattern, name) is not None


def _log_bucket(owner: Owner, name: str, entry: Entry) -> bool:
    """Return whether it is the stack's; Google keeps a deleted one for 7 days."""
    is_deleted = entry.get("lifecycleState") == "DELETE_REQUESTED"
    return re.fullmatch(rf"{owner.names.logs}-[a-z0-9]{{6}}", name) is not None and not is_deleted


def _in_network(owner: Owner, name: str, entry: Entry) -> bool:
    network = str(entry.get("network") or "").rpartition("/")[2]
    return network == owner.names.network or owner.made_by_gke(name)


def _alert(owner: Owner, _: str, entry: Entry) -> bool:
    return str(entry.get("displayName")).startswith(f"{owner.names.alerts}: ")


def _budget(owner: Owner, _: str, entry: Entry) -> bool:
    """Return whether it is for the stack's project: the budgets of other projects are in the same list."""
    projects = (entry.get("budgetFilter") or {}).get("projects") or []
    is_for_project = projects == [f"projects/{owner.number}"]
    return is_for_project and entry.get("displayName") == owner.names.budget


def _backup(owner: Owner, _: str, entry: Entry) -> bool:
    return str(entry.get("database") or "").endswith(f"/databases/{owner.names.database}")


def _member(owner: Owner, _: str, entry: Entry) -> bool:
    """Return whether an IAM binding is for an account of the stack; deleted accounts have a suffix."""
    member = str((entry.get("bindings") or {}).get("members"))
    accounts = (owner.names.nodes_account, owner.names.build_account)
    return any(f"serviceAccount:{account}@{owner.project}." in member for account in accounts) or member.endswith(
        f"/{owner.project}.svc.id.goog/subject/ns/{owner.names.namespace}/sa/{owner.names.chat_account}"
    )


def _gke_part(title: str, asset: str, listing: str) -> Kind:
    return Kind(
        title=title,
        asset=f"compute.googleapis.com/{asset}",
        listing=f"compute {listing} list",
        is_mine=lambda owner, name, _: owner.made_by_gke(name),
        delete=f"gcloud compute {listing} delete {{name}} {{scope}} --project {{project}}",
    )


def _own(kind: str) -> str:
    """Return the command for a type of Pulumi, with the fields' names of gcloud's lists."""
    command = DELETE_COMMANDS[kind]
    account = "{accountId}@{project}.iam.gserviceaccount.com"
    return (
        command.replace(account, "{name}").replace("{repositoryId}", "{name}").replace("{region}", "{location}").strip()
    )


# In the order in which they can be deleted: what uses another resource comes before it.
KINDS = (
    Kind(
        title="GKE cluster",
        asset="container.googleapis.com/Cluster",
        listing="container clusters list",
        is_mine=_named("cluster"),
        delete=_own("gcp:container/cluster:Cluster"),
    ),
    Kind(
        title="Firestore database, which holds the conversations",
        asset="firestore.googleapis.com/Database",
        listing="firestore databases list",
        is_mine=_named("database"),
        delete="gcloud firestore databases delete --database={name} --project {project}",
    ),
    Kind(
        title="Firestore backup, which holds conversations and costs until it expires",
        listing="firestore backups list",
        is_mine=_backup,
        delete="gcloud firestore backups delete --backup={name} --location={location} --project {project}",
    ),
    Kind(
        title="Artifact Registry repository",
        asset="artifactregistry.googleapis.com/Repository",
        listing="artifacts repositories list --location={region}",
        is_mine=_named("repository"),
        delete=_own("gcp:artifactregistry/repository:Repository"),
    ),
    Kind(
        title="bucket, of image builds or of Gemma's weights",
        asset="storage.googleapis.com/Bucket",
        listing="storage buckets list",
        is_mine=lambda owner, name, _: (
            name in {owner.names.build_bucket(owner.project), owner.names.weights_bucket(owner.project)}
        ),
        delete=_own("gcp:storage/bucket:Bucket"),
    ),
    Kind(
        title="budget, which sends e-mails",
        listing="billing budgets list --billing-account={billing_account}",
        is_mine=_budget,
        delete="gcloud billing budgets delete {name} --billing-account={billing_account} --billing-project={project}",
    ),
    Kind(
        title="alert policy",
        listing="monitoring policies list",
        is_mine=_alert,
        delete="gcloud monitoring policies delete {entry[name]} --project {project}",
    ),
    Kind(
        title="dashboard",
        listing="monitoring dashboards list",
        is_mine=lambda owner, _, entry: entry.get("displayName") == owner.names.alerts,
        delete="gcloud monitoring dashboards delete {entry[name]} --project {project}",
    ),
    Kind(
        title="e-mail address of alerts",
        listing="beta monitoring channels list",
        is_mine=lambda owner, _, entry: entry.get("displayName") == owner.names.alerts,
        delete="gcloud beta monitoring channels delete {entry[name]} --force --project {project}",
    ),
    Kind(
        title="log sink",
        asset="logging.googleapis.com/LogSink",
        listing="logging sinks list",
        is_mine=_named("logs"),
        delete="gcloud logging sinks delete {name} --project {project}",
    ),
    Kind(
        title="log bucket",
        asset="logging.googleapis.com/LogBucket",
        listing="logging buckets list",
        is_mine=_log_bucket,
        delete="gcloud logging buckets delete {name} --location={location} --project {project}",
    ),
    Kind(
        title="service account",
        asset="iam.googleapis.com/ServiceAccount",
        listing="iam service-accounts list",
        field="email",
        is_mine=_accounts,
        delete=_own("gcp:serviceaccount/account:Account"),
    ),
    Kind(
        title="IAM binding of",
        listing="projects get-iam-policy {project} --flatten=bindings[].members",
        field="bindings.members",
        is_mine=_member,
        delete="gcloud projects remove-iam-policy-binding {project} --all --role={entry[bindings][role]} "
        "--member='{entry[bindings][members]}'",
    ),
    Kind(
        title="name of Cloud Endpoints",
        listing="endpoints services list",
        field="serviceName",
        is_mine=_free_name,
        delete="gcloud endpoints services delete {name} --project {project}",
    ),
    _gke_part("forwarding rule", "GlobalForwardingRule", "forwarding-rules"),
    _gke_part("target proxy", "TargetHttpsProxy", "target-https-proxies"),
    _gke_part("target proxy", "TargetHttpProxy", "target-http-proxies"),
    _gke_part("URL map", "UrlMap", "url-maps"),
    _gke_part("backend service", "BackendService", "backend-services"),
    _gke_part("health check", "HealthCheck", "health-checks"),
    Kind(
        title="network endpoint group",
        asset="compute.googleapis.com/NetworkEndpointGroup",
        listing="compute network-endpoint-groups list",
        is_mine=_in_network,
        delete="gcloud compute network-endpoint-groups delete {name} --zone={location} --project {project}",
    ),
    Kind(
        title="certificate",
        asset="compute.googleapis.com/SslCertificate",
        listing="compute ssl-certificates list",
        is_mine=_certificate,
        delete=_own("gcp:compute/managedSslCertificate:ManagedSslCertificate"),
    ),
    Kind(
        title="TLS policy",
        asset="compute.googleapis.com/SslPolicy",
        listing="compute ssl-policies list",
        is_mine=_named("edge_policy"),
        delete=_own("gcp:compute/sSLPolicy:SSLPolicy"),
    ),
    Kind(
        title="Cloud Armor policy",
        asset="compute.googleapis.com/SecurityPolicy",
        listing="compute security-policies list",
        is_mine=_named("edge_policy"),
        delete=_own("gcp:compute/securityPolicy:SecurityPolicy"),
    ),
    Kind(
        title="address, which costs while nothing uses it",
        asset="compute.googleapis.com/GlobalAddress",
        listing="compute addresses list",
        is_mine=_named("address", "gemma_address"),
        delete="gcloud compute addresses delete {name} {scope} --project {project}",
    ),
    Kind(
        title="disk",
        asset="compute.googleapis.com/Disk",
        listing="compute disks list",
        is_mine=lambda owner, _, entry: owner.has_label(entry),
        delete="gcloud compute disks delete {name} --zone={location} --project {project}",
    ),
    Kind(
        title="firewall rule",
        asset="compute.googleapis.com/Firewall",
        listing="compute firewall-rules list",
        is_mine=_in_network,
        delete="gcloud compute firewall-rules delete {name} --project {project}",
    ),
    Kind(
        title="router",
        asset="compute.googleapis.com/Router",
        listing="compute routers list",
        is_mine=_named("network"),
        delete=_own("gcp:compute/router:Router"),
    ),
    Kind(
        title="subnetwork",
        asset="compute.googleapis.com/Subnetwork",
        listing="compute networks subnets list",
        is_mine=_named("network", "proxies"),
        delete=_own("gcp:compute/subnetwork:Subnetwork"),
    ),
    Kind(
        title="network",
        asset="compute.googleapis.com/Network",
        listing="compute networks list",
        is_mine=_named("network"),
        delete=_own("gcp:compute/network:Network"),
    ),
)
