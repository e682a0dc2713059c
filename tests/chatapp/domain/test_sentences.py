import json

import pytest

from chatapp.domain.sentences import Duration, Names, Sentence, Wait, as_json, from_json, translated


def test_a_sentence_is_english_text() -> None:
    assert Sentence("{model} has {count} places.", model="Gemma", count=1200) == "Gemma has 1,200 places."
    assert Sentence("Braces {} stay where nothing is filled in.") == "Braces {} stay where nothing is filled in."


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        Sentence("Try again."),
        Sentence("{model} waits.", model="Gemma"),
        Sentence("{what} {why}", what=Sentence("It has {n} places.", n=3), why="so"),
        Sentence("Go on {when}.", when=Wait(90)),
        Sentence("Nothing for {time}.", time=Duration(0.3)),
        Sentence("Left out: {names}", names=Names(["a.pdf", "b, c.txt"])),
    ],
)
def test_a_sentence_outlives_its_way_through_json(text: str) -> None:
    again = from_json(json.loads(json.dumps(as_json(text))))

    assert again == text
    assert as_json(again) == as_json(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (1, "in 1 second"),
        (59, "in 59 seconds"),
        (60, "in 1 minute"),
        (61, "in 2 minutes"),
        (7199, "in 120 minutes"),
        (7200, "in 2 hours"),
        (86_400, "in 24 hours"),
    ],
)
def test_wait_has_a_suitable_unit_and_is_rounded_up(seconds: int, words: str) -> None:
    assert Sentence("Go on {when}.", when=Wait(seconds)) == f"Go on {words}."


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.15, "0.15 seconds"), (1, "1 second"), (59, "59 seconds"), (420, "7 minutes")]
)
def test_a_duration_has_a_unit_that_fits(seconds: float, words: str) -> None:
    assert Sentence("It took {time}.", time=Duration(seconds)) == f"It took {words}."


def test_pages_without_a_script_translate_waits_and_durations() -> None:
    catalogue = {"Wait {when}.": "חכו {when}.", "in {count} min": "בעוד {count} דק׳"}
    assert translated(Sentence("Wait {when}.", when=Wait(301)), catalogue) == "חכו בעוד 6 דק׳."


def test_each_name_in_a_translated_sentence_keeps_its_own_direction() -> None:
    catalogue = {
        "Left out: {names} of {count} in {place}": "הושמטו: {names} מתוך {count}, {place}",
        "the file": "בקובץ",
    }
    names = Names(["(1) notes.txt", "צילום 2.png", "…"])
    sentence = Sentence("Left out: {names} of {count} in {place}", names=names, count=3, place=Sentence("the file"))
    assert sentence == "Left out: (1) notes.txt, צילום 2.png, … of 3 in the file"
    translation = "הושמטו: \u2068(1) notes.txt\u2069, \u2068צילום 2.png\u2069, … מתוך 3, בקובץ"
    assert translated(sentence, catalogue) == translation


def test_text_stored_before_sentences_is_plain_text() -> None:
    assert from_json("The model is gone.") == "The model is gone."
