"""What Gemma's machine costs in a month when it sleeps without questions, and when it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacks.cost.model import estimate

if TYPE_CHECKING:
    from stacks.settings import Settings

DAYS = 730 / 24
"""In a month."""
HOURS_WITH_QUESTIONS = 10.0
"""Of a day, in which questions come at random."""
WAKE_HOURS = 10 / 60
"""From a question to its answer, of which the machine is paid for from its start: the time before one was measured."""
REMOVAL_HOURS = 10 / 60
"""That the cluster keeps an empty machine: the autoscaler's default
(https://cloud.google.com/kubernetes-engine/docs/concepts/cluster-autoscaler)."""


@dataclass(frozen=True)
class AwakeHours:
    """How long Gemma is awake in a day, and how often it wakes."""

    hours: float
    wakes: float


def awake_hours(questions_a_day: float, idle_minutes: float) -> AwakeHours:
    """Return how long a machine is paid for in a day where Gemma sleeps after ``idle_minutes``.

    Questions come at random, at a rate r. A cycle is a wake, the time until none came for T hours, which takes
    (exp(r T) - 1) / r on average, and the sleep until the next one, 1 / r. The machine goes some time into the sleep.
    """
    if not questions_a_day:
        return AwakeHours(0.0, 0.0)
    rate, idle = questions_a_day / HOURS_WITH_QUESTIONS, idle_minutes / 60
    awake = WAKE_HOURS + math.expm1(min(rate * idle, 700)) / rate
    cycle = awake + 1 / rate
    share = (awake - math.expm1(-rate * REMOVAL_HOURS) / rate) / cycle
    last = idle + REMOVAL_HOURS  # after the last question of the day
    return AwakeHours(min(24.0, (HOURS_WITH_QUESTIONS + last) * share), max(1.0, HOURS_WITH_QUESTIONS / cycle))


def gemma_month(settings: Settings, questions_a_day: float, idle_minutes: float) -> float:
    """Return the US dollars of Gemma's machine in a month; with ``idle_minutes`` 0 it never sleeps."""
    return _machine(settings) * (awake_hours(questions_a_day, idle_minutes).hours / 24 if idle_minutes else 1.0)


def office_month(settings: Settings, hours_a_day: float, days_a_week: int) -> float:
    """Return the US dollars of Gemma's machine in a month of office hours, without questions outside of them."""
    return _machine(settings) * min(1.0, days_a_week * (hours_a_day + REMOVAL_HOURS) / (7 * 24))


def _machine(settings: Settings) -> float:
    (gemma,) = (part for part in estimate(settings).parts if part.name.startswith("Gemma"))
    return gemma.hour * 24 * DAYS + gemma.month
