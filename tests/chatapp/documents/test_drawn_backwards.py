"""Text that is drawn or spelled from right to left is put into the order in which it is read."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.documents.extraction.drawn_backwards import (
    Joints,
    Piece,
    backwards_fonts,
    is_drawn_backwards,
    respelled,
    unnamed_letters,
    widened,
)
from chatapp.documents.extraction.reading import read

PDFS = Path(__file__).parent / "pdfs"


def lines(name):
    _, [page] = read((PDFS / name).read_bytes(), name)
    return [(block.kind.value, block.text) for block in page.blocks]


def test_a_hebrew_pdf_of_cairo_has_its_words_and_its_table():
    assert lines("cairo.he.pdf") == [
        ("heading", "חוזה שכירות"),
        ("heading", "תשלום"),
        ("text", "דמי השכירות הם 4,500 שקלים לחודש (כולל מים), עד ה-10 בכל חודש."),
        ("header", "שירות | מחיר | ימים"),
        ("row", "השכרת אולם | 350 | שישי"),
    ]


def test_an_arabic_pdf_of_cairo_has_its_words_and_its_rows():
    heading, second, text, header, row = lines("cairo.ar.pdf")
    assert (heading[1], second[1], header[1]) == ("دليل العيادة", "ساعات العمل", "الخدمة | السعر | الأيام")
    assert text[1] == (
        "تفتح العيادة أبوابها من الأحد إلى الخميس حتى السادسة. تُحجز المواعيد قبل يومين على الأقل (هاتف 104 ). "
        "ومن لا يحضر يدفع خمسين دينارًا."
    )
    assert row[1].replace(" | ", " ") == "درس خاص 95 الجمعة"


def piece(text, width, x=100.0, font="serif"):
    return Piece(x, 700, width, 10, text, font)


def test_pieces_of_two_or_three_letters_show_that_boxes_lack_the_outer_letters():
    drawn = [piece("עד", 0), piece("כל", 0.2), piece("בית", 4), piece("הספרייה", 30)]
    assert is_drawn_backwards(drawn)
    assert not is_drawn_backwards(drawn[1:])  # two are too few
    assert not is_drawn_backwards([*drawn, *[piece("של", 11)] * 5])  # most have their width
    assert not is_drawn_backwards([piece("on", 0)] * 9)


def test_boxes_that_lack_their_outer_letters_get_them():
    long, short, single, number = widened([piece("הספרייה", 25), piece("עד", 0), piece("ו", 5), piece("12", 11)])
    assert (long.x, long.width) == (95, 35)  # five letters are 25 points wide, so one is 5
    assert (short.x, short.width) == (95, 10)
    assert (single.x, single.width) == (100, 5)
    assert (number.x, number.width) == (100, 11)


def test_a_lam_and_alef_are_drawn_as_one_letter_whose_box_is_whole():
    _, whole = widened([piece("السادسة", 25), piece("لا", 4)])
    assert (whole.x, whole.width) == (100, 4)


class TestJoints:
    JOINTS = Joints("تفتح   العيادة   من   ا ﻷ حد   إلى   ت ُ حجز  350 الجمعة  أما   الكهرباء  أما الثقوب")

    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            ("الأ", "حد", False),
            ("من ا", "لأ", False),
            ("من", "الأ", True),
            ("حد", "إلى", None),  # in the plain text no word ends so
            ("الأحد", "إلى", True),
            ("ت", "ُ", False),  # a mark belongs to its letter
            ("تُ", "حجز", None),  # with a space on both sides it may also end its word
            ("350", "الجمعة", None),  # one space also stands between two cells
            ("أما", "الثقوب", True),  # there a line ends, elsewhere it is followed by a word
            ("كتاب", "جديد", None),
        ],
    )
    def test_the_plain_text_tells_where_words_end(self, before, after, expected):
        assert self.JOINTS.are_words(before, after) is expected

    def test_pieces_lose_the_spaces_within_words(self):
        [mended] = self.JOINTS.mended([piece("من الأ حد إلى", 50)])
        assert mended.text == "من الأحد إلى"


class TestSpelledBackwards:
    LINES = ("תוריכשה הזוח", "םולשת 4,500 לש םיטרפ", "םישדוח", "Version 2.0 לש ךירדמ")

    def test_a_font_whose_words_begin_with_final_letters_is_spelled_backwards(self):
        forwards = [piece("חודשים של תשלום לשוכרים", 90, font="sans")] * 3
        assert backwards_fonts([*(piece(line, 90) for line in self.LINES), *forwards]) == {"serif"}
        assert backwards_fonts([piece(line, 90) for line in self.LINES[:1]]) == set()
        mixed = [piece(line, 90) for line in self.LINES], [piece("פרטים של כל התשלומים", 90)] * 3
        assert backwards_fonts([*mixed[0], *mixed[1]]) == set()

    def test_its_lines_are_turned_and_numbers_and_latin_words_stay(self):
        turned = respelled([piece(line, 90) for line in self.LINES], {"serif"}, by_words=False)
        assert [one.text for one in turned] == [
            "חוזה השכירות",
            "פרטים של 4,500 תשלום",
            "חודשים",
            "מדריך של 2.0 Version",
        ]
        assert respelled([piece("תוריכש", 9, font="sans")], {"serif"}, by_words=False)[0].text == "תוריכש"

    def test_words_that_stand_in_their_order_are_turned_one_by_one(self):
        [turned] = respelled([piece("הדايעلا", 9), piece("ةدايعلا حتفت", 20)][1:], {"serif"}, by_words=True)
        assert turned.text == "العيادة تفتح"

    @pytest.mark.slow
    @given(st.lists(st.text("אבגדםןابتةى", min_size=1) | st.integers(0, 10**6).map(str), min_size=1))
    def test_a_line_that_is_turned_twice_is_as_before(self, words):
        line = [piece(" ".join(words), 9)]
        once = respelled(line, {"serif"}, by_words=False)
        assert respelled(once, {"serif"}, by_words=False) == line


def test_a_letter_without_unicode_is_the_lam_of_articles_where_no_article_has_one():
    assert unnamed_letters("ا\ufffdعيادة ا\ufffdعمل ا\ufffdطبيب ا\ufffdيوم ا\ufffdدم") == "ل"
    assert unnamed_letters("ا\ufffdعيادة ا\ufffdعمل ا\ufffdطبيب ا\ufffdيوم ا\ufffdدم المريض") == "لا"
    assert unnamed_letters("خ\ufffdل ث\ufffdثة") == "لا"
