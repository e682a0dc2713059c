"""Checks of what the cluster needs of the project: network, GPUs, and a version of GKE."""

import re
from collections.abc import Iterable
from typing import Any

from stacks.preflight import google_capacity
from stacks.preflight.checks import Check, Finding, Project
from stacks.preflight.google_api import AbsentError

QUOTAS = "https://console.cloud.google.com/iam-admin/quotas"
# GKE's name of a GPU -> the metric of its quota in a region. For others, only the quota of all regions is checked.
GPU_METRICS = {
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-h100-80gb": "NVIDIA_H100_GPUS",
}
# ComputeClasses on Autopilot: https://cloud.google.com/kubernetes-engine/docs/concepts/about-custom-compute-classes
OLDEST_GKE = (1, 30, 3)
# An autoscaler on metrics of pods:
# https://docs.cloud.google.com/kubernetes-engine/docs/how-to/expose-custom-metrics-autoscaling#requirements
OLDEST_SCALING = (1, 35, 1)
"""The Inference Gateway needs 1.34.0-gke.1626000, from which on GKE has the kind InferencePool, and more servers."""


def _network(project: Project) -> Iterable[Finding]:
    settings = project.settings
    try:
        network = project.api.read(f"{project.compute}/global/networks/{settings.network}")
    except AbsentError:
        yield (
            "fail",
            f"network is {settings.network}, which the project {settings.project} does not have: gcloud compute "
            "networks list shows yours; without the setting the stack creates its own",
        )
        return
    if settings.subnetwork:
        try:
            project.api.read(f"{project.compute}/regions/{settings.region}/subnetworks/{settings.subnetwork}")
        except AbsentError:
            yield (
                "fail",
                f"subnetwork is {settings.subnetwork}, which {settings.region} does not have: gcloud compute networks "
                f"subnets list --regions={settings.region} shows those that it has",
            )
            return
    elif not network.get("autoCreateSubnetworks"):
        yield (
            "fail",
            f"network is {settings.network}, a custom-mode network, which needs a subnetwork in {settings.region} too: "
            "pulumi config set subnetwork NAME (gcloud compute networks subnets list shows them)",
        )
        return
    yield "pass", f"network {settings.network}"


def _proxies(project: Project) -> Iterable[Finding]:
    """Compare the proxy-only subnetwork of an existing network with the setting.

    https://docs.cloud.google.com/load-balancing/docs/proxy-only-subnets: a network has one that is active in a region.
    """
    settings = project.settings
    where = f"{project.compute}/regions/{settings.region}/subnetworks"
    listed = project.api.read(f"{where}?filter=purpose%3DREGIONAL_MANAGED_PROXY").get("items") or []
    ranges = [
        str(each.get("ipCidrRange"))
        for each in listed
        if each.get("purpose") == "REGIONAL_MANAGED_PROXY"
        and each.get("role") == "ACTIVE"
        and str(each.get("network")).rpartition("/")[2] == settings.network
    ]
    if not ranges:
        yield (
            "fail",
            f"gemmaRouting is inference-gateway, and {settings.network} has no proxy-only subnetwork in "
            f"{settings.region}: gcloud compute networks subnets create proxies --purpose=REGIONAL_MANAGED_PROXY "
            f"--role=ACTIVE --network={settings.network} --region={settings.region} --range={settings.proxy_range}",
        )
    elif settings.proxy_range not in ranges:
        yield (
            "fail",
            f"proxyRange is {settings.proxy_range}, and the proxy-only subnetwork of {settings.network} in "
            f"{settings.region} has {ranges[0]}: pulumi config set proxyRange {ranges[0]}",
        )
    else:
        yield "pass", f"proxy-only subnetwork {settings.proxy_range}"


def _gpus(project: Project) -> Iterable[Finding]:
    settings = project.settings
    profile = settings.gpu_profile
    if profile is None:
        return
    needed = profile.all_gpus * settings.gemma_max_replicas
    limits = [("GPUS_ALL_REGIONS", "in all regions", _limit(project.api.read(project.compute), "GPUS_ALL_REGIONS"))]
    metric = GPU_METRICS.get(profile.accelerator, "")
    if metric:
        here = project.api.read(f"{project.compute}/regions/{settings.region}")
        limits.append((metric, f"in {settings.region}", _limit(here, metric)))
    short = [f"{name} is {limit:g} {where}" for name, where, limit in limits if limit is not None and limit < needed]
    if short:
        elsewhere = _elsewhere(project, metric, needed) if short[-1].startswith(metric or "-") else ""
        yield (
            "note",
            f"Gemma will wait for a GPU: {' and '.join(short)}, and {needed} needed{elsewhere}. Ask for more at "
            f"{QUOTAS}; Gemini answers meanwhile. Without Gemma: pulumi config set gemma none",
        )
    elif all(limit is not None for _, _, limit in limits):
        yield "pass", "GPU quotas"
    else:
        yield "later", "GPU quotas: Google's answer does not have them"


def _elsewhere(project: Project, metric: str, gpus: int) -> str:
    regions = project.api.read(f"{project.compute}/regions").get("items") or []
    names = sorted(region["name"] for region in regions if (_limit(region, metric) or 0) >= gpus)
    return f" (there is some in {', '.join(names[:5])})" if names else ""


def _limit(answer: Any, metric: str) -> float | None:  # noqa: ANN401 - JSON
    """Return a quota's limit; `None`: the answer does not have it."""
    quotas = answer.get("quotas") if isinstance(answer, dict) else None
    return next((each["limit"] for each in quotas or [] if each.get("metric") == metric), None)


def _versions(project: Project) -> Iterable[Finding]:
    settings = project.settings
    base = f"https://container.googleapis.com/v1/projects/{settings.project}/locations/{settings.region}"
    channels = project.api.read(f"{base}/serverConfig").get("channels") or []
    version = next((each["defaultVersion"] for each in channels if each.get("channel") == settings.release_channel), "")
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if not numbers:
        yield (
            "fail",
            f"GKE has no release channel {settings.release_channel} in {settings.region}: pulumi config set "
            "releaseChannel REGULAR, or another gcp:region",
        )
    elif numbers < OLDEST_GKE and settings.uses_compute_class:
        yield (
            "note",
            f"GKE {version} of the channel {settings.release_channel} is too old to look for a GPU in several ways "
            f"({'.'.join(map(str, OLDEST_GKE))} or newer): pulumi config set releaseChannel RAPID",
        )
    elif numbers < OLDEST_SCALING and settings.gemma_max_replicas > 1:
        yield (
            "fail",
            f"GKE {version} of the channel {settings.release_channel} cannot scale on Gemma's queue "
            f"({'.'.join(map(str, OLDEST_SCALING))} or newer): pulumi config rm gemmaMaxReplicas",
        )
    else:
        yield "pass", f"GKE {version}"


CLUSTER_CHECKS = (
    Check("network", _network, lambda settings: bool(settings.network)),
    Check("proxy-only subnetwork", _proxies, lambda settings: bool(settings.balances_gemma and settings.network)),
    Check("GPU quotas", _gpus, lambda settings: settings.gpu_profile is not None),
    google_capacity.CHECK,
    Check("GKE's version", _versions),
)
