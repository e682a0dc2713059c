"""A budget of Cloud Billing, which sends an e-mail when the project's cost passes a share of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_gcp as gcp

if TYPE_CHECKING:
    from collections.abc import Sequence

ALERTS = ((0.5, "CURRENT_SPEND"), (0.9, "CURRENT_SPEND"), (1.0, "CURRENT_SPEND"), (1.0, "FORECASTED_SPEND"))
"""Share of the amount, and of what: spent, or expected by the end of the month."""
# What a person may set for the default provider; an explicit one does not read it from the stack's configuration.
_CREDENTIALS = ("credentials", "accessToken", "impersonateServiceAccount")


@dataclass(frozen=True)
class MonthlyBudgetArgs:
    """Arguments of `MonthlyBudget`.

    Attributes:
        project: the project's ID.
        name: on the page of budgets and in the e-mails, at most 60 characters.
        amount: for a month, in the currency of the billing account.
        depends_on: the API.
        hooks: retries while it is not ready (`ProjectServices.hooks`).
    """

    project: str
    name: str
    amount: int
    depends_on: Sequence[pulumi.Resource] = ()
    hooks: pulumi.ResourceHookBinding | None = field(default=None, compare=False)


class MonthlyBudget(pulumi.ComponentResource):
    """A budget for the whole project. It alerts the billing account's administrators, and stops nothing.

    The API wants a quota project, which a person's own credentials do not have
    (https://registry.terraform.io/providers/hashicorp/google/latest/docs/resources/billing_budget), so the budget has a
    provider of its own, which names this project for it.
    """

    def __init__(self, name: str, args: MonthlyBudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("hybrid-chat:stacks:MonthlyBudget", name, {}, opts)
        config = pulumi.Config("gcp")
        credentials = {key: value for key in _CREDENTIALS if (value := config.get_secret(key)) is not None}
        provider = gcp.Provider(
            "billed",
            project=args.project,
            billing_project=args.project,
            user_project_override=True,
            credentials=credentials.get("credentials"),
            access_token=credentials.get("accessToken"),
            impersonate_service_account=credentials.get("impersonateServiceAccount"),
            opts=pulumi.ResourceOptions(parent=self),
        )
        record = gcp.organizations.get_project_output(
            project_id=args.project, opts=pulumi.InvokeOutputOptions(parent=self, depends_on=args.depends_on)
        )
        gcp.billing.Budget(
            "budget",
            billing_account=record.billing_account,
            display_name=args.name,
            amount=gcp.billing.BudgetAmountArgs(
                # Without a currency, which must be the billing account's.
                specified_amount=gcp.billing.BudgetAmountSpecifiedAmountArgs(units=str(args.amount))
            ),
            # With the ID instead of the number, each update would show a change.
            budget_filter=gcp.billing.BudgetBudgetFilterArgs(
                projects=[pulumi.Output.concat("projects/", record.number)], calendar_period="MONTH"
            ),
            threshold_rules=[
                gcp.billing.BudgetThresholdRuleArgs(threshold_percent=share, spend_basis=basis)
                for share, basis in ALERTS
            ],
            opts=pulumi.ResourceOptions(parent=self, provider=provider, depends_on=args.depends_on, hooks=args.hooks),
        )
        self.register_outputs({})
