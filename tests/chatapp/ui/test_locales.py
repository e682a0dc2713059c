"""What the chat says can be said in every language it is read in."""

import json
import re

import pytest

from chatapp.domain.sentences import Sentence
from tests.sentences import CHATAPP, begun, calls, literals, names, templates

LOCALES = CHATAPP / "ui" / "assets" / "locales"
SCRIPTS = {"he": re.compile(r"[\u05d0-\u05ea]"), "ar": re.compile(r"[\u0621-\u064a]")}
# Sentence.begun makes sentences of phrases, which begin with a small letter in the code.
SAID = sorted({form for template in templates() for form in (template, begun(template))})


def catalogue(language):
    return json.loads((LOCALES / f"{language}.json").read_text(encoding="utf-8"))


def page():
    """Return the text of everything that the page is made of, where its own strings are written."""
    files = (path for path in (CHATAPP / "ui").rglob("*") if path.suffix in {".js", ".py", ".html"})
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("language", SCRIPTS)
def test_every_sentence_of_the_code_is_translated(language):
    known = catalogue(language)
    assert [template for template in SAID if template not in known] == []


@pytest.mark.parametrize("language", SCRIPTS)
def test_a_translation_has_a_place_for_every_value(language):
    wrong = {
        template: translation
        for template, translation in catalogue(language).items()
        if names(template) != names(translation)
    }
    assert wrong == {}


@pytest.mark.parametrize("language", SCRIPTS)
def test_a_translation_is_in_its_language(language):
    others = {
        template: translation
        for template, translation in catalogue(language).items()
        if not SCRIPTS[language].search(translation) and translation != template
    }
    assert others == {}


@pytest.mark.parametrize("language", SCRIPTS)
def test_nothing_is_translated_that_is_never_said(language):
    text = page()
    left = [key for key in catalogue(language) if key not in SAID and key not in text and json.dumps(key) not in text]
    assert left == []


def test_a_catalogue_is_sorted_so_that_two_changes_seldom_meet():
    for language in SCRIPTS:
        assert list(catalogue(language)) == sorted(catalogue(language))


def test_every_sentence_is_written_where_it_is_said():
    """A template that is put together while the chat runs is in no catalogue."""
    assert {path for path, call in calls() if not literals(call.args[0])} <= {"domain/sentences.py"}


def test_a_phrase_can_begin_a_sentence_and_stays_translatable():
    sentence = Sentence("try again {when}", when=Sentence("now"))
    assert sentence.begun() == "Try again now"
    assert sentence.begun().template in SAID
