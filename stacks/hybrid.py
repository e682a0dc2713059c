"""The composition root: which components a deployment has, and how they depend on each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from chatapp.store.firestore.schema import EXPIRING, EXPIRY_FIELD, GROUP_FIELDS, INDEXED_FIELDS
from stacks.apis import (
    BUDGETS_API,
    BUILD_APIS,
    LOGGING_API,
    MONITORING_API,
    NETWORK_SERVICES_API,
    STORAGE_API,
    apis_of,
)
from stacks.chat_env import Sources, environment, secret_environment
from stacks.components.alerts import Alerts, AlertsArgs
from stacks.components.budget import MonthlyBudget, MonthlyBudgetArgs
from stacks.components.chat import ChatApp, ChatAppArgs, Volume
from stacks.components.cluster import AutopilotCluster, AutopilotClusterArgs, cluster_provider
from stacks.components.firestore import ChatDatabase, ChatDatabaseArgs
from stacks.components.fixed import Fixed, FixedSettings
from stacks.components.image import ChatImage, ChatImageArgs, RegistryArgs, gcloud_environment
from stacks.components.inference_gateway import PORT as GATEWAY_PORT
from stacks.components.inference_gateway import InferenceGateway, InferenceGatewayArgs, internal_address
from stacks.components.leftovers import leftover_hook, with_hook
from stacks.components.manifests import Manifest
from stacks.components.model_server import APP as GEMMA_APP
from stacks.components.model_server import GemmaServer, GemmaServerArgs, LoadBalanced
from stacks.components.model_weights import ModelWeights, ModelWeightsArgs
from stacks.components.network import PODS_RANGE, PROXIES, SERVICES_RANGE, ClusterNetwork, ClusterNetworkArgs
from stacks.components.network_policies import GemmasLoadBalancer, NetworkIsolation, NetworkIsolationArgs
from stacks.components.regional_logs import RegionalLogs, RegionalLogsArgs
from stacks.components.services import ProjectServices, ProjectServicesArgs
from stacks.components.workload_identity import WorkloadIdentity, WorkloadIdentityArgs
from stacks.components.workloads import labels
from stacks.ingress.https_gateway import LOAD_BALANCER_NETWORKS
from stacks.ingress.iap import refuse_without_organization
from stacks.ingress.ingress import GoogleProject, Ingress
from stacks.kubeconfig import current_context
from stacks.settings import secret_output
from stacks.validation.sign_in import public_access_warnings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulumi_gcp as gcp

    from gemma.profiles import GpuProfile
    from stacks.names import Names
    from stacks.settings import Settings
    from stacks.validation.residency import Residency
    from stacks.validation.types import IngressKind

    Outputs = dict[str, pulumi.Input[str]]

ROOT = Path(__file__).resolve().parent.parent

# The namespace rejects pods outside the `restricted` Pod Security Standard, with a warning and an audit log entry.
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


class HybridChat(pulumi.ComponentResource):
    """The whole deployment.

    Attributes:
        outputs: name -> value, for `pulumi stack output`.
    """

    outputs: dict[str, pulumi.Input[str]]

    def __init__(self, name: str, settings: Settings, names: Names, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:HybridChat", name, {}, opts)
        self._settings = settings
        self._names = names
        self._child = pulumi.ResourceOptions(parent=self)
        for warning in public_access_warnings(settings):
            pulumi.log.warn(warning, self)
        self.outputs = self._on_google_cloud() if settings.on_gcp else self._on_kubernetes()
        self.register_outputs(self.outputs)

    def _on_google_cloud(self) -> Outputs:
        settings, names, project = self._settings, self._names, self._settings.project
        refuse_without_organization(settings)
        services = ProjectServices("services", ProjectServicesArgs(project, apis_of(settings)), self._child)
        fixed = FixedSettings("fixed", self._fixed_on_google_cloud(), self._child)
        if settings.monthly_budget:
            self._budget(services)
        if settings.alert_email:
            self._alerts(services)
        if settings.bound_to:
            self._logs(services, settings.bound_to)
        network = None if settings.network else self._own_network(services)
        cluster = self._cluster(services, fixed, network)
        database = self._database(services, fixed)
        workload_identity = WorkloadIdentity(
            "identity",
            WorkloadIdentityArgs(
                project=project,
                namespace=names.namespace,
                account=names.chat_account,
                gemini_role=names.gemini_role,
                database=names.database,
                depends_on=[
                    cluster.cluster,
                    *(services[f"{api}.googleapis.com"] for api in ("aiplatform", "iam")),
                ],
                hooks=services.hooks,
            ),
            self._child,
        )
        registry = self._registry(services, cluster) if settings.builds_image else None
        ingress = Ingress(settings, names, self, GoogleProject(services, workload_identity))
        secret = random.RandomPassword("session-secret", length=48, special=False, opts=self._child)
        outputs = self._workloads(
            cluster.provider,
            ingress,
            gemma_address=self._gemma_address(services, network) if settings.balances_gemma else None,
            google=GoogleProject(services, workload_identity),
            image=self._image(registry),
            database=database.name,
            session_secret=secret.result,
            control_plane=cluster.control_plane,
            depends_on=[*workload_identity.bindings, database],
        )
        console, query = "https://console.cloud.google.com", f"project={project}"
        location = f"{settings.region}/{names.cluster}"
        return {
            **outputs,
            "credentials": f"gcloud container clusters get-credentials {names.cluster} --region {settings.region} "
            f"--project {project}",
            "consoleWorkloads": f"{console}/kubernetes/workload/overview?{query}",
            "consoleCluster": f"{console}/kubernetes/clusters/details/{location}/details?{query}",
            "consoleHistory": f"{console}/firestore/databases/{names.database}/data?{query}",
            **(
                {"consoleBuilds": f"{console}/cloud-build/builds;region={settings.cloud_build_region}?{query}"}
                if settings.builds_image
                else {}
            ),
        }

    def _fixed_on_google_cloud(self) -> dict[str, Fixed]:
        settings = self._settings
        database = "Pulumi would delete the database with all conversations, and create an empty one"
        cluster = "Pulumi would delete the cluster with all that runs in it, and the messages that are not saved yet"
        return {
            "project": Fixed(settings.project, "gcp:project", database),
            "region": Fixed(settings.region, "gcp:region", cluster),
            "network": Fixed(settings.network, "network", cluster),
            "subnetwork": Fixed(settings.subnetwork, "subnetwork", cluster),
            "database-location": Fixed(settings.firestore_location, "databaseLocation", database),
        }

    def _budget(self, services: ProjectServices) -> None:
        MonthlyBudget(
            "budget",
            MonthlyBudgetArgs(
                project=self._settings.project,
                name=self._names.budget,
                amount=self._settings.monthly_budget,
                depends_on=[services[BUDGETS_API]],
                hooks=services.hooks,
            ),
            self._child,
        )

    def _alerts(self, services: ProjectServices) -> None:
        settings, names = self._settings, self._names
        Alerts(
            "alerts",
            AlertsArgs(
                project=settings.project,
                name=names.alerts,
                namespace=names.namespace,
                cluster=names.cluster,
                email=settings.alert_email,
                own_gemma=settings.gpu_profile is not None,
                cost_per_day=settings.all_cost_per_day,
                labels=names.labels,
                depends_on=[services[MONITORING_API]],
                hooks=services.hooks,
            ),
            self._child,
        )

    def _logs(self, services: ProjectServices, residency: Residency) -> None:
        names, settings = self._names, self._settings
        RegionalLogs(
            "logs",
            RegionalLogsArgs(
                project=settings.project,
                location=residency.logs,
                name=names.logs,
                cluster=names.cluster,
                cluster_region=settings.region,
                namespace=names.namespace,
                depends_on=[services[LOGGING_API]],
                hooks=services.hooks,
            ),
            self._child,
        )

    def _own_network(self, services: ProjectServices) -> ClusterNetwork:
        settings, names = self._settings, self._names
        return ClusterNetwork(
            "vpc",
            ClusterNetworkArgs(
                project=settings.project,
                region=settings.region,
                name=names.network,
                private_nodes=settings.private_nodes,
                proxies_name=names.proxies if settings.balances_gemma else "",
                gcloud_environment=gcloud_environment(),
                depends_on=[services["compute.googleapis.com"]],
                hooks=services.hooks,
            ),
            self._child,
        )

    def _gemma_address(self, services: ProjectServices, network: ClusterNetwork | None) -> gcp.compute.Address:
        settings = self._settings
        return internal_address(
            self._names.gemma_address,
            project=settings.project,
            region=settings.region,
            # An auto-mode network's subnetworks have its name.
            subnetwork=network.subnetwork if network else settings.subnetwork or settings.network,
            labels=self._names.labels,
            opts=pulumi.ResourceOptions(
                parent=self, depends_on=[services["compute.googleapis.com"]], hooks=services.hooks
            ),
        )

    def _cluster(
        self, services: ProjectServices, fixed: FixedSettings, network: ClusterNetwork | None
    ) -> AutopilotCluster:
        settings, names = self._settings, self._names
        return AutopilotCluster(
            "cluster",
            AutopilotClusterArgs(
                name=names.cluster,
                project=settings.project,
                region=settings.region,
                location=fixed.then(settings.region),
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
                        services[f"{api}.googleapis.com"]
                        for api in ("iam", "compute", "container", "containerfilesystem")
                    ),
                    *(network.parts if network else ()),
                ],
                hooks=services.hooks,
            ),
            self._child,
        )

    def _on_kubernetes(self) -> Outputs:
        settings = self._settings
        kubeconfig = settings.kubeconfig.get_secret_value()
        # The context is written into the state, so that `pulumi destroy`, which does not run this program, goes to this
        # cluster, and not to the one that is current by then. Empty: the cluster that this runs in.
        context = settings.kube_context or current_context(kubeconfig)
        provider = cluster_provider(
            self, kubeconfig=secret_output(settings.kubeconfig), context=context or None, is_owned=False
        )
        fixed = FixedSettings("fixed", self._fixed_on_kubernetes(context, provider), self._child)
        if not (settings.gpu_profile or settings.gemma_url or settings.gemini_api_key.get_secret_value()):
            pulumi.log.warn(
                "The chat will have no model: set gemmaUrl, gemma (if the cluster has GPUs) or geminiApiKey.", self
            )
        ingress = Ingress(settings, self._names, self)
        volume = Volume(settings.volume_size, fixed.then(settings.storage_class), self._names.chat_volume)
        return self._workloads(provider, ingress, image=self._image(None), volume=volume)

    def _fixed_on_kubernetes(self, context: str, provider: kubernetes.Provider) -> dict[str, Fixed]:
        # A cluster has no name of its own; the ID of this namespace, which each cluster has, stands for it.
        cluster = kubernetes.core.v1.Namespace.get(
            "cluster", "kube-system", opts=pulumi.ResourceOptions(parent=self, provider=provider)
        ).metadata.uid
        elsewhere = "the chat and its conversations are in the first cluster, and Pulumi would lose track of them"
        return {
            "context": Fixed(context, "kubernetes:context", elsewhere),
            "cluster": Fixed(
                cluster,
                "The cluster (the ID of its namespace kube-system)",
                elsewhere,
                f"Let the context {context or 'of this pod'} lead to the first cluster. If that is gone for good, "
                "remove the stack's record of it: pulumi stack rm --force --preserve-config",
            ),
            "storage-class": Fixed(
                self._settings.storage_class,
                "storageClass",
                "Pulumi would delete the volume with all conversations, and create an empty one",
            ),
        }

    def _database(self, services: ProjectServices, fixed: FixedSettings) -> ChatDatabase:
        return ChatDatabase(
            "database",
            ChatDatabaseArgs(
                name=self._names.database,
                project=self._settings.project,
                location=fixed.then(self._settings.firestore_location),
                expiry_field=EXPIRY_FIELD,
                expiring=EXPIRING,
                indexed_fields=INDEXED_FIELDS,
                group_fields=GROUP_FIELDS,
                point_in_time_recovery=self._settings.point_in_time_recovery,
                backup_days=self._settings.backup_days,
                depends_on=[services["firestore.googleapis.com"]],
                hooks=services.hooks,
            ),
            self._child,
        )

    def _registry(self, services: ProjectServices, cluster: AutopilotCluster) -> RegistryArgs:
        return RegistryArgs(
            project=self._settings.project,
            region=self._settings.region,
            repository=self._names.repository,
            readers={"nodes": cluster.nodes_account.member},
            build_account=self._names.build_account,
            build_bucket=self._names.build_bucket(self._settings.project),
            build_region=self._settings.cloud_build_region,
            labels=self._names.labels,
            gcloud_environment=gcloud_environment(),
            depends_on=[services[api] for api in (*BUILD_APIS, "iam.googleapis.com")],
            hooks=services.hooks,
        )

    def _image(self, registry: RegistryArgs | None) -> ChatImage:
        root = Path(os.path.relpath(ROOT))  # relative, so that the state contains no path of this machine
        return ChatImage(
            "image",
            ChatImageArgs(self._settings.image_source, root, registry, self._settings.image_registry),
            self._child,
        )

    def _workloads(
        self,
        provider: kubernetes.Provider,
        ingress: Ingress,
        *,
        image: ChatImage,
        google: GoogleProject | None = None,
        gemma_address: gcp.compute.Address | None = None,
        volume: Volume | None = None,
        database: pulumi.Input[str] | None = None,
        session_secret: pulumi.Input[str] | None = None,
        control_plane: pulumi.Input[str | None] = None,
        depends_on: Sequence[pulumi.Resource] = (),
    ) -> Outputs:
        """Create all objects in the cluster, the same on both platforms; return outputs, ``url`` first."""
        settings, names = self._settings, self._names
        # Objects of an interrupted run are adopted in the stack's own cluster; elsewhere they may be another program's.
        hook = with_hook(leftover_hook("cluster-leftovers"), "kubernetes:")
        in_cluster = pulumi.ResourceOptions(parent=self, provider=provider, transformations=[hook])
        namespace = kubernetes.core.v1.Namespace(
            "namespace",
            metadata={"name": names.namespace, "labels": labels("hybrid-chat") | RESTRICTED},
            # Its deletion waits for everything in it, such as GKE's records of load balancers.
            opts=in_cluster.merge(pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete="20m"))),
        ).metadata.name
        network = self._network(in_cluster, namespace, control_plane, gemma_address)
        gemma = balanced = None
        if settings.gpu_profile:
            weights = None
            if settings.weights_bucket and google:
                weights = self._weights(in_cluster, namespace, google, image, depends_on=[network, image])
            if gemma_address and google:
                balanced = self._gateway(in_cluster, namespace, google, gemma_address, depends_on=[network])
            gemma = self._gemma(in_cluster, namespace, settings.gpu_profile, weights, balanced, depends_on=[network])
        self._log_shared_limits()
        sources = Sources(
            settings=settings,
            ingress=ingress,
            namespace=namespace,
            gemma_url=gemma.url if gemma else None,
            gemma_key=balanced.api_key if balanced else None,
            gemma_deployment=names.gemma if gemma else None,
            database=database,
            session_secret=session_secret,
        )
        chat = ChatApp(
            "chat",
            ChatAppArgs(
                namespace=namespace,
                name=names.chat,
                service_name=names.chat_service,
                account=names.chat_account,
                secret_name=names.chat_secrets,
                gemma_role=names.chat_pods_role,
                image=image.ref,
                replicas=settings.replicas,
                variables=environment(sources),
                secrets=secret_environment(sources),
                volume=volume,
                gemma=names.gemma if gemma else "",
                scales_gemma=settings.gemma_idle_minutes > 0,
                monitoring=Manifest.read("chat-monitoring.yaml") if settings.on_gcp else None,
                # The whole image component, so that the nodes may pull the image.
                depends_on=[image, network, *depends_on],
            ),
            in_cluster,
        )
        outputs: Outputs = {**ingress.attach(chat, in_cluster), "namespace": namespace, "image": image.ref}
        if gemma:
            outputs["watchGemma"] = pulumi.Output.concat(
                "kubectl --namespace ", namespace, f" get pods --selector app={GEMMA_APP} --watch"
            )
        outputs["status"] = pulumi.Output.concat(
            "kubectl --namespace ", namespace, f" exec deployment/{names.chat} -- python -m chatapp.server.status"
        )
        return outputs

    def _network(
        self,
        in_cluster: pulumi.ResourceOptions,
        namespace: pulumi.Output[str],
        control_plane: pulumi.Input[str | None],
        gemma_address: gcp.compute.Address | None,
    ) -> NetworkIsolation:
        settings = self._settings
        balancer = None
        if gemma_address:
            proxies = settings.proxy_range or PROXIES
            balancer = GemmasLoadBalancer(gemma_address.address, GATEWAY_PORT, proxies, LOAD_BALANCER_NETWORKS)
        browsers: dict[IngressKind, Sequence[str] | Literal["anywhere", "nowhere"]] = {
            "https": LOAD_BALANCER_NETWORKS,
            "public-http": "anywhere",
            "private": "nowhere",
        }
        return NetworkIsolation(
            "network",
            NetworkIsolationArgs(
                namespace=namespace,
                browsers=browsers[settings.ingress],
                on_gke=settings.on_gcp,
                own_gemma=settings.gpu_profile is not None,
                scales_gemma=settings.gemma_max_replicas > 1,
                gemmas_load_balancer=balancer,
                weights_in_bucket=settings.weights_bucket,
                gemma_url=settings.gemma_url,
                embeddings_url=settings.embeddings_url,
                otel_endpoint=settings.otel_endpoint,
                control_plane=control_plane,
            ),
            in_cluster,
        )

    def _weights(
        self,
        in_cluster: pulumi.ResourceOptions,
        namespace: pulumi.Output[str],
        google: GoogleProject,
        image: ChatImage,
        *,
        depends_on: Sequence[pulumi.Resource],
    ) -> ModelWeights:
        settings, names = self._settings, self._names
        model, revision = settings.weights
        return ModelWeights(
            "weights",
            ModelWeightsArgs(
                project=settings.project,
                region=settings.region,
                namespace=namespace,
                bucket=names.weights_bucket(settings.project),
                account=names.weights_account,
                secret_name=names.weights_secret,
                image=image.ref,
                model=model,
                revision=revision,
                writer=google.workload_identity.principal_of(names.weights_account),
                reader=google.workload_identity.principal_of(names.gemma_account),
                token=secret_output(settings.hugging_face_token),
                labels=names.labels,
                google_depends_on=[google.services[STORAGE_API], *google.workload_identity.bindings],
                depends_on=depends_on,
                hooks=google.services.hooks,
            ),
            in_cluster,
        )

    def _gateway(
        self,
        in_cluster: pulumi.ResourceOptions,
        namespace: pulumi.Output[str],
        google: GoogleProject,
        address: gcp.compute.Address,
        *,
        depends_on: Sequence[pulumi.Resource],
    ) -> LoadBalanced:
        settings, names = self._settings, self._names
        InferenceGateway(
            "gemma-gateway",
            InferenceGatewayArgs(
                namespace=namespace,
                name=names.gemma_gateway,
                address_name=address.name,
                picker=names.gemma_picker,
                picker_account=names.gemma_picker_account,
                picker_image=settings.gemma_picker_image,
                google_depends_on=[google.services[NETWORK_SERVICES_API]],
                depends_on=depends_on,
            ),
            in_cluster,
        )
        key = random.RandomPassword("gemma-key", length=48, special=False, opts=self._child)
        return LoadBalanced(pulumi.Output.concat("http://", address.address), key.result, names.gemma_key_secret)

    def _gemma(
        self,
        in_cluster: pulumi.ResourceOptions,
        namespace: pulumi.Output[str],
        profile: GpuProfile,
        weights: ModelWeights | None,
        balanced: LoadBalanced | None,
        *,
        depends_on: Sequence[pulumi.Resource],
    ) -> GemmaServer:
        settings, names = self._settings, self._names
        return GemmaServer(
            "gemma",
            GemmaServerArgs(
                namespace=namespace,
                name=names.gemma,
                service_name=names.gemma_service,
                account=names.gemma_account,
                secret_name=names.hugging_face_secret,
                profile=profile,
                image=settings.gemma_image,
                model=settings.gemma_model,
                revision=settings.gemma_revision,
                # Only the Job that copies the weights gets the token then.
                token=None if weights else secret_output(settings.hugging_face_token),
                weights_url=weights.url if weights else None,
                extra_args=settings.gemma_args,
                on_gke=settings.on_gcp,
                compute_class=Manifest.read(profile.compute_class) if settings.uses_compute_class else None,
                sleeps=settings.gemma_idle_minutes > 0,
                max_replicas=settings.gemma_max_replicas,
                load_balanced=balanced,
                monitoring=Manifest.read("gemma-monitoring.yaml") if settings.on_gcp else None,
                depends_on=[*depends_on, *(weights.ready if weights else ())],
            ),
            in_cluster,
        )

    def _log_shared_limits(self) -> None:
        settings = self._settings
        if settings.replicas > 1 and (settings.all_tokens_per_day or settings.all_cost_per_day):
            pulumi.log.info(
                f"Each of the {settings.replicas} replicas of the chat counts on its own, so each gets 1/"
                f"{settings.replicas} of allTokensPerDay and allCostPerDay.",
                self,
            )
