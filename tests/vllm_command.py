"""The command of a real vLLM with the stack's arguments, for tests and benchmarks with one on the CPU.

``VLLM_SERVE`` is its beginning, with the model's folder and what this machine needs otherwise:
``VENV/bin/python -m vllm.entrypoints.openai.api_server --model FOLDER --max-model-len=2048 --enforce-eager``. (The
program ``vllm`` does not start in the package for CPUs, whose name is not ``vllm``.)
"""

from __future__ import annotations

import functools
import os
import shlex
from pathlib import Path

from gemma.profiles import PROFILES
from stacks.components.model_group import LEADER_ADDRESS, RANK
from stacks.components.model_pod import server_arguments
from stacks.components.model_server import GemmaServerArgs

VARIABLE = "VLLM_SERVE"
PROFILE = "l4x1"
OF_THE_MACHINE = {"--revision", "--host", "--port"}


def given() -> list[str]:
    """Return the words of ``VLLM_SERVE``; none where it is not set."""
    return shlex.split(os.environ.get(VARIABLE, ""))


def model_folder() -> Path:
    """Return the folder of the weights."""
    words = given()
    return Path(words[words.index("--model") + 1])


def stack_arguments(profile: str = PROFILE, *, weights_url: str | None = None, rank: int = 0) -> list[str]:
    """Return the arguments of ``vllm serve`` in the stack's container, the model first.

    Args:
        profile: of the GPUs.
        weights_url: from where the weights are streamed; None: the profile's model.
        rank: of the machine, where a server runs on several.
    """
    args = GemmaServerArgs(
        namespace="n",
        name="n",
        service_name="n",
        account="n",
        secret_name="n",
        profile=PROFILES[profile],
        image="i",
        model="" if PROFILES[profile].model else "owner/model",
        weights_url=weights_url,
    )
    variables = {RANK: str(rank), LEADER_ADDRESS: "gemma-group-0.gemma-group.n"}  # as the kubelet fills them in
    arguments = [str(argument) for argument in server_arguments(args, is_worker=rank > 0)]
    return [
        functools.reduce(lambda text, name: text.replace(name, variables[name]), variables, argument)
        for argument in arguments
    ]


def command(port: int, *, weights_url: str | None = None) -> list[str]:
    """Return the whole command; the options in ``VLLM_SERVE`` replace the stack's.

    Args:
        port: to listen on, on loopback.
        weights_url: from where the weights are streamed; None: the model in ``VLLM_SERVE``.
    """
    words = given()
    replaced = OF_THE_MACHINE | {word.partition("=")[0] for word in words}
    _, *of_the_stack = stack_arguments(weights_url=weights_url)
    kept = [option for option in of_the_stack if option.partition("=")[0] not in replaced]
    model = [f"--model={weights_url}"] if weights_url else []
    return [*words, *model, *kept, "--host=127.0.0.1", f"--port={port}"]
