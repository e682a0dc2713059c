"""The estimate as a sentence, as a table for a terminal, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stacks.cost.prices import UNVERIFIED, prices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stacks.cost.model import Estimate
    from stacks.settings import Settings

PRICED_REGION = "us-central1"
_ROW = "{:36}{:>2}{:>9}{:>12}{:>17}   {}"


def summary(estimate: Estimate) -> str:
    """Return the estimate as one sentence."""
    return (
        f"Estimated cost: ${estimate.hour:.2f} an hour, ${estimate.month_idle:,.0f} a month without questions, and "
        f"${estimate.thousand_questions:.2f} for each 1,000 questions that Gemini answers (make cost: by part)."
    )


def table(estimate: Estimate, settings: Settings) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"Estimated cost in US dollars: list prices of {prices().date} (stacks/cost/prices.yaml); ? = not verified"
    yield _ROW.format("", "", "an hour", "a month", "1,000 questions", "").rstrip()
    for part in estimate.parts:
        costs = (_figure(part.hour, 3), _figure(estimate.month_of(part), 2), _figure(part.thousand_questions, 3))
        yield _ROW.format(part.name, "" if part.is_verified else "?", *costs, part.note).rstrip()
    sums = (_figure(estimate.hour, 3), _figure(estimate.month_idle, 2), _figure(estimate.thousand_questions, 3))
    yield _ROW.format("together", "", *sums, "").rstrip()
    yield (
        f"A month with {estimate.questions_per_month:,.0f} questions that Gemini answers: ${estimate.month:,.2f}. Free "
        "quotas and discounts are not deducted; taxes are not included."
    )
    if settings.on_gcp and settings.region != PRICED_REGION:
        yield f"The prices are those of {PRICED_REGION}; those of {settings.region} are up to a third higher."
    if not settings.on_gcp:
        yield "The cluster, with its GPUs, is not included: the stack does not know what it costs you."


def as_json(estimate: Estimate) -> dict[str, Any]:
    """Return the estimate for a program."""
    source = prices()
    return {
        "currency": "USD",
        "date": source.date,
        "sources": {key: page for key, page in source.sources.items() if key != UNVERIFIED},
        "hour": round(estimate.hour, 4),
        "month_idle": round(estimate.month_idle, 2),
        "month": round(estimate.month, 2),
        "questions_per_month": estimate.questions_per_month,
        "thousand_questions": round(estimate.thousand_questions, 4),
        "parts": [
            {
                "name": part.name,
                "hour": round(part.hour, 4),
                "month_idle": round(estimate.month_of(part), 2),
                "thousand_questions": round(part.thousand_questions, 4),
                "verified": part.is_verified,
                "note": part.note,
            }
            for part in estimate.parts
        ],
    }


def _figure(amount: float, digits: int) -> str:
    return f"{amount:,.{digits}f}" if amount else "-"
