"""The Retry-After header in words."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from chatapp.domain.sentences import Sentence, Wait


def retry_after(value: str) -> str:
    """Return a Retry-After header in words; RFC 9110 allows seconds and a date."""
    try:
        seconds = (
            int(value) if value.isdecimal() else (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
        )
    except (ValueError, TypeError):
        return Sentence("in a moment")
    if seconds < 2:
        return Sentence("now")
    return Wait(round(seconds))
