"""Benchmarks of the chat: its start, page, stores, load and faults; ``make bench`` runs them."""

from collections.abc import Sequence


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest rank; NaN if there is no value."""
    ordered = sorted(values)
    return ordered[max(0, int(-(-len(ordered) * percent // 100)) - 1)] if ordered else float("nan")
