"""What the READMEs say of settings, verbs, pictures and other files is so, in both languages."""

import re
import unicodedata
from pathlib import Path

import pytest

from chatapp.config.settings import Settings, variables
from tests.browser.screenshots import LOCALES, SIZES

ROOT = Path(__file__).parents[1]
ENGLISH = (ROOT / "README.md").read_text()
HEBREW = (ROOT / "README.he.md").read_text()
BOTH = pytest.mark.parametrize("text", [ENGLISH, HEBREW], ids=["en", "he"])

CODE = re.compile(r"`([^`\n]+)`|<code dir=\"ltr\">([^<]+)</code>")
SETTING = re.compile(r"\b(?:(?:CHAT|GEMINI|GOOGLE)_[A-Z_]+|THEME)\b")


def blocks(text):
    """Return the lines of all code blocks, without comments, which are in the reader's language."""
    lines = [
        line
        for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    return [line.partition("#")[0].strip() for line in lines]


def code(text):
    """Return all code within sentences and tables."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [first or second for first, second in CODE.findall(outside)]


def settings(text):
    """Return the names of all settings in code."""
    return {name for part in code(text) for name in SETTING.findall(part)}


def without_details(text):
    return re.sub("<details>.*?</details>", "", text, flags=re.DOTALL)


@BOTH
def test_every_setting_that_is_named_exists(text):
    assert settings(text) <= {name for field in Settings.model_fields for name in variables(field)}


def test_the_first_steps_are_the_same_in_both_languages():
    assert blocks(HEBREW) == blocks(ENGLISH)
    assert settings(without_details(HEBREW)) == settings(without_details(ENGLISH))


@BOTH
def test_every_verb_that_is_named_is_one_of_make(text):
    verbs = set(re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split())
    named = {verb for part in [*blocks(text), *code(text)] for verb in re.findall(r"\bmake ([a-z]+)", part)}

    assert {"run", "test"} <= named <= verbs


@BOTH
def test_every_link_leads_to_a_file(text):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]

    assert "docs/deploy.md" in links
    for link in links:
        assert (ROOT / link.partition("#")[0]).is_file(), link


@BOTH
def test_every_picture_is_there_and_taken_by_make_screenshots(text):
    pictures = re.findall(r"(?:src|srcset)=\"([^\"]+)\"", text)
    taken = {
        f"docs/images/{language}-{device}-{scheme}.png"
        for language in LOCALES
        for device in SIZES
        for scheme in ("light", "dark")
    }

    assert pictures
    assert set(pictures) <= taken
    assert all((ROOT / picture).is_file() for picture in pictures)


def test_each_leads_to_the_other():
    assert "[עברית](README.he.md)" in ENGLISH[:200]
    assert "[English](README.md)" in HEBREW[:200]


def test_hebrew_reads_from_right_to_left_and_code_from_left_to_right():
    # GitHub gives each paragraph, heading and list the direction of its first letter.
    prose = re.sub(r"<div dir=\"ltr\">.*?</div>|<picture>.*?</picture>", "", HEBREW, flags=re.DOTALL)
    for block in re.split(r"\n{2,}", prose):
        if not block.startswith(("<div", "</div", "<details", "</details")):
            words = re.sub(r"<[^>]*>|\]\([^)]*\)", "", block)
            first = next(letter for letter in words if unicodedata.bidirectional(letter) in {"L", "R"})
            assert unicodedata.bidirectional(first) == "R", block

    assert all(
        f'<div dir="ltr">\n\n{block}\n\n</div>' in HEBREW
        for block in re.findall(r"^```.*?^```$", HEBREW, re.MULTILINE | re.DOTALL)
    )
    # Code that only stands in a sentence would lend its direction to what is beside it.
    assert not re.search(r"`[^`\n]+`", re.sub(r"^```.*?^```$", "", HEBREW, flags=re.MULTILINE | re.DOTALL))
