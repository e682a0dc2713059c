"""A budget is off unless it is set, and has what its API asks of a person's own credentials."""

from __future__ import annotations

import pytest

from tests.stacks.deployments import GCP, KUBERNETES, PROJECT, PUBLIC_HTTP
from tests.stacks.recording import BILLING, NUMBER, deploy, seen

pytestmark = pytest.mark.slow  # many deployments


def test_there_is_no_budget_unless_it_is_set() -> None:
    run = seen(GCP)
    assert not run.of_type("Budget")
    assert not any(r["service"] == "billingbudgets.googleapis.com" for r in run.of_type("projects/service:Service"))


def test_the_budget_is_for_this_project_in_the_currency_of_its_billing_account() -> None:
    budget = seen(PUBLIC_HTTP).one("Budget")
    assert budget["billingAccount"] == BILLING
    assert budget["amount.specifiedAmount"] == {"units": "300"}
    assert budget["budgetFilter"] == {"projects": [f"projects/{NUMBER}"], "calendarPeriod": "MONTH"}
    alerts = [(rule["thresholdPercent"], rule["spendBasis"]) for rule in budget["thresholdRules"]]
    assert (0.5, "CURRENT_SPEND") in alerts
    assert (1.0, "FORECASTED_SPEND") in alerts


def test_the_budgets_provider_names_a_quota_project_and_all_else_has_the_default_one() -> None:
    run = seen(PUBLIC_HTTP)
    provider = run.one("providers:gcp")
    assert (provider["project"], provider["billingProject"]) == (PROJECT, PROJECT)
    assert provider["userProjectOverride"] == "true"
    assert {r.type for r in run.resources if r.provider == provider.name} == {"gcp:billing/budget:Budget"}
    api = next(r for r in run.of_type("projects/service:Service") if r["service"] == "billingbudgets.googleapis.com")
    assert run.needs(run.one("Budget"), api)


def test_an_impersonated_account_is_the_budgets_too() -> None:
    account = "deployer@my-proj-1.iam.gserviceaccount.com"
    run = deploy(PUBLIC_HTTP | {"gcp:impersonateServiceAccount": account})
    assert run.one("providers:gcp")["impersonateServiceAccount"] == account


def test_nothing_waits_for_the_budget() -> None:
    run = seen(PUBLIC_HTTP)
    budget = run.one("Budget")
    assert [r.urn for r in run.resources if run.needs(r, budget)] == []


def test_another_cluster_has_no_budget() -> None:
    assert not seen(KUBERNETES).of_type("Budget")
