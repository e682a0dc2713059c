"""Errors of a new project are retried with a backoff; other errors are shown at once, with advice."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
import yaml

from stacks.components import retries
from tests.stacks.recording import run

if TYPE_CHECKING:
    from collections.abc import Callable

ERRORS = yaml.safe_load((Path(__file__).parents[1] / "data/google_errors.yaml").read_text(encoding="utf-8"))
NOT_PROPAGATED = [text for _, text in ERRORS["transient"]]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the backoffs in seconds, without waiting."""
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(retries, "sleep", sleep)
    return waits


def is_retried(
    errors: list[str],
    operation: str = "create",
    kind: str = "gcp:container/cluster:Cluster",
    made: Callable[[str], pulumi.ErrorHook] = retries.propagation_retry,
) -> bool:
    answers: list[Any] = []

    def program() -> None:
        hook = made("retry")
        failure = pulumi.ErrorHookArgs("urn", "", "n", kind, failed_operation=operation, errors=errors)
        answers.append(hook(failure))

    run(program)
    return asyncio.run(answers[0])


def test_each_text_was_reported_in_a_thread_or_is_in_googles_own_list() -> None:
    rows = [row for table in ERRORS.values() for row in table]
    assert len(rows) >= 85
    assert [
        source for source, _ in rows if not re.fullmatch(r"[\w./-]+#\d+|google/api/error_reason\.proto", source)
    ] == []
    texts = [text for _, text in rows]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("error", NOT_PROPAGATED)
def test_errors_that_pass_by_themselves_are_transient(error: str) -> None:
    assert retries.is_transient(error)
    assert retries.advice(error) is None


@pytest.mark.parametrize("error", [text for _, text in ERRORS["permanent"]])
def test_errors_that_a_person_must_mend_come_with_advice(error: str) -> None:
    assert retries.advice(error)
    assert not retries.is_transient(error)


@pytest.mark.parametrize("error", [text for _, text in ERRORS["other"]])
def test_other_errors_are_shown_as_they_are(error: str) -> None:
    assert retries.advice(error) is None
    assert not retries.is_transient(error)


def test_a_transient_error_is_retried_after_a_backoff(slept: list[float]) -> None:
    assert is_retried([NOT_PROPAGATED[0]])
    assert slept == [5.0]


def test_missing_quota_project_ends_the_wait_at_once_and_says_what_to_do(
    slept: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(pulumi.log, "error", told.append)
    text = next(text for _, text in ERRORS["permanent"] if "764086051850" in text)
    assert not is_retried([text])
    assert slept == []
    assert "pulumi config set gcp:userProjectOverride true" in told[0], "the provider ignores gcloud's quota project"
    denied = next(text for _, text in ERRORS["permanent"] if "USER_PROJECT_DENIED" in text)
    assert "roles/serviceusage.serviceUsageConsumer" in str(retries.advice(denied))


def test_the_backoff_grows_to_30_seconds(slept: list[float]) -> None:
    assert is_retried(NOT_PROPAGATED[:1] * 10)
    assert slept == [30.0]


def test_retries_end_after_minutes(slept: list[float]) -> None:
    assert not is_retried(NOT_PROPAGATED[:1] * 30)
    assert slept == []


WEBHOOK = (
    'Internal error occurred: failed calling webhook "mleaderworkerset.kb.io": failed to call webhook: Post '
    '"https://lws-webhook-service.lws-system.svc:443/mutate": no endpoints available for service "lws-webhook-service"'
)


@pytest.mark.parametrize(
    ("errors", "retried"),
    [([WEBHOOK], True), ([WEBHOOK] * 6, True), ([WEBHOOK] * 40, False), (["is invalid: spec.size", WEBHOOK], False)],
    ids=["once", "again", "for minutes", "another error"],
)
def test_a_webhook_that_does_not_answer_yet_is_asked_again(
    errors: list[str], retried: bool, slept: list[float]
) -> None:
    assert is_retried(errors, kind="kubernetes:x/v1:X", made=retries.webhook_retry) is retried
    assert bool(slept) is retried


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
