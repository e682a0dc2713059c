"""The arguments of ``vllm serve``, and its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gemma.profiles import REVISIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gemma.profiles import GpuProfile

SERVED_NAME: Final = "gemma"
PRIVACY: Final = {
    # A private chat reports nothing to vLLM's and Hugging Face's makers.
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def vllm_arguments(
    profile: GpuProfile,
    *,
    host: str,
    port: int,
    model: str = "",
    revision: str = "",
    shutdown_seconds: int,
    extra: Sequence[str] = (),
) -> list[str]:
    """Return the arguments of ``vllm serve``.

    Args:
        profile: GPUs and limits.
        host: to listen on.
        port: to listen on.
        model: weights on Hugging Face; empty: the profile's.
        revision: commit, tag or branch of the weights; empty: that of `REVISIONS`, else the newest.
        shutdown_seconds: for running answers to finish.
        extra: more flags; they override the profile's.
    """
    model = model or profile.model
    revision = revision or REVISIONS.get(model, "")
    return [
        model,
        # The tokenizer's revision follows it (vllm/config/model.py).
        *([f"--revision={revision}"] if revision else []),
        f"--served-model-name={SERVED_NAME}",
        f"--host={host}",
        f"--port={port}",
        f"--tensor-parallel-size={profile.gpus}",
        *(_over_machines(profile) if profile.machines > 1 else ()),
        f"--max-model-len={profile.max_model_len}",
        f"--max-num-seqs={profile.max_num_seqs}",
        f"--gpu-memory-utilization={profile.gpu_memory_utilization:.2f}",
        f"--limit-mm-per-prompt={_inputs(model)}",
        "--max-num-queued-reqs=64",
        f"--shutdown-timeout={shutdown_seconds}",
        *extra,
    ]


def _over_machines(profile: GpuProfile) -> tuple[str, ...]:
    """Return the arguments of each of several machines, except its own place."""
    seconds = profile.loading_minutes * 60
    return (
        f"--pipeline-parallel-size={profile.machines}",
        f"--nnodes={profile.machines}",
        # PyTorch's ten minutes are too few for a machine that is still looked for, and for weights on their way.
        f"--distributed-timeout-seconds={seconds}",
        f"--cpu-distributed-timeout-seconds={seconds}",
    )


def _inputs(model: str) -> str:
    """Return how many inputs of each kind a prompt may have, as JSON; vLLM reserves memory for each."""
    # Gemma 4 understands sound and video too, which the chat does not send.
    return '{"image":2,"audio":0,"video":0}' if "gemma-4" in model.lower() else '{"image":2}'
