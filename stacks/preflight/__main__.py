"""The program: ``STACK=dev python -m stacks.preflight VERB [--json]``, in the project's folder.

`up` and `preview` create the stack, so that its settings can be set; `url` prints the chat's address; `doctor` checks
everything, changes nothing, and reports what is in order too; `cost` estimates what the deployment costs; `remains`,
after `pulumi destroy`, lists what is left of the stack in the project. Exits with 1 where something is missing.
`doctor` and `cost` have an output for programs, ``--json``.
"""

import json
import os
import sys

from stacks.cost.model import estimate
from stacks.cost.report import as_json, summary, table
from stacks.kubeconfig import current_context
from stacks.preflight.docker import check_docker
from stacks.preflight.google_cloud import check_google_cloud
from stacks.preflight.google_project import check_project
from stacks.preflight.kubernetes import check_kubernetes
from stacks.preflight.packages import check_packages
from stacks.preflight.pulumi_cli import check_pulumi, check_stack, outputs_of
from stacks.preflight.remains import report_cluster_remains, report_remains
from stacks.preflight.report import Report
from stacks.preflight.stack import Stack
from stacks.settings import Settings
from stacks.validation.residency import NO_RESIDENCY

VERBS = ("up", "preview", "destroy", "remains", "url", "doctor", "cost")
JSON_VERBS = ("doctor", "cost")


def main(arguments: list[str]) -> int:
    """Run the checks of a verb and return the exit status."""
    verb, *options = arguments or [""]
    if verb not in VERBS or options not in ([], ["--json"] if verb in JSON_VERBS else []):
        print(
            f"Usage: STACK=dev python -m stacks.preflight {'|'.join(VERBS)} [--json: {', '.join(JSON_VERBS)}]",
            file=sys.stderr,
        )
        return 2
    os.environ |= {"PULUMI_SKIP_UPDATE_CHECK": "true", "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    stack = Stack(os.environ.get("STACK") or "dev")
    report = Report(detailed=verb == "doctor", in_json=verb == "doctor" and bool(options))
    if verb == "url":
        if check_pulumi(report, any_version=True):
            _print_url(report, stack)
    elif verb == "remains":
        _print_remains(stack)
    elif verb == "cost":
        _print_cost(report, stack, in_json=bool(options))
    else:
        if verb == "doctor":
            report.begin("The chat on this computer (make run)")
            check_packages(report)
            report.begin(f"The stack {stack.name} (make up{stack.make_argument})")
        _check_deployment(report, stack, verb)
        if options:
            report.print_json()
    return 0 if report.is_complete else 1


def _check_deployment(report: Report, stack: Stack, verb: str) -> None:
    has_pulumi = check_pulumi(report)
    stack_exists = has_pulumi and check_stack(report, stack, verb)
    if verb == "destroy" and has_pulumi and not stack_exists:
        return  # what else a stack that does not exist would need is of no use
    settings, problems = stack.settings()
    create = "" if stack_exists else f"pulumi stack select --create {stack.name} && "
    remains = ""
    if settings.on_gcp:
        check_google_cloud(report, stack, settings, create=create)
        remains = "the project's Google APIs, which remain enabled, and "
    else:
        check_kubernetes(report, stack, settings, create=create)
    if settings.image_source == "docker" and verb != "destroy":
        check_docker(report)
    if verb != "destroy":
        for problem in problems:
            report.missing(problem)
        if settings.on_gcp:
            check_project(report, stack, settings, stack_exists=stack_exists)
        if verb != "doctor" and report.is_complete:
            _note_consequences(report, settings)
    elif report.is_complete:
        report.note(
            f"Destroying the stack {stack.name} deletes all its chats. What stays: {remains}Pulumi's record of the "
            f"stack, until: pulumi stack rm --preserve-config {stack.name}"
        )


def _note_consequences(report: Report, settings: Settings) -> None:
    costs = estimate(settings)
    if costs.parts:
        report.note(summary(costs))
    if settings.on_gcp and settings.model_location == "global":
        report.note(NO_RESIDENCY)


def _print_remains(stack: Stack) -> None:
    if "--preview-only" in os.environ.get("ARGS", ""):  # Pulumi has deleted nothing
        return
    settings, _ = stack.settings()
    if settings.on_gcp:
        report_remains(stack.name, settings)
    elif not settings.kubeconfig.get_secret_value():
        report_cluster_remains(stack.name, settings.kube_context or current_context())


def _print_cost(report: Report, stack: Stack, *, in_json: bool) -> None:
    settings, problems = stack.settings()
    for problem in problems:
        report.missing(problem)
    if problems:
        return
    costs = estimate(settings)
    print(json.dumps(as_json(costs), indent=2) if in_json else "\n".join(table(costs, settings)))


def _print_url(report: Report, stack: Stack) -> None:
    outputs = outputs_of(stack)
    if "url" not in outputs:
        report.missing(f"The stack {stack.name} has no address yet. Run this first: make up{stack.make_argument}")
        return
    print(outputs["url"])
    if "openWith" in outputs:
        print(f"It answers while this runs: {outputs['openWith']}", file=sys.stderr)
    if "firstMinutes" in outputs:
        print(outputs["firstMinutes"], file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
