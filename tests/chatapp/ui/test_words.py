"""Every string of the page is said in every language."""

import json
import re

import pytest

from chatapp.ui import page_files
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
    assert "What can I help with?" in SAID


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
