"""Every string of the page is said in every language."""

import json
import re

import pytest

from chatapp.http import assets as page_files
from chatapp.ui.page import LABELS

STRING = r'"((?:[^"\\]|\\.)*)"'
SAID = sorted(
    {
        json.loads(f'"{text}"')
        for name, content in page_files.contents().items()
        if name.endswith(".js")
        for text in re.findall(rf"\bt\(\s*{STRING}", content.decode())
    }
)


def test_the_strings_are_found():
    assert len(SAID) > 100
    assert "How can I help?" in SAID


@pytest.mark.parametrize("language", ["he", "ar"])
def test_every_string_of_the_scripts_and_of_the_layout_is_translated(language):
    known = page_files.translations(language)
    assert [text for text in (*SAID, *LABELS) if text not in known] == []


def test_no_string_is_made_of_parts_that_cannot_be_translated():
    made = [
        f"{name}: {call}"
        for name, content in page_files.contents().items()
        if name.endswith(".js")
        for call in re.findall(r"\bt\(\s*(?!\s*\"|template|it\.template).{0,40}", content.decode())
        if not call.startswith("t(template")
    ]
    assert made == []


@pytest.mark.parametrize("language", ["he", "ar"])
def test_a_catalogue_comes_in_two_parts_of_which_the_first_is_small(language):
    parts = [json.loads(page_files.contents()[f"locales/{language}.{part}.json"]) for part in ("first", "rest")]
    first, rest = parts
    assert {**first, **rest} == page_files.translations(language)
    assert not first.keys() & rest.keys()
    assert len(first) < len(rest) / 2


def test_the_first_part_holds_what_the_scripts_say_that_a_page_loads_at_first():
    first = json.loads(page_files.contents()["locales/he.first.json"])
    for name in page_files.first_scripts():
        for text in re.findall(rf"\bt\(\s*{STRING}", page_files.text(name)):
            assert json.loads(f'"{text}"') in first, name
    assert set(page_files.FIRST_SERVER_SENTENCES) <= first.keys()


def test_a_panels_script_is_not_loaded_at_first():
    assert {"js/main.js", "js/words.js", "js/stream.js"} <= set(page_files.first_scripts())
    assert not {"js/gallery.js", "js/image_scaling.js", "js/head.js"} & set(page_files.first_scripts())
