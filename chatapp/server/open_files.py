"""How many files, of which a connection is one, the process may have open."""

from __future__ import annotations

from contextlib import suppress

# More than any chat has use for, and what every system can give that says "unlimited": macOS does not mean it.
WANTED = (65_536, 10_240)


def raised_limit() -> int:
    """Let this process have as many files open as the system allows it, and return how many that are.

    Shells and container engines start programs with 1,024, for the sake of old ones that use select(2).
    """
    try:
        import resource  # noqa: PLC0415  # Windows has none
    except ImportError:
        return WANTED[0]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in WANTED:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        if soft != resource.RLIM_INFINITY and soft < allowed:
            with suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
                return allowed
    return WANTED[0] if soft == resource.RLIM_INFINITY else soft
