"""Errors as Google's APIs answer them."""

from __future__ import annotations

from typing import Any

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
}
# The project of gcloud, which a person's credentials without a quota project are charged to.
GCLOUD_PROJECT = "764086051850"


class ApiError(Exception):
    """An answer with an error; `body` is what the API sends."""

    def __init__(self, code: int, message: str, *, status: str = "", reason: str = "", **metadata: str) -> None:
        super().__init__(message)
        self.code = code
        error: dict[str, Any] = {"code": code, "message": message, "status": status or _STATUS.get(code, "UNKNOWN")}
        if reason:
            info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com"}
            error["details"] = [info | ({"metadata": metadata} if metadata else {})]
        self.body = {"error": error}


def not_enabled(service: str, project: str) -> ApiError:
    """Return the error for an API that the project has not enabled, or not for long enough."""
    return ApiError(
        403,
        f"{service} API has not been used in project {project} before or it is disabled. If you enabled this API "
        "recently, wait a few minutes for the action to propagate to our systems and retry.",
        reason="SERVICE_DISABLED",
        service=service,
        consumer=f"projects/{project}",
    )


def no_quota_project(service: str) -> ApiError:
    """Return the error for a person's credentials at an API that counts requests against the caller's project."""
    return ApiError(
        403,
        "Your application is authenticating by using local Application Default Credentials. The "
        f"{service} API requires a quota project, which is not set by default.",
        reason="SERVICE_DISABLED",
        service=service,
        consumer=f"projects/{GCLOUD_PROJECT}",
    )


def forbidden(permission: str, resource: str) -> ApiError:
    """Return the error for a caller without a permission."""
    return ApiError(
        403,
        f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).",
        reason="IAM_PERMISSION_DENIED",
        permission=permission,
        resource=resource,
    )


def no_billing(project: str, what: str) -> ApiError:
    """Return the error for a project without a billing account."""
    return ApiError(
        400,
        f"Billing account for project '{project}' is not found. Billing must be enabled for activation of service(s) "
        f"'{what}' to proceed.",
        status="FAILED_PRECONDITION",
        reason="UREQ_PROJECT_BILLING_NOT_FOUND",
    )


def not_found(name: str) -> ApiError:
    """Return the error for a resource that does not exist."""
    return ApiError(404, f"The resource '{name}' was not found")


def exists(name: str) -> ApiError:
    """Return the error for a name that is taken."""
    return ApiError(409, f"Resource already exists: {name}")


def aborted(message: str) -> ApiError:
    """Return the error for a change while another one is under way."""
    return ApiError(409, message, status="ABORTED")


def invalid(message: str) -> ApiError:
    """Return the error for a request that cannot be carried out."""
    return ApiError(400, message)


def precondition(message: str) -> ApiError:
    """Return the error for a state that does not allow the request."""
    return ApiError(400, message, status="FAILED_PRECONDITION")
