"""The arguments of `vllm serve` for each GPU profile, and whether model and conversations fit its GPUs.

vLLM's own parser cannot run here (it needs torch), so its options are kept as data, of exactly the version that the
stack deploys.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pytest
import yaml

from stacks.components.gpu_profiles import GEMMA_3, GEMMA_4_QAT, PROFILES
from stacks.components.model_server import GemmaServerArgs, vllm_arguments
from stacks.settings import Settings
from stacks.validation.conflicts import RESERVED_VLLM_FLAGS
from tests.stacks.recording import ROOT
from tests.stacks.vllm_options import options_of

if TYPE_CHECKING:
    from stacks.components.gpu_profiles import GpuProfile

DATA = yaml.safe_load((ROOT / "tests/stacks/data/vllm_options.yaml").read_text(encoding="utf-8"))
GIB = 2**30
BFLOAT16 = 2  # bytes

# Option -> what vLLM 0.33 accepts: vllm/config/{model,scheduler,parallel,cache,multimodal}.py and arg_utils.py.
WHOLE = r"[1-9]\d*"
VALUES = {
    "--revision": r"[0-9a-f]{40}",
    "--served-model-name": r"\w+",
    "--host": r"0\.0\.0\.0",
    "--port": WHOLE,
    "--tensor-parallel-size": WHOLE,
    "--max-model-len": WHOLE,
    "--max-num-seqs": WHOLE,
    "--gpu-memory-utilization": r"0\.\d+|1\.0+",
    "--limit-mm-per-prompt": r"\{.*\}",
    "--max-num-queued-reqs": r"\d+",
    "--shutdown-timeout": r"\d+",
}


def arguments(profile: GpuProfile) -> dict[str, str]:
    args = GemmaServerArgs(
        namespace="n", name="n", service_name="n", account="n", secret_name="n", profile=profile, image="i:1"
    )
    model, *options = vllm_arguments(args)
    assert model == profile.model
    return dict(option.split("=", 1) for option in options)


def test_the_options_are_those_of_the_version_that_the_stack_deploys() -> None:
    image = Settings.model_fields["gemma_image"].default
    assert image.rpartition(":")[2] == f"v{DATA['version']}", "write tests/stacks/data/vllm_options.yaml again"
    assert len(DATA["options"]) > 250


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_vllm_has_each_option_of_a_profile_and_accepts_its_value(profile: GpuProfile) -> None:
    given = arguments(profile)
    assert given.keys() <= set(DATA["options"])
    assert {option: value for option, value in given.items() if not re.fullmatch(VALUES[option], value)} == {}
    limits = json.loads(given["--limit-mm-per-prompt"])
    assert all(isinstance(limit, int) and limit >= 0 for limit in limits.values())
    assert limits.keys() <= {"image", "audio", "video"}
    # Requests that run count too (vllm/config/scheduler.py).
    assert int(given["--max-num-queued-reqs"]) > profile.max_num_seqs


def test_the_flags_that_a_person_may_not_set_exist() -> None:
    # The model is the first argument of `vllm serve`; --model is its name in older versions.
    assert set(RESERVED_VLLM_FLAGS) - {"--model"} <= set(DATA["options"])


def test_options_are_read_from_both_files() -> None:
    server = (
        "class FrontendArgs:\n    host: str | None = None\n    ssl_keyfile: str = ''\nclass Other:\n    no: int = 1\n"
    )
    assert options_of('group.add_argument("--max-num-seqs", "-x")', server) == [
        "--host",
        "--max-num-seqs",
        "--ssl-keyfile",
    ]


@dataclass(frozen=True)
class Weights:
    """A model's memory.

    Attributes:
        gib: of the weights on all GPUs together.
        local, whole: layers that attend to the last `window` tokens, and to all.
        local_values, whole_values: keys and values that such a layer stores for a token: 2 x heads x their size.
    """

    gib: float
    local: int
    local_values: int
    whole: int
    whole_values: int
    window: int = 1024


MODELS = {
    # config.json of the model; weights in bfloat16: 12.2 billion parameters.
    GEMMA_3: Weights(gib=22.8, local=40, local_values=2 * 8 * 256, whole=8, whole_values=2 * 8 * 256),
    # config.json, as https://iamulya.one/posts/decoder-forward-pass-dimensions quotes it; 8.28 GiB as vLLM loads it.
    GEMMA_4_QAT: Weights(gib=8.28, local=40, local_values=2 * 8 * 256, whole=8, whole_values=2 * 1 * 512),
}
# GPU -> GiB that CUDA reports, of the 24, 96, 40 and 80 GB of the data sheets.
MEMORY = {
    "nvidia-l4": 22.4,
    "nvidia-rtx-pro-6000": 94.9,
    "nvidia-tesla-a100": 39.4,
    "nvidia-h100-80gb": 79.1,
}
# What vLLM finds in use at its start besides weights: activations, CUDA graphs, NCCL. An assumption.
OVERHEAD = 2.0


@dataclass(frozen=True)
class Fit:
    """What is left for conversations on each GPU of a profile, in GiB, and how many of full length fit at once."""

    weights: float
    left: float
    conversation: float

    @property
    def conversations(self) -> int:
        return math.floor(self.left / self.conversation)


def fit(profile: GpuProfile, context: int = 0) -> Fit:
    """Work out a profile as vLLM 0.33 does at its start.

    A layer with a window keeps the window and the tokens in flight: two batches, since the next one is scheduled while
    one runs (`SlidingWindowSpec.max_admission_blocks_per_request`, `VllmConfig.max_in_flight_tokens`). A batch is 8,192
    tokens on GPUs with 70 GiB or more, else 2,048 (`EngineArgs.get_batch_defaults`).
    """
    model, memory = MODELS[profile.model], MEMORY[profile.accelerator]
    context = context or profile.max_model_len
    batch = 8192 if memory >= 70 else 2048
    windowed = min(model.window - 1 + 2 * batch, context)
    values = model.local * model.local_values * windowed + model.whole * model.whole_values * context
    weights = model.gib / profile.gpus
    return Fit(
        weights=weights,
        left=memory * profile.gpu_memory_utilization - weights - OVERHEAD,
        conversation=values * BFLOAT16 / profile.gpus / GIB,
    )


def test_the_memory_of_gemma_4_on_an_l4_worked_out_by_hand() -> None:
    result = fit(PROFILES["l4x1"])
    # 8 layers x 1,024 values x 2 bytes = 16 KiB a token; 40 layers x 4,096 x 2 bytes = 320 KiB a token of the window.
    whole, windowed = 16 * 1024 * 32_768 / GIB, 320 * 1024 * (1023 + 4096) / GIB
    assert result.conversation == pytest.approx(whole + windowed)
    assert (whole, windowed) == (0.5, pytest.approx(1.562, abs=1e-3))
    assert result.left == pytest.approx(0.9 * 22.4 - 8.28 - 2)
    assert result.conversations == 4


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_at_least_two_conversations_of_full_length_fit(profile: GpuProfile) -> None:
    # vLLM does not start where not even one fits.
    assert fit(profile).conversations >= 2, fit(profile)


def test_gemma_3_does_not_fit_one_l4() -> None:
    assert fit(replace(PROFILES["l4x1"], model=GEMMA_3)).left < 0


def test_twice_the_context_leaves_room_for_too_few_conversations_on_the_smallest_gpus() -> None:
    assert fit(PROFILES["l4x1"], context=131_072).conversations == 2
    assert fit(PROFILES["l4x2"], context=65_536).conversations < PROFILES["l4x2"].max_num_seqs


def test_the_documentation_has_the_table() -> None:
    text = (ROOT / "docs/operate.md").read_text(encoding="utf-8")
    for name, profile in PROFILES.items():
        result = fit(profile)
        row = (
            f"| `{name}` | {result.weights:.1f} | {result.left:.1f} | {profile.max_model_len:,} | "
            f"{result.conversation:.2f} | {result.conversations} | {profile.max_num_seqs} |"
        )
        assert row in text, row
