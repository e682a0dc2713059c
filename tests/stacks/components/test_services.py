"""A new project is waited for, by trying what needs it; another error is shown at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
import pytest

from stacks.components import services
from tests.stacks.recording import run

NOT_YET = [
    "googleapi: Error 403: Cloud Firestore API has not been used in project 123 before or it is disabled.",
    'Error 403: reason: "SERVICE_DISABLED"',
    "Error 400: Identity Pool does not exist (my-proj-1.svc.id.goog).",
    "Error 400: Service account chat-build@my-proj-1.iam.gserviceaccount.com does not exist.",
]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the waits, none of which is waited."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(services, "sleep", sleep)
    return waits


def tries_again(errors: list[str], operation: str = "create", kind: str = "gcp:container/cluster:Cluster") -> bool:
    answers: list[Any] = []

    def program() -> None:
        hook = services.patience("patience")
        failure = pulumi.ErrorHookArgs("urn", "", "n", kind, failed_operation=operation, errors=errors)
        answers.append(hook(failure))

    run(program)
    return asyncio.run(answers[0])


@pytest.mark.parametrize("error", NOT_YET)
def test_what_is_not_there_yet_is_tried_again(error: str, slept: list[float]) -> None:
    assert tries_again([error])
    assert slept == [5.0]


def test_the_wait_grows_and_stays_at_half_a_minute(slept: list[float]) -> None:
    assert tries_again(NOT_YET[:1] * 10)
    assert slept == [30.0]


def test_after_minutes_the_error_is_shown(slept: list[float]) -> None:
    assert not tries_again(NOT_YET[:1] * 30)
    assert slept == []


def test_another_error_is_shown_at_once(slept: list[float]) -> None:
    assert not tries_again(["Error 403: Quota 'CPUS' exceeded", NOT_YET[0]])
    assert slept == []


MADE_BUT_NOT_SEEN = [
    f'Error when reading or editing InstanceGroupManagers for node pool "default-pool": {NOT_YET[0]}',
    f"Error reading bucket after creation: {NOT_YET[0]}",
    f"Error waiting to create Database: {NOT_YET[0]}",
]


@pytest.mark.parametrize("error", MADE_BUT_NOT_SEEN)
def test_what_was_made_is_not_made_again(error: str, slept: list[float]) -> None:
    assert not tries_again([error]), "the second attempt would end in 'already exists', and the first be forgotten"
    assert tries_again([error], operation="update"), "the next run goes on from there, and may wait"


@pytest.mark.parametrize("kind", ["gcp:projects/service:Service", "gcp:projects/iAMMember:IAMMember"])
def test_what_can_be_made_twice_is_tried_again_in_any_case(kind: str, slept: list[float]) -> None:
    assert tries_again(MADE_BUT_NOT_SEEN[:1], kind=kind)
