"""Check what a stack on Google Cloud needs."""

import os

from stacks.preflight.programs import how_to_install, is_installed, output_of
from stacks.preflight.report import Report
from stacks.preflight.stack import Stack
from stacks.settings import Settings


def check_google_cloud(report: Report, stack: Stack, settings: Settings, *, create: str) -> None:
    """Check gcloud, its plugin for GKE, the credentials and the project.

    Args:
        report: where the results go.
        stack: the stack.
        settings: its settings.
        create: what has to run before a setting can be set, such as ``pulumi stack select --create dev &&``.
    """
    if not is_installed("gcloud"):
        report.missing(
            "gcloud is not installed: see https://cloud.google.com/sdk/docs/install (or brew install --cask gcloud-cli)"
        )
    else:
        report.ok("gcloud")
        if output_of("gcloud", "auth", "print-access-token") is None:
            report.missing(
                "gcloud is not logged in, which builds the image and gets the cluster's credentials: gcloud auth login"
            )
        else:
            report.ok("gcloud is logged in")
    if is_installed("gke-gcloud-auth-plugin"):
        report.ok("gke-gcloud-auth-plugin")
    else:
        install = how_to_install(
            "google-cloud-cli-gke-gcloud-auth-plugin", "gcloud components install gke-gcloud-auth-plugin"
        )
        report.missing(f"gke-gcloud-auth-plugin, which authenticates to the cluster, is not installed: {install}")
    in_environment = os.environ.get("GOOGLE_CREDENTIALS") or os.environ.get("GOOGLE_OAUTH_ACCESS_TOKEN")
    if in_environment or output_of("gcloud", "auth", "application-default", "print-access-token") is not None:
        report.ok("Application Default Credentials")
    else:
        report.missing(
            "Google's Application Default Credentials, which Pulumi uses, are missing or expired: "
            "gcloud auth application-default login"
        )
    if settings.project:
        report.note(f"Stack {stack.name}: Google Cloud project {settings.project}.")
    else:
        report.missing(
            f"gcp:project is not set: {create}pulumi config set gcp:project YOUR_PROJECT_ID --stack {stack.name} "
            "(gcloud projects list shows yours)"
        )
