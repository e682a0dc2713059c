"""The whole deployment: reading it from top to bottom is reading what is deployed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from stacks.chat import ChatApp, ChatAppArgs, FirestoreHistory, Gemini, Gemma, Pods, VolumeHistory
from stacks.cluster import AutopilotCluster, AutopilotClusterArgs, cluster_provider
from stacks.database import ChatDatabase, ChatDatabaseArgs
from stacks.exposure import PublicEndpoint, PublicEndpointArgs
from stacks.gemma import APP as GEMMA_APP
from stacks.gemma import SERVED_NAME, GemmaServer, GemmaServerArgs
from stacks.identity import WorkloadIdentity, WorkloadIdentityArgs
from stacks.image import ChatImage, ChatImageArgs, RegistryArgs, gcloud_environment
from stacks.manifests import FOLDER, Manifest
from stacks.profiles import sees_images
from stacks.project import ProjectServices, ProjectServicesArgs
from stacks.workloads import labels

if TYPE_CHECKING:
    from pydantic import SecretStr

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
        if settings.on_gcp:
            self.outputs = self._on_google_cloud()
        else:
            self.outputs = self._on_kubernetes()
        self.register_outputs(self.outputs)

    def _on_google_cloud(self) -> dict[str, pulumi.Input[str]]:
        settings, names, project = self._settings, self._names, self._settings.project
        builds = settings.image_source in {"cloud-build", "docker"}
        services = ProjectServices(
            "services", ProjectServicesArgs(project, APIS + (BUILD_APIS if builds else ())), self._child
        )
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
        image = self._image(registry)
        inside = pulumi.ResourceOptions(parent=self, provider=cluster.provider)
        secret = random.RandomPassword("session-secret", length=48, special=False, opts=self._child)
        endpoint = self._workloads(
            inside,
            image=image,
            history=FirestoreHistory(project, database.name, settings.retention_days),
            gemini=Gemini(settings.gemini_model, project=project, location=settings.vertex_location),
            session_secret=secret.result,
            depends_on=[*identity.bindings, database],
        )
        console = "https://console.cloud.google.com"
        place = f"{settings.region}/{names.cluster}"
        return {
            **endpoint,
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
            self, kubeconfig=_secret(settings.kubeconfig), context=settings.kube_context or None, is_own=False
        )
        if not (settings.gpu_profile or settings.gemma_url or settings.gemini_api_key.get_secret_value()):
            pulumi.log.warn(
                "The chat will have no model: set gemmaUrl, gemma (if the cluster has GPUs) or geminiApiKey.", self
            )
        return self._workloads(
            pulumi.ResourceOptions(parent=self, provider=provider),
            image=self._image(None),
            history=VolumeHistory(settings.volume_size, settings.storage_class, self._names.chat_volume),
            gemini=Gemini(settings.gemini_model, api_key=_secret(settings.gemini_api_key)),
        )

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
        session_secret: pulumi.Input[str] | None = None,
        depends_on: list[pulumi.Resource] | None = None,
    ) -> dict[str, pulumi.Input[str]]:
        """Build what runs in the cluster, the same on both platforms."""
        settings, names = self._settings, self._names
        namespace = kubernetes.core.v1.Namespace(
            "namespace",
            metadata={
                "name": names.namespace,
                "labels": labels("hybrid-chat") | {"pod-security.kubernetes.io/enforce": "restricted"},
            },
            opts=inside,
        ).metadata.name
        gemma, watch = self._gemma(inside, namespace)
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
                session_secret=session_secret,
                theme=settings.theme,
                monitoring=Manifest.read("chat-monitoring.yaml") if settings.on_gcp else None,
                # The image as a whole: its nodes may pull it then.
                depends_on=[image, *(depends_on or ())],
            ),
            inside,
        )
        endpoint = PublicEndpoint(
            "endpoint",
            PublicEndpointArgs(
                kind="public-http" if settings.is_public else "private",
                namespace=namespace,
                service_name=names.chat_public_service,
                chat_service=chat.service.metadata.name,
            ),
            inside,
        )
        return {
            "url": endpoint.url,
            **({"openWith": endpoint.command} if endpoint.command else {}),
            "namespace": namespace,
            "image": image.ref,
            **({"watchGemma": watch} if watch else {}),
        }

    def _gemma(
        self, inside: pulumi.ResourceOptions, namespace: pulumi.Output[str]
    ) -> tuple[Gemma | None, pulumi.Output[str] | None]:
        """Return where Gemma answers, and the command that shows how its start goes."""
        settings, names = self._settings, self._names
        profile = settings.gpu_profile
        if profile is None:
            if not settings.gemma_url:
                return None, None
            label = settings.gemma_model.rpartition("/")[2] or "Gemma"
            return Gemma(settings.gemma_url, label, settings.gemma_model, _secret(settings.gemma_api_key)), None
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
                token=_secret(settings.hugging_face_token),
                extra_args=settings.gemma_args,
                on_gke=settings.on_gcp,
                compute_class=Manifest.read(profile.compute_class or "") if settings.gpu_fallback else None,
                monitoring=Manifest.read("gemma-monitoring.yaml") if settings.on_gcp else None,
            ),
            inside,
        )
        label = settings.gemma_model.rpartition("/")[2] or profile.label
        watch = pulumi.Output.concat("kubectl --namespace ", namespace, " get pods --selector app=gemma --watch")
        pods = Pods(namespace, f"app={GEMMA_APP}", names.chat_pods_role)
        seeing = sees_images(settings.gemma_model or profile.model)
        return Gemma(server.url, label, SERVED_NAME, sees_images=seeing, pods=pods), watch


def _secret(value: SecretStr) -> pulumi.Output[str] | None:
    text = value.get_secret_value()
    return pulumi.Output.secret(text) if text else None
