"""A quote is found however it is spaced and marked; one that the document does not have is not found."""

import re

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.quotes import MIN_LETTERS, QuoteFinder
from tests.any_text import any_text


def document(*pages):
    return [Page(number, (Block(BlockKind.TEXT, text),)) for number, text in enumerate(pages, 1)]


def found(quote, *pages):
    """Return the page and the text that a quote was found as, None if it was not."""
    texts = document(*pages)
    place = QuoteFinder(texts).find(quote)
    return place and (place.page, texts[place.page - 1].text[place.start : place.end])


ENGLISH = "The tenant pays the rent on the first day of each month. Late payments cost 2.5% a month."
HEBREW = "הַשּׂוֹכֵר ישלם את דמי־השכירות ב-1 לכל חודש, ולא יאוחר מהשעה 12:00."
ARABIC = "يدفعُ المستأجرُ الإيجارَ في اليوم الأوّل من كلّ شهر، ولا يتأخّر."


@pytest.mark.parametrize(
    ("quote", "page"),
    [
        ("The tenant pays the rent", 1),
        ("the  tenant\npays THE rent", 1),
        ("“The tenant pays the rent on the first day of each month.”", 1),
        ("**The tenant** pays the `rent` on", 1),
        ("Late payments cost 2.5% a month", 1),
        ("The tenant pays ... first day of each month", 1),
        ("The tenant pays […] Late payments cost", 1),
        ("השוכר ישלם את דמי השכירות", 2),
        ("השוכר ישלם את דמי-השכירות ב-1 לכל חודש", 2),
        ("يدفع المستأجر الايجار في اليوم الاول", 3),
    ],
)
def test_a_quote_is_found_with_its_page(quote, page):
    place = QuoteFinder(document(ENGLISH, HEBREW, ARABIC)).find(quote)
    assert place is not None
    assert place.page == page


@pytest.mark.parametrize(
    "quote",
    [
        "The tenant pays the deposit",  # another word
        "The landlord pays the rent",
        "Late payments cost 25% a month",  # another number
        "Late payments cost 2.5",  # a number without its sign
        "payments cost 2",
        "5% a month is late",
        "he tenant pays the ren",  # parts of words
        "the rent",  # too short to tell
        "",
        "...",
        "month The tenant pays the rent",  # another order
        "Late payments ... The tenant pays",
        "The tenant pays the rent ... of",  # a part that is too short
        "x" * 5_000,
        "השוכרת ישלם את דמי השכירות",
        "השוכר ישלם את דמי השכירות ב-11 לכל חודש",
    ],
)
def test_what_the_document_does_not_have_is_not_found(quote):
    assert QuoteFinder(document(ENGLISH, HEBREW, ARABIC)).find(quote) is None


@pytest.mark.parametrize(
    ("quote", "text"),
    [
        ("minus 5 degrees was measured", "It says minus -5 degrees was measured."),
        ("5 degrees was measured", "It says -5 degrees was measured."),
        ("5 degrees was measured", "It says 1.5 degrees was measured."),
        ("the answer is exactly 1", "the answer is exactly 1.5 of it"),
        ("the answer is exactly 1", "the answer is exactly 1,500 of it"),
        ("the answer is exactly 15", "the answer is exactly 15%"),
        ("not allowed to smoke", "notallowed to smoke"),
    ],
)
def test_a_number_is_found_whole_with_its_sign(quote, text):
    assert found(quote, text) is None


def test_a_word_that_a_line_end_divides_is_one_word():
    assert found("the information is here", "All the infor-\nmation is here.") == (1, "the infor-\nmation is here")
    assert found("well known to everyone", "It is well-known to everyone.") == (1, "well-known to everyone")


def test_a_quote_may_go_on_on_the_next_page():
    assert found("begins here and ends there", "It begins here", "and ends there.") == (1, "begins here")
    assert found("begins here ... ends there", "It begins here", "and ends there.") is None


def test_a_quote_that_is_on_one_page_is_found_there_rather_than_on_two():
    assert found("rent and costs", "the rent", "and costs", "rent and costs") == (3, "rent and costs")


def test_the_place_in_the_text_is_exact():
    text = "א. הַשּׂוֹכֵר   יְשַׁלֵּם מחר בבוקר. ﬁnally"
    assert found("השוכר ישלם מחר", text) == (1, "הַשּׂוֹכֵר   יְשַׁלֵּם מחר")
    assert found("בבוקר. finally", text) == (1, "בבוקר. ﬁnally")


def test_cells_of_a_row_are_quoted_with_or_without_their_lines():
    for quote in ("Rent | 1,200 | monthly", "Rent 1,200 monthly", "| Rent | 1,200 | monthly |"):
        assert found(quote, "Rent | 1,200 | monthly") == (1, "Rent | 1,200 | monthly")


WORD = st.text(st.sampled_from("abcdeXYZ123אבגדםןשעبتثجحخلمن"), min_size=1, max_size=8)
WORDS = st.lists(WORD, min_size=4, max_size=30)
MARKS = "\u05b0\u05b4\u05bc\u064e\u0650\u0651\u00ad\u200f"


@pytest.mark.slow
@given(WORDS, st.data())
def test_any_run_of_whole_words_is_found_however_it_is_written(words, data):
    text = " ".join(words)
    start = data.draw(st.integers(0, len(words) - 1))
    chosen = words[start : data.draw(st.integers(start + 1, len(words)))]
    assume(sum(map(len, chosen)) >= MIN_LETTERS)
    assume(not (chosen[0].isdigit() or chosen[-1].isdigit()))
    quote = ""
    for word in chosen:
        written = "".join(letter + data.draw(st.sampled_from(["", "", "", *MARKS])) for letter in word)
        quote += written + data.draw(st.sampled_from([" ", "  ", "\n", "\u00a0", " \t"]))
    place = QuoteFinder(document(text)).find(quote)
    assert place is not None
    assert text[place.start : place.end].split()[0] == words[words.index(chosen[0])]


@pytest.mark.slow
@given(WORDS, WORDS, st.integers(0, 29))
@example(["abcd"] * 4, ["X"] * 4, 0)
def test_a_quote_with_a_word_that_is_not_in_the_document_is_never_found(words, others, place):
    strange = "qqq" + "".join(others)
    quote = [*words[:place], strange, *words[place:]]
    assert QuoteFinder(document(" ".join(words))).find(" ".join(quote)) is None


@pytest.mark.slow
@given(any_text(max_size=300), any_text(max_size=100))
def test_what_is_found_has_the_letters_of_the_quote(text, quote):
    """For any text at all: nothing is raised, and a place that is returned is within its page."""
    place = QuoteFinder(document(text, quote)).find(quote)
    if place is not None:
        page = document(text, quote)[place.page - 1].text
        assert 0 <= place.start < place.end <= len(page)
        letters = re.findall(r"[a-z0-9]", page[place.start : place.end].lower())
        if place.page == 2:
            assert set(letters) <= set(re.findall(r"[a-z0-9]", quote.lower()))
