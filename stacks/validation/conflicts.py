"""Conflicts between settings of platform, image and Gemma: settings that exclude each other, or need another one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from gemma.profiles import is_gated
from stacks.validation.embeddings import embeddings_conflicts
from stacks.validation.residency import residency_conflicts
from stacks.validation.sign_in import ingress_conflicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.settings import Settings

    Conflict = tuple[tuple[str, ...], str]
    """(the keys that the conflict is between, message)"""

# Field names of `Settings`.
GCP_ONLY = (
    "domain",
    "cloud_armor",
    "database_location",
    "retention_days",
    "point_in_time_recovery",
    "backup_days",
    "build_region",
    "vertex_location",
    "residency",
    "network",
    "subnetwork",
    "private_nodes",
    "alert_email",
    "monthly_budget",
    "release_channel",
    "gpu_fallback",
    "gemma_max_replicas",
    "gemma_routing",
    "proxy_range",
    "weights_bucket",
)
KUBERNETES_ONLY = ("gemini_api_key", "image_registry", "volume_size", "storage_class")
# Flags of vLLM that the stack itself sets.
RESERVED_VLLM_FLAGS = (
    "--host",
    "--port",
    "--model",
    "--served-model-name",
    "--tensor-parallel-size",
    "--pipeline-parallel-size",
    "--nnodes",
    "--node-rank",
    "--master-addr",
    "--headless",
    "--api-key",
    "--revision",
)


def conflicts(settings: Settings) -> Iterator[Conflict]:
    """Yield every conflict between settings, and every setting that is missing."""
    yield from _platform(settings)
    yield from ingress_conflicts(settings)
    yield from residency_conflicts(settings)
    yield from _gemma(settings)
    yield from _several_machines(settings)
    yield from _weights(settings)
    yield from _sleep(settings)
    yield from _scaling(settings)
    yield from _routing(settings)
    yield from _hugging_face(settings)
    yield from embeddings_conflicts(settings)


def _platform(settings: Settings) -> Iterator[Conflict]:
    for name in KUBERNETES_ONLY if settings.on_gcp else GCP_ONLY:
        field = type(settings).model_fields[name]
        if getattr(settings, name) != field.default:
            needed = "kubernetes" if settings.on_gcp else "gcp"
            yield (
                (str(field.alias), "platform"),
                f"{field.alias} has no effect on platform {settings.platform}: it is for {needed}; remove it",
            )
    if settings.on_gcp and not settings.project:
        yield ("gcp:project",), "gcp:project is not set. Run: pulumi config set gcp:project YOUR_PROJECT_ID"
    if settings.subnetwork and not settings.network:
        yield (
            ("subnetwork", "network"),
            "subnetwork has no effect without network: the stack's own network has its own subnetwork; set network too",
        )
    if not settings.on_gcp and settings.image == "cloud-build":
        yield ("image", "platform"), "image is 'cloud-build', which needs platform gcp; allowed: docker, or an image"
    if not settings.on_gcp and settings.replicas > 1:
        yield (
            ("chatReplicas", "platform"),
            f"chatReplicas is {settings.chat_replicas}: on platform kubernetes the history is a SQLite file on a "
            "volume, which only one replica can use; allowed: 1",
        )
    if settings.on_gcp and settings.build_region and settings.image_source != "cloud-build":
        yield ("buildRegion", "image"), "buildRegion has no effect unless Cloud Build builds the image: image is set"
    if settings.image_registry and settings.image_source != "docker":
        yield ("imageRegistry", "image"), "imageRegistry has no effect unless image is docker"


def _gemma(settings: Settings) -> Iterator[Conflict]:
    profile = settings.gpu_profile
    if settings.gemma_url and profile:
        yield (
            ("gemma", "gemmaUrl"),
            f"gemma is '{settings.gemma}' and gemmaUrl is set: one of them runs Gemma on GPUs of this stack, the other "
            "uses another server; remove one",
        )
    if not profile and not settings.gemma_url and settings.gemma_model:
        yield ("gemma", "gemmaModel", "gemmaUrl"), "gemmaModel has no effect without Gemma: set gemma or gemmaUrl"
    if not profile and settings.gemma_revision:
        yield ("gemma", "gemmaRevision"), "gemmaRevision has no effect without GPUs of this stack: gemma is none"
    if not profile and settings.gemma_args:
        yield ("gemma", "gemmaArgs"), "gemmaArgs has no effect while gemma is none"
    for argument in settings.gemma_args:
        if not argument.startswith("--") or argument.partition("=")[0] in RESERVED_VLLM_FLAGS:
            yield (
                ("gemmaArgs",),
                f"gemmaArgs has {argument!r}: allowed are flags of vLLM, except those that the stack sets "
                f"({', '.join(RESERVED_VLLM_FLAGS)})",
            )
    if settings.gemma_api_key.get_secret_value() and not settings.gemma_url:
        yield ("gemmaApiKey", "gemmaUrl"), "gemmaApiKey has no effect without gemmaUrl, the server that needs the key"
    if settings.gpu_fallback and not profile:
        yield (
            ("gpuFallback", "gemma"),
            f"gpuFallback has no effect without GPUs of this stack: gemma is {settings.gemma}",
        )


def _several_machines(settings: Settings) -> Iterator[Conflict]:
    profile = settings.gpu_profile
    if profile is None or not settings.serves_on_several_machines:
        return
    if not settings.gemma_model:
        yield (
            ("gemma", "gemmaModel"),
            f"gemma is {settings.gemma}, {profile.machines} machines with {profile.gpus} GPUs each for a model that no "
            "single one holds, and gemmaModel is not set: no Gemma needs them; set gemmaModel to the weights, or gemma "
            "to a smaller profile",
        )
    if settings.balances_gemma:
        yield (
            ("gemma", "gemmaRouting"),
            f"gemmaRouting is inference-gateway, which asks each pod of Gemma, and of the {profile.machines} pods of a "
            f"server of {settings.gemma} only one answers: remove gemmaRouting",
        )


def _weights(settings: Settings) -> Iterator[Conflict]:
    if not settings.weights_bucket or not settings.on_gcp:
        return
    if not settings.gpu_profile:
        yield (
            ("weightsBucket", "gemma"),
            f"weightsBucket has no effect without GPUs of this stack: gemma is {settings.gemma}",
        )
        return
    model, revision = settings.weights
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        yield (
            ("weightsBucket", "gemmaModel", "gemmaRevision"),
            f"weightsBucket copies one commit of {model}, and gemmaRevision is {revision or 'not set'}: set it to a "
            f"commit (40 hexadecimal digits) of huggingface.co/{model}/commits/main",
        )


def _sleep(settings: Settings) -> Iterator[Conflict]:
    if 0 < settings.gemma_idle_minutes < 5:
        yield (
            ("gemmaIdleMinutes",),
            f"gemmaIdleMinutes is {settings.gemma_idle_minutes}: allowed are 0 (never), and 5 to 10,000",
        )
    if settings.gemma_idle_minutes and not settings.gpu_profile:
        yield (
            ("gemmaIdleMinutes", "gemma"),
            f"gemmaIdleMinutes has no effect without GPUs of this stack: gemma is {settings.gemma}",
        )
    if settings.gemma_office_hours and not settings.gemma_idle_minutes:
        yield (
            ("gemmaOfficeHours", "gemmaIdleMinutes"),
            "gemmaOfficeHours has no effect while gemmaIdleMinutes is 0: Gemma never sleeps; set it to 30, or remove "
            "gemmaOfficeHours",
        )


def _scaling(settings: Settings) -> Iterator[Conflict]:
    if settings.gemma_max_replicas == 1 or not settings.on_gcp:
        return
    if not settings.gpu_profile:
        yield (
            ("gemmaMaxReplicas", "gemma"),
            f"gemmaMaxReplicas has no effect without GPUs of this stack: gemma is {settings.gemma}",
        )
    elif settings.release_channel != "RAPID":
        yield (
            ("gemmaMaxReplicas", "releaseChannel"),
            f"gemmaMaxReplicas is {settings.gemma_max_replicas}: GKE reads the length of Gemma's queue only in "
            "clusters of the channel RAPID (a preview): pulumi config set releaseChannel RAPID, or remove "
            "gemmaMaxReplicas",
        )


def _routing(settings: Settings) -> Iterator[Conflict]:
    if not settings.on_gcp:
        return
    if settings.balances_gemma and settings.gemma_max_replicas == 1:
        yield (
            ("gemmaRouting", "gemmaMaxReplicas"),
            "gemmaRouting is inference-gateway, which chooses between several servers of Gemma, and gemmaMaxReplicas "
            "is 1: set it to 2 or more, or remove gemmaRouting",
        )
    picker = type(settings).model_fields["gemma_picker_image"].default
    if not settings.balances_gemma and settings.gemma_picker_image != picker:
        yield (
            ("gemmaPickerImage", "gemmaRouting"),
            "gemmaPickerImage has no effect while gemmaRouting is service: no picker runs",
        )
    if settings.proxy_range and not (settings.balances_gemma and settings.network):
        yield (
            ("proxyRange", "gemmaRouting", "network"),
            "proxyRange has no effect: it is for gemmaRouting inference-gateway in a network of your own (network); "
            "remove it",
        )
    if settings.balances_gemma and settings.network and not settings.proxy_range:
        yield (
            ("gemmaRouting", "network", "proxyRange"),
            f"gemmaRouting is inference-gateway, which needs a proxy-only subnetwork in {settings.network}: set "
            "proxyRange to its range (gcloud compute networks subnets list --filter=purpose=REGIONAL_MANAGED_PROXY), "
            "or remove network, and the stack makes both",
        )


def _hugging_face(settings: Settings) -> Iterator[Conflict]:
    profile, token = settings.gpu_profile, settings.hugging_face_token.get_secret_value()
    model = settings.gemma_model or (profile.model if profile else "")
    if profile and is_gated(model) and not token:
        yield (
            ("gemma", "gemmaModel", "huggingFaceToken"),
            f"huggingFaceToken is not set, and the weights {model} are gated: accept the terms at "
            f"huggingface.co/{model}, create a token that may read them, and run: "
            "pulumi config set --secret huggingFaceToken",
        )
    if token and not re.fullmatch(r"hf_\w{8,}", token):
        yield ("huggingFaceToken",), "huggingFaceToken is not a token of Hugging Face, which begins with hf_"
