"""The limit of open files, of which each connection is one."""

from __future__ import annotations

import sys
from contextlib import suppress

if sys.platform != "win32":  # which has no such limit
    import resource

# More than a chat needs; and what every system allows that reports "unlimited", which macOS does not mean.
TARGETS = (65_536, 10_240)


def raise_open_files_limit() -> int:
    """Raise the process's limit of open files as far as the system allows, and return it.

    Shells and container engines start programs with 1,024, for old ones that use select(2).
    """
    if sys.platform == "win32":
        return TARGETS[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for target in TARGETS:
        allowed = target if hard == resource.RLIM_INFINITY else min(hard, target)
        if soft != resource.RLIM_INFINITY and soft < allowed:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
                return allowed
    return TARGETS[0] if soft == resource.RLIM_INFINITY else soft
