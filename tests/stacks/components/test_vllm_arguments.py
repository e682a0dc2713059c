"""The arguments of `vllm serve` for each GPU profile, and whether model and conversations fit its GPUs.

vLLM's own parser cannot run here (it needs torch), so its options are kept as data, of exactly the version that the
stack deploys.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import yaml

from gemma.memory import GIB, MEMORY, OVERHEAD, fit
from gemma.profiles import GEMMA_3, PROFILES
from stacks.components.model_pod import server_arguments
from stacks.components.model_server import GemmaServerArgs
from stacks.settings import Settings
from stacks.validation.conflicts import RESERVED_VLLM_FLAGS
from tests.stacks.recording import ROOT
from tests.stacks.vllm_options import options_of

if TYPE_CHECKING:
    from gemma.memory import Fit
    from gemma.profiles import GpuProfile

DATA = yaml.safe_load((ROOT / "tests/stacks/data/vllm_options.yaml").read_text(encoding="utf-8"))

# Option -> what vLLM 0.33 accepts: vllm/config/{model,scheduler,parallel,cache,multimodal}.py and arg_utils.py.
WHOLE = r"[1-9]\d*"
VALUES = {
    "--revision": r"[0-9a-f]{40}",
    "--served-model-name": r"\w+",
    "--host": r"0\.0\.0\.0",
    "--port": WHOLE,
    "--tensor-parallel-size": WHOLE,
    "--pipeline-parallel-size": WHOLE,
    "--nnodes": WHOLE,
    "--distributed-timeout-seconds": WHOLE,
    "--cpu-distributed-timeout-seconds": WHOLE,
    # What the controller of a LeaderWorkerSet sets in each pod.
    "--node-rank": r"\$\(LWS_WORKER_INDEX\)",
    "--master-addr": r"\$\(LWS_LEADER_ADDRESS\)",
    "--headless": "",
    "--max-model-len": WHOLE,
    "--max-num-seqs": WHOLE,
    "--gpu-memory-utilization": r"0\.\d+|1\.0+",
    "--limit-mm-per-prompt": r"\{.*\}",
    "--max-num-queued-reqs": r"\d+",
    "--shutdown-timeout": r"\d+",
}


OTHER = "owner/model"
OF_GEMMA = {name: profile for name, profile in PROFILES.items() if profile.model}


def arguments(profile: GpuProfile, *, is_worker: bool = False) -> dict[str, str]:
    args = GemmaServerArgs(
        namespace="n",
        name="n",
        service_name="n",
        account="n",
        secret_name="n",
        profile=profile,
        image="i:1",
        model="" if profile.model else OTHER,
    )
    model, *options = server_arguments(args, is_worker=is_worker)
    assert model == (profile.model or OTHER)
    return {name: value for name, _, value in (option.partition("=") for option in options)}


def test_the_options_are_those_of_the_version_that_the_stack_deploys() -> None:
    image = Settings.model_fields["gemma_image"].default
    assert image.rpartition(":")[2] == f"v{DATA['version']}", "write tests/stacks/data/vllm_options.yaml again"
    assert len(DATA["options"]) > 250


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_vllm_has_each_option_of_a_profile_and_accepts_its_value(profile: GpuProfile) -> None:
    given = arguments(profile) | (arguments(profile, is_worker=True) if profile.machines > 1 else {})
    assert given.keys() <= set(DATA["options"])
    assert {option: value for option, value in given.items() if not re.fullmatch(VALUES[option], value)} == {}
    limits = json.loads(given["--limit-mm-per-prompt"])
    assert all(isinstance(limit, int) and limit >= 0 for limit in limits.values())
    assert limits.keys() <= {"image", "audio", "video"}
    # Requests that run count too (vllm/config/scheduler.py).
    assert int(given["--max-num-queued-reqs"]) > profile.max_num_seqs


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_vllms_processes_are_as_many_as_the_gpus_of_all_machines(profile: GpuProfile) -> None:
    leader, worker = arguments(profile), arguments(profile, is_worker=True)
    parallel = int(leader["--tensor-parallel-size"]), int(leader.get("--pipeline-parallel-size", "1"))
    # vLLM gives each machine the same number of processes (EngineArgs.create_engine_config).
    assert parallel == (profile.gpus, profile.machines)
    assert leader.get("--nnodes", "1") == str(profile.machines)
    if profile.machines > 1:
        assert worker == leader | {"--headless": ""}, "each must have the same configuration"
        # The leader waits for the other machine as long as its startup probe does.
        assert int(leader["--distributed-timeout-seconds"]) == 60 * profile.loading_minutes
    else:
        assert not {"--nnodes", "--node-rank", "--headless"} & leader.keys()


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


def fitting(profile: GpuProfile, context: int = 0) -> Fit:
    """Return what fits a profile on its own GPUs, maybe with another context."""
    return fit(replace(profile, max_model_len=context or profile.max_model_len), MEMORY[profile.accelerator])


def test_the_memory_of_gemma_4_on_an_l4_worked_out_by_hand() -> None:
    result = fitting(PROFILES["l4x1"])
    # 8 layers x 1,024 values x 2 bytes = 16 KiB a token; 40 layers x 4,096 x 2 bytes = 320 KiB a token of the window.
    whole, windowed = 16 * 1024 * 32_768 / GIB, 320 * 1024 * (1023 + 4096) / GIB
    assert result.conversation == pytest.approx(whole + windowed)
    assert (whole, windowed) == (0.5, pytest.approx(1.562, abs=1e-3))
    assert result.left == pytest.approx(0.9 * 22.4 - 8.28 - 2)
    assert result.conversations == 4


@pytest.mark.parametrize("profile", OF_GEMMA.values(), ids=OF_GEMMA)
def test_at_least_two_conversations_of_full_length_fit(profile: GpuProfile) -> None:
    # vLLM does not start where not even one fits.
    assert fitting(profile).conversations >= 2, fitting(profile)


def test_gemma_3_does_not_fit_one_l4() -> None:
    assert fitting(replace(PROFILES["l4x1"], model=GEMMA_3)).left < 0


def test_twice_the_context_leaves_room_for_too_few_conversations_on_the_smallest_gpus() -> None:
    assert fitting(PROFILES["l4x1"], context=131_072).conversations == 2
    assert fitting(PROFILES["l4x2"], context=65_536).conversations < PROFILES["l4x2"].max_num_seqs


def test_the_documentation_has_the_table() -> None:
    text = (ROOT / "docs/operate.md").read_text(encoding="utf-8")
    for name, profile in OF_GEMMA.items():
        result = fitting(profile)
        row = (
            f"| `{name}` | {result.weights:.1f} | {result.left:.1f} | {profile.max_model_len:,} | "
            f"{result.conversation:.2f} | {result.conversations} | {profile.max_num_seqs} |"
        )
        assert row in text, row
    large = PROFILES["h100x16"]
    memory = MEMORY[large.accelerator]
    room = large.all_gpus * (memory * large.gpu_memory_utilization - OVERHEAD)
    assert f"{large.all_gpus * memory:,.0f} GiB" in text
    assert f"{room:,.0f} GiB for the weights and the conversations" in text
