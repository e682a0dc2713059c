"""Hours of the week, by the wall clock of their zone, also on the days on which it is changed."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from chatapp.domain.office_hours import OfficeHours

OFFICE = "Sun-Thu 08:00-18:00 Asia/Jerusalem"
SHOPS = "Mon-Fri 08:00-18:00, Sat 09:00-13:00 Europe/Berlin"
NIGHTS = "Fri-Sun 22:00-06:00 Europe/Berlin"
ENDLESS_DAYS = "Mon-Fri 00:00-24:00 UTC"


def opened(hours, time, *, fold=0):
    """Return the local time at which the hours began that `time` is in; None: it is outside."""
    parsed = OfficeHours.parse(hours)
    now = datetime.fromisoformat(time).replace(tzinfo=parsed.zone, fold=fold)
    begun = parsed.opened_ms(round(now.timestamp() * 1000))
    return begun and datetime.fromtimestamp(begun / 1000, parsed.zone).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("hours", "time", "begun"),
    [
        (OFFICE, "2026-11-29T07:59:59.999", None),
        (OFFICE, "2026-11-29T08:00", "2026-11-29 08:00"),  # a Sunday
        (OFFICE, "2026-12-03T17:59:59.999", "2026-12-03 08:00"),
        (OFFICE, "2026-12-03T18:00", None),
        (OFFICE, "2026-12-04T12:00", None),  # a Friday
        (SHOPS, "2026-12-05T12:59", "2026-12-05 09:00"),
        (SHOPS, "2026-12-05T13:00", None),
        (NIGHTS, "2026-12-07T05:59", "2026-12-06 22:00"),  # on Monday, of Sunday's night
        (NIGHTS, "2026-12-07T06:00", None),
        (NIGHTS, "2026-12-04T05:00", None),  # Friday's night begins in the evening
        (ENDLESS_DAYS, "2026-12-04T23:59", "2026-11-30 00:00"),  # days without a pause are one time
        (ENDLESS_DAYS, "2026-12-05T00:00", None),
        ("sat-mon 7:05-9:00 UTC", "2026-12-06T07:05", "2026-12-06 07:05"),
        ("Mon 08:00-12:00, Mon 12:00-13:00, Mon 14:00-15:00 UTC", "2026-11-30T12:30", "2026-11-30 08:00"),
        ("Mon 08:00-12:00, Mon 12:00-13:00, Mon 14:00-15:00 UTC", "2026-11-30T14:30", "2026-11-30 14:00"),
    ],
)
def test_a_time_is_within_the_hours_that_the_clock_on_the_wall_shows(hours, time, begun):
    assert opened(hours, time) == begun


# Israel: 2026-03-27 02:00 becomes 03:00; 2026-10-25 02:00 becomes 01:00. Berlin: 2026-03-29 and 2026-10-25.
@pytest.mark.parametrize(
    ("hours", "time", "fold", "begun"),
    [
        (OFFICE, "2026-03-26T08:00", 0, "2026-03-26 08:00"),  # the last day of winter time, a Thursday
        (OFFICE, "2026-03-29T07:59", 0, None),  # the first working day of summer time
        (OFFICE, "2026-03-29T08:00", 0, "2026-03-29 08:00"),
        (OFFICE, "2026-10-25T08:00", 0, "2026-10-25 08:00"),
        (OFFICE, "2026-10-25T18:00", 0, None),
        ("Sun 02:30-05:00 Europe/Berlin", "2026-03-29T03:29", 0, None),  # the clock skips 2:30
        ("Sun 02:30-05:00 Europe/Berlin", "2026-03-29T03:30", 0, "2026-03-29 03:30"),
        ("Sun 02:30-05:00 Europe/Berlin", "2026-03-29T05:00", 0, None),
        ("Sun 02:30-05:00 Europe/Berlin", "2026-10-25T02:29", 0, None),  # 2:30 comes twice
        ("Sun 02:30-05:00 Europe/Berlin", "2026-10-25T02:30", 0, "2026-10-25 02:30"),
        ("Sun 02:30-05:00 Europe/Berlin", "2026-10-25T02:10", 1, "2026-10-25 02:30"),
        ("Sat 23:00-02:30 Europe/Berlin", "2026-03-29T03:29", 0, "2026-03-28 23:00"),
        ("Sat 23:00-02:30 Europe/Berlin", "2026-03-29T03:30", 0, None),
    ],
)
def test_hours_keep_to_the_clock_on_the_days_on_which_it_is_changed(hours, time, fold, begun):
    assert opened(hours, time, fold=fold) == begun


def test_the_same_hours_are_one_hour_apart_in_summer_and_winter():
    hours = OfficeHours.parse(OFFICE)
    begun = [
        hours.opened_ms(round(datetime(2026, month, day, 12, tzinfo=hours.zone).timestamp() * 1000)) // 60_000 % 1440
        for month, day in ((1, 4), (7, 5))
    ]
    assert begun == [6 * 60, 5 * 60], "minutes of the day in UTC"


def test_the_zone_counts_and_not_that_of_the_server():
    hours = OfficeHours.parse("Mon 08:00-09:00 America/New_York")
    assert hours.opened_ms(round(datetime(2026, 11, 30, 13, tzinfo=ZoneInfo("UTC")).timestamp() * 1000))
    assert hours.opened_ms(round(datetime(2026, 11, 30, 8, tzinfo=ZoneInfo("UTC")).timestamp() * 1000)) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "days, hours and a time zone are needed, such as Sun-Thu 08:00-18:00 Asia/Jerusalem"),
        ("Sun-Thu 08:00-18:00", "days, hours and a time zone are needed"),
        ("08:00-18:00 UTC", "days, hours and a time zone are needed"),
        ("Sun 08:00-18:00; Mon 08:00-18:00 UTC", "days, hours and a time zone are needed"),
        ("Sun-Tmw 08:00-18:00 UTC", "Tmw is not a day: Mon, Tue"),
        ("Sun 08:00-08:00 UTC", "08:00-08:00 is no time of a day"),
        ("Sun 24:00-08:00 UTC", "24:00-08:00 is no time of a day"),
        ("Sun 08:00-25:00 UTC", "25:00 is no time: 00:00 to 24:00"),
        ("Sun 08:60-09:00 UTC", "8:60 is no time"),
        ("Mon 08:00-18:00 Europe/Nowhere", "Europe/Nowhere is not a time zone"),
        ("Mon 08:00-18:00 Europe", "Europe is not a time zone"),
        ("Mon 08:00-18:00 ../../etc/passwd", "is not a time zone"),
        ("Mon-Sun 00:00-24:00 UTC", "the whole week, in which the model would never sleep"),
        ("Mon-Sun 08:00-20:00, Mon-Sun 20:00-08:00 UTC", "the whole week"),
    ],
)
def test_what_are_no_hours_is_refused_in_words(text, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        OfficeHours.parse(text)
