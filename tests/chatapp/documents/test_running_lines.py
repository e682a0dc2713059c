"""Lines that most pages of a PDF begin or end with stand on one page alone."""

from chatapp.documents.extraction.reading import read
from chatapp.documents.extraction.running_lines import without_running_lines
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from tests.fakes import files

TEXTS = (
    "Bids close in May.",
    "A guarantee is needed.",
    "The tower is old.",
    "Nobody lives there.",
    "It is opened in June.",
)


def page(number, *texts, kind=BlockKind.TEXT):
    return Page(number, tuple(Block(kind, text) for text in texts))


def without(*pages):
    return [[block.text for block in one.blocks] for one in without_running_lines(pages)]


def test_a_header_and_a_footer_with_the_number_of_the_page_stay_on_the_first_page_that_has_them():
    pages = [
        page(number, "Tender 12 of 2026", text, f"Town of Example {number}/9") for number, text in enumerate(TEXTS, 2)
    ]
    first, *others = without(page(1, "Cover"), *pages)
    assert first == ["Cover"]
    assert others == [["Tender 12 of 2026", TEXTS[0], "Town of Example 2/9"], *([text] for text in TEXTS[1:])]


def test_lines_are_taken_from_the_paragraphs_that_they_were_joined_with():
    pages = [page(number, f"Tender of May {text} Town page {number}") for number, text in enumerate(TEXTS, 1)]
    assert without(*pages)[1:] == [[text] for text in TEXTS[1:]]


def test_what_few_pages_share_and_rows_and_other_numbers_stay():
    few = [
        page(number, "Tender of May" if number < 3 else "Other things here", text) for number, text in enumerate(TEXTS)
    ]
    chapters = [page(number, f"Part {number + 1} begins", text) for number, text in enumerate(TEXTS)]
    headings = [page(number, f"Part {number} begins", kind=BlockKind.HEADING) for number in range(5)]
    rows = [page(number, "Tender of May", kind=BlockKind.ROW) for number in range(5)]
    short = [page(number, "Tender of May", text) for number, text in enumerate(TEXTS[:3])]
    for pages in (few[1:], chapters, headings, rows, short, [page(number, "Confidential") for number in range(9)]):
        assert without_running_lines(pages) == pages


def test_the_pages_of_a_pdf_are_read_so():
    drawn = [
        f"BT /F1 9 Tf 72 760 Td (Tender of May) Tj ET BT /F1 11 Tf 72 500 Td ({text}) Tj ET".encode() for text in TEXTS
    ]
    _, pages = read(files.pdf(*drawn), "tender.pdf")
    assert "Tender of May" in pages[0].text
    assert [page.text for page in pages[1:]] == list(TEXTS[1:])
