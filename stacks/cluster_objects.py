"""The objects in the cluster, the same on all platforms: namespace, network policies, Gemma, the chat, its ingress."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pulumi
import pulumi_kubernetes as kubernetes
import pulumi_random as random

from stacks.apis import NETWORK_SERVICES_API, STORAGE_API
from stacks.chat_env import Sources, environment, secret_environment
from stacks.components.chat import ChatApp, ChatAppArgs
from stacks.components.inference_gateway import PORT as GATEWAY_PORT
from stacks.components.inference_gateway import InferenceGateway, InferenceGatewayArgs
from stacks.components.leftovers import leftover_hook, with_hook
from stacks.components.manifests import Manifest
from stacks.components.model_group import GroupController
from stacks.components.model_pod import APP as GEMMA_APP
from stacks.components.model_server import GemmaServer, GemmaServerArgs, LoadBalanced
from stacks.components.model_weights import ModelWeights, ModelWeightsArgs
from stacks.components.network import PROXIES
from stacks.components.network_policies import GemmasLoadBalancer, NetworkIsolation, NetworkIsolationArgs
from stacks.components.workloads import labels
from stacks.ingress.https_gateway import LOAD_BALANCER_NETWORKS
from stacks.settings import secret_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pulumi_gcp as gcp

    from gemma.profiles import GpuProfile
    from stacks.components.image import ChatImage
    from stacks.ingress.ingress import GoogleProject
    from stacks.names import Names
    from stacks.platforms import Outputs, Platform
    from stacks.settings import Settings
    from stacks.validation.types import IngressKind

# The namespace rejects pods outside the `restricted` Pod Security Standard, with a warning and an audit log entry.
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


class ClusterObjects:
    """The objects in the cluster.

    Attributes:
        outputs: name -> value, for `pulumi stack output`; ``url`` first.
    """

    outputs: Outputs

    def __init__(
        self, settings: Settings, names: Names, parent: pulumi.Resource, platform: Platform, image: ChatImage
    ) -> None:
        self._settings, self._names, self._platform, self._image = settings, names, platform, image
        self._child = pulumi.ResourceOptions(parent=parent)
        # Objects of an interrupted run are adopted in the stack's own cluster; elsewhere they may be another program's.
        hook = with_hook(leftover_hook("cluster-leftovers"), "kubernetes:")
        self._in_cluster = pulumi.ResourceOptions(parent=parent, provider=platform.provider, transformations=[hook])
        self._namespace = kubernetes.core.v1.Namespace(
            "namespace",
            metadata={"name": names.namespace, "labels": labels("hybrid-chat") | RESTRICTED},
            # Its deletion waits for everything in it, such as GKE's records of load balancers.
            opts=self._in_cluster.merge(pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(delete="20m"))),
        ).metadata.name
        network = self._network()
        gemma, gemma_key = self._gemma(settings.gpu_profile, network) if settings.gpu_profile else (None, None)
        chat = self._chat(network, gemma, gemma_key)
        self.outputs = {
            **platform.ingress.attach(chat, self._in_cluster),
            "namespace": self._namespace,
            "image": image.ref,
            **self._commands(gemma),
        }

    def _chat(
        self, network: NetworkIsolation, gemma: GemmaServer | None, gemma_key: pulumi.Input[str] | None
    ) -> ChatApp:
        settings, names, platform = self._settings, self._names, self._platform
        sources = Sources(
            settings=settings,
            ingress=platform.ingress,
            namespace=self._namespace,
            gemma_url=gemma.url if gemma else None,
            gemma_key=gemma_key,
            gemma_workload=gemma.workload if gemma else None,
            database=platform.database,
            session_secret=platform.session_secret,
        )
        return ChatApp(
            "chat",
            ChatAppArgs(
                namespace=self._namespace,
                name=names.chat,
                service_name=names.chat_service,
                account=names.chat_account,
                secret_name=names.chat_secrets,
                gemma_role=names.chat_pods_role,
                image=self._image.ref,
                replicas=settings.replicas,
                variables=environment(sources),
                secrets=secret_environment(sources),
                volume=platform.volume,
                gemma=gemma.workload if gemma else None,
                scales_gemma=settings.gemma_idle_minutes > 0,
                monitoring=Manifest.read("chat-monitoring.yaml") if settings.on_gcp else None,
                # The whole image component, so that the nodes may pull the image.
                depends_on=[self._image, network, *platform.depends_on],
            ),
            self._in_cluster,
        )

    def _commands(self, gemma: GemmaServer | None) -> Outputs:
        kubectl = pulumi.Output.concat("kubectl --namespace ", self._namespace)
        watch = pulumi.Output.concat(kubectl, f" get pods --selector app={GEMMA_APP} --watch")
        status = pulumi.Output.concat(
            kubectl, f" exec deployment/{self._names.chat} -- python -m chatapp.server.status"
        )
        return {**({"watchGemma": watch} if gemma else {}), "status": status}

    def _network(self) -> NetworkIsolation:
        settings, platform = self._settings, self._platform
        balancer = None
        if platform.gemma_address:
            proxies = settings.proxy_range or PROXIES
            address = platform.gemma_address.address
            balancer = GemmasLoadBalancer(address, GATEWAY_PORT, proxies, LOAD_BALANCER_NETWORKS)
        browsers: dict[IngressKind, Sequence[str] | Literal["anywhere", "nowhere"]] = {
            "https": LOAD_BALANCER_NETWORKS,
            "public-http": "anywhere",
            "private": "nowhere",
        }
        return NetworkIsolation(
            "network",
            NetworkIsolationArgs(
                namespace=self._namespace,
                browsers=browsers[settings.ingress],
                on_gke=settings.on_gcp,
                own_gemma=settings.gpu_profile is not None,
                gemma_in_groups=settings.serves_on_several_machines,
                scales_gemma=settings.gemma_max_replicas > 1,
                gemmas_load_balancer=balancer,
                weights_in_bucket=settings.weights_bucket,
                gemma_url=settings.gemma_url,
                embeddings_url=settings.embeddings_url,
                otel_endpoint=settings.otel_endpoint,
                control_plane=platform.control_plane,
            ),
            self._in_cluster,
        )

    def _gemma(self, profile: GpuProfile, network: NetworkIsolation) -> tuple[GemmaServer, pulumi.Input[str] | None]:
        """Create Gemma, and return it and the key that its load balancer wants."""
        settings, names, platform = self._settings, self._names, self._platform
        weights = balanced = None
        # In another cluster it would be another program's: docs/deploy.md says how to install it there.
        in_groups = settings.serves_on_several_machines
        controller = [GroupController("groups", self._in_cluster)] if in_groups and settings.on_gcp else []
        if settings.weights_bucket and platform.google:
            weights = self._weights(platform.google, profile, depends_on=[network, self._image])
        if platform.gemma_address and platform.google:
            balanced = self._gateway(platform.google, platform.gemma_address, depends_on=[network])
        gemma = GemmaServer(
            "gemma",
            GemmaServerArgs(
                namespace=self._namespace,
                name=names.gemma_of(profile),
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
                depends_on=[network, *controller, *(weights.ready if weights else ())],
            ),
            self._in_cluster,
        )
        return gemma, balanced.api_key if balanced else None

    def _weights(
        self,
        google: GoogleProject,
        profile: GpuProfile,
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
                namespace=self._namespace,
                bucket=names.weights_bucket(settings.project),
                account=names.weights_account,
                secret_name=names.weights_secret,
                image=self._image.ref,
                model=model,
                revision=revision,
                # Hugging Face sends to one client about as fast as to the machine with the GPUs; and time for retries.
                minutes=profile.loading_minutes + 20,
                writer=google.workload_identity.principal_of(names.weights_account),
                reader=google.workload_identity.principal_of(names.gemma_account),
                token=secret_output(settings.hugging_face_token),
                labels=names.labels,
                google_depends_on=[google.services[STORAGE_API], *google.workload_identity.bindings],
                depends_on=depends_on,
                hooks=google.services.hooks,
            ),
            self._in_cluster,
        )

    def _gateway(
        self,
        google: GoogleProject,
        address: gcp.compute.Address,
        *,
        depends_on: Sequence[pulumi.Resource],
    ) -> LoadBalanced:
        settings, names = self._settings, self._names
        InferenceGateway(
            "gemma-gateway",
            InferenceGatewayArgs(
                namespace=self._namespace,
                name=names.gemma_gateway,
                address_name=address.name,
                picker=names.gemma_picker,
                picker_account=names.gemma_picker_account,
                picker_image=settings.gemma_picker_image,
                google_depends_on=[google.services[NETWORK_SERVICES_API]],
                depends_on=depends_on,
            ),
            self._in_cluster,
        )
        key = random.RandomPassword("gemma-key", length=48, special=False, opts=self._child)
        return LoadBalanced(pulumi.Output.concat("http://", address.address), key.result, names.gemma_key_secret)
