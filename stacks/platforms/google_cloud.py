"""A Google Cloud project: APIs, network, GKE cluster, Firestore, IAM, image registry, logs, alerts and budget."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_random as random

from chatapp.store.firestore.schema import EXPIRING, EXPIRY_FIELD, GROUP_FIELDS, INDEXED_FIELDS
from stacks.apis import BUDGETS_API, BUILD_APIS, LOGGING_API, MONITORING_API, apis_of
from stacks.components.alerts import Alerts, AlertsArgs
from stacks.components.budget import MonthlyBudget, MonthlyBudgetArgs
from stacks.components.cluster import AutopilotCluster, AutopilotClusterArgs
from stacks.components.firestore import ChatDatabase, ChatDatabaseArgs
from stacks.components.fixed import Fixed, FixedSettings
from stacks.components.image import RegistryArgs, gcloud_environment
from stacks.components.inference_gateway import internal_address
from stacks.components.network import PODS_RANGE, SERVICES_RANGE, ClusterNetwork, ClusterNetworkArgs
from stacks.components.regional_logs import RegionalLogs, RegionalLogsArgs
from stacks.components.services import ProjectServices, ProjectServicesArgs
from stacks.components.workload_identity import WorkloadIdentity, WorkloadIdentityArgs
from stacks.ingress.iap import refuse_without_organization
from stacks.ingress.ingress import GoogleProject, Ingress
from stacks.platforms import Platform

if TYPE_CHECKING:
    import pulumi_gcp as gcp

    from stacks.names import Names
    from stacks.platforms import Outputs
    from stacks.settings import Settings
    from stacks.validation.residency import Residency


def google_cloud(settings: Settings, names: Names, parent: pulumi.Resource) -> Platform:
    """Create everything outside the cluster, and the cluster.

    Raises:
        pulumi.RunError: the settings need an organisation, and the project has none.
    """
    refuse_without_organization(settings)
    child = pulumi.ResourceOptions(parent=parent)
    services = ProjectServices("services", ProjectServicesArgs(settings.project, apis_of(settings)), child)
    fixed = FixedSettings("fixed", _fixed(settings), child)
    project = _Project(settings, names, parent, services, fixed)
    if settings.monthly_budget:
        project.budget()
    if settings.alert_email:
        project.alerts()
    if settings.bound_to:
        project.logs(settings.bound_to)
    network = None if settings.network else project.network()
    cluster = project.cluster(network)
    database = project.database()
    workload_identity = project.workload_identity(cluster)
    google = GoogleProject(services, workload_identity)
    return Platform(
        provider=cluster.provider,
        ingress=Ingress(settings, names, parent, google),
        registry=project.registry(cluster) if settings.builds_image else None,
        google=google,
        gemma_address=project.gemma_address(network) if settings.balances_gemma else None,
        database=database.name,
        session_secret=random.RandomPassword("session-secret", length=48, special=False, opts=child).result,
        control_plane=cluster.control_plane,
        depends_on=[*workload_identity.bindings, database],
        outputs=_outputs(settings, names),
    )


def _fixed(settings: Settings) -> dict[str, Fixed]:
    database = "Pulumi would delete the database with all conversations, and create an empty one"
    cluster = "Pulumi would delete the cluster with all that runs in it, and the messages that are not saved yet"
    return {
        "project": Fixed(settings.project, "gcp:project", database),
        "region": Fixed(settings.region, "gcp:region", cluster),
        "network": Fixed(settings.network, "network", cluster),
        "subnetwork": Fixed(settings.subnetwork, "subnetwork", cluster),
        "database-location": Fixed(settings.firestore_location, "databaseLocation", database),
    }


def _outputs(settings: Settings, names: Names) -> Outputs:
    project = settings.project
    console, query = "https://console.cloud.google.com", f"project={project}"
    location = f"{settings.region}/{names.cluster}"
    builds = f"{console}/cloud-build/builds;region={settings.cloud_build_region}?{query}"
    return {
        "credentials": f"gcloud container clusters get-credentials {names.cluster} --region {settings.region} "
        f"--project {project}",
        "consoleWorkloads": f"{console}/kubernetes/workload/overview?{query}",
        "consoleCluster": f"{console}/kubernetes/clusters/details/{location}/details?{query}",
        "consoleHistory": f"{console}/firestore/databases/{names.database}/data?{query}",
        **({"consoleBuilds": builds} if settings.builds_image else {}),
    }


@dataclass(frozen=True)
class _Project:
    """The parts of the project, which wait for its APIs and for the fixed settings."""

    settings: Settings
    names: Names
    parent: pulumi.Resource
    services: ProjectServices
    fixed: FixedSettings

    @property
    def _child(self) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self.parent)

    def budget(self) -> None:
        MonthlyBudget(
            "budget",
            MonthlyBudgetArgs(
                project=self.settings.project,
                name=self.names.budget,
                amount=self.settings.monthly_budget,
                depends_on=[self.services[BUDGETS_API]],
                hooks=self.services.hooks,
            ),
            self._child,
        )

    def alerts(self) -> None:
        settings, names = self.settings, self.names
        Alerts(
            "alerts",
            AlertsArgs(
                project=settings.project,
                name=names.alerts,
                namespace=names.namespace,
                cluster=names.cluster,
                email=settings.alert_email,
                gemma=names.gemma_of(settings.gpu_profile),
                cost_per_day=settings.all_cost_per_day,
                labels=names.labels,
                depends_on=[self.services[MONITORING_API]],
                hooks=self.services.hooks,
            ),
            self._child,
        )

    def logs(self, residency: Residency) -> None:
        names, settings = self.names, self.settings
        RegionalLogs(
            "logs",
            RegionalLogsArgs(
                project=settings.project,
                location=residency.logs,
                name=names.logs,
                cluster=names.cluster,
                cluster_region=settings.region,
                namespace=names.namespace,
                depends_on=[self.services[LOGGING_API]],
                hooks=self.services.hooks,
            ),
            self._child,
        )

    def network(self) -> ClusterNetwork:
        settings, names = self.settings, self.names
        return ClusterNetwork(
            "vpc",
            ClusterNetworkArgs(
                project=settings.project,
                region=settings.region,
                name=names.network,
                private_nodes=settings.private_nodes,
                proxies_name=names.proxies if settings.balances_gemma else "",
                gcloud_environment=gcloud_environment(),
                depends_on=[self.services["compute.googleapis.com"]],
                hooks=self.services.hooks,
            ),
            self._child,
        )

    def gemma_address(self, network: ClusterNetwork | None) -> gcp.compute.Address:
        settings = self.settings
        return internal_address(
            self.names.gemma_address,
            project=settings.project,
            region=settings.region,
            # An auto-mode network's subnetworks have its name.
            subnetwork=network.subnetwork if network else settings.subnetwork or settings.network,
            labels=self.names.labels,
            opts=pulumi.ResourceOptions(
                parent=self.parent, depends_on=[self.services["compute.googleapis.com"]], hooks=self.services.hooks
            ),
        )

    def cluster(self, network: ClusterNetwork | None) -> AutopilotCluster:
        settings, names = self.settings, self.names
        return AutopilotCluster(
            "cluster",
            AutopilotClusterArgs(
                name=names.cluster,
                project=settings.project,
                region=settings.region,
                location=self.fixed.then(settings.region),
                network=network.network if network else settings.network,
                subnetwork=network.subnetwork if network else settings.subnetwork or None,
                pods_range=PODS_RANGE if network else None,
                services_range=SERVICES_RANGE if network else None,
                private_nodes=settings.private_nodes,
                release_channel=settings.release_channel,
                scales_on_metrics=settings.gemma_max_replicas > 1,
                nodes_account=names.nodes_account,
                labels=names.labels,
                depends_on=[
                    *(
                        self.services[f"{api}.googleapis.com"]
                        for api in ("iam", "compute", "container", "containerfilesystem")
                    ),
                    *(network.parts if network else ()),
                ],
                hooks=self.services.hooks,
            ),
            self._child,
        )

    def database(self) -> ChatDatabase:
        return ChatDatabase(
            "database",
            ChatDatabaseArgs(
                name=self.names.database,
                project=self.settings.project,
                location=self.fixed.then(self.settings.firestore_location),
                expiry_field=EXPIRY_FIELD,
                expiring=EXPIRING,
                indexed_fields=INDEXED_FIELDS,
                group_fields=GROUP_FIELDS,
                point_in_time_recovery=self.settings.point_in_time_recovery,
                backup_days=self.settings.backup_days,
                depends_on=[self.services["firestore.googleapis.com"]],
                hooks=self.services.hooks,
            ),
            self._child,
        )

    def workload_identity(self, cluster: AutopilotCluster) -> WorkloadIdentity:
        names = self.names
        return WorkloadIdentity(
            "identity",
            WorkloadIdentityArgs(
                project=self.settings.project,
                namespace=names.namespace,
                account=names.chat_account,
                gemini_role=names.gemini_role,
                database=names.database,
                depends_on=[
                    cluster.cluster,
                    *(self.services[f"{api}.googleapis.com"] for api in ("aiplatform", "iam")),
                ],
                hooks=self.services.hooks,
            ),
            self._child,
        )

    def registry(self, cluster: AutopilotCluster) -> RegistryArgs:
        return RegistryArgs(
            project=self.settings.project,
            region=self.settings.region,
            repository=self.names.repository,
            readers={"nodes": cluster.nodes_account.member},
            build_account=self.names.build_account,
            build_bucket=self.names.build_bucket(self.settings.project),
            build_region=self.settings.cloud_build_region,
            labels=self.names.labels,
            gcloud_environment=gcloud_environment(),
            depends_on=[self.services[api] for api in (*BUILD_APIS, "iam.googleapis.com")],
            hooks=self.services.hooks,
        )
