"""The arithmetic of sleeping, and its table in the documentation."""

from __future__ import annotations

import re

import pytest

from stacks.cost.sleeping import DAYS, awake_hours, gemma_month, office_month
from tests.stacks.cost.test_cost import parsed
from tests.stacks.deployments import GCP
from tests.stacks.recording import ROOT

RATES = (10, 100, 1000)


def test_without_questions_gemma_costs_nothing() -> None:
    assert gemma_month(parsed(GCP), 0, 30) == 0


def test_awake_all_the_time_costs_the_machine_day_and_night() -> None:
    assert gemma_month(parsed(GCP), 10, 0) == pytest.approx(0.853624312 * 1.12 * 730 + 10, abs=0.01)


def test_a_question_an_hour_by_hand() -> None:
    awake = 1 / 6 + 0.6487  # the wake, and exp(0.5) - 1 hours
    share = (awake + 0.1535) / (awake + 1)  # the machine goes 1 - exp(-1/6) hours later
    hours = awake_hours(10, 30)
    assert hours.hours == pytest.approx((10 + 0.5 + 1 / 6) * share, abs=0.01)
    assert hours.wakes == pytest.approx(10 / (awake + 1), abs=0.01)


def test_office_hours_by_hand() -> None:
    machine = 0.853624312 * 1.12 * 730 + 10
    assert office_month(parsed(GCP), 10, 5) == pytest.approx(machine * (50 + 5 / 6) / 168, abs=0.01)
    assert office_month(parsed(GCP), 24, 7) == pytest.approx(machine, abs=0.01)


@pytest.mark.parametrize("idle", [5, 30, 120])
def test_more_questions_never_cost_less_and_never_more_than_a_day(idle: int) -> None:
    hours = [round(awake_hours(questions, idle).hours, 6) for questions in range(0, 3000, 7)]
    assert hours == sorted(hours)
    assert hours[-1] <= 24


def test_the_documentation_has_these_figures() -> None:
    text = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    settings = parsed(GCP)
    rows = {
        "never sleeps": [f"${gemma_month(settings, rate, 0):,.0f}" for rate in RATES],
        "sleeps after 30 minutes": [f"${gemma_month(settings, rate, 30):,.0f}" for rate in RATES],
        "sleeps after 5 minutes": [f"${gemma_month(settings, rate, 5):,.0f}" for rate in RATES],
        "awake a day, after 30 minutes": [f"{awake_hours(rate, 30).hours:.1f} h" for rate in RATES],
        "wakes a day, after 30 minutes": [f"{awake_hours(rate, 30).wakes:.0f}" for rate in RATES],
    }
    for name, figures in rows.items():
        assert f"| {name} | {' | '.join(figures)} |" in text
    assert f"ten hours on five days are ${office_month(settings, 10, 5):,.0f} a month" in text
    assert re.search(r"10 \| 100 \| 1,000 questions a day", text)
    assert pytest.approx(30.4, abs=0.1) == DAYS
