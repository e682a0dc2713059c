"""Check what a stack in an existing Kubernetes cluster needs."""

import os

from stacks.components.model_group import CHART, NAMESPACE, VERSION
from stacks.kubeconfig import current_context
from stacks.preflight.programs import is_installed
from stacks.preflight.report import Report
from stacks.preflight.stack import Stack
from stacks.settings import Settings


def check_kubernetes(report: Report, stack: Stack, settings: Settings, *, create: str) -> None:
    """Check kubectl and which cluster the stack is for; `create` is as in `check_google_cloud`."""
    if is_installed("kubectl"):
        report.ok("kubectl")
    else:
        report.note(
            "kubectl is not installed; it is not needed now, but opens a private chat and shows what runs: "
            "see https://kubernetes.io/docs/tasks/tools"
        )
    if settings.serves_on_several_machines:
        report.note(
            f"gemma is {settings.gemma}, which needs LeaderWorkerSet in the cluster. If it has none: helm install lws "
            f"{CHART} --version {VERSION} --namespace {NAMESPACE} --create-namespace"
        )
    if not settings.kube_context and settings.kubeconfig.get_secret_value():
        report.note(
            f"Stack {stack.name}: the cluster of the setting kubernetes:kubeconfig."
        )  # a secret, its context too
    elif context := settings.kube_context or current_context():
        report.note(f"Stack {stack.name}: Kubernetes context {context}.")
    elif os.environ.get("KUBERNETES_SERVICE_HOST"):
        report.note(f"Stack {stack.name}: the cluster that this runs in.")
    else:
        report.missing(
            f"No Kubernetes cluster is chosen: {create}pulumi config set kubernetes:context NAME --stack {stack.name} "
            "(kubectl config get-contexts shows yours)"
        )
