"""Durations in words."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from chatapp.domain.sentences import Sentence


def seconds_in_words(seconds: float) -> Sentence:
    """Return a duration, without trailing zeros."""
    return Sentence("1 second") if seconds == 1 else Sentence("{seconds} seconds", seconds=f"{seconds:g}")


def retry_after(value: str) -> Sentence:
    """Return a Retry-After header in words; RFC 9110 allows seconds and a date."""
    try:
        seconds = (
            int(value) if value.isdecimal() else (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):
        return Sentence("in a moment")
    if seconds < 2:
        return Sentence("now")
    if seconds < 120:
        return Sentence("in {seconds} seconds", seconds=round(seconds))
    return Sentence("in {minutes} minutes", minutes=round(seconds / 60))
