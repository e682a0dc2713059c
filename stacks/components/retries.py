"""Retries of errors that pass by themselves in a new project, and advice for those that do not."""

from __future__ import annotations

import re
from asyncio import sleep
from typing import NamedTuple

import pulumi

from stacks.components import leftovers

# Errors that pass by themselves. The texts and where they were reported: tests/stacks/data/google_errors.yaml.
_TRANSIENT = re.compile(
    # An API that was enabled moments before.
    "SERVICE_DISABLED|has not been used in project|it is disabled|accessNotConfigured"
    "|API is not enabled for this project"
    # A workload identity pool or a service account (of Google's too) that was created moments before.
    "|Identity Pool does not exist|[Ss]ervice account .* does not exist"
    "|Error reading service account after creation"
    # Changes of one Firestore database, or of one IAM policy, at the same time.
    "|too much contention|cross-transaction contention|underlying data changed|concurrent policy changes",
    re.IGNORECASE,
)


class _Permanent(NamedTuple):
    text: re.Pattern[str]
    advice: str


def _permanent(text: str, advice: str) -> _Permanent:
    return _Permanent(re.compile(text, re.IGNORECASE), advice)


# Errors that stay until a person acts. Some of them contain SERVICE_DISABLED too, so these are matched first.
_PERMANENT = (
    _permanent(
        # The number is gcloud's own project, which a person's credentials without a quota project are charged to.
        # Google's provider ignores the quota project of `gcloud auth application-default set-quota-project`
        # (hashicorp/terraform-provider-google#20459).
        "requires a quota project|764086051850|user credentials .* not supported",
        "This API counts requests against a project, which your credentials do not name. Run: pulumi config set "
        "gcp:userProjectOverride true && pulumi config set gcp:billingProject YOUR_PROJECT_ID",
    ),
    _permanent(
        "USER_PROJECT_DENIED",
        "Your account may not use the project that gcp:billingProject names. Its owner can grant the role "
        "roles/serviceusage.serviceUsageConsumer.",
    ),
    _permanent(
        "BILLING_DISABLED|UREQ_PROJECT_BILLING_NOT_FOUND|billing to be enabled"
        "|billing account for [^.]* is (closed|disabled|not )"
        "|billing must be enabled|enable billing|billing disabled|absent billing account|not configured billing"
        "|accountDisabled",
        "The project has no active billing account. Link one: https://console.cloud.google.com/billing/projects",
    ),
    _permanent(
        "constraints/|organization policy|violates constraint|FAILED_PRECONDITION: One or more users named",
        "A policy of your organization forbids this. Its administrator can make an exception for the project "
        "(make doctor names the policies).",
    ),
    _permanent(
        r"Quota .* exceeded|insufficient (\w+ )?quota|QUOTA_EXCEEDED|quotaExceeded|exceeds? (the )?quota"
        "|GPUS_ALL_REGIONS",
        "A quota of the project is used up. Ask for more: https://console.cloud.google.com/iam-admin/quotas",
    ),
    _permanent(
        r"IAM_PERMISSION_DENIED|AUTH_PERMISSION_DENIED|Permission '?[\w./]+'? denied|does not have permission"
        r"|Required '[\w.]+' permission|lacks IAM permission|Permission '?[\w.]+'? is required",
        "Your account may not do this. The project's owner can grant it the role Owner, or those in docs/deploy.md.",
    ),
    _permanent(
        "reauth related error|invalid_grant|invalid_client|could not find default credentials|Invalid Credentials"
        "|invalid authentication credentials",
        "Your credentials are missing or expired. Run: gcloud auth application-default login",
    ),
)

# The provider created the resource and failed to read it. Creating it again would end in "already exists", and the
# resource would be missing in the state. The next run continues from there.
_CREATED = re.compile("Error (when )?(reading|waiting)|after creation")
# Creating these is idempotent.
_IDEMPOTENT = ("gcp:projects/service:Service", "IAMMember", "IamMember", "IamBinding")


def advice(error: str) -> str | None:
    """Return what to do about an error that stays until a person acts; `None`: it is not known as one."""
    return next((each.advice for each in _PERMANENT if each.text.search(error)), None)


def is_transient(error: str) -> bool:
    """Return whether an error passes by itself, so that the operation is worth repeating."""
    return advice(error) is None and _TRANSIENT.search(error) is not None


def propagation_retry(name: str, *, minutes: float = 8) -> pulumi.ErrorHook:
    """Return a hook that retries an operation while an API or an account has not propagated.

    An enabled API is ready after seconds or minutes, and only the operation itself shows when. The backoff grows from 5
    to 30 s and ends after `minutes`; any other error is shown at once, with `advice` where there is some.

    Args:
        name: the hook's name, unique in the stack.
        minutes: how long to retry; Google's documentation says "a few minutes".
    """

    async def wait(failure: pulumi.ErrorHookArgs) -> bool:
        newest = failure.errors[0]
        hint = advice(newest) or leftovers.advice(failure.type, failure.urn, failure.new_inputs or {}, newest)
        if hint:
            pulumi.log.error(hint)
            return False
        waited = sum(_backoff(attempt) for attempt in range(len(failure.errors) - 1))
        if not is_transient(newest) or waited >= minutes * 60:
            return False
        is_new = failure.failed_operation == "create" and not failure.type.endswith(_IDEMPOTENT)
        if is_new and _CREATED.search(newest):
            return False
        await sleep(_backoff(len(failure.errors) - 1))
        return True

    return pulumi.ErrorHook(name, wait)


def webhook_retry(name: str, *, minutes: float = 3) -> pulumi.ErrorHook:
    """Return a hook that retries while an admission webhook of the cluster does not answer yet.

    Its pod is ready a moment before the API server reaches it.

    Args:
        name: the hook's name, unique in the stack.
        minutes: how long to retry.
    """

    async def wait(failure: pulumi.ErrorHookArgs) -> bool:
        newest = failure.errors[0]
        if hint := leftovers.advice(failure.type, failure.urn, failure.new_inputs or {}, newest):
            pulumi.log.error(hint)
        waited = sum(_backoff(attempt) for attempt in range(len(failure.errors) - 1))
        if "failed calling webhook" not in newest or waited >= minutes * 60:
            return False
        await sleep(_backoff(len(failure.errors) - 1))
        return True

    return pulumi.ErrorHook(name, wait)


def _backoff(attempt: int) -> float:
    return min(30.0, 5.0 * 1.5**attempt)
