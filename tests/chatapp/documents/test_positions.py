"""Pages of Hebrew and Arabic are put together from the positions of their pieces of text."""

import pytest

from chatapp.documents.extraction.drawn_backwards import Piece
from chatapp.documents.extraction.positions import Spaces, blocks_of, doubles_marked, repaired, untangled
from chatapp.documents.extraction.right_to_left import better_blocks
from chatapp.documents.extraction.shape import Block, BlockKind

TEXT = "השוכר משלם את דמי השכירות בתחילת החודש"


def piece(text, right, y, size=10.0):
    """Return a piece that ends at ``right``; a letter is half as wide as its font is high."""
    width = len(text) * size / 2
    return Piece(right - width, y, width, size, text)


def shown(*pieces):
    return [(block.kind.value, block.text) for block in blocks_of(pieces)]


def test_lines_are_read_from_the_right_and_joined_to_paragraphs():
    assert shown(
        piece("חוזה", 500, 700, 20),
        piece(TEXT, 500, 660),
        piece("ואת הארנונה.", 500, 647),
        piece("פסקה אחרת.", 500, 620),
    ) == [("heading", "חוזה"), ("text", f"{TEXT} ואת הארנונה."), ("text", "פסקה אחרת.")]


def test_pieces_of_a_line_are_words_where_there_is_a_gap_between_them():
    first = piece("המתנ״ס", 500, 700)
    gap, none = piece("פתוח", first.x - 2, 700), piece("ים", first.x, 702)  # a mark on another baseline moves a piece
    assert shown(first, gap) == [("text", "המתנ״ס פתוח")]
    assert shown(first, none) == [("text", "המתנ״סים")]


def test_a_bold_heading_whose_baseline_is_read_too_low_stays_a_line_of_its_own():
    heading = Piece(429.8, 711.8, 148.4, 24, "التقرير السنوي")  # as Chromium writes what DejaVu Sans has no bold for
    paragraph = Piece(267.0, 702.8, 311.6, 12, "ارتفعت إيرادات الشركة مقارنة بالعام السابق.")
    assert [block.text for block in blocks_of([paragraph, heading])] == [heading.text, paragraph.text]


def test_the_rows_of_a_table_keep_their_cells_from_the_right():
    cells = [("שירות", "מחיר", "ימים"), ("הדפסה צבעונית", "1.50", "ראשון"), ("אולם", "350", "שישי")]
    pieces = [piece(TEXT, 550, 700)]
    for number, row in enumerate(cells):
        pieces += [piece(cell, right, 650 - 20 * number) for cell, right in zip(row, (550, 450, 350), strict=True)]
    assert shown(*pieces) == [
        ("text", TEXT),
        ("header", "שירות | מחיר | ימים"),
        ("row", "הדפסה צבעונית | 1.50 | ראשון"),
        ("row", "אולם | 350 | שישי"),
    ]


def column(right, start, size=10):
    lines = [f"שורה {start + number} של העמודה הזאת בעיתון היומי" for number in range(8)]
    return [piece(line, right, 700 - 12 * number, size) for number, line in enumerate(lines)]


def test_of_two_columns_the_right_one_is_read_first():
    both = [*column(560, 1), *column(260, 9)]
    [text] = [block.text for block in blocks_of(both)]
    assert text.split()[1::7] == [str(number) for number in range(1, 17)]
    title, end = piece("כותרת " * 12, 560, 740), piece("המשך " * 12, 560, 560)
    texts = [block.text.split()[0] for block in blocks_of([*both, title, end])]
    assert texts == ["כותרת", "שורה", "המשך"]


def test_three_columns_stay_as_they_are():
    assert blocks_of([*column(560, 1, 6), *column(400, 9, 6), *column(240, 17, 6)]) == []
    assert blocks_of([]) == []


@pytest.mark.parametrize(
    ("plain", "piece_text", "restored"),
    [
        ("ישימח דע ןושאר", "ראשוןעדחמישי", "ראשון עד חמישי"),
        ("םימי 15", "15ימים", "15 ימים"),
        ("ﺲﻴﻤﺨﻟا ﻰﺘﺣ ﺪﺣﻷا", "الأحدحتىالخميس", "الأحد حتى الخميس"),  # letters with their shapes
        ("ىتح دحلأا", "الأحدحتى", "الأحد حتى"),  # lam and alef in the order of their ligature
        ("نوتسو اًرانيد", "دينارًاوستون", "دينارًا وستون"),  # a mark is no place of its own
        ("ישימח דע ןושאר", "ראשון עד", "ראשון עד"),
        ("first of May", "firstofMay", "firstofMay"),  # from left to right, none is lost
    ],
)
def test_spaces_that_a_piece_has_lost_come_from_the_plain_text(plain, piece_text, restored):
    assert Spaces(f"other\n {plain} \n").restored(piece_text) == restored


def test_a_long_line_without_spaces_takes_no_time():
    line = "\u0627" * 50_000 + "\u0644" * 50_000
    assert Spaces(f"{line} {line}").restored(line) == line


def test_letters_that_a_font_names_wrongly_are_repaired():
    assert repaired("خ\ufffdل ث\ufffdثة", has_doubles=False) == "خلال ثلاثة"
    assert repaired("not \ufffd here", has_doubles=False) == "not \ufffd here"
    doubled = "صباحًحًا يومًمًا تُتُحجز وُوُجدت كتابيًيًا مساءًءً يُيُرجى"
    assert doubles_marked(doubled)
    assert repaired(doubled, has_doubles=True) == "صباحًا يومًا تُحجز وُجدت كتابيًا مساءً يُرجى"
    assert not doubles_marked("الشَّمْسُ مُشْرِقَةٌ وَالْجَوُّ جَمِيلٌ")


class TestWhen:
    PIECES = (piece(TEXT, 550, 700), piece("סוף", 550, 650))

    def blocks(self, *texts, kind=BlockKind.TEXT):
        return better_blocks([Block(kind, text) for text in texts], list(self.PIECES))

    def test_a_page_whose_text_is_all_there_stays_as_it_is(self):
        assert self.blocks(TEXT, "סוף") == []
        assert better_blocks([], [Piece(50, 700, 100, 10, "Only English is here.")]) == []

    def test_a_page_that_lost_text_or_mixed_letters_or_has_a_table_is_put_together_again(self):
        expected = [Block(BlockKind.TEXT, TEXT), Block(BlockKind.TEXT, "סוף")]
        assert self.blocks() == expected
        assert self.blocks(TEXT.replace("דמי השכירות", "דמיהשכירות"), "סוף") == expected
        assert self.blocks(TEXT, "סוף", kind=BlockKind.ROW) == expected


def test_a_page_whose_lines_stand_in_another_order_is_put_together_again():
    first, second = "הסכמת המשכיר בכתב", "אורחים רשאים לשהות"
    pieces = [piece(first, 550, 700), piece(second, 550, 686), piece("הסכמה", 550, 672)]
    assert better_blocks([Block(BlockKind.TEXT, f"{first} {second} הסכמה")], pieces) == []
    expected = [Block(BlockKind.TEXT, f"{first} {second} הסכמה")]
    assert better_blocks([Block(BlockKind.TEXT, f"{second} הסכמה {first}")], pieces) == expected
    again = [Block(BlockKind.TEXT, f"{second} {first} {second} הסכמה")]
    assert better_blocks(again, [*pieces, piece(second, 550, 714)]) == []  # a title may also stand in the text


def test_a_page_that_lacks_the_spaces_of_a_piece_is_put_together_again():
    blocks, pieces = (
        [Block(BlockKind.TEXT, f"{TEXT} תקופתניסיון")],
        [piece(TEXT, 550, 700), piece("תקופתניסיון", 550, 686)],
    )
    assert better_blocks(blocks, pieces) == []
    mended = [pieces[0], piece("תקופת ניסיון", 550, 686)]
    assert better_blocks(blocks, mended, {"תקופת ניסיון"}) == [Block(BlockKind.TEXT, f"{TEXT} תקופת ניסיון")]


def test_letters_that_are_taken_for_the_spaces_of_a_heading_go_back_to_their_word():
    spaces = Spaces("הנחטה בוחר הרידה תריכש הזוח\n")
    heading = Piece(100, 700, 400, 20, "חוזה שכירת הדירה רחוב ה", "bold")
    strays = [Piece(x, 700, 5, 20, letter, "other") for x, letter in ((200, "נ"), (260, "ט"), (320, "ח"), (350, "ה"))]
    beside = piece("עמוד", 600, 700)
    assert untangled([heading, *strays, beside], spaces) == [
        heading._replace(text="חוזה שכירת הדירה רחוב הטחנה"),
        beside,
    ]
    same_font = [heading, *(stray._replace(font="bold") for stray in strays)]
    assert untangled(same_font, spaces) == same_font
    assert untangled([heading, strays[0]], spaces) == [heading, strays[0]]  # they are no line of the text
