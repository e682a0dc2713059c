"""Why vLLM ended: its last words, and those of Hugging Face's client and of CUDA, in words for a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from chatapp.domain.sentences import Sentence

if TYPE_CHECKING:
    from collections.abc import Iterator

Explanation = tuple[Sentence, Sentence]
"""The reason, and what to do: phrases in lower case without a full stop."""

DISK_FULL: Final = (
    Sentence("its disk is full"),
    Sentence("choose smaller weights (gemmaModel) or a profile with a larger disk (gemma)"),
)
GPU_MEMORY: Final = (
    Sentence("its GPUs have too little memory for it"),
    Sentence("lower --max-model-len in gemmaArgs, or choose a larger profile (gemma)"),
)
MEMORY: Final = (
    Sentence("its node has too little memory for it"),
    Sentence("choose a larger profile (gemma)"),
)
_DRIVER: Final = (
    Sentence("the GPU driver of its node is too old for its container image"),
    Sentence("use nodes with the newest GPU driver, or an older vLLM (gemmaImage)"),
)

# The first line that matches counts, from the most to the least specific. Sources: the messages of PyTorch, vLLM and
# huggingface_hub, as tests/chatapp/models/kubernetes/situations.py names them one by one.
_TABLE: Final[tuple[tuple[str, Explanation], ...]] = (
    (r"no space left on device|\[errno 28\]|not enough (free )?disk space", DISK_FULL),
    (
        r"cuda out of memory|outofmemoryerror|no available memory for the cache blocks|less than desired gpu memory"
        r"|kv cache is needed, which is larger than|larger than the maximum number of tokens that can be stored",
        GPU_MEMORY,
    ),
    (
        r"nvidia driver on your system is too old|driver version is insufficient|unsupported display driver"
        r"|forward compatibility was attempted|unsatisfied condition: cuda",
        _DRIVER,
    ),
    (
        r"libcuda\.so\.1: cannot open|found no nvidia driver|no cuda gpus are available|failed to infer device type",
        (
            Sentence("it sees no GPU on its node"),
            Sentence("check that the node's GPU driver is installed"),
        ),
    ),
    (
        r"uncorrectable ecc|gpu is lost|fallen off the bus|cuda error: unspecified launch failure|\bxid\b",
        (
            Sentence("a GPU of its node is faulty"),
            Sentence("delete its Pod, so that it starts on another node"),
        ),
    ),
    (
        r"bfloat16 is only supported on gpus|no kernel image is available",
        (
            Sentence("its GPU is too old for these weights"),
            Sentence("choose a profile with a newer GPU (gemma)"),
        ),
    ),
    (
        r"not in the authorized list|awaiting a review|your request to access model",
        (
            Sentence("the terms of its weights are not accepted"),
            Sentence("accept them on the model's page at huggingface.co, with the account of huggingFaceToken"),
        ),
    ),
    (
        r"repository not found|repositorynotfounderror|revisionnotfounderror|is not a valid model identifier",
        (
            Sentence("its weights were not found on Hugging Face"),
            Sentence("check gemmaModel and gemmaRevision"),
        ),
    ),
    (
        r"401 client error|invalid user token|you must have access to it and be authenticated|token .{0,80}is expired",
        (
            Sentence("Hugging Face refused its token"),
            Sentence("set a valid huggingFaceToken and run make up"),
        ),
    ),
    (
        r"429 client error|too many requests",
        (
            Sentence("Hugging Face limits its downloads at the moment"),
            Sentence("wait a few minutes, or choose another model"),
        ),
    ),
    (
        r"failed to resolve|name resolution|couldn't connect to '?https://huggingface|max retries exceeded with url"
        r"|localentrynotfounderror",
        (
            Sentence("it cannot reach Hugging Face"),
            Sentence("check the cluster's access to the internet"),
        ),
    ),
    (
        r"safetensorerror|incompletebuffer|consistency check failed",
        (
            Sentence("its weights are damaged"),
            Sentence("delete its Pod, so that they are downloaded again"),
        ),
    ),
    (
        r"unrecognized arguments|error: argument -",
        (
            Sentence("vLLM refuses one of its arguments"),
            Sentence("check gemmaArgs"),
        ),
    ),
    (
        r"model architectures .{0,200}not supported|does not recognize this architecture",
        (
            Sentence("this version of vLLM does not know these weights"),
            Sentence("use a newer vLLM (gemmaImage)"),
        ),
    ),
)
_PATTERNS: Final = tuple((re.compile(pattern, re.IGNORECASE), explanation) for pattern, explanation in _TABLE)


def explain(*texts: str) -> Explanation | None:
    """Return why a container ended, from its log and its last message; None where they do not say it."""
    return next(_matches("\n".join(texts)), None)


def _matches(text: str) -> Iterator[Explanation]:
    return (explanation for pattern, explanation in _PATTERNS if pattern.search(text))
