"""The table of prices and of assumed usage, read from `prices.yaml`."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("prices.yaml")
UNVERIFIED = "unverified"


@dataclass(frozen=True)
class Price:
    """US dollars, and the key of their source."""

    amount: float
    source: str

    @property
    def is_verified(self) -> bool:
        """Whether the table names a source."""
        return self.source != UNVERIFIED


@dataclass(frozen=True)
class Prices:
    """The whole table.

    Attributes:
        date: when it was written, such as 2026-11.
        sources: key -> page, with the date of the copy that was read.
        usage: how much is used, name -> amount.
        prices: name, or group and name ("gemini" -> model -> "input") -> ``[amount, source]``.
    """

    date: str
    sources: dict[str, str]
    usage: dict[str, float]
    prices: dict[str, Any]

    def __getitem__(self, path: str | tuple[str, ...]) -> Price:
        """Return the price of a name, or of a group and name such as ``("machines", "g2-standard-8")``.

        Raises:
            KeyError: there is none.
        """
        value: Any = self.prices
        for key in (path,) if isinstance(path, str) else path:
            value = value[key]
        amount, source = value
        return Price(float(amount), str(source))


@functools.cache
def prices() -> Prices:
    """Read the table."""
    return Prices(**yaml.safe_load(FILE.read_text(encoding="utf-8")))
