"""Ask Compute Engine how likely the region has a machine for Gemma now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stacks.cost.model import machine_of
from stacks.preflight.checks import Check, Finding, Project

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stacks.preflight.google_api import Json

# "Low chance of success": 0.0 to 0.3, "high": 0.7 to 1.0.
# https://docs.cloud.google.com/compute/docs/instances/view-vm-availability (November 2026)
LOW, HIGH = 0.35, 0.65
# The only provisioning model that the documentation names. Spot machines are what on-demand ones leave over, so a low
# chance says something about these too.
_MODEL = "SPOT"


def _capacity(project: Project) -> Iterable[Finding]:
    settings = project.settings
    profile = settings.gpu_profile
    if profile is None:
        return
    machine, region = machine_of(profile), settings.region
    body = {
        "instanceProperties": {"scheduling": {"provisioningModel": _MODEL}},
        "instanceFlexibilityPolicy": {"instanceSelections": {"gemma": {"machineTypes": [machine]}}},
        "size": profile.machines,
        "distributionPolicy": {"targetShape": "ANY_SINGLE_ZONE"},
    }
    answer = project.api.read(f"{project.compute}/regions/{region}/advice/capacity", body)
    advice: Json = next(iter(answer.get("recommendations") or []), {})
    chance = (advice.get("scores") or {}).get("obtainability")
    if not isinstance(chance, int | float):
        yield "later", f"GPU capacity: Compute Engine has no advice on {machine} in {region}"
        return
    zones = sorted({shard["zone"].rpartition("/")[2] for shard in advice.get("shards") or [] if shard.get("zone")})
    needed = f"{profile.machines} machines {machine}" if profile.machines > 1 else f"a machine {machine}"
    where = f"{region} ({', '.join(zones)})" if zones else region
    if chance < LOW:
        more = "" if settings.uses_compute_class else " pulumi config set gpuFallback true looks for one in more ways."
        yield (
            "note",
            f"Gemma may wait for a GPU: the chance of {needed} in {where} is low now ({chance:g} of 1, "
            "Compute Engine's advice on Spot machines, which are what on-demand ones leave over). Gemini answers "
            f"meanwhile.{more} Before the first make up, another region: pulumi config set gcp:region REGION",
        )
    else:
        word = "high" if chance >= HIGH else "medium"
        yield "pass", f"GPU capacity: {word} for {machine} in {where} ({chance:g} of 1, on Spot)"


CHECK = Check("GPU capacity", _capacity, lambda settings: settings.gpu_profile is not None)
