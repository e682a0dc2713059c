"""Check the chat's Python packages."""

import subprocess
import sys

from stacks.preflight.report import Report


def check_packages(report: Report) -> None:
    """Report the Python of .venv, and whether `make run` would have to install something."""
    command = [sys.executable, "-I", "requirements/install.py", "chat", "--check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    version = result.stdout.strip()
    if result.returncode == 0:
        report.ok(f"Python {version} and the packages in .venv")
    else:
        report.ok(f"Python {version}")
        report.later("packages: make run installs them")
