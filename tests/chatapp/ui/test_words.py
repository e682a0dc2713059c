"""Every string of the scripts and the layout has a translation, and catalogues are split in two."""

import json
import re

import pytest

from chatapp.http import assets as page_files
from chatapp.ui.page import LABELS

STRING = r'"((?:[^"\\]|\\.)*)"'
STRINGS = sorted(
    {
        json.loads(f'"{text}"')
        for name, content in page_files.contents().items()
        if name.startswith("js/")
        for text in re.findall(rf"\bt\(\s*{STRING}", content.decode())
    }
)


def test_strings_are_found():
    assert len(STRINGS) > 100
    assert "How can I help?" in STRINGS


@pytest.mark.parametrize("language", ["he", "ar"])
def test_every_string_of_the_scripts_and_of_the_layout_is_translated(language):
    translations = page_files.translations(language)
    assert [text for text in (*STRINGS, *LABELS) if text not in translations] == []


def test_translated_strings_are_literals():
    not_literal = [
        f"{name}: {call}"
        for name, content in page_files.contents().items()
        if name.startswith("js/")
        for call in re.findall(r"\bt\(\s*(?!\s*\"|template|it\.template).{0,40}", content.decode())
        if not call.startswith("t(template")
    ]
    assert not_literal == []


@pytest.mark.parametrize("language", ["he", "ar"])
def test_catalogue_is_split_into_a_small_first_part_and_the_rest(language):
    parts = [json.loads(page_files.contents()[f"locales/{language}.{part}.json"]) for part in ("first", "rest")]
    first, rest = parts
    assert {**first, **rest} == page_files.translations(language)
    assert not first.keys() & rest.keys()
    assert len(first) < len(rest) / 2


def test_first_part_has_every_string_of_the_first_scripts():
    first = json.loads(page_files.contents()["locales/he.first.json"])
    for name in page_files.first_scripts():
        for text in re.findall(rf"\bt\(\s*{STRING}", page_files.text(name)):
            assert json.loads(f'"{text}"') in first, name
    assert set(page_files.FIRST_SERVER_SENTENCES) <= first.keys()


def test_scripts_of_panels_are_not_loaded_first():
    assert {"js/main.js", "js/words.js", "js/stream.js"} <= set(page_files.first_scripts())
    later = ("attachment_box", "citations", "document_viewer", "gallery", "head", "image_scaling")
    assert not {f"js/{name}.js" for name in later} & set(page_files.first_scripts())
