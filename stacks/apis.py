"""Google's APIs that a deployment uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacks.settings import Settings

FIRST_API = "cloudresourcemanager.googleapis.com"
"""Google's provider reads the project through this API whenever it enables another one."""
APIS = (
    FIRST_API,
    "iam.googleapis.com",
    "compute.googleapis.com",
    "container.googleapis.com",
    # Image streaming: nodes start a container before its image has arrived.
    "containerfilesystem.googleapis.com",
    "firestore.googleapis.com",
    "aiplatform.googleapis.com",
)
STORAGE_API = "storage.googleapis.com"
BUILD_APIS = ("artifactregistry.googleapis.com", "cloudbuild.googleapis.com", STORAGE_API)
LOGGING_API = "logging.googleapis.com"
MONITORING_API = "monitoring.googleapis.com"
BUDGETS_API = "billingbudgets.googleapis.com"
NETWORK_SERVICES_API = "networkservices.googleapis.com"
"""GKE's Gateway asks the endpoint picker through this API."""
IAP_API = "iap.googleapis.com"
NAME_APIS = tuple(f"{api}.googleapis.com" for api in ("servicemanagement", "servicecontrol", "endpoints"))
"""The APIs for a free domain name of cloud.goog."""


def apis_of(settings: Settings) -> tuple[str, ...]:
    """Return the APIs that a deployment on Google Cloud uses."""
    return (
        *APIS,
        *(BUILD_APIS if settings.builds_image else (STORAGE_API,) * settings.weights_bucket),
        *(NAME_APIS if settings.ingress == "https" and not settings.domain else ()),
        *((IAP_API,) if settings.sign_in == "iap" else ()),
        *((BUDGETS_API,) if settings.monthly_budget else ()),
        *((MONITORING_API,) if settings.alert_email else ()),
        *((LOGGING_API,) if settings.bound_to else ()),
        *((NETWORK_SERVICES_API,) if settings.balances_gemma else ()),
    )
