"""Run other programs without letting them ask questions."""

import os
import shutil
import subprocess

TIMEOUT_SECONDS = 60.0


def is_installed(program: str) -> bool:
    """Return whether a program is on the PATH."""
    return shutil.which(program) is not None


def output_of(*command: str) -> str | None:
    """Return what a program prints; `None` if it fails, is not installed, or does not end within `TIMEOUT_SECONDS`.

    It cannot read the terminal: a question asked in a check would wait unseen.
    """
    try:
        result = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def how_to_install(package: str, otherwise: str) -> str:
    """Return the command that installs a Debian package, where apt knows it; else `otherwise`."""
    if not is_installed("apt-get") or output_of("apt-cache", "show", package) is None:
        return otherwise
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {package}"
