"""Passages are found by the words of a question in any of their forms, in three languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.documents import evaluated
from chatapp.documents.chunks import Chunk
from chatapp.documents.index import Passage, PassageIndex, joined
from chatapp.documents.stems import MIN_STEM, stem_of, stems, words

OTHERS = ["The weather was fine all week.", "מזג האוויר היה נאה כל השבוע.", "كان الطقس جميلا طوال الأسبوع."]


def found(question, *texts):
    """Return which texts were found, the best first; among some others."""
    with PassageIndex() as index:
        index.add("a", [Chunk(1, "", text) for text in (*texts, *OTHERS)])
        return [passage.place for passage in index.search(question)]


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("Who borrowed the books?", "A member borrows a book."),
        ("איפה הספרייה?", "הגענו אל ספריית העירייה ברגל."),
        ("מה יש בבתי הספר?", "כשהגיעו לבית־ספר חדש."),
        ("מתי משלמים את הארנונה?", "הַתַּשְׁלוּם של אַרְנוֹנָה נעשה בינואר."),
        ("أين المكتبات؟", "وصلنا إلى مَكتبةِ المدينة سيرًا."),
        ("كيف يُدفع الإيجار؟", "ويدفع المستأجر ايجار الشقة كل شهر."),
        ("straße", "Die STRASSE ist lang."),
        ("accomodation price", "The price of accommodation is high."),  # a typing mistake
    ],
)
def test_a_passage_is_found_by_other_forms_of_its_words(question, text):
    assert found(question, text)[:1] == [0]


@pytest.mark.parametrize(
    "question", ["", "?!", "the of and", "a", "xyzzyq", '"', "' OR 1=1 --", "NEAR(a b)", "*", "שלג"]
)
def test_a_question_without_a_word_of_the_documents_finds_nothing_and_breaks_nothing(question):
    assert found(question, "Rent is paid monthly.") in ([], [1])  # "the" is in another text


def test_a_rare_word_weighs_more_than_a_common_one():
    texts = [f"The report of year {number} has figures." for number in range(5)]
    assert found("Which report is about lighthouses?", *texts, "A note on a lighthouse.")[0] == 5


def test_the_headings_of_a_passage_are_searched_too():
    with PassageIndex() as index:
        index.add("a", [Chunk(1, "Rent", "It is 900 a month."), Chunk(1, "Wages", "They are 900 a month.")])
        assert index.search("How much is the rent?")[0] == Passage("a", 0)


def test_a_document_is_replaced_and_removed():
    with PassageIndex() as index:
        index.add("a", [Chunk(1, "", "lighthouse")])
        index.add("b", [Chunk(1, "", "lighthouse keeper")])
        index.add("a", [Chunk(1, "", "harbour")])
        assert index.search("lighthouse") == [Passage("b", 0)]
        index.remove("b")
        assert index.search("lighthouse") == []
        assert index.search("harbour") == [Passage("a", 0)]


def test_lists_are_joined_by_rank():
    one, two, three = (Passage("a", number) for number in range(3))
    assert joined([[one, two], [two, three]]) == [two, one, three]
    assert joined([]) == []


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        *(("והספרים", "ספר"), ("שבספרייה", "ספרי"), ("לכשיבוא", "יבוא"), ("בית", "בית"), ("הר", "הר")),
        *(("والمكتبات", "مكتب"), ("للمدرسة", "مدرس"), ("بالكتاب", "كتاب"), ("من", "من")),
        *(("running", "runn"), ("books", "book"), ("ring", "ring"), ("1,200", "1,200"), ("2.5", "2.5")),
    ],
)
def test_a_stem_has_no_affixes(word, stem):
    assert stem_of(words(word)[0]) == words(stem)[0]


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_a_stem_is_a_part_of_its_word_and_long_enough(text):
    for word in words(text):
        stem = stem_of(word)
        assert stem in word
        assert len(stem) >= min(MIN_STEM, len(word))
    with PassageIndex() as index:
        index.add("a", [Chunk(1, "", text)])
        index.search(text)
        assert len(stems(text)) == len(set(stems(text)))


@pytest.mark.parametrize("language", ["en", "he", "ar"])
def test_the_passage_that_answers_is_among_the_first_five(language):
    result = evaluated()[language]
    assert result.questions >= 20
    assert result.recall >= 0.9, result.failed
