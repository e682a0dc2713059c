"""GPU profiles: GPUs, model, vLLM's limits, and what the stack requests of a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass

GEMMA_3 = "google/gemma-3-12b-it"
# Google's own 4-bit checkpoint: 12B parameters fit one 24 GB GPU; Apache-2.0, so it needs no token.
GEMMA_4_QAT = "google/gemma-4-12B-it-qat-w4a16-ct"
REVISIONS = {
    GEMMA_3: "96b6f1eccf38110c56df3a15bffe176da04bfd80",
    GEMMA_4_QAT: "1d2c2d7f2466070e69d6fb3fd5ce9a7d75f2f6ee",
}
"""The commit of each profile's weights: what a new commit of that repository contains is not loaded by itself."""


@dataclass(frozen=True, kw_only=True)
class GpuProfile:
    """One way to serve Gemma. CPU in cores, sizes in GiB; limits equal requests, as GKE Autopilot requires.

    The amounts come from Google's samples (kubernetes-engine-samples, ``ai-ml/llm-serving-gemma``) and from the
    codelab; those of ``l4x1``, ``rtx6000``, ``a100`` and ``h100`` follow from the machine size and are untested. Those
    of ``h100x16`` are in LeaderWorkerSet's example for vLLM (kubernetes-sigs/lws, ``docs/examples/vllm``).
    How many conversations fit beside the weights: docs/operate.md, Gemma's memory.
    """

    label: str = "Gemma3 12b it"
    """The model's name on the page."""
    model: str = GEMMA_3
    """The weights on Hugging Face; empty: none of Gemma's needs these GPUs, and the owner names others."""
    accelerator: str
    """GKE's name of the GPU."""
    gpus: int = 1
    """In each machine."""
    machines: int = 1
    """Of one server: tensor parallel in a machine, pipeline parallel over them, which sends little between them."""
    loading_minutes: int = 30
    """Within which the weights are downloaded and loaded."""
    max_model_len: int = 32_768
    max_num_seqs: int
    gpu_memory_utilization: float = 0.90
    cpu: int
    memory: int
    ephemeral_storage: int = 60
    shared_memory: int = 4
    compute_class: str
    """File in ``manifests/`` with the ways to get this GPU: on demand, flex-start, spot."""
    on_demand: bool = True
    """Whether Google sells a machine with this GPU on demand; without, only `compute_class` gets one."""

    @property
    def all_gpus(self) -> int:
        """Those of one server."""
        return self.gpus * self.machines


PROFILES = {
    "l4x1": GpuProfile(
        label="Gemma4 12b it",
        model=GEMMA_4_QAT,
        accelerator="nvidia-l4",
        max_num_seqs=16,
        cpu=6,
        memory=24,
        ephemeral_storage=40,
        shared_memory=2,
        compute_class="compute-class-l4x1.yaml",
    ),
    "l4x2": GpuProfile(
        accelerator="nvidia-l4",
        gpus=2,
        max_model_len=16_384,
        max_num_seqs=4,
        cpu=4,
        memory=32,
        ephemeral_storage=35,
        shared_memory=8,
        compute_class="compute-class-l4x2.yaml",
    ),
    "l4x4": GpuProfile(
        accelerator="nvidia-l4",
        gpus=4,
        max_num_seqs=4,
        gpu_memory_utilization=0.95,
        cpu=34,
        memory=135,
        ephemeral_storage=150,
        shared_memory=16,
        compute_class="compute-class-l4x4.yaml",
    ),
    "rtx6000": GpuProfile(
        accelerator="nvidia-rtx-pro-6000",
        max_num_seqs=32,
        cpu=12,
        memory=64,
        compute_class="compute-class-rtx6000.yaml",
    ),
    "a100": GpuProfile(
        accelerator="nvidia-tesla-a100", max_num_seqs=16, cpu=8, memory=64, compute_class="compute-class-a100.yaml"
    ),
    "h100": GpuProfile(
        accelerator="nvidia-h100-80gb",
        max_num_seqs=32,
        cpu=16,
        memory=128,
        compute_class="compute-class-h100.yaml",
        on_demand=False,
    ),
    # 1,266 GiB: for models that eight H100, of 633 GiB, do not hold. The guides of LeaderWorkerSet and vLLM have two
    # machines with eight GPUs too.
    "h100x16": GpuProfile(
        label="",
        model="",
        accelerator="nvidia-h100-80gb",
        gpus=8,
        machines=2,
        loading_minutes=180,
        max_num_seqs=32,
        cpu=125,
        memory=1124,
        ephemeral_storage=800,
        shared_memory=15,
        compute_class="compute-class-h100x16.yaml",
    ),
}


def supports_images(model: str) -> bool | None:
    """Whether these weights support images: all of Gemma 3 and 4 but the two smallest; `None`: unknown."""
    family = re.search(r"gemma-[34](?!n)", model)
    return not re.search(r"-(270m|1b)\b", model) if family else None


def is_gated(model: str) -> bool:
    """Whether these weights are gated: Hugging Face needs an account that accepted Google's terms."""
    return model.startswith("google/gemma-3")
