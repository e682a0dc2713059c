"""A new project is waited for, by trying what needs it; another error is shown at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pulumi
import pytest

from stacks import project
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

    monkeypatch.setattr(project, "sleep", sleep)
    return waits


def tries_again(errors: list[str]) -> bool:
    answers: list[Any] = []

    def program() -> None:
        hook = project.patience("patience")
        failure = pulumi.ErrorHookArgs("urn", "", "n", "t", failed_operation="create", errors=errors)
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
