"""Check Pulumi's command line: its version, its login and the stack."""

import json
import re
import subprocess
from pathlib import Path

from stacks.preflight.programs import is_installed, output_of
from stacks.preflight.report import Report
from stacks.preflight.stack import Stack

# 3.217 has error hooks, but calls them only for what it names a partial failure; since 3.244 they get every error, as
# the retries of stacks/components/retries.py need (github.com/pulumi/pulumi/pull/23347).
OLDEST = (3, 244)
INSTALL = "curl -fsSL https://get.pulumi.com | sh (or brew install pulumi/tap/pulumi)"


def check_pulumi(report: Report, *, any_version: bool = False) -> bool:
    """Check that Pulumi is installed, new enough and logged in; return whether it can be used."""
    if not is_installed("pulumi"):
        if (Path.home() / ".pulumi/bin/pulumi").exists():
            report.missing(
                "Pulumi is installed, but this terminal does not find it yet: open a new one, or run: "
                'export PATH="$HOME/.pulumi/bin:$PATH"'
            )
        else:
            report.missing(f"Pulumi is not installed: {INSTALL}")
        return False
    if not any_version:
        _check_version(report)
    if output_of("pulumi", "whoami", "--non-interactive") is None:
        report.missing(
            "You are not logged in to Pulumi, or it cannot be reached: pulumi login (keeps the stack's state in Pulumi "
            "Cloud), or pulumi login --local (keeps it on this computer)"
        )
        return False
    report.ok("logged in to Pulumi")
    return True


def _check_version(report: Report) -> None:
    version = (output_of("pulumi", "version") or "").removeprefix("v")
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if not numbers:
        report.missing(f"Pulumi does not print its version, so it may be broken; install it again: {INSTALL}")
    elif (int(numbers[1]), int(numbers[2])) < OLDEST:
        report.missing(f"Pulumi {version} is too old, {OLDEST[0]}.{OLDEST[1]} or newer is needed: {INSTALL}")
    else:
        report.ok(f"Pulumi {version}")


def check_stack(report: Report, stack: Stack, verb: str) -> bool:
    """Create the stack for `up` and `preview`, look for it for the others; return whether it exists now."""
    if verb in {"up", "preview"}:
        # Pulumi may ask for a passphrase, and says itself what is wrong.
        created = subprocess.run(["pulumi", "stack", "select", "--create", stack.name], check=False).returncode == 0
        report.is_complete &= created
        return created
    if output_of("pulumi", "stack", "--stack", stack.name, "--show-name", "--non-interactive") is not None:
        report.ok(f"stack {stack.name}")
        return True
    if verb == "doctor":
        report.later(f"stack {stack.name}: make up{stack.make_argument} makes it")
    else:
        report.missing(f"There is no stack {stack.name}: pulumi stack ls shows those that exist")
    return False


def outputs_of(stack: Stack) -> dict[str, str]:
    """Return the outputs of the stack's last update; none if it was never deployed."""
    listed = output_of("pulumi", "stack", "output", "--json", "--stack", stack.name, "--non-interactive")
    return dict(json.loads(listed or "{}"))


def recorded_types(stack: Stack) -> frozenset[str] | None:
    """Return the types of the resources in the stack's state; `None`: it cannot be read."""
    try:
        state = json.loads(output_of("pulumi", "stack", "export", "--stack", stack.name, "--non-interactive") or "")
    except ValueError:
        return None
    return frozenset(str(each.get("type")) for each in (state.get("deployment") or {}).get("resources") or ())
