"""Pages of Google Takeout: times in many languages, odd HTML, and any size in little memory."""

import io
import tracemalloc

import pytest

from chatapp.imports import takeout_page
from chatapp.imports.formats.takeout_times import takeout_time
from chatapp.imports.refusals import InvalidImport
from chatapp.imports.takeout_page import read_activities
from tests.chatapp.imports.exports import CELLS, activity_cell, activity_page

TIME = "18 Sept 2025, 12:02:52 CET"
TIMES = {
    # From the public sources that the module names.
    "Apr 12, 2026, 3:34:31\u202fPM EDT": "2026-04-12T19:34:31",
    "Jun 23, 2015, 2:43:45 PM": "2015-06-23T14:43:45",
    "Jan 15, 2021, 6:54:12 PM BST": "2021-01-15T17:54:12",
    "May 19, 2026, 7:07:02\u202fPM GMT-03:00": "2026-05-19T22:07:02",
    "6 Oct 2020, 14:32:28 PDT": "2020-10-06T21:32:28",
    "18 Sept 2025, 12:02:52 CET": "2025-09-18T11:02:52",
    "10 de mai. de 2026, 03:46:09 BRT": "2026-05-10T06:46:09",
    "10 abr 2026, 19:55:59 CEST": "2026-04-10T17:55:59",
    "4 juli 2026 09:15:00 CEST": "2026-07-04T07:15:00",
    "01.09.2022, 21:08:12": "2022-09-01T21:08:12",
    "2024. 10. 19. 오후 9:15:07 KST": "2024-10-19T12:15:07",
    "2026年6月20日 00:28:51 CST": "2026-06-19T16:28:51",
    # From the CLDR.
    "Feb 3, 2026, 12:05:06 AM CST": "2026-02-03T06:05:06",
    "Feb 3, 2026, 12:05:06 PM UTC": "2026-02-03T12:05:06",
    "10 ene 2026, 7:55:59\u00a0p.\u00a0m. COT": "2026-01-11T00:55:59",
    "10 juil. 2026, 19:55:59 CEST": "2026-07-10T17:55:59",
    "10 juin 2026, 19:55:59 CEST": "2026-06-10T17:55:59",
    "10 lis 2025, 19:55:59 CET": "2025-11-10T18:55:59",
    "10 мая 2026 г., 19:55:59 MSK": "2026-05-10T16:55:59",
    "2026. ápr. 10. 19:55:59 CEST": "2026-04-10T17:55:59",
    "2026/06/20 0:28:51 JST": "2026-06-19T15:28:51",
    "10 Mei 2026 19.55.59 WIB": "2026-05-10T12:55:59",
    "10 באפר׳ 2026, 19:55:59 IDT": "2026-04-10T16:55:59",
    "3 במרץ 2026, 9:00:00 IST": "2026-03-03T07:00:00",
    "3 Mar 2026, 9:00:00 IST": "2026-03-03T03:30:00",
    "10.4.2026, 19:55:59 GMT+3": "2026-04-10T16:55:59",
    "10\u200f/04\u200f/2026، 7:55:59\u00a0م UTC+2": "2026-04-10T17:55:59",
    "١٠ أبريل ٢٠٢٦، ٧:٥٥:٥٩ م غرينتش+٢": "2026-04-10T17:55:59",
    "10 تشرين الأول 2026، 7:55:59 ص EEST": "2026-10-10T04:55:59",
}
NO_TIMES = [
    "",
    "10:11:12",
    "What happened on 10 May 2026 at 10:11:12?",
    "10 May 2026, 10:11:12, and what then? Nothing at all",
    "10 May 2026, 10:11:12 and 10:11:13",
    "31 Feb 2026, 10:11:12 UTC",
    "10 Foo 2026, 10:11:12 UTC",
    "10 May 2026, 25:11:12 UTC",
    "1 1 1 1 2026, 10:11:12",
    "1 Jan 0001, 00:00:00 GMT+14",
    "x" * 100_000,
]


@pytest.mark.parametrize("text", TIMES)
def test_time_is_read_in_the_language_of_the_account(text):
    assert takeout_time(text) == f"{TIMES[text]}+00:00"


@pytest.mark.parametrize("text", NO_TIMES)
def test_what_is_no_time_is_none(text):
    assert takeout_time(text) is None


def activities(page):
    return list(read_activities(io.BytesIO(page), "page"))


def test_an_activity_has_what_the_json_would_have():
    lines = ("second &lt;line&gt;", "", "Attached 1 file.", '- <a href="a%20b.png">a b.png</a>')
    [activity] = activities(
        activity_page(activity_cell("Prompted&nbsp;first&nbsp;line", TIME, "<p>Yes</p>", lines=lines))
    )
    assert activity["title"] == "Prompted first line\nsecond <line>"
    assert (activity["header"], activity["attachedFiles"], activity["imageFiles"]) == ("Gemini Apps", ["a b.png"], [])
    assert activity["safeHtmlItem"] == [{"html": "<p>Yes</p>"}]


def test_a_verb_in_another_language_is_left_out_and_without_an_answer_it_is_no_question():
    page = activity_page(
        activity_cell("Gav instruktionen&nbsp;Vilken ost?", "4 juli 2026 09:15:00 CEST", "<p>Brie.</p>"),
        activity_cell("Gav feedback&nbsp;Bra svar", "4 juli 2026 09:16:00 CEST"),
    )
    question, other = activities(page)
    assert (question["title"], other["title"]) == ("Vilken ost?", "Gav feedback Bra svar")
    assert "safeHtmlItem" not in other


def test_code_in_an_answer_that_looks_like_the_page_ends_nothing():
    code = '<pre>&lt;div class="outer-cell"&gt;&lt;div class="content-cell"&gt;</pre><div><div>after</div></div>'
    [activity] = activities(activity_page(activity_cell("Prompted&nbsp;Show the page", TIME, code)))
    assert "after" in activity["safeHtmlItem"][0]["html"]


@pytest.mark.parametrize("size", [1, 7, 100, 1_000])
def test_where_the_reads_end_makes_no_difference(monkeypatch, size):
    page = activity_page(*CELLS)
    whole = activities(page)
    monkeypatch.setattr(takeout_page, "CHUNK_BYTES", size)
    assert activities(page) == whole
    assert len(whole) == len(CELLS)


class Endless(io.RawIOBase):
    """A file of any size: a page's beginning, then the same part over and over."""

    def __init__(self, begin, part, size):
        self._begin, self._part, self._left = begin, part, size
        self.total = 0

    def read(self, size):
        size = min(size, self._left)
        data = (self._begin + self._part * (size // len(self._part) + 1))[:size]
        self._begin = b""
        self._left -= size
        self.total += size
        return data


@pytest.mark.slow
def test_a_large_page_is_read_in_little_memory():
    cell = activity_cell("Prompted&nbsp;שאלה", TIME, "<p>" + "תשובה " * 2_000).encode()
    stream = Endless(b"<html>", cell, 40_000_000)
    tracemalloc.start()
    try:
        count = sum(1 for _ in read_activities(stream, "page"))
        assert tracemalloc.get_traced_memory()[1] < 16_000_000
    finally:
        tracemalloc.stop()
    assert count > 1_000


@pytest.mark.parametrize("part", [b"<div>", b"x", b"<br>", b'<a href="x', "😀".encode()])
def test_an_activity_without_an_end_is_refused_before_it_takes_much_memory(part):
    stream = Endless(CELLS[1].encode(), part, 1_000_000_000)
    with pytest.raises(InvalidImport, match="has more than 4 MB"):
        list(read_activities(stream, "page"))
    assert stream.total < 30_000_000


def test_a_page_without_activities_is_given_up_early():
    stream = Endless(b"<html>", b"<p>x</p>", 1_000_000_000)
    assert list(read_activities(stream, "page")) == []
    assert stream.total < 10_000_000
