"""What this computer has: free memory and disk."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

GB: Final = 1_000_000_000

_MEMINFO = Path("/proc/meminfo")
# Of a container's limit: cgroup v2, then v1.
_CGROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
COMPUTATION_BYTES: Final = 600_000_000
"""Of memory for what llama.cpp computes with, beside the weights and the cache; more with a large vocabulary."""

CACHE_BYTES: Final = 131_072
"""Of memory for each token, where it is not known: as a model with 8 billion parameters has."""

_CONTEXTS: Final = (32_768, 16_384, 8192)
SMALLEST_CONTEXT: Final = 4096
_SHARE = 0.5  # of the memory that the model itself leaves, for the cache: other programs need some too


def free_memory() -> int:
    """Return the bytes of memory that a new process can have, as the system estimates them; 0 where it does not say."""
    if sys.platform == "darwin":
        return _free_on_a_mac()
    try:
        available = re.search(r"^MemAvailable:\s+(\d+) kB", _MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return 0
    free = int(available[1]) * 1024 if available else 0
    return min([free, *_free_in_container()])


def _free_in_container() -> list[int]:
    for most, used in _CGROUPS:
        try:
            return [max(0, int(most.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii")))]
        except (OSError, ValueError):  # no such file; "max"
            continue
    return []


def _free_on_a_mac() -> int:
    try:
        output = subprocess.run(["/usr/bin/vm_stat"], capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return 0
    page = re.search(r"page size of (\d+) bytes", output)
    kinds = re.findall(r"^Pages (?:free|inactive|speculative|purgeable):\s+(\d+)\.", output, re.MULTILINE)
    return (int(page[1]) if page else 4096) * sum(map(int, kinds))


def free_disk(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is on, or will be on."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def context_that_fits(most: int, *, cache_bytes: int, memory_bytes: int) -> int:
    """Return the largest context, in tokens, for which the free memory suffices; at least `SMALLEST_CONTEXT`.

    Args:
        most: that the model was trained for.
        cache_bytes: of memory for each token.
        memory_bytes: that the model needs with the smallest context.
    """
    spare = (free_memory() - memory_bytes) * _SHARE
    fitting = (tokens for tokens in _CONTEXTS if tokens <= most and (tokens - SMALLEST_CONTEXT) * cache_bytes <= spare)
    return next(fitting, min(most, SMALLEST_CONTEXT))
