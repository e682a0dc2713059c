"""Hours of the week, such as ``Sun-Thu 08:00-18:00 Asia/Jerusalem``: in them a model stays awake."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Iterator

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = 24 * 60
_WEEK = 7 * _DAY
_WINDOW = re.compile(r"([a-z]{3})(?:-([a-z]{3}))?\s+(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_EXAMPLE = "such as Sun-Thu 08:00-18:00 Asia/Jerusalem, or Mon-Fri 08:00-18:00, Sat 09:00-13:00 Europe/Berlin"


@dataclass(frozen=True, slots=True)
class _Window:
    """One time of some days. Minutes of the day; an end that is not later than the begin is on the next day."""

    days: frozenset[int]
    begin: int
    end: int

    @property
    def minutes(self) -> int:
        return (self.end - self.begin - 1) % _DAY + 1


@dataclass(frozen=True, slots=True)
class OfficeHours:
    """Times of the week in one time zone.

    The wall clock counts, also where it is changed: a time that the clock skips is an hour later, and one that comes
    twice is the first of both.
    """

    windows: tuple[_Window, ...]
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> OfficeHours:
        """Read ``DAYS FROM-TO[, DAYS FROM-TO ...] ZONE``; days are ``Mon`` or ``Sun-Thu``, the end may be ``24:00``.

        Raises:
            ValueError: it is not of that form, the zone is unknown, or the hours are the whole week; the text says so.
        """
        times, _, name = text.strip().rpartition(" ")
        windows = tuple(_window(part.strip()) for part in times.lower().split(","))
        covered = {(day * _DAY + minute) % _WEEK for window in windows for day, minute in _minutes(window)}
        if len(covered) == _WEEK:
            raise ValueError("these hours are the whole week, in which the model would never sleep")
        return cls(windows, _zone(name))

    def opened_ms(self, now_ms: int) -> int | None:
        """Return when the hours began that `now_ms` is in; `None`: it is outside of all hours.

        Args:
            now_ms: milliseconds since the epoch.
        """
        today = datetime.fromtimestamp(now_ms / 1000, self.zone).date()
        # Hours that follow each other without a pause have begun with the first of them, at most a week ago.
        spans = sorted(span for back in range(9) for span in self._spans(today - timedelta(days=back)))
        opened: int | None = None
        ended = 0
        for begin, end in spans:
            if begin > now_ms:
                break
            if opened is None or begin > ended:
                opened, ended = begin, end
            else:
                ended = max(ended, end)
        return opened if opened is not None and now_ms < ended else None

    def _spans(self, day: date) -> Iterator[tuple[int, int]]:
        for window in self.windows:
            if day.weekday() in window.days:
                yield self._at(day, window.begin), self._at(day, window.begin + window.minutes)

    def _at(self, day: date, minute: int) -> int:
        local = datetime.combine(day, time()) + timedelta(minutes=minute)
        return round(local.replace(tzinfo=self.zone).timestamp() * 1000)


def _minutes(window: _Window) -> Iterator[tuple[int, int]]:
    for day in window.days:
        for minute in range(window.minutes):
            yield day, window.begin + minute


def _window(text: str) -> _Window:
    found = _WINDOW.fullmatch(text)
    if not found:
        raise ValueError(f"days, hours and a time zone are needed, {_EXAMPLE}")
    first, last = found[1], found[2] or found[1]
    for name in (first, last):
        if name not in DAYS:
            raise ValueError(f"{name.capitalize()} is not a day: {', '.join(day.capitalize() for day in DAYS)}")
    begin, end = (_minute(int(found[at]), int(found[at + 1])) for at in (3, 5))
    if begin in {end, _DAY}:
        raise ValueError(f"{text[text.rindex(' ') + 1 :]} is no time of a day")
    start = DAYS.index(first)
    count = (DAYS.index(last) - start) % 7 + 1
    return _Window(frozenset((start + number) % 7 for number in range(count)), begin, end)


def _minute(hours: int, minutes: int) -> int:
    if minutes > 59 or hours * 60 + minutes > _DAY:
        raise ValueError(f"{hours}:{minutes:02} is no time: 00:00 to 24:00")
    return hours * 60 + minutes


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: the name of a folder of zones, such as Europe
        raise ValueError(
            f"{name or 'nothing'} is not a time zone: a name of the IANA database is needed, {_EXAMPLE}"
        ) from None
