"""Run other programs without letting them ask questions."""

import os
import shutil
import signal
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
        # In a session of its own, so that what the program started ends with it: it would keep the pipe open.
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        output, _ = process.communicate(timeout=TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return output.strip() if process.returncode == 0 else None


def how_to_install(package: str, otherwise: str) -> str:
    """Return the command that installs a Debian package, where apt knows it; else `otherwise`."""
    if not is_installed("apt-get") or output_of("apt-cache", "show", package) is None:
        return otherwise
    return f"{'' if os.geteuid() == 0 else 'sudo '}apt-get install {package}"
