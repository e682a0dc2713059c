"""Check the Google Cloud project itself: billing, quotas, network and organization policies.

Everything is read with gcloud, which works before any API is enabled in the project. What cannot be read, because an
API is not enabled yet, a right is missing or Google does not answer, is reported as such and stops nothing.
"""

import json
from collections.abc import Iterator
from typing import Any

from stacks.preflight.programs import is_installed, output_of
from stacks.preflight.report import Report
from stacks.settings import Settings

QUOTAS = "https://console.cloud.google.com/iam-admin/quotas"
# GKE's name of a GPU -> the metric of its quota in a region. For others, only the quota of all regions is checked.
GPU_METRICS = {
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-h100-80gb": "NVIDIA_H100_GPUS",
}
# Organization policy -> what it stops here.
POLICIES = {
    "iam.allowedPolicyMemberDomains": "people of other domains cannot be admitted by Identity-Aware Proxy",
    "compute.trustedImageProjects": "nodes may not boot GKE's images (project gke-node-images must be allowed)",
    "gcp.resourceLocations": "the region and the database's location must be among the allowed ones",
}


def check_project(report: Report, settings: Settings) -> None:
    """Check what only the project decides; nothing where there is no project or no gcloud."""
    if not settings.project or not is_installed("gcloud"):
        return
    _check_billing(report, settings)
    has_compute = "compute.googleapis.com" in (
        _gcloud(settings, "services", "list", "--enabled", "--format=value(config.name)") or ""
    )
    if has_compute:
        _check_network(report, settings)
        _check_gpus(report, settings)
    else:
        report.later("GPU quotas and the network: make up enables the API of Compute Engine, which tells them")
    _check_policies(report, settings)


def _gcloud(settings: Settings, *arguments: str) -> str | None:
    return output_of("gcloud", *arguments, f"--project={settings.project}")


def _json(text: str | None) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads(text or "null")
    except ValueError:
        return None


def _check_billing(report: Report, settings: Settings) -> None:
    enabled = output_of("gcloud", "billing", "projects", "describe", settings.project, "--format=value(billingEnabled)")
    if enabled == "False":
        report.missing(
            f"The project {settings.project} has no active billing account, without which Google enables none of the "
            f"APIs: link one at https://console.cloud.google.com/billing/linkedaccount?project={settings.project}"
        )
    elif enabled == "True":
        report.ok("billing")
    else:
        report.later("billing: it cannot be read with this account")


def _check_network(report: Report, settings: Settings) -> None:
    if not settings.network:
        return
    mode = _gcloud(
        settings, "compute", "networks", "describe", settings.network, "--format=value(autoCreateSubnetworks)"
    )
    if mode is None:
        report.missing(
            f"network is {settings.network}, which cannot be read in the project {settings.project}: gcloud compute "
            "networks list shows yours; without the setting the stack creates its own"
        )
    elif mode == "False" and not settings.subnetwork:
        report.missing(
            f"network is {settings.network}, a custom-mode network, which needs a subnetwork in {settings.region} too: "
            "pulumi config set subnetwork NAME (gcloud compute networks subnets list shows them)"
        )
    else:
        report.ok(f"network {settings.network}")


def _check_gpus(report: Report, settings: Settings) -> None:
    profile = settings.gpu_profile
    if profile is None:
        return
    everywhere = _json(_gcloud(settings, "compute", "project-info", "describe", "--format=json(quotas)"))
    region = _json(_gcloud(settings, "compute", "regions", "describe", settings.region, "--format=json(quotas)"))
    limits = [("GPUS_ALL_REGIONS", "in all regions", _limit(everywhere, "GPUS_ALL_REGIONS"))]
    if metric := GPU_METRICS.get(profile.accelerator):
        limits.append((metric, f"in {settings.region}", _limit(region, metric)))
    short = [
        f"{metric} is {limit:g} {where}"
        for metric, where, limit in limits
        if limit is not None and limit < profile.gpus
    ]
    if short:
        report.note(
            f"Gemma will wait for a GPU: {' and '.join(short)}, and {profile.gpus} needed. Ask for more at {QUOTAS}; "
            "Gemini answers meanwhile. Without Gemma: pulumi config set gemma none"
        )
    elif all(limit is not None for _, _, limit in limits):
        report.ok("GPU quotas")
    else:
        report.later("GPU quotas: they cannot be read with this account")


def _limit(answer: Any, metric: str) -> float | None:  # noqa: ANN401 - JSON
    """Return a quota's limit; `None`: the answer does not have it."""
    quotas = answer.get("quotas") if isinstance(answer, dict) else None
    return next((each["limit"] for each in quotas or [] if each.get("metric") == metric), None)


def _check_policies(report: Report, settings: Settings) -> None:
    if not settings.private_nodes and _is_denied(settings, "compute.vmExternalIpAccess"):
        report.missing(
            "Your organization allows no external addresses (policy compute.vmExternalIpAccess), which the cluster's "
            "nodes would have: pulumi config set privateNodes true"
        )
    for policy, consequence in POLICIES.items():
        if any(True for _ in _rules(settings, policy)):
            report.note(f"Your organization sets the policy {policy}: {consequence}.")


def _is_denied(settings: Settings, policy: str) -> bool:
    return any(rule.get("denyAll") for rule in _rules(settings, policy))


def _rules(settings: Settings, policy: str) -> Iterator[dict[str, Any]]:
    """Yield the rules of the policy that applies to the project, those that restrict something."""
    answer = _json(_gcloud(settings, "org-policies", "describe", policy, "--effective", "--format=json"))
    for rule in ((answer or {}).get("spec") or {}).get("rules") or []:
        if not rule.get("allowAll"):
            yield rule
