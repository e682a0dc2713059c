"""Which profile fits the GPU of this computer."""

from __future__ import annotations

import csv
import dataclasses
import math
import subprocess
from typing import Final

from gemma.memory import MEMORY, fit
from gemma.profiles import PROFILES, GpuProfile, is_gated

DRIVER: Final = 580
"""The first driver with CUDA 13, which the pinned vLLM needs:
https://docs.nvidia.com/cuda/cuda-toolkit-release-notes/#cuda-driver"""

CAPABILITY: Final = 8.0
"""Ampere: the first with bfloat16, and with the kernels of the 4-bit weights (``w4a16``, Marlin)."""

SPARE_GIB: Final = 0.5
"""Of the free memory: a desktop draws while vLLM runs."""

_QUERY: Final = ("index", "name", "memory.total", "memory.free", "driver_version", "compute_cap")
_CONTEXTS: Final = (32_768, 16_384, 8192)
_MIB_OF_GIB = 1024


class NoFit(Exception):
    """This computer cannot serve Gemma with vLLM; the message says why, and what to do instead."""


@dataclasses.dataclass(frozen=True, slots=True)
class Gpu:
    """An NVIDIA GPU.

    Attributes:
        index: as in CUDA_VISIBLE_DEVICES, with CUDA_DEVICE_ORDER=PCI_BUS_ID.
        name: of the product.
        total: GiB of memory.
        free: GiB that no other program uses.
        driver: its first number.
        capability: of CUDA, such as 8.9.
    """

    index: int
    name: str
    total: float
    free: float
    driver: int
    capability: float


def gpus() -> list[Gpu]:
    """Return the GPUs of this computer.

    Raises:
        NoFit: there is none, or its driver does not answer.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    except FileNotFoundError:
        raise NoFit("There is no NVIDIA GPU here, or no driver for it: nvidia-smi is not installed.") from None
    except subprocess.CalledProcessError as error:
        words = " ".join((error.stdout or error.stderr or "").split())[:200]
        raise NoFit(f"The NVIDIA driver does not answer ({words or 'nvidia-smi fails'}).") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise NoFit(f"The NVIDIA driver does not answer ({type(error).__name__}).") from None
    found = [gpu for row in csv.reader(output.splitlines(), skipinitialspace=True) if (gpu := _gpu(row))]
    if not found:
        raise NoFit("There is no NVIDIA GPU here whose memory nvidia-smi tells.")
    return found


def _gpu(row: list[str]) -> Gpu | None:
    try:
        index, name, total, free, driver, capability = row
        return Gpu(
            index=int(index),
            name=name,
            total=float(total) / _MIB_OF_GIB,
            free=float(free) / _MIB_OF_GIB,
            driver=int(driver.partition(".")[0]),
            capability=float(capability),
        )
    except ValueError:  # "[N/A]": memory that is shared with the processor, or a part of a GPU
        return None


def chosen(found: list[Gpu], *, has_token: bool) -> tuple[Gpu, GpuProfile]:
    """Return the GPU with the most free memory, and the profile for it.

    Args:
        found: all GPUs.
        has_token: whether weights can be loaded that need an account of Hugging Face.

    Raises:
        NoFit: with the reason.
    """
    gpu = max(found, key=lambda one: one.free)
    if gpu.driver < DRIVER:
        raise NoFit(
            f"The NVIDIA driver {gpu.driver} is too old: vLLM needs {DRIVER} or newer. Update it and try again."
        )
    if gpu.capability < CAPABILITY:
        raise NoFit(f"The {gpu.name} is too old for vLLM's 4-bit weights: they need CUDA capability {CAPABILITY}.")
    return gpu, _profile(gpu, has_token=has_token)


def _profile(gpu: Gpu, *, has_token: bool) -> GpuProfile:
    """Return the profile of the largest GPU that is no larger, with a shorter context where that is needed to fit."""
    single = [profile for profile in PROFILES.values() if profile.gpus == 1]
    open_to_all = [profile for profile in single if has_token or not is_gated(profile.model)]
    smaller = [profile for profile in open_to_all if MEMORY[profile.accelerator] <= gpu.total]
    smallest = min(open_to_all, key=lambda profile: MEMORY[profile.accelerator])
    profile = max(smaller, key=lambda one: MEMORY[one.accelerator], default=smallest)
    # vLLM takes its share of all memory, and does not start where other programs have taken too much of it.
    share = min(profile.gpu_memory_utilization, math.floor((gpu.free - SPARE_GIB) / gpu.total * 100) / 100)
    for candidate in dict.fromkeys((profile, smallest)):
        for context in _CONTEXTS:
            if context > candidate.max_model_len:
                continue
            fitted = dataclasses.replace(candidate, max_model_len=context, gpu_memory_utilization=max(share, 0.0))
            if fit(fitted, gpu.total).conversations >= 1:
                return fitted
    needed = math.ceil(_least_memory(smallest))
    raise NoFit(f"The {gpu.name} has {gpu.free:.1f} GiB of free memory, and Gemma needs a GPU with about {needed} GiB.")


def _least_memory(profile: GpuProfile) -> float:
    smallest = dataclasses.replace(profile, max_model_len=_CONTEXTS[-1])
    return next(gib / 4 for gib in range(4, 1000) if fit(smallest, gib / 4).conversations >= 1)
