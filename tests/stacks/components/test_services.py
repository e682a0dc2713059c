"""Errors of a new project are retried with a backoff; other errors are shown at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
import pytest

from stacks.components import services
from tests.stacks.recording import run

NOT_PROPAGATED = [
    "googleapi: Error 403: Cloud Firestore API has not been used in project 123 before or it is disabled.",
    'Error 403: reason: "SERVICE_DISABLED"',
    "Error 400: Identity Pool does not exist (my-proj-1.svc.id.goog).",
    "Error 400: Service account chat-build@my-proj-1.iam.gserviceaccount.com does not exist.",
]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the backoffs in seconds, without waiting."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(services, "sleep", sleep)
    return waits


def is_retried(errors: list[str], operation: str = "create", kind: str = "gcp:container/cluster:Cluster") -> bool:
    answers: list[Any] = []

    def program() -> None:
        hook = services.propagation_retry("retry")
        failure = pulumi.ErrorHookArgs("urn", "", "n", kind, failed_operation=operation, errors=errors)
        answers.append(hook(failure))

    run(program)
    return asyncio.run(answers[0])


@pytest.mark.parametrize("error", NOT_PROPAGATED)
def test_propagation_errors_are_retried(error: str, slept: list[float]) -> None:
    assert is_retried([error])
    assert slept == [5.0]


def test_the_backoff_grows_to_30_seconds(slept: list[float]) -> None:
    assert is_retried(NOT_PROPAGATED[:1] * 10)
    assert slept == [30.0]


def test_retries_end_after_minutes(slept: list[float]) -> None:
    assert not is_retried(NOT_PROPAGATED[:1] * 30)
    assert slept == []


def test_another_error_is_not_retried(slept: list[float]) -> None:
    assert not is_retried(["Error 403: Quota 'CPUS' exceeded", NOT_PROPAGATED[0]])
    assert slept == []


CREATED_BUT_NOT_READ = [
    f'Error when reading or editing InstanceGroupManagers for node pool "default-pool": {NOT_PROPAGATED[0]}',
    f"Error reading bucket after creation: {NOT_PROPAGATED[0]}",
    f"Error waiting to create Database: {NOT_PROPAGATED[0]}",
]


@pytest.mark.parametrize("error", CREATED_BUT_NOT_READ)
def test_a_created_resource_is_not_created_again(error: str, slept: list[float]) -> None:
    assert not is_retried([error]), "the retry would end in 'already exists', without the resource in the state"
    assert is_retried([error], operation="update"), "the next run continues from there, and may retry"


@pytest.mark.parametrize("kind", ["gcp:projects/service:Service", "gcp:projects/iAMMember:IAMMember"])
def test_idempotent_creations_are_always_retried(kind: str, slept: list[float]) -> None:
    assert is_retried(CREATED_BUT_NOT_READ[:1], kind=kind)
