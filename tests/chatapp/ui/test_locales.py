"""Every `Sentence` of the Python code has a translation, and the catalogues have nothing else."""

import functools
import json
import re

import pytest

from chatapp.domain.sentences import Sentence
from tests.sentences import CHATAPP, begun, calls, literals, names, templates

LOCALES = CHATAPP / "ui" / "assets" / "locales"
SCRIPTS = {"he": re.compile(r"[\u05d0-\u05ea]"), "ar": re.compile(r"[\u0621-\u064a]")}
ISOLATE = "\u2066\u2069"  # keeps what is left to right in one piece


@functools.cache
def phrases():
    """Return all templates, and with a capital letter as well: `Sentence.begun` makes sentences of phrases."""
    return sorted({form for template in templates() for form in (template, begun(template))})


def catalogue(language):
    return json.loads((LOCALES / f"{language}.json").read_text(encoding="utf-8"))


def page():
    """Return the text of the page's source files."""
    files = (path for path in (CHATAPP / "ui").rglob("*") if path.suffix in {".js", ".py", ".html"})
    files = (path for path in files if path.parent.name != "vendor")
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@pytest.mark.parametrize("language", SCRIPTS)
def test_every_sentence_of_the_code_is_translated(language):
    translations = catalogue(language)
    assert [template for template in phrases() if template not in translations] == []


@pytest.mark.parametrize("language", SCRIPTS)
def test_translation_has_the_same_values(language):
    wrong = {
        template: translation
        for template, translation in catalogue(language).items()
        if names(template) != names(translation)
    }
    assert wrong == {}


@pytest.mark.parametrize("language", SCRIPTS)
def test_translation_is_in_its_script(language):
    others = {
        template: translation
        for template, translation in catalogue(language).items()
        if not SCRIPTS[language].search(translation) and translation.strip(ISOLATE) != template
    }
    assert others == {}


@pytest.mark.parametrize("language", SCRIPTS)
def test_every_translation_is_used(language):
    text = page()
    keys = catalogue(language).keys() - set(phrases())
    assert [key for key in keys if key not in text and json.dumps(key) not in text] == []


def test_catalogues_are_sorted():
    for language in SCRIPTS:
        assert list(catalogue(language)) == sorted(catalogue(language))


@pytest.mark.slow
def test_every_sentence_is_a_literal():
    """A template that is put together while the chat runs is in no catalogue."""
    assert {path for path, call in calls() if not literals(call.args[0])} <= {"domain/sentences.py"}


def test_phrase_that_begins_a_sentence_stays_translatable():
    sentence = Sentence("try again {when}", when=Sentence("now"))
    assert sentence.begun() == "Try again now"
    assert sentence.begun().template in phrases()
