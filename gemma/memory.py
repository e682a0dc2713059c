"""Whether a model and its conversations fit a GPU, as vLLM 0.33 works it out at its start."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gemma.profiles import GEMMA_3, GEMMA_4_QAT

if TYPE_CHECKING:
    from gemma.profiles import GpuProfile

GIB: Final = 2**30
BFLOAT16: Final = 2  # bytes

MEMORY: Final = {
    "nvidia-l4": 22.4,
    "nvidia-rtx-pro-6000": 94.9,
    "nvidia-tesla-a100": 39.4,
    "nvidia-h100-80gb": 79.1,
}
"""GPU -> GiB that CUDA reports, of the 24, 96, 40 and 80 GB of the data sheets."""

OVERHEAD: Final = 2.0
"""GiB that vLLM finds in use at its start besides weights: activations, CUDA graphs, NCCL. An assumption."""


@dataclass(frozen=True)
class Weights:
    """A model's memory.

    Attributes:
        gib: of the weights on all GPUs together.
        local: layers that attend to the last `window` tokens.
        local_values: keys and values that such a layer stores for a token: 2 x heads x their size.
        whole: layers that attend to all tokens.
        whole_values: the same, of these.
        window: in tokens.
    """

    gib: float
    local: int
    local_values: int
    whole: int
    whole_values: int
    window: int = 1024


WEIGHTS: Final = {
    # config.json of the model; weights in bfloat16: 12.2 billion parameters.
    GEMMA_3: Weights(gib=22.8, local=40, local_values=2 * 8 * 256, whole=8, whole_values=2 * 8 * 256),
    # config.json, as https://iamulya.one/posts/decoder-forward-pass-dimensions quotes it; 8.28 GiB as vLLM loads it.
    GEMMA_4_QAT: Weights(gib=8.28, local=40, local_values=2 * 8 * 256, whole=8, whole_values=2 * 1 * 512),
}


@dataclass(frozen=True)
class Fit:
    """What is left for conversations on each GPU of a profile, in GiB, and how many of full length fit at once."""

    weights: float
    left: float
    conversation: float

    @property
    def conversations(self) -> int:
        """How many conversations of full length fit at once; 0 or less: vLLM does not start."""
        return math.floor(self.left / self.conversation)


def fit(profile: GpuProfile, memory: float) -> Fit:
    """Work out a profile on GPUs with this memory.

    A layer with a window keeps the window and the tokens in flight: two batches, since the next one is scheduled while
    one runs (`SlidingWindowSpec.max_admission_blocks_per_request`, `VllmConfig.max_in_flight_tokens`). A batch is 8,192
    tokens on GPUs with 70 GiB or more, else 2,048 (`EngineArgs.get_batch_defaults`).

    Args:
        profile: whose model is one of `WEIGHTS`.
        memory: of each GPU, in GiB.
    """
    model, context = WEIGHTS[profile.model], profile.max_model_len
    batch = 8192 if memory >= 70 else 2048
    windowed = min(model.window - 1 + 2 * batch, context)
    values = model.local * model.local_values * windowed + model.whole * model.whole_values * context
    weights = model.gib / profile.gpus
    return Fit(
        weights=weights,
        left=memory * profile.gpu_memory_utilization - weights - OVERHEAD,
        conversation=values * BFLOAT16 / profile.gpus / GIB,
    )
