"""A citation is a quote that stands in a page of a document, word for word; nothing else becomes one."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.documents.citations import (
    KEPT_BYTES,
    MAX_CITATIONS,
    MAX_SPANS,
    Shelf,
    Span,
    citations,
    places,
    spans,
    true_quotes,
    utf16_length,
)
from chatapp.documents.extraction.shape import Block, BlockKind, Page
from chatapp.documents.quotes import QuoteFinder


def pages_of(*texts):
    return [Page(number, (Block(BlockKind.TEXT, text),)) for number, text in enumerate(texts, 1)]


LEASE = pages_of(
    "The rent is 900 euros a month. It is due on the first day.",
    'The tenant pays for "small repairs" up to 100 euros. 😀 Pets are not allowed.',
    'דמי השכירות הם 900 אירו לחודש. ארה"ב אינה צד לחוזה.',
)


def cited(text, pages=LEASE, document="lease", shelves=None):
    return citations(text, {document: places(text, spans(text), pages)}, shelves or {})


def js(text, start, stop):
    """Return what JavaScript's `slice` returns."""
    return text.encode("utf-16-le")[2 * start : 2 * stop].decode("utf-16-le")


def shown(text, pages=LEASE):
    """Return for each citation the text of the answer up to its end, its page, and the quote as the page has it."""
    return [
        (js(text, 0, one.end), one.page, js(pages[one.page - 1].text, one.page_start, one.page_end))
        for one in cited(text, pages)
    ]


def test_a_quote_is_cited_with_its_page_and_place():
    assert shown('It says "the rent is 900 euros a month" (page 1).') == [
        ('It says "the rent is 900 euros a month"', 1, "The rent is 900 euros a month")
    ]


def test_positions_are_those_of_javascript_with_emoji_and_hebrew():
    text = 'אני 😀 מצטט: "דמי השכירות הם 900 אירו לחודש" ואז "Pets are not allowed".'
    (hebrew, pets) = shown(text)
    assert hebrew == ('אני 😀 מצטט: "דמי השכירות הם 900 אירו לחודש"', 3, "דמי השכירות הם 900 אירו לחודש")
    assert pets == (text[:-1], 2, "Pets are not allowed")
    assert cited(text)[1].end == utf16_length(text) - 1 == len(text)


@pytest.mark.parametrize(
    "quoted",
    [
        "“the rent is 900 euros”",
        "„the rent is 900 euros“",
        "«the rent is 900 euros»",
        "״the rent is 900 euros״",
        "**“The rent is 900 euros”**",
        'ש"the rent is 900 euros"',
    ],
)
def test_all_kinds_of_quotation_marks_open_and_close(quoted):
    ((_, page, words),) = shown(f"See {quoted}.")
    assert (page, words.lower()) == (1, "the rent is 900 euros")


def test_a_quote_may_have_quotation_marks_and_acronyms_of_its_own():
    ((_, page, words),) = shown('It says "The tenant pays for "small repairs" up to 100 euros".')
    assert (page, words) == (2, 'The tenant pays for "small repairs" up to 100 euros')
    ((_, page, words),) = shown('כתוב בו "ארה"ב אינה צד לחוזה".')
    assert (page, words) == (3, 'ארה"ב אינה צד לחוזה')


@pytest.mark.parametrize(
    ("text", "end", "words"),
    [
        ("> The rent is 900 euros a month.\n\nSo it is.", 32, "The rent is 900 euros a month"),
        ("It says:\n> The rent is\n> 900 euros a month.\nYes.", 43, "The rent is 900 euros a month"),
        ("> The rent is 900 euros a month.\n> (page 1)", 32, "The rent is 900 euros a month"),
        ('> "Pets are not allowed."', 25, "Pets are not allowed"),
    ],
)
def test_a_block_quote_is_cited_once_whole_or_by_its_lines(text, end, words):
    ((before, _, shown_words),) = shown(text)
    assert (before, shown_words) == (text[:end], words)


@pytest.mark.parametrize(
    "text",
    [
        "> The rent is 950 euros a month.",
        "a > the rent is 900 euros a month",
        'It says "the rent is 950 euros a month".',  # another number
        'It says "the rent is 90".',  # a part of a number
        'It says "the landlord may end the lease at any time".',  # invented
        "It says the rent is 900 euros a month.",  # no quote
        '"The rent is 900 euros a month\n\nIt is due on the first day"',  # marks of two paragraphs
        'Run `print("The rent is 900 euros a month")`.',
        '```\nx = "The rent is 900 euros a month"\n```',
        'It says "due on the first day. The tenant pays for".',  # over the end of a page
        'It says "rent".',  # too short to tell
        'A quotation mark: "',
        "",
    ],
)
def test_what_is_no_quote_of_the_document_is_not_cited(text):
    assert cited(text) == ()


HOUSE = [
    Page(
        1,
        (
            Block(BlockKind.HEADING, "Pets"),
            Block(
                BlockKind.TEXT, "No large pets are allowed in the flat. Small pets (fish) may be kept! They eat a lot"
            ),
            Block(BlockKind.TEXT, "of food that costs a lot of money."),
            Block(BlockKind.TEXT, "This is not allowed:"),
            Block(BlockKind.TEXT, "Music is played after ten."),
            Block(BlockKind.TEXT, "יש לפנות את הדירה עד סוף החודש. הדיירים משלמים. כך זה גם כאן."),
        ),
    )
]


@pytest.mark.parametrize(
    ("text", "end", "words"),
    [
        ("Small pets (fish) may be kept.", 30, "Small pets (fish) may be kept"),
        ("No: **no large pets are allowed in the flat.** So.", 0, ""),  # the sentence begins before that
        ("Yes.\n\n- **No large pets are allowed in the flat.** So.", 48, "No large pets are allowed in the flat"),
        ("No large pets are allowed in the flat. Small pets may.", 38, "No large pets are allowed in the flat"),
        ("כן. יש לפנות את הדירה עד סוף החודש.", 35, "יש לפנות את הדירה עד סוף החודש"),
        ('"No large pets are allowed in the flat."', 40, "No large pets are allowed in the flat"),
    ],
)
def test_a_sentence_that_the_model_copied_without_marks_is_cited(text, end, words):
    assert shown(text, HOUSE) == ([(text[:end], 1, words)] if end else [])


@pytest.mark.parametrize(
    "text",
    [
        "Large pets are allowed in the flat.",  # without its "No"
        "No large pets are allowed.",  # without its end
        "No large pets are allowed in the flat",  # it may go on
        "No large pets are allowed in the house.",
        "No large pets…allowed in the flat.",
        "Of food that costs a lot of money.",  # in the middle of a sentence
        "Music is played after ten.",  # of a list of what is not allowed
        "`No large pets are allowed in the flat.`",
        "I am sure that small pets (fish) may be kept.",
        "They eat a lot.",
        "כך זה גם כאן.",  # too short to tell
        "“Large pets are allowed in the flat.",  # a quotation mark that nothing closes
    ],
)
def test_a_sentence_that_is_not_one_of_the_page_is_not_cited(text):
    assert cited(text, HOUSE) == ()


def test_what_stands_between_two_quotes_is_no_quote():
    pages = pages_of("alpha beta gamma and also delta epsilon zeta")
    assert [end for end, _, _ in shown('"alpha beta gamma" and also "delta epsilon zeta"', pages)] == [
        '"alpha beta gamma"',
        '"alpha beta gamma" and also "delta epsilon zeta"',
    ]


def test_a_quote_that_two_documents_have_is_cited_once_in_the_first():
    text = 'It says "the rent is 900 euros a month".'
    quotes = {name: places(text, spans(text), LEASE) for name in ("new", "old")}
    assert [one.document for one in citations(text, quotes, {})] in (["old"], ["new"])
    looked_for = [span for span in spans(text) if span not in quotes["new"]]
    assert places(text, looked_for, LEASE) == {}


def test_very_many_quotes_are_bounded():
    text = '"the rent is 900 euros a month" ' * 3000
    assert len(cited(text)) == MAX_CITATIONS


def test_a_span_is_a_quote_with_its_marks():
    assert [span.quote_in('"a b"') for span in spans('"a b"')] == ["a b"]
    assert spans('"a b"') == [Span(0, 5)]


WORDS = st.sampled_from(
    ["rent", "is", "900", "euros", "due", "😀", "שלום", "בית", "דירה", "עולם", "repairs", "-5", "5%"]
)
PAGES = st.lists(st.lists(WORDS, min_size=1, max_size=30).map(" ".join), min_size=1, max_size=4)
MARKS = st.sampled_from(['"{}"', "“{}”", "„{}“", "«{}»", '"{}', '{}"', "> {}", "`{}`", '\n\n"{}"\n\n'])
ANSWERS = st.lists(
    st.tuples(MARKS, st.lists(WORDS, max_size=12).map(" ".join)).map(lambda drawn: drawn[0].format(drawn[1])),
    max_size=6,
).map(" ".join)


def plain(text):
    """Return the words of a text, without its marks: a simple idea of "word for word" to compare with."""
    return re.sub(r"[\s\"“”„«»`>]+", " ", text).strip()


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(PAGES, ANSWERS, st.data())
def test_every_citation_is_in_its_page_word_for_word(texts, answer, data):
    pages = pages_of(*texts)
    taken = data.draw(st.sampled_from(texts))
    answer += f' "{taken}"'
    of_collection = cited(answer, pages, shelves={"lease": Shelf("k1", "lease.pdf")})
    assert true_quotes(answer, of_collection) == set(of_collection)
    for one, kept in zip(cited(answer, pages), of_collection, strict=True):
        page = pages[one.page - 1]
        assert kept.quote == js(page.text, one.page_start, one.page_end)
        words = js(page.text, one.page_start, one.page_end)
        end = js(answer, 0, one.end)
        quotes = [end[start + 1 : -1] for start in range(len(end) - 1) if end[start] in '"“„«']
        quotes.append(end.rpartition(">")[2])
        finder = QuoteFinder([page])
        assert any(finder.find(quote) and plain(quote) == plain(words) for quote in quotes)
        assert words in page.text
    letters = sum(map(str.isalnum, taken))
    if letters >= 8 and not taken.startswith("-") and "😀" not in taken and "%" not in taken and "-5" not in taken:
        assert cited(answer, pages), taken


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        '"a',
        '" ',
        "`",
        "\n```",
        "\n~~~\n```",
        "\n \n",
        "“a",
        '"aaaaaaaa ... ',
        "a\n",
        "``` ` ",
        "\n>",
        "> > ",
        "a. ",
        ".\n",
        "a b c defghijklmnopqrstuvwxyz.",
    ],
)
def test_a_hostile_answer_ends_soon(piece):
    """Where the time rose with the square of the length, this would take minutes."""
    runs = "".join("`" * number + " " for number in range(900))  # each without an end
    quote = 'It says "the rent is 900"'
    for text in ((piece * 150_000)[:150_000], runs, runs + quote):
        assert len(spans(text)) <= MAX_SPANS
    assert spans(runs + quote)[-1].quote_in(runs + quote) == "the rent is 900"


def test_the_words_of_a_collections_document_stay_with_the_answer_as_far_as_there_is_room():
    long = [f"{number} " + "word " * 380 for number in range(30)]
    answer = " ".join(f'"{one}"' for one in (text.strip() for text in long))
    kept = cited(answer, pages_of(*long), shelves={"lease": Shelf("k1", "lease.pdf")})
    assert len(kept) == 30
    assert {(one.collection, one.name) for one in kept} == {("k1", "lease.pdf")}
    quotes = [one.quote for one in kept]
    assert quotes[0] == long[0].strip()
    assert quotes[-1] == ""
    assert KEPT_BYTES - 2_000 < sum(map(len, quotes)) <= KEPT_BYTES
