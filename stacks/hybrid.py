"""The whole deployment: reading it from top to bottom is reading what is deployed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from stacks.components.chat import ChatApp, ChatAppArgs, FirestoreHistory, Gemini, Gemma, Pods, VolumeHistory
from stacks.components.cluster import AutopilotCluster, AutopilotClusterArgs, cluster_provider
from stacks.components.firestore import ChatDatabase, ChatDatabaseArgs
from stacks.components.gpu_profiles import sees_images
from stacks.components.image import ChatImage, ChatImageArgs, RegistryArgs, gcloud_environment
from stacks.components.manifests import FOLDER, Manifest
from stacks.components.model_server import APP as GEMMA_APP
from stacks.components.model_server import SERVED_NAME, GemmaServer, GemmaServerArgs
from stacks.components.network_policies import NetworkIsolation, NetworkIsolationArgs
from stacks.components.services import ProjectServices, ProjectServicesArgs
from stacks.components.workload_identity import WorkloadIdentity, WorkloadIdentityArgs
from stacks.components.workloads import labels
from stacks.ingress.access import Limits
from stacks.ingress.https_gateway import LOAD_BALANCER_NETWORKS
from stacks.ingress.iap import IAP_API
from stacks.ingress.ingress import Entrance, GoogleProject
from stacks.ingress.sign_in import access_warnings
from stacks.ingress.static_address import NAME_APIS
from stacks.settings import secret_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stacks.ingress.access import Access
    from stacks.ingress.sign_in import WayIn
    from stacks.names import Names
    from stacks.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

APIS = (
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    "firestore.googleapis.com",
    "firebaserules.googleapis.com",
    "aiplatform.googleapis.com",
)
BUILD_APIS = ("artifactregistry.googleapis.com", "cloudbuild.googleapis.com", "storage.googleapis.com")

# Pods that are not confined are refused, and named in warnings and in the audit log.
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}

# The history's fields in Firestore, as chatapp/store writes them (a test compares them).
EXPIRY_FIELD = "expireAt"
INDEXED_FIELDS = {
    "conversations": ("updatedMs", "pinned"),
    "messages": ("createdAt",),
    "images": (),
    "users": (),
    "revocations": (),
}
EXPIRING = ("conversations", "messages", "images", "revocations")


class HybridChat(pulumi.ComponentResource):
    """Everything: the rooms and how they are joined.

    Attributes:
        outputs: name -> value, for `pulumi stack output`.
    """

    outputs: dict[str, pulumi.Input[str]]

    def __init__(self, name: str, settings: Settings, names: Names, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:HybridChat", name, {}, opts)
        self._settings = settings
        self._names = names
        self._child = pulumi.ResourceOptions(parent=self)
        for sentence in access_warnings(settings):
            pulumi.log.warn(sentence, self)
        if settings.on_gcp:
            self.outputs = self._on_google_cloud()
        else:
            self.outputs = self._on_kubernetes()
        self.register_outputs(self.outputs)

    def _on_google_cloud(self) -> dict[str, pulumi.Input[str]]:
        settings, names, project = self._settings, self._names, self._settings.project
        builds = settings.image_source in {"cloud-build", "docker"}
        services = ProjectServices("services", ProjectServicesArgs(project, apis_of(settings)), self._child)
        cluster = AutopilotCluster(
            "cluster",
            AutopilotClusterArgs(
                name=names.cluster,
                project=project,
                region=settings.region,
                network=settings.network,
                release_channel=settings.release_channel,
                nodes_account=names.nodes_account,
                depends_on=[services[f"{api}.googleapis.com"] for api in ("iam", "compute", "container")],
                hooks=services.hooks,
            ),
            self._child,
        )
        database = ChatDatabase(
            "database",
            ChatDatabaseArgs(
                name=names.database,
                project=project,
                location=settings.database_location,
                rules=(FOLDER / "firestore.rules").read_text(encoding="utf-8"),
                expiry_field=EXPIRY_FIELD,
                expiring=EXPIRING,
                indexed_fields=INDEXED_FIELDS,
                depends_on=[services["firestore.googleapis.com"], services["firebaserules.googleapis.com"]],
                hooks=services.hooks,
            ),
            self._child,
        )
        identity = WorkloadIdentity(
            "identity",
            WorkloadIdentityArgs(
                project=project,
                namespace=names.namespace,
                account=names.chat_account,
                database=names.database,
                depends_on=[cluster.cluster, services["aiplatform.googleapis.com"]],
                hooks=services.hooks,
            ),
            self._child,
        )
        registry = None
        if builds:
            registry = RegistryArgs(
                project=project,
                region=settings.region,
                repository=names.repository,
                readers={"nodes": cluster.nodes_account.member},
                build_account=names.build_account,
                build_bucket=names.build_bucket(project),
                gcloud_environment=gcloud_environment(),
                depends_on=[services[api] for api in (*BUILD_APIS, "iam.googleapis.com")],
                hooks=services.hooks,
            )
        entrance = Entrance(settings, names, self, GoogleProject(services, identity))
        secret = random.RandomPassword("session-secret", length=48, special=False, opts=self._child)
        inside = pulumi.ResourceOptions(parent=self, provider=cluster.provider)
        chat, outputs = self._workloads(
            inside,
            image=self._image(registry),
            history=FirestoreHistory(project, database.name, settings.retention_days),
            gemini=Gemini(settings.gemini_model, project=project, location=settings.vertex_location),
            access=entrance.access,
            session_secret=secret.result,
            depends_on=[*identity.bindings, database],
        )
        console = "https://console.cloud.google.com"
        place = f"{settings.region}/{names.cluster}"
        return {
            **entrance.opened(chat, inside),
            **outputs,
            "credentials": f"gcloud container clusters get-credentials {names.cluster} --region {settings.region} "
            f"--project {project}",
            "consoleWorkloads": f"{console}/kubernetes/workload/overview?project={project}",
            "consoleCluster": f"{console}/kubernetes/clusters/details/{place}/details?project={project}",
            "consoleHistory": f"{console}/firestore/databases/{names.database}/data?project={project}",
            **({"consoleBuilds": f"{console}/cloud-build/builds?project={project}"} if builds else {}),
        }

    def _on_kubernetes(self) -> dict[str, pulumi.Input[str]]:
        settings = self._settings
        # Neither is set: KUBECONFIG or ~/.kube/config, and the context that is current there.
        provider = cluster_provider(
            self, kubeconfig=secret_of(settings.kubeconfig), context=settings.kube_context or None, is_own=False
        )
        if not (settings.gpu_profile or settings.gemma_url or settings.gemini_api_key.get_secret_value()):
            pulumi.log.warn(
                "The chat will have no model: set gemmaUrl, gemma (if the cluster has GPUs) or geminiApiKey.", self
            )
        entrance = Entrance(settings, self._names, self)
        inside = pulumi.ResourceOptions(parent=self, provider=provider)
        chat, outputs = self._workloads(
            inside,
            image=self._image(None),
            history=VolumeHistory(settings.volume_size, settings.storage_class, self._names.chat_volume),
            gemini=Gemini(settings.gemini_model, api_key=secret_of(settings.gemini_api_key)),
            access=entrance.access,
        )
        return {**entrance.opened(chat, inside), **outputs}

    def _limits(self) -> Limits:
        settings = self._settings
        totals = (settings.all_tokens_per_day, settings.all_cost_per_day)
        if any(totals) and settings.replicas > 1:
            pulumi.log.info(
                f"Each of the {settings.replicas} copies of the chat counts for itself: of allTokensPerDay and "
                f"allCostPerDay each gets one part in {settings.replicas}.",
                self,
            )
        return Limits(settings.messages_per_minute, settings.tokens_per_day, settings.cost_per_day, *totals)

    def _image(self, registry: RegistryArgs | None) -> ChatImage:
        root = Path(os.path.relpath(ROOT))  # relative, so that no machine's path is in the state
        return ChatImage(
            "image",
            ChatImageArgs(self._settings.image_source, root, registry, self._settings.image_registry),
            self._child,
        )

    def _workloads(
        self,
        inside: pulumi.ResourceOptions,
        *,
        image: ChatImage,
        history: FirestoreHistory | VolumeHistory,
        gemini: Gemini,
        access: Access,
        session_secret: pulumi.Input[str] | None = None,
        depends_on: list[pulumi.Resource] | None = None,
    ) -> tuple[ChatApp, dict[str, pulumi.Input[str]]]:
        """Build what runs in the cluster, the same on both platforms; return the chat, and outputs."""
        settings, names = self._settings, self._names
        namespace = kubernetes.core.v1.Namespace(
            "namespace",
            metadata={"name": names.namespace, "labels": labels("hybrid-chat") | RESTRICTED},
            # It ends when all in it has, such as what GKE keeps for each load balancer until that is gone.
            opts=inside.merge(pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete="20m"))),
        ).metadata.name
        network = self._network(inside, namespace)
        gemma, watch = self._gemma(inside, namespace, network)
        chat = ChatApp(
            "chat",
            ChatAppArgs(
                namespace=namespace,
                name=names.chat,
                service_name=names.chat_service,
                account=names.chat_account,
                secret_name=names.chat_secrets,
                image=image.ref,
                replicas=settings.replicas,
                history=history,
                gemini=gemini,
                gemma=gemma,
                access=access,
                limits=self._limits(),
                session_secret=session_secret,
                theme=settings.theme,
                monitoring=Manifest.read("chat-monitoring.yaml") if settings.on_gcp else None,
                # The image as a whole: its nodes may pull it then.
                depends_on=[image, network, *(depends_on or ())],
            ),
            inside,
        )
        return chat, {"namespace": namespace, "image": image.ref, **({"watchGemma": watch} if watch else {})}

    def _network(self, inside: pulumi.ResourceOptions, namespace: pulumi.Output[str]) -> NetworkIsolation:
        settings = self._settings
        browsers: dict[WayIn, Sequence[str] | Literal["anywhere", "nowhere"]] = {
            "https": LOAD_BALANCER_NETWORKS,
            "public-http": "anywhere",
            "private": "nowhere",
        }
        return NetworkIsolation(
            "network",
            NetworkIsolationArgs(
                namespace=namespace,
                browsers=browsers[settings.way_in],
                on_gke=settings.on_gcp,
                own_gemma=settings.gpu_profile is not None,
                gemma_url=settings.gemma_url,
            ),
            inside,
        )

    def _gemma(
        self, inside: pulumi.ResourceOptions, namespace: pulumi.Output[str], network: NetworkIsolation
    ) -> tuple[Gemma | None, pulumi.Output[str] | None]:
        """Return where Gemma answers, and the command that shows how its start goes."""
        settings, names = self._settings, self._names
        profile = settings.gpu_profile
        if profile is None:
            if not settings.gemma_url:
                return None, None
            label = settings.gemma_model.rpartition("/")[2] or "Gemma"
            return Gemma(settings.gemma_url, label, settings.gemma_model, secret_of(settings.gemma_api_key)), None
        server = GemmaServer(
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
                token=secret_of(settings.hugging_face_token),
                extra_args=settings.gemma_args,
                on_gke=settings.on_gcp,
                compute_class=Manifest.read(profile.compute_class or "") if settings.gpu_fallback else None,
                monitoring=Manifest.read("gemma-monitoring.yaml") if settings.on_gcp else None,
                depends_on=[network],
            ),
            inside,
        )
        label = settings.gemma_model.rpartition("/")[2] or profile.label
        watch = pulumi.Output.concat("kubectl --namespace ", namespace, " get pods --selector app=gemma --watch")
        pods = Pods(namespace, f"app={GEMMA_APP}", names.chat_pods_role)
        seeing = sees_images(settings.gemma_model or profile.model)
        return Gemma(server.url, label, SERVED_NAME, sees_images=seeing, pods=pods), watch


def apis_of(settings: Settings) -> tuple[str, ...]:
    """Return the APIs that a deployment on Google Cloud uses."""
    return (
        *APIS,
        *(BUILD_APIS if settings.image_source in {"cloud-build", "docker"} else ()),
        *(NAME_APIS if settings.way_in == "https" and not settings.domain else ()),
        *((IAP_API,) if settings.sign_in == "iap" else ()),
    )
