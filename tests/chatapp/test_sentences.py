import json

import pytest

from chatapp.sentences import Sentence, as_json, from_json


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
    ],
)
def test_a_sentence_outlives_its_way_through_json(text: str) -> None:
    again = from_json(json.loads(json.dumps(as_json(text))))

    assert again == text
    assert as_json(again) == as_json(text)


def test_what_was_stored_before_there_were_sentences_is_text() -> None:
    assert from_json("The model is gone.") == "The model is gone."
